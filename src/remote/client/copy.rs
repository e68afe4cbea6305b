//! The folder that a run elsewhere is copied into: what is here, what is missing, and files that are written
//! whole or not at all. What the worker says becomes a path only by way of the run's own plan.

use super::ClientError;
use crate::audit::lock::RunLock;
use crate::audit::{AuditError, atomic, hash, report_file, run_folder};
use crate::model::cell::{CellDefaults, CellKey};
use crate::model::ids::RunId;
use crate::model::run::{CellDocument, CellOutcome, CellState, DoneCell, RunDocument, files};
use crate::remote::wire::RunFile;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What a file of a run is.
#[derive(Debug, Clone, PartialEq)]
enum Meaning {
    /// What `run.ron` speaks of, or a later plan.
    Input,
    /// `run.ron`, with which the folder becomes a run.
    Plan,
    /// One of a cell's pictures.
    Picture,
    /// A cell's document, with which its pictures become a cell.
    Cell(CellKey),
}

/// A copy that is being made.
#[derive(Debug)]
pub(super) struct RunCopy {
    dir: PathBuf,
    run_id: RunId,
    /// The hash of each file that was looked at or written.
    here: BTreeMap<String, String>,
    defaults: Option<CellDefaults>,
    lock: Option<RunLock>,
    has_new_cells: bool,
}

