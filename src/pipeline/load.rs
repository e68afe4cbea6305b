//! The part of the pipeline that loads a transformer, and says before what that will need.

use super::device::MatmulPath;
use super::dimensions::Dimensions;
use super::error::Result;
use super::fill::FillPipeline;
use super::linear::LinearPlan;
use super::memory::{MemoryPlan, MemoryRequest};
use super::request::{FillEvent, Hook, LoadTiming, Stage, tell};
use super::transformer::Transformer;
use super::weights::Weights;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

impl FillPipeline {
    /// Loads a transformer, after dropping the one that is loaded.
    ///
    /// # Errors
    /// If the file is malformed, of another model, or lacks what no dense file beside it has; if
    /// memory runs out or the hook cancels.
    pub fn load(&mut self, quant_file: &Path, hook: Hook<'_>) -> Result<LoadTiming> {
        tell(hook, FillEvent::Stage(Stage::LoadTransformer))?;
        self.transformer = None;
        let start = Instant::now();
        let mut weights = Weights::open(quant_file)?;
        let size_bytes = weights.size_bytes();
        let embedders_from = self.folder.complete(&mut weights)?;
        let dims = Dimensions::read(&weights, &self.folder.axes_hints()?)?;
        let dense = self.is_dense(&weights);
        if let Some(available) = self.available_bytes() {
            // The picture's share is not known here; its weights alone must fit.
            self.request_memory(&weights, dims.clone(), 0, 0)
                .plan()
                .check(available)?;
        }
        let plan = LinearPlan {
            device: self.device.clone(),
            dtype: self.options.precision.dtype(),
            path: self.options.matmul,
            dense,
            counters: Arc::clone(&self.counters),
        };
        let transformer =
            Transformer::load(&weights, dims, &plan, &mut || tell(hook, FillEvent::Poll))?;
        self.transformer = Some(transformer);
        Ok(LoadTiming {
            secs: start.elapsed().as_secs_f64(),
            size_bytes,
            dense: dense && self.options.matmul == MatmulPath::Exact,
            embedders_from,
        })
    }

    /// Memory that a run could use now, in bytes, where it is known.
    pub fn available_bytes(&self) -> Option<u64> {
        self.options
            .available_bytes
            .or_else(|| self.compute_device.available_bytes())
    }

    /// Whether a transformer is dequantized once, at load.
    fn is_dense(&self, weights: &Weights) -> bool {
        weights.value_count().saturating_mul(4) <= self.options.dense_budget_bytes
    }

    /// What filling a picture of this size with a transformer will need; reads headers only.
    ///
    /// # Errors
    /// If a file is missing or malformed.
    pub fn memory_plan(&self, quant_file: &Path, width: u32, height: u32) -> Result<MemoryPlan> {
        let mut weights = Weights::open(quant_file)?;
        self.folder.complete(&mut weights)?;
        let dims = Dimensions::read(&weights, &self.folder.axes_hints()?)?;
        let values = |dir: &Path| -> Result<u64> {
            Ok(Weights::open_all(&self.folder.encoder_files(dir)?)?.value_count())
        };
        let vae = Weights::open(&self.folder.vae_file())?;
        let channels = &vae.info("encoder.conv_in.weight")?.shape;
        Ok(MemoryRequest {
            encoder_values: [
                values(&self.folder.clip_dir())?,
                values(&self.folder.t5_dir())?,
            ],
            vae_values: vae.value_count(),
            vae_channels: channels.first().map_or(128, |&c| c as u64),
            ..self.request_memory(&weights, dims, width, height)
        }
        .plan())
    }

    /// The transformer's part of a request.
    fn request_memory(
        &self,
        weights: &Weights,
        dimensions: Dimensions,
        width: u32,
        height: u32,
    ) -> MemoryRequest {
        MemoryRequest {
            gpu: !self.device.is_cpu(),
            precision: self.options.precision,
            matmul: self.options.matmul,
            width,
            height,
            text_tokens: self.t5_tokens,
            encoder_values: [0, 0],
            vae_values: 0,
            vae_channels: 0,
            transformer_values: weights.value_count(),
            transformer_bytes: weights.size_bytes(),
            dense: self.is_dense(weights),
            dimensions,
        }
    }

    /// Drops the loaded transformer.
    pub fn unload(&mut self) {
        self.transformer = None;
    }
}
