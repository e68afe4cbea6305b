//! A job's executions from the run's side: started, followed, cancelled. What the tasks have made is read off
//! the bucket, so it is known also where Cloud Run says nothing.

use super::cells::{CellsSeen, CellsThere};
use super::launch::{Launch, run_id_arg};
use super::plan::TASK_TIMEOUT_SECS;
use super::wire::{Execution, Operation, State};
use super::{CloudRun, JobError, JobPlace, Limits, api};
use crate::model::ids::RunId;
use crate::storage::gcs::{self, Environment, credentials};
use crate::storage::store::read_verified;
use crate::storage::{ObjectName, Precondition, StorageConfig, StorageError, Store};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is remembered of a run's execution, beside its cells in the bucket.
pub const RECORD: &str = "job.json";
/// The schema of [`JobRecord`].
const SCHEMA: u32 = 1;

/// How often an execution is looked for whose start was not answered.
const LOOKS: u32 = 4;

/// Why there is no execution, and whether that is certain.
struct NotStarted {
    error: JobError,
    is_certain: bool,
}

/// Which execution makes a run; `job.json` in the run's place in the bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRecord {
    /// Document schema.
    pub schema: u32,
    /// The run.
    pub run_id: RunId,
    /// The job.
    pub place: JobPlace,
    /// The execution's whole name; empty while it is being asked for, and where the answer was lost.
    pub execution: String,
    /// The run's executions that there were before, by their whole names: none of them is this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// When it was started: UTC, RFC 3339.
    pub started_at: String,
    /// How many tasks.
    pub tasks: usize,
    /// Cells of the whole run.
    pub cells: usize,
    /// Seconds that all tasks may take together, as planned.
    pub planned_secs: f64,
    /// What they may cost, in US dollars, as planned.
    pub planned_usd: f64,
}

/// How far a run in a job is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobStatus {
    /// What was started.
    pub record: JobRecord,
    /// How far the execution is.
    pub state: State,
    /// Tasks that run.
    pub running: u32,
    /// Tasks that ended well.
    pub succeeded: u32,
    /// Tasks that failed for good.
    pub failed: u32,
    /// Attempts that were made again.
    pub retried: u32,
    /// What Cloud Run says of it, if anything.
    pub message: Option<String>,
    /// Where its logs are.
    pub log_uri: Option<String>,
    /// What is in the bucket.
    pub cells: CellsSeen,
}

impl JobStatus {
    /// Whether the execution ended well and its run is whole: every cell was tried, and the report is there. Cells
    /// may have failed.
    pub fn is_whole(&self) -> bool {
        matches!(self.state, State::Succeeded | State::Forgotten)
            && self.cells.has_report
            && self.cells.done + self.cells.failed >= self.record.cells
    }

    /// As it is shown, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "run {}: {} of {} cells{}{}",
            self.record.run_id,
            self.cells.done,
            self.record.cells,
            match self.cells.failed {
                0 => String::new(),
                n => format!(", {n} failed"),
            },
            if self.cells.has_report {
                ", the report is there"
            } else {
                ""
            }
        )];
        let short = self.record.execution.rsplit('/').next();
        let mut text = format!(
            "execution {}: {}, {} of {} tasks ended well, {} run",
            short.unwrap_or_default(),
            self.state.word(),
            self.succeeded,
            self.record.tasks,
            self.running
        );
        if self.failed > 0 {
            text.push_str(&format!(", {} failed", self.failed));
        }
        if self.retried > 0 {
            text.push_str(&format!(", {} attempts were repeated", self.retried));
        }
        lines.push(text);
        if let Some(message) = &self.message {
            lines.push(format!("Cloud Run says: {message}"));
        }
        if let Some(uri) = &self.log_uri {
            lines.push(format!("logs: {uri}"));
        }
        if self.state.has_ended() && !self.is_whole() {
            lines.push(
                "the run is not whole; `fill-audit job start` with the same --run-id makes what is missing"
                    .to_owned(),
            );
        }
        lines
    }
}

fn record_name(config: &StorageConfig, run_id: &RunId) -> Result<ObjectName, StorageError> {
    let prefix = config.prefix_of_run(run_id.as_str())?;
    ObjectName::new(format!("{prefix}{RECORD}"))
}

