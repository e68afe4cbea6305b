//! A run as JSON: what `show --json` prints and what the worker answers. What is unknown is null.

use crate::model::cell::{Baseline, CellKey, RadiusPx};
use crate::model::run::{CellState, Environment, Run};
use serde::{Deserialize, Serialize};

/// A run with all of its cells, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownRun {
    /// The run's name.
    pub run_id: String,
    /// The session, if it is known.
    pub session: Option<String>,
    /// Where it was made, if that is known.
    pub environment: Option<Environment>,
    /// What could not be read or does not agree.
    pub warnings: Vec<String>,
    /// Every cell, by key.
    pub cells: Vec<ShownCell>,
}

/// What became of one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownCell {
    /// What was asked.
    pub key: ShownKey,
    /// The composite's file in the run's folder, whether it is there or not.
    pub file: String,
    /// `done`, `failed`, `missing` or `unreadable`.
    pub state: String,
    /// Wall-clock seconds of denoising and decoding, loading aside.
    pub wall_secs: Option<f64>,
    /// GPU milliseconds by its own events.
    pub gpu_millis: Option<f64>,
    /// What went wrong.
    pub error: Option<String>,
    /// `exact` for production's settings, `other_steps` for what stands in for them.
    pub baseline: Option<String>,
}

/// A cell's value on every axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownKey {
    /// Quantization of the transformer.
    pub quant: String,
    /// Guidance scale.
    pub guidance: f64,
    /// Denoising steps.
    pub steps: u32,
    /// Seed of the initial noise.
    pub seed: Option<u64>,
    /// The prompt's text.
    pub prompt: Option<String>,
    /// Dilation of the mask, in pixels at inference size.
    pub dilate_px: Option<f64>,
}

impl ShownRun {
    /// What is known of a run.
    pub fn of(run: &Run) -> Self {
        Self {
            run_id: run.run_id.to_string(),
            session: run.session.as_ref().map(ToString::to_string),
            environment: run.environment.clone(),
            warnings: run.warnings.clone(),
            cells: run
                .cells
                .iter()
                .map(|(key, state)| ShownCell::of(run, key, state))
                .collect(),
        }
    }
}

impl ShownCell {
    fn of(run: &Run, key: &CellKey, state: &CellState) -> Self {
        let timing = run.timing_of(key);
        Self {
            key: ShownKey {
                quant: key.quant.to_string(),
                guidance: key.guidance.value(),
                steps: key.steps.value(),
                seed: key.seed,
                prompt: run.prompt_of(key).map(str::to_owned),
                dilate_px: key.dilate_px.map(RadiusPx::value),
            },
            file: run.picture_file(key),
            state: state.word().to_owned(),
            wall_secs: timing.and_then(|timing| timing.wall_secs),
            gpu_millis: timing.and_then(|timing| timing.gpu_millis),
            error: error_of(state).map(str::to_owned),
            baseline: run.baseline(key).map(|baseline| {
                match baseline {
                    Baseline::Exact => "exact",
                    Baseline::OtherSteps => "other_steps",
                }
                .to_owned()
            }),
        }
    }
}

/// What went wrong with a cell, if something did.
pub fn error_of(state: &CellState) -> Option<&str> {
    match state {
        CellState::Failed { error, .. } => Some(error),
        CellState::Unreadable { reason } => Some(reason),
        CellState::Missing | CellState::Done(_) => None,
    }
}
