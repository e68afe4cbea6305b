//! Runs a matrix and records it so that no finished cell is ever lost, and opens what was recorded.
//!
//! | file | job |
//! |---|---|
//! | [`request`] | what is asked of a new run |
//! | [`mod@start`] | makes a run's folder, finds the one that was started before, adds a sweep |
//! | `preflight` | what is looked at before anything is loaded: files and memory |
//! | [`mod@execute`] | fills the missing cells and records each |
//! | [`mod@engine`] | the seam to whatever fills a cell; `pipeline_engine` is the real one |
//! | [`inputs`] | the session's pictures and what the model is given of them |
//! | [`run_folder`] | opens a run's folder, whoever wrote it |
//! | [`estimate`] | how long a run may take |
//! | [`report_file`], [`report_links`] | writes `REPORT.md`, and puts links into it before it goes up |
//! | [`bucket_run`] | a run that lives in a bucket while it is made here, perhaps by several at once |
//! | [`hash`], [`atomic`], [`lock`], [`picture_check`] | what can be believed |

pub mod approval;
pub mod atomic;
pub mod bucket_run;
pub mod contact_sheet;
pub mod context;
pub mod engine;
pub mod error;
pub mod estimate;
pub mod event;
pub mod execute;
pub mod hash;
pub mod inputs;
pub mod journal;
pub mod lock;
pub mod painted_engine;
mod peak_memory;
pub mod picture_check;
pub mod pipeline_engine;
mod preflight;
pub mod report_file;
pub mod report_links;
pub mod request;
pub mod run_folder;
mod service_folder;
pub mod start;

pub use context::AuditContext;
pub use error::AuditError;
pub use event::{AuditEvent, Ending, RunSummary};
pub use execute::{Part, execute, execute_part, planned_cells};
pub use request::RunRequest;
pub use start::{ExtendRequest, OwnedRun, extend, resume, start};

/// The file of a contact sheet beside a run's report.
pub const CONTACT_SHEET: &str = "contact_sheet.png";

/// This program and its version, as it stands in documents.
pub const PROGRAM: &str = concat!("fill-audit ", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod engine_tests;
#[cfg(test)]
mod run_tests;
