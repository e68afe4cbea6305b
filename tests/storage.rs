//! Storage against a real emulator, a faulty server in front of it, and a killer.
//!
//! The emulator's address comes in `FILL_AUDIT_EMULATOR` (`tests/run` starts one). Without it these tests
//! say so and pass, except when `CI=true`: then they fail.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test says what it skipped and found"
)]

#[path = "storage/commands.rs"]
mod commands;
#[path = "storage/emulator.rs"]
mod emulator;
#[path = "storage/faults.rs"]
mod faults;
#[path = "storage/faulty_server.rs"]
mod faulty_server;
#[path = "storage/going_on.rs"]
mod going_on;
#[path = "storage/kills.rs"]
mod kills;
#[path = "storage/leaks.rs"]
mod leaks;
#[path = "storage/runs.rs"]
mod runs;
#[path = "storage/shards.rs"]
mod shards;
#[path = "storage/signing.rs"]
mod signing;
#[path = "storage/support.rs"]
mod support;
