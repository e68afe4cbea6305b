//! The autoencoder in the tensor names of `ae.safetensors`, with its attention in chunks.
//!
//! Follows `src/flux/modules/autoencoder.py` of <https://github.com/black-forest-labs/flux>
//! (commit 727e3a7). Channels, levels and blocks are read from shapes; the number of norm groups,
//! scale and shift from configuration. Computes in float32 on the CPU.

use super::conv::Conv;
use super::dimensions::blocks;
use super::error::Result;
use super::group_norm::{Norm, SumOrder, SumOrder::Accurate};
use super::transformer::attention;
use super::weights::Weights;
use candle_core::{DType, Device, Module, Tensor};
use serde::Deserialize;

/// What `vae/config.json` says beyond the shapes; the defaults are FLUX.1's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VaeSettings {
    /// Multiplied to latents before the transformer sees them.
    #[serde(alias = "scale_factor")]
    pub scaling_factor: f64,
    /// Subtracted from latents before that.
    pub shift_factor: f64,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// How the encoder's norms add up; not in any file.
    #[serde(skip, default = "accurate")]
    pub encoder_sums: SumOrder,
}

fn accurate() -> SumOrder {
    Accurate
}

impl Default for VaeSettings {
    fn default() -> Self {
        Self {
            scaling_factor: 0.3611,
            shift_factor: 0.1159,
            norm_num_groups: 32,
            encoder_sums: Accurate,
        }
    }
}

struct Loader<'a> {
    weights: &'a Weights,
    groups: usize,
    dtype: DType,
    device: &'a Device,
}

impl Loader<'_> {
    /// `padding`: zeros before and after.
    fn conv(&self, name: &str, padding: (usize, usize), stride: usize) -> Result<Conv> {
        Conv::load(self.weights, name, padding, stride, self.dtype, self.device)
    }

    fn norm(&self, name: &str, order: SumOrder) -> Result<Norm> {
        Norm::load(
            self.weights,
            name,
            self.groups,
            order,
            self.dtype,
            self.device,
        )
    }

    fn resnet(&self, name: &str, orders: [SumOrder; 2]) -> Result<Resnet> {
        let shortcut = format!("{name}.nin_shortcut");
        Ok(Resnet {
            norm1: self.norm(&format!("{name}.norm1"), orders[0])?,
            conv1: self.conv(&format!("{name}.conv1"), (1, 1), 1)?,
            norm2: self.norm(&format!("{name}.norm2"), orders[1])?,
            conv2: self.conv(&format!("{name}.conv2"), (1, 1), 1)?,
            shortcut: if self.weights.contains(&format!("{shortcut}.weight")) {
                Some(self.conv(&shortcut, (0, 0), 1)?)
            } else {
                None
            },
        })
    }

    /// `after` is the order in the first norm after the attention.
    fn middle(&self, name: &str, after: SumOrder) -> Result<Middle> {
        let at = |part: &str| format!("{name}.attn_1.{part}");
        Ok(Middle {
            before: self.resnet(&format!("{name}.block_1"), [Accurate; 2])?,
            norm: self.norm(&at("norm"), Accurate)?,
            q: self.conv(&at("q"), (0, 0), 1)?,
            k: self.conv(&at("k"), (0, 0), 1)?,
            v: self.conv(&at("v"), (0, 0), 1)?,
            proj: self.conv(&at("proj_out"), (0, 0), 1)?,
            after: self.resnet(&format!("{name}.block_2"), [after, Accurate])?,
        })
    }

    /// One resolution: its blocks, and the change to the next, if it has one.
    ///
    /// `order` is that of its norms, up to and in the first block with a shortcut, after which
    /// `PyTorch` has the channels first.
    fn level(
        &self,
        half: &str,
        index: usize,
        (change, stride): (&str, usize),
        order: &mut SumOrder,
    ) -> Result<Level> {
        let prefix = format!("{half}.{index}");
        let blocks = (0..blocks(self.weights, &format!("{prefix}.block")))
            .map(|i| {
                let block = self.resnet(&format!("{prefix}.block.{i}"), [*order; 2])?;
                if block.shortcut.is_some() {
                    *order = Accurate;
                }
                Ok(block)
            })
            .collect::<Result<Vec<_>>>()?;
        let conv = format!("{prefix}.{change}.conv");
        let resample = if self.weights.contains(&format!("{conv}.weight")) {
            // Downsampling pads on the right and below only.
            Some(self.conv(&conv, (usize::from(stride == 1), 1), stride)?)
        } else {
            None
        };
        Ok(Level { blocks, resample })
    }
}

struct Resnet {
    norm1: Norm,
    conv1: Conv,
    norm2: Norm,
    conv2: Conv,
    shortcut: Option<Conv>,
}

impl Module for Resnet {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = x.apply(&self.norm1)?.silu()?.apply(&self.conv1)?;
        let y = y.apply(&self.norm2)?.silu()?.apply(&self.conv2)?;
        match &self.shortcut {
            Some(conv) => x.apply(conv)? + y,
            None => x + y,
        }
    }
}

