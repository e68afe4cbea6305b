//! Who we are to one private service: an ID token for its address, kept until shortly before it ends.
//!
//! Cloud Run looks for it in [`HEADER`] before it looks at `Authorization`, and takes it off: so a worker's own
//! token can go beside it.

use crate::storage::error::redact;
use crate::storage::gcs::Environment;
use crate::storage::gcs::id_tokens::{IdTokenWay, id_token_way};
use crate::storage::{StorageError, gcs};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The header that carries it: `Bearer TOKEN`.
pub const HEADER: &str = "x-serverless-authorization";
/// Where Google's machines ask who they are.
const METADATA_ENDPOINT: &str = "http://metadata.google.internal";
/// The variable by which Google's clients, too, are told another one: `host` or `host:port`.
const METADATA_VARIABLE: &str = "GCE_METADATA_HOST";
/// A token is asked for anew when it has less than this left.
const MARGIN: Duration = Duration::from_secs(300);
/// For one request.
const ANSWER: Duration = Duration::from_secs(20);
/// Longest answer that is read, in bytes; a token has about one thousand.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// What keeps a token from being had. No message contains one.
#[derive(Debug, thiserror::Error)]
pub enum IdTokenError {
    /// There are no credentials, or they give no such token.
    #[error(transparent)]
    Credentials(#[from] StorageError),
    /// The service's address cannot be one.
    #[error("a private service is called by its https:// address, and this is none: {0:?}")]
    Audience(String),
    /// Who gives the token cannot be reached.
    #[error("no token for {audience}: {place} cannot be reached: {detail}; check the network")]
    Offline {
        /// The service.
        audience: String,
        /// Who was asked.
        place: String,
        /// The connection's own words.
        detail: String,
    },
    /// Who gives the token refuses.
    #[error("no token for {audience}: {place} refuses (HTTP {status}): {detail}")]
    Refused {
        /// The service.
        audience: String,
        /// Who was asked.
        place: String,
        /// HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// The answer is no token.
    #[error("no token for {audience}: {place} answers with something else: {detail}")]
    Malformed {
        /// The service.
        audience: String,
        /// Who was asked.
        place: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// A token and its end.
#[derive(Clone)]
struct Token {
    text: String,
    ends_at: SystemTime,
}

/// Gives tokens for one service. Clones share what was given.
#[derive(Clone)]
pub struct IdTokens {
    audience: String,
    way: IdTokenWay,
    metadata: String,
    http: reqwest::Client,
    clock: fn() -> SystemTime,
    kept: std::sync::Arc<tokio::sync::Mutex<Option<Token>>>,
}

impl std::fmt::Debug for IdTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdTokens")
            .field("audience", &self.audience)
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

/// What a token is for: the service's address without a path.
///
/// # Errors
/// [`IdTokenError::Audience`] unless it is `https://HOST`, or loopback, where tests are.
fn audience_of(service: &str) -> Result<String, IdTokenError> {
    let refused = || IdTokenError::Audience(service.chars().take(200).collect());
    let url = url::Url::parse(service).map_err(|_no_address| refused())?;
    let host = url.host_str().ok_or_else(refused)?;
    let is_loopback = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    if url.scheme() == "https" || (url.scheme() == "http" && is_loopback) {
        Ok(url.origin().ascii_serialization())
    } else {
        Err(refused())
    }
}

impl IdTokens {
    /// Finds how tokens for the service at an address can be had; none is asked for yet.
    ///
    /// # Errors
    /// [`IdTokenError`] for an address that is none, or credentials that give no such tokens.
    pub async fn find(
        service: &str,
        configured: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, IdTokenError> {
        let audience = audience_of(service)?;
        let way = id_token_way(configured, environment).await?;
        let metadata = match std::env::var(METADATA_VARIABLE) {
            Ok(host) if !host.is_empty() => format!("http://{host}"),
            _ => METADATA_ENDPOINT.to_owned(),
        };
        Self::new(&audience, way, &metadata)
    }

    /// As [`IdTokens::find`], by a way that is known, with Google's metadata server at an address.
    ///
    /// # Errors
    /// [`IdTokenError`] for a service's address that is none.
    pub fn new(service: &str, way: IdTokenWay, metadata: &str) -> Result<Self, IdTokenError> {
        let audience = audience_of(service)?;
        gcs::choose_tls();
        let http = reqwest::Client::builder()
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| IdTokenError::Offline {
                audience: audience.clone(),
                place: "the network".to_owned(),
                detail: redact(&error.to_string()),
            })?;
        Ok(Self {
            audience,
            way,
            metadata: metadata.trim_end_matches('/').to_owned(),
            http,
            clock: SystemTime::now,
            kept: std::sync::Arc::default(),
        })
    }

    /// The same with another clock, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> SystemTime) -> Self {
        self.clock = clock;
        self
    }

    /// The service that the tokens are for.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// What goes into [`HEADER`]: `Bearer TOKEN`.
    ///
    /// # Errors
    /// [`IdTokenError`] if no token is given.
    pub async fn header_value(&self) -> Result<String, IdTokenError> {
        let mut kept = self.kept.lock().await;
        let now = (self.clock)();
        if let Some(token) = kept.as_ref().filter(|token| now + MARGIN < token.ends_at) {
            return Ok(format!("Bearer {}", token.text));
        }
        let token = self.ask(now).await?;
        let value = format!("Bearer {}", token.text);
        *kept = Some(token);
        Ok(value)
    }

    /// Forgets what was given: the service did not take it.
    pub async fn forget(&self) {
        *self.kept.lock().await = None;
    }

    async fn ask(&self, now: SystemTime) -> Result<Token, IdTokenError> {
        let (place, text) = match &self.way {
            IdTokenWay::Metadata => {
                let place = "the metadata server".to_owned();
                let url = format!(
                    "{}/computeMetadata/v1/instance/service-accounts/default/identity",
                    self.metadata
                );
                let url =
                    self.address(&url, &[("audience", &self.audience), ("format", "full")])?;
                let request = self.http.get(url).header("metadata-flavor", "Google");
                let text = self.send(request, &place).await?;
                (place, text.trim().to_owned())
            }
            IdTokenWay::Key(key) => {
                let place = key.token_uri.clone();
                let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                let claims = json!({
                    "aud": key.token_uri,
                    "exp": issued + 3600,
                    "iat": issued,
                    "iss": key.email,
                    "target_audience": self.audience,
                });
                let assertion = key.signed(&claims).await?;
                let body = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
                    .append_pair("assertion", &assertion)
                    .finish();
                let url = self.address(&key.token_uri, &[])?;
                let request = self
                    .http
                    .post(url)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(body);
                let answer = self.send(request, &place).await?;
                let text = self.field(&answer, "id_token", &place)?;
                (place, text)
            }
            IdTokenWay::Impersonated { source, url } => {
                let place = "the IAM credentials service".to_owned();
                let headers = source.headers(&place).await?;
                let body = json!({"audience": self.audience, "includeEmail": true});
                let url = self.address(url, &[])?;
                let request = self
                    .http
                    .post(url)
                    .headers(headers)
                    .header("content-type", "application/json")
                    .body(body.to_string());
                let answer = self.send(request, &place).await?;
                let text = self.field(&answer, "token", &place)?;
                (place, text)
            }
        };
        let ends_at = end_of(&text).ok_or_else(|| self.malformed(&place, "it is no token"))?;
        Ok(Token { text, ends_at })
    }

    fn address(&self, url: &str, query: &[(&str, &str)]) -> Result<reqwest::Url, IdTokenError> {
        let parsed = if query.is_empty() {
            reqwest::Url::parse(url)
        } else {
            reqwest::Url::parse_with_params(url, query)
        };
        parsed.map_err(|error| self.malformed(url, &error.to_string()))
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        place: &str,
    ) -> Result<String, IdTokenError> {
        let offline = |error: reqwest::Error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            IdTokenError::Offline {
                audience: self.audience.clone(),
                place: place.to_owned(),
                detail: redact(&cause.to_string()),
            }
        };
        let answer = request.send().await.map_err(offline)?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(offline)?;
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(self.malformed(place, &format!("{} bytes", bytes.len())));
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if (200..300).contains(&status) {
            return Ok(text);
        }
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = said
            .pointer("/error/message")
            .or_else(|| said.get("error_description"))
            .and_then(Value::as_str)
            .unwrap_or("no reason");
        Err(IdTokenError::Refused {
            audience: self.audience.clone(),
            place: place.to_owned(),
            status,
            detail: redact(said),
        })
    }

    fn field(&self, answer: &str, name: &str, place: &str) -> Result<String, IdTokenError> {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let token = answer.get(name).and_then(Value::as_str);
        token
            .map(str::to_owned)
            .ok_or_else(|| self.malformed(place, &format!("it has no {name}")))
    }

    fn malformed(&self, place: &str, detail: &str) -> IdTokenError {
        IdTokenError::Malformed {
            audience: self.audience.clone(),
            place: place.to_owned(),
            detail: detail.to_owned(),
        }
    }
}

/// When a token ends, as it says itself. Nobody here believes it for more than that.
fn end_of(token: &str) -> Option<SystemTime> {
    let mut parts = token.split('.');
    let (_header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
    if !token.chars().all(is_token) {
        return None;
    }
    let claims = claims.trim_end_matches('=');
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(claims)
        .ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let exp = claims.get("exp")?.as_u64()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(exp))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_token_is_for_an_address_without_its_path() {
        for (given, expected) in [
            ("https://w-1.a.run.app", "https://w-1.a.run.app"),
            ("https://w-1.a.run.app/audit?x=1", "https://w-1.a.run.app"),
            ("http://127.0.0.1:80/x", "http://127.0.0.1"),
        ] {
            assert_eq!(audience_of(given).unwrap(), expected);
        }
        for wrong in [
            "",
            "w-1.a.run.app",
            "http://w-1.a.run.app",
            "ftp://x",
            "https://",
        ] {
            assert!(audience_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_tokens_end_is_read_and_what_is_none_is_refused() {
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.sig", encode("{}"), encode(r#"{"exp": 100}"#));
        assert_eq!(end_of(&token), Some(UNIX_EPOCH + Duration::from_secs(100)));
        for wrong in [
            "",
            "a.b",
            "a.b.c",
            "<html>.x.y",
            &format!("{token}\r\nX: y"),
        ] {
            assert_eq!(end_of(wrong), None, "{wrong}");
        }
    }
}
