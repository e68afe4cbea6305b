//! The same audits elsewhere: the HTTP worker and its client, and Cloud Run jobs.
//!
//! | file | job |
//! |---|---|
//! | [`wire`] | the JSON documents that are asked and answered |
//! | `reading` | a request's body, or what is wrong with it |
//! | [`plan`] | a request becomes a run that `audit` can make; finds its session |
//! | [`record`] | what is remembered of each run across restarts |
//! | [`queue`] | one run at a time; the others wait, up to a stated number |
//! | `known` | what the queue knows of its runs, in memory |
//! | [`bucket`] | where sessions come from, cells go to as they end, and runs are remembered |
//! | `work` | one go at a run, and what it tells on the way |
//! | [`job`] | runs as a Cloud Run job: planned, started, followed, cancelled |
//! | [`id_token`] | who we are to a private service |
//! | [`events`] | the bounded history of a run's events, for readers that come late or come back |
//! | [`auth`] | the bearer token, and when one is needed |
//! | [`refusal`] | what is answered when something is not done |
//! | `respond` | an answer in JSON |
//! | [`routes`] | which address answers what |
//! | `pictures` | a finished cell's picture, by the cell's name |
//! | `files` | all of a run's files, for a machine that wants the same run |
//! | [`server`] | connections, their limits, and the way out |
//! | [`client`] | the other side: asks a worker, follows its run, keeps a copy of it |
//!
//! Nothing from outside becomes a path: ids and cell names are parsed into types of `model` and looked
//! up. Runs execute on a thread of their own, never on the network's.

pub mod auth;
pub mod bucket;
pub mod client;
pub mod events;
mod files;
pub mod id_token;
pub mod job;
mod known;
mod pictures;
pub mod plan;
pub mod queue;
mod reading;
pub mod record;
pub mod refusal;
mod respond;
pub mod routes;
pub mod server;
pub mod wire;
mod work;

use crate::audit::AuditError;
use crate::audit::engine::{EngineError, FillEngine};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use auth::Token;
pub use bucket::WorkerBucket;
pub use queue::{Queue, QueueOptions};
pub use refusal::Refusal;
pub use server::{Limits, ServeOptions, Server};

/// Makes the engine of one run; it is dropped when the run ends, and its weights with it.
pub type EngineFactory = dyn Fn() -> Result<Box<dyn FillEngine>, EngineError> + Send + Sync;

/// What keeps a worker from starting.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address cannot be listened on.
    #[error("the worker cannot listen ({source}): {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Others could reach it, and it would ask nobody who they are.
    #[error(
        "a worker that others can reach needs a token; give --token-file FILE or FILL_AUDIT_TOKEN, or \
         listen on 127.0.0.1: {address}"
    )]
    NoToken {
        /// The address.
        address: SocketAddr,
    },
    /// The token cannot be used. The message does not contain it.
    #[error("{0}")]
    Token(String),
    /// Another worker uses this folder of runs.
    #[error("another worker uses this folder of runs; stop it or choose another --runs: {path}")]
    Busy {
        /// The folder.
        path: String,
    },
    /// The folder of runs cannot be used.
    #[error(transparent)]
    Folder(#[from] AuditError),
    /// The system gives no thread.
    #[error("the thread that executes runs cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Locks, also after a thread has panicked while it held the lock: what is kept in there is replaced
/// whole, so it is never half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
