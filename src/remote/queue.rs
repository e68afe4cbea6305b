//! The runs of a worker: one is made at a time, on a thread of its own; others wait, up to a stated
//! number. Every change is on disk, so that a worker that was killed goes on where it was.
//!
//! Whoever changes a run's record holds `writer`; whoever reads holds `inner`, and never waits for the
//! disk.

use super::bucket::WorkerBucket;
use super::events::EventLog;
use super::known::{Inner, KnownRun, end_event, is_more};
use super::plan::{self, Places};
use super::record::{Records, RunRecord};
use super::refusal::Refusal;
use super::wire::{AuditRequest, RunEvent, RunState, Status};
use super::work::Go;
use super::{EngineFactory, RemoteError, lock};
use crate::audit::run_folder::{self, Verification};
use crate::audit::{AuditError, Ending, RunSummary};
use crate::model::ids::RunId;
use crate::model::run::files;
use crate::storage::StorageError;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use tokio::sync::watch;

/// How a queue is set up.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Where things are.
    pub places: Places,
    /// How many runs may wait while one is made.
    pub waiting: usize,
    /// Where sessions come from and runs go to, if there is such a place.
    pub bucket: Option<WorkerBucket>,
    /// The time now; a test gives its own.
    pub clock: fn() -> jiff::Timestamp,
}

/// The runs that were asked for, and the thread that makes them.
pub struct Queue {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

struct Shared {
    options: QueueOptions,
    engines: Arc<EngineFactory>,
    records: Records,
    /// When this process began, in milliseconds since 1970: part of every event's id.
    epoch: u64,
    inner: Mutex<Inner>,
    writer: Mutex<()>,
    wake: Condvar,
}

/// How a go at a run ended.
enum Outcome {
    Done,
    Stopped,
    Failed(String),
}

impl Queue {
    /// Opens a folder of runs, puts what was interrupted back to the front, and starts the thread.
    ///
    /// Asks the bucket, where there is one: not for a thread that must not wait.
    ///
    /// # Errors
    /// [`RemoteError`] if another worker has the folder, or it cannot be used.
    pub fn open(options: QueueOptions, engines: Arc<EngineFactory>) -> Result<Self, RemoteError> {
        let records = Records::open(&options.places.runs_dir)?;
        let epoch = (options.clock)().as_millisecond().unsigned_abs();
        let shared = Arc::new(Shared {
            inner: Mutex::default(),
            writer: Mutex::default(),
            wake: Condvar::new(),
            options,
            engines,
            records,
            epoch,
        });
        shared.load()?;
        let (sender, ended) = watch::channel(false);
        let worker = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("runs".to_owned())
            .spawn(move || {
                while let Some(run_id) = worker.next() {
                    worker.make(&run_id);
                }
                drop(worker);
                sender.send_replace(true);
            })
            .map_err(RemoteError::Thread)?;
        Ok(Self { shared, ended })
    }

    /// Takes a request: a new run, or more of one that has ended, or the one that is under way already.
    ///
    /// Reads the session, which may have to come from the bucket, and writes the record: not for a thread that
    /// must not wait.
    ///
    /// # Errors
    /// [`Refusal`] if there is no room, no such session, or another run of that name; also if the bucket cannot
    /// remember the run, which is then asked for again under its name.
    pub fn submit(&self, request: AuditRequest) -> Result<Status, Refusal> {
        // Before anything is locked.
        if self.shared.needs_session(&request)
            && let Some(bucket) = &self.shared.options.bucket
        {
            let places = &self.shared.options.places;
            bucket.bring_session(&request, places, &self.shared.writer)?;
        }
        let status = self.shared.submit(request)?;
        self.shared.remember_or_refuse(&status.run_id)?;
        Ok(status)
    }

    /// How far a run is; `None` if it is not known.
    pub fn status(&self, run_id: &RunId) -> Option<Status> {
        let inner = lock(&self.shared.inner);
        inner.runs.get(run_id).map(|run| inner.status(run))
    }

    /// A run's events; `None` if it is not known.
    pub fn events(&self, run_id: &RunId) -> Option<Arc<EventLog>> {
        let inner = lock(&self.shared.inner);
        inner.runs.get(run_id).map(|run| Arc::clone(&run.log))
    }

    /// A run's folder, whether it is there yet or not; `None` if the run is not known.
    pub fn folder(&self, run_id: &RunId) -> Option<PathBuf> {
        let inner = lock(&self.shared.inner);
        inner
            .runs
            .contains_key(run_id)
            .then(|| self.shared.folder(run_id))
    }

