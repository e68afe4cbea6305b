//! What the client crate and `reqwest` report, told apart by what the reader has to do about it.

use std::error::Error;
use std::io::ErrorKind as K;
use std::time::Duration;

use google_cloud_gax::error::{CredentialsError, Error as GaxError};

use super::super::StorageError;
use super::super::error::redact;
use super::credentials;

/// Classifies an error of the client crate. An exhausted retry has no status of its own, so the whole chain
/// of sources is walked.
pub fn from_crate(error: &(dyn Error + 'static), place: &str) -> StorageError {
    let mut link = Some(error);
    while let Some(current) = link {
        if let Some(gax) = current.downcast_ref::<GaxError>() {
            if let Some(status) = gax.http_status_code() {
                let body = gax.http_payload().map_or(&[][..], |b| &b[..]);
                let wait = gax
                    .http_headers()
                    .and_then(|h| h.get("retry-after"))
                    .and_then(|v| v.to_str().ok());
                return from_status(status, body, wait, place);
            }
            if gax.is_timeout() {
                return transient(place, "the request timed out");
            }
            if gax.is_connect() {
                return offline(place, &innermost(current));
            }
        }
        if let Some(found) = current.downcast_ref::<CredentialsError>() {
            if has_connect_failure(current) {
                return offline("the credentials' server", &innermost(current));
            }
            let detail = redact(&found.to_string());
            return StorageError::Auth {
                detail,
                remedy: credentials::REMEDY.into(),
            };
        }
        if let Some(found) = from_known(current, place) {
            return found;
        }
        link = current.source();
    }
    transient(place, &innermost(error))
}

/// Classifies an error of `reqwest`, without its address.
pub fn from_reqwest(error: &reqwest::Error, place: &str) -> StorageError {
    from_known(error, place).unwrap_or_else(|| transient(place, &innermost(error)))
}

fn from_known(error: &(dyn Error + 'static), place: &str) -> Option<StorageError> {
    if let Some(found) = error.downcast_ref::<reqwest::Error>() {
        if found.is_connect() {
            return Some(offline(place, &innermost(error)));
        }
        if found.is_timeout() {
            return Some(transient(place, "the request timed out"));
        }
    }
    let io = error.downcast_ref::<std::io::Error>()?;
    Some(match io.kind() {
        K::ConnectionRefused | K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown => {
            offline(place, &io.to_string())
        }
        _ => transient(place, &io.to_string()),
    })
}

fn has_connect_failure(error: &(dyn Error + 'static)) -> bool {
    let mut link = Some(error);
    while let Some(current) = link {
        if current
            .downcast_ref::<reqwest::Error>()
            .is_some_and(reqwest::Error::is_connect)
        {
            return true;
        }
        link = current.source();
    }
    false
}

/// Classifies an HTTP answer that is not a success.
pub fn from_status(
    status: u16,
    body: &[u8],
    retry_after: Option<&str>,
    place: &str,
) -> StorageError {
    let detail = server_words(status, body);
    let place = place.to_owned();
    let rate_limited = status == 403 && detail.to_ascii_lowercase().contains("ratelimit");
    match status {
        401 => StorageError::Auth {
            detail: format!("{place}: {detail}"),
            remedy: credentials::REMEDY.into(),
        },
        403 if !rate_limited => StorageError::Forbidden {
            place,
            detail,
            remedy:
                "the role Storage Object User on the bucket (Storage Object Viewer to read only)"
                    .into(),
        },
        404 => StorageError::NotFound { place },
        304 | 412 => StorageError::Precondition {
            place,
            expected: "what was last seen".into(),
        },
        403 | 408 | 429 | 500..=599 => StorageError::Transient {
            place,
            detail,
            attempts: 1,
            retry_after: retry_after
                .and_then(|v| v.trim().parse::<u64>().ok())
                .map(|secs| Duration::from_secs(secs.min(3600))),
        },
        _ => StorageError::Refused {
            place,
            status,
            detail,
        },
    }
}

fn server_words(status: u16, body: &[u8]) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let words = parsed
        .as_ref()
        .and_then(|v| {
            let error = v.get("error")?;
            let reason = error.pointer("/errors/0/reason").and_then(|r| r.as_str());
            let message = error.get("message").and_then(|m| m.as_str());
            Some(match (message, reason) {
                (Some(m), Some(r)) => format!("{m} ({r})"),
                (Some(m), None) => m.to_owned(),
                (None, Some(r)) => r.to_owned(),
                (None, None) => return None,
            })
        })
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    if words.trim().is_empty() {
        format!("HTTP {status}")
    } else {
        format!("HTTP {status}: {}", redact(&words))
    }
}

/// The deepest source's words, which name the cause; the outer ones may hold whole addresses.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    match current.downcast_ref::<reqwest::Error>() {
        Some(_) => "the connection failed".to_owned(),
        None => redact(&current.to_string()),
    }
}

pub fn transient(place: &str, detail: &str) -> StorageError {
    StorageError::Transient {
        place: place.to_owned(),
        detail: detail.to_owned(),
        attempts: 1,
        retry_after: None,
    }
}

fn offline(place: &str, detail: &str) -> StorageError {
    StorageError::Offline {
        place: place.to_owned(),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart() {
        let kind = |status| from_status(status, b"", None, "x").kind();
        assert_eq!(kind(401), "auth");
        assert_eq!(kind(403), "forbidden");
        assert_eq!(kind(404), "not found");
        assert_eq!(kind(412), "precondition");
        assert_eq!(kind(429), "transient");
        assert_eq!(kind(503), "transient");
        assert_eq!(kind(400), "refused");
    }

    #[test]
    fn an_exhausted_retry_keeps_the_status_of_its_last_attempt() {
        let inner = GaxError::http(403, http_headers(), bytes::Bytes::from_static(b"{}"));
        let outer = GaxError::exhausted(inner);
        assert_eq!(from_crate(&outer, "x").kind(), "forbidden");
    }

    #[test]
    fn the_servers_reason_is_shown_and_its_wish_to_wait_is_kept() {
        let body = br#"{"error":{"message":"a@b does not have storage.objects.get","errors":[{"reason":"forbidden"}]}}"#;
        let error = from_status(403, body, None, "gs://b/o");
        assert!(error.to_string().contains("storage.objects.get"), "{error}");
        let slow = from_status(429, b"", Some("7"), "gs://b/o");
        assert!(
            matches!(slow, StorageError::Transient { retry_after: Some(d), .. } if d.as_secs() == 7)
        );
    }

    fn http_headers() -> reqwest::header::HeaderMap {
        reqwest::header::HeaderMap::new()
    }
}
