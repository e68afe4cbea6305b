//! The fill itself: prepare once, load a transformer, denoise with a hook, decode.
//!
//! Follows `pipeline_flux_fill.py` of diffusers 0.42, which is what production runs. Each stage
//! loads its model, uses it and drops it; at most one transformer is in memory. Knows nothing of
//! sessions, cells or files other than weights.

use super::device::{ComputeDevice, MatmulPath, Precision};
use super::dimensions::Dimensions;
use super::error::{PipelineError, Result};
use super::folder::ModelFolder;
use super::group_norm::SumOrder;
use super::latents::{self, PreviewMap, TOKEN_PX};
use super::linear::{LinearPlan, MatmulCounters, MatmulCounts};
use super::noise::TorchGenerator;
use super::request::{
    Draws, FillEvent, FillInputs, FillOutput, FillParams, FillTiming, Hook, LoadTiming,
    PipelineOptions, Stage, Trace,
};
use super::schedule::Schedule;
use super::text::{self, PromptEmbedding};
use super::transformer::{Evaluation, Positions, Transformer};
use super::vae::{Decoder, Encoder, VaeSettings};
use super::weights::Weights;
use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

fn tell(hook: Hook<'_>, event: FillEvent) -> Result<()> {
    match hook(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PipelineError::Cancelled),
    }
}

/// What the transformer is told about one picture and one mask: everything but the noise.
pub struct Conditioning {
    width: u32,
    height: u32,
    /// Mean and log-variance of the masked picture's latents, (1, 32, H/8, W/8), float32, CPU.
    moments: Tensor,
    /// (1, tokens, 256), float32, CPU.
    mask: Tensor,
    preview: PreviewMap,
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

/// The whole pipeline on one device.
pub struct FillPipeline {
    folder: ModelFolder,
    compute_device: ComputeDevice,
    options: PipelineOptions,
    device: Device,
    schedule: Schedule,
    vae_settings: VaeSettings,
    t5_tokens: usize,
    decoder: Option<Decoder>,
    transformer: Option<Transformer>,
    counters: Arc<MatmulCounters>,
}

impl FillPipeline {
    /// Opens the device and reads the folder's configuration; loads no weights yet.
    ///
    /// # Errors
    /// If the device cannot be used or a configuration file is malformed.
    pub fn new(
        folder: ModelFolder,
        device: ComputeDevice,
        options: PipelineOptions,
    ) -> Result<Self> {
        let mut vae_settings = folder.vae_settings()?;
        if options.torch_cpu_norms {
            vae_settings.encoder_sums = SumOrder::Sequential;
        }
        Ok(Self {
            device: device.open()?,
            schedule: folder.schedule()?,
            vae_settings,
            t5_tokens: options
                .t5_tokens
                .unwrap_or_else(|| text::t5_tokens(&folder)),
            folder,
            compute_device: device,
            options,
            decoder: None,
            transformer: None,
            counters: Arc::default(),
        })
    }

    /// The model folder.
    pub fn folder(&self) -> &ModelFolder {
        &self.folder
    }

    /// The device.
    pub fn device(&self) -> ComputeDevice {
        self.compute_device
    }

    /// T5 tokens of every prompt.
    pub fn t5_tokens(&self) -> usize {
        self.t5_tokens
    }

    /// Which multiplications ran since the pipeline was made.
    pub fn matmuls(&self) -> MatmulCounts {
        self.counters.read()
    }

    /// The autoencoder's type: float32 on the CPU, whose convolutions know no other.
    fn vae_dtype(&self) -> DType {
        if self.device.is_cpu() {
            DType::F32
        } else {
            self.options.precision.dtype()
        }
    }

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

    /// Latents as the transformer sees them.
    fn scaled(&self, z: &Tensor) -> Result<Tensor> {
        Ok(((z - self.vae_settings.shift_factor)? * self.vae_settings.scaling_factor)?)
    }

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
        let dense = weights.value_count().saturating_mul(4) <= self.options.dense_budget_bytes;
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

    /// Drops the loaded transformer.
    pub fn unload(&mut self) {
        self.transformer = None;
    }

    /// Fills: noise to picture.
    ///
    /// # Errors
    /// If nothing is loaded, a setting is out of range, a value is not finite, memory runs out, or
    /// the hook cancels.
    pub fn fill(
        &mut self,
        prompt: &PromptEmbedding,
        conditioning: &Conditioning,
        params: &FillParams,
        hook: Hook<'_>,
    ) -> Result<FillOutput> {
        self.fill_traced(prompt, conditioning, params, hook, None)
    }

