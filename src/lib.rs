//! fill-audit: settle how a photo service should run FLUX.1-Fill-dev.
//!
//! # Map
//!
//! | module | job | may import |
//! |---|---|---|
//! | [`model`] | pure documents and rules | nothing of ours |
//! | [`imaging`] | pixels | `model` |
//! | [`storage`] | local folder, bucket, verified cache | `model` |
//! | [`report`] | run and review to Markdown and back | `model`, `imaging` |
//! | [`pipeline`] | FLUX Fill on candle | `model`, `imaging` |
//! | [`audit`] | runs a matrix and records it | `pipeline`, `model`, `imaging`, `storage`, `report` |
//! | [`remote`] | the HTTP worker around `audit` and its client; runs as a Cloud Run job | `audit` and below |
//! | [`state`] | what the window shows; `update` | `model`, `imaging` |
//! | [`ui`] | draws | `state`, `model`, `imaging` |
//! | [`app`] | runs `update`, performs effects | all but `cli` |
//! | [`cli`] | subcommands | all |
//!
//! The innermost loops over quantized weights are a crate of their own, `kernels/`, which only
//! [`pipeline`] uses.
//!
//! `tests/import_rules.rs` holds this table against the sources. candle is named only in
//! [`pipeline`], egui only in [`app`] and [`ui`] (and where [`cli`] starts the window), axum only in
//! [`remote`].
//!
//! # How failures travel
//!
//! Each module below `app` has one `thiserror` enum whose messages state the problem, the offending
//! value and the path. `app` and `cli` add context with `anyhow`. A partly failed run is data, not an
//! error: a cell carries its own.

pub mod app;
pub mod audit;
pub mod cli;
pub mod imaging;
pub mod model;
pub mod pipeline;
pub mod remote;
pub mod report;
pub mod state;
pub mod storage;
pub mod ui;
