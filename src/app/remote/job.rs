//! A Cloud Run job as the place of a run: planned with its time and cost, started, followed by what Cloud Run
//! and the bucket say, cancelled. Its pictures come from the bucket.

use super::telling::Teller;
use super::{RemoteServices, blocking};
use crate::app::bucket::StorageServices;
use crate::audit::RunRequest as AuditRun;
use crate::model::ids::RunId;
use crate::remote::client::backoff::Backoff;
use crate::remote::client::{Intent, RemoteNote};
use crate::remote::job::wire::State;
use crate::remote::job::{
    JobControl, JobError, JobPlace, JobStatus, Prepared, Price, Wanted, launch, prepare,
};
use crate::state::Event;
use crate::state::compose::{RunRequest, duration_label};
use crate::state::remote::{JobForm, JobPlan, RemoteEvent};
use crate::storage::cache::Cache;
use crate::storage::session::pull_session_at;
use crate::storage::{StorageConfig, Store};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Opens what starts, asks about and cancels a job's runs.
pub type OpenJobs = dyn Fn(JobPlace, Arc<dyn Store>, StorageConfig) -> BoxFuture<'static, Result<JobControl, JobError>>
    + Send
    + Sync;

/// Opens Cloud Run with the credentials that storage finds.
pub fn open_cloud_run(
    place: JobPlace,
    store: Arc<dyn Store>,
    config: StorageConfig,
) -> BoxFuture<'static, Result<JobControl, JobError>> {
    async move { JobControl::open(place, store, config).await }.boxed()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The job that a form names.
pub(super) fn place_of(form: &JobForm) -> Result<JobPlace, String> {
    JobPlace::new(&form.project, &form.region, &form.job).map_err(text)
}

/// The job that a note names, as [`JobPlace::name`] writes it.
fn place_of_note(note: &RemoteNote) -> Result<JobPlace, String> {
    let parts: Vec<&str> = note.worker.split('/').collect();
    match parts.as_slice() {
        ["projects", project, "locations", region, "jobs", job] => {
            JobPlace::new(project, region, job).map_err(text)
        }
        _ => Err(format!("the note names no job: {}", note.worker)),
    }
}

/// The bucket that is configured.
async fn bucket(storage: &StorageServices) -> Result<(StorageConfig, Arc<dyn Store>), String> {
    let (config, store) = storage.open_configured().await?;
    let usual = StorageConfig::default().run_prefix;
    if config.run_prefix != usual {
        return Err(format!(
            "the job's tasks have no settings of storage and send runs to {usual}, not to {:?}; set “Runs in \
             it” back in Settings",
            config.run_prefix
        ));
    }
    Ok((config, store))
}

/// What was planned, and the plan's lines.
type ShownPlan = (RunRequest, Vec<String>);

/// The plan that was shown last: a run is started as it was shown or not at all.
#[derive(Clone, Default)]
pub(super) struct Shown(Arc<Mutex<Option<ShownPlan>>>);

impl Shown {
    fn keep(&self, request: RunRequest, lines: Vec<String>) {
        // Replaced whole.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((request, lines));
    }

    fn is_of(&self, request: &RunRequest, lines: &[String]) -> bool {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.as_ref();
        shown.is_some_and(|(of, shown)| of == request && shown == lines)
    }
}

/// The plan as it is shown, a line each: tasks, time, cost, and gates that are overridden.
fn lines_of(prepared: &Prepared) -> Vec<String> {
    let mut lines = prepared.plan.lines();
    let remarks = prepared.remarks.iter();
    lines.extend(remarks.map(|remark| format!("mask gate: {remark}")));
    lines
}

/// The plan as it is to be shown, a line each.
///
/// # Errors
/// What keeps the run from being planned.
pub(super) async fn plan(
    services: &RemoteServices,
    shown: &Shown,
    request: RunRequest,
    form: &JobForm,
) -> Result<Vec<String>, String> {
    place_of(form)?;
    let (config, store) = bucket(&services.storage).await?;
    let run_id = RunId::new("planned").map_err(text)?;
    let of = request.clone();
    let prepared = prepared(services, request, form, (&config, &store), &run_id).await?;
    let lines = lines_of(&prepared);
    shown.keep(of, lines.clone());
    Ok(lines)
}

