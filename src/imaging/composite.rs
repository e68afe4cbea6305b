//! A fill at inference size back into the picture at its original size.

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

use super::ImagingError;
use super::mask::binary::{BinaryMask, PixelBox};
use super::mask::{ProcessedMask, feather};
use super::resize::resize_lanczos;
use crate::model::mask_recipe::MaskRecipe;

/// Where the inference picture lies in the original: all of it, or the box of crop mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Placement {
    /// The original's width and height in pixels.
    pub image_size: (u32, u32),
    /// The part of the original that was inferred, in its pixels.
    pub region: PixelBox,
    /// The inference picture's width and height in pixels.
    pub inference_size: (u32, u32),
}

impl Placement {
    /// The whole picture at an inference size.
    pub const fn whole(image_size: (u32, u32), inference_size: (u32, u32)) -> Self {
        let region = PixelBox::whole(image_size.0, image_size.1);
        Self {
            image_size,
            region,
            inference_size,
        }
    }

    /// The inference pixel that covers the centre of an original pixel; `None` outside the region.
    pub fn inference_pixel(&self, x: u32, y: u32) -> Option<(u32, u32)> {
        let along = |at: u32, start: u32, length: u32, inference: u32| {
            let offset = at.checked_sub(start).filter(|&offset| offset < length)?;
            // (offset + 1/2) * inference / length, rounded down, in whole numbers.
            let scaled = (2 * u64::from(offset) + 1) * u64::from(inference);
            Some((scaled / (2 * u64::from(length))) as u32)
        };
        let PixelBox {
            x: left,
            y: top,
            width,
            height,
        } = self.region;
        Some((
            along(x, left, width, self.inference_size.0)?,
            along(y, top, height, self.inference_size.1)?,
        ))
    }

    /// Original pixels along one inference pixel, the mean of both directions: what a radius in
    /// inference pixels is multiplied by to be shown in original ones.
    pub fn original_px_per_inference_px(&self) -> f64 {
        let across = f64::from(self.region.width) / f64::from(self.inference_size.0.max(1));
        let down = f64::from(self.region.height) / f64::from(self.inference_size.1.max(1));
        f64::midpoint(across, down)
    }
}

/// The composite's weight of every original pixel, 0 (the original) to 255 (the fill).
///
/// The grown mask is feathered at inference size, and the feather is brought to the original's size
/// linearly. Then it is forced to 0 where the pixel's centre lies outside the grown mask (and outside
/// the region), and to 255 where it lies in the cleaned mask before growing.
///
/// # Errors
/// When the mask is not of the inference size.
pub fn composite_weights(
    mask: &ProcessedMask,
    recipe: &MaskRecipe,
    placement: &Placement,
) -> Result<GrayImage, ImagingError> {
    check_size("mask", mask.grown.size(), placement.inference_size)?;
    check_size(
        "cleaned mask",
        mask.cleaned.size(),
        placement.inference_size,
    )?;
    let has_feather = recipe.feather_sigma_px > 0.0;
    let feathered = feather(&mask.grown, recipe.feather_sigma_px);
    let (width, height) = placement.image_size;
    let mut weights = vec![0_u8; width as usize * height as usize];
    weights
        .par_chunks_mut((width as usize).max(1))
        .zip(0_u32..height)
        .for_each(|(row, y)| {
            for (x, weight) in (0_u32..).zip(row) {
                *weight = match placement.inference_pixel(x, y) {
                    Some((u, v)) if mask.cleaned.is_white(u, v) => 255,
                    Some((u, v)) if !mask.grown.is_white(u, v) => 0,
                    Some(_) if has_feather => linear(&feathered, placement, x, y),
                    Some(_) => 255,
                    None => 0,
                };
            }
        });
    Ok(
        GrayImage::from_raw(width, height, weights)
            .unwrap_or_else(|| GrayImage::new(width, height)),
    )
}

