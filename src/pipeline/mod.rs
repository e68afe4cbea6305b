//! A FLUX.1-Fill pipeline of our own on candle; the only place that names candle.
//!
//! The way of a fill: [`ModelFolder`] finds the files, [`FillPipeline::encode_prompts`] and
//! [`FillPipeline::encode_image`] prepare what does not depend on the quantization,
//! [`FillPipeline::load`] reads a transformer, [`FillPipeline::fill`] denoises and decodes. The
//! references that it is held against are those of `tests/parity.rs`. [`Hub`] fetches weights, and is
//! no part of a fill.

mod acceleration;
mod check;
mod conv;
mod device;
mod dimensions;
mod embedding_cache;
mod error;
mod fill;
mod folder;
mod gguf;
mod group_norm;
mod hashes;
mod hub;
mod latents;
mod linear;
mod load;
mod measure;
mod memory;
pub mod noise;
mod prepare;
mod random_weights;
mod request;
mod schedule;
mod search;
mod t5_weights;
#[cfg(test)]
mod tests;
mod text;
mod tokenize;
mod transformer;
mod vae;
mod weights;

pub use acceleration::{Acceleration, accelerations};
pub use check::{Embedders, Finding, Severity};
pub use device::{ComputeDevice, DeviceIdentity, MatmulPath, Precision};
pub use dimensions::Dimensions;
pub use embedding_cache::EmbeddingCache;
pub use error::{PipelineError, Result};
pub use fill::FillPipeline;
pub use folder::{ModelFolder, TransformerFile};
pub use hashes::HashCache;
pub use hub::{FetchEvent, Fetched, Hub, HubAccess, HubFile, HubListing};
pub use linear::MatmulCounts;
pub use measure::{MeasureRequest, Measured, MeasuredOutcome, measure};
pub use memory::{MemoryPlan, MemoryRequest, StageNeed};
pub use prepare::Conditioning;
pub use random_weights::write_random_transformer;
pub use request::{
    Draws, FillEvent, FillInputs, FillOutput, FillParams, FillTiming, Hook, LoadTiming,
    PipelineOptions, Stage, Trace,
};
pub use search::{find_models, repository_of, user_hub_folder};
pub use text::PromptEmbedding;
