//! Runs as a Cloud Run job on L4s: planned, shown, started, followed and cancelled from here. The tasks
//! themselves are `fill-audit run --shard`, and what they make is seen in the bucket.
//!
//! | file | job |
//! |---|---|
//! | [`place`] | which job of which project |
//! | [`price`] | what a second costs, with the figure's source and date |
//! | [`plan`] | how many tasks, how long, how much |
//! | [`mod@prepare`] | a request becomes a plan to be shown and a launch to be started |
//! | [`launch`] | what the tasks are told: a run's request as the words of a command line |
//! | [`api`] | the calls of Cloud Run's REST API, with their retries |
//! | [`wire`] | what those calls send and answer |
//! | [`cells`] | what the bucket has of a run |
//! | [`control`] | start, status and cancel, with the progress from the bucket |
//! | [`error`] | what can go wrong, and what to do then |
//! | [`template`] | the YAML of the job and of the service, and the commands that deploy them |

pub mod api;
pub mod cells;
pub mod control;
pub mod error;
pub mod launch;
pub mod place;
pub mod plan;
pub mod prepare;
pub mod price;
pub mod template;
pub mod wire;

pub use api::{CloudRun, Limits};
pub use cells::{CellsSeen, CellsThere};
pub use control::{JobControl, JobRecord, JobStatus};
pub use error::JobError;
pub use launch::Launch;
pub use place::JobPlace;
pub use plan::JobPlan;
pub use prepare::{PrepareError, Prepared, Wanted, prepare, prepare_rest};
pub use price::Price;