/// The feather at an original pixel's centre, linearly between the centres of inference pixels.
fn linear(feathered: &GrayImage, placement: &Placement, x: u32, y: u32) -> u8 {
    let along = |at: u32, start: u32, length: u32, inference: u32| {
        let scale = f64::from(inference) / f64::from(length);
        let last = f64::from(inference.saturating_sub(1));
        let place = ((f64::from(at - start) + 0.5) * scale - 0.5).clamp(0.0, last);
        let first = place.floor();
        (
            first as u32,
            (first as u32 + 1).min(last as u32),
            place - first,
        )
    };
    let PixelBox {
        x: left,
        y: top,
        width,
        height,
    } = placement.region;
    let (u0, u1, across) = along(x, left, width, placement.inference_size.0);
    let (v0, v1, down) = along(y, top, height, placement.inference_size.1);
    let at = |u: u32, v: u32| f64::from(feathered.get_pixel(u, v).0[0]);
    let above = at(u0, v0) + (at(u1, v0) - at(u0, v0)) * across;
    let below = at(u0, v1) + (at(u1, v1) - at(u0, v1)) * across;
    (above + (below - above) * down).round() as u8
}

/// The original with the fill blended in. `fill` is the raw fill at inference size; it is brought to
/// the region's size by Lanczos. A pixel of weight 0 is the original's to the bit, one of weight 255
/// the fill's; between, each channel is `(original · (255 − w) + fill · w) / 255`, rounded.
///
/// # Errors
/// When original, fill or weights are not of the placement's sizes.
pub fn composite(
    original: &RgbImage,
    fill: &RgbImage,
    weights: &GrayImage,
    placement: &Placement,
) -> Result<RgbImage, ImagingError> {
    check_size("image", original.dimensions(), placement.image_size)?;
    check_size("fill", fill.dimensions(), placement.inference_size)?;
    check_size("weights", weights.dimensions(), placement.image_size)?;
    let PixelBox {
        x: left,
        y: top,
        width,
        height,
    } = placement.region;
    let (image_width, image_height) = placement.image_size;
    if placement.region.right() > image_width || placement.region.bottom() > image_height {
        return Err(ImagingError::SizeMismatch {
            what: "the crop's far corner",
            found: (placement.region.right(), placement.region.bottom()),
            expected: placement.image_size,
        });
    }
    let fill = resize_lanczos(fill, width, height);
    let mut out = original.clone();
    let row_bytes = image_width as usize * 3;
    let rows = out.par_chunks_exact_mut(row_bytes).skip(top as usize);
    rows.zip(fill.par_chunks_exact(width as usize * 3))
        .zip(
            weights
                .par_chunks_exact(image_width as usize)
                .skip(top as usize),
        )
        .for_each(|((out, fill), weights)| {
            let out = out.chunks_exact_mut(3).skip(left as usize);
            let weights = weights.iter().skip(left as usize);
            for ((out, fill), &weight) in out.zip(fill.chunks_exact(3)).zip(weights) {
                for (out, &fill) in out.iter_mut().zip(fill) {
                    *out = blended(*out, fill, weight);
                }
            }
        });
    Ok(out)
}

/// `(original · (255 − w) + fill · w) / 255`, rounded to nearest.
fn blended(original: u8, fill: u8, weight: u8) -> u8 {
    let weight = u32::from(weight);
    let sum = u32::from(original) * (255 - weight) + u32::from(fill) * weight;
    ((sum + 127) / 255) as u8
}

/// The picture with what is to be repainted in mid grey: how the model is shown it. Both of one size.
///
/// # Errors
/// When the sizes differ.
pub fn masked_picture(image: &RgbImage, mask: &BinaryMask) -> Result<RgbImage, ImagingError> {
    check_size("mask", mask.size(), image.dimensions())?;
    let mut out = image.clone();
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        if mask.is_white(x, y) {
            pixel.0 = [128; 3];
        }
    }
    Ok(out)
}

