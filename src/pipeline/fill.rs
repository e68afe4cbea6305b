//! The fill itself: denoise with a hook, decode. What comes before is in `prepare.rs` and `load.rs`.
//!
//! Follows `pipeline_flux_fill.py` of diffusers 0.42, which is what production runs. Each stage
//! loads its model, uses it and drops it; at most one transformer is in memory. Knows nothing of
//! sessions, cells or files other than weights.

use super::acceleration::{Acceleration, accelerations};
use super::device::{ComputeDevice, Precision};
use super::dimensions::Dimensions;
use super::error::{PipelineError, Result};
use super::folder::ModelFolder;
use super::group_norm::SumOrder;
use super::latents::{self, TOKEN_PX};
use super::linear::{MatmulCounters, MatmulCounts};
use super::noise::TorchGenerator;
use super::prepare::Conditioning;
use super::request::{
    Draws, FillEvent, FillOutput, FillParams, FillTiming, Hook, PipelineOptions, Stage, Trace, tell,
};
use super::schedule::Schedule;
use super::text::{self, PromptEmbedding};
use super::transformer::{Evaluation, Positions, Transformer};
use super::vae::{Decoder, VaeSettings};
use super::weights::Weights;
use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use std::sync::Arc;
use std::time::Instant;

/// The whole pipeline on one device.
pub struct FillPipeline {
    pub(super) folder: ModelFolder,
    pub(super) compute_device: ComputeDevice,
    pub(super) options: PipelineOptions,
    pub(super) device: Device,
    pub(super) schedule: Schedule,
    pub(super) vae_settings: VaeSettings,
    pub(super) t5_tokens: usize,
    pub(super) decoder: Option<Decoder>,
    pub(super) transformer: Option<Transformer>,
    pub(super) counters: Arc<MatmulCounters>,
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

    /// Which accelerations there are here, which the options ask for, and which ran, by the counts of
    /// a fill.
    pub fn accelerations(&self, counts: MatmulCounts) -> Vec<Acceleration> {
        accelerations(self.compute_device, &self.options, counts)
    }

    /// Which multiplications ran since the pipeline was made.
    pub fn matmuls(&self) -> MatmulCounts {
        self.counters.read()
    }

    /// The autoencoder's type: float32 on the CPU, whose convolutions know no other.
    pub(super) fn vae_dtype(&self) -> DType {
        if self.device.is_cpu() {
            DType::F32
        } else {
            self.options.precision.dtype()
        }
    }

    /// Latents as the transformer sees them.
    pub(super) fn scaled(&self, z: &Tensor) -> Result<Tensor> {
        Ok(((z - self.vae_settings.shift_factor)? * self.vae_settings.scaling_factor)?)
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
    pub(super) fn denoise(
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
