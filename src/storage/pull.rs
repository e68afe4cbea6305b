//! A run from a store into a local folder: what is there at once, the rest as it arrives, wanted files first.
//!
//! It can be stopped at any moment and run again: finished files are recognised by their checksum, half a
//! download is continued, and a file is under its name only when it is whole and verified.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::cache::Cache;
use super::conflict::{self, Conflict, Resolution, Resolutions};
use super::listing::{Freshness, Listing, list_or_saved};
use super::progress::{Meter, Progress};
use super::sync_state::SyncState;
use super::{ObjectMeta, Result, StorageError, Store, files, journal};
use crate::model::run::files as run_files;

/// Which files are wanted first. The window sets the visible cells' files; order counts.
#[derive(Debug, Clone, Default)]
pub struct Priority(Arc<Mutex<Vec<String>>>);

impl Priority {
    /// From now on these files of the run come first, in this order; the rest as before.
    pub fn show_first(&self, files: Vec<String>) {
        *self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = files;
    }

    fn position(&self, file: &str) -> usize {
        let wanted = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        wanted.iter().position(|w| w == file).unwrap_or(usize::MAX)
    }
}

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Transfers at a time. Default 6.
    pub at_once: usize,
    /// For a run in progress: look again after this long, until its report appears. Default: once.
    pub follow: Option<Duration>,
    /// What was decided about files that both sides changed.
    pub resolutions: Resolutions,
    /// Which files come first.
    pub priority: Priority,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            at_once: 6,
            follow: None,
            resolutions: Resolutions::default(),
            priority: Priority::default(),
        }
    }
}

/// What a pull tells while it runs.
#[derive(Debug)]
pub enum PullEvent {
    /// The list has come: every file of the run by name and size, and how fresh the list is.
    Listed {
        /// File names in the run with their sizes in bytes, sorted.
        files: Vec<(String, u64)>,
        /// Live, or saved because there is no network.
        freshness: Freshness,
        /// The run has no `REPORT.md` yet.
        in_progress: bool,
    },
    /// A file is in the folder, whole and verified (also those that were there before).
    Arrived {
        /// Its name in the run.
        file: String,
        /// Where it is.
        path: PathBuf,
        /// It was not here before, or was replaced.
        fetched: bool,
    },
    /// A file did not come.
    Failed {
        /// Its name in the run.
        file: String,
        /// Why.
        error: String,
    },
    /// How far it is; at most five times a second, and at the end.
    Progress(Progress),
}

/// What a pull did.
#[derive(Debug, Default)]
pub struct PullReport {
    /// Files that were fetched (from the store or the cache).
    pub arrived: Vec<String>,
    /// Files that were there and equal.
    pub unchanged: usize,
    /// Journals that gained events.
    pub merged: Vec<String>,
    /// Files that only this side has changed; a push sends them.
    pub kept_mine: Vec<String>,
    /// Files that both sides have changed and nobody decided about.
    pub conflicts: Vec<Conflict>,
    /// Objects whose names cannot be files, with the reason.
    pub skipped: Vec<String>,
    /// Files that did not come, with the reason.
    pub failed: Vec<(String, StorageError)>,
    /// The run has no `REPORT.md` yet.
    pub in_progress: bool,
    /// Why the list is a saved one, and its age in words; `None` when live.
    pub offline: Option<String>,
}

impl PullReport {
    /// Whether everything that can be had is there.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.conflicts.is_empty()
    }
}

/// One run to be pulled.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Where it is.
    pub store: Arc<dyn Store>,
    /// Where verified copies are kept.
    pub cache: Arc<Cache>,
    /// The run's prefix in the store, ending in `/`.
    pub prefix: String,
    /// The local folder of the run.
    pub dir: PathBuf,
    /// How.
    pub options: PullOptions,
    /// Who is told; a receiver that has gone away stops nothing.
    pub events: Option<UnboundedSender<PullEvent>>,
    /// Stops it between chunks.
    pub cancel: CancellationToken,
}

#[derive(Debug, Clone)]
struct Wanted {
    file: String,
    path: PathBuf,
    meta: ObjectMeta,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Nothing is there, or only what the store had before.
    Place,
    /// The person takes theirs; what is there is kept aside.
    Replace,
    /// The person keeps both; what is there is kept beside it.
    Both,
    /// A journal that both sides have.
    Merge,
}

