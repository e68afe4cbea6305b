//! V4 signed addresses.
//!
//! The client crate can sign too, but always at the present moment; a clock of our own is what lets the
//! result be compared byte by byte with Google's Python library. The steps follow
//! <https://cloud.google.com/storage/docs/authentication/canonical-requests>.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use google_cloud_auth::signer::{Signer, SigningError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::super::error::redact;
use super::super::{Result, StorageError};
use super::errors;

/// What to do when links cannot be signed.
pub const REMEDY: &str = "a service account key in FIREBASE_CREDENTIALS, or the role Service Account \
                          Token Creator (iam.serviceAccounts.signBlob) on the account itself";

const UNRESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const PATH: AsciiSet = UNRESERVED.remove(b'/');

/// What is to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// `https://storage.googleapis.com` or an emulator's address, without a path.
    pub endpoint: &'a str,
    /// The bucket's name.
    pub bucket: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// How long the address works; Google takes up to 7 days.
    pub lifetime: Duration,
    /// From when on.
    pub now: SystemTime,
    /// Further query parameters, such as `response-content-disposition`.
    pub query: &'a [(&'a str, &'a str)],
}

/// Signs `request`; the result is a secret for as long as it works.
///
/// # Errors
/// [`StorageError::Forbidden`] or [`StorageError::Auth`] if the signer cannot; with a key that is no key this
/// is the first moment at which it shows.
pub async fn v4_url(signer: &Signer, request: &Request<'_>) -> Result<String> {
    let email = signer
        .client_email()
        .await
        .map_err(|e| signing_failed(&e))?;
    let at = jiff::Timestamp::try_from(request.now).map_err(|e| StorageError::Config {
        problem: format!("the clock cannot be used: {e}"),
        place: "system time".into(),
        remedy: "set the clock".into(),
    })?;
    let stamp = at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let scope = format!("{}/auto/storage/goog4_request", at.strftime("%Y%m%d"));
    let mut query: BTreeMap<String, String> = request
        .query
        .iter()
        .map(|(k, v)| (encode_all(k), encode_all(v)))
        .collect();
    for (key, value) in [
        ("X-Goog-Algorithm", "GOOG4-RSA-SHA256"),
        ("X-Goog-Credential", &format!("{email}/{scope}")),
        ("X-Goog-Date", &stamp),
        ("X-Goog-Expires", &request.lifetime.as_secs().to_string()),
        ("X-Goog-SignedHeaders", "host"),
    ] {
        query.insert(key.to_owned(), encode_all(value));
    }
    let query: Vec<String> = query.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    let query = query.join("&");
    let path = format!(
        "/{}/{}",
        request.bucket,
        utf8_percent_encode(request.name, &PATH)
    );
    let host = host_of(request.endpoint);
    let canonical = format!(
        "{}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD",
        request.method
    );
    let digest = hex(&Sha256::digest(canonical.as_bytes()));
    let to_sign = format!("GOOG4-RSA-SHA256\n{stamp}\n{scope}\n{digest}");
    let signature = signer
        .sign(to_sign.as_str())
        .await
        .map_err(|e| signing_failed(&e))?;
    let endpoint = request.endpoint.trim_end_matches('/');
    Ok(format!(
        "{endpoint}{path}?{query}&X-Goog-Signature={}",
        hex(&signature)
    ))
}

/// The address of an object without any signature.
pub fn plain_url(endpoint: &str, bucket: &str, name: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    format!("{endpoint}/{bucket}/{}", utf8_percent_encode(name, &PATH))
}

/// Percent-encodes everything but `A-Z a-z 0-9 - _ . ~`.
pub fn encode_all(text: &str) -> String {
    utf8_percent_encode(text, &UNRESERVED).to_string()
}

fn host_of(endpoint: &str) -> String {
    let bare = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    bare.trim_end_matches('/').to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn signing_failed(error: &SigningError) -> StorageError {
    // The parser's words about a key that is none could quote the key.
    if error.is_parsing() {
        return StorageError::Auth {
            detail: "the private key cannot be read".into(),
            remedy: "use the service account's JSON as Google made it (PKCS#8 PEM)".into(),
        };
    }
    if error.is_transport() {
        return not_signed_remotely(error);
    }
    refused(innermost(error))
}

/// `signBlob` did not sign: whether it was refused, or could not be asked.
fn not_signed_remotely(error: &(dyn Error + 'static)) -> StorageError {
    match errors::from_crate(error, "signBlob") {
        found @ StorageError::Auth { .. } => found,
        found if found.is_retryable() => found,
        StorageError::Forbidden { detail, .. } => refused(detail),
        other => refused(other.to_string()),
    }
}

fn refused(detail: String) -> StorageError {
    StorageError::Forbidden {
        place: "signing links".into(),
        detail,
        remedy: REMEDY.into(),
    }
}

fn innermost(error: &SigningError) -> String {
    let mut current: &dyn Error = error;
    while let Some(source) = current.source() {
        current = source;
    }
    redact(&current.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use google_cloud_gax::error::Error as GaxError;

    /// As the client crate wraps what `signBlob` answers.
    #[derive(Debug, thiserror::Error)]
    #[error("failed to generate signature via IAM API: {0}")]
    struct Transport(#[source] GaxError);

    fn answered(status: u16, body: &'static str) -> GaxError {
        GaxError::http(status, reqwest::header::HeaderMap::new(), body.into())
    }

    #[test]
    fn a_refused_signature_is_told_from_one_that_could_not_be_asked_for() {
        let said = |error| not_signed_remotely(&Transport(error));
        let denied = r#"{"error": {"message": "Permission iam.serviceAccounts.signBlob denied"}}"#;
        for (status, body) in [(403, denied), (404, ""), (400, "")] {
            let found = said(answered(status, body));
            assert!(
                matches!(&found, StorageError::Forbidden { remedy, .. } if remedy == REMEDY),
                "{status}: {found}"
            );
        }
        let words = said(answered(403, denied)).to_string();
        assert!(words.contains("signBlob denied"), "{words}");
        let nobody = said(answered(401, ""));
        assert!(matches!(nobody, StorageError::Auth { .. }), "{nobody}");
        // Numbers in an answer's text mean nothing.
        for error in [
            answered(503, "request 403 could not be served"),
            answered(429, ""),
            GaxError::exhausted(answered(503, "no permission to be busy")),
            GaxError::timeout("403 ms have passed"),
        ] {
            let found = said(error);
            assert!(
                found.is_retryable() && matches!(found, StorageError::Transient { .. }),
                "{found}"
            );
        }
    }
}
