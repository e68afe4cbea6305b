//! Reviews and approvals as files: journals that lose nothing, exports, and the two commands.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "review/commands.rs"]
mod commands;
#[path = "review/crash.rs"]
mod crash;
#[path = "review/exports.rs"]
mod exports;
#[path = "review/folder.rs"]
mod folder;
#[path = "review/journals.rs"]
mod journals;
#[path = "review/window_state.rs"]
mod window_state;
