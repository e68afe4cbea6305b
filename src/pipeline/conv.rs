//! Convolution on the CPU as one matrix product per strip of rows.
//!
//! Each strip's neighbourhoods are laid out as the columns of a matrix (row by row, so that
//! copying is moving memory), and multiplied by the kernel on all cores. Strips bound the memory,
//! so the picture's size does not.

use super::error::{PipelineError, Result};
use super::weights::Weights;
use candle_core::{DType, Device, Module, Tensor};
use rayon::prelude::*;

/// Most bytes that the neighbourhoods of one strip may take.
const STRIP_BYTES: usize = 16 << 20;

/// A two-dimensional convolution with a square kernel.
pub struct Conv {
    /// (outputs, inputs, side, side).
    kernel: Tensor,
    /// (outputs).
    bias: Tensor,
    /// Rows and columns of zeros before the picture, and after it.
    padding: (usize, usize),
    stride: usize,
}

impl Conv {
    /// Loads `{name}.weight` and `{name}.bias`.
    ///
    /// # Errors
    /// If a tensor is missing or has a wrong shape, or memory runs out.
    pub fn load(
        weights: &Weights,
        name: &str,
        padding: (usize, usize),
        stride: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let weight_name = format!("{name}.weight");
        let shape = weights.info(&weight_name)?.shape.clone();
        let [outputs, _, height, width] = shape[..] else {
            return Err(PipelineError::bad_header(
                weights.path(),
                format!("tensor {weight_name} has shape {shape:?}, expected four dimensions"),
            ));
        };
        if height != width {
            return Err(PipelineError::bad_header(
                weights.path(),
                format!("tensor {weight_name} has shape {shape:?}, expected a square kernel"),
            ));
        }
        Ok(Self {
            kernel: weights.tensor(&weight_name, &shape, dtype, device)?,
            bias: weights.tensor(&format!("{name}.bias"), &[outputs], dtype, device)?,
            padding,
            stride,
        })
    }

    /// Elsewhere than on the CPU: candle's own.
    fn on_device(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (before, after) = self.padding;
        let x = x
            .pad_with_zeros(2, before, after)?
            .pad_with_zeros(3, before, after)?;
        let bias = self.bias.reshape((1, (), 1, 1))?;
        x.conv2d(&self.kernel, 0, self.stride, 1, 1)?
            .broadcast_add(&bias)
    }
}

/// The sizes of one convolution.
#[derive(Clone, Copy)]
struct Sizes {
    side: usize,
    stride: usize,
    before: usize,
    height: usize,
    width: usize,
    out_width: usize,
}

impl Sizes {
    /// The values under the kernel's cell (`ky`, `kx`) for one row of the result.
    fn copy_row(&self, plane: &[f32], out: &mut [f32], y: usize, ky: usize, kx: usize) {
        let row = (y * self.stride + ky)
            .checked_sub(self.before)
            .filter(|&row| row < self.height)
            .and_then(|row| plane.get(row * self.width..(row + 1) * self.width));
        let Some(row) = row else {
            out.fill(0.0);
            return;
        };
        if self.stride == 1 {
            // Column x of the result sees column x + kx - before.
            let left = self.before.saturating_sub(kx).min(out.len());
            let from = kx.saturating_sub(self.before);
            let count = (self.width.saturating_sub(from)).min(out.len() - left);
            let (edge, rest) = out.split_at_mut(left);
            let (inside, right) = rest.split_at_mut(count);
            edge.fill(0.0);
            if let Some(values) = row.get(from..from + count) {
                inside.copy_from_slice(values);
            }
            right.fill(0.0);
            return;
        }
        for (x, value) in out.iter_mut().enumerate() {
            *value = (x * self.stride + kx)
                .checked_sub(self.before)
                .and_then(|column| row.get(column))
                .copied()
                .unwrap_or(0.0);
        }
    }

    /// (inputs · side², rows · `out_width`) for the result's rows from `top` on.
    fn neighbourhoods(&self, pixels: &[f32], top: usize, rows: usize) -> Vec<f32> {
        let cells = self.side * self.side;
        let planes = pixels.len() / (self.height * self.width);
        let line = rows * self.out_width;
        let mut columns = vec![0_f32; planes * cells * line];
        columns
            .par_chunks_mut(line)
            .enumerate()
            .for_each(|(i, out)| {
                let (channel, cell) = (i / cells, i % cells);
                let start = channel * self.height * self.width;
                let plane = pixels.get(start..start + self.height * self.width);
                for (y, out) in out.chunks_mut(self.out_width).enumerate() {
                    let (ky, kx) = (cell / self.side, cell % self.side);
                    self.copy_row(plane.unwrap_or_default(), out, top + y, ky, kx);
                }
            });
        columns
    }
}

