//! A FLUX.1-Fill pipeline of our own on candle; the only place that names candle.
//!
//! The way of a fill: [`ModelFolder`] finds the files, [`FillPipeline::encode_prompts`] and
//! [`FillPipeline::encode_image`] prepare what does not depend on the quantization,
//! [`FillPipeline::load`] reads a transformer, [`FillPipeline::fill`] denoises and decodes. The
//! references that it is held against are those of `tests/parity.rs`.

mod device;
mod error;
mod fill;
mod folder;
mod gguf;
mod latents;
mod linear;
pub mod noise;
mod schedule;
mod stored;
mod text;
mod tokenize;
mod transformer;
mod vae;
mod weights;

pub use device::{ComputeDevice, DeviceIdentity, MatmulPath, Precision};
pub use error::{PipelineError, Result};
pub use fill::{
    Conditioning, Draws, FillEvent, FillInputs, FillOutput, FillParams, FillPipeline, FillTiming,
    Hook, LoadTiming, PipelineOptions, Stage, Trace,
};
pub use folder::{ModelFolder, TransformerFile};
pub use linear::MatmulCounts;
pub use text::PromptEmbedding;