    /// Cancels a run: at once if it waits, after the current block if it is being made.
    ///
    /// Writes the record: not for a thread that must not wait.
    ///
    /// # Errors
    /// [`Refusal`] if it is not known or has ended by itself, or if the bucket still remembers it as wanted.
    pub fn cancel(&self, run_id: &RunId) -> Result<Status, Refusal> {
        let status = self.shared.cancel(run_id)?;
        self.shared.remember_or_refuse(run_id)?;
        Ok(status)
    }

    /// Takes nothing more and stops the run under way after the current block, to be gone on with at the
    /// next start.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// Whether the worker is on its way out.
    pub fn is_draining(&self) -> bool {
        lock(&self.shared.inner).is_draining
    }

    /// Waits until nothing is made any more; for ever unless it drains.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that the thread is gone, which is what is waited for.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.shared.drain();
    }
}

impl Shared {
    fn folder(&self, run_id: &RunId) -> PathBuf {
        self.options.places.runs_dir.join(run_id.as_str())
    }

    fn timestamp(&self) -> String {
        (self.options.clock)()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string()
    }

    /// Whether a request needs its session: not where the run is known and has its folder.
    fn needs_session(&self, request: &AuditRequest) -> bool {
        let inner = lock(&self.inner);
        let known = request
            .run_id
            .as_ref()
            .and_then(|run_id| inner.runs.get(run_id));
        !inner.is_draining && known.is_none_or(|run| !run.record.has_folder)
    }

    /// Brings what the bucket remembers of a run up to date. Waits for the network and for who tells it of the same
    /// run, so that nothing older comes after something newer.
    ///
    /// # Errors
    /// What the bucket says.
    fn remember(&self, run_id: &RunId) -> Result<(), StorageError> {
        let known = |run: &KnownRun| (Arc::clone(&run.telling), run.record.clone());
        let read = || lock(&self.inner).runs.get(run_id).map(known);
        let (Some(bucket), Some((telling, _))) = (&self.options.bucket, read()) else {
            return Ok(());
        };
        let _telling = lock(&telling);
        // Only now: what was read before may be old.
        match read() {
            Some((_, record)) => bucket.remember(&record),
            None => Ok(()),
        }
    }

    /// Only an answer that outlives this worker's disk is given, where a bucket is there for that.
    fn remember_or_refuse(&self, run_id: &RunId) -> Result<(), Refusal> {
        self.remember(run_id).map_err(|error| {
            Refusal::Unavailable(format!(
                "the bucket does not remember what was asked of run {run_id}; ask again under this name: {error}"
            ))
        })
    }

    /// Takes over what only the bucket remembers, as when this disk is a new one.
    fn restore(&self) -> Result<(), AuditError> {
        let Some(bucket) = &self.options.bucket else {
            return Ok(());
        };
        let remembered = match bucket.remembered() {
            Ok(remembered) => remembered,
            Err(error) => {
                tracing::warn!(
                    "what the bucket remembers of this worker's runs is not known: {error}"
                );
                return Ok(());
            }
        };
        for mut record in remembered {
            if !self.records.has(&record.run_id) {
                // Whose folder it is has to be found out again.
                record.has_folder = false;
                self.records.write(&record)?;
            }
        }
        Ok(())
    }

    /// Takes up what the last worker left. What was being made comes first.
    fn load(&self) -> Result<(), AuditError> {
        self.restore()?;
        let mut loaded = self.records.load()?;
        loaded.sort_by_key(|record| (record.state != RunState::Running, record.number));
        let _writing = lock(&self.writer);
        for mut record in loaded {
            if !record.state.has_ended() {
                if record.is_cancelling {
                    record.state = RunState::Cancelled;
                    record.ended_at = Some(self.timestamp());
                } else {
                    record.state = RunState::Queued;
                }
                record.cells_done = self.done_count(&record);
                record.cells_failed = 0;
                self.records.write(&record)?;
            }
            let run = KnownRun::new(record, self.epoch);
            let mut inner = lock(&self.inner);
            if run.record.state.has_ended() {
                run.log.push(end_event(&run.record));
            } else {
                inner.waiting.push_back(run.record.run_id.clone());
            }
            inner.next_number = inner.next_number.max(run.record.number + 1);
            inner.runs.insert(run.record.run_id.clone(), run);
        }
        Ok(())
    }

    /// How many cells of an interrupted run are there.
    fn done_count(&self, record: &RunRecord) -> usize {
        let folder = self.folder(&record.run_id);
        if !record.has_folder || !folder.join(files::RUN).is_file() {
            return 0;
        }
        run_folder::open(&folder, Verification::Quick).map_or(0, |run| run.done_count())
    }

