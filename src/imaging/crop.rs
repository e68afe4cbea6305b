//! Crop mode: which part of a picture is inferred instead of the whole.

use image::GrayImage;

use super::ImagingError;
use super::composite::Placement;
use super::mask::binary::PixelBox;
use super::mask::process;
use super::resize::{DEFAULT_LONG_SIDE_PX, TOKEN_PX, inference_size, resize_area};
use crate::model::mask_recipe::MaskRecipe;

/// What is asked of a crop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CropRequest {
    /// Picture around the mask's box on each side, as a part of the box's longer side; 0 to 4.
    pub margin: f32,
    /// The inference picture's width and height in pixels; rounded down to multiples of 16.
    pub inference_size: (u32, u32),
}

/// Where a crop lies: the box of the grown mask with its margin, widened to the aspect of the wanted
/// inference size and moved inside the frame. `mask` is the raw mask at the original's size.
///
/// The box is sought at the size at which the whole picture would be inferred (long side 1024 px),
/// where the recipe's radii mean what they say and a thin leash still shows; at the few pixels of a
/// small crop it would vanish. Where the frame has no room for the aspect, the crop takes all that
/// there is along that side and the inference size follows the crop's own aspect. Unlike the whole
/// picture, a small crop is enlarged.
///
/// # Errors
/// When the recipe leaves nothing of the mask, so that there is no box.
pub fn crop_placement(
    mask: &GrayImage,
    recipe: &MaskRecipe,
    request: CropRequest,
) -> Result<Placement, ImagingError> {
    let image_size = mask.dimensions();
    let sought_at = inference_size(image_size.0, image_size.1, DEFAULT_LONG_SIDE_PX);
    let small = resize_area(mask, sought_at.0, sought_at.1);
    let grown = process(&small, recipe).grown;
    let Some(found) = grown.bounding_box() else {
        return Err(ImagingError::NoPixels {
            what: "the mask's box for the crop",
            width: 0,
            height: 0,
        });
    };
    let found = scaled_outwards(found, sought_at, image_size);
    let (region, inference_size) = placed(found, image_size, request);
    Ok(Placement {
        image_size,
        region,
        inference_size,
    })
}

/// A box at one size at another, rounded so that nothing of it is lost.
fn scaled_outwards(found: PixelBox, from: (u32, u32), to: (u32, u32)) -> PixelBox {
    let along = |start: u32, end: u32, from: u32, to: u32| {
        let (from, to) = (u64::from(from.max(1)), u64::from(to));
        let start = u64::from(start) * to / from;
        let end = (u64::from(end) * to).div_ceil(from).min(to);
        (start as u32, (end - start) as u32)
    };
    let (x, width) = along(found.x, found.right(), from.0, to.0);
    let (y, height) = along(found.y, found.bottom(), from.1, to.1);
    PixelBox {
        x,
        y,
        width,
        height,
    }
}

fn placed(found: PixelBox, image_size: (u32, u32), request: CropRequest) -> (PixelBox, (u32, u32)) {
    let multiple = |side: u32| (side / TOKEN_PX * TOKEN_PX).max(TOKEN_PX);
    let target = (
        multiple(request.inference_size.0),
        multiple(request.inference_size.1),
    );
    let margin =
        f64::from(request.margin.clamp(0.0, 4.0)) * f64::from(found.width.max(found.height));
    let least = (
        f64::from(found.width) + 2.0 * margin,
        f64::from(found.height) + 2.0 * margin,
    );
    let aspect = f64::from(target.0) / f64::from(target.1);
    let width = (least.0.max(least.1 * aspect).ceil() as u32).clamp(1, image_size.0);
    let height = (least.1.max(least.0 / aspect).ceil() as u32).clamp(1, image_size.1);
    // Around the box's middle, moved inside the frame.
    let start = |start: u32, length: u32, side: u32, frame: u32| {
        let middle_twice = 2 * u64::from(start) + u64::from(length);
        let from = middle_twice.saturating_sub(u64::from(side)) / 2;
        from.min(u64::from(frame - side)) as u32
    };
    let region = PixelBox {
        x: start(found.x, found.width, width, image_size.0),
        y: start(found.y, found.height, height, image_size.1),
        width,
        height,
    };
    // The aspect that the region really has; where it is the wanted one up to rounding, the size is.
    let wanted_height = f64::from(width) / aspect;
    let size = if (wanted_height - f64::from(height)).abs() <= 1.0 + wanted_height / 256.0 {
        target
    } else {
        let long = f64::from(target.0.max(target.1));
        let scale = long / f64::from(width.max(height));
        let side = |side: u32| multiple((f64::from(side) * scale).round() as u32);
        (side(width), side(height))
    };
    (region, size)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use image::Luma;

    use super::*;

    const REQUEST: CropRequest = CropRequest {
        margin: 0.25,
        inference_size: (256, 256),
    };

    fn mask(width: u32, height: u32, white: PixelBox) -> GrayImage {
        GrayImage::from_fn(width, height, |x, y| {
            let inside =
                (white.x..white.right()).contains(&x) && (white.y..white.bottom()).contains(&y);
            Luma([if inside { 255 } else { 0 }])
        })
    }

    fn contains(outer: PixelBox, inner: PixelBox) -> bool {
        outer.x <= inner.x
            && outer.y <= inner.y
            && outer.right() >= inner.right()
            && outer.bottom() >= inner.bottom()
    }

    #[test]
    fn a_crop_holds_the_mask_keeps_the_aspect_and_stays_in_the_frame() {
        for white in [
            PixelBox {
                x: 400,
                y: 300,
                width: 120,
                height: 60,
            },
            PixelBox {
                x: 0,
                y: 0,
                width: 50,
                height: 90,
            },
            PixelBox {
                x: 1100,
                y: 850,
                width: 100,
                height: 50,
            },
        ] {
            let mask = mask(1200, 900, white);
            let placement = crop_placement(&mask, &MaskRecipe::default(), REQUEST).unwrap();
            let region = placement.region;
            assert!(contains(region, white), "{region:?} {white:?}");
            assert!(contains(PixelBox::whole(1200, 900), region));
            assert_eq!(region.width, region.height);
            assert_eq!(placement.inference_size, (256, 256));
        }
    }

    #[test]
    fn a_mask_that_crosses_the_picture_takes_the_aspect_of_what_there_is() {
        let mask = mask(
            1200,
            400,
            PixelBox {
                x: 10,
                y: 190,
                width: 1180,
                height: 20,
            },
        );
        let placement = crop_placement(&mask, &MaskRecipe::default(), REQUEST).unwrap();
        assert_eq!(placement.region, PixelBox::whole(1200, 400));
        assert_eq!(placement.inference_size, (256, 80));
    }

    #[test]
    fn a_thin_leash_is_found() {
        // 5 of 3000 px: 1.7 px at 1024, far under half a pixel at 256.
        let leash = PixelBox {
            x: 1000,
            y: 400,
            width: 600,
            height: 5,
        };
        let mask = mask(3000, 2000, leash);
        let recipe = MaskRecipe {
            open_px: 0.0,
            ..MaskRecipe::default()
        };
        let placement = crop_placement(&mask, &recipe, REQUEST).unwrap();
        assert!(contains(placement.region, leash));
    }

    #[test]
    fn an_empty_mask_has_no_crop() {
        let error =
            crop_placement(&GrayImage::new(64, 64), &MaskRecipe::default(), REQUEST).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the mask's box for the crop has no pixels: 0x0"
        );
    }
}
