//! Where a composite differs from its original: outside, at the seam, inside. Differences, never
//! quality.

use image::{GrayImage, RgbImage};
use rayon::prelude::*;
use serde::Serialize;

use super::ImagingError;
use super::composite::Placement;
use super::difference::delta_e_map;
use super::mask::{DistanceField, ProcessedMask};

/// The seam's width: pixels inside the grown mask this near to its edge, in px at inference size.
pub const RING_PX: u32 = 8;

/// The three parts of a composite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// The composite's weight is 0: nothing may differ.
    Outside,
    /// The weight is above 0 and the grown mask's edge within [`RING_PX`] inference pixels.
    Ring,
    /// The rest.
    Inside,
}

/// The zone of every original pixel, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneMap {
    size: (u32, u32),
    zones: Vec<Zone>,
}

impl ZoneMap {
    /// The zones of a composite: `weights` as [`super::composite::composite_weights`] makes them of
    /// `mask` and `placement`.
    ///
    /// # Errors
    /// When weights or mask are not of the placement's sizes.
    pub fn new(
        mask: &ProcessedMask,
        weights: &GrayImage,
        placement: &Placement,
    ) -> Result<Self, ImagingError> {
        for (what, found, expected) in [
            ("mask", mask.grown.size(), placement.inference_size),
            ("weights", weights.dimensions(), placement.image_size),
        ] {
            if found != expected {
                return Err(ImagingError::SizeMismatch {
                    what,
                    found,
                    expected,
                });
            }
        }
        let to_edge = DistanceField::to_black(&mask.grown);
        let zones = weights.enumerate_pixels().map(|(x, y, weight)| {
            if weight.0[0] == 0 {
                return Zone::Outside;
            }
            match placement.inference_pixel(x, y) {
                Some((u, v)) if to_edge.squared_at(u, v) <= RING_PX * RING_PX => Zone::Ring,
                _ => Zone::Inside,
            }
        });
        Ok(Self {
            size: placement.image_size,
            zones: zones.collect(),
        })
    }

    /// The zone of one pixel; outside beyond the picture.
    pub fn at(&self, x: u32, y: u32) -> Zone {
        if x >= self.size.0 || y >= self.size.1 {
            return Zone::Outside;
        }
        let index = y as usize * self.size.0 as usize + x as usize;
        self.zones.get(index).copied().unwrap_or(Zone::Outside)
    }
}

/// How much one zone differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ZoneFigures {
    /// Pixels of the zone.
    pub pixels: u64,
    /// Pixels of which any channel differs.
    pub changed_px: u64,
    /// Mean ΔE2000 over all pixels of the zone; `None` for a zone without any.
    pub mean_delta_e: Option<f32>,
    /// The least ΔE2000 that 95 % of the zone's pixels do not exceed; `None` for a zone without any.
    pub p95_delta_e: Option<f32>,
}

/// How much a composite differs from its original, by zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ZoneReport {
    /// Where the weight is 0. Anything changed here is a fault of the program that composited.
    pub outside: ZoneFigures,
    /// At the seam.
    pub ring: ZoneFigures,
    /// The rest of what was repainted.
    pub inside: ZoneFigures,
}

/// Compares a composite with its original by zone.
///
/// # Errors
/// When the sizes of pictures and zones differ.
pub fn zone_report(
    composite: &RgbImage,
    original: &RgbImage,
    zones: &ZoneMap,
) -> Result<ZoneReport, ImagingError> {
    if zones.size != original.dimensions() {
        return Err(ImagingError::SizeMismatch {
            what: "image",
            found: original.dimensions(),
            expected: zones.size,
        });
    }
    let map = delta_e_map(composite, original)?;
    let of = |zone: Zone| -> ZoneFigures {
        let delta_es: Vec<f32> = map
            .par_iter()
            .zip(&zones.zones)
            .filter(|&(_, &at)| at == zone)
            .map(|(&delta_e, _)| delta_e)
            .collect();
        figures_of(delta_es)
    };
    Ok(ZoneReport {
        outside: of(Zone::Outside),
        ring: of(Zone::Ring),
        inside: of(Zone::Inside),
    })
}

