//! A local run into a store: pictures first, `REPORT.md` last, and never over what someone else wrote.
//!
//! Every write says which generation it expects (none, or the one last seen), so that stopping it at any
//! moment and running it again ends in the same place: what is there with equal bytes is skipped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::conflict::{self, Conflict, Resolution, Resolutions};
use super::progress::{Meter, Progress};
use super::store::{list_all, read_verified};
use super::sync_state::SyncState;
use super::{ObjectMeta, ObjectName, Precondition, Result, StorageError, Store, files, journal};
use crate::model::run::files as run_files;

/// How often a journal is merged again because someone else added to it meanwhile.
const MERGE_ATTEMPTS: u32 = 8;

/// How to push.
#[derive(Debug, Clone)]
pub struct PushOptions {
    /// Transfers at a time. Default 4.
    pub at_once: usize,
    /// What was decided about files that both sides changed.
    pub resolutions: Resolutions,
    /// Files from elsewhere that go up with the run, by the name that they get in it (`phase1.toml`).
    pub extra: Vec<(String, PathBuf)>,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            at_once: 4,
            resolutions: Resolutions::default(),
            extra: Vec::new(),
        }
    }
}

/// What a push tells while it runs.
#[derive(Debug)]
pub enum PushEvent {
    /// A file is in the store.
    Sent {
        /// Its name in the run.
        file: String,
    },
    /// A file was not sent.
    Failed {
        /// Its name in the run.
        file: String,
        /// Why.
        error: String,
    },
    /// How far it is; at most five times a second, and at the end.
    Progress(Progress),
}

/// What a push did.
#[derive(Debug, Default)]
pub struct PushReport {
    /// Files that were written, in the order in which they were finished.
    pub sent: Vec<String>,
    /// Files that were there with equal bytes.
    pub unchanged: usize,
    /// Journals that were merged with the store's.
    pub merged: Vec<String>,
    /// Files that only the store has changed since; a pull fetches them.
    pub newer_there: Vec<String>,
    /// Files that both sides have changed and nobody decided about.
    pub conflicts: Vec<Conflict>,
    /// Files that were not sent, with the reason.
    pub failed: Vec<(String, StorageError)>,
    /// `REPORT.md` was held back, since it says that the run is whole and something failed.
    pub report_held_back: bool,
}

impl PushReport {
    /// Whether everything is where it should be.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.conflicts.is_empty()
    }
}

/// One run to be pushed.
#[derive(Debug, Clone)]
pub struct Push {
    /// Where to.
    pub store: Arc<dyn Store>,
    /// The run's prefix in the store, ending in `/`.
    pub prefix: String,
    /// The local folder of the run.
    pub dir: PathBuf,
    /// How.
    pub options: PushOptions,
    /// Who is told; a receiver that has gone away stops nothing.
    pub events: Option<UnboundedSender<PushEvent>>,
    /// Stops it between files.
    pub cancel: CancellationToken,
}

#[derive(Debug)]
struct Item {
    file: String,
    path: PathBuf,
    name: ObjectName,
    size_bytes: u64,
    stage: u8,
}

enum Outcome {
    Sent(ObjectMeta),
    Taken(ObjectMeta),
    Unchanged(ObjectMeta),
    Merged,
    NewerThere,
    Conflict(Box<Conflict>),
}

