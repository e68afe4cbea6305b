//! Journals as files beside a run: append, flush, and read again what other windows appended. What a
//! line means is `model::review`'s.

use super::AuditError;
use crate::model::document::DocumentError;
use crate::model::ids::ReviewerId;
use crate::model::review::{Event, journal};
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// An event that is not in its journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused it.
    #[error("the review cannot be written ({source}); it is kept in memory: {path}")]
    File {
        /// The journal.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The event breaks a rule of the journal.
    #[error("the review's event cannot be written: {0}")]
    Event(#[from] DocumentError),
}

impl JournalError {
    /// Whether trying again may help: the event itself is well.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

/// Where events go. The program's is a [`Journal`]; tests give their own.
pub trait Sink {
    /// Returns once the event is on the disk, and only then `Ok`.
    ///
    /// # Errors
    /// [`JournalError`]; the event is then not to be relied on.
    fn append(&mut self, event: &Event) -> Result<(), JournalError>;
}

/// One reviewer's journal beside a run.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// `{run_dir}/review-{reviewer}.ron`. Nothing is opened or made yet.
    pub fn new(run_dir: &Path, reviewer: &ReviewerId) -> Self {
        Self {
            path: run_dir.join(journal::file_name(reviewer)),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `line` on a line of its own and flushes it to the disk.
    ///
    /// The file is opened anew each time, so that a folder that vanished and came back is found, and
    /// locked while it is looked at and written, so that two windows never write into one line. A line
    /// that was torn by a full disk or a crash stays as it is; the next one starts below it.
    fn append_line(&self, line: &str) -> std::io::Result<()> {
        let is_new = !self.path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&self.path)?;
        let is_locked = match file.lock() {
            Ok(()) => true,
            // Some network folders cannot lock; a line break too many then does no harm.
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => false,
            Err(error) => return Err(error),
        };
        let mut text = String::with_capacity(line.len() + 2);
        if !is_locked || !ends_in_line_break(&mut file)? {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        if is_new {
            sync_folder(&self.path)?;
        }
        Ok(())
    }
}

impl Sink for Journal {
    fn append(&mut self, event: &Event) -> Result<(), JournalError> {
        let path = self.path.display().to_string();
        let line = journal::to_line(event, &path)?;
        self.append_line(&line)
            .map_err(|source| JournalError::File { path, source })
    }
}

/// Whether a new line may start at the end: the file is empty or ends in a line break.
fn ends_in_line_break(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0u8];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Makes the name of a new file outlive a power failure, where the system can.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// A journal that keeps what it could not write, in order, until it can.
#[derive(Debug)]
pub struct PendingJournal<S> {
    sink: S,
    waiting: VecDeque<Event>,
    problem: Option<JournalError>,
}

impl<S: Sink> PendingJournal<S> {
    /// With nothing waiting.
    pub fn new(sink: S) -> Self {
        Self {
            sink,
            waiting: VecDeque::new(),
            problem: None,
        }
    }

    /// Writes an event after all that still wait. `true` if it is on the disk now; otherwise it waits,
    /// and [`PendingJournal::problem`] says why.
    pub fn push(&mut self, event: Event) -> bool {
        self.waiting.push_back(event);
        self.flush()
    }

    /// Tries to write what waits, in order. `true` if nothing waits any more.
    ///
    /// An event that can never be written (it breaks a rule) is dropped with its problem kept, so that
    /// it does not hold back those behind it.
    pub fn flush(&mut self) -> bool {
        let mut refused = None;
        while let Some(event) = self.waiting.front() {
            match self.sink.append(event) {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(problem) if problem.may_pass() => {
                    self.problem = Some(problem);
                    return false;
                }
                Err(problem) => {
                    self.waiting.pop_front();
                    refused = Some(problem);
                }
            }
        }
        self.problem = refused;
        true
    }

    /// Events that are not on the disk, in order.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.waiting.iter()
    }

    /// Why they are not; `None` if all is well. It stays until a flush succeeds.
    pub fn problem(&self) -> Option<&JournalError> {
        self.problem.as_ref()
    }

    /// Where events go.
    pub fn sink(&self) -> &S {
        &self.sink
    }
}

/// What the journals of a run hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Journals {
    /// Events of all reviewers, file by file.
    pub events: Vec<Event>,
    /// Lines that were skipped and files that could not be read, as they are shown.
    pub warnings: Vec<String>,
}

/// Reads the journals beside a run again whenever one has changed. It never writes.
#[derive(Debug)]
pub struct JournalReader {
    run_dir: PathBuf,
    known: BTreeMap<PathBuf, (u64, Option<SystemTime>)>,
}

impl JournalReader {
    /// Of the run in a folder. Nothing is read yet.
    pub fn new(run_dir: &Path) -> Self {
        Self {
            run_dir: run_dir.to_owned(),
            known: BTreeMap::new(),
        }
    }

    /// All journals, if any of them has changed since the last call; `None` if none has. Events that
    /// were read before come again: their ids tell.
    ///
    /// # Errors
    /// [`AuditError::File`] if the folder cannot be listed. One journal that cannot be read is a warning.
    pub fn poll(&mut self) -> Result<Option<Journals>, AuditError> {
        let mut found = BTreeMap::new();
        for path in journal_files(&self.run_dir)? {
            let metadata = std::fs::metadata(&path).ok();
            let state = metadata.map(|metadata| (metadata.len(), metadata.modified().ok()));
            found.insert(path, state.unwrap_or((0, None)));
        }
        if found == self.known {
            return Ok(None);
        }
        let mut journals = Journals::default();
        for path in found.keys() {
            read_into(&mut journals, path);
        }
        self.known = found;
        Ok(Some(journals))
    }
}

/// Reads every journal of a run once.
///
/// # Errors
/// [`AuditError::File`] if the folder cannot be listed.
pub fn read_all(run_dir: &Path) -> Result<Journals, AuditError> {
    let mut journals = Journals::default();
    for path in journal_files(run_dir)? {
        read_into(&mut journals, &path);
    }
    Ok(journals)
}

/// Journals above this size are not read: a hundred thousand verdicts take a tenth of it.
const MAX_JOURNAL_BYTES: u64 = 256 << 20;

fn read_into(journals: &mut Journals, path: &Path) {
    let shown = path.display().to_string();
    let read = || -> std::io::Result<Vec<u8>> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        if size > MAX_JOURNAL_BYTES {
            return Err(std::io::Error::other(format!(
                "it has {size} bytes; at most {MAX_JOURNAL_BYTES} are read"
            )));
        }
        let mut bytes = Vec::new();
        file.take(MAX_JOURNAL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => {
            let parsed = journal::parse(&bytes, 1, &shown);
            journals.events.extend(parsed.events);
            journals
                .warnings
                .extend(parsed.warnings.iter().map(ToString::to_string));
        }
        Err(error) => {
            journals
                .warnings
                .push(format!("a journal cannot be read ({error}): {shown}"));
        }
    }
}

/// The journals in a folder, in order of their names.
fn journal_files(run_dir: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let listed = |source| AuditError::file("the run's journals cannot be listed", run_dir, source);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(run_dir).map_err(listed)? {
        let entry = entry.map_err(listed)?;
        let name = entry.file_name();
        if name.to_str().and_then(journal::reviewer_of).is_some() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
