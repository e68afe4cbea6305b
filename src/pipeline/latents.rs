//! Between pictures and tokens: packing of latents and masks, pixels in and out, previews.

use super::error::{PipelineError, Result};
use candle_core::{DType, Device, Tensor};
use image::{GrayImage, RgbImage};

/// Pixels on a side of one token: 8 for the autoencoder, 2 for the packing.
pub const TOKEN_PX: u32 = 16;

/// (1, C, H, W) to (1, H/2 · W/2, C · 4).
///
/// # Errors
/// If H or W is odd.
pub fn pack(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    Ok(x.reshape((batch, channels, height / 2, 2, width / 2, 2))?
        .permute((0, 2, 4, 1, 3, 5))?
        .reshape((batch, height * width / 4, channels * 4))?)
}

/// The inverse of [`pack`]; `height` and `width` are those of the result.
///
/// # Errors
/// If the sizes do not fit.
pub fn unpack(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, _, channels) = x.dims3()?;
    Ok(
        x.reshape((batch, height / 2, width / 2, channels / 4, 2, 2))?
            .permute((0, 3, 1, 4, 2, 5))?
            .reshape((batch, channels / 4, height, width))?,
    )
}

/// A mask (1, 1, H, W) of 0 and 1 to (1, tokens, 256): all its pixels, in the transformer's order.
///
/// # Errors
/// If H or W is no multiple of 16.
pub fn pack_mask(mask: &Tensor) -> Result<Tensor> {
    let (batch, _, height, width) = mask.dims4()?;
    let mask = mask
        .reshape((batch, height / 8, 8, width / 8, 8))?
        .permute((0, 2, 4, 1, 3))?
        .reshape((batch, 64, height / 8, width / 8))?;
    pack(&mask)
}

/// A picture as (1, 3, H, W) in [-1, 1], float32.
///
/// # Errors
/// If memory runs out.
pub fn image_tensor(image: &RgbImage) -> Result<Tensor> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let values: Vec<f32> = image
        .as_raw()
        .iter()
        .map(|&v| f32::from(v) / 255.0 * 2.0 - 1.0)
        .collect();
    Ok(Tensor::from_vec(values, (height, width, 3), &Device::Cpu)?
        .permute((2, 0, 1))?
        .unsqueeze(0)?
        .contiguous()?)
}

/// A mask as (1, 1, H, W) of 0 and 1, float32: 1 (repaint) where it is 128 or more, which is where
/// diffusers binarizes.
///
/// # Errors
/// If memory runs out.
pub fn mask_tensor(mask: &GrayImage) -> Result<Tensor> {
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    let values: Vec<f32> = mask
        .as_raw()
        .iter()
        .map(|&v| if v >= 128 { 1.0 } else { 0.0 })
        .collect();
    Ok(Tensor::from_vec(
        values,
        (1, 1, height, width),
        &Device::Cpu,
    )?)
}

/// A decoded picture (1, 3, H, W) in 8 bits, rounded to the nearest, ties to even.
///
/// # Errors
/// [`PipelineError::NotFinite`] after `step` if a value is not finite.
pub fn to_image(decoded: &Tensor, step: usize) -> Result<RgbImage> {
    let (_, _, height, width) = decoded.dims4()?;
    let values = decoded
        .to_dtype(DType::F32)?
        .squeeze(0)?
        .permute((1, 2, 0))?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let pixels = values
        .into_iter()
        .map(|v| {
            if v.is_finite() {
                let unit = (v * 0.5 + 0.5).clamp(0.0, 1.0);
                Ok((unit * 255.0).round_ties_even() as u8)
            } else {
                Err(PipelineError::NotFinite {
                    what: "a pixel",
                    step,
                })
            }
        })
        .collect::<Result<Vec<u8>>>()?;
    RgbImage::from_raw(width as u32, height as u32, pixels).ok_or_else(|| {
        PipelineError::Compute("a decoded picture has another size than its pixels".to_owned())
    })
}

/// A linear map from latent channels to RGB, to show a fill under way without the decoder.
///
/// It is fitted by least squares (with a little ridge) on the conditioning picture itself: its
/// latents against the mean colours of its 8-pixel squares. So it holds for any autoencoder, and
/// is about as good as a linear map can be for this picture.
#[derive(Debug, Clone)]
pub struct PreviewMap {
    /// One row of factors per latent channel, then the offset.
    factors: Vec<[f64; 3]>,
}

impl PreviewMap {
    /// Fits the map. `latents` is (1, C, H/8, W/8) as the autoencoder gives them, `image` the
    /// picture (1, 3, H, W) in [-1, 1] that they came from.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn fit(latents: &Tensor, image: &Tensor) -> Result<Self> {
        let (_, channels, _, _) = latents.dims4()?;
        let rows = rows_of(latents)?;
        let colours = rows_of(&image.avg_pool2d(8)?)?;
        let n = channels + 1;
        let mut normal = vec![vec![0.0_f64; n + 3]; n];
        for (row, colour) in rows.iter().zip(&colours) {
            let at = |i: usize| row.get(i).map_or(1.0, |&v| f64::from(v));
            for (i, line) in normal.iter_mut().enumerate() {
                for (j, sum) in line.iter_mut().enumerate() {
                    let right = match j.checked_sub(n) {
                        Some(c) => colour.get(c).map_or(0.0, |&v| f64::from(v)),
                        None => at(j),
                    };
                    *sum += at(i) * right;
                }
            }
        }
        let ridge = 1e-4 * rows.len() as f64 + 1e-9;
        for (i, line) in normal.iter_mut().enumerate() {
            if let Some(diagonal) = line.get_mut(i) {
                *diagonal += ridge;
            }
        }
        Ok(Self {
            factors: solve(normal),
        })
    }

    /// Latents (1, C, H/8, W/8) as a picture of that size.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn apply(&self, latents: &Tensor) -> Result<RgbImage> {
        let (_, _, height, width) = latents.dims4()?;
        let pixels = rows_of(latents)?
            .iter()
            .flat_map(|row| {
                let mut rgb = [0.0_f64; 3];
                for (i, factors) in self.factors.iter().enumerate() {
                    let value = row.get(i).map_or(1.0, |&v| f64::from(v));
                    for (sum, factor) in rgb.iter_mut().zip(factors) {
                        *sum += value * factor;
                    }
                }
                rgb.map(|v| ((v * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8)
            })
            .collect();
        RgbImage::from_raw(width as u32, height as u32, pixels)
            .ok_or_else(|| PipelineError::Compute("a preview has a wrong size".to_owned()))
    }
}

