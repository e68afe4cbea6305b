//! What Cloud Run's REST API (v2) is sent and answers, as far as it is used here. Unknown fields are left
//! aside: the API grows.
//!
//! From the public documentation of `projects.locations.jobs.run`, `projects.locations.operations` and
//! `projects.locations.jobs.executions` (<https://cloud.google.com/run/docs/reference/rest/v2>).

use serde::{Deserialize, Serialize};

/// The body of `jobs.run`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunBody {
    /// What differs from the job for this execution.
    pub overrides: Overrides,
}

/// What differs from the job for one execution.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overrides {
    /// One, for the job's only container.
    pub container_overrides: Vec<ContainerOverride>,
    /// How many tasks.
    pub task_count: usize,
    /// After how long a task is ended, such as `3600s`.
    pub timeout: String,
}

/// What differs for a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContainerOverride {
    /// The words after the program's name; they take the place of the job's.
    pub args: Vec<String>,
}

/// A long-running operation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Operation {
    /// `projects/P/locations/R/operations/ID`.
    pub name: String,
    /// Whether it is over.
    #[serde(default)]
    pub done: bool,
    /// Why it failed.
    pub error: Option<Status>,
    /// The execution, as far as it is known.
    pub metadata: Option<ExecutionName>,
}

/// What an operation says of its execution.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ExecutionName {
    /// `projects/P/locations/R/jobs/J/executions/E`.
    #[serde(default)]
    pub name: String,
}

/// Google's form of an error.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// A number: HTTP's in an answer, gRPC's in an operation.
    pub code: i64,
    /// A sentence.
    pub message: String,
    /// Such as `RESOURCE_EXHAUSTED`.
    pub status: String,
    /// More, by `@type`.
    pub details: Vec<Detail>,
}

/// More on an error.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Detail {
    /// How long to wait, such as `30s`.
    pub retry_delay: Option<String>,
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: Status,
}

/// A list of executions.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Executions {
    /// The newest first.
    pub executions: Vec<Execution>,
}

/// One execution of a job.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Execution {
    /// `projects/P/locations/R/jobs/J/executions/E`.
    pub name: String,
    /// When its first task began.
    pub start_time: Option<String>,
    /// When its last task ended.
    pub completion_time: Option<String>,
    /// How many tasks.
    pub task_count: u32,
    /// Tasks that run.
    pub running_count: u32,
    /// Tasks that ended well.
    pub succeeded_count: u32,
    /// Tasks that ended otherwise, after all their attempts.
    pub failed_count: u32,
    /// Tasks that were cancelled.
    pub cancelled_count: u32,
    /// Attempts that were made again.
    pub retried_count: u32,
    /// How it stands.
    pub conditions: Vec<Condition>,
    /// Where its logs are.
    pub log_uri: Option<String>,
    /// What its tasks are told.
    pub template: Template,
}

/// What tasks are.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Template {
    /// Their containers.
    pub containers: Vec<Container>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The words after the program's name.
    pub args: Vec<String>,
}

/// One side of how an execution stands.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// `Completed`, `Started`, `ResourcesAvailable`.
    pub r#type: String,
    /// `CONDITION_SUCCEEDED`, `CONDITION_FAILED`, `CONDITION_RECONCILING`, `CONDITION_PENDING`.
    pub state: String,
    /// A sentence.
    pub message: String,
    /// Why an execution ended, such as `CANCELLED` or `NON_ZERO_EXIT_CODE`.
    pub execution_reason: Option<String>,
}

/// How far an execution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for a GPU, or for its container.
    Pending,
    /// Tasks run.
    Running,
    /// Every task ended well.
    Succeeded,
    /// A task failed for good.
    Failed,
    /// Someone cancelled it.
    Cancelled,
    /// Cloud Run has forgotten it: old executions are deleted.
    Forgotten,
}

impl State {
    /// Whether nothing more happens.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "waiting for GPUs",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Forgotten => "no longer known to Cloud Run",
        }
    }
}

impl Execution {
    /// How far it is.
    pub fn state(&self) -> State {
        let completed = self.conditions.iter().find(|one| one.r#type == "Completed");
        match completed {
            Some(one) if one.state == "CONDITION_SUCCEEDED" => State::Succeeded,
            Some(one) if one.state == "CONDITION_FAILED" => {
                let reason = one.execution_reason.as_deref().unwrap_or_default();
                if reason == "CANCELLED" || self.cancelled_count > 0 {
                    State::Cancelled
                } else {
                    State::Failed
                }
            }
            _ if self.running_count > 0 || self.succeeded_count > 0 => State::Running,
            _ => State::Pending,
        }
    }

    /// What keeps it from going on, in the server's words: the first condition that says something.
    pub fn message(&self) -> Option<&str> {
        let spoken = self
            .conditions
            .iter()
            .filter(|one| !one.message.is_empty() && one.state != "CONDITION_SUCCEEDED");
        spoken.map(|one| one.message.as_str()).next()
    }

    /// Whether its tasks were told this.
    pub fn was_told(&self, arg: &str) -> bool {
        let mut containers = self.template.containers.iter();
        containers.any(|container| container.args.iter().any(|told| told == arg))
    }
}
