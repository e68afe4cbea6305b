//! Where runs and sessions are kept: a local folder or a Google Cloud Storage bucket.
//!
//! | file | job |
//! |---|---|
//! | [`store`] | the [`Store`] trait and its words: object, generation, precondition |
//! | [`local`] | a folder as a store |
//! | [`gcs`] | a bucket as a store, and Google's credentials; the only place here that names HTTP or the client crate |
//! | [`name`] | object names, and how one becomes a path that cannot leave its folder |
//! | [`config`] | bucket, prefixes and cache limit in a TOML file |
//! | [`location`] | pasted `gs://…` and console addresses |
//! | [`cache`] | verified copies on disk by bucket, name and generation, under a size limit |
//! | [`listing`] | listings, and their last copy for when there is no network |
//! | [`sync_state`] | which generation each file of a local run was last seen at |
//! | [`conflict`] | a file that both sides changed, and what was decided |
//! | [`journal`] | review journals merged by event id |
//! | [`pull`], [`push`] | a run down and up; interrupted ones resume |
//! | [`approved_file`] | the settings that go up with the run they were approved from |
//! | [`queue`] | runs waiting on disk for the network |
//! | [`inbox`] | one list of runs from the bucket and from disk |
//! | [`session`] | a session's picture and mask from the bucket |
//! | [`links`] | links for a report: which kind, and until when |
//! | [`doctor`] | one line per thing that can be wrong, with its remedy |
//!
//! What holds everywhere: bytes are believed only when their CRC32C equals the listing's; a file appears
//! under its name complete or not at all; nothing that another wrote is overwritten; and no key, token or
//! signature reaches a log or an error's text.

pub mod approved_file;
pub mod cache;
pub mod config;
pub mod conflict;
pub mod doctor;
pub mod error;
pub mod files;
pub mod gcs;
pub mod inbox;
pub mod journal;
pub mod links;
pub mod listing;
pub mod local;
pub mod location;
pub mod name;
pub mod progress;
pub mod pull;
pub mod push;
pub mod queue;
pub mod session;
pub mod store;
pub mod sync_state;

pub use config::StorageConfig;
pub use error::StorageError;
pub use local::LocalDir;
pub use location::Location;
pub use name::ObjectName;
pub use store::{ObjectMeta, Precondition, Store};

/// What every function here returns.
pub type Result<T> = std::result::Result<T, StorageError>;
