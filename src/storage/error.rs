//! What can go wrong with storage, told apart by what the reader has to do about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every failure of the storage module. Messages state the problem, the value, the place and the remedy,
/// and never contain a key, a token or a signature.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The object, bucket or folder does not exist.
    #[error("not found: {place}; check the name, or refresh the list")]
    NotFound {
        /// What was asked for.
        place: String,
    },
    /// The credentials are valid but may not do this.
    #[error("not allowed: {place}: {detail}; grant this account {remedy}")]
    Forbidden {
        /// What was asked for.
        place: String,
        /// What the server said.
        detail: String,
        /// The role or permission that is missing.
        remedy: String,
    },
    /// There are no credentials, or the server does not accept them.
    #[error("no valid credentials: {detail}; {remedy}")]
    Auth {
        /// What is wrong with them.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// The object is not at the generation that the caller last saw.
    #[error(
        "changed by someone else meanwhile: {place} is no longer {expected}; pull, then decide"
    )]
    Precondition {
        /// The object.
        place: String,
        /// What was expected, in words.
        expected: String,
    },
    /// The bytes are not the ones that the listing promises.
    #[error("damaged: {place}: {detail}; nothing of it was kept, try again")]
    Corrupt {
        /// The object or file.
        place: String,
        /// What disagrees.
        detail: String,
    },
    /// The server understood and refuses for another reason.
    #[error("refused by the server (HTTP {status}): {place}: {detail}; check bucket and name")]
    Refused {
        /// The object or call.
        place: String,
        /// HTTP status.
        status: u16,
        /// What the server said.
        detail: String,
    },
    /// The server cannot be reached.
    #[error("offline: {place} cannot be reached: {detail}; check the network")]
    Offline {
        /// Server or object.
        place: String,
        /// The connection's own words.
        detail: String,
    },
    /// The server answers, but not usefully at the moment: overloaded, stalled, cut.
    #[error("{place} did not answer properly ({attempts} attempts): {detail}; try again later")]
    Transient {
        /// The object or call.
        place: String,
        /// The last answer.
        detail: String,
        /// How often it was tried.
        attempts: u32,
        /// What the server asked to wait, if it did.
        retry_after: Option<Duration>,
    },
    /// A name that must not become an object or a file.
    #[error("name refused: {reason}: {name:?}")]
    BadName {
        /// The offending name, shortened.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The configuration cannot be used.
    #[error("{problem}: {place}; {remedy}")]
    Config {
        /// What is wrong, with the value.
        problem: String,
        /// File and line, or the variable's name.
        place: String,
        /// What to write instead.
        remedy: String,
    },
    /// A local file could not be read or written.
    #[error("{doing} failed: {source}: {}", path.display())]
    Io {
        /// What was being done, as a noun phrase.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A document of this module's own (sync state, queue entry) could not be read.
    #[error("cannot read {what}: {detail}: {}; move the file away to start it anew", path.display())]
    Document {
        /// Which document.
        what: &'static str,
        /// The parser's words, with the line.
        detail: String,
        /// The file.
        path: PathBuf,
    },
    /// Bytes arrive, but so slowly that waiting is no use.
    #[error(
        "too slow: {place}: only {bytes_per_sec} bytes/s arrive; what came is kept, try again later"
    )]
    TooSlow {
        /// The object.
        place: String,
        /// Measured speed.
        bytes_per_sec: u64,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl StorageError {
    /// Wraps a system error with what was being done to which file; for `map_err`.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    /// Whether the same call may succeed a little later without anyone doing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Transient { .. } | Self::Offline { .. })
    }

    /// Whether there is no network, so that the cache and the queue are to be used.
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Offline { .. })
    }

    /// Whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether a write was refused because the object had changed.
    pub fn is_precondition(&self) -> bool {
        matches!(self, Self::Precondition { .. })
    }

    /// One word for the kind of failure, for logs and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not found",
            Self::Forbidden { .. } => "forbidden",
            Self::Auth { .. } => "auth",
            Self::Precondition { .. } => "precondition",
            Self::Corrupt { .. } => "corrupt",
            Self::Refused { .. } => "refused",
            Self::Offline { .. } => "offline",
            Self::Transient { .. } => "transient",
            Self::BadName { .. } => "bad name",
            Self::Config { .. } => "config",
            Self::Io { .. } => "io",
            Self::Document { .. } => "document",
            Self::TooSlow { .. } => "too slow",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Shortens outside text for a message and cuts what could be a secret: everything from a signature's or
/// token's key on, and PEM blocks.
pub fn redact(text: &str) -> String {
    const SECRETS: [&str; 6] = [
        "x-goog-signature",
        "x-goog-credential",
        "bearer ",
        "token=",
        "-----begin",
        "ya29.",
    ];
    let one_line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lower = one_line.to_ascii_lowercase();
    let end = SECRETS
        .iter()
        .filter_map(|s| lower.find(s))
        .min()
        .unwrap_or(one_line.len());
    let cut = end < one_line.len();
    let mut out: String = one_line
        .get(..end)
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect();
    if cut {
        out.push_str("[removed]");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redaction_cuts_signatures_tokens_and_keys() {
        assert_eq!(
            redact("GET /a?X-Goog-Signature=00ff failed"),
            "GET /a?[removed]"
        );
        assert_eq!(
            redact("Authorization: Bearer abc"),
            "Authorization: [removed]"
        );
        assert_eq!(redact("-----BEGIN PRIVATE KEY-----\nMII"), "[removed]");
        assert_eq!(redact("plain\n  words"), "plain words");
    }

    #[test]
    fn messages_say_problem_value_place_and_remedy() {
        let error = StorageError::Forbidden {
            place: "gs://b/audit/x/a.png".into(),
            detail: "storage.objects.get denied".into(),
            remedy: "the role Storage Object Viewer on the bucket".into(),
        };
        let text = error.to_string();
        assert!(text.starts_with("not allowed"), "{text}");
        assert!(
            text.contains("gs://b/audit/x/a.png") && text.contains("Viewer"),
            "{text}"
        );
    }
}