impl JobRecord {
    /// What the bucket remembers of a run's execution.
    ///
    /// # Errors
    /// [`JobError::NotFound`] if the run was not started as a job; what the bucket says.
    pub async fn read(
        store: &dyn Store,
        config: &StorageConfig,
        run_id: &RunId,
    ) -> Result<Self, JobError> {
        let name = record_name(config, run_id)?;
        let meta = match store.stat(&name).await {
            Ok(meta) => meta,
            Err(StorageError::NotFound { .. }) => {
                return Err(JobError::NotFound {
                    what: format!("job of run {run_id} in {}", store.place()),
                    remedy: "check the run's name and --bucket; `fill-audit list` shows the runs",
                });
            }
            Err(error) => return Err(error.into()),
        };
        let text = read_verified(store, &meta).await?;
        let malformed = |detail: String| JobError::Malformed {
            what: name.to_string(),
            detail,
        };
        let record: Self =
            serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        if record.schema != SCHEMA {
            let schema = record.schema;
            return Err(malformed(format!(
                "its schema is {schema} but this program reads {SCHEMA}"
            )));
        }
        // Anyone with the bucket can write it: it must not lead a request elsewhere.
        let place = JobPlace::new(
            &record.place.project,
            &record.place.region,
            &record.place.job,
        )?;
        if record.execution.is_empty() {
            return Ok(record);
        }
        let execution = place.execution(&record.execution)?;
        Ok(Self {
            execution,
            ..record
        })
    }

    /// Whether the run was to be started and it is not known as which execution.
    fn is_intent(&self) -> bool {
        self.execution.is_empty()
    }
}

/// One job, and the bucket in which its runs live.
#[derive(Debug, Clone)]
pub struct JobControl {
    /// Cloud Run.
    pub api: CloudRun,
    /// The job.
    pub place: JobPlace,
    /// The bucket.
    pub store: Arc<dyn Store>,
    /// Where runs lie in it.
    pub config: StorageConfig,
}

impl JobControl {
    /// Connects to Cloud Run with the credentials that storage finds; nothing is sent yet.
    ///
    /// # Errors
    /// [`JobError::Auth`] without credentials.
    pub async fn open(
        place: JobPlace,
        store: Arc<dyn Store>,
        config: StorageConfig,
    ) -> Result<Self, JobError> {
        let endpoint = std::env::var(api::ENDPOINT_VARIABLE)
            .ok()
            .filter(|endpoint| !endpoint.is_empty())
            .unwrap_or_else(|| api::ENDPOINT.to_owned());
        let identity = credentials::find_for_cloud(
            config.credentials.as_deref(),
            &Environment::from_process(),
            &gcs::Limits::default(),
        )
        .await?;
        Ok(Self {
            api: CloudRun::new(&endpoint, identity, Limits::default())?,
            place,
            store,
            config,
        })
    }

    /// Starts the tasks of a run and remembers the execution in the bucket. `now` is UTC, RFC 3339.
    ///
    /// That it is to be started is remembered first: an execution whose name never came back, or was not
    /// remembered, is found again by [`JobControl::record`]. A run that is being made already is not started
    /// again. Where the answer to the start is lost, the execution is looked for before another is started.
    ///
    /// # Errors
    /// [`JobError`]: also where an execution of this run is under way.
    pub async fn start(&self, launch: &Launch, now: &str) -> Result<JobRecord, JobError> {
        let known = self.executions_of(&launch.run_id).await?;
        if let Some(running) = known.iter().find(|one| !one.state().has_ended()) {
            return Err(JobError::Plan(format!(
                "run {} is being made already, by execution {}; `fill-audit job status {}` shows how far it is",
                launch.run_id, running.name, launch.run_id
            )));
        }
        let known: BTreeSet<String> = known.into_iter().map(|one| one.name).collect();
        let former = match self.stored(&launch.run_id).await {
            Ok(former) => Some(former),
            // What cannot be understood tells nobody of an execution.
            Err(
                JobError::NotFound { .. } | JobError::Malformed { .. } | JobError::BadName { .. },
            ) => None,
            Err(error) => return Err(error),
        };
        let mut record = JobRecord {
            schema: SCHEMA,
            run_id: launch.run_id.clone(),
            place: self.place.clone(),
            execution: String::new(),
            before: known.iter().cloned().collect(),
            started_at: now.to_owned(),
            tasks: launch.tasks,
            cells: launch.cells,
            planned_secs: launch.planned_secs,
            planned_usd: launch.planned_usd,
        };
        // Nothing is paid for yet.
        self.remember(&record).await?;
        record.execution = match self.start_anew(launch, &known).await {
            Ok(execution) => execution,
            Err(NotStarted { error, is_certain }) => {
                if is_certain {
                    self.withdraw(&launch.run_id, former).await;
                }
                return Err(error);
            }
        };
        self.remember_if_possible(&record).await;
        Ok(record)
    }