fn check_size(
    what: &'static str,
    found: (u32, u32),
    expected: (u32, u32),
) -> Result<(), ImagingError> {
    if found == expected {
        Ok(())
    } else {
        Err(ImagingError::SizeMismatch {
            what,
            found,
            expected,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use image::{Luma, Rgb};

    use super::super::mask::process;
    use super::*;

    fn photo(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 7 + y) as u8, (x ^ y) as u8, (y * 5) as u8])
        })
    }

    fn grey(width: u32, height: u32) -> GrayImage {
        GrayImage::from_fn(width, height, |x, y| {
            let inside = x.abs_diff(width / 2) < width / 6 && y.abs_diff(height / 2) < height / 7;
            Luma([if inside { 255 } else { 0 }])
        })
    }

    fn recipe() -> MaskRecipe {
        MaskRecipe {
            dilate_px: 6.0,
            feather_sigma_px: 3.0,
            ..MaskRecipe::default()
        }
    }

    #[test]
    fn outside_the_grown_mask_every_pixel_is_the_original_s() {
        for (image_size, region, inference) in [
            ((128, 96), PixelBox::whole(128, 96), (128, 96)),
            ((301, 227), PixelBox::whole(301, 227), (128, 96)),
            (
                (301, 227),
                PixelBox {
                    x: 37,
                    y: 50,
                    width: 140,
                    height: 111,
                },
                (160, 128),
            ),
        ] {
            let placement = Placement {
                image_size,
                region,
                inference_size: inference,
            };
            let mask = process(&grey(inference.0, inference.1), &recipe());
            let weights = composite_weights(&mask, &recipe(), &placement).unwrap();
            let original = photo(image_size.0, image_size.1);
            let fill = RgbImage::from_pixel(inference.0, inference.1, Rgb([255, 0, 255]));
            let out = composite(&original, &fill, &weights, &placement).unwrap();
            let (mut outside, mut inside, mut between) = (0, 0, 0);
            for (x, y, pixel) in out.enumerate_pixels() {
                let at = placement.inference_pixel(x, y);
                if !at.is_some_and(|(u, v)| mask.grown.is_white(u, v)) {
                    assert_eq!(pixel, original.get_pixel(x, y), "{x},{y}");
                    outside += 1;
                } else if at.is_some_and(|(u, v)| mask.cleaned.is_white(u, v)) {
                    assert_eq!(pixel.0, [255, 0, 255], "no residue at {x},{y}");
                    inside += 1;
                } else {
                    let weight = weights.get_pixel(x, y).0[0];
                    // About half at a straight edge, less at a corner.
                    assert!(weight >= 64, "{x},{y}: {weight}");
                    between += 1;
                }
            }
            assert!(
                outside > 1000 && inside > 200 && between > 200,
                "{image_size:?}"
            );
        }
    }

    #[test]
    fn at_the_original_s_own_size_the_weight_is_the_feathered_mask() {
        let mask = process(&grey(128, 96), &recipe());
        let placement = Placement::whole((128, 96), (128, 96));
        let weights = composite_weights(&mask, &recipe(), &placement).unwrap();
        let feathered = mask.feathered(&recipe());
        for (x, y, weight) in weights.enumerate_pixels() {
            if mask.grown.is_white(x, y) && !mask.cleaned.is_white(x, y) {
                assert_eq!(weight, feathered.get_pixel(x, y), "{x},{y}");
            }
        }
    }

    #[test]
    fn a_hard_edge_takes_the_fill_up_to_the_grown_edge() {
        let recipe = MaskRecipe {
            feather_sigma_px: 0.0,
            ..recipe()
        };
        let mask = process(&grey(128, 96), &recipe);
        let placement = Placement::whole((256, 192), (128, 96));
        let weights = composite_weights(&mask, &recipe, &placement).unwrap();
        for (x, y, weight) in weights.enumerate_pixels() {
            let expected = if mask.grown.is_white(x / 2, y / 2) {
                255
            } else {
                0
            };
            assert_eq!(weight.0[0], expected, "{x},{y}");
        }
    }

    #[test]
    fn blending_is_exact_at_both_ends() {
        for value in 0..=255 {
            assert_eq!(blended(value, 255 - value, 0), value);
            assert_eq!(blended(255 - value, value, 255), value);
            assert_eq!(blended(value, value, 77), value);
        }
        assert_eq!(blended(0, 255, 128), 128);
    }

    #[test]
    fn a_fill_of_another_size_is_refused() {
        let placement = Placement::whole((64, 64), (64, 64));
        let weights = GrayImage::new(64, 64);
        let error = composite(&photo(64, 64), &photo(48, 64), &weights, &placement).unwrap_err();
        assert_eq!(error.to_string(), "fill is 48x64 but 64x64 was expected");
    }
}
