//! Group norm, accurate or with the rounding of `PyTorch` on a CPU.
//!
//! A picture reaches diffusers' encoder with its channels last in memory, and so stays until the
//! first block that changes the number of channels. For that layout `PyTorch`'s CPU kernel
//! (`GroupNormKernelImplChannelsLastInternal` in `group_norm_kernel.cpp`) adds up all values and
//! all squares of a channel one after the other in float32 and takes the difference of the means:
//! on one thread and 272 x 304 pixels the encoder's output is off by 2e-3 of its largest value from
//! the same network in float64. With other layouts, and on a GPU, it is exact to 1e-5, as ours is.
//! Whoever wants to reproduce such a CPU run number for number needs its rounding.

use super::error::Result;
use super::weights::Weights;
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::GroupNorm;
use rayon::prelude::*;

const EPSILON: f32 = 1e-6;

/// How sums over a group are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SumOrder {
    /// candle's own, in two passes.
    Accurate,
    /// One value after the other, as `PyTorch` does on one CPU thread with channels last.
    Sequential,
}

/// A group norm layer.
pub struct Norm {
    accurate: GroupNorm,
    /// Weight and bias, where sums are sequential.
    sequential: Option<(Vec<f32>, Vec<f32>)>,
    groups: usize,
}

impl Norm {
    /// Loads `{name}.weight` and `{name}.bias`. Sums are sequential only on the CPU.
    ///
    /// # Errors
    /// If a tensor is missing, or its channels are no multiple of `groups`.
    pub fn load(
        weights: &Weights,
        name: &str,
        groups: usize,
        order: SumOrder,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let shape = weights.info(&format!("{name}.weight"))?.shape.clone();
        let channels = shape.iter().product();
        let get =
            |part: &str| weights.tensor(&format!("{name}.{part}"), &[channels], dtype, device);
        let (weight, bias) = (get("weight")?, get("bias")?);
        let sequential = if order == SumOrder::Sequential && device.is_cpu() {
            let values = |x: &Tensor| x.to_dtype(DType::F32)?.to_vec1::<f32>();
            Some((values(&weight)?, values(&bias)?))
        } else {
            None
        };
        Ok(Self {
            accurate: GroupNorm::new(weight, bias, channels, groups, f64::from(EPSILON))?,
            sequential,
            groups,
        })
    }
}

impl Module for Norm {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let Some((weight, bias)) = &self.sequential else {
            return x.apply(&self.accurate);
        };
        let (_, channels, height, width) = x.dims4()?;
        let pixels = height * width;
        let mut values = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let sums: Vec<(f32, f32)> = values
            .par_chunks(pixels)
            .map(|plane| {
                plane.iter().fold((0.0_f32, 0.0_f32), |(sum, squares), &v| {
                    (sum + v, v.mul_add(v, squares))
                })
            })
            .collect();
        let members = channels / self.groups;
        let share = 1.0 / (members * pixels) as f32;
        let moments: Vec<(f32, f32)> = sums
            .chunks(members)
            .map(|group| {
                let sum = group.iter().fold(0.0_f32, |a, s| a + s.0);
                let squares = group.iter().fold(0.0_f32, |a, s| a + s.1);
                let mean = sum * share;
                let variance = (squares * share - mean * mean).max(0.0);
                (mean, 1.0 / (variance + EPSILON).sqrt())
            })
            .collect();
        values
            .par_chunks_mut(pixels)
            .zip(weight.par_iter().zip(bias))
            .enumerate()
            .for_each(|(channel, (plane, (&weight, &bias)))| {
                let (mean, inverse) = moments
                    .get(channel / members)
                    .copied()
                    .unwrap_or((0.0, 1.0));
                let scale = inverse * weight;
                let offset = bias - scale * mean;
                for value in plane {
                    *value = *value * scale + offset;
                }
            });
        Tensor::from_vec(values, x.shape(), &Device::Cpu)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;
    use std::path::Path;

    /// A group norm with the layer's weights, all in float64.
    fn in_float64(values: &[f32], pixels: usize, weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let planes = values.chunks(pixels).zip(weight.iter().zip(bias));
        planes
            .flat_map(|(plane, (&weight, &bias))| {
                let count = plane.len() as f64;
                let mean = plane.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
                let squares = plane.iter().map(|&v| (f64::from(v) - mean).powi(2));
                let deviation = (squares.sum::<f64>() / count + f64::from(EPSILON)).sqrt();
                let (weight, bias) = (f64::from(weight), f64::from(bias));
                plane
                    .iter()
                    .map(move |&v| (f64::from(v) - mean) / deviation * weight + bias)
            })
            .collect()
    }

    #[test]
    fn what_ships_is_the_norm_in_float64_also_on_many_pixels() {
        let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-fill/bundle");
        let weights = Weights::open(&bundle.join("ae.safetensors")).unwrap();
        let name = "encoder.down.0.block.0.norm1";
        let layer = |part: &str| {
            let name = format!("{name}.{part}");
            let values = weights.tensor(&name, &[32], DType::F32, &Device::Cpu);
            values.unwrap().to_vec1::<f32>().unwrap()
        };
        let (height, width) = (272, 304);
        // Bright planes whose structure stands out of them by a hundredth of their brightness.
        let values: Vec<f32> = (0..32 * height * width)
            .map(|i| 1.0 + 0.01 * (i as f32 * 0.7).sin())
            .collect();
        let expected = in_float64(&values, height * width, &layer("weight"), &layer("bias"));
        let largest = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let x = Tensor::from_vec(values, (1, 32, height, width), &Device::Cpu).unwrap();
        let off = |order| {
            let norm = Norm::load(&weights, name, 32, order, DType::F32, &Device::Cpu).unwrap();
            let y = norm.forward(&x).unwrap().flatten_all().unwrap();
            let y = y.to_vec1::<f32>().unwrap();
            let differences = y
                .iter()
                .zip(&expected)
                .map(|(a, b)| (f64::from(*a) - b).abs());
            differences.fold(0.0_f64, f64::max) / largest
        };
        let (accurate, sequential) = (off(SumOrder::Accurate), off(SumOrder::Sequential));
        assert!(accurate < 1e-4, "{accurate:e}");
        assert!(sequential > 10.0 * accurate, "{sequential:e}, {accurate:e}");
    }

    #[test]
    fn both_orders_agree_on_few_pixels_and_part_on_many() {
        let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-fill/bundle");
        let weights = Weights::open(&bundle.join("ae.safetensors")).unwrap();
        let difference = |side: usize| {
            // A bright plane with a little structure, as skies are: its mean is far from 0.
            let values: Vec<f32> = (0..32 * side * side)
                .map(|i| 4.0 + 0.1 * (i as f32 * 0.7).sin())
                .collect();
            let x = Tensor::from_vec(values, (1, 32, side, side), &Device::Cpu).unwrap();
            let norm = |order| {
                let name = "encoder.down.0.block.0.norm1";
                let norm = Norm::load(&weights, name, 32, order, DType::F32, &Device::Cpu);
                let y = norm.unwrap().forward(&x).unwrap();
                y.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            };
            let (a, b) = (norm(SumOrder::Accurate), norm(SumOrder::Sequential));
            a.iter()
                .zip(&b)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max)
        };
        assert!(difference(4) < 5e-3, "{}", difference(4));
        assert!(difference(256) > 1e-2, "{}", difference(256));
    }
}
