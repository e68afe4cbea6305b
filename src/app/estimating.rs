//! How long the composed run may take, for the form.

use crate::audit::estimate::{self, Conditions};
use crate::audit::inputs::inference_size_of;
use crate::audit::pipeline_engine::{environment_of, parameters_in};
use crate::audit::start::widest;
use crate::pipeline::{ComputeDevice, ModelFolder};
use crate::state::compose::{Estimate, RunRequest};

/// Estimates what the form asks for in this go: at the size at which its session would be inferred, each quant
/// with its own weights. Reads the session's mask and the documents of earlier runs. `None` if the device is
/// not known or the session's mask cannot be placed.
pub fn estimate(request: &RunRequest) -> Option<Estimate> {
    let device: ComputeDevice = request.device.parse().ok()?;
    let environment = environment_of(device);
    let mask_recipe = widest(&request.plan);
    let (width, height) =
        inference_size_of(&request.session_dir, request.inference, &mask_recipe).ok()?;
    let mut keys = request.plan.matrix.cells(None);
    keys.truncate(request.max_cells.unwrap_or(usize::MAX));
    let parameters = ModelFolder::open(&request.models_dir)
        .map(|folder| parameters_in(&folder, &keys))
        .unwrap_or_default();
    let conditions = Conditions {
        environment: &environment,
        matmul: request.matmul,
        inference_px: u64::from(width) * u64::from(height),
        parameters,
    };
    let found = estimate::estimate(&request.runs_dir, &keys, &conditions);
    Some(Estimate {
        secs: found.secs,
        measured_on: match found.measured_cells {
            0 => None,
            1 => Some(format!("1 earlier cell on {}", found.device)),
            n => Some(format!("{n} earlier cells on {}", found.device)),
        },
    })
}
