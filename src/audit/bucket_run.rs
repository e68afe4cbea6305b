//! A run that lives in a bucket while it is made on this disk, perhaps by several processes that each have
//! only a part of it. It knows nothing of who asked for the run.
//!
//! What holds for all of them together: the first plan that arrives is everyone's; a cell that is there is
//! not made again; the report is written by whoever finds every cell in place, and if several find that at
//! once there is still one report, that of the whole run.

use super::report_file;
use super::run_folder::{self, Verification};
use super::start::check_same_documents;
use super::{AuditError, atomic, report_links};
use crate::model::run::{CellState, Run, RunDocument, files};
use crate::storage::cache::Cache;
use crate::storage::conflict::{Resolution, Resolutions};
use crate::storage::pull::{Pull, PullOptions};
use crate::storage::push::{Push, PushOptions, PushReport};
use crate::storage::store::read_verified;
use crate::storage::sync_state::SyncState;
use crate::storage::{ObjectName, StorageError, Store};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// How often a report is written anew because someone else wrote one meanwhile.
const REPORT_ATTEMPTS: u32 = 8;

/// What keeps a run from being brought to the bucket or back.
#[derive(Debug, thiserror::Error)]
pub enum BucketRunError {
    /// The bucket.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The run itself.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Files that could not be sent or fetched, or that both sides have.
    #[error("{doing} is not whole: {}; the same command goes on", .files.join(", "))]
    Partly {
        /// What was being done.
        doing: &'static str,
        /// The files, each with its reason.
        files: Vec<String>,
    },
}

impl BucketRunError {
    /// Whether the same call may succeed a little later without anyone doing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Storage(error) if error.is_retryable())
            || matches!(self, Self::Partly { .. })
    }
}

/// How a part of a run ended in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// So many cells are still to be made by others; the last of them writes the report.
    OthersAreAtWork {
        /// Cells that are missing.
        missing: usize,
    },
    /// This process was the last and wrote the report.
    WroteReport,
    /// Everything was there, the report too.
    HadReport,
}

/// A run with its place in the bucket and its folder here.
#[derive(Debug, Clone)]
pub struct BucketRun {
    /// The bucket.
    pub store: Arc<dyn Store>,
    /// Verified copies.
    pub cache: Arc<Cache>,
    /// The run's prefix in the bucket, ending in `/`.
    pub prefix: String,
    /// Its folder here.
    pub folder: PathBuf,
}

impl BucketRun {
    fn name_of(&self, file: &str) -> Result<ObjectName, StorageError> {
        ObjectName::new(format!("{}{file}", self.prefix))
    }

    /// Whether the bucket has the run's plan.
    ///
    /// # Errors
    /// What the bucket says.
    pub async fn is_there(&self) -> Result<bool, StorageError> {
        self.has(files::RUN).await
    }

