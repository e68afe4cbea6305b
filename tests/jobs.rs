//! Runs as a Cloud Run job, against a fake of its REST API that was written from its public documentation
//! (<https://cloud.google.com/run/docs/reference/rest/v2>), and tokens for private services.
//!
//! The commands also need the storage emulator: without `FILL_AUDIT_EMULATOR` their tests say so and pass,
//! except when `CI=true`.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(clippy::print_stdout, reason = "a test says what it skipped")]

#[path = "jobs/commands.rs"]
mod commands;
#[path = "jobs/control.rs"]
mod control;
#[path = "jobs/deploy.rs"]
mod deploy;
#[path = "jobs/fake.rs"]
mod fake;
#[path = "jobs/id_token.rs"]
mod id_token;
