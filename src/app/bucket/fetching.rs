//! A run that streams in: the pull itself, and the folder read again as files arrive.

use super::connection::Connection;
use super::{BucketOutbox, words};
use crate::audit::run_folder::{self, Verification};
use crate::model::cell::{CellDefaults, CellKey};
use crate::model::run::{CellState, Origin, Run, files};
use crate::state::bucket::BucketEvent;
use crate::state::bucket::transfer::{Moved, PullOutcome, PullRequest};
use crate::storage::StorageError;
use crate::storage::progress::Progress;
use crate::storage::pull::{Priority, Pull, PullEvent, PullOptions, PullReport};
use crate::storage::sync_state::SyncState;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How often the window is told what has arrived.
const TELL_EVERY: Duration = Duration::from_millis(150);
/// How often the folder is read at most.
const READ_EVERY: Duration = Duration::from_millis(300);

/// A pull that is under way.
pub(super) struct Fetching {
    cancel: CancellationToken,
    priority: Priority,
    dir: PathBuf,
    task: JoinHandle<()>,
}

impl Fetching {
    /// Starts a pull, after `former` has let go of its folder.
    pub(super) fn start(
        connection: Arc<Connection>,
        outbox: BucketOutbox,
        request: PullRequest,
        former: Option<Self>,
        cancel: CancellationToken,
    ) -> Self {
        let priority = Priority::default();
        let dir = request.dir.clone();
        let (token, first) = (cancel.clone(), priority.clone());
        let task = tokio::spawn(async move {
            if let Some(former) = former {
                former.stop_and_wait().await;
            }
            let job = request.job;
            let result = pull(&connection, &outbox, request, first, token).await;
            outbox.send(BucketEvent::PullEnded(job, result));
        });
        Self {
            cancel,
            priority,
            dir,
            task,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn stop(&self) {
        self.cancel.cancel();
    }

    pub(super) async fn stop_and_wait(self) {
        self.cancel.cancel();
        // What came of it was sent by itself.
        let _ = self.task.await;
    }

    pub(super) fn show_first(&self, files: Vec<String>) {
        self.priority.show_first(files);
    }
}

async fn pull(
    connection: &Connection,
    outbox: &BucketOutbox,
    request: PullRequest,
    priority: Priority,
    cancel: CancellationToken,
) -> Result<PullOutcome, String> {
    let text = |error: StorageError| error.to_string();
    let prefix = connection
        .config()?
        .prefix_of_run(&request.run_id)
        .map_err(text)?;
    let opening = connection.store(request.bucket.as_deref());
    let store = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ok(stopped()),
        store = opening => store.map_err(|problem| problem.to_string())?,
    };
    let store =
        store.ok_or_else(|| "no bucket is configured: name one in Settings, Storage".to_owned())?;
    let place = format!("{}/{prefix}", store.place());
    if let Some(other) = SyncState::place_of(&request.dir).filter(|other| *other != place) {
        return Err(format!(
            "the folder holds a run from another place: {} was fetched from {other}, not from {place}; \
             move it away first",
            request.dir.display()
        ));
    }
    let (sender, events) = unbounded_channel();
    let pull = Pull {
        store,
        cache: connection.cache()?,
        prefix,
        dir: request.dir.clone(),
        options: PullOptions {
            follow: Some(connection.services.look_again),
            resolutions: words::resolutions(&request.choices),
            priority,
            ..PullOptions::default()
        },
        events: Some(sender),
        cancel,
    };
    let teller = Teller::new(outbox.clone(), &request);
    let telling = tokio::spawn(teller.run(events));
    let result = pull.run().await;
    drop(pull);
    // All that arrived is told, and the folder read a last time, before the end is.
    let _ = telling.await;
    match result {
        Ok(report) => Ok(outcome(&report)),
        Err(StorageError::Cancelled) => Ok(stopped()),
        Err(error) => Err(error.to_string()),
    }
}

fn stopped() -> PullOutcome {
    PullOutcome {
        was_stopped: true,
        ..PullOutcome::default()
    }
}

fn outcome(report: &PullReport) -> PullOutcome {
    PullOutcome {
        was_stopped: false,
        failed: words::reasons(&report.failed),
        skipped: report.skipped.clone(),
        conflicts: report.conflicts.iter().map(words::conflict).collect(),
        kept_mine: report.kept_mine.clone(),
        is_in_progress: report.in_progress,
        offline: report.offline.clone(),
    }
}

/// Gathers a pull's events and tells the window of them now and then.
struct Teller {
    outbox: BucketOutbox,
    job: u64,
    dir: PathBuf,
    /// Files that are listed and not here.
    pending: BTreeSet<String>,
    here: BTreeSet<String>,
    progress: Progress,
    moved: Moved,
    has_news: bool,
    is_unread: bool,
    read_at: Option<Instant>,
}

impl Teller {
    fn new(outbox: BucketOutbox, request: &PullRequest) -> Self {
        Self {
            outbox,
            job: request.job,
            dir: request.dir.clone(),
            pending: BTreeSet::new(),
            here: BTreeSet::new(),
            progress: Progress::default(),
            moved: Moved::default(),
            has_news: false,
            is_unread: false,
            read_at: None,
        }
    }