    /// The name of a new execution.
    async fn start_anew(
        &self,
        launch: &Launch,
        known: &BTreeSet<String>,
    ) -> Result<String, NotStarted> {
        let mut attempt = 1;
        let mut is_certain = true;
        loop {
            let started = self
                .api
                .run_once(&self.place, &launch.args, launch.tasks, TASK_TIMEOUT_SECS)
                .await;
            let error = match started {
                Ok(operation) => {
                    let named = self.named(operation, launch, known).await;
                    return named.map_err(|error| NotStarted {
                        error,
                        is_certain: false,
                    });
                }
                Err(error) => error,
            };
            if !error.is_certain() {
                is_certain = false;
                let late = self.late_execution(launch, known, attempt, &error).await;
                if let Some(name) = late.map_err(|error| NotStarted { error, is_certain })? {
                    tracing::warn!("the answer to the start was lost, but it counted: {name}");
                    return Ok(name);
                }
            }
            if !error.is_retryable() || attempt >= self.api.limits.attempts {
                let error = error.after(attempt);
                return Err(NotStarted { error, is_certain });
            }
            if error.is_certain() {
                let pause = self.api.pause(attempt, &error);
                tracing::warn!("the job is not started yet, next attempt in {pause:?}: {error}");
                tokio::time::sleep(pause).await;
            }
            attempt += 1;
        }
    }