fn figures_of(mut delta_es: Vec<f32>) -> ZoneFigures {
    let pixels = delta_es.len();
    if pixels == 0 {
        return ZoneFigures::default();
    }
    // Two different 8-bit colours are never at ΔE 0.
    let changed_px = delta_es.iter().filter(|&&delta_e| delta_e > 0.0).count() as u64;
    let sum: f64 = delta_es.iter().map(|&delta_e| f64::from(delta_e)).sum();
    let rank = (pixels * 95).div_ceil(100).saturating_sub(1);
    let (_, p95, _) = delta_es.select_nth_unstable_by(rank, f32::total_cmp);
    ZoneFigures {
        pixels: pixels as u64,
        changed_px,
        mean_delta_e: Some((sum / pixels as f64) as f32),
        p95_delta_e: Some(*p95),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use image::{Luma, Rgb};

    use super::super::composite::{composite, composite_weights};
    use super::super::mask::process;
    use super::*;
    use crate::model::mask_recipe::MaskRecipe;

    #[test]
    fn a_composite_differs_at_the_seam_and_inside_but_never_outside() {
        let recipe = MaskRecipe {
            dilate_px: 6.0,
            ..MaskRecipe::default()
        };
        let grey = GrayImage::from_fn(128, 96, |x, y| {
            let white = (40..90).contains(&x) && (30..70).contains(&y);
            Luma([if white { 255 } else { 0 }])
        });
        let mask = process(&grey, &recipe);
        let placement = Placement::whole((256, 192), (128, 96));
        let weights = composite_weights(&mask, &recipe, &placement).unwrap();
        let zones = ZoneMap::new(&mask, &weights, &placement).unwrap();
        let original = RgbImage::from_pixel(256, 192, Rgb([90, 120, 60]));
        let fill = RgbImage::from_pixel(128, 96, Rgb([120, 90, 200]));
        let mut done = composite(&original, &fill, &weights, &placement).unwrap();

        let report = zone_report(&done, &original, &zones).unwrap();
        assert_eq!(report.outside.changed_px, 0);
        assert_eq!(report.outside.p95_delta_e, Some(0.0));
        assert_eq!(report.ring.changed_px, report.ring.pixels);
        assert_eq!(report.inside.changed_px, report.inside.pixels);
        let all = report.outside.pixels + report.ring.pixels + report.inside.pixels;
        assert_eq!(all, 256 * 192);
        assert_eq!(report.outside.pixels + 4 * mask.grown.white_px(), all);
        assert!(
            report.ring.mean_delta_e < report.inside.mean_delta_e,
            "the seam is blended"
        );
        // Within 8 of the edge: 16 original pixels in from the grown edge, which is at x = 34.
        assert_eq!(zones.at(2 * 33 + 1, 100), Zone::Outside);
        assert_eq!(zones.at(2 * 34, 100), Zone::Ring);
        assert_eq!(zones.at(2 * 41 + 1, 100), Zone::Ring);
        assert_eq!(zones.at(2 * 42, 100), Zone::Inside);

        // One level in one pixel outside is found.
        done.put_pixel(3, 3, Rgb([90, 121, 60]));
        assert_eq!(
            zone_report(&done, &original, &zones)
                .unwrap()
                .outside
                .changed_px,
            1
        );
    }

    #[test]
    fn the_95th_percentile_is_a_value_that_95_percent_do_not_exceed() {
        let figures = figures_of((1..=100).map(|value| value as f32).collect());
        assert_eq!(figures.p95_delta_e, Some(95.0));
        assert_eq!(figures.mean_delta_e, Some(50.5));
        assert_eq!(figures_of(vec![3.0]).p95_delta_e, Some(3.0));
        assert_eq!(figures_of(Vec::new()), ZoneFigures::default());
    }
}