enum Local {
    Want(How),
    Unchanged,
    KeepMine,
    Conflict(Conflict),
}

impl Pull {
    /// Pulls the run.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if the run has no objects, [`StorageError::Cancelled`], what listing
    /// returns, and failures that concern every file (credentials, a full disk). A single file's failure is
    /// in the report.
    pub async fn run(&self) -> Result<PullReport> {
        let _lock = files::RunLock::acquire(&self.dir)?;
        let mut report = PullReport::default();
        let place = format!("{}/{}", self.store.place(), self.prefix);
        let mut state = SyncState::load(&self.dir, &place)?;
        let meter = Meter::new(0, 0);
        let mut known = std::collections::BTreeMap::new();
        loop {
            let listing = self.or_cancelled(list_or_saved(
                &*self.store,
                self.cache.root(),
                &self.prefix,
                false,
            ));
            let listing = self
                .or_cancelled(self.with_checksums(listing.await?))
                .await?;
            if listing.objects.is_empty() && known.is_empty() {
                return Err(StorageError::NotFound { place });
            }
            report.in_progress = !self.has_report(&listing);
            report.offline = listing.freshness.words(std::time::SystemTime::now());
            let wanted = self.plan(&listing, &mut known, &mut state, &mut report, &meter)?;
            state.pull_unfinished = true;
            state.save(&self.dir)?;
            let result = self.transfer(wanted, &mut state, &mut report, &meter).await;
            state.pull_unfinished = result.is_err() || !report.failed.is_empty();
            state.save(&self.dir)?;
            result?;
            self.tell(PullEvent::Progress(meter.now()));
            match self.options.follow {
                Some(pause) if report.in_progress && report.offline.is_none() => {
                    let sleep = async {
                        tokio::time::sleep(pause).await;
                        Ok(())
                    };
                    self.or_cancelled(sleep).await?;
                    // What failed may work now.
                    for (file, _) in report.failed.drain(..) {
                        known.remove(&file);
                    }
                }
                _ => return Ok(report),
            }
        }
    }

    /// A folder's list has no checksums: those of files that are here are asked for, to compare them.
    async fn with_checksums(&self, mut listing: Listing) -> Result<Listing> {
        for meta in &mut listing.objects {
            let is_here = meta
                .name
                .relative_path(&self.prefix)
                .is_ok_and(|relative| self.dir.join(relative).exists());
            if meta.crc32c.is_none() && is_here {
                meta.crc32c = self.store.stat(&meta.name).await?.crc32c;
            }
        }
        Ok(listing)
    }

    fn has_report(&self, listing: &Listing) -> bool {
        let report = format!("{}{}", self.prefix, run_files::REPORT);
        listing.objects.iter().any(|o| o.name.as_str() == report)
    }

    /// Compares the list with the folder. Touches nothing but `state`'s notes.
    fn plan(
        &self,
        listing: &Listing,
        known: &mut std::collections::BTreeMap<String, i64>,
        state: &mut SyncState,
        report: &mut PullReport,
        meter: &Meter,
    ) -> Result<Vec<Wanted>> {
        let mut wanted = Vec::new();
        let mut listed = Vec::new();
        let mut present = Vec::new();
        for meta in &listing.objects {
            let relative = match meta.name.relative_path(&self.prefix) {
                Ok(relative) => relative,
                Err(error) => {
                    let words = error.to_string();
                    if !report.skipped.contains(&words) {
                        tracing::warn!(%error, "an object is skipped");
                        report.skipped.push(words);
                    }
                    continue;
                }
            };
            let file = meta
                .name
                .as_str()
                .get(self.prefix.len()..)
                .unwrap_or_default()
                .to_owned();
            listed.push((file.clone(), meta.size_bytes));
            if known.insert(file.clone(), meta.generation) == Some(meta.generation) {
                continue;
            }
            let path = self.dir.join(relative);
            meter.more(1, meta.size_bytes);
            let done = |meter: &Meter| {
                meter.moved(meta.size_bytes);
                meter.object_done();
            };
            match self.compare(&file, &path, meta, state)? {
                Local::Want(how) => wanted.push(Wanted {
                    file,
                    path,
                    meta: meta.clone(),
                    how,
                }),
                Local::Unchanged => {
                    state.note(&file, meta);
                    report.unchanged += 1;
                    done(meter);
                    present.push((file, path));
                }
                Local::KeepMine => {
                    done(meter);
                    report.kept_mine.push(file.clone());
                    present.push((file, path));
                }
                Local::Conflict(conflict) => {
                    done(meter);
                    report.conflicts.push(conflict);
                    present.push((file, path));
                }
            }
        }
        self.tell(PullEvent::Listed {
            files: listed,
            freshness: listing.freshness.clone(),
            in_progress: report.in_progress,
        });
        for (file, path) in present {
            self.tell(PullEvent::Arrived {
                file,
                path,
                fetched: false,
            });
        }
        Ok(wanted)
    }

