//! A run on a worker from its request to its end: asked for once, followed through lost connections and
//! restarts of either side, copied cell by cell. Nothing here decides what a window shows; it is told by
//! [`FollowEvent`]s, in order.

use super::backoff::Backoff;
use super::copy::RunCopy;
use super::{ClientError, RemoteNote, WorkerClient};
use crate::model::cell::CellKey;
use crate::model::ids::RunId;
use crate::model::run::CellState;
use crate::remote::wire::{CellCounts, RunEvent, RunFile, RunState, Status};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How often one who waits is told how long it still is.
const TICK: Duration = Duration::from_secs(1);
/// How often a file that does not come is asked for, once the run has ended.
const LAST_TRIES: u32 = 3;

/// What a person wants of a run that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Intent {
    /// It goes on.
    #[default]
    GoOn,
    /// It is to stop.
    Cancel,
    /// It goes on without being followed.
    Leave,
}

/// What is told of a run that is followed.
#[derive(Debug, Clone)]
pub enum FollowEvent {
    /// The worker has taken the request, or knew it already.
    Taken,
    /// All that the worker knows now.
    Status(Box<Status>),
    /// The run's folder is a run: it can be opened.
    Planned {
        /// The folder.
        dir: PathBuf,
    },
    /// A cell is in the folder.
    Cell {
        /// Which.
        key: CellKey,
        /// What became of it.
        state: Box<CellState>,
    },
    /// An event of the run. A cell that it calls finished may still be on its way.
    Run(RunEvent),
    /// Nothing comes at the moment.
    Waiting {
        /// Why, as the beginning of a line: `connection lost`.
        why: String,
        /// Until the next try.
        for_secs: u64,
    },
    /// It works again.
    Connected,
}

/// How following a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The run has ended.
    Ended {
        /// How.
        state: RunState,
        /// Why, if it failed.
        error: Option<String>,
        /// How many cells are how far.
        cells: CellCounts,
        /// Files that did not come, with the reason.
        lacking: Vec<(String, String)>,
    },
    /// The run goes on without being followed.
    Left,
}

/// One run on one worker.
pub struct Follow<'a> {
    client: &'a WorkerClient,
    runs_dir: PathBuf,
    note: RemoteNote,
    intent: watch::Receiver<Intent>,
    tell: &'a (dyn Fn(FollowEvent) + Send + Sync),
    backoff: Backoff,
    last_id: Option<String>,
    is_waiting: bool,
    is_cancel_sent: bool,
    is_planned: bool,
    /// An answer to the request was lost: it may have been taken.
    is_uncertain: bool,
}

impl<'a> Follow<'a> {
    /// Follows the run of a note into the folder of that name below `runs_dir`.
    pub fn new(
        client: &'a WorkerClient,
        runs_dir: PathBuf,
        note: RemoteNote,
        intent: watch::Receiver<Intent>,
        tell: &'a (dyn Fn(FollowEvent) + Send + Sync),
    ) -> Self {
        let options = &client.options;
        Self {
            backoff: Backoff::new(options.first_wait, options.longest_wait, Backoff::seed()),
            client,
            runs_dir,
            note,
            intent,
            tell,
            last_id: None,
            is_waiting: false,
            is_cancel_sent: false,
            is_planned: false,
            is_uncertain: false,
        }
    }