/// Fetches the session, looks at its mask, and plans the tasks.
async fn prepared(
    services: &RemoteServices,
    request: RunRequest,
    form: &JobForm,
    (config, store): (&StorageConfig, &Arc<dyn Store>),
    run_id: &RunId,
) -> Result<Prepared, String> {
    let (user, session) = (form.user.as_str(), form.session.as_str());
    let prefix = config.prefix_of_session(user, session).map_err(text)?;
    let scratch = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let root = services
        .storage
        .cache_dir
        .clone()
        .unwrap_or_else(|| scratch.path().join("cache"));
    let limit = config.cache_limit_mb.saturating_mul(1_000_000);
    let cache = Cache::open(root, limit).map_err(text)?;
    let session_dir = scratch.path().join(session);
    std::fs::create_dir_all(&session_dir).map_err(text)?;
    pull_session_at(&**store, &cache, &prefix, &session_dir)
        .await
        .map_err(text)?;
    let (bucket, run_id) = (config.bucket.clone(), run_id.clone());
    let planned = blocking(move || {
        // Kept until the pictures are read.
        let _scratch = scratch;
        let runs_dir = request.runs_dir.clone();
        let request = AuditRun {
            session_dir,
            runs_dir: request.runs_dir,
            run_id: Some(run_id.clone()),
            is_new: false,
            plan: request.plan,
            prompts: request.prompts,
            inference: request.inference,
            device: launch::DEVICE.to_owned(),
            matmul: request.matmul,
            gates_override: request.gates_override,
        };
        let address = format!("gs://{bucket}/{prefix}");
        let wanted = Wanted {
            run_id: &run_id,
            session: &address,
            bucket: &bucket,
            measured: &runs_dir,
            price: Price::default(),
            tasks: None,
        };
        prepare(&request, &wanted).map_err(text)
    });
    planned
        .await
        .unwrap_or_else(|| Err("the planning broke off".to_owned()))
}

/// One run in a job.
pub(super) struct Job<'a> {
    pub(super) services: &'a RemoteServices,
    pub(super) runs_dir: PathBuf,
    pub(super) note: RemoteNote,
    pub(super) teller: &'a Teller,
    pub(super) shown: &'a Shown,
}

/// Whether it is certain that a start that went wrong has started nothing.
fn has_started_nothing(error: &JobError) -> bool {
    match error {
        JobError::BadName { .. }
        | JobError::NotFound { .. }
        | JobError::Forbidden { .. }
        | JobError::Auth { .. }
        | JobError::Quota { .. }
        | JobError::Refused { .. } => error.is_certain(),
        // An execution may be there that nobody could look for, or that could not be remembered.
        JobError::Transient { .. }
        | JobError::Offline { .. }
        | JobError::Malformed { .. }
        | JobError::Plan(_)
        | JobError::Storage(_) => false,
    }
}