    fn compare(
        &self,
        file: &str,
        path: &Path,
        meta: &ObjectMeta,
        state: &SyncState,
    ) -> Result<Local> {
        if !path.exists() {
            return Ok(Local::Want(How::Place));
        }
        let (size_bytes, crc) = files::checksum(path)?;
        if meta.crc32c == Some(crc) && meta.size_bytes == size_bytes {
            return Ok(Local::Unchanged);
        }
        if journal::is_journal(file) {
            return Ok(Local::Want(How::Merge));
        }
        let seen = state.seen.get(file);
        if seen.is_some_and(|seen| seen.crc32c == crc) {
            return Ok(Local::Want(How::Place)); // only the store has changed
        }
        if seen.is_some_and(|seen| seen.generation == meta.generation) {
            return Ok(Local::KeepMine); // only this side has changed
        }
        Ok(match self.options.resolutions.of(file, meta.generation) {
            Some(Resolution::KeepMine) => Local::KeepMine,
            Some(Resolution::TakeTheirs) => Local::Want(How::Replace),
            Some(Resolution::KeepBoth) => Local::Want(How::Both),
            None => Local::Conflict(Conflict::new(file, path, meta)),
        })
    }

    async fn transfer(
        &self,
        mut wanted: Vec<Wanted>,
        state: &mut SyncState,
        report: &mut PullReport,
        meter: &Meter,
    ) -> Result<()> {
        // Documents first: they make the skeleton. `pop` takes from the end.
        wanted.sort_by_key(|w| std::cmp::Reverse((rank(&w.file), w.file.clone())));
        let mut offline: Option<(String, String)> = None;
        let mut running = FuturesUnordered::new();
        let mut tick = tokio::time::interval(Duration::from_millis(200));
        let mut unsaved = 0;
        loop {
            while running.len() < self.options.at_once.max(1)
                && let Some(next) = self.take_next(&mut wanted)
            {
                running.push(self.one(next, meter, offline.clone()));
            }
            let (item, result) = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(StorageError::Cancelled),
                finished = running.next() => match finished {
                    None => return Ok(()),
                    Some(finished) => finished,
                },
                _ = tick.tick() => {
                    self.tell(PullEvent::Progress(meter.now()));
                    continue;
                }
            };
            match result {
                Ok(meta) => {
                    if item.how == How::Merge {
                        report.merged.push(item.file.clone());
                    } else {
                        state.note(&item.file, &meta);
                        report.arrived.push(item.file.clone());
                    }
                    meter.object_done();
                    self.tell(PullEvent::Arrived {
                        file: item.file,
                        path: item.path,
                        fetched: true,
                    });
                    unsaved += 1;
                    if unsaved >= 50 {
                        state.save(&self.dir)?;
                        unsaved = 0;
                    }
                }
                Err(error @ (StorageError::Auth { .. } | StorageError::Forbidden { .. })) => {
                    return Err(error);
                }
                Err(StorageError::Io {
                    doing,
                    path,
                    source,
                }) if source.kind() == std::io::ErrorKind::StorageFull => {
                    return Err(StorageError::Io {
                        doing,
                        path,
                        source,
                    });
                }
                Err(error) => {
                    if let StorageError::Offline { place, detail } = &error {
                        // The others are only looked for in the cache: each would wait for nothing.
                        offline = Some((place.clone(), detail.clone()));
                    }
                    self.tell(PullEvent::Failed {
                        file: item.file.clone(),
                        error: error.to_string(),
                    });
                    report.failed.push((item.file, error));
                }
            }
        }
    }

    fn take_next(&self, wanted: &mut Vec<Wanted>) -> Option<Wanted> {
        let first = wanted
            .iter()
            .enumerate()
            .map(|(at, w)| (self.options.priority.position(&w.file), at))
            .filter(|(position, _)| *position != usize::MAX)
            .min();
        match first {
            Some((_, at)) => Some(wanted.remove(at)),
            None => wanted.pop(),
        }
    }

    async fn one(
        &self,
        wanted: Wanted,
        meter: &Meter,
        offline: Option<(String, String)>,
    ) -> (Wanted, Result<ObjectMeta>) {
        let result = self.fetch_and_place(&wanted, meter, offline).await;
        (wanted, result)
    }

    async fn fetch_and_place(
        &self,
        wanted: &Wanted,
        meter: &Meter,
        offline: Option<(String, String)>,
    ) -> Result<ObjectMeta> {
        let mut meta = wanted.meta.clone();
        let cached = match offline {
            Some((place, detail)) => match self.cache.lookup(&*self.store, &meta)? {
                Some(path) => {
                    meter.moved(meta.size_bytes);
                    path
                }
                None => return Err(StorageError::Offline { place, detail }),
            },
            None => match self.fetch_counted(&meta, meter).await {
                // Overwritten since it was listed: once more with what is there now.
                Err(StorageError::NotFound { .. } | StorageError::Precondition { .. }) => {
                    let now = self.store.stat(&meta.name).await?;
                    meter.more(0, now.size_bytes.saturating_sub(meta.size_bytes));
                    meta = now;
                    self.fetch_counted(&meta, meter).await?
                }
                other => other?,
            },
        };
        let is_picture = rank(&wanted.file) == RANK_PICTURES;
        let (to, how) = (wanted.path.clone(), wanted.how);
        let work = move || place(&cached, &to, how, is_picture);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| StorageError::io("placing", &wanted.path)(std::io::Error::other(e)))??;
        Ok(meta)
    }

    /// Fetches with the meter running; what a failed or repeated transfer had counted is taken back.
    async fn fetch_counted(&self, meta: &ObjectMeta, meter: &Meter) -> Result<PathBuf> {
        let counted = std::sync::atomic::AtomicU64::new(0);
        let on_bytes = |bytes: u64| {
            let before = counted.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
            meter.moved(bytes.min(meta.size_bytes.saturating_sub(before)));
        };
        let result = self.cache.fetch(&*self.store, meta, &on_bytes).await;
        if result.is_err() {
            let counted = counted.load(std::sync::atomic::Ordering::Relaxed);
            meter.taken_back(counted.min(meta.size_bytes));
        }
        result
    }

    async fn or_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(StorageError::Cancelled),
            result = work => result,
        }
    }

    fn tell(&self, event: PullEvent) {
        if let Some(events) = &self.events {
            // Nobody listening any more is no reason to stop.
            let _ = events.send(event);
        }
    }
}

