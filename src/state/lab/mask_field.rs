//! The mask of an open run as the canvas needs it: distances to the cleaned mask, and where it lies.

use super::result::RawPixel;
use crate::imaging::mask::components::despeck;
use crate::imaging::mask::{BinaryMask, DistanceField, ProcessedMask, binary, process};
use crate::imaging::resize::resize_area;
use crate::imaging::{GrayImage, ImagingError};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::PixelBox;

/// Distances to a cleaned mask at inference size, for the part of the original that the model was given.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskField {
    /// Pixels across and down, at inference size.
    pub size: [u32; 2],
    /// For each pixel, row by row: pixels to the nearest one of the cleaned mask; 0 on it, infinite where
    /// nothing is left of the mask.
    pub distance_px: Vec<f32>,
    /// For each pixel: what it was before clean-up.
    pub raw: Vec<RawPixel>,
    /// Where it lies in the original, in its pixels.
    pub region: PixelBox,
    /// The box of the grown mask in pixels of the original; the region if the mask is empty.
    pub mask_box: PixelBox,
}

impl MaskField {
    /// The field of a raw mask at the original's size: its part in `region` is brought to
    /// `inference_size` by area and cleaned there.
    ///
    /// # Errors
    /// When the region has no pixels or does not lie in the mask.
    pub fn new(
        raw: &GrayImage,
        recipe: &MaskRecipe,
        region: PixelBox,
        inference_size: (u32, u32),
    ) -> Result<Self, ImagingError> {
        let small = inference_mask(raw, region_of(region), inference_size)?;
        let mask = process(&small, recipe);
        let field = DistanceField::to_white(&mask.cleaned);
        Ok(Self {
            size: inference_size.into(),
            distance_px: field.distance_f32(),
            raw: raw_pixels(&mask.raw, &despeck(&mask.raw, recipe.min_component_px)),
            region,
            mask_box: mask_box(&mask, region, inference_size),
        })
    }
}

/// What each pixel was before clean-up: `kept` is the raw mask without the components that are dropped
/// for their size.
fn raw_pixels(raw: &BinaryMask, kept: &BinaryMask) -> Vec<RawPixel> {
    let (width, height) = raw.size();
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| match (raw.is_white(x, y), kept.is_white(x, y)) {
            (false, _) => RawPixel::Off,
            (true, true) => RawPixel::On,
            (true, false) => RawPixel::Speck,
        })
        .collect()
}

/// The same box in the type of the pixels' functions.
pub const fn region_of(
    PixelBox {
        x,
        y,
        width,
        height,
    }: PixelBox,
) -> binary::PixelBox {
    binary::PixelBox {
        x,
        y,
        width,
        height,
    }
}

/// The part of a raw mask that the model is given, at inference size by area, not yet thresholded.
///
/// # Errors
/// When the region has no pixels or does not lie in the mask.
pub fn inference_mask(
    raw: &GrayImage,
    region: binary::PixelBox,
    (width, height): (u32, u32),
) -> Result<GrayImage, ImagingError> {
    let right = region.x.saturating_add(region.width);
    let bottom = region.y.saturating_add(region.height);
    if right > raw.width() || bottom > raw.height() {
        return Err(ImagingError::SizeMismatch {
            what: "mask",
            found: raw.dimensions(),
            expected: (right, bottom),
        });
    }
    if region.width == 0 || region.height == 0 || width == 0 || height == 0 {
        return Err(ImagingError::NoPixels {
            what: "the part that is inferred",
            width,
            height,
        });
    }
    if (region.width, region.height) == raw.dimensions() {
        return Ok(resize_area(raw, width, height));
    }
    let part = image::imageops::crop_imm(raw, region.x, region.y, region.width, region.height);
    Ok(resize_area(&part.to_image(), width, height))
}