struct Middle {
    before: Resnet,
    norm: Norm,
    q: Conv,
    k: Conv,
    v: Conv,
    proj: Conv,
    after: Resnet,
}

impl Middle {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.apply(&self.before)?;
        let normed = x.apply(&self.norm)?;
        let (batch, channels, height, width) = normed.dims4()?;
        // (1, C, H, W) -> (1, 1, H * W, C)
        let tokens = |conv: &Conv| {
            normed
                .apply(conv)?
                .flatten_from(2)?
                .t()?
                .unsqueeze(1)?
                .contiguous()
        };
        let attended = attention(&tokens(&self.q)?, &tokens(&self.k)?, &tokens(&self.v)?)?;
        let attended = attended
            .t()?
            .contiguous()?
            .reshape((batch, channels, height, width))?;
        let x = (x + attended.apply(&self.proj)?)?;
        Ok(x.apply(&self.after)?)
    }
}

struct Level {
    blocks: Vec<Resnet>,
    resample: Option<Conv>,
}

/// Called between blocks; may stop the work.
type Between<'a> = &'a mut dyn FnMut() -> Result<()>;

/// Picture to mean and log-variance of its latents.
pub struct Encoder {
    conv_in: Conv,
    levels: Vec<Level>,
    middle: Middle,
    norm_out: Norm,
    conv_out: Conv,
}

impl Encoder {
    /// Loads the encoder half.
    ///
    /// # Errors
    /// If a tensor is missing or has a wrong shape, or memory runs out.
    pub fn load(
        weights: &Weights,
        settings: &VaeSettings,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let loader = Loader {
            weights,
            groups: settings.norm_num_groups,
            dtype,
            device,
        };
        let mut order = settings.encoder_sums;
        Ok(Self {
            conv_in: loader.conv("encoder.conv_in", (1, 1), 1)?,
            levels: (0..blocks(loader.weights, "encoder.down"))
                .map(|i| loader.level("encoder.down", i, ("downsample", 2), &mut order))
                .collect::<Result<_>>()?,
            middle: loader.middle("encoder.mid", settings.encoder_sums)?,
            norm_out: loader.norm("encoder.norm_out", settings.encoder_sums)?,
            conv_out: loader.conv("encoder.conv_out", (1, 1), 1)?,
        })
    }

    /// (1, 3, H, W) in [-1, 1] to moments (1, 32, H / 8, W / 8): means, then log-variances.
    ///
    /// # Errors
    /// If memory runs out or `between` says stop.
    pub fn forward(&self, x: &Tensor, between: Between<'_>) -> Result<Tensor> {
        let mut x = x.apply(&self.conv_in)?;
        for level in &self.levels {
            for block in &level.blocks {
                x = x.apply(block)?;
                between()?;
            }
            if let Some(conv) = &level.resample {
                x = x.apply(conv)?;
            }
        }
        let x = self.middle.forward(&x)?;
        between()?;
        Ok(x.apply(&self.norm_out)?.silu()?.apply(&self.conv_out)?)
    }
}

/// Latents to picture.
pub struct Decoder {
    conv_in: Conv,
    middle: Middle,
    /// Lowest resolution first.
    levels: Vec<Level>,
    norm_out: Norm,
    conv_out: Conv,
}

impl Decoder {
    /// Loads the decoder half.
    ///
    /// # Errors
    /// If a tensor is missing or has a wrong shape, or memory runs out.
    pub fn load(
        weights: &Weights,
        settings: &VaeSettings,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let loader = Loader {
            weights,
            groups: settings.norm_num_groups,
            dtype,
            device,
        };
        Ok(Self {
            conv_in: loader.conv("decoder.conv_in", (1, 1), 1)?,
            middle: loader.middle("decoder.mid", Accurate)?,
            levels: (0..blocks(loader.weights, "decoder.up"))
                .rev()
                .map(|i| loader.level("decoder.up", i, ("upsample", 1), &mut Accurate.clone()))
                .collect::<Result<_>>()?,
            norm_out: loader.norm("decoder.norm_out", Accurate)?,
            conv_out: loader.conv("decoder.conv_out", (1, 1), 1)?,
        })
    }

    /// (1, 16, H / 8, W / 8) to (1, 3, H, W), about [-1, 1].
    ///
    /// # Errors
    /// If memory runs out or `between` says stop.
    pub fn forward(&self, z: &Tensor, between: Between<'_>) -> Result<Tensor> {
        let mut x = self.middle.forward(&z.apply(&self.conv_in)?)?;
        between()?;
        for level in &self.levels {
            for block in &level.blocks {
                x = x.apply(block)?;
                between()?;
            }
            if let Some(conv) = &level.resample {
                let (_, _, height, width) = x.dims4()?;
                x = x.upsample_nearest2d(2 * height, 2 * width)?.apply(conv)?;
            }
        }
        Ok(x.apply(&self.norm_out)?.silu()?.apply(&self.conv_out)?)
    }
}