    /// Asks for the run, whether it is a new one or more of one that has ended, and follows it.
    ///
    /// The note is written first, so that a run that was asked for is never forgotten. It may be dropped at
    /// any time: the run goes on, and [`Follow::pick_up`] follows it again.
    ///
    /// # Errors
    /// [`ClientError`] that does not pass by itself.
    pub async fn start(mut self) -> Result<Outcome, ClientError> {
        self.note.ended = None;
        self.write_note()?;
        match self.ask().await {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) => {}
            Err(error) => {
                if !self.is_uncertain {
                    // Nothing is under way that could be picked up.
                    self.end_note("refused")?;
                }
                return Err(error);
            }
        }
        self.follow().await
    }

    /// Follows a run that was asked for before, or may have been: by one who died in the middle of it.
    ///
    /// # Errors
    /// [`ClientError`] that does not pass by itself.
    pub async fn pick_up(mut self) -> Result<Outcome, ClientError> {
        loop {
            match self.client.status(&self.note.run_id).await {
                Ok(_) => return self.follow().await,
                // The request never arrived.
                Err(ClientError::NotFound { .. }) => return self.start().await,
                Err(error) => {
                    if let Some(outcome) = self.pause(error).await? {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    fn run_id(&self) -> &RunId {
        &self.note.run_id
    }

    fn wanted(&self) -> Intent {
        *self.intent.borrow()
    }

    fn write_note(&self) -> Result<(), ClientError> {
        self.note.write(&self.runs_dir)
    }

    fn end_note(&mut self, how: &str) -> Result<(), ClientError> {
        self.note.ended = Some(how.to_owned());
        self.write_note()
    }

    /// Sends the request until an answer comes. `Some` if it is not wanted any more.
    async fn ask(&mut self) -> Result<Option<Outcome>, ClientError> {
        loop {
            if self.is_uncertain {
                let is_certain = match self.client.status(self.run_id()).await {
                    Ok(status) if !status.state.has_ended() => {
                        // Only the answer was lost.
                        self.connected();
                        (self.tell)(FollowEvent::Taken);
                        return Ok(None);
                    }
                    // It may have ended before it was asked for again, which does no harm.
                    Ok(_) => true,
                    Err(ClientError::NotFound { .. }) => {
                        self.is_uncertain = false;
                        true
                    }
                    Err(_) => false,
                };
                if is_certain && self.wanted() == Intent::Cancel {
                    return self.give_up_asking().map(Some);
                }
            }
            let request = self.note.request.clone();
            match self.client.start(&request).await {
                Ok(_) => {
                    self.connected();
                    (self.tell)(FollowEvent::Taken);
                    return Ok(None);
                }
                Err(error) => {
                    self.is_uncertain |= matches!(
                        error,
                        ClientError::Offline { .. } | ClientError::NotAWorker { .. }
                    );
                    if !self.is_uncertain && self.wanted() != Intent::GoOn && error.may_pass() {
                        // It was never taken.
                        return self.give_up_asking().map(Some);
                    }
                    if let Some(outcome) = self.pause(error).await? {
                        return Ok(Some(outcome));
                    }
                }
            }
            if !self.is_uncertain && self.wanted() == Intent::Cancel {
                return self.give_up_asking().map(Some);
            }
        }
    }

    fn give_up_asking(&mut self) -> Result<Outcome, ClientError> {
        self.end_note("cancelled")?;
        Ok(Outcome::Ended {
            state: RunState::Cancelled,
            error: None,
            cells: CellCounts::default(),
            lacking: Vec::new(),
        })
    }

    async fn follow(mut self) -> Result<Outcome, ClientError> {
        let mut copy = RunCopy::new(&self.runs_dir, self.run_id());
        loop {
            match self.attend(&mut copy).await {
                Ok(outcome) => {
                    if let Outcome::Ended { state, .. } = &outcome {
                        let word = match state {
                            RunState::Done => "done",
                            RunState::Cancelled => "cancelled",
                            _ => "failed",
                        };
                        self.end_note(word)?;
                    }
                    return Ok(outcome);
                }
                Err(error) => {
                    if let Some(outcome) = self.pause(error).await? {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    /// Tells that nothing comes, second by second, until the next try. `Some` if it is left meanwhile.
    ///
    /// # Errors
    /// The error itself, if it does not pass.
    async fn pause(&mut self, error: ClientError) -> Result<Option<Outcome>, ClientError> {
        if !error.may_pass() {
            return Err(error);
        }
        tracing::info!("waiting: {error}");
        self.is_waiting = true;
        let until = Instant::now() + self.backoff.next(error.retry_after());
        loop {
            if self.wanted() == Intent::Leave {
                return Ok(Some(Outcome::Left));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            (self.tell)(FollowEvent::Waiting {
                why: error.words(),
                for_secs: left.as_secs_f64().ceil() as u64,
            });
            tokio::select! {
                () = tokio::time::sleep(left.min(TICK)) => {}
                changed = self.intent.changed() => {
                    if changed.is_err() {
                        // Nobody is left who could want anything else.
                        return Ok(Some(Outcome::Left));
                    }
                    if self.wanted() == Intent::Cancel {
                        // Tried at once.
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn connected(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.is_waiting) {
            (self.tell)(FollowEvent::Connected);
        }
    }

    /// One connection's worth of a run: its state, its files, its events.
    async fn attend(&mut self, copy: &mut RunCopy) -> Result<Outcome, ClientError> {
        let status = self.client.status(self.run_id()).await?;
        self.connected();
        let mut ended = Ended::of(&status);
        (self.tell)(FollowEvent::Status(Box::new(status)));
        if ended.is_none() {
            let news = Notify::new();
            news.notify_one();
            let mut work = self.copy_work();
            let result: Result<Option<Ended>, ClientError> = {
                let copying = async {
                    loop {
                        news.notified().await;
                        // What does not come now comes with the next news.
                        if let Err(error) = work.run(copy).await {
                            return error;
                        }
                    }
                };
                tokio::select! {
                    read = self.read_events(&news) => read,
                    error = copying => Err(error),
                }
            };
            self.is_planned = work.is_planned;
            match result? {
                Some(found) => ended = Some(found),
                None => return Ok(Outcome::Left),
            }
        }
        let Some(Ended {
            state,
            error,
            cells,
        }) = ended
        else {
            return Ok(Outcome::Left);
        };
        let mut work = self.copy_work();
        let mut lacking = work.run(copy).await?;
        for _ in 1..LAST_TRIES {
            if lacking.is_empty() {
                break;
            }
            tokio::time::sleep(self.backoff.next(None)).await;
            lacking = work.run(copy).await?;
        }
        self.is_planned = work.is_planned;
        if state == RunState::Done && lacking.is_empty() {
            copy.finish()?;
        }
        Ok(Outcome::Ended {
            state,
            error,
            cells,
            lacking: lacking.into_iter().collect(),
        })
    }

    fn copy_work(&self) -> CopyWork<'a> {
        CopyWork {
            client: self.client,
            run_id: self.note.run_id.clone(),
            tell: self.tell,
            is_planned: self.is_planned,
        }
    }

    /// Reads events until the run has ended, and passes on what is wanted of it. `None` if it is left.
    async fn read_events(&mut self, news: &Notify) -> Result<Option<Ended>, ClientError> {
        let worker = || self.client.address().to_string();
        let opening = self
            .client
            .events(&self.note.run_id, self.last_id.as_deref());
        let Some(mut stream) = opening.await? else {
            // It has told the end before; the status says it again.
            let status = self.client.status(&self.note.run_id).await?;
            return Ended::of(&status)
                .map(Some)
                .ok_or_else(|| ClientError::Offline {
                    worker: worker(),
                    problem: "its events and its state do not agree".to_owned(),
                });
        };
        let mut intent = self.intent.clone();
        intent.mark_changed();
        loop {
            tokio::select! {
                event = stream.next() => {
                    let Some((id, event)) = event? else {
                        return Err(ClientError::Offline {
                            worker: worker(),
                            problem: "it ended the stream of events".to_owned(),
                        });
                    };
                    self.last_id = id.or(self.last_id.take());
                    match &event {
                        RunEvent::Snapshot(status) => {
                            news.notify_one();
                            (self.tell)(FollowEvent::Status(status.clone()));
                            continue;
                        }
                        RunEvent::Started { .. } | RunEvent::CellFinished { .. } => {
                            news.notify_one();
                        }
                        RunEvent::End { state, error, cells } => {
                            return Ok(Some(Ended {
                                state: *state,
                                error: error.clone(),
                                cells: *cells,
                            }));
                        }
                        _ => {}
                    }
                    (self.tell)(FollowEvent::Run(event));
                }
                changed = intent.changed() => {
                    let wanted = *intent.borrow_and_update();
                    if changed.is_err() || wanted == Intent::Leave {
                        return Ok(None);
                    }
                    if wanted == Intent::Cancel && !self.is_cancel_sent {
                        self.send_cancel().await?;
                    }
                }
            }
        }
    }

    async fn send_cancel(&mut self) -> Result<(), ClientError> {
        match self.client.cancel(&self.note.run_id).await {
            Ok(status) => {
                self.is_cancel_sent = true;
                (self.tell)(FollowEvent::Status(Box::new(status)));
                Ok(())
            }
            // It has ended meanwhile, which its events say too.
            Err(ClientError::Refused { status: 409, .. }) => {
                self.is_cancel_sent = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// How a run ended.
struct Ended {
    state: RunState,
    error: Option<String>,
    cells: CellCounts,
}

impl Ended {
    fn of(status: &Status) -> Option<Self> {
        status.state.has_ended().then(|| Self {
            state: status.state,
            error: status.error.clone(),
            cells: status.cells,
        })
    }
}

/// Brings the copy up to what the worker has.
struct CopyWork<'a> {
    client: &'a WorkerClient,
    run_id: RunId,
    tell: &'a (dyn Fn(FollowEvent) + Send + Sync),
    is_planned: bool,
}

impl CopyWork<'_> {
    /// Files that did not come, with the reason: one that the worker cannot give does not keep the others.
    ///
    /// # Errors
    /// [`ClientError`] if the worker cannot be reached, or the folder cannot be written.
    async fn run(&mut self, copy: &mut RunCopy) -> Result<BTreeMap<String, String>, ClientError> {
        let listed = self.client.files(&self.run_id).await?.files;
        let mut lacking = BTreeMap::new();
        let knew_plan = copy.has_plan();
        self.take(copy, &listed, &mut lacking).await?;
        if !knew_plan && copy.has_plan() {
            // Now the cells' names mean something.
            self.take(copy, &listed, &mut lacking).await?;
        }
        if copy.has_plan() {
            self.tell_planned(copy);
        }
        Ok(lacking)
    }

    fn tell_planned(&mut self, copy: &RunCopy) {
        if !std::mem::replace(&mut self.is_planned, true) {
            let dir = copy.dir().to_owned();
            (self.tell)(FollowEvent::Planned { dir });
        }
    }

    async fn take(
        &mut self,
        copy: &mut RunCopy,
        listed: &[RunFile],
        lacking: &mut BTreeMap<String, String>,
    ) -> Result<(), ClientError> {
        for file in on_disk(|| copy.missing(listed))? {
            let (bytes, sha256) = match self.client.file(&self.run_id, &file).await {
                Ok(got) => got,
                Err(
                    error @ (ClientError::Damaged { .. }
                    | ClientError::Failed { .. }
                    | ClientError::NotFound { .. }),
                ) => {
                    tracing::warn!("{} does not come: {error}", file.name);
                    lacking.insert(file.name, error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let cell = on_disk(|| copy.put(&file.name, &bytes, &sha256))?;
            if copy.has_plan() {
                self.tell_planned(copy);
            }
            if let Some((key, state)) = cell {
                let state = Box::new(state);
                (self.tell)(FollowEvent::Cell { key, state });
            }
        }
        Ok(())
    }
}

/// Does what waits for the disk. Pictures are a few megabytes; where the runtime has more than one thread,
/// the others go on meanwhile.
fn on_disk<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