    async fn has(&self, file: &str) -> Result<bool, StorageError> {
        match self.store.stat(&self.name_of(file)?).await {
            Ok(_) => Ok(true),
            Err(StorageError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fetches what the bucket has of the run and the folder has not, verified. What both have made is the
    /// bucket's from then on; this side's is kept aside.
    ///
    /// # Errors
    /// [`BucketRunError`] if something did not come, or the bucket's run asks for something else.
    pub async fn fetch(&self, cancel: &CancellationToken) -> Result<(), BucketRunError> {
        self.take_plan().await?;
        let options = PullOptions {
            resolutions: theirs(),
            ..PullOptions::default()
        };
        let pull = Pull {
            store: Arc::clone(&self.store),
            cache: Arc::clone(&self.cache),
            prefix: self.prefix.clone(),
            dir: self.folder.clone(),
            options,
            events: None,
            cancel: cancel.clone(),
        };
        let report = pull.run().await?;
        // Without a network an old list is served: whoever goes on by it would make cells twice.
        if let Some(words) = report.offline {
            return Err(StorageError::Offline {
                place: format!("{}/{}", self.store.place(), self.prefix),
                detail: words,
            }
            .into());
        }
        let failed = report.failed.iter();
        let failed = failed.map(|(file, error)| format!("{file} ({error})"));
        let both = report.conflicts.iter();
        let both = both.map(|conflict| format!("{} (both sides have one)", conflict.file));
        partly("what was fetched", failed.chain(both).collect())
    }

    /// Whether the folder is there and no fetching into it was interrupted.
    pub fn is_here(&self) -> bool {
        self.folder.join(files::RUN).is_file() && !SyncState::pull_was_interrupted(&self.folder)
    }

    fn push(&self, cancel: &CancellationToken, resolutions: Resolutions) -> Push {
        Push {
            store: Arc::clone(&self.store),
            prefix: self.prefix.clone(),
            dir: self.folder.clone(),
            options: PushOptions {
                resolutions,
                ..PushOptions::default()
            },
            events: None,
            cancel: cancel.clone(),
        }
    }

    /// Sends what the folder has and the bucket has not: pictures before the documents that speak of them. What
    /// someone else sent meanwhile is taken.
    ///
    /// # Errors
    /// [`BucketRunError`] if something was not sent.
    pub async fn send(&self, cancel: &CancellationToken) -> Result<(), BucketRunError> {
        complete(&self.push_again(cancel).await?)
    }

    /// A push that also takes what someone else was faster with while it ran.
    async fn push_again(&self, cancel: &CancellationToken) -> Result<PushReport, BucketRunError> {
        let push = self.push(cancel, theirs());
        let mut report = push.run().await?;
        for _ in 0..REPORT_ATTEMPTS {
            if report.conflicts.is_empty() {
                break;
            }
            // Now the list shows theirs.
            let sent = report.sent;
            report = push.run().await?;
            report.sent.extend(sent);
        }
        Ok(report)
    }

    /// As [`BucketRun::send`], after links were put into the report.
    ///
    /// # Errors
    /// See [`BucketRun::send`].
    pub async fn send_with_links(&self, cancel: &CancellationToken) -> Result<(), BucketRunError> {
        complete(&report_links::push(&self.push(cancel, theirs())).await?)
    }

    /// Makes the plan in the folder everyone's, or takes the one that was faster, if it asks for the same.
    ///
    /// # Errors
    /// [`BucketRunError`] if the other plan asks for something else, or a side cannot be read or written.
    pub async fn publish(&self, cancel: &CancellationToken) -> Result<(), BucketRunError> {
        let report = self.push(cancel, Resolutions::default()).run().await?;
        if !report.conflicts.iter().any(|both| both.file == files::RUN) {
            return complete(&report);
        }
        // Its plan is taken, and what others have made meanwhile.
        self.fetch(cancel).await
    }

    /// Takes the bucket's plan in the place of one that asks for the same: it may have been made here before
    /// this process was killed.
    async fn take_plan(&self) -> Result<(), BucketRunError> {
        let path = self.folder.join(files::RUN);
        let mine = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other
                .map_err(|source| AuditError::file("the plan cannot be read", &path, source))?,
        };
        let name = self.name_of(files::RUN)?;
        let meta = match self.store.stat(&name).await {
            Err(StorageError::NotFound { .. }) => return Ok(()),
            other => other?,
        };
        if meta.crc32c == Some(crc32c::crc32c(&mine)) {
            return Ok(());
        }
        let theirs = read_verified(&*self.store, &meta).await?;
        let place = format!("{}/{name}", self.store.place());
        let (found, wanted) = (
            document(&theirs, &place)?,
            document(&mine, &path.display().to_string())?,
        );
        check_same_documents(&found, &wanted, &self.folder)?;
        atomic::write(&path, &theirs)
            .map_err(|source| AuditError::file("the plan cannot be written", &path, source))?;
        Ok(())
    }

    /// After this process's part: fetches what others made, and writes the report if nothing is missing.
    ///
    /// # Errors
    /// [`BucketRunError`] if a side cannot be read or written.
    pub async fn finish(&self, cancel: &CancellationToken) -> Result<Finished, BucketRunError> {
        for _ in 0..REPORT_ATTEMPTS {
            self.fetch(cancel).await?;
            let run = run_folder::open(&self.folder, Verification::Full)
                .map_err(|error| AuditError::Refused(error.to_string()))?;
            let missing = missing(&run);
            if missing > 0 {
                return Ok(Finished::OthersAreAtWork { missing });
            }
            if self.has(files::REPORT).await? && self.report_says_all(&run) {
                return Ok(Finished::HadReport);
            }
            let links = report_links::of_run(&*self.store, &self.prefix, &self.folder, &run).await;
            let links = match links {
                Ok(links) => Some(links),
                Err(error) => {
                    tracing::warn!(%error, "the report goes without links");
                    None
                }
            };
            report_file::write_with(&self.folder, links.as_ref())?;
            let report = self.push_again(cancel).await?;
            complete(&report)?;
            if report.sent.iter().any(|file| file == files::REPORT) {
                return Ok(Finished::WroteReport);
            }
            // Someone else wrote one meanwhile; it may have been made before the last cell was there.
        }
        Err(BucketRunError::Partly {
            doing: "what was sent",
            files: vec![format!("{} (others keep writing it)", files::REPORT)],
        })
    }

    /// Whether the report in the folder, which is the bucket's, says what one that is made now would say; its
    /// links aside, which differ each time.
    fn report_says_all(&self, run: &Run) -> bool {
        let Ok(theirs) = std::fs::read_to_string(self.folder.join(files::REPORT)) else {
            return false;
        };
        let now = report_file::text(&self.folder, run, None, None);
        without_links(&theirs) == without_links(&now)
    }
}

/// What both sides have made is the bucket's: others have gone on by it.
fn theirs() -> Resolutions {
    Resolutions {
        otherwise: Some(Resolution::TakeTheirs),
        ..Resolutions::default()
    }
}

fn document(bytes: &[u8], path: &str) -> Result<RunDocument, AuditError> {
    let text = String::from_utf8_lossy(bytes);
    Ok(RunDocument::parse(&text, path)?)
}

/// Cells that nobody has tried, or whose files cannot be believed.
fn missing(run: &Run) -> usize {
    let is_missing =
        |state: &&CellState| matches!(state, CellState::Missing | CellState::Unreadable { .. });
    run.cells.values().filter(is_missing).count()
}

fn partly(doing: &'static str, files: Vec<String>) -> Result<(), BucketRunError> {
    if files.is_empty() {
        Ok(())
    } else {
        Err(BucketRunError::Partly { doing, files })
    }
}

fn complete(report: &PushReport) -> Result<(), BucketRunError> {
    let failed = report.failed.iter();
    let failed = failed.map(|(file, error)| format!("{file} ({error})"));
    let both = report.conflicts.iter();
    let both = both.map(|conflict| format!("{} (both sides have one)", conflict.file));
    partly("what was sent", failed.chain(both).collect())
}

/// A report's text without the targets of its links and without the sentence on them.
fn without_links(report: &str) -> String {
    let mut bare = String::new();
    for line in report.lines() {
        let is_note = line.starts_with("Links are ")
            || line.starts_with("There are no links.")
            || (line.contains(" links are ") && line.starts_with(|c: char| c.is_ascii_digit()));
        if is_note {
            continue;
        }
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("](") {
            bare.push_str(before);
            bare.push_str("]()");
            rest = after.split_once(')').map_or("", |(_, rest)| rest);
        }
        bare.push_str(rest);
        bare.push('\n');
    }
    bare
}

/// Sends a run's cells in the background, each as it ends.
#[derive(Debug)]
pub struct Uploader {
    nudges: Option<UnboundedSender<()>>,
    background: tokio::task::JoinHandle<()>,
    cancel: CancellationToken,
}

impl Uploader {
    /// Begins; nothing is sent before the first [`Uploader::nudge`].
    pub fn start(runtime: &tokio::runtime::Handle, run: BucketRun) -> Self {
        let (nudges, heard) = unbounded_channel();
        let cancel = CancellationToken::new();
        let background = runtime.spawn(send_each(run, heard, cancel.clone()));
        Self {
            nudges: Some(nudges),
            background,
            cancel,
        }
    }

    /// The folder has something new. Does not wait.
    pub fn nudge(&self) {
        if let Some(nudges) = &self.nudges {
            // Where the background has ended, the last push sends everything.
            let _ = nudges.send(());
        }
    }

    /// Waits until what was told is sent, at most so long.
    pub async fn finish(mut self, at_most: Duration) {
        self.nudges = None;
        if tokio::time::timeout(at_most, &mut self.background)
            .await
            .is_err()
        {
            self.cancel.cancel();
            // It ends between two files.
            let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.background).await;
        }
    }
}

/// A failure is only noted: the last push sends everything and says what it cannot.
async fn send_each(run: BucketRun, mut nudges: UnboundedReceiver<()>, cancel: CancellationToken) {
    while nudges.recv().await.is_some() {
        // Several that have ended meanwhile go together.
        while nudges.try_recv().is_ok() {}
        match run.send(&cancel).await {
            Ok(()) => {}
            Err(BucketRunError::Storage(StorageError::Cancelled)) => return,
            Err(error) => tracing::info!(%error, "cells are not sent yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::without_links;

    #[test]
    fn reports_that_differ_in_their_links_only_say_the_same() {
        let signed = "# R\n| Q4_0 | [Q4_0.png](https://x/a.png?Signature=1) | [b](c) x |\n\n\
                      Links are V4 signed with the account's own key, valid until tomorrow.\n\n## Next\n";
        let named = "# R\n| Q4_0 | [Q4_0.png](Q4_0.png) | [b](d) x |\n\n\
                     Links are the names of the files beside this report; they do not expire.\n\n## Next\n";
        assert_eq!(without_links(signed), without_links(named));
        assert_ne!(
            without_links(signed),
            without_links(&named.replace("Q4_0 |", "Q8_0 |"))
        );
    }
}
