//! Which generation each file of a local run was last seen at, in `.sync.ron` of the run's folder.
//!
//! This is what lets a push say "only if nobody wrote since". It holds no times, so that a pull that was
//! interrupted and run again leaves the same bytes as one that was not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ObjectMeta, Result, StorageError, files};

const FILE_NAME: &str = ".sync.ron";

/// The state of one run's folder against one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncState {
    /// Version of this document.
    pub schema: u32,
    /// The bucket (or folder) and the run's prefix in it.
    pub place: String,
    /// Whether a pull into this folder has not ended yet.
    pub pull_unfinished: bool,
    /// What was last seen, by file name.
    pub seen: BTreeMap<String, Seen>,
}

/// One object as it was last seen equal to the local file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its generation in the store.
    pub generation: i64,
    /// CRC32C of both sides' bytes.
    pub crc32c: u32,
}

impl SyncState {
    /// Reads the state in `dir`; none, or one for another place, is an empty one.
    ///
    /// # Errors
    /// [`StorageError::Document`] if it is there but unreadable.
    pub fn load(dir: &Path, place: &str) -> Result<Self> {
        let empty = || Self {
            schema: 1,
            place: place.to_owned(),
            pull_unfinished: false,
            seen: BTreeMap::new(),
        };
        let path = path_in(dir);
        let text = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(empty()),
            other => other.map_err(StorageError::io("reading", &path))?,
        };
        let wrong = |detail: String| StorageError::Document {
            what: "sync state",
            detail,
            path: path.clone(),
        };
        let state: Self = ron::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        if state.schema != 1 {
            return Err(wrong(format!(
                "schema {} is not known here (1 is)",
                state.schema
            )));
        }
        Ok(if state.place == place { state } else { empty() })
    }

    /// Where the files in `dir` were fetched from or sent to last: bucket and prefix, as in
    /// `gs://bucket/audit/run/`. `None` where there is no state.
    pub fn place_of(dir: &Path) -> Option<String> {
        let text = std::fs::read_to_string(path_in(dir)).ok()?;
        ron::from_str::<Self>(&text).ok().map(|state| state.place)
    }

    /// Whether the pull into `dir` was interrupted; `false` where there is no state.
    pub fn pull_was_interrupted(dir: &Path) -> bool {
        std::fs::read_to_string(path_in(dir))
            .ok()
            .and_then(|text| ron::from_str::<Self>(&text).ok())
            .is_some_and(|state| state.pull_unfinished)
    }

    /// Writes the state.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn save(&self, dir: &Path) -> Result<()> {
        let path = path_in(dir);
        let text = ron::ser::to_string_pretty(self, ron::ser::PrettyConfig::default())
            .map_err(|e| StorageError::io("writing", &path)(std::io::Error::other(e)))?;
        files::write_atomic(&path, text.as_bytes())
    }

    /// Notes that the local file now equals `meta`.
    pub fn note(&mut self, file: &str, meta: &ObjectMeta) {
        if let Some(crc32c) = meta.crc32c {
            self.seen.insert(
                file.to_owned(),
                Seen {
                    generation: meta.generation,
                    crc32c,
                },
            );
        }
    }
}

fn path_in(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_state_for_another_place_does_not_count_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = SyncState::load(dir.path(), "gs://a/audit/x/").unwrap();
        state.seen.insert(
            "a.png".into(),
            Seen {
                generation: 7,
                crc32c: 1,
            },
        );
        state.save(dir.path()).unwrap();
        assert_eq!(
            SyncState::load(dir.path(), "gs://a/audit/x/").unwrap(),
            state
        );
        assert!(
            SyncState::load(dir.path(), "gs://b/audit/x/")
                .unwrap()
                .seen
                .is_empty()
        );
        std::fs::write(path_in(dir.path()), "(schema: 1").unwrap();
        let error = SyncState::load(dir.path(), "gs://a/audit/x/").unwrap_err();
        assert!(error.to_string().contains(".sync.ron"), "{error}");
    }
}
