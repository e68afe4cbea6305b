//! What a worker remembers of each run, so that a restart goes on where it was: one JSON document a run,
//! in a hidden folder beside the runs. The cells themselves are in the run's own folder.

use super::RemoteError;
use super::wire::{AuditRequest, RunState};
use crate::audit::lock::RunLock;
use crate::audit::{AuditError, atomic};
use crate::model::ids::RunId;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The folder's name. No run's can begin with a dot.
pub const FOLDER: &str = ".worker";
/// The newest schema that is read.
const SCHEMA: u32 = 1;
/// Longer documents are refused unread: a request has at most 64 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// What is remembered of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Document schema.
    pub schema: u32,
    /// The run.
    pub run_id: RunId,
    /// Its place in the order in which runs were asked for.
    pub number: u64,
    /// What was asked.
    pub request: AuditRequest,
    /// How far it is; `running` of a worker that is gone means that it was interrupted.
    pub state: RunState,
    /// Whether it was asked to stop, so that a restart does not go on with it.
    pub is_cancelling: bool,
    /// Whether the run's folder is this run's, so that it can be gone on with without the session.
    pub has_folder: bool,
    /// Cells in the plan.
    pub cells_planned: usize,
    /// Cells with pictures, when it last ended.
    pub cells_done: usize,
    /// Cells that failed, when it last ended.
    pub cells_failed: usize,
    /// Why it failed.
    pub error: Option<String>,
    /// UTC, RFC 3339.
    pub created_at: String,
    /// UTC, RFC 3339.
    pub started_at: Option<String>,
    /// UTC, RFC 3339.
    pub ended_at: Option<String>,
}

impl RunRecord {
    /// A run that was just asked for.
    pub fn new(run_id: RunId, number: u64, request: AuditRequest, created_at: String) -> Self {
        Self {
            schema: SCHEMA,
            run_id,
            number,
            request,
            state: RunState::Queued,
            is_cancelling: false,
            has_folder: false,
            cells_planned: 0,
            cells_done: 0,
            cells_failed: 0,
            error: None,
            created_at,
            started_at: None,
            ended_at: None,
        }
    }
}

impl RunRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// What cannot be understood of it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() as u64 > MAX_BYTES {
            return Err(format!(
                "it has {} bytes; at most {MAX_BYTES} are read",
                text.len()
            ));
        }
        let record: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if record.schema != SCHEMA {
            return Err(format!(
                "its schema is {} but this program reads {SCHEMA}",
                record.schema
            ));
        }
        Ok(record)
    }
}

/// The records of one folder of runs, which one worker at a time may use.
#[derive(Debug)]
pub struct Records {
    folder: PathBuf,
    _lock: RunLock,
}

impl Records {
    /// Takes a folder of runs, and makes it if it is not there.
    ///
    /// # Errors
    /// [`RemoteError::Busy`] if another worker has it, [`RemoteError::Folder`] if it cannot be made.
    pub fn open(runs_dir: &Path) -> Result<Self, RemoteError> {
        let folder = runs_dir.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(|source| {
            AuditError::file("the folder of runs cannot be made", &folder, source)
        })?;
        let lock = RunLock::take(&folder).map_err(|error| match error {
            AuditError::Busy { .. } => RemoteError::Busy {
                path: runs_dir.display().to_string(),
            },
            other => RemoteError::Folder(other),
        })?;
        atomic::remove_leftovers(&folder);
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    fn path(&self, run_id: &RunId) -> PathBuf {
        self.folder.join(format!("{run_id}.json"))
    }

    /// Whether something is remembered of a run, even if it cannot be understood.
    pub fn has(&self, run_id: &RunId) -> bool {
        self.path(run_id).exists()
    }

    /// Every record, in the order in which the runs were asked for. One that cannot be understood is
    /// left as it is, with a warning.
    ///
    /// # Errors
    /// [`AuditError::File`] if the folder cannot be listed.
    pub fn load(&self) -> Result<Vec<RunRecord>, AuditError> {
        let failed = |source| AuditError::file("the folder cannot be read", &self.folder, source);
        let mut records = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok(record) => records.push(record),
                Err(problem) => {
                    tracing::warn!(
                        "a run's record is left aside: {problem}: {}",
                        path.display()
                    );
                }
            }
        }
        records.sort_by_key(|record| record.number);
        Ok(records)
    }

    /// Writes a record, whole or not at all.
    ///
    /// # Errors
    /// [`AuditError::File`] naming the file.
    pub fn write(&self, record: &RunRecord) -> Result<(), AuditError> {
        let path = self.path(&record.run_id);
        let failed = |source| AuditError::file("the run's record cannot be written", &path, source);
        let text = serde_json::to_vec_pretty(record).map_err(|error| failed(error.into()))?;
        atomic::write(&path, &text).map_err(failed)
    }
}

fn read(path: &Path) -> Result<RunRecord, String> {
    let size_bytes = path.metadata().map_err(|error| error.to_string())?.len();
    if size_bytes > MAX_BYTES {
        return Err(format!(
            "it has {size_bytes} bytes; at most {MAX_BYTES} are read"
        ));
    }
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let record = RunRecord::parse(&text)?;
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    if stem != Some(record.run_id.as_str()) {
        return Err(format!("it is the record of run {}", record.run_id));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::remote::wire::parse_request;

    fn record(name: &str, number: u64) -> RunRecord {
        let request = parse_request(br#"{"user_id": "u", "session_id": "s"}"#).unwrap();
        let at = "2026-11-21T09:00:00Z".to_owned();
        RunRecord::new(RunId::new(name).unwrap(), number, request, at)
    }

    #[test]
    fn records_come_back_in_the_order_of_the_requests() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(&dir.path().join("runs")).unwrap();
        for (name, number) in [("b", 1), ("a", 3), ("c", 2)] {
            records.write(&record(name, number)).unwrap();
        }
        let loaded = records.load().unwrap();
        assert_eq!(loaded, [record("b", 1), record("c", 2), record("a", 3)]);
    }

    #[test]
    fn what_cannot_be_understood_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        let folder = dir.path().join(FOLDER);
        let newer = RunRecord {
            schema: 2,
            ..record("newer", 1)
        };
        records.write(&newer).unwrap();
        records.write(&record("right", 2)).unwrap();
        std::fs::copy(folder.join("right.json"), folder.join("other.json")).unwrap();
        std::fs::write(folder.join("broken.json"), "{").unwrap();
        assert_eq!(records.load().unwrap(), [record("right", 2)]);
        assert_eq!(std::fs::read(folder.join("broken.json")).unwrap(), b"{");
        assert!(records.has(&RunId::new("broken").unwrap()));
        assert!(!records.has(&RunId::new("none").unwrap()));
    }

    #[test]
    fn one_worker_at_a_time_uses_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = Records::open(dir.path()).unwrap();
        let second = Records::open(dir.path());
        assert!(matches!(second, Err(RemoteError::Busy { .. })));
        drop(first);
        assert!(Records::open(dir.path()).is_ok());
    }
}