fn mask_box(mask: &ProcessedMask, region: PixelBox, (width, height): (u32, u32)) -> PixelBox {
    let Some(found) = mask.grown.bounding_box() else {
        return region;
    };
    let along = |start: u32, end: u32, length: u32, inner: u32| {
        let (length, inner) = (u64::from(length), u64::from(inner.max(1)));
        let from = u64::from(start) * length / inner;
        let to = (u64::from(end) * length).div_ceil(inner).min(length);
        (from as u32, (to - from) as u32)
    };
    let (x, box_width) = along(found.x, found.right(), region.width, width);
    let (y, box_height) = along(found.y, found.bottom(), region.height, height);
    PixelBox {
        x: region.x + x,
        y: region.y + y,
        width: box_width,
        height: box_height,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use image::Luma;

    const RECIPE: fn() -> MaskRecipe = || MaskRecipe {
        open_px: 0.0,
        dilate_px: 2.0,
        ..MaskRecipe::default()
    };

    fn square(size: u32, from: u32, to: u32) -> GrayImage {
        GrayImage::from_fn(size, size, |x, y| {
            Luma([if (from..to).contains(&x) && (from..to).contains(&y) {
                255
            } else {
                0
            }])
        })
    }

    #[test]
    fn what_clean_up_drops_is_told_from_what_it_keeps() {
        let mut raw = square(128, 40, 80);
        for (x, y) in [(2, 2), (3, 2), (2, 3), (3, 3)] {
            raw.put_pixel(x, y, Luma([255]));
        }
        let region = PixelBox {
            x: 0,
            y: 0,
            width: 128,
            height: 128,
        };
        let field = MaskField::new(&raw, &RECIPE(), region, (64, 64)).unwrap();
        let at = |x: usize, y: usize| field.raw[y * 64 + x];
        assert_eq!(
            [at(30, 30), at(1, 1), at(60, 60)],
            [RawPixel::On, RawPixel::Speck, RawPixel::Off]
        );
    }

    fn at(field: &MaskField, x: u32, y: u32) -> f32 {
        field.distance_px[(y * field.size[0] + x) as usize]
    }

    #[test]
    fn a_whole_picture_has_a_texel_for_each_inference_pixel() {
        let region = PixelBox {
            x: 0,
            y: 0,
            width: 128,
            height: 128,
        };
        let field = MaskField::new(&square(128, 40, 80), &RECIPE(), region, (64, 64)).unwrap();
        assert_eq!(field.size, [64, 64]);
        assert_eq!((at(&field, 20, 20), at(&field, 39, 39)), (0.0, 0.0));
        assert!((at(&field, 17, 25) - 3.0).abs() < 1e-6);
        // 20..40 at inference size, grown by 2, is 18..42: twice that in the original.
        assert_eq!(
            field.mask_box,
            PixelBox {
                x: 36,
                y: 36,
                width: 48,
                height: 48
            }
        );
        assert_eq!(field.region, region);
    }

    #[test]
    fn a_crop_lies_where_it_was_cut_out() {
        let region = PixelBox {
            x: 32,
            y: 48,
            width: 64,
            height: 64,
        };
        let field = MaskField::new(&square(128, 64, 80), &RECIPE(), region, (128, 128)).unwrap();
        assert_eq!((field.size, field.region), ([128, 128], region));
        // Original pixel 64 across and 64 down is 64 and 32 pixels into the enlarged crop.
        assert_eq!(at(&field, 64, 32), 0.0);
        assert!((at(&field, 62, 40) - 2.0).abs() < 1e-6);
        assert_eq!(
            field.mask_box,
            PixelBox {
                x: 63,
                y: 63,
                width: 18,
                height: 18
            }
        );
    }

    #[test]
    fn an_empty_mask_shows_all_that_was_inferred() {
        let region = PixelBox {
            x: 10,
            y: 20,
            width: 64,
            height: 48,
        };
        let field = MaskField::new(&square(128, 0, 0), &RECIPE(), region, (64, 48)).unwrap();
        assert_eq!(field.mask_box, region);
        assert!(
            field
                .distance_px
                .iter()
                .all(|distance| distance.is_infinite())
        );
    }

    #[test]
    fn a_box_outside_the_mask_is_an_error() {
        let region = PixelBox {
            x: 100,
            y: 0,
            width: 64,
            height: 64,
        };
        let error = MaskField::new(&square(128, 1, 2), &RECIPE(), region, (64, 64)).unwrap_err();
        assert_eq!(error.to_string(), "mask is 128x128 but 164x64 was expected");
    }
}
