//! `fill-audit models` as a person uses it: the real binary against a small hub of the test's own, which
//! cuts connections, sends wrong bytes and refuses strangers.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#[path = "models/commands.rs"]
mod commands;
#[path = "models/hub.rs"]
mod hub;