    fn submit(&self, request: AuditRequest) -> Result<Status, Refusal> {
        let _writing = lock(&self.writer);
        let run_id = match &request.run_id {
            Some(run_id) => run_id.clone(),
            None => self.free_id()?,
        };
        let known = {
            let inner = lock(&self.inner);
            if inner.is_draining {
                return Err(Refusal::Draining);
            }
            let known = inner.runs.get(&run_id);
            if let Some(run) = known
                && !is_more(&run.record, &request)?
            {
                return Ok(inner.status(run));
            }
            let waiting = inner.waiting.len();
            if waiting + usize::from(inner.running.is_some()) > self.options.waiting {
                return Err(Refusal::Full { waiting });
            }
            known.map(|run| run.record.clone())
        };
        if known.is_none() && self.records.has(&run_id) {
            return Err(Refusal::Conflict(format!(
                "something is remembered of run {run_id} that cannot be understood; choose another run_id"
            )));
        }
        let cells_planned = match &known {
            // What is left is made from the run's folder; the session may be gone.
            Some(record) if record.has_folder => record.cells_planned,
            _ => plan::run_request(&request, &run_id, &self.options.places)?
                .plan
                .matrix
                .cell_count(),
        };
        let number = lock(&self.inner).next_number;
        let record = match known {
            Some(record) => RunRecord {
                number,
                request,
                state: RunState::Queued,
                is_cancelling: false,
                cells_planned,
                error: None,
                ended_at: None,
                ..record
            },
            None => RunRecord {
                cells_planned,
                ..RunRecord::new(run_id.clone(), number, request, self.timestamp())
            },
        };
        self.records
            .write(&record)
            .map_err(|error| Refusal::Internal(error.to_string()))?;

        let mut inner = lock(&self.inner);
        inner.next_number = number + 1;
        inner.waiting.push_back(run_id.clone());
        let run = match inner.runs.remove(&run_id) {
            Some(run) => KnownRun {
                record,
                cancel: Arc::new(AtomicBool::new(false)),
                ..run
            },
            None => KnownRun::new(record, self.epoch),
        };
        let status = inner.status(&run);
        run.log.push(RunEvent::Phase {
            phase: "queued".to_owned(),
        });
        inner.runs.insert(run_id, run);
        self.wake.notify_all();
        Ok(status)
    }

    /// A run id by the clock that nothing has yet.
    fn free_id(&self) -> Result<RunId, Refusal> {
        let base = (self.options.clock)().strftime("%Y%m%d-%H%M%S").to_string();
        (1..1000)
            .map(|n| match n {
                1 => base.clone(),
                n => format!("{base}-{n}"),
            })
            .filter_map(|name| RunId::new(name).ok())
            .find(|run_id| !self.records.has(run_id) && !self.folder(run_id).exists())
            .ok_or_else(|| Refusal::Internal("no free run id was found; give one".to_owned()))
    }

    fn cancel(&self, run_id: &RunId) -> Result<Status, Refusal> {
        let _writing = lock(&self.writer);
        let (record, has_ended) = {
            let mut inner = lock(&self.inner);
            let inner = &mut *inner;
            let Some(run) = inner.runs.get_mut(run_id) else {
                return Err(Refusal::no_run(run_id));
            };
            match run.record.state {
                RunState::Cancelled => return inner.status_of(run_id),
                RunState::Done | RunState::Failed => {
                    return Err(Refusal::Conflict(format!(
                        "run {run_id} has ended and cannot be cancelled"
                    )));
                }
                RunState::Queued | RunState::Running => {}
            }
            run.record.is_cancelling = true;
            run.cancel.store(true, Ordering::Relaxed);
            let is_waiting = inner.waiting.contains(run_id);
            if is_waiting {
                inner.waiting.retain(|waiting| waiting != run_id);
                run.record.state = RunState::Cancelled;
                run.record.ended_at = Some(self.timestamp());
                run.phase = None;
            }
            (run.record.clone(), is_waiting)
        };
        // Only an answer that outlives this process is given.
        self.records
            .write(&record)
            .map_err(|error| Refusal::Internal(error.to_string()))?;
        let inner = lock(&self.inner);
        if has_ended && let Some(run) = inner.runs.get(run_id) {
            run.log.push(end_event(&run.record));
        }
        inner.status_of(run_id)
    }

