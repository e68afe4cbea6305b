//! What is remembered of a run that is made elsewhere: which worker, and what was asked. It outlives this
//! program, so that the run is picked up again. Notes lie in a hidden folder beside the runs, because a run
//! has no folder before it has begun.

use super::ClientError;
use crate::audit::atomic;
use crate::model::document;
use crate::model::ids::RunId;
use crate::remote::wire::AuditRequest;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The folder's name. No run's can begin with a dot.
pub const FOLDER: &str = ".remote";

/// What makes a run elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// `fill-audit serve`.
    Worker,
    /// The Python service: its results are in the bucket.
    Service,
    /// A Cloud Run job: its results are in the bucket.
    Job,
}

/// What is remembered of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteNote {
    /// Document schema.
    pub schema: u32,
    /// What makes it.
    pub kind: Kind,
    /// Where: an address of HTTP or HTTPS, whose token is kept elsewhere; or a job's whole name.
    pub worker: String,
    /// The run.
    pub run_id: RunId,
    /// What was asked.
    pub request: AuditRequest,
    /// When: UTC, RFC 3339.
    pub asked_at: String,
    /// How it ended, in a word; `None` while it is to be followed.
    #[serde(default)]
    pub ended: Option<String>,
}

impl RemoteNote {
    /// Of a run that is about to be asked for.
    pub fn new(
        kind: Kind,
        worker: String,
        run_id: RunId,
        mut request: AuditRequest,
        asked_at: jiff::Timestamp,
    ) -> Self {
        request.run_id = Some(run_id.clone());
        Self {
            schema: document::SCHEMA,
            kind,
            worker,
            run_id,
            request,
            asked_at: asked_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            ended: None,
        }
    }

    fn path(runs_dir: &Path, run_id: &RunId) -> PathBuf {
        runs_dir.join(FOLDER).join(format!("{run_id}.ron"))
    }

    /// Writes the note, whole or not at all.
    ///
    /// # Errors
    /// [`ClientError::Folder`] naming the file.
    pub fn write(&self, runs_dir: &Path) -> Result<(), ClientError> {
        let path = Self::path(runs_dir, &self.run_id);
        let failed = |problem: String| {
            ClientError::Folder(format!(
                "the note on the run cannot be written ({problem}): {}",
                path.display()
            ))
        };
        let text = document::to_ron(self, &path.display().to_string())
            .map_err(|error| failed(error.to_string()))?;
        std::fs::create_dir_all(runs_dir.join(FOLDER))
            .and_then(|()| atomic::write(&path, text.as_bytes()))
            .map_err(|error| failed(error.to_string()))
    }

    /// Reads the note on a run; `None` if there is none.
    ///
    /// # Errors
    /// [`ClientError::Folder`] if it cannot be understood; it is left as it is.
    pub fn read(runs_dir: &Path, run_id: &RunId) -> Result<Option<Self>, ClientError> {
        let path = Self::path(runs_dir, run_id);
        let shown = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(ClientError::Folder(format!(
                    "the note on the run cannot be read ({error}): {shown}"
                )));
            }
        };
        let odd = |error: document::DocumentError| ClientError::Folder(error.to_string());
        let note: Self = document::from_ron(&text, &shown).map_err(odd)?;
        document::check_schema(note.schema, &shown).map_err(odd)?;
        if note.run_id != *run_id {
            return Err(ClientError::Folder(format!(
                "the note is on another run, {}: {shown}",
                note.run_id
            )));
        }
        Ok(Some(note))
    }

    /// The note on the run in a folder; `None` if there is none.
    ///
    /// # Errors
    /// As [`RemoteNote::read`].
    pub fn of_folder(dir: &Path) -> Result<Option<(PathBuf, Self)>, ClientError> {
        let name = dir.file_name().and_then(|name| name.to_str());
        let run_id = name.and_then(|name| RunId::new(name).ok());
        let (Some(run_id), Some(runs_dir)) = (run_id, dir.parent()) else {
            return Ok(None);
        };
        let note = Self::read(runs_dir, &run_id)?;
        Ok(note.map(|note| (runs_dir.to_owned(), note)))
    }

    /// The notes on runs that have not ended, the newest first. One that cannot be understood is left aside,
    /// with a warning in the log.
    pub fn waiting(runs_dir: &Path) -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir(runs_dir.join(FOLDER)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|end| end != "ron") {
                continue;
            }
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(run_id) = stem.and_then(|stem| RunId::new(stem).ok()) else {
                continue;
            };
            match Self::read(runs_dir, &run_id) {
                Ok(Some(note)) if note.ended.is_none() => found.push(note),
                Ok(_) => {}
                Err(error) => tracing::warn!("{error}"),
            }
        }
        found.sort_by(|a, b| (&b.asked_at, &b.run_id).cmp(&(&a.asked_at, &a.run_id)));
        found
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::remote::wire::parse_request;

    fn note(name: &str, secs: i64) -> RemoteNote {
        let body = br#"{"user_id": "u", "session_id": "s", "max_variations": 3,
            "matrix": {"guidances": [2.5], "dilations": [8]},
            "inference": {"crop": {"long_side_px": 64}}}"#;
        RemoteNote::new(
            Kind::Worker,
            "http://127.0.0.1:8080".to_owned(),
            RunId::new(name).unwrap(),
            parse_request(body).unwrap(),
            jiff::Timestamp::from_second(secs).unwrap(),
        )
    }

    #[test]
    fn a_note_comes_back_as_it_was_and_by_the_runs_folder() {
        let dir = tempfile::tempdir().unwrap();
        let note = note("r1", 1_790_000_000);
        note.write(dir.path()).unwrap();
        let (runs_dir, read) = RemoteNote::of_folder(&dir.path().join("r1"))
            .unwrap()
            .unwrap();
        assert_eq!((runs_dir.as_path(), &read), (dir.path(), &note));
        assert_eq!(read.request.run_id, Some(RunId::new("r1").unwrap()));
        let none = RemoteNote::of_folder(&dir.path().join("r2")).unwrap();
        assert_eq!(none, None);
    }

    #[test]
    fn runs_that_have_not_ended_wait_the_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        for (name, secs) in [("a", 10), ("b", 30), ("c", 20)] {
            note(name, secs).write(dir.path()).unwrap();
        }
        let ended = RemoteNote {
            ended: Some("done".to_owned()),
            ..note("d", 40)
        };
        ended.write(dir.path()).unwrap();
        let broken = dir.path().join(FOLDER).join("e.ron");
        std::fs::write(&broken, "(").unwrap();
        let waiting: Vec<String> = RemoteNote::waiting(dir.path())
            .into_iter()
            .map(|note| note.run_id.to_string())
            .collect();
        assert_eq!(waiting, ["b", "c", "a"]);
        assert_eq!(std::fs::read_to_string(&broken).unwrap(), "(");
        let error = RemoteNote::read(dir.path(), &RunId::new("e").unwrap()).unwrap_err();
        assert!(error.to_string().contains("e.ron"), "{error}");
    }
}
