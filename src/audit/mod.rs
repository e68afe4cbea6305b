//! Runs a matrix and records it so that no finished cell is ever lost, and opens what was recorded.

pub mod approval;
pub mod atomic;
pub mod error;
pub mod hash;
pub mod journal;
pub mod lock;
pub mod picture_check;
pub mod run_folder;
mod service_folder;

pub use error::AuditError;

/// The file of a contact sheet beside a run's report.
pub const CONTACT_SHEET: &str = "contact_sheet.png";