    fn drain(&self) {
        let mut inner = lock(&self.inner);
        inner.is_draining = true;
        if let Some(run) = inner
            .running
            .as_ref()
            .and_then(|running| inner.runs.get(running))
        {
            run.cancel.store(true, Ordering::Relaxed);
        }
        self.wake.notify_all();
    }

    /// Waits for a run to be made; `None` when the worker drains.
    fn next(&self) -> Option<RunId> {
        let mut inner = lock(&self.inner);
        loop {
            if inner.is_draining {
                return None;
            }
            if let Some(run_id) = inner.waiting.pop_front() {
                inner.running = Some(run_id.clone());
                return Some(run_id);
            }
            inner = self
                .wake
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Changes a run's record, in memory and on disk.
    fn change(&self, run_id: &RunId, change: impl FnOnce(&mut KnownRun, &mut Option<RunId>)) {
        let _writing = lock(&self.writer);
        let record = {
            let mut inner = lock(&self.inner);
            let Inner { runs, running, .. } = &mut *inner;
            let Some(run) = runs.get_mut(run_id) else {
                return;
            };
            change(run, running);
            run.record.clone()
        };
        if let Err(error) = self.records.write(&record) {
            // The run itself is safe in its folder; only a restart would know less.
            tracing::error!("{error}");
        }
    }

    /// One go at a run, from its first event to its last.
    fn make(&self, run_id: &RunId) {
        let started_at = self.timestamp();
        let mut begun = None;
        self.change(run_id, |run, _| {
            run.record.state = RunState::Running;
            run.record.started_at.get_or_insert(started_at);
            begun = Some((run.record.clone(), Arc::clone(&run.cancel)));
        });
        if let Some((record, cancel)) = begun {
            let go = Go {
                record: &record,
                places: &self.options.places,
                bucket: self.options.bucket.as_ref(),
                exchange: &self.writer,
                engines: &*self.engines,
                clock: &self.options.clock,
                cancel: &cancel,
                has_folder: &|| {
                    if !record.has_folder {
                        self.change(run_id, |run, _| run.record.has_folder = true);
                    }
                },
                tell: &|event| self.tell(run_id, event),
            };
            // A defect in one run must not keep the others from being made.
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| go.perform()));
            let outcome = result.map_or_else(
                |_| Outcome::Failed("the run ended by a defect of the program".to_owned()),
                |result| outcome(&result),
            );
            self.end(run_id, outcome);
            // A run that only this worker's end has stopped is remembered already, and there is no time to lose.
            let has_ended = |run: &KnownRun| run.record.state.has_ended();
            let has_ended = lock(&self.inner).runs.get(run_id).is_some_and(has_ended);
            if has_ended && let Err(error) = self.remember(run_id) {
                tracing::warn!(%error, "the bucket does not know yet that run {run_id} has ended");
            }
        }
    }

    fn tell(&self, run_id: &RunId, event: RunEvent) {
        let mut inner = lock(&self.inner);
        if let Some(run) = inner.runs.get_mut(run_id) {
            // Both in one go, so that no state is seen before its event.
            run.apply(&event);
            run.log.push(event);
        }
    }

    fn end(&self, run_id: &RunId, outcome: Outcome) {
        let ended_at = self.timestamp();
        self.change(run_id, |run, running| {
            // All in one go: who sees the end finds room for the next run. A worker that is killed before
            // it is on disk goes on with the run, and finds nothing left to do.
            *running = None;
            run.phase = None;
            run.cell = None;
            let record = &mut run.record;
            record.state = match outcome {
                Outcome::Done => RunState::Done,
                Outcome::Stopped if record.is_cancelling => RunState::Cancelled,
                // The worker stops, not the run: the next start goes on with it.
                Outcome::Stopped => return,
                Outcome::Failed(error) => {
                    tracing::warn!("run {} failed: {error}", record.run_id);
                    record.error = Some(error);
                    RunState::Failed
                }
            };
            record.is_cancelling = false;
            record.ended_at = Some(ended_at);
            run.log.push(end_event(&run.record));
        });
        let inner = lock(&self.inner);
        let older = inner
            .runs
            .values()
            .filter(|run| run.record.run_id != *run_id && run.record.state.has_ended());
        // Who still follows a run that ended before this one gets its state and its end.
        older.for_each(|run| run.log.keep(1));
    }
}

fn outcome(result: &Result<RunSummary, AuditError>) -> Outcome {
    match result {
        Ok(summary) if summary.ending == Ending::Cancelled => Outcome::Stopped,
        Ok(_) => Outcome::Done,
        Err(AuditError::Cancelled) => Outcome::Stopped,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}
