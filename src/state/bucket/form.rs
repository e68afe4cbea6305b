//! The settings of storage as they are typed, and what a check of them found.

use std::path::PathBuf;

/// What is typed. Texts, so that anything can be typed; the background says what cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageForm {
    /// The bucket's name.
    pub bucket: String,
    /// Where a run lives, with `{run_id}`.
    pub run_prefix: String,
    /// Where a session lives, with `{user_id}` and `{session_id}`.
    pub session_prefix: String,
    /// The path of a service account's JSON file; empty for none.
    pub credentials: String,
    /// How much the cache may hold, in megabytes.
    pub cache_limit_mb: u64,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckVerdict {
    /// As it should be.
    Ok,
    /// It works, but less well than it could.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be checked.
    Skipped,
}

impl CheckVerdict {
    /// The word in front of the line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One line of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckLine {
    /// What was checked.
    pub what: String,
    /// How it went.
    pub verdict: CheckVerdict,
    /// What was found, with the remedy where something is wrong.
    pub words: String,
}

/// The settings on screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageView {
    /// What is typed.
    pub form: StorageForm,
    /// What stands in the file.
    pub saved: StorageForm,
    /// The file; `None` where nothing is kept.
    pub path: Option<PathBuf>,
    /// Which credentials would be used, by kind.
    pub credentials_words: String,
    /// The bucket that the command line names in place of the file's.
    pub bucket_override: Option<String>,
    /// Whether a bucket is configured at all.
    pub has_bucket: bool,
    /// Why the file could not be read or written.
    pub problem: Option<String>,
    /// The check that is under way.
    pub checking: Option<u64>,
    /// What the last check found.
    pub checks: Vec<CheckLine>,
}

impl StorageView {
    /// Whether something is typed that does not stand in the file.
    pub fn is_changed(&self) -> bool {
        self.form != self.saved
    }
}