    async fn run(mut self, mut events: UnboundedReceiver<PullEvent>) {
        let mut tick = tokio::time::interval(TELL_EVERY);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                _ = tick.tick() => {
                    self.tell();
                    let is_due = self.read_at.is_none_or(|at| at.elapsed() >= READ_EVERY);
                    let lacks_skeleton = self.lacks_plan()
                        || self.read_at.is_none() && self.pending.contains(files::REPORT);
                    if self.is_unread && is_due && !lacks_skeleton {
                        self.read().await;
                    }
                }
            }
        }
        self.tell();
        if !self.lacks_plan() {
            self.read().await;
        }
    }

    /// Whether what says which cells there are is still on its way: without it the run is another one.
    fn lacks_plan(&self) -> bool {
        let is_plan = |file: &String| file == files::RUN || file.starts_with("plan-");
        self.pending.iter().any(is_plan)
    }

    fn take(&mut self, event: PullEvent) {
        match event {
            PullEvent::Listed {
                files,
                freshness,
                in_progress,
            } => {
                let missing = files.iter().filter(|(file, _)| !self.here.contains(file));
                self.pending = missing.map(|(file, _)| file.clone()).collect();
                self.outbox.send(BucketEvent::PullListed {
                    job: self.job,
                    files,
                    offline: freshness.words(SystemTime::now()),
                    is_in_progress: in_progress,
                });
            }
            PullEvent::Arrived { file, fetched, .. } => {
                self.pending.remove(&file);
                self.here.insert(file.clone());
                self.moved.arrived.push((file, fetched));
                self.has_news = true;
                self.is_unread = true;
            }
            PullEvent::Failed { file, error } => {
                self.moved.failed.push((file, error));
                self.has_news = true;
            }
            PullEvent::Progress(progress) => {
                self.has_news |= self.progress != progress;
                self.progress = progress;
            }
        }
    }

    fn tell(&mut self) {
        if !std::mem::take(&mut self.has_news) {
            return;
        }
        let mut moved = std::mem::take(&mut self.moved);
        moved.progress = words::progress(self.progress);
        self.outbox
            .send(BucketEvent::PullMoved(self.job, Box::new(moved)));
    }

    /// Reads the folder as it is now. Before its first document there is nothing to show.
    async fn read(&mut self) {
        self.is_unread = false;
        let (dir, pending) = (self.dir.clone(), self.pending.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let run = run_folder::open(&dir, Verification::Quick).ok()?;
            Some(as_it_arrives(run, &pending))
        });
        if let Ok(Some(run)) = reading.await {
            self.outbox.send(BucketEvent::PullRead {
                job: self.job,
                dir: self.dir.clone(),
                run: Box::new(run),
            });
        }
        self.read_at = Some(Instant::now());
    }
}

/// What is still on its way is no fault of the run: cells of which only the picture's name is known get
/// their place, and nothing is called missing that comes yet.
fn as_it_arrives(mut run: Run, pending: &BTreeSet<String>) -> Run {
    run.warnings.retain(|warning| {
        let is_about = |file: &String| {
            let of_file = warning.strip_prefix(file.as_str());
            let of_cell = file
                .strip_suffix(".png")
                .and_then(|cell| warning.strip_prefix(cell));
            of_file.is_some_and(|rest| rest.starts_with(" is missing"))
                || of_cell.is_some_and(|rest| rest.starts_with(": "))
        };
        !pending.iter().any(is_about)
    });
    if run.origin == Origin::Service {
        let defaults: CellDefaults = run.defaults.clone();
        let keys = pending
            .iter()
            .filter_map(|file| CellKey::parse(file.strip_suffix(".png")?, &defaults));
        for key in keys.collect::<Vec<_>>() {
            run.cells.entry(key).or_insert(CellState::Missing);
        }
    }
    run
}
