//! Runs that are made elsewhere: on a runtime of its own, so that the window never waits for the network.
//!
//! | file | job |
//! |---|---|
//! | `request` | what is asked for, under which name; or what was asked before |
//! | `telling` | from a followed run's events to the window's |
//! | `service` | the Python service, whose results are in the bucket |
//! | `job` | a Cloud Run job: planned, started, followed |
//! | `tokens` | where a worker's token is kept |
//! | `words` | what a device says of itself |
//!
//! Closing the window leaves a run that is made elsewhere as it is.

mod job;
mod request;
mod service;
mod telling;
mod tokens;
mod words;

pub use job::{OpenJobs, open_cloud_run};
pub use tokens::TokenStore;

use super::bucket::StorageServices;
use super::effects::Outbox;
use super::executor::Executor;
use super::runner::RunJob;
use crate::audit::pipeline_engine::environment_of;
use crate::model::ids::RunId;
use crate::pipeline::ComputeDevice;
use crate::remote::client::{
    ClientError, ClientOptions, Follow, Intent, Kind, Outcome, RemoteNote, WorkerAddress,
    WorkerClient,
};
use crate::remote::id_token::IdTokens;
use crate::remote::wire::RunState;
use crate::state::Event;
use crate::state::compose::RunRequest;
use crate::state::remote::{
    JobForm, JobPlan, OpenRemote, Place, PlaceKind, RemoteEffect, RemoteEvent, WaitingRun,
};
use crate::storage::StorageConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use telling::Teller;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What of it tests replace.
#[derive(Clone)]
pub struct RemoteServices {
    /// How long things may take.
    pub options: ClientOptions,
    /// Where tokens are kept.
    pub tokens: TokenStore,
    /// How often results are looked for in the bucket; 15 s if none is given.
    pub look_every: Option<Duration>,
    /// Opens Cloud Run.
    pub jobs: Arc<OpenJobs>,
    /// The bucket that results come from; the window's own.
    pub storage: StorageServices,
}

impl Default for RemoteServices {
    fn default() -> Self {
        Self {
            options: ClientOptions::default(),
            tokens: TokenStore::default(),
            look_every: None,
            jobs: Arc::new(open_cloud_run),
            storage: StorageServices::default(),
        }
    }
}

/// How often results are looked for in the bucket.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Follows runs elsewhere, one at a time, and asks workers what they are. The runtime starts with the first
/// effect.
pub struct RemoteRunner {
    services: RemoteServices,
    outbox: Outbox,
    runtime: Option<Runtime>,
    under_way: Option<watch::Sender<Intent>>,
    shown: job::Shown,
}

impl RemoteRunner {
    /// Nothing is started yet.
    pub fn new(services: RemoteServices, outbox: Outbox) -> Self {
        Self {
            services,
            outbox,
            runtime: None,
            under_way: None,
            shown: job::Shown::default(),
        }
    }

    fn runtime(&mut self) -> Result<&Runtime, String> {
        if self.runtime.is_none() {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("remote")
                .enable_all()
                .build()
                .map_err(|error| format!("no thread for the network: {error}"))?;
            self.runtime = Some(runtime);
        }
        self.runtime
            .as_ref()
            .ok_or_else(|| "no thread for the network".to_owned())
    }

    /// Does what an effect says; never waits.
    pub fn perform(&mut self, effect: RemoteEffect) {
        let started = match effect {
            RemoteEffect::PickUp(dir) => self.follow(Aim::PickUp(dir)),
            RemoteEffect::Resume(dir) => self.follow(Aim::Resume(dir)),
            RemoteEffect::Leave => {
                self.leave();
                Ok(())
            }
            other => self.answer(other),
        };
        if let Err(problem) = started {
            self.outbox.send(Event::Problem(problem));
        }
    }

