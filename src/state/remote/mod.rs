//! Runs that are made elsewhere, as the window knows them: where a composed run goes, what a worker computes
//! on, its token, and runs that go on without being watched. No network and no files here: all of it is asked
//! for by [`RemoteEffect`]s.

mod update;

pub(super) use update::{
    after_opening, follow_form, last_look_after, list_waiting, look, look_in_bucket_failed,
    on_event, on_msg, resume,
};

use super::compose::RunRequest;
use crate::model::ids::{SessionId, UserId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The kinds of places that make a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PlaceKind {
    /// This machine.
    #[default]
    ThisMachine,
    /// A `fill-audit serve` somewhere.
    Worker,
    /// The Python service, whose results are in the bucket.
    Service,
    /// A Cloud Run job on L4s, whose results are in the bucket.
    Job,
}

impl PlaceKind {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::ThisMachine, Self::Worker, Self::Job, Self::Service];

    /// As it is offered.
    pub fn label(self) -> &'static str {
        match self {
            Self::ThisMachine => "This machine",
            Self::Worker => "A worker",
            Self::Service => "The Python service",
            Self::Job => "A Cloud Run job",
        }
    }
}

/// Where a run is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    ThisMachine,
    /// By a worker.
    Worker(WorkerPlace),
    /// By the Python service.
    Service(WorkerPlace),
    /// By a Cloud Run job.
    Job(JobForm),
}

/// A worker, and the session as it knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPlace {
    /// Its address.
    pub worker: String,
    /// Whose session it is.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
}

/// A Cloud Run job, and the session as the bucket has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobForm {
    /// The project's id.
    pub project: String,
    /// Its region.
    pub region: String,
    /// Its name.
    pub job: String,
    /// Whose session it is.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
}

/// Something that is never shown nor logged.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceWords {
    /// Name, memory, driver.
    pub label: String,
    /// Why it is not production's GPU, in a sentence.
    pub warning: Option<String>,
}

/// What is known of a worker's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownToken {
    /// The worker's address as it is typed.
    pub worker: String,
    /// Where the token is kept, in words; `None` if there is none.
    pub place: Option<String>,
    /// Whether what is sent there can be read on the way.
    pub is_readable: bool,
}

/// A run elsewhere that has not been seen to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRun {
    /// The run's folder here, whether it is there yet or not.
    pub dir: PathBuf,
    /// Its name.
    pub run_id: String,
    /// Where it is made.
    pub worker: String,
}

/// What is remembered of the open run if it was made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRemote {
    /// The run.
    pub run: WaitingRun,
    /// Whether it was seen to end.
    pub has_ended: bool,
    /// What makes it.
    pub kind: PlaceKind,
}

/// A job's run that was planned.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPlan {
    /// What was planned.
    pub request: Box<RunRequest>,
    /// Tasks, time and cost, a line each; or why there is no plan.
    pub result: Result<Vec<String>, String>,
}

/// Everything about runs elsewhere that the window shows.
#[derive(Debug, Clone, Default)]
pub struct RemoteView {
    /// The device of this machine that was described last, by its name.
    pub device: Option<(String, DeviceWords)>,
    /// The worker that is being asked.
    pub asking: Option<String>,
    /// What the worker that was asked last computes on, or why that is not known; by its address.
    pub asked: Option<(String, Result<DeviceWords, String>)>,
    /// The token as it is typed.
    pub typed_token: Secret,
    /// What is known of the token of the worker that was looked at last.
    pub token: Option<KnownToken>,
    /// Runs that go on without being watched, the newest first.
    pub waiting: Vec<WaitingRun>,
    /// What is remembered of the open run.
    pub open: Option<OpenRemote>,
    /// A run that was just opened, and is followed again if it goes on elsewhere.
    pub may_pick_up: Option<PathBuf>,
    /// Whether a job's run is being planned.
    pub is_planning: bool,
    /// The plan of the job's run that was planned last.
    pub plan: Option<JobPlan>,
    /// A run whose results are looked for in the bucket, while somebody else makes it.
    pub in_bucket: Option<String>,
    /// A run that is looked for a last time, once what is being fetched has come.
    pub last_look: Option<String>,
}

/// What a panel says.
#[derive(Debug, Clone)]
pub enum RemoteMsg {
    /// Ask the form's worker what it computes on.
    Ask,
    /// Plan the form's run as a job.
    Plan,
    /// The token was typed.
    TypeToken(Secret),
    /// Keep what was typed as the form's worker's token.
    KeepToken,
    /// Forget the form's worker's token.
    ForgetToken,
    /// Watch a run that goes on elsewhere.
    Watch(PathBuf),
    /// Watch the run under way no longer; it goes on.
    Leave,
}

/// What comes back from the background.
#[derive(Debug, Clone)]
pub enum RemoteEvent {
    /// A device of this machine was described, by its name.
    Device(String, DeviceWords),
    /// A worker was asked what it computes on.
    Asked {
        /// Its address.
        worker: String,
        /// What it says, or why that is not known.
        result: Result<DeviceWords, String>,
    },
    /// A worker's token was looked for, kept or forgotten.
    Token {
        /// Its address.
        worker: String,
        /// Where it is kept; `None` if there is none; or what went wrong.
        result: Result<Option<String>, String>,
        /// Whether what is sent there can be read on the way.
        is_readable: bool,
    },
    /// A job's run was planned.
    Planned(JobPlan),
    /// Runs that go on without being watched.
    Waiting(Vec<WaitingRun>),
    /// What is remembered of the run in a folder.
    Found(PathBuf, Option<OpenRemote>),
    /// A run's results may be in the bucket by now.
    LookInBucket {
        /// The run.
        run_id: String,
        /// Whether nothing more will come.
        is_last: bool,
    },
}

/// What the window cannot do itself.
#[derive(Debug, Clone, PartialEq)]
pub enum RemoteEffect {
    /// Describe a device of this machine.
    Describe(String),
    /// Ask a worker what it computes on.
    Ask {
        /// Its address.
        worker: String,
    },
    /// Plan a job's run: tasks, time and cost.
    Plan(Box<RunRequest>),
    /// Look whether a worker's token is kept.
    FindToken {
        /// Its address.
        worker: String,
    },
    /// Keep a worker's token.
    KeepToken {
        /// Its address.
        worker: String,
        /// The token.
        token: Secret,
    },
    /// Forget a worker's token.
    ForgetToken {
        /// Its address.
        worker: String,
    },
    /// List runs that go on without being watched.
    ListWaiting {
        /// Where runs are kept.
        runs_dir: PathBuf,
    },
    /// Look what is remembered of the run in a folder.
    Look(PathBuf),
    /// Follow the run of a folder again.
    PickUp(PathBuf),
    /// Ask the worker for what is missing of the run of a folder.
    Resume(PathBuf),
    /// Follow the run under way no longer.
    Leave,
}
