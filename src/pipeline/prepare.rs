//! The part of the pipeline that does not depend on the quantization: prompts and pictures.

use super::embedding_cache::EmbeddingCache;
use super::error::{PipelineError, Result};
use super::fill::FillPipeline;
use super::hashes::HashCache;
use super::latents::{self, PreviewMap, TOKEN_PX};
use super::request::{FillEvent, FillInputs, Hook, Stage, tell};
use super::text::{self, PromptEmbedding};
use super::vae::Encoder;
use super::weights::Weights;
use candle_core::{DType, Device, Tensor};

/// What the transformer is told about one picture and one mask: everything but the noise.
pub struct Conditioning {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Mean and log-variance of the masked picture's latents, (1, 32, H/8, W/8), float32, CPU.
    pub(super) moments: Tensor,
    /// (1, tokens, 256), float32, CPU.
    pub(super) mask: Tensor,
    pub(super) preview: PreviewMap,
}

impl Conditioning {
    /// Width of the picture in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height of the picture in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Mean and log-variance of the masked picture's latents, 32 channels at an eighth of its size.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn moment_values(&self) -> Result<Vec<f32>> {
        Ok(self.moments.flatten_all()?.to_vec1()?)
    }
}

impl FillPipeline {
    /// Embeds prompts. Drops a loaded transformer first: the encoders need its room.
    ///
    /// # Errors
    /// If a file is missing or malformed, memory runs out, or the hook cancels.
    pub fn encode_prompts(
        &mut self,
        prompts: &[String],
        hook: Hook<'_>,
    ) -> Result<Vec<PromptEmbedding>> {
        tell(hook, FillEvent::Stage(Stage::EncodePrompts))?;
        self.transformer = None;
        let mut between = || tell(hook, FillEvent::Poll);
        text::encode(
            &self.folder,
            prompts,
            self.t5_tokens,
            &self.device,
            &mut between,
        )
    }

    /// [`FillPipeline::encode_prompts`], taking from a cache what was embedded before. The encoders
    /// are loaded, and a transformer dropped, only if a prompt is new.
    ///
    /// # Errors
    /// As [`FillPipeline::encode_prompts`]. A cache that cannot be written is a warning.
    pub fn encode_prompts_cached(
        &mut self,
        prompts: &[String],
        cache: &EmbeddingCache,
        hashes: &mut HashCache,
        hook: Hook<'_>,
    ) -> Result<Vec<PromptEmbedding>> {
        let key = self.encoders_key(hashes, hook)?;
        let mut found: Vec<_> = prompts.iter().map(|p| cache.read(&key, p)).collect();
        let new: Vec<String> = prompts
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none())
            .map(|(prompt, _)| prompt.clone())
            .collect();
        if !new.is_empty() {
            let mut made = self.encode_prompts(&new, hook)?.into_iter();
            for slot in found.iter_mut().filter(|slot| slot.is_none()) {
                *slot = made.next();
                if let Some(Err(error)) = slot.as_ref().map(|e| cache.write(&key, e)) {
                    tracing::warn!("an embedding is not kept: {error}");
                }
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Whether a cache knows the embeddings of all these prompts, so that no encoder will be loaded.
    ///
    /// # Errors
    /// If an encoder's file is missing or the hook cancels.
    pub fn knows_prompts(
        &self,
        prompts: &[String],
        cache: &EmbeddingCache,
        hashes: &mut HashCache,
        hook: Hook<'_>,
    ) -> Result<bool> {
        let key = self.encoders_key(hashes, hook)?;
        Ok(prompts.iter().all(|p| cache.read(&key, p).is_some()))
    }

    fn encoders_key(&self, hashes: &mut HashCache, hook: Hook<'_>) -> Result<String> {
        let device = if self.device.is_cpu() { "cpu" } else { "gpu" };
        EmbeddingCache::encoders_key(&self.folder, self.t5_tokens, device, hashes, hook)
    }

    /// Encodes a picture with its mask: independent of prompt, quantization and seed.
    ///
    /// # Errors
    /// If sizes do not fit, a file is missing or malformed, memory runs out, or the hook cancels.
    pub fn encode_image(&self, inputs: &FillInputs, hook: Hook<'_>) -> Result<Conditioning> {
        tell(hook, FillEvent::Stage(Stage::EncodeImage))?;
        let (width, height) = inputs.image.dimensions();
        if inputs.mask.dimensions() != (width, height) {
            return Err(PipelineError::BadInput(format!(
                "mask is {}x{} but the image is {width}x{height}",
                inputs.mask.width(),
                inputs.mask.height()
            )));
        }
        let fits = |side: u32| side > 0 && side.is_multiple_of(TOKEN_PX);
        if !fits(width) || !fits(height) {
            return Err(PipelineError::BadInput(format!(
                "image is {width}x{height}, expected sides that are multiples of {TOKEN_PX}"
            )));
        }
        let image = latents::image_tensor(&inputs.image)?;
        let mask = latents::mask_tensor(&inputs.mask)?;
        let masked = image.broadcast_mul(&(1.0 - &mask)?)?;
        let weights = Weights::open(&self.folder.vae_file())?;
        let dtype = self.vae_dtype();
        let encoder = Encoder::load(&weights, &self.vae_settings, dtype, &self.device)?;
        let input = masked.to_dtype(dtype)?.to_device(&self.device)?;
        let moments = encoder
            .forward(&input, &mut || tell(hook, FillEvent::Poll))?
            .to_dtype(DType::F32)?
            .to_device(&Device::Cpu)?;
        let mean = moments.chunk(2, 1)?.swap_remove(0);
        Ok(Conditioning {
            width,
            height,
            preview: PreviewMap::fit(&self.scaled(&mean)?, &masked)?,
            mask: latents::pack_mask(&mask)?,
            moments,
        })
    }
}