impl Push {
    /// Pushes the run.
    ///
    /// # Errors
    /// [`StorageError::Offline`] (put it into the queue then), [`StorageError::Cancelled`], what listing
    /// returns, and failures that concern every file. A single file's failure is in the report.
    pub async fn run(&self) -> Result<PushReport> {
        if !self.dir.is_dir() {
            return Err(StorageError::NotFound {
                place: self.dir.display().to_string(),
            });
        }
        let _lock = files::RunLock::acquire(&self.dir)?;
        let place = format!("{}/{}", self.store.place(), self.prefix);
        let mut state = SyncState::load(&self.dir, &place)?;
        let mut report = PushReport::default();
        let items = self.collect(&mut report)?;
        if items.is_empty() && report.failed.is_empty() {
            return Err(StorageError::NotFound {
                place: format!("files in {}", self.dir.display()),
            });
        }
        let listing = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(StorageError::Cancelled),
            listing = list_all(&*self.store, &self.prefix, false) => listing?,
        };
        let there: std::collections::BTreeMap<&str, &ObjectMeta> = listing
            .objects
            .iter()
            .map(|o| (o.name.as_str(), o))
            .collect();
        let meter = Meter::new(items.len(), items.iter().map(|i| i.size_bytes).sum());
        let result = self
            .stages(&items, &there, &mut state, &mut report, &meter)
            .await;
        state.save(&self.dir)?;
        result?;
        self.tell(PushEvent::Progress(meter.now()));
        Ok(report)
    }

    /// The files of the run in the order of their stages. Hidden ones stay here.
    fn collect(&self, report: &mut PushReport) -> Result<Vec<Item>> {
        let mut found = files::visible_files(&self.dir)?;
        for (file, path) in &self.options.extra {
            found.retain(|(name, _)| name != file);
            found.push((file.clone(), path.clone()));
        }
        let mut items = Vec::new();
        for (file, path) in found {
            // What could not be pulled again is not pushed either.
            let named = ObjectName::new(format!("{}{file}", self.prefix))
                .and_then(|name| name.relative_path(&self.prefix).map(|_| name));
            let size = std::fs::metadata(&path).map_err(StorageError::io("reading", &path));
            match (named, size) {
                (Ok(name), Ok(facts)) => {
                    let (stage, size_bytes) = (stage(&file), facts.len());
                    items.push(Item {
                        file,
                        path,
                        name,
                        size_bytes,
                        stage,
                    });
                }
                (Err(error), _) | (_, Err(error)) => report.failed.push((file, error)),
            }
        }
        items.sort_by(|a, b| (a.stage, &a.file).cmp(&(b.stage, &b.file)));
        Ok(items)
    }

    async fn stages(
        &self,
        items: &[Item],
        there: &std::collections::BTreeMap<&str, &ObjectMeta>,
        state: &mut SyncState,
        report: &mut PushReport,
        meter: &Meter,
    ) -> Result<()> {
        for stage in STAGES {
            if stage == STAGE_REPORT && !report.failed.is_empty() {
                report.report_held_back = items.iter().any(|i| i.stage == stage);
                return Ok(());
            }
            let mut waiting = items.iter().filter(|i| i.stage == stage);
            let mut running = FuturesUnordered::new();
            let mut tick = tokio::time::interval(Duration::from_millis(200));
            loop {
                while running.len() < self.options.at_once.max(1)
                    && let Some(item) = waiting.next()
                {
                    let seen = state.seen.get(&item.file).copied();
                    let theirs = there.get(item.name.as_str()).copied();
                    running.push(async move { (item, self.send(item, seen, theirs).await) });
                }
                let (item, result) = tokio::select! {
                    biased;
                    () = self.cancel.cancelled() => return Err(StorageError::Cancelled),
                    finished = running.next() => match finished {
                        None => break,
                        Some(finished) => finished,
                    },
                    _ = tick.tick() => {
                        self.tell(PushEvent::Progress(meter.now()));
                        continue;
                    }
                };
                self.record(item, result, state, report)?;
                meter.moved(item.size_bytes);
                meter.object_done();
            }
            state.save(&self.dir)?;
        }
        Ok(())
    }

    fn record(
        &self,
        item: &Item,
        result: Result<Outcome>,
        state: &mut SyncState,
        report: &mut PushReport,
    ) -> Result<()> {
        match result {
            Ok(Outcome::Sent(meta)) => {
                state.note(&item.file, &meta);
                report.sent.push(item.file.clone());
                self.tell(PushEvent::Sent {
                    file: item.file.clone(),
                });
            }
            Ok(Outcome::Taken(meta)) => state.note(&item.file, &meta),
            Ok(Outcome::Unchanged(meta)) => {
                state.note(&item.file, &meta);
                report.unchanged += 1;
            }
            Ok(Outcome::Merged) => {
                report.merged.push(item.file.clone());
                self.tell(PushEvent::Sent {
                    file: item.file.clone(),
                });
            }
            Ok(Outcome::NewerThere) => report.newer_there.push(item.file.clone()),
            Ok(Outcome::Conflict(conflict)) => report.conflicts.push(*conflict),
            Err(
                error @ (StorageError::Offline { .. }
                | StorageError::Auth { .. }
                | StorageError::Forbidden { .. }),
            ) => return Err(error),
            Err(error) => {
                self.tell(PushEvent::Failed {
                    file: item.file.clone(),
                    error: error.to_string(),
                });
                report.failed.push((item.file.clone(), error));
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        item: &Item,
        seen: Option<super::sync_state::Seen>,
        theirs: Option<&ObjectMeta>,
    ) -> Result<Outcome> {
        if journal::is_journal(&item.file) {
            return self.send_journal(item, theirs.cloned()).await;
        }
        let content = read(&item.path).await?;
        let crc = crc32c::crc32c(&content);
        let with_crc;
        let theirs = match theirs {
            Some(meta) if meta.crc32c.is_none() => {
                with_crc = self.store.stat(&meta.name).await?;
                Some(&with_crc)
            }
            other => other,
        };
        let condition = match theirs {
            None => Precondition::Absent,
            Some(meta) if is_equal(meta, &content, crc) => {
                return Ok(Outcome::Unchanged(meta.clone()));
            }
            Some(meta) if seen.is_some_and(|s| s.generation == meta.generation) => {
                Precondition::Generation(meta.generation) // only this side has changed
            }
            Some(_) if seen.is_some_and(|s| s.crc32c == crc) => return Ok(Outcome::NewerThere),
            Some(meta) => match self.options.resolutions.of(&item.file, meta.generation) {
                None => return Ok(conflict_of(item, meta)),
                Some(Resolution::KeepMine) => Precondition::Generation(meta.generation),
                Some(Resolution::KeepBoth) => {
                    let bytes = read_verified(&*self.store, meta).await?;
                    self.send_beside(item, content, crc).await?;
                    conflict::keep_beside(&item.path)?;
                    files::write_atomic(&item.path, &bytes)?;
                    return Ok(Outcome::Taken(meta.clone()));
                }
                Some(Resolution::TakeTheirs) => {
                    let bytes = read_verified(&*self.store, meta).await?;
                    conflict::keep_replaced(&item.path)?;
                    files::write_atomic(&item.path, &bytes)?;
                    return Ok(Outcome::Taken(meta.clone()));
                }
            },
        };
        match self
            .store
            .write(&item.name, content.clone(), condition)
            .await
        {
            Ok(meta) => Ok(Outcome::Sent(meta)),
            Err(error) if error.is_precondition() => {
                // Someone was faster since the list was made; or it was this program, and it was killed.
                match self.store.stat(&item.name).await {
                    Ok(meta) if is_equal(&meta, &content, crc) => Ok(Outcome::Unchanged(meta)),
                    Ok(meta) => Ok(conflict_of(item, &meta)),
                    Err(StorageError::NotFound { .. }) => Err(error),
                    Err(other) => Err(other),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Sends this side's version under the name that it gets beside the store's.
    async fn send_beside(&self, item: &Item, content: Bytes, crc: u32) -> Result<()> {
        let file = conflict::name_beside(&item.file, crc);
        let name = ObjectName::new(format!("{}{file}", self.prefix))?;
        let sent = self
            .store
            .write(&name, content.clone(), Precondition::Absent);
        match sent.await {
            Err(error) if error.is_precondition() => {
                // Its name holds its checksum: it was sent before.
                let there = self.store.stat(&name).await?;
                if is_equal(&there, &content, crc) {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            sent => sent.map(|_| ()),
        }
    }

    /// Sends the union of both sides' events, on top of exactly the bytes that are there, and gives this
    /// side what it lacks.
    async fn send_journal(&self, item: &Item, theirs: Option<ObjectMeta>) -> Result<Outcome> {
        let mut theirs = theirs;
        for _ in 0..MERGE_ATTEMPTS {
            let mine = read(&item.path).await?;
            let mine_text = String::from_utf8_lossy(&mine).into_owned();
            let (condition, content) = match &theirs {
                None => (Precondition::Absent, mine.clone()),
                Some(meta) if meta.crc32c == Some(crc32c::crc32c(&mine)) => {
                    return Ok(Outcome::Unchanged(meta.clone()));
                }
                Some(meta) => {
                    let bytes = match read_verified(&*self.store, meta).await {
                        // Someone has just replaced it: once more with theirs.
                        Err(StorageError::NotFound { .. }) => {
                            theirs = self.stat_if_there(&item.name).await?;
                            continue;
                        }
                        other => other?,
                    };
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let lacking_here = journal::missing_lines(&text, &mine_text);
                    files::append_lines(&item.path, &lacking_here)?;
                    if journal::missing_lines(&mine_text, &text).is_empty() {
                        return Ok(Outcome::Merged);
                    }
                    let merged = journal::merge(&mine_text, &text);
                    (
                        Precondition::Generation(meta.generation),
                        Bytes::from(merged),
                    )
                }
            };
            let is_new = condition == Precondition::Absent;
            match self.store.write(&item.name, content, condition).await {
                Ok(meta) if is_new => return Ok(Outcome::Sent(meta)),
                Ok(_) => return Ok(Outcome::Merged),
                Err(error) if error.is_precondition() => {
                    theirs = self.stat_if_there(&item.name).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(StorageError::Precondition {
            place: format!("{}/{}", self.store.place(), item.name),
            expected: format!("still for the length of {MERGE_ATTEMPTS} merges"),
        })
    }

    async fn stat_if_there(&self, name: &ObjectName) -> Result<Option<ObjectMeta>> {
        match self.store.stat(name).await {
            Ok(meta) => Ok(Some(meta)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn tell(&self, event: PushEvent) {
        if let Some(events) = &self.events {
            // Nobody listening any more is no reason to stop.
            let _ = events.send(event);
        }
    }
}

const STAGE_REPORT: u8 = 3;
const STAGES: [u8; 4] = [0, 1, 2, STAGE_REPORT];

/// Pictures, then the run's plan, then cells, reviews and settings, then the report: whoever sees a document
/// finds what it speaks of.
fn stage(file: &str) -> u8 {
    let ends = |end: &str| {
        Path::new(file)
            .extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(end))
    };
    if file == run_files::REPORT {
        STAGE_REPORT
    } else if file == run_files::RUN || (file.starts_with("plan-") && ends("ron")) {
        1
    } else if ["ron", "toml", "md", "txt", "json", "csv"]
        .into_iter()
        .any(ends)
    {
        2
    } else {
        0
    }
}

fn is_equal(meta: &ObjectMeta, content: &Bytes, crc: u32) -> bool {
    meta.crc32c == Some(crc) && meta.size_bytes == content.len() as u64
}

fn conflict_of(item: &Item, theirs: &ObjectMeta) -> Outcome {
    Outcome::Conflict(Box::new(Conflict::new(&item.file, &item.path, theirs)))
}

async fn read(path: &Path) -> Result<Bytes> {
    tokio::fs::read(path)
        .await
        .map(Bytes::from)
        .map_err(StorageError::io("reading", path))
}