    /// What is answered by one event.
    fn answer(&mut self, effect: RemoteEffect) -> Result<(), String> {
        let (services, outbox) = (self.services.clone(), self.outbox.clone());
        let shown = self.shown.clone();
        self.runtime()?.spawn(async move {
            if let Some(event) = answered(&services, &shown, effect).await {
                outbox.send(Event::Remote(event));
            }
        });
        Ok(())
    }

    fn follow(&mut self, aim: Aim) -> Result<(), String> {
        // Nobody listens any more once a run has ended, which is before its end is told.
        let is_busy = |sender: &watch::Sender<Intent>| !sender.is_closed();
        if self.under_way.as_ref().is_some_and(is_busy) {
            return Err("a run elsewhere is followed already; let it end or leave it".to_owned());
        }
        let (sender, intent) = watch::channel(Intent::GoOn);
        let (services, outbox) = (self.services.clone(), self.outbox.clone());
        let shown = self.shown.clone();
        self.runtime()?.spawn(async move {
            let (dir, result) = run((&services, &shown), &outbox, aim, intent).await;
            outbox.send(Event::RunEnded { dir, result });
        });
        self.under_way = Some(sender);
        Ok(())
    }

    fn want(&self, wanted: Intent) {
        if let Some(sender) = &self.under_way {
            sender.send_replace(wanted);
        }
    }
}

impl Executor for RemoteRunner {
    fn submit(&mut self, job: RunJob) -> Result<(), String> {
        match job {
            RunJob::Start(request) => self.follow(Aim::Start(request)),
            RunJob::Resume { dir, .. } => self.follow(Aim::Resume(dir)),
            RunJob::Extend { .. } => {
                Err("a worker adds no sweep to a run; start another run there".to_owned())
            }
        }
    }

    fn cancel(&self) {
        self.want(Intent::Cancel);
    }

    fn leave(&self) {
        self.want(Intent::Leave);
    }
}

