//! The worker over real HTTP on loopback: in this process with an engine that paints, and as the real
//! binary with the tiny model.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(clippy::print_stdout, reason = "a test says what it skipped")]
#[path = "worker/api.rs"]
mod api;
#[path = "worker/bucket.rs"]
mod bucket;
#[path = "worker/cancel.rs"]
mod cancel;
#[path = "worker/client.rs"]
mod client;
#[path = "worker/following.rs"]
mod following;
#[path = "worker/identity.rs"]
mod identity;
#[path = "worker/limits.rs"]
mod limits;
#[path = "worker/process.rs"]
mod process;
#[path = "worker/proxy.rs"]
mod proxy;
#[path = "worker/queue.rs"]
mod queue;
#[path = "worker/restart.rs"]
mod restart;
#[path = "worker/schema.rs"]
mod schema;
#[path = "worker/scripted.rs"]
mod scripted;
#[path = "worker/streams.rs"]
mod streams;
#[path = "worker/support.rs"]
mod support;
