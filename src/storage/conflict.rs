//! A file that both sides changed, and what to do about it. Deciding is left to a person.

use std::collections::BTreeMap;
use std::path::Path;

use super::{ObjectMeta, Result, StorageError, files};

/// Both sides changed a file since they last agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The file's name in the run.
    pub file: String,
    /// Length of the local file in bytes.
    pub mine_bytes: u64,
    /// When the local file was written, in seconds since 1970.
    pub mine_updated_secs: i64,
    /// The object in the store.
    pub theirs: ObjectMeta,
}

/// What to do about a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The local file stays, and a push replaces the very generation that was shown.
    KeepMine,
    /// The object replaces the local file, which is kept beside it as a hidden `.replaced-…`.
    TakeTheirs,
}

/// The decisions that were made, by file name in the run; the rest stays a [`Conflict`].
#[derive(Debug, Clone, Default)]
pub struct Resolutions {
    /// For single files.
    pub by_file: BTreeMap<String, Resolution>,
    /// For all others.
    pub otherwise: Option<Resolution>,
}

impl Resolutions {
    /// What was decided about `file`.
    pub fn of(&self, file: &str) -> Option<Resolution> {
        self.by_file.get(file).copied().or(self.otherwise)
    }
}

impl Conflict {
    pub(super) fn new(file: &str, path: &Path, theirs: &ObjectMeta) -> Self {
        let facts = std::fs::metadata(path).ok();
        let modified = facts.as_ref().and_then(|f| f.modified().ok());
        let since = modified.and_then(|m| m.duration_since(std::time::UNIX_EPOCH).ok());
        Self {
            file: file.to_owned(),
            mine_bytes: facts.map_or(0, |f| f.len()),
            mine_updated_secs: since.map_or(0, |s| s.as_secs() as i64),
            theirs: theirs.clone(),
        }
    }

    /// The choice in one line, for people.
    pub fn words(&self) -> String {
        format!(
            "{} changed here ({} bytes, {}) and in the store ({} bytes, {}): keep mine or take theirs",
            self.file,
            self.mine_bytes,
            time_words(self.mine_updated_secs),
            self.theirs.size_bytes,
            time_words(self.theirs.updated_secs),
        )
    }
}

/// Keeps a copy of a local file that is about to be replaced.
pub(super) fn keep_replaced(path: &Path) -> Result<()> {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
        return Ok(());
    };
    let (_, crc) = files::checksum(path)?;
    let kept = path.with_file_name(format!(".replaced-{crc:08x}-{name}"));
    std::fs::copy(path, &kept)
        .map(|_| ())
        .map_err(StorageError::io("keeping a copy of", path))
}

/// Seconds since 1970 as `2026-11-21 10:15 UTC`.
pub fn time_words(secs: i64) -> String {
    jiff::Timestamp::from_second(secs).map_or_else(
        |_| "unknown time".to_owned(),
        |t| t.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}
