//! The bearer token: where it comes from, how it is compared, and when a worker may go without. It is
//! never shown, and only its hash is kept.

use super::{Refusal, RemoteError};
use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use subtle::ConstantTimeEq as _;

/// The variable that holds the token where no file is given.
pub const VARIABLE: &str = "FILL_AUDIT_TOKEN";

/// The shortest token: 16 characters, as of 12 random bytes in base64.
const SHORTEST: usize = 16;
/// The longest.
const LONGEST: usize = 4096;

/// A token that a request must carry.
#[derive(Clone)]
pub struct Token {
    sha256: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Token {
    /// Takes a token; `source` is what a message calls the place that it comes from.
    ///
    /// # Errors
    /// [`RemoteError::Token`] unless it is 16 to 4096 visible ASCII characters, white space around it
    /// aside.
    pub fn new(text: &str, source: &str) -> Result<Self, RemoteError> {
        let text = text.trim();
        let problem = if text.is_empty() {
            "the token is empty".to_owned()
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            "the token has characters other than visible ASCII ones".to_owned()
        } else if !(SHORTEST..=LONGEST).contains(&text.len()) {
            format!(
                "the token must have {SHORTEST} to {LONGEST} characters, but has {}",
                text.len()
            )
        } else {
            return Ok(Self {
                sha256: Sha256::digest(text).into(),
            });
        };
        Err(RemoteError::Token(format!("{problem}: {source}")))
    }

    /// Reads a token from a file that nobody else may read.
    ///
    /// # Errors
    /// [`RemoteError::Token`] if it cannot be read, others may read it, or it is no token.
    pub fn from_file(path: &Path) -> Result<Self, RemoteError> {
        Self::new(&read_private(path)?, &path.display().to_string())
    }

    /// Whether a request carries this token. The time that it takes says nothing of the token: hashes of
    /// equal length are compared in constant time.
    pub fn is_carried_by(&self, headers: &HeaderMap) -> bool {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, token)| token.trim());
        let given: [u8; 32] = Sha256::digest(given).into();
        given.ct_eq(&self.sha256).into()
    }
}

/// Reads the text of a file that nobody else may read.
///
/// # Errors
/// [`RemoteError::Token`] if it cannot be read, or others may read it.
pub fn read_private(path: &Path) -> Result<String, RemoteError> {
    let shown = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        RemoteError::Token(format!("the token cannot be read ({error}): {shown}"))
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    check_mode(&metadata, &shown)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, 64 << 10), &mut text)
        .map_err(unreadable)?;
    Ok(text)
}

#[cfg(unix)]
fn check_mode(metadata: &std::fs::Metadata, shown: &str) -> Result<(), RemoteError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    let of_others = mode & 0o077;
    if of_others == 0 {
        return Ok(());
    }
    Err(RemoteError::Token(format!(
        "others may read the token (mode {mode:o}); run chmod 600 {shown}"
    )))
}

#[cfg(not(unix))]
fn check_mode(_metadata: &std::fs::Metadata, _shown: &str) -> Result<(), RemoteError> {
    Ok(())
}

/// Whether only this machine can reach an address.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Refuses to listen where others can reach it without a token.
///
/// # Errors
/// [`RemoteError::NoToken`].
pub fn check_listen(address: SocketAddr, token: Option<&Token>) -> Result<(), RemoteError> {
    if token.is_some() || is_loopback(address.ip()) {
        Ok(())
    } else {
        Err(RemoteError::NoToken { address })
    }
}

/// Lets a request through, or says why not. Without a token only requests for an address of this machine
/// pass: a page in a browser can have its own name resolved to 127.0.0.1, but not hide that name.
///
/// # Errors
/// [`Refusal::Unauthorized`] or [`Refusal::ForeignHost`].
pub fn check_request(token: Option<&Token>, headers: &HeaderMap) -> Result<(), Refusal> {
    match token {
        Some(token) if token.is_carried_by(headers) => Ok(()),
        Some(_) => Err(Refusal::Unauthorized),
        None => {
            let host = headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok());
            if host.is_none_or(is_this_machine) {
                Ok(())
            } else {
                Err(Refusal::ForeignHost)
            }
        }
    }
}

/// Whether a `Host` header names this machine: `localhost`, `127.0.0.1:8080`, `[::1]:8080`.
fn is_this_machine(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return is_loopback(address.ip());
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use axum::http::HeaderValue;

    const SECRET: &str = "correct-horse-battery";

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        headers
    }

    #[test]
    fn only_the_whole_token_passes() {
        let token = Token::new(&format!("{SECRET}\n"), "a test").unwrap();
        for given in [format!("Bearer {SECRET}"), format!("bearer  {SECRET}")] {
            assert!(token.is_carried_by(&headers(header::AUTHORIZATION, &given)));
        }
        for given in [
            String::new(),
            SECRET.to_owned(),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Basic {SECRET}"),
            format!("Bearer {SECRET}x"),
            format!("Bearer {}", &SECRET[1..]),
            format!("Bearer {}", SECRET.to_uppercase()),
        ] {
            let headers = headers(header::AUTHORIZATION, &given);
            assert!(!token.is_carried_by(&headers), "{given:?}");
            let refusal = check_request(Some(&token), &headers);
            assert_eq!(refusal, Err(Refusal::Unauthorized));
        }
        assert!(!token.is_carried_by(&HeaderMap::new()));
    }

    #[test]
    fn a_token_that_is_no_secret_is_refused_and_never_shown() {
        for (text, expected) in [
            ("", "empty"),
            (" \n", "empty"),
            ("short", "16 to 4096"),
            ("with a space in the middle", "visible ASCII"),
            ("größer-als-gedacht", "visible ASCII"),
        ] {
            let error = Token::new(text, "FILL_AUDIT_TOKEN")
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.ends_with("FILL_AUDIT_TOKEN"), "{error}");
            assert!(text.trim().is_empty() || !error.contains(text), "{error}");
        }
        let token = Token::new(SECRET, "a test").unwrap();
        assert!(!format!("{token:?}").contains(SECRET));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_no_place_for_a_token() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, SECRET).unwrap();
        for (mode, is_taken) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let token = Token::from_file(&path);
            assert_eq!(token.is_ok(), is_taken, "{mode:o}");
            if let Err(error) = token {
                assert!(error.to_string().contains("chmod 600"), "{error}");
            }
        }
        assert!(Token::from_file(&dir.path().join("none")).is_err());
    }

    #[test]
    fn without_a_token_only_this_machine_is_served() {
        let token = Token::new(SECRET, "a test").unwrap();
        for (address, is_alone) in [
            ("127.0.0.1:0", true),
            ("127.9.9.9:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("192.168.1.2:80", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(check_listen(address, None).is_ok(), is_alone, "{address}");
            assert!(check_listen(address, Some(&token)).is_ok());
        }
        for (host, is_ours) in [
            ("127.0.0.1:8080", true),
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example:80", false),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            let passes = check_request(None, &headers(header::HOST, host)).is_ok();
            assert_eq!(passes, is_ours, "{host:?}");
        }
    }
}