/// (1, C, H, W) as one row of C values a pixel.
fn rows_of(x: &Tensor) -> Result<Vec<Vec<f32>>> {
    Ok(x.to_dtype(DType::F32)?
        .to_device(&Device::Cpu)?
        .squeeze(0)?
        .flatten_from(1)?
        .t()?
        .to_vec2::<f32>()?)
}

/// Solves a symmetric positive system with three right-hand sides by Gauss–Jordan with pivots.
fn solve(mut lines: Vec<Vec<f64>>) -> Vec<[f64; 3]> {
    let n = lines.len();
    for column in 0..n {
        let pivot = (column..n)
            .max_by(|&a, &b| lines[a][column].abs().total_cmp(&lines[b][column].abs()))
            .unwrap_or(column);
        lines.swap(column, pivot);
        let top = lines[column].clone();
        if top[column] == 0.0 {
            continue;
        }
        for (i, line) in lines.iter_mut().enumerate() {
            if i != column {
                let factor = line[column] / top[column];
                for (value, above) in line.iter_mut().zip(&top) {
                    *value -= factor * above;
                }
            }
        }
    }
    lines
        .iter()
        .enumerate()
        .map(|(i, line)| {
            [0, 1, 2].map(|c| {
                if line[i] == 0.0 {
                    0.0
                } else {
                    line[n + c] / line[i]
                }
            })
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    #[test]
    fn unpacking_undoes_packing() {
        let x = Tensor::arange(0_f32, 16.0 * 6.0 * 4.0, &Device::Cpu)
            .unwrap()
            .reshape((1, 16, 6, 4))
            .unwrap();
        let packed = pack(&x).unwrap();
        assert_eq!(packed.dims(), [1, 6, 64]);
        let back = unpack(&packed, 6, 4).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(&back), flat(&x));
    }

    #[test]
    fn every_pixel_of_a_mask_reaches_the_token_that_covers_it() {
        let mut mask = GrayImage::new(48, 32);
        mask.put_pixel(17, 3, image::Luma([255]));
        let packed = pack_mask(&mask_tensor(&mask).unwrap()).unwrap();
        assert_eq!(packed.dims(), [1, 6, 256]);
        let rows = packed.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
        let set: Vec<usize> = (0..6).filter(|&i| rows[i].contains(&1.0)).collect();
        assert_eq!(set, [1]);
    }

    #[test]
    fn a_grey_of_128_is_repainted_and_127_is_not() {
        let mask = GrayImage::from_raw(2, 1, vec![127, 128]).unwrap();
        let values = mask_tensor(&mask).unwrap();
        let values = values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values, [0.0, 1.0]);
    }

    #[test]
    fn a_pixel_that_is_not_finite_is_named_with_its_step() {
        let bad = Tensor::new(&[f32::NAN, 0.0, 0.0], &Device::Cpu)
            .unwrap()
            .reshape((1, 3, 1, 1))
            .unwrap();
        let error = to_image(&bad, 4).unwrap_err();
        assert_eq!(error.to_string(), "a pixel is not finite at step 4");
    }

    #[test]
    fn a_linear_autoencoder_is_previewed_in_its_own_colours() {
        let image = RgbImage::from_fn(64, 64, |x, y| {
            let (x, y) = (x / 8, y / 8);
            image::Rgb([x * 30, y * 25, x * y * 4].map(|v| v as u8))
        });
        let pixels = image_tensor(&image).unwrap();
        // Latents that are a linear map of the mean colours, in 16 channels.
        let means = pixels.avg_pool2d(8).unwrap();
        let mix: Vec<f32> = (0..48)
            .map(|i| (i as f32 * i as f32 * 0.37).sin())
            .collect();
        let mix = Tensor::from_vec(mix, (16, 3), &Device::Cpu).unwrap();
        let flat = means.squeeze(0).unwrap().flatten_from(1).unwrap();
        let latents = mix.matmul(&flat).unwrap().reshape((1, 16, 8, 8)).unwrap();
        let map = PreviewMap::fit(&latents, &pixels).unwrap();
        let preview = map.apply(&latents).unwrap();
        for (x, y, pixel) in preview.enumerate_pixels() {
            let original = image.get_pixel(x * 8, y * 8);
            for c in 0..3 {
                let difference = i32::from(pixel[c]) - i32::from(original[c]);
                assert!(difference.abs() <= 2, "{x} {y} {pixel:?} {original:?}");
            }
        }
    }
}