impl RunCopy {
    pub(super) fn new(runs_dir: &Path, run_id: &RunId) -> Self {
        Self {
            dir: runs_dir.join(run_id.as_str()),
            run_id: run_id.clone(),
            here: BTreeMap::new(),
            defaults: None,
            lock: None,
            has_new_cells: false,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the folder is a run already.
    pub(super) fn has_plan(&self) -> bool {
        self.defaults.is_some()
    }

    /// The files of a list that are missing here or are others. A name that means nothing in this run is
    /// left aside; what a cell's name means is known once `run.ron` is here. Reads what is here once.
    pub(super) fn missing(&mut self, listed: &[RunFile]) -> Result<Vec<RunFile>, ClientError> {
        if let Some(plan) = listed.iter().find(|file| file.name == files::RUN)
            && let Some(own) = self.hash_of(files::RUN)?
        {
            if own != plan.sha256 {
                return Err(ClientError::Folder(format!(
                    "the folder holds another run of that name; move it away, or start the run under \
                     another name: {}",
                    self.dir.display()
                )));
            }
            self.read_plan()?;
        }
        let mut missing = Vec::new();
        for file in listed {
            // Before the plan is here, its cells' names cannot be told from any others.
            if self.meaning(&file.name).is_some()
                && self.hash_of(&file.name)?.as_ref() != Some(&file.sha256)
            {
                missing.push(file.clone());
            }
        }
        Ok(missing)
    }

    fn meaning(&self, name: &str) -> Option<Meaning> {
        match name {
            files::RUN => return Some(Meaning::Plan),
            files::IMAGE
            | files::MASK
            | files::SUBJECT
            | files::INFERENCE_IMAGE
            | files::INFERENCE_MASK => return Some(Meaning::Input),
            _ => {}
        }
        let number = name
            .strip_prefix("plan-")
            .and_then(|rest| rest.strip_suffix(".ron"))
            .and_then(|number| number.parse::<usize>().ok());
        if number.is_some_and(|number| number > 0 && files::plan(number) == name) {
            return Some(Meaning::Input);
        }
        let defaults = self.defaults.as_ref()?;
        let cell = |stem: &str| {
            let key = CellKey::parse(stem, defaults)?;
            // Only what this program would call it: nothing else may come of a name.
            (key.name(defaults) == stem).then_some(key)
        };
        if let Some(stem) = name.strip_suffix(".ron") {
            return cell(stem).map(Meaning::Cell);
        }
        let stem = name.strip_suffix(".png")?;
        cell(stem.strip_suffix(".fill").unwrap_or(stem)).map(|_| Meaning::Picture)
    }

    /// The hash of a file that is here; `None` if there is none.
    fn hash_of(&mut self, name: &str) -> Result<Option<String>, ClientError> {
        if let Some(known) = self.here.get(name) {
            return Ok(Some(known.clone()));
        }
        let path = self.dir.join(name);
        match hash::sha256_file(&path) {
            Ok(digits) => {
                self.here.insert(name.to_owned(), digits.clone());
                Ok(Some(digits))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable("cannot be read", &path, &error)),
        }
    }

    /// Writes a file that came. A cell's document is only written when its pictures are here and are those
    /// that it describes; the cell's state is then given back.
    pub(super) fn put(
        &mut self,
        name: &str,
        bytes: &[u8],
        sha256: &str,
    ) -> Result<Option<(CellKey, CellState)>, ClientError> {
        let Some(meaning) = self.meaning(name) else {
            return Ok(None);
        };
        let cell = match &meaning {
            Meaning::Cell(key) => match self.cell_state(key, name, bytes)? {
                Some(state) => Some((key.clone(), state)),
                None => return Ok(None),
            },
            Meaning::Plan => {
                self.check_plan(bytes)?;
                None
            }
            Meaning::Input | Meaning::Picture => None,
        };
        self.take_lock()?;
        let path = self.dir.join(name);
        atomic::write(&path, bytes)
            .map_err(|error| unusable("cannot be written", &path, &error))?;
        self.here.insert(name.to_owned(), sha256.to_owned());
        self.has_new_cells |= cell.is_some();
        if meaning == Meaning::Plan {
            self.read_plan()?;
        }
        Ok(cell)
    }

    /// Another process must not write the run at the same time. Where nothing is to be written, as beside a
    /// worker that uses the same folder, nobody is kept from it.
    fn take_lock(&mut self) -> Result<(), ClientError> {
        if self.lock.is_none() {
            std::fs::create_dir_all(&self.dir)
                .map_err(|error| unusable("cannot be made", &self.dir, &error))?;
            let lock = RunLock::take(&self.dir)
                .map_err(|error: AuditError| ClientError::Folder(error.to_string()))?;
            atomic::remove_leftovers(&self.dir);
            self.lock = Some(lock);
        }
        Ok(())
    }

    fn check_plan(&self, bytes: &[u8]) -> Result<(), ClientError> {
        let text = String::from_utf8_lossy(bytes);
        let document = RunDocument::parse(&text, "the worker's run.ron")
            .map_err(|error| ClientError::Folder(error.to_string()))?;
        if document.run_id != self.run_id {
            return Err(ClientError::Folder(format!(
                "the worker sends run {} in place of run {}",
                document.run_id, self.run_id
            )));
        }
        Ok(())
    }

    fn read_plan(&mut self) -> Result<(), ClientError> {
        if self.defaults.is_none() {
            let run = run_folder::read_plan(&self.dir)
                .map_err(|error| ClientError::Folder(error.to_string()))?;
            self.defaults = Some(run.defaults);
        }
        Ok(())
    }

    /// What a cell's document says, if the pictures that it speaks of are here.
    fn cell_state(
        &mut self,
        key: &CellKey,
        name: &str,
        bytes: &[u8],
    ) -> Result<Option<CellState>, ClientError> {
        let text = String::from_utf8_lossy(bytes);
        let document = match CellDocument::parse(&text, name) {
            Ok(document) => document,
            // It is shown as what it is wherever the run is opened.
            Err(error) => {
                let reason = error.to_string();
                return Ok(Some(CellState::Unreadable { reason }));
            }
        };
        Ok(match document.outcome.clone() {
            CellOutcome::Failed { error } => Some(CellState::Failed {
                error,
                document: Some(Box::new(document)),
            }),
            CellOutcome::Done {
                fill_sha256,
                composite_sha256,
            } => {
                let Some(defaults) = &self.defaults else {
                    return Ok(None);
                };
                let cell = key.name(defaults);
                let has_both = self.hash_of(&files::fill(&cell))? == Some(fill_sha256)
                    && self.hash_of(&files::composite(&cell))? == Some(composite_sha256);
                has_both.then(|| {
                    CellState::Done(Box::new(DoneCell {
                        timing: document.timing.clone(),
                        document: Some(document),
                    }))
                })
            }
        })
    }

    /// Writes the report of a run that is done, from what is here: an approval or a review that was added
    /// here stays in it.
    pub(super) fn finish(&mut self) -> Result<(), ClientError> {
        if !self.has_plan() || (!self.has_new_cells && self.dir.join(files::REPORT).is_file()) {
            return Ok(());
        }
        self.take_lock()?;
        self.has_new_cells = false;
        report_file::write(&self.dir).map_err(|error| ClientError::Folder(error.to_string()))
    }
}

fn unusable(problem: &str, path: &Path, error: &std::io::Error) -> ClientError {
    ClientError::Folder(format!("{problem} ({error}): {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn copy(dir: &Path) -> RunCopy {
        RunCopy::new(dir, &RunId::new("r1").unwrap())
    }

    fn listed(name: &str) -> RunFile {
        RunFile {
            name: name.to_owned(),
            size_bytes: 1,
            sha256: "0".repeat(64),
        }
    }

    #[test]
    fn a_name_that_is_no_file_of_the_run_becomes_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let mut copy = copy(dir.path());
        copy.defaults = Some(CellDefaults::of_service_run());
        let strange = [
            "../up.png",
            "..",
            "",
            "/etc/passwd",
            "a/b.png",
            ".lock",
            "review-ada.ron",
            "REPORT.md",
            "plan-0.ron",
            "plan-01.ron",
            "plan-1.ron.png",
            "Q4_0_gs2/../../x.png",
            "Q4_0_gs2.exe",
            "Q4_0_gs2.00.png",
        ];
        let list: Vec<RunFile> = strange.into_iter().map(listed).collect();
        assert_eq!(copy.missing(&list).unwrap(), []);
        for name in strange {
            assert_eq!(copy.put(name, b"x", "0").unwrap(), None);
        }
        assert!(!copy.dir().exists());
        let list = [
            listed("image.png"),
            listed("Q4_0_gs2.fill.png"),
            listed("plan-2.ron"),
        ];
        assert_eq!(copy.missing(&list).unwrap(), list);
    }

    #[test]
    fn what_is_here_is_not_missing_and_what_was_changed_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = copy(dir.path());
        let sha256 = hash::sha256(b"picture");
        first.put("image.png", b"picture", &sha256).unwrap();
        drop(first);
        let mut copy = copy(dir.path());
        let mut file = listed("image.png");
        file.sha256.clone_from(&sha256);
        assert_eq!(copy.missing(std::slice::from_ref(&file)).unwrap(), []);
        file.sha256 = "1".repeat(64);
        assert_eq!(copy.missing(std::slice::from_ref(&file)).unwrap(), [file]);
    }

    #[test]
    fn a_plan_of_another_run_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut copy = copy(dir.path());
        let error = copy.put(files::RUN, b"(", "0").unwrap_err();
        assert!(
            error.to_string().contains("the worker's run.ron"),
            "{error}"
        );
        std::fs::create_dir_all(copy.dir()).unwrap();
        std::fs::write(copy.dir().join(files::RUN), "another").unwrap();
        let error = copy.missing(&[listed(files::RUN)]).unwrap_err();
        assert!(error.to_string().contains("another run"), "{error}");
    }
}