impl Job<'_> {
    /// Starts the run that was planned, and follows it. A plan that is another one by now is shown in its
    /// place, and nothing is started.
    ///
    /// # Errors
    /// What keeps it from being started or followed.
    pub(super) async fn start(
        mut self,
        request: RunRequest,
        form: &JobForm,
        intent: watch::Receiver<Intent>,
    ) -> Result<String, String> {
        self.teller.phase("planning".to_owned());
        let (config, store) = bucket(&self.services.storage).await?;
        let run_id = self.note.run_id.clone();
        let of = request.clone();
        let prepared = prepared(self.services, request, form, (&config, &store), &run_id).await?;
        let lines = lines_of(&prepared);
        if !self.shown.is_of(&of, &lines) {
            self.shown.keep(of.clone(), lines.clone());
            let plan = JobPlan {
                request: Box::new(of),
                result: Ok(lines),
            };
            let planned = RemoteEvent::Planned(plan);
            self.teller.outbox().send(Event::Remote(planned));
            return Err(
                "the plan is another one now than was shown, and nothing was started; look at its time and \
                 cost and start it again"
                    .to_owned(),
            );
        }
        let control = (self.services.jobs)(place_of(form)?, store, config);
        let control = control.await.map_err(text)?;
        self.note.ended = None;
        self.note.write(&self.runs_dir).map_err(text)?;
        self.teller.phase("starting the job".to_owned());
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        if let Err(error) = control.start(&prepared.launch, &now.to_string()).await {
            if has_started_nothing(&error) {
                // Nothing is under way that could be picked up.
                self.end("refused")?;
            }
            return Err(text(error));
        }
        self.follow(&control, intent).await
    }

    /// Follows a run that was started before.
    ///
    /// # Errors
    /// What keeps it from being followed.
    pub(super) async fn pick_up(self, intent: watch::Receiver<Intent>) -> Result<String, String> {
        let (config, store) = bucket(&self.services.storage).await?;
        let control = (self.services.jobs)(place_of_note(&self.note)?, store, config);
        let control = control.await.map_err(text)?;
        self.follow(&control, intent).await
    }

    fn end(&mut self, how: &str) -> Result<(), String> {
        self.note.ended = Some(how.to_owned());
        self.note.write(&self.runs_dir).map_err(text)
    }

    fn look(&self, is_last: bool) {
        let run_id = self.note.run_id.to_string();
        let event = RemoteEvent::LookInBucket { run_id, is_last };
        self.teller.outbox().send(Event::Remote(event));
    }

    async fn follow(
        mut self,
        control: &JobControl,
        mut intent: watch::Receiver<Intent>,
    ) -> Result<String, String> {
        let look_every = self.services.look_every.unwrap_or(super::LOOK_EVERY);
        let run_id = self.note.run_id.clone();
        let mut backoff = Backoff::new(look_every, look_every * 8, Backoff::seed());
        let started = Instant::now();
        let mut is_cancelled = false;
        loop {
            let wanted = *intent.borrow_and_update();
            if wanted == Intent::Leave {
                return Ok(format!(
                    "run {run_id} goes on as a job; watch it from the inbox to pick it up"
                ));
            }
            let asked = if wanted == Intent::Cancel && !is_cancelled {
                control.cancel(&run_id).await
            } else {
                control.status(&run_id).await
            };
            let wait = match asked {
                Ok(status) => {
                    is_cancelled |= wanted == Intent::Cancel;
                    backoff.reset();
                    self.tell(&status, started.elapsed());
                    if status.state.has_ended() {
                        self.look(true);
                        self.end(status.state.word())?;
                        return ended(&status);
                    }
                    self.look(false);
                    look_every
                }
                Err(error) if error.is_retryable() || matches!(error, JobError::Storage(_)) => {
                    tracing::info!("waiting: {error}");
                    let wait = backoff.next(None);
                    let secs = wait.as_secs_f64().ceil();
                    let why = match error {
                        JobError::Offline { .. } => "connection lost".to_owned(),
                        other => text(other),
                    };
                    self.teller
                        .trouble(Some(format!("{why}, trying again in {secs} s")));
                    wait
                }
                Err(error) => return Err(text(error)),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = intent.changed() => {
                    if changed.is_err() {
                        return Ok(format!("run {run_id} goes on as a job"));
                    }
                }
            }
        }
    }

    fn tell(&self, status: &JobStatus, elapsed: Duration) {
        let mut phase = format!(
            "{}: {} of {} tasks run, {} ended well",
            status.state.word(),
            status.running,
            status.record.tasks,
            status.succeeded
        );
        if status.failed > 0 {
            phase.push_str(&format!(", {} failed", status.failed));
        }
        let waited = duration_label(elapsed.as_secs_f64());
        phase.push_str(&format!(", watched for {waited}"));
        self.teller.trouble(None);
        let tried = status.cells.done + status.cells.failed;
        self.teller.counted(phase, tried, status.record.cells);
    }
}

/// What came of it, in a sentence.
fn ended(status: &JobStatus) -> Result<String, String> {
    let said = status.lines().join("; ");
    if status.cells.has_report || status.state == State::Cancelled {
        Ok(said)
    } else {
        Err(said)
    }
}
