//! Draws a run's contact sheet from its folder and writes it as a PNG.

use super::inputs;
use super::run_folder::{self, Verification};
use super::{AuditError, atomic};
use crate::imaging::codecs::decode;
use crate::model::run::{Run, files};
use crate::report::contact_sheet::{SheetOptions, contact_sheet};
use crate::report::label::Frame;
use image::RgbImage;
use std::path::Path;

/// Of a picture, at least this part of its longer side is shown around the mask.
const MIN_REGION: f64 = 0.35;

/// Writes the contact sheet of the run in a folder to `path`, atomically. Each cell is shown at the
/// mask's box with a margin, where the mask is known.
///
/// # Errors
/// [`AuditError`] if the run cannot be opened or the file cannot be written.
pub fn write(run_dir: &Path, path: &Path) -> Result<(), AuditError> {
    let run = run_folder::open(run_dir, Verification::Quick)
        .map_err(|error| AuditError::Refused(error.to_string()))?;
    let sheet = draw(run_dir, &run)?;
    let bytes = inputs::encode_rgb(&sheet)?;
    atomic::write(path, &bytes)
        .map_err(|source| AuditError::file("the contact sheet cannot be written", path, source))
}

/// The contact sheet of a run.
///
/// # Errors
/// [`AuditError`] if labels cannot be drawn.
pub fn draw(run_dir: &Path, run: &Run) -> Result<RgbImage, AuditError> {
    let picture = |name: &str| match decode(&run_dir.join(name)) {
        Ok(decoded) => Some(decoded.into_rgb()),
        Err(error) => {
            tracing::debug!("not on the contact sheet: {error}");
            None
        }
    };
    let is_there = |name: &str| run_dir.join(name).is_file();
    let original = is_there(files::IMAGE)
        .then(|| picture(files::IMAGE))
        .flatten();
    let mask = is_there(files::MASK)
        .then(|| picture(files::MASK))
        .flatten();
    let options = SheetOptions {
        region: region(run, &picture).or_else(|| mask.as_ref().and_then(around_mask)),
        original,
        mask,
        ..SheetOptions::default()
    };
    contact_sheet(run, &options, &picture).ok_or_else(|| {
        AuditError::Refused("the font of the contact sheet's labels cannot be read".to_owned())
    })
}

/// The box of the mask that the model was given, which has no stray pixels, in the original's pixels.
fn region(run: &Run, picture: &dyn Fn(&str) -> Option<RgbImage>) -> Option<Frame> {
    let area = run.document()?.inference_box;
    let mask = picture(files::INFERENCE_MASK)?;
    let (x, y, width, height) = around_mask(&mask)?;
    let across = f64::from(area.width) / f64::from(mask.width());
    let down = f64::from(area.height) / f64::from(mask.height());
    let scaled = |length: u32, scale: f64| (f64::from(length) * scale).round() as u32;
    Some((
        area.x + scaled(x, across),
        area.y + scaled(y, down),
        scaled(width, across),
        scaled(height, down),
    ))
}

/// The white pixels' box with a margin of a quarter of its longer side; `None` if nothing is white.
fn around_mask(mask: &RgbImage) -> Option<Frame> {
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for (x, y, pixel) in mask.enumerate_pixels() {
        if pixel.0[0] >= 128 {
            left = left.min(x);
            top = top.min(y);
            right = right.max(x + 1);
            bottom = bottom.max(y + 1);
        }
    }
    if right == 0 {
        return None;
    }
    let (width, height) = mask.dimensions();
    let longer = f64::from((right - left).max(bottom - top));
    let least = MIN_REGION * f64::from(width.max(height));
    let margin = (longer * 0.25).max((least - longer) / 2.0) as u32;
    let (left, top) = (left.saturating_sub(margin), top.saturating_sub(margin));
    let right = right.saturating_add(margin).min(width);
    let bottom = bottom.saturating_add(margin).min(height);
    Some((left, top, right - left, bottom - top))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_service_run_with_a_gap_becomes_a_sheet() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/service-run/audit/20260222-025304");
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "REPORT.md",
            "Q4_0_gs2.png",
            "Q4_0_gs10.png",
            "Q8_0_gs30.png",
        ] {
            std::fs::copy(fixture.join(name), dir.path().join(name)).unwrap();
        }
        let sheet = dir.path().join("sheet.png");
        write(dir.path(), &sheet).unwrap();
        let drawn = image::open(&sheet).unwrap().to_rgb8();
        // Three rows of five columns of 320 pixels, with labels.
        assert!(
            drawn.width() > 5 * 320 && drawn.height() > 3 * 200,
            "{:?}",
            drawn.dimensions()
        );
        let run = run_folder::open(dir.path(), Verification::Full).unwrap();
        assert_eq!(run.done_count(), 3);
    }

    #[test]
    fn the_masks_box_gets_a_margin_inside_the_picture() {
        let mut mask = RgbImage::new(100, 50);
        assert_eq!(around_mask(&mask), None);
        for x in 60..90 {
            for y in 10..20 {
                mask.put_pixel(x, y, image::Rgb([255; 3]));
            }
        }
        assert_eq!(around_mask(&mask), Some((53, 3, 44, 24)));
    }
}