    /// [`FillPipeline::fill`], keeping intermediate values.
    ///
    /// # Errors
    /// As [`FillPipeline::fill`].
    pub fn fill_traced(
        &mut self,
        prompt: &PromptEmbedding,
        conditioning: &Conditioning,
        params: &FillParams,
        hook: Hook<'_>,
        mut trace: Option<&mut Trace>,
    ) -> Result<FillOutput> {
        if params.steps == 0 || !params.guidance.is_finite() || params.guidance < 0.0 {
            return Err(PipelineError::BadInput(format!(
                "{} steps at guidance {}: expected at least one step and a guidance of 0 or more",
                params.steps, params.guidance
            )));
        }
        let start = Instant::now();
        let before = self.counters.read();
        tell(hook, FillEvent::Stage(Stage::Denoise))?;
        let mut step_secs = Vec::with_capacity(params.steps);
        let latents = self.denoise(
            prompt,
            conditioning,
            params,
            hook,
            &mut trace,
            &mut step_secs,
        )?;
        let decode_start = Instant::now();
        tell(hook, FillEvent::Stage(Stage::Decode))?;
        let image = self.decode(conditioning, &latents, params.steps, hook, &mut trace)?;
        Ok(FillOutput {
            image,
            timing: FillTiming {
                total_secs: start.elapsed().as_secs_f64(),
                step_secs,
                decode_secs: decode_start.elapsed().as_secs_f64(),
                gpu_millis: None,
            },
            matmuls: self.counters.read().since(before),
        })
    }

    /// The random numbers of a fill, (1, 16, H/8, W/8) each: initial latents, and the sample of the
    /// masked picture's latents in standard deviations.
    fn draw(&self, conditioning: &Conditioning, draws: &Draws) -> Result<(Tensor, Option<Tensor>)> {
        let (_, moments, height, width) = conditioning.moments.dims4()?;
        let shape = (1, moments / 2, height, width);
        let len = moments / 2 * height * width;
        let tensor = |values: Vec<f32>| {
            if values.len() != len {
                return Err(PipelineError::BadInput(format!(
                    "{} random numbers were given, expected {len}",
                    values.len()
                )));
            }
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
        };
        match draws {
            Draws::Given { noise, posterior } => {
                let posterior = posterior.clone().map(tensor).transpose()?;
                Ok((tensor(noise.clone())?, posterior))
            }
            Draws::Seed(seed) => {
                let mut generator = TorchGenerator::new(*seed);
                let mut next = || match self.options.precision {
                    Precision::F32 => generator.randn_f32(len),
                    Precision::Bf16 => generator
                        .randn_bf16(len)
                        .into_iter()
                        .map(half::bf16::to_f32)
                        .collect(),
                };
                // Production encodes the whole picture first, draws its latents' sample, and then
                // drowns it in noise at strength 1: the numbers are used up all the same.
                let _whole_picture = next();
                let noise = tensor(next())?;
                Ok((noise, Some(tensor(next())?)))
            }
        }
    }

    /// Masked latents and mask, (1, tokens, 320), in the activations' type on the device.
    fn condition(&self, conditioning: &Conditioning, posterior: Option<&Tensor>) -> Result<Tensor> {
        let parts = conditioning.moments.chunk(2, 1)?;
        let [mean, log_variance] = parts.as_slice() else {
            return Err(PipelineError::Compute(
                "moments have no two halves".to_owned(),
            ));
        };
        let z = match posterior {
            None => mean.clone(),
            Some(sample) => {
                let deviation = (log_variance.clamp(-30_f32, 20_f32)? * 0.5)?.exp()?;
                (mean + (deviation * sample)?)?
            }
        };
        let latents = latents::pack(&self.scaled(&z)?)?;
        let cond = Tensor::cat(&[&latents, &conditioning.mask], 2)?;
        Ok(self.to_device(&cond)?)
    }

    fn to_device(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.to_dtype(self.options.precision.dtype())?
            .to_device(&self.device)
    }

