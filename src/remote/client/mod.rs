//! The other side of a worker: asks it for a run, follows the run through lost connections, and keeps a copy
//! of it in a folder of the same shape, which every page opens as any other.
//!
//! | file | job |
//! |---|---|
//! | [`address`] | where a worker is |
//! | [`token`] | what a request carries, and where it comes from |
//! | [`error`] | what goes wrong, with the remedy, and whether it may pass |
//! | [`calls`] | one typed call for each of the worker's addresses |
//! | `sse` | server-sent events, from bytes as they come |
//! | [`backoff`] | how long to wait before the next try |
//! | [`note`] | what is remembered of a run elsewhere, so that it is picked up again |
//! | `copy` | the folder: what is here, what is missing, files that are written whole or not at all |
//! | [`follow`] | a run from its request to its end |
//! | [`service`] | the Python service: one long request, its results are in the bucket |
//!
//! A run belongs to its worker. Whoever follows it may die at any time: nothing is asked for twice, and no
//! finished cell is made again.

pub mod address;
pub mod backoff;
pub mod calls;
mod copy;
pub mod error;
pub mod follow;
pub mod note;
pub mod service;
mod sse;
pub mod token;

pub use address::WorkerAddress;
pub use calls::{ClientOptions, WorkerClient};
pub use error::ClientError;
pub use follow::{Follow, FollowEvent, Intent, Outcome};
pub use note::{Kind, RemoteNote};
pub use token::{StaticToken, TokenSource};
