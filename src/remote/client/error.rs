//! What goes wrong between a client and its worker. Every message names the worker and what to do; what may
//! pass by itself is told apart from what will not.

use std::time::Duration;

/// A call to a worker that did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// What was given is no address.
    #[error("{problem}: {address}")]
    Address {
        /// What is wrong with it.
        problem: String,
        /// As it was given.
        address: String,
    },
    /// The token cannot be used or had. The message does not contain it.
    #[error("{0}")]
    Token(String),
    /// No answer came, or it broke off.
    #[error("the worker cannot be reached ({problem}): {worker}")]
    Offline {
        /// The worker.
        worker: String,
        /// What the network says.
        problem: String,
    },
    /// There is no room now, or the worker is on its way out.
    #[error("{problem}: {worker}")]
    NoRoom {
        /// The worker.
        worker: String,
        /// What it says.
        problem: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// It does not know who asks.
    #[error(
        "the worker does not take the token; enter the one that it was started with (--token-file or \
         FILL_AUDIT_TOKEN): {worker}"
    )]
    Unauthorized {
        /// The worker.
        worker: String,
    },
    /// It, or what stands before it, lets nobody in.
    #[error(
        "access is denied ({problem}); where the worker is a private service on Cloud Run, your account \
         needs the role Cloud Run Invoker: {worker}"
    )]
    Forbidden {
        /// The worker.
        worker: String,
        /// What it says.
        problem: String,
    },
    /// It has no such thing.
    #[error("{problem}: {worker}")]
    NotFound {
        /// The worker.
        worker: String,
        /// What it says.
        problem: String,
    },
    /// It refuses the request, with a reason.
    #[error("the worker refuses ({status}): {problem}: {worker}")]
    Refused {
        /// The worker.
        worker: String,
        /// The status.
        status: u16,
        /// What it says.
        problem: String,
    },
    /// It failed.
    #[error("the worker failed ({status}): {problem}: {worker}")]
    Failed {
        /// The worker.
        worker: String,
        /// The status.
        status: u16,
        /// What it says.
        problem: String,
    },
    /// What answers is no worker of a version that this program knows.
    #[error(
        "what answers is no fill-audit worker ({problem}); is the address right, and the worker of this \
         version? {worker}"
    )]
    NotAWorker {
        /// The worker.
        worker: String,
        /// What is odd.
        problem: String,
    },
    /// A file arrived damaged.
    #[error("{file} arrived damaged: {worker}")]
    Damaged {
        /// The worker.
        worker: String,
        /// The file.
        file: String,
    },
    /// The folder of the copy, or a note, cannot be used.
    #[error("{0}")]
    Folder(String),
}

impl ClientError {
    /// Whether the same call may work later, without anybody doing anything.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Offline { .. } | Self::NoRoom { .. } | Self::Failed { .. } | Self::Damaged { .. }
        )
    }

    /// How long the worker asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoRoom { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The beginning of a line that says why one waits: `connection lost`.
    pub fn words(&self) -> String {
        match self {
            Self::Offline { .. } => "connection lost".to_owned(),
            Self::NoRoom { problem, .. } => problem.clone(),
            Self::Damaged { file, .. } => format!("{file} arrived damaged"),
            other => other.to_string(),
        }
    }
}