    /// Denoised latents, packed, (1, tokens, 64), float32.
    fn denoise(
        &self,
        prompt: &PromptEmbedding,
        conditioning: &Conditioning,
        params: &FillParams,
        hook: Hook<'_>,
        trace: &mut Option<&mut Trace>,
        step_secs: &mut Vec<f64>,
    ) -> Result<Tensor> {
        let transformer = self
            .transformer
            .as_ref()
            .ok_or(PipelineError::NoTransformer)?;
        let dims = transformer.dimensions();
        let dtype = self.options.precision.dtype();
        check_widths(dims, prompt, &self.folder)?;
        let (noise, posterior) = self.draw(conditioning, &params.draws)?;
        let cond = self.condition(conditioning, posterior.as_ref())?;
        Trace::keep(trace, "cond", &cond)?;
        let mut x = latents::pack(&noise)?;
        Trace::keep(trace, "noise", &x)?;
        x = self.to_device(&x)?;
        let rows = (conditioning.height / TOKEN_PX) as usize;
        let columns = (conditioning.width / TOKEN_PX) as usize;
        let positions =
            Positions::new(prompt.t5_ids.len(), rows, columns, dims.axes, &self.device)?;
        let sigmas = self.schedule.sigmas(params.steps, rows * columns);
        Trace::keep(
            trace,
            "sigmas",
            &Tensor::new(sigmas.as_slice(), &Device::Cpu)?,
        )?;
        let txt = self.to_device(&prompt.tokens)?;
        let pooled = self.to_device(&prompt.pooled)?;
        for (i, pair) in sigmas.windows(2).enumerate() {
            let &[sigma, next] = pair else { continue };
            let start = Instant::now();
            let velocity = transformer.forward(
                &Evaluation {
                    img: &Tensor::cat(&[&x, &cond], 2)?,
                    txt: &txt,
                    pooled: &pooled,
                    positions: &positions,
                    sigma,
                    guidance: params.guidance as f32,
                },
                &mut || tell(hook, FillEvent::Poll),
            )?;
            Trace::keep(trace, &format!("noise_pred/{i}"), &velocity)?;
            // In float32, but the product rounded as PyTorch rounds it.
            let change = (velocity.to_dtype(DType::F32)? * f64::from(next - sigma))?
                .to_dtype(dtype)?
                .to_dtype(DType::F32)?;
            x = (x.to_dtype(DType::F32)? + change)?.to_dtype(dtype)?;
            Trace::keep(trace, &format!("latents/{i}"), &x)?;
            check_finite(&x, i + 1)?;
            let secs = start.elapsed().as_secs_f64();
            step_secs.push(secs);
            let preview = match self.options.preview_every {
                Some(every) if (i + 1).is_multiple_of(every.max(1)) => {
                    Some(preview(conditioning, &x, &velocity, next)?)
                }
                _ => None,
            };
            let event = FillEvent::Step {
                index: i + 1,
                total: params.steps,
                secs,
                preview,
            };
            tell(hook, event)?;
        }
        Ok(x.to_dtype(DType::F32)?)
    }

    fn decode(
        &mut self,
        conditioning: &Conditioning,
        latents: &Tensor,
        step: usize,
        hook: Hook<'_>,
        trace: &mut Option<&mut Trace>,
    ) -> Result<RgbImage> {
        let dtype = self.vae_dtype();
        let loaded = if let Some(decoder) = self.decoder.take() {
            decoder
        } else {
            let weights = Weights::open(&self.folder.vae_file())?;
            Decoder::load(&weights, &self.vae_settings, dtype, &self.device)?
        };
        let decoder = self.decoder.insert(loaded);
        let z = latents::unpack(
            latents,
            (conditioning.height / 8) as usize,
            (conditioning.width / 8) as usize,
        )?;
        let z = ((z / self.vae_settings.scaling_factor)? + self.vae_settings.shift_factor)?;
        Trace::keep(trace, "z", &z)?;
        let decoded = decoder.forward(&z.to_dtype(dtype)?.contiguous()?, &mut || {
            tell(hook, FillEvent::Poll)
        })?;
        Trace::keep(trace, "decoded", &decoded)?;
        latents::to_image(&decoded, step)
    }
}

/// Refuses embeddings of encoders that do not belong to the transformer.
fn check_widths(dims: &Dimensions, prompt: &PromptEmbedding, folder: &ModelFolder) -> Result<()> {
    let got = [
        prompt.tokens.dim(candle_core::D::Minus1)?,
        prompt.pooled.dim(candle_core::D::Minus1)?,
    ];
    let expected = [dims.context, dims.pooled];
    if got == expected {
        return Ok(());
    }
    Err(PipelineError::WrongShape {
        tensor: "prompt embedding (T5, CLIP)".to_owned(),
        expected: expected.to_vec(),
        got: got.to_vec(),
        path: folder.root().to_owned(),
    })
}

/// The picture that the latents are heading for, at an eighth of its size.
fn preview(
    conditioning: &Conditioning,
    x: &Tensor,
    velocity: &Tensor,
    sigma: f32,
) -> Result<RgbImage> {
    let clean = (x.to_dtype(DType::F32)? - (velocity.to_dtype(DType::F32)? * f64::from(sigma))?)?;
    let clean = latents::unpack(
        &clean,
        (conditioning.height / 8) as usize,
        (conditioning.width / 8) as usize,
    )?;
    conditioning.preview.apply(&clean)
}

/// Refuses latents that are not finite, naming the step.
fn check_finite(x: &Tensor, step: usize) -> Result<()> {
    let sum = x
        .to_dtype(DType::F32)?
        .abs()?
        .sum_all()?
        .to_scalar::<f32>()?;
    if sum.is_finite() {
        Ok(())
    } else {
        Err(PipelineError::NotFinite {
            what: "a latent",
            step,
        })
    }
}
