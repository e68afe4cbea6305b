//! What a pipeline is asked for and what it answers: options, inputs, events, timings, traces.

use super::device::{ComputeDevice, MatmulPath, Precision};
use super::error::{PipelineError, Result};
use super::linear::MatmulCounts;
use candle_core::{DType, Tensor};
use image::{GrayImage, RgbImage};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// How a [`super::FillPipeline`] computes.
#[derive(Debug, Clone)]
pub struct PipelineOptions {
    /// Type of the activations and of the noise.
    pub precision: Precision,
    /// Exact or integer multiplication.
    pub matmul: MatmulPath,
    /// T5 tokens; `None` takes what the tokenizer's configuration says, 512 in production.
    pub t5_tokens: Option<usize>,
    /// A transformer whose weights fit into so many bytes as float32 is dequantized once, at load;
    /// a larger one tile by tile at each step. The numbers are the same. Default: 1 GiB.
    pub dense_budget_bytes: u64,
    /// A preview after every so many steps; `None` for none.
    pub preview_every: Option<usize>,
    /// Memory to plan with, in bytes, in place of what the system says is free. Default: none.
    pub available_bytes: Option<u64>,
    /// Give the encoder's group norms, on the CPU, the rounding that `PyTorch` has there on one
    /// thread, to reproduce such a run; see `group_norm.rs`. Default: off, which is more accurate
    /// and what a GPU computes. Only whoever calls the library may set it, as the tests do that hold
    /// the pipeline against such runs: no command, no document and no control does, so that all
    /// cells of an audit are computed alike.
    pub torch_cpu_norms: bool,
}

impl PipelineOptions {
    /// What an audit uses on a device: exact weights, float32 on the CPU, bfloat16 on a GPU.
    pub fn for_device(device: ComputeDevice) -> Self {
        Self {
            precision: device.default_precision(),
            matmul: MatmulPath::Exact,
            t5_tokens: None,
            dense_budget_bytes: 1 << 30,
            preview_every: None,
            available_bytes: None,
            torch_cpu_norms: false,
        }
    }
}

/// What is going on, told to the hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// CLIP and T5 embed the prompts.
    EncodePrompts,
    /// The autoencoder encodes the masked picture.
    EncodeImage,
    /// A transformer is read from its file.
    LoadTransformer,
    /// The denoising steps.
    Denoise,
    /// The autoencoder makes the picture.
    Decode,
}

/// What the hook is called with; it answers whether to go on.
#[derive(Debug)]
pub enum FillEvent {
    /// A stage begins.
    Stage(Stage),
    /// Nothing new: between two blocks, so that a cancel is seen soon.
    Poll,
    /// A denoising step is done.
    Step {
        /// Counted from 1.
        index: usize,
        /// How many there will be.
        total: usize,
        /// What this one took.
        secs: f64,
        /// The picture so far at an eighth of its size, if asked for.
        preview: Option<RgbImage>,
    },
}

/// Called with every event, and between transformer blocks; `Break` cancels.
pub type Hook<'a> = &'a mut dyn FnMut(FillEvent) -> ControlFlow<()>;

/// Calls the hook, and turns its `Break` into an error.
pub(super) fn tell(hook: Hook<'_>, event: FillEvent) -> Result<()> {
    match hook(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PipelineError::Cancelled),
    }
}

/// A picture and its mask at inference size.
#[derive(Debug, Clone)]
pub struct FillInputs {
    /// The picture; both sides multiples of 16.
    pub image: RgbImage,
    /// 255 where the picture is made anew, 0 where it is kept; of the picture's size.
    pub mask: GrayImage,
}

/// Where the random numbers of a fill come from.
#[derive(Debug, Clone)]
pub enum Draws {
    /// All from `torch.Generator("cpu").manual_seed(seed)`, in the order of production.
    Seed(u64),
    /// Given: to reproduce a fill whose noise is known.
    Given {
        /// Initial latents before packing, 16 × H/8 × W/8.
        noise: Vec<f32>,
        /// The sample of the masked picture's latents, of the same size, in standard deviations;
        /// `None` takes their mean.
        posterior: Option<Vec<f32>>,
    },
}

/// The settings of one fill.
#[derive(Debug, Clone)]
pub struct FillParams {
    /// Guidance scale, as production names it: 0 or more, 30 in FLUX's examples.
    pub guidance: f64,
    /// Denoising steps, at least 1.
    pub steps: usize,
    /// The random numbers.
    pub draws: Draws,
}

/// What loading a transformer took and found.
#[derive(Debug, Clone)]
pub struct LoadTiming {
    /// Wall seconds.
    pub secs: f64,
    /// Bytes of the tensors in the file.
    pub size_bytes: u64,
    /// Whether the weights were dequantized once, at load.
    pub dense: bool,
    /// The file from which missing input embedders were taken.
    pub embedders_from: Option<PathBuf>,
}

/// What a fill took.
#[derive(Debug, Clone)]
pub struct FillTiming {
    /// Wall seconds from the noise to the picture.
    pub total_secs: f64,
    /// Wall seconds of each step.
    pub step_secs: Vec<f64>,
    /// Wall seconds of the decoder.
    pub decode_secs: f64,
    /// Milliseconds by the GPU's own clock; `None` on a CPU.
    pub gpu_millis: Option<f64>,
}

/// A finished fill.
#[derive(Debug, Clone)]
pub struct FillOutput {
    /// The raw fill at inference size: the whole picture, not yet composited.
    pub image: RgbImage,
    /// What it took.
    pub timing: FillTiming,
    /// Which multiplications ran for it.
    pub matmuls: MatmulCounts,
}

/// Intermediate values of a fill by name, in float32: `cond`, `noise`, `sigmas`, `noise_pred/0`,
/// `latents/0`, `z`, `decoded`.
#[derive(Debug, Default)]
pub struct Trace {
    /// Values by name, flattened.
    pub values: BTreeMap<String, Vec<f32>>,
}

impl Trace {
    pub(super) fn keep(trace: &mut Option<&mut Self>, name: &str, x: &Tensor) -> Result<()> {
        if let Some(trace) = trace {
            let values = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            trace.values.insert(name.to_owned(), values);
        }
        Ok(())
    }
}
