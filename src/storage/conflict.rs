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
    /// The object keeps the name on both sides; the local file stays beside it under a name of its own,
    /// see [`name_beside`], which a push sends too.
    KeepBoth,
}

/// The decisions that were made, by file name in the run; the rest stays a [`Conflict`].
#[derive(Debug, Clone, Default)]
pub struct Resolutions {
    /// For single files.
    pub by_file: BTreeMap<String, Resolution>,
    /// For all others.
    pub otherwise: Option<Resolution>,
    /// The generations that decisions were made about, where that is known: a decision does not count for
    /// an object that was written again since it was shown.
    pub shown: BTreeMap<String, i64>,
}

impl Resolutions {
    /// What was decided about `file`, whose object is at `generation` now.
    pub fn of(&self, file: &str, generation: i64) -> Option<Resolution> {
        if self
            .shown
            .get(file)
            .is_some_and(|shown| *shown != generation)
        {
            return None;
        }
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
            "{} changed here ({} bytes, {}) and in the store ({} bytes, {}, generation {}): keep mine, take theirs, or keep both",
            self.file,
            self.mine_bytes,
            time_words(self.mine_updated_secs),
            self.theirs.size_bytes,
            time_words(self.theirs.updated_secs),
            self.theirs.generation,
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

/// The name under which the local version of `file` stays when both are kept: `REPORT.mine-1a2b3c4d.md`,
/// with the CRC32C of its bytes, so that keeping the same bytes twice gives one file.
pub fn name_beside(file: &str, crc: u32) -> String {
    let (folder, name) = file
        .rsplit_once('/')
        .map_or(("", file), |(folder, name)| (folder, name));
    let beside = match name.rsplit_once('.') {
        Some((stem, end)) if !stem.is_empty() => format!("{stem}.mine-{crc:08x}.{end}"),
        _ => format!("{name}.mine-{crc:08x}"),
    };
    if folder.is_empty() {
        beside
    } else {
        format!("{folder}/{beside}")
    }
}

/// Keeps a visible copy of a local file whose name the store's version takes.
pub(super) fn keep_beside(path: &Path) -> Result<()> {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
        return Ok(());
    };
    let (_, crc) = files::checksum(path)?;
    files::place_copy(path, &path.with_file_name(name_beside(name, crc)), false)
}

/// Seconds since 1970 as `2026-11-21 10:15 UTC`.
pub fn time_words(secs: i64) -> String {
    jiff::Timestamp::from_second(secs).map_or_else(
        |_| "unknown time".to_owned(),
        |t| t.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_keeps_its_folder_and_its_ending() {
        assert_eq!(name_beside("REPORT.md", 0x1a), "REPORT.mine-0000001a.md");
        assert_eq!(name_beside("a.b/notes", 1), "a.b/notes.mine-00000001");
    }

    #[test]
    fn a_decision_does_not_count_for_what_was_not_shown() {
        let mut decided = Resolutions::default();
        decided.by_file.insert("a".to_owned(), Resolution::KeepMine);
        assert_eq!(decided.of("a", 7), Some(Resolution::KeepMine));
        decided.shown.insert("a".to_owned(), 6);
        assert_eq!(decided.of("a", 7), None);
        assert_eq!(decided.of("a", 6), Some(Resolution::KeepMine));
    }
}