    /// An execution whose start was not answered. Lists run behind: it is looked for a few times, with a pause
    /// before each but the first.
    async fn late_execution(
        &self,
        launch: &Launch,
        known: &BTreeSet<String>,
        attempt: u32,
        error: &JobError,
    ) -> Result<Option<String>, JobError> {
        for look in 0..LOOKS {
            if look > 0 {
                let pause = self.api.pause(attempt + look, error);
                tracing::warn!("whether the job was started is looked up in {pause:?}: {error}");
                tokio::time::sleep(pause).await;
            }
            let found = self.new_execution(&launch.run_id, known).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The execution that an operation is about.
    async fn named(
        &self,
        operation: Operation,
        launch: &Launch,
        known: &BTreeSet<String>,
    ) -> Result<String, JobError> {
        let what = format!("operation {}", operation.name);
        let name_of = |operation: &Operation| {
            let name = operation.metadata.as_ref().map(|one| one.name.clone());
            name.filter(|name| !name.is_empty())
        };
        let followed = self
            .api
            .follow(operation, |operation| name_of(operation).is_some())
            .await;
        if let Some(name) = followed.as_ref().ok().and_then(name_of) {
            // It becomes part of an address: it must be one of this job.
            return self.place.execution(&name);
        }
        if let Some(found) = self.new_execution(&launch.run_id, known).await? {
            return Ok(found);
        }
        Err(followed.err().unwrap_or(JobError::Malformed {
            what,
            detail: "it names no execution".to_owned(),
        }))
    }

    /// The newest executions that were told to make a run, newest first, named as this job's.
    async fn executions_of(&self, run_id: &RunId) -> Result<Vec<Execution>, JobError> {
        let arg = run_id_arg(run_id);
        let found = self.api.executions(&self.place).await?;
        let told = found.into_iter().filter(|one| one.was_told(&arg));
        told.map(|one| {
            let name = self.place.execution(&one.name)?;
            Ok(Execution { name, ..one })
        })
        .collect()
    }

    async fn new_execution(
        &self,
        run_id: &RunId,
        known: &BTreeSet<String>,
    ) -> Result<Option<String>, JobError> {
        let found = self.executions_of(run_id).await?;
        let mut names = found.into_iter().map(|one| one.name);
        Ok(names.find(|name| !known.contains(name)))
    }

    async fn remember(&self, record: &JobRecord) -> Result<(), JobError> {
        let name = record_name(&self.config, &record.run_id)?;
        let text = serde_json::to_vec_pretty(record).map_err(|error| JobError::Malformed {
            what: name.to_string(),
            detail: error.to_string(),
        })?;
        self.store
            .write(&name, text.into(), Precondition::None)
            .await?;
        Ok(())
    }

    /// Remembers an execution that there is; without it, it is looked for again by the run's name.
    async fn remember_if_possible(&self, record: &JobRecord) {
        if let Err(error) = self.remember(record).await {
            tracing::warn!("execution {} is not remembered: {error}", record.execution);
        }
    }

    /// Takes back what was remembered of a start that certainly did not happen.
    async fn withdraw(&self, run_id: &RunId, former: Option<JobRecord>) {
        let done = match former {
            Some(former) => self.remember(&former).await,
            None => match record_name(&self.config, run_id) {
                Ok(name) => {
                    let deleted = self.store.delete(&name, Precondition::None).await;
                    deleted.map_err(JobError::from)
                }
                Err(error) => Err(error.into()),
            },
        };
        if let Err(error) = done {
            tracing::warn!("a start of run {run_id} that did not happen stays remembered: {error}");
        }
    }

    async fn stored(&self, run_id: &RunId) -> Result<JobRecord, JobError> {
        JobRecord::read(&*self.store, &self.config, run_id).await
    }

    /// What is remembered of a run's execution. One that was asked for, and whose name never came back, is
    /// looked for by the run's name and remembered.
    ///
    /// # Errors
    /// See [`JobRecord::read`]; [`JobError::NotFound`] if it was asked for and there is none.
    pub async fn record(&self, run_id: &RunId) -> Result<JobRecord, JobError> {
        let record = self.stored(run_id).await?;
        if !record.is_intent() {
            return Ok(record);
        }
        let mut found = self.executions_of(run_id).await?;
        found.retain(|one| !record.before.contains(&one.name));
        let adopted = found
            .iter()
            .find(|one| !one.state().has_ended())
            .or(found.first());
        let Some(execution) = adopted else {
            return Err(JobError::NotFound {
                what: format!(
                    "execution of run {run_id}, which was to be started at {}",
                    record.started_at
                ),
                remedy: "look again in a minute; `fill-audit job start` with the same --run-id starts it",
            });
        };
        let record = JobRecord {
            execution: execution.name.clone(),
            ..record
        };
        self.remember_if_possible(&record).await;
        Ok(record)
    }

    /// How far a run is.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn status(&self, run_id: &RunId) -> Result<JobStatus, JobError> {
        let record = self.record(run_id).await?;
        let (execution, cells) = futures::join!(
            self.api.execution(&record.execution),
            CellsThere::read(&*self.store, &self.config, &record.run_id)
        );
        let (execution, state) = match execution {
            Ok(execution) => {
                let state = execution.state();
                (execution, state)
            }
            Err(JobError::NotFound { .. }) => (Execution::default(), State::Forgotten),
            Err(error) => return Err(error),
        };
        let there = cells?;
        let mut cells = there.seen();
        if matches!(state, State::Failed | State::Cancelled) {
            // An earlier execution's report says nothing of this one.
            let began: Option<jiff::Timestamp> = record.started_at.parse().ok();
            cells.has_report = began.is_some_and(|began| {
                there
                    .report_secs
                    .is_some_and(|written| written >= began.as_second())
            });
        }
        Ok(JobStatus {
            state,
            running: execution.running_count,
            succeeded: execution.succeeded_count,
            failed: execution.failed_count,
            retried: execution.retried_count,
            message: execution.message().map(str::to_owned),
            log_uri: execution.log_uri,
            cells,
            record,
        })
    }

    /// Asks the execution of a run to stop, and waits until it has, for at most [`Limits::operation`]; the status
    /// says whether it has. Cells that are in the bucket stay.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn cancel(&self, run_id: &RunId) -> Result<JobStatus, JobError> {
        let status = self.status(run_id).await?;
        if status.state.has_ended() {
            return Ok(status);
        }
        let operation = self.api.cancel(&status.record.execution).await?;
        match self.api.follow(operation, |_| false).await {
            // It was asked, and takes its time.
            Ok(_) | Err(JobError::Transient { .. }) => self.status(run_id).await,
            Err(error) => Err(error),
        }
    }
}
