//! What can go wrong with a job, told apart by what the reader has to do about it.

use crate::storage::StorageError;
use std::time::Duration;

/// A call that was not answered as it should be, or a plan that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A name that cannot be one.
    #[error("{what} {value:?} cannot be used: {rule}")]
    BadName {
        /// What it names.
        what: &'static str,
        /// The name.
        value: String,
        /// What it must look like.
        rule: &'static str,
    },
    /// There is no such job, execution or project.
    #[error("there is no {what}; {remedy}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The account may not do this.
    #[error("not allowed: {what}: {detail}; grant this account {remedy}")]
    Forbidden {
        /// What was asked for.
        what: String,
        /// What the server said.
        detail: String,
        /// The role or permission that is missing.
        remedy: &'static str,
    },
    /// There are no credentials, or the server does not accept them.
    #[error(
        "no valid credentials: {detail}; run `gcloud auth application-default login`, or set FIREBASE_CREDENTIALS"
    )]
    Auth {
        /// What is wrong with them.
        detail: String,
    },
    /// A quota is used up, and stayed so for all attempts.
    #[error(
        "refused for want of quota ({attempts} attempts): {detail}; ask for more GPUs of the kind “Total \
         Nvidia L4 GPU allocation without zonal redundancy”, or plan fewer tasks with --tasks"
    )]
    Quota {
        /// What the server said.
        detail: String,
        /// How often it was tried.
        attempts: u32,
        /// What the server asked to wait, if it did.
        retry_after: Option<Duration>,
    },
    /// The server understood and refuses for another reason.
    #[error("refused by the server (HTTP {status}): {what}: {detail}")]
    Refused {
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// What the server said.
        detail: String,
    },
    /// The server answers, but not usefully at the moment.
    #[error("{what} was not answered properly ({attempts} attempts): {detail}; try again later")]
    Transient {
        /// What was asked for.
        what: String,
        /// The last answer.
        detail: String,
        /// How often it was tried.
        attempts: u32,
        /// What the server asked to wait, if it did.
        retry_after: Option<Duration>,
        /// Whether the server certainly did not do it.
        was_refused: bool,
    },
    /// The server cannot be reached.
    #[error("offline: {what} cannot be reached: {detail}; check the network")]
    Offline {
        /// What was asked for.
        what: String,
        /// The connection's own words.
        detail: String,
    },
    /// The answer is not what the API promises.
    #[error("{what} was answered with something else than an answer: {detail}")]
    Malformed {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The tasks cannot be planned.
    #[error("{0}")]
    Plan(String),
    /// The bucket.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl JobError {
    /// Whether the same call may succeed a little later without anyone doing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Quota { .. } | Self::Transient { .. } | Self::Offline { .. }
        )
    }

    /// Whether it is certain that nothing was done.
    pub fn is_certain(&self) -> bool {
        !matches!(
            self,
            Self::Transient {
                was_refused: false,
                ..
            } | Self::Malformed { .. }
        )
    }

    /// What the server asked to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Quota { retry_after, .. } | Self::Transient { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The same with the number of attempts that were made.
    pub(super) fn after(mut self, made: u32) -> Self {
        if let Self::Quota { attempts, .. } | Self::Transient { attempts, .. } = &mut self {
            *attempts = made;
        }
        self
    }
}