impl Module for Conv {
    /// (1, inputs, H, W) to (1, outputs, H', W').
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        if !x.device().is_cpu() {
            return self.on_device(x);
        }
        let (batch, inputs, height, width) = x.dims4()?;
        let (outputs, expected, side, _) = self.kernel.dims4()?;
        let (before, after) = self.padding;
        let extent = |length: usize| {
            (length + before + after)
                .checked_sub(side)
                .map(|room| room / self.stride + 1)
        };
        let (Some(out_height), Some(out_width)) = (extent(height), extent(width)) else {
            candle_core::bail!("a picture of {width}x{height} is smaller than a kernel of {side}");
        };
        if batch != 1 || inputs != expected {
            candle_core::bail!("{batch} pictures of {inputs} channels, expected 1 of {expected}");
        }
        let kernel = self.kernel.reshape((outputs, inputs * side * side))?;
        let bias = self.bias.reshape((outputs, 1))?;
        if side == 1 && self.stride == 1 {
            let product = kernel.matmul(&x.contiguous()?.reshape((inputs, height * width))?)?;
            return product
                .broadcast_add(&bias)?
                .reshape((1, outputs, height, width));
        }
        let sizes = Sizes {
            side,
            stride: self.stride,
            before,
            height,
            width,
            out_width,
        };
        let pixels = x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let row_bytes = inputs * side * side * out_width * 4;
        let strip = (STRIP_BYTES / row_bytes.max(1)).clamp(1, out_height);
        let strips = (0..out_height)
            .step_by(strip)
            .map(|top| {
                let rows = strip.min(out_height - top);
                let columns = sizes.neighbourhoods(&pixels, top, rows);
                let shape = (inputs * side * side, rows * out_width);
                let columns = Tensor::from_vec(columns, shape, &Device::Cpu)?;
                kernel.matmul(&columns)?.broadcast_add(&bias)
            })
            .collect::<candle_core::Result<Vec<_>>>()?;
        Tensor::cat(&strips, 1)?.reshape((1, outputs, out_height, out_width))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    fn wave(shape: &[usize], pitch: f32) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * pitch).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn flat(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    }

    #[test]
    fn strips_convolve_as_candle_does_whole() {
        // Kernel side, zeros before and after, stride: those that the autoencoder has, and others.
        for (side, padding, stride) in [
            (3, (1, 1), 1),
            (3, (0, 1), 2),
            (1, (0, 0), 1),
            (1, (0, 0), 2),
            (5, (2, 1), 1),
            (3, (1, 1), 2),
        ] {
            for (height, width) in [(9, 7), (8, 12), (5, 5)] {
                let conv = Conv {
                    kernel: wave(&[6, 4, side, side], 0.7),
                    bias: wave(&[6], 1.3),
                    padding,
                    stride,
                };
                let x = wave(&[1, 4, height, width], 0.31);
                let ours = conv.forward(&x).unwrap();
                let theirs = conv.on_device(&x).unwrap();
                assert_eq!(ours.dims(), theirs.dims(), "{side} {padding:?} {stride}");
                for (a, b) in flat(&ours).iter().zip(flat(&theirs)) {
                    assert!((a - b).abs() < 1e-4, "{side} {padding:?} {stride}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn a_picture_of_many_strips_is_seamless() {
        // 64 channels of 512 columns: two rows of neighbourhoods are more than a megabyte.
        let conv = Conv {
            kernel: wave(&[3, 64, 3, 3], 0.7),
            bias: wave(&[3], 1.3),
            padding: (1, 1),
            stride: 1,
        };
        let x = wave(&[1, 64, 40, 512], 0.013);
        const { assert!(64 * 9 * 512 * 4 * 40 > 2 * STRIP_BYTES) }
        let (ours, theirs) = (conv.forward(&x).unwrap(), conv.on_device(&x).unwrap());
        for (a, b) in flat(&ours).iter().zip(flat(&theirs)) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let conv = Conv {
            kernel: wave(&[3, 4, 3, 3], 0.7),
            bias: wave(&[3], 1.3),
            padding: (0, 0),
            stride: 1,
        };
        assert!(conv.forward(&wave(&[1, 5, 8, 8], 1.0)).is_err());
        assert!(conv.forward(&wave(&[1, 4, 2, 8], 1.0)).is_err());
    }
}
