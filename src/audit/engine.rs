//! The seam between a matrix and whatever fills its cells: the real pipeline, or a test's stand-in.

use crate::model::cell::{Guidance, Quant, Steps};
use crate::model::run::{AccelerationSeen, Environment, ModelDocument, Timing};
use image::{GrayImage, RgbImage};
use std::ops::ControlFlow;

/// What an engine tells while it works.
#[derive(Debug)]
pub enum EngineEvent {
    /// Nothing new; asked often, so that a cancel is seen soon.
    Poll,
    /// A denoising step is done.
    Step {
        /// Counted from 1.
        index: usize,
        /// How many there will be.
        total: usize,
        /// What the fill looks like so far, small, if the engine shows it.
        preview: Option<RgbImage>,
    },
}

/// Answers each event with whether to go on.
pub type EngineHook<'a> = &'a mut dyn FnMut(EngineEvent) -> ControlFlow<()>;

/// Why an engine gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The hook said stop.
    #[error("cancelled")]
    Cancelled,
    /// What went wrong, as it is shown.
    #[error("{0}")]
    Failed(String),
}

/// What everything but the quant depends on, prepared once.
#[derive(Debug, Clone)]
pub struct EngineInputs {
    /// The prompts that are needed.
    pub prompts: Vec<String>,
    /// The photograph at inference size.
    pub image: RgbImage,
    /// The grown masks that are needed, at inference size, 255 where it is filled.
    pub masks: Vec<GrayImage>,
}

/// One fill, by what was prepared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FillJob {
    /// Index into [`EngineInputs::prompts`].
    pub prompt: usize,
    /// Index into [`EngineInputs::masks`].
    pub mask: usize,
    /// Guidance scale.
    pub guidance: Guidance,
    /// Denoising steps.
    pub steps: Steps,
    /// Seed of the initial noise.
    pub seed: u64,
}

/// A finished fill.
#[derive(Debug, Clone)]
pub struct Fill {
    /// The raw fill at inference size.
    pub image: RgbImage,
    /// How long it took; loading aside.
    pub timing: Timing,
    /// Which accelerations ran.
    pub accelerations: Vec<AccelerationSeen>,
}

/// What a run will need, as far as it decides whether it can be made.
#[derive(Debug, Clone, Copy)]
pub struct RunNeeds<'a> {
    /// The quants that will be loaded.
    pub quants: &'a [Quant],
    /// The prompts that will be embedded.
    pub prompts: &'a [String],
    /// Width and height at inference size, in pixels.
    pub size_px: (u32, u32),
}

/// What an engine says of a run before it loads anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examination {
    /// What would make it fail, each with its file and remedy.
    pub errors: Vec<String>,
    /// What goes on some other way.
    pub warnings: Vec<String>,
    /// What each stage needs in memory, a line each.
    pub memory: Vec<String>,
}

/// Fills cells, one quant in memory at a time.
pub trait FillEngine: Send {
    /// Where it computes.
    fn environment(&self) -> Environment;

    /// Tokens of the T5 encoder.
    fn max_sequence_length(&self) -> u32;

    /// Looks at every file that a run needs and at memory; loads nothing.
    ///
    /// # Errors
    /// If the hook cancels. What is wrong is data.
    fn examine(
        &mut self,
        needs: &RunNeeds<'_>,
        hook: EngineHook<'_>,
    ) -> Result<Examination, EngineError>;

    /// The weights of these quants, with their hashes.
    ///
    /// # Errors
    /// If a file is missing or cannot be read, or the hook cancels.
    fn weights(
        &mut self,
        quants: &[Quant],
        hook: EngineHook<'_>,
    ) -> Result<ModelDocument, EngineError>;

    /// Prepares what does not depend on the quant. Called once, before the first load.
    ///
    /// # Errors
    /// If it cannot be prepared, or the hook cancels.
    fn prepare(&mut self, inputs: &EngineInputs, hook: EngineHook<'_>) -> Result<(), EngineError>;

    /// Loads a quant in place of the one that is loaded.
    ///
    /// # Errors
    /// If it cannot be loaded, or the hook cancels.
    fn load(&mut self, quant: &Quant, hook: EngineHook<'_>) -> Result<(), EngineError>;

    /// Fills one cell with the loaded quant.
    ///
    /// # Errors
    /// If it fails, its numbers are not finite, or the hook cancels.
    fn fill(&mut self, job: &FillJob, hook: EngineHook<'_>) -> Result<Fill, EngineError>;
}