impl Drop for RemoteRunner {
    fn drop(&mut self) {
        // The run goes on; its note says so.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Which run is followed.
enum Aim {
    Start(Box<RunRequest>),
    PickUp(PathBuf),
    Resume(PathBuf),
}

async fn answered(
    services: &RemoteServices,
    shown: &job::Shown,
    effect: RemoteEffect,
) -> Option<RemoteEvent> {
    let tokens = services.tokens.clone();
    Some(match effect {
        RemoteEffect::Describe(device) => {
            let words = blocking({
                let device = device.clone();
                move || {
                    let device: ComputeDevice = device.parse().ok()?;
                    Some(words::of_environment(&environment_of(device)))
                }
            });
            RemoteEvent::Device(device, words.await.flatten()?)
        }
        RemoteEffect::Ask { worker } => {
            let asked = async {
                let client = client_of(services, &worker).await?;
                client.gpu().await
            };
            let result = asked.await.map(|gpu| words::of_gpu(&gpu));
            let result = result.map_err(|error| error.to_string());
            RemoteEvent::Asked { worker, result }
        }
        RemoteEffect::Plan(request) => {
            let result = match &request.place {
                Place::Job(form) => job::plan(services, shown, (*request).clone(), form).await,
                _ => Err("only a job's run is planned".to_owned()),
            };
            RemoteEvent::Planned(JobPlan { request, result })
        }
        RemoteEffect::FindToken { worker } => {
            token_event(worker, move |worker| tokens.place_of(worker)).await
        }
        RemoteEffect::KeepToken { worker, token } => {
            token_event(worker, move |worker| {
                tokens.keep(worker, &token.0).map(Some)
            })
            .await
        }
        RemoteEffect::ForgetToken { worker } => {
            token_event(worker, move |worker| tokens.forget(worker).map(|()| None)).await
        }
        RemoteEffect::ListWaiting { runs_dir } => {
            let waiting = blocking(move || {
                let notes = RemoteNote::waiting(&runs_dir).into_iter();
                notes.map(|note| waiting_run(&runs_dir, &note)).collect()
            });
            RemoteEvent::Waiting(waiting.await?)
        }
        RemoteEffect::Look(dir) => {
            let found = blocking({
                let dir = dir.clone();
                move || match RemoteNote::of_folder(&dir) {
                    Ok(found) => found,
                    Err(error) => {
                        tracing::warn!("{error}");
                        None
                    }
                }
            });
            let open = found.await.flatten().map(|(runs_dir, note)| OpenRemote {
                run: waiting_run(&runs_dir, &note),
                has_ended: note.ended.is_some(),
                kind: match note.kind {
                    Kind::Worker => PlaceKind::Worker,
                    Kind::Service => PlaceKind::Service,
                    Kind::Job => PlaceKind::Job,
                },
            });
            RemoteEvent::Found(dir, open)
        }
        RemoteEffect::PickUp(_) | RemoteEffect::Resume(_) | RemoteEffect::Leave => return None,
    })
}

async fn token_event(
    worker: String,
    work: impl FnOnce(&str) -> Result<Option<String>, String> + Send + 'static,
) -> RemoteEvent {
    let done = blocking({
        let worker = worker.clone();
        move || work(&worker)
    });
    let broken = || Err("the token's store broke off".to_owned());
    let result = done.await.unwrap_or_else(broken);
    let address = worker.parse::<WorkerAddress>();
    RemoteEvent::Token {
        is_readable: address.is_ok_and(|address| address.is_readable_on_the_way()),
        worker,
        result,
    }
}

/// Does what may wait for the disk beside the network's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn waiting_run(runs_dir: &Path, note: &RemoteNote) -> WaitingRun {
    WaitingRun {
        dir: runs_dir.join(note.run_id.as_str()),
        run_id: note.run_id.to_string(),
        worker: note.worker.clone(),
    }
}

async fn client_of(services: &RemoteServices, worker: &str) -> Result<WorkerClient, ClientError> {
    let address: WorkerAddress = worker.parse()?;
    let tokens = services.tokens.clone();
    let worker = worker.to_owned();
    let token = blocking(move || tokens.source_of(&worker)).await;
    let token = token.unwrap_or_else(|| Err(ClientError::Token("no token".to_owned())))?;
    let is_cloud_run = address.is_cloud_run();
    let client = WorkerClient::new(address, token, services.options.clone())?;
    if !is_cloud_run {
        return Ok(client);
    }
    let storage = &services.storage;
    let config = storage.config_path.as_deref().map(StorageConfig::load);
    let credentials = config
        .and_then(Result::ok)
        .and_then(|config| config.credentials);
    let service = client.address().to_string();
    match IdTokens::find(&service, credentials.as_deref(), &storage.environment).await {
        Ok(identity) => Ok(client.with_identity(identity)),
        Err(error) => {
            // A service that is open to all wants none; one that is not says so.
            tracing::info!("{service} is asked without saying who we are: {error}");
            Ok(client)
        }
    }
}

/// Follows a run to its end; its folder, and a sentence or what went wrong.
async fn run(
    (services, shown): (&RemoteServices, &job::Shown),
    outbox: &Outbox,
    aim: Aim,
    intent: watch::Receiver<Intent>,
) -> (Option<PathBuf>, Result<String, String>) {
    let is_start = !matches!(aim, Aim::PickUp(_));
    let job = match &aim {
        Aim::Start(request) => match &request.place {
            Place::Job(form) => Some(((**request).clone(), form.clone())),
            _ => None,
        },
        _ => None,
    };
    let (runs_dir, note) = match request::noted(aim) {
        Ok(found) => found,
        Err(problem) => return (None, Err(problem)),
    };
    let dir = runs_dir.join(note.run_id.as_str());
    let result = if note.kind == Kind::Job {
        in_job((services, shown), outbox, (runs_dir, note), intent, job).await
    } else {
        let followed = followed(services, outbox, (runs_dir, note), intent, is_start).await;
        followed.map_err(|error| error.to_string())
    };
    // A run that was refused has no folder.
    (dir.is_dir().then_some(dir), result)
}

async fn in_job(
    (services, shown): (&RemoteServices, &job::Shown),
    outbox: &Outbox,
    (runs_dir, note): (PathBuf, RemoteNote),
    intent: watch::Receiver<Intent>,
    start: Option<(RunRequest, JobForm)>,
) -> Result<String, String> {
    let teller = Teller::new(outbox.clone(), &note);
    teller.in_folder(runs_dir.join(note.run_id.as_str()));
    teller.tell_now();
    let job = job::Job {
        services,
        runs_dir,
        note,
        teller: &teller,
        shown,
    };
    match start {
        Some((request, form)) => job.start(request, &form, intent).await,
        None => job.pick_up(intent).await,
    }
}

async fn followed(
    services: &RemoteServices,
    outbox: &Outbox,
    (runs_dir, note): (PathBuf, RemoteNote),
    intent: watch::Receiver<Intent>,
    is_start: bool,
) -> Result<String, ClientError> {
    let teller = Teller::new(outbox.clone(), &note);
    teller.tell_now();
    let client = client_of(services, &note.worker).await?;
    if note.kind == Kind::Service {
        // Before an hour of its GPU is asked for: its results can be had from nowhere else.
        let storage = services.storage.open_configured().await;
        storage.map_err(ClientError::Folder)?;
        teller.in_folder(runs_dir.join(note.run_id.as_str()));
        let look_every = services.look_every.unwrap_or(LOOK_EVERY);
        let service = service::Service {
            client: &client,
            runs_dir,
            note,
            teller: &teller,
            look_every,
            storage: &services.storage,
        };
        return service.follow(intent, is_start).await;
    }
    // Before anything is asked for; a worker that cannot be reached yet is waited for below.
    if let Ok(gpu) = client.gpu().await
        && let Some(warning) = gpu.warning
    {
        teller.caution(warning);
    }
    let run_id = note.run_id.clone();
    let worker = note.worker.clone();
    let session = note.request.session_id.clone();
    let tell = |event| teller.tell(event);
    let follow = Follow::new(&client, runs_dir, note, intent, &tell);
    let outcome = if is_start {
        follow.start().await
    } else {
        follow.pick_up().await
    };
    let outcome = outcome.map_err(|error| with_remedy(error, session.as_str()))?;
    sentence(&run_id, &worker, outcome)
}

/// A session that the worker has not is the mistake that is made most.
fn with_remedy(error: ClientError, session: &str) -> ClientError {
    match error {
        ClientError::NotFound { worker, problem } if problem.contains("no session") => {
            ClientError::NotFound {
                worker,
                problem: format!(
                    "{problem}; put session {session}, with image.png and mask.png, into the worker's folder of \
                     sessions (--sessions) or into its bucket"
                ),
            }
        }
        other => other,
    }
}

fn sentence(run_id: &RunId, worker: &str, outcome: Outcome) -> Result<String, ClientError> {
    let Outcome::Ended {
        state,
        error,
        cells,
        lacking,
    } = outcome
    else {
        return Ok(format!(
            "run {run_id} goes on on {worker}; open it, or watch it from the inbox, to pick it up"
        ));
    };
    let made = format!("{} cells made, {} failed", cells.done, cells.failed);
    if let Some((file, reason)) = lacking.first() {
        return Err(ClientError::Folder(format!(
            "run {run_id} has ended ({made}), but {} of its files did not come; resume it to try again; \
             {file}: {reason}",
            lacking.len()
        )));
    }
    match state {
        RunState::Failed => Err(ClientError::Folder(format!(
            "run {run_id} failed on {worker}: {}",
            error.unwrap_or_default()
        ))),
        RunState::Cancelled => Ok(format!(
            "run {run_id} was cancelled: {made}, {} left",
            cells.left
        )),
        _ if cells.left > 0 => Ok(format!("run {run_id}: {made}, {} left", cells.left)),
        _ => Ok(format!("run {run_id} is complete: {made}")),
    }
}