const RANK_PICTURES: u8 = 3;

/// Documents that make the skeleton first, then the other documents, then pictures.
fn rank(file: &str) -> u8 {
    let ends = |end: &str| {
        Path::new(file)
            .extension()
            .is_some_and(|found| found.eq_ignore_ascii_case(end))
    };
    match file {
        run_files::RUN => 0,
        run_files::REPORT => 1,
        _ if ["ron", "toml", "md", "txt", "json", "csv"]
            .into_iter()
            .any(ends) =>
        {
            2
        }
        _ => RANK_PICTURES,
    }
}

/// Puts a verified copy where it belongs. Pictures may share the cache's file: they are never written in
/// place, and the cache verifies before each use.
fn place(cached: &Path, to: &Path, how: How, share: bool) -> Result<()> {
    match how {
        How::Place => files::place_copy(cached, to, share),
        How::Replace => {
            conflict::keep_replaced(to)?;
            files::place_copy(cached, to, share)
        }
        How::Both => {
            conflict::keep_beside(to)?;
            files::place_copy(cached, to, share)
        }
        How::Merge => {
            let read = |path: &Path| {
                std::fs::read(path)
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                    .map_err(StorageError::io("reading", path))
            };
            let (theirs, mine) = (read(cached)?, read(to)?);
            files::append_lines(to, &journal::missing_lines(&theirs, &mine))
        }
    }
}
