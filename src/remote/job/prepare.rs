//! A run's request becomes a plan that can be shown and a launch that can be started. It reads the session's
//! pictures from a folder; the network is not asked.

use super::launch::{self, Launch};
use super::plan::{self, JobPlan};
use super::{JobError, Price};
use crate::audit::estimate::{Conditions, Rates};
use crate::audit::inputs::{SessionInputs, read_subject};
use crate::audit::start::{check_gates, defaults_of, widest};
use crate::audit::{AuditError, RunRequest};
use crate::model::ids::RunId;
use std::collections::BTreeSet;
use std::path::Path;

/// What keeps a run from being planned.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The session, its mask or the matrix: every task would refuse it.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The tasks.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// Where a run comes from and goes to, and how it is divided.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The run's name.
    pub run_id: &'a RunId,
    /// The session's address in the bucket: `gs://BUCKET/…/`.
    pub session: &'a str,
    /// The bucket that the run goes to, without `gs://`.
    pub bucket: &'a str,
    /// Runs from whose cells times are taken.
    pub measured: &'a Path,
    /// What a second costs.
    pub price: Price,
    /// Exactly so many tasks; otherwise as many as it takes.
    pub tasks: Option<usize>,
}

/// A run that can be shown and started.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The tasks, their time and their cost.
    pub plan: JobPlan,
    /// What is started.
    pub launch: Launch,
    /// Gates of the mask that are overridden, each with its reason.
    pub remarks: Vec<String>,
}

/// Plans a run whose session lies in `request.session_dir`. What every task would refuse is refused here,
/// before anything is paid for.
///
/// # Errors
/// [`PrepareError`] naming what cannot be run.
pub fn prepare(request: &RunRequest, wanted: &Wanted<'_>) -> Result<Prepared, PrepareError> {
    prepare_rest(request, wanted, &BTreeSet::new())
}

/// Plans what is missing of a run: the cells whose names are in `made` are there, and cost nothing.
///
/// # Errors
/// [`PrepareError`] naming what cannot be run.
pub fn prepare_rest(
    request: &RunRequest,
    wanted: &Wanted<'_>,
    made: &BTreeSet<String>,
) -> Result<Prepared, PrepareError> {
    request.check()?;
    let folder = &request.session_dir;
    let inputs = SessionInputs::read(folder, request.inference, &widest(&request.plan))?;
    let subject = read_subject(folder, &inputs)?;
    let subject = subject.as_ref().map(|subject| &subject.mask);
    let gates = request.gates_override.as_deref();
    let remarks = check_gates(&request.plan, &inputs, subject, gates)?;
    let keys = request.plan.matrix.cells(None);
    let (width, height) = inputs.placement.inference_size;
    let l4 = plan::l4();
    let conditions = Conditions {
        environment: &l4,
        matmul: request.matmul,
        inference_px: u64::from(width) * u64::from(height),
        parameters: plan::published_parameters(&keys),
    };
    let rates = Rates::read(wanted.measured, &conditions);
    let defaults = defaults_of(&request.plan);
    let plan = JobPlan::new(
        &keys,
        &conditions,
        &rates,
        wanted.price.clone(),
        wanted.tasks,
        &|key| made.contains(&key.name(&defaults)),
    )?;
    let launch = Launch {
        run_id: wanted.run_id.clone(),
        args: launch::arguments(wanted.session, wanted.bucket, wanted.run_id, request),
        tasks: plan.tasks.len(),
        cells: keys.len(),
        planned_secs: plan.total_secs(),
        planned_usd: plan.cost_usd(),
    };
    Ok(Prepared {
        plan,
        launch,
        remarks,
    })
}
