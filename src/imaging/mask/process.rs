//! A whole mask recipe: the masks it makes, their figures, and the gates that hold a bad one back.

use image::GrayImage;
use serde::Serialize;

use super::binary::{BinaryMask, PixelBox};
use super::components::{Components, despeck, despeck_known};
use super::{disc, feather};
use crate::imaging::ImagingError;
use crate::model::mask_recipe::{MaskGate, MaskRecipe};

/// A raw mask needs one 8-connected component of this many pixels, or it holds nothing to remove.
pub const LARGE_COMPONENT_PX: u64 = 50;

/// What a recipe makes of a mask at inference size. All masks have one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessedMask {
    /// The raw mask after its threshold.
    pub raw: BinaryMask,
    /// After despeck, close, open and despeck, before growing: the object itself.
    pub cleaned: BinaryMask,
    /// After dilation: what the model is given.
    pub grown: BinaryMask,
}

/// Carries out a recipe on a mask at inference size: threshold, despeck, close, open, despeck,
/// dilate. The recipe's feather is not part of it: see [`ProcessedMask::feathered`].
pub fn process(grey: &GrayImage, recipe: &MaskRecipe) -> ProcessedMask {
    let raw = BinaryMask::from_grey(grey, recipe.threshold);
    let cleaned = clean(&raw, &Components::of(&raw), recipe);
    let grown = disc::dilate(&cleaned, recipe.dilate_px);
    ProcessedMask {
        raw,
        cleaned,
        grown,
    }
}

/// The part of the recipe between threshold and dilation.
pub(super) fn clean(raw: &BinaryMask, of_raw: &Components, recipe: &MaskRecipe) -> BinaryMask {
    let smallest_px = recipe.min_component_px;
    let mut mask = despeck_known(raw, of_raw, smallest_px);
    if recipe.close_px > 0.0 {
        mask = disc::close(&mask, recipe.close_px);
    }
    if recipe.open_px > 0.0 {
        // Opening breaks small pieces off, which dilation would grow.
        mask = despeck(&disc::open(&mask, recipe.open_px), smallest_px);
    }
    mask
}

impl ProcessedMask {
    /// The grown mask blurred by the recipe's feather: the composite's weight before it is forced to
    /// 0 outside the grown mask and to 1 on the cleaned one.
    pub fn feathered(&self, recipe: &MaskRecipe) -> GrayImage {
        feather::feather(&self.grown, recipe.feather_sigma_px)
    }

    /// Pixels that the recipe adds to the raw mask.
    pub fn added(&self) -> BinaryMask {
        self.grown
            .without(&self.raw)
            .unwrap_or_else(|_| self.grown.clone())
    }

    /// Pixels of the raw mask that the recipe loses.
    pub fn removed(&self) -> BinaryMask {
        self.raw
            .without(&self.grown)
            .unwrap_or_else(|_| self.raw.clone())
    }

    /// The ring that growing adds to the cleaned mask.
    pub fn ring(&self) -> BinaryMask {
        self.grown
            .without(&self.cleaned)
            .unwrap_or_else(|_| self.grown.clone())
    }

    /// The figures of this mask. Components are counted anew; [`super::MaskStages`] keeps them.
    pub fn figures(&self) -> MaskFigures {
        MaskFigures::of(self, &Components::of(&self.raw))
    }

    /// The gates that this mask does not pass, most serious first. `subject` is the region that must
    /// not be touched, at the same size.
    ///
    /// # Errors
    /// When the subject's size differs.
    pub fn gates(
        &self,
        recipe: &MaskRecipe,
        subject: Option<&BinaryMask>,
    ) -> Result<Vec<MaskGate>, ImagingError> {
        gates(
            self,
            Components::of(&self.raw).largest_px(),
            recipe,
            subject,
        )
    }
}

pub(super) fn gates(
    mask: &ProcessedMask,
    largest_px: u64,
    recipe: &MaskRecipe,
    subject: Option<&BinaryMask>,
) -> Result<Vec<MaskGate>, ImagingError> {
    let mut gates = Vec::new();
    if mask.grown.is_empty() {
        gates.push(MaskGate::Empty);
    }
    // In f32, so that a coverage of exactly the allowed decimal passes.
    let coverage = mask.grown.coverage() as f32;
    if coverage > recipe.max_coverage {
        gates.push(MaskGate::CoversTooMuch {
            coverage,
            max: recipe.max_coverage,
        });
    }
    if largest_px < LARGE_COMPONENT_PX {
        gates.push(MaskGate::NoLargeComponent {
            largest_px,
            min_px: LARGE_COMPONENT_PX,
        });
    }
    if let Some(subject) = subject {
        let touched = mask
            .grown
            .intersection(subject)
            .map_err(|error| match error {
                ImagingError::SizeMismatch {
                    found, expected, ..
                } => ImagingError::SizeMismatch {
                    what: "subject mask",
                    found,
                    expected,
                },
                other => other,
            })?;
        if !touched.is_empty() {
            gates.push(MaskGate::TouchesSubject {
                px: touched.white_px(),
            });
        }
    }
    Ok(gates)
}

/// What there is to know about a processed mask, in pixels at inference size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MaskFigures {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// White part of the picture after the threshold, 0 to 1.
    pub coverage_before: f64,
    /// White part of the picture after the whole recipe, 0 to 1.
    pub coverage_after_recipe: f64,
    /// 8-connected components after the threshold.
    pub components_before: usize,
    /// 8-connected components after the whole recipe.
    pub components_after: usize,
    /// Pixels of the largest component after the threshold, 0 without any.
    pub largest_component_px: u64,
    /// White after the recipe, black after the threshold.
    pub added_px: u64,
    /// Black after the recipe, white after the threshold.
    pub removed_px: u64,
    /// The smallest box around the mask after the recipe; `None` when it is empty.
    #[serde(rename = "box")]
    pub bounds: Option<PixelBox>,
    /// The least number of black columns or rows between the mask after the recipe and the frame;
    /// `None` when it is empty.
    pub margin_to_frame_px: Option<u32>,
}

impl MaskFigures {
    pub(super) fn of(mask: &ProcessedMask, of_raw: &Components) -> Self {
        let (width, height) = mask.grown.size();
        let bounds = mask.grown.bounding_box();
        Self {
            width,
            height,
            coverage_before: mask.raw.coverage(),
            coverage_after_recipe: mask.grown.coverage(),
            components_before: of_raw.count(),
            components_after: Components::of(&mask.grown).count(),
            largest_component_px: of_raw.largest_px(),
            added_px: mask.grown.white_px_without(&mask.raw),
            removed_px: mask.raw.white_px_without(&mask.grown),
            bounds,
            margin_to_frame_px: bounds
                .map(|b| b.x.min(b.y).min(width - b.right()).min(height - b.bottom())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn square(side: u32) -> GrayImage {
        GrayImage::from_fn(100, 80, |x, y| {
            image::Luma([if x < side && y < side { 255 } else { 0 }])
        })
    }

    #[test]
    fn today_s_recipe_leaves_the_thresholded_mask() {
        let mask = process(&square(20), &MaskRecipe::none());
        assert_eq!(mask.raw, mask.cleaned);
        assert_eq!(mask.raw, mask.grown);
        assert_eq!(mask.figures().margin_to_frame_px, Some(0));
    }

    #[test]
    fn pieces_that_opening_breaks_off_are_dropped_too() {
        // A body, and a knob of 7 x 7 on a thin neck: the knob alone has under 50 px.
        let grey = GrayImage::from_fn(100, 80, |x, y| {
            let body = (10..50).contains(&x) && (10..50).contains(&y);
            let neck = (50..60).contains(&x) && y == 30;
            let knob = (60..67).contains(&x) && (27..34).contains(&y);
            image::Luma([if body || neck || knob { 255 } else { 0 }])
        });
        let recipe = MaskRecipe {
            dilate_px: 0.0,
            ..MaskRecipe::default()
        };
        let mask = process(&grey, &recipe);
        assert!(!mask.cleaned.is_white(63, 30));
        assert!(mask.cleaned.is_white(30, 30));
        let kept = process(
            &grey,
            &MaskRecipe {
                min_component_px: 20,
                ..recipe
            },
        );
        assert!(kept.cleaned.is_white(63, 30));
    }

    #[test]
    fn each_gate_holds_back_what_it_is_for() {
        let recipe = MaskRecipe::none();
        let gates = |side, subject: Option<&BinaryMask>| {
            process(&square(side), &recipe)
                .gates(&recipe, subject)
                .unwrap()
        };
        assert_eq!(gates(20, None), []);
        assert_eq!(
            gates(0, None),
            [
                MaskGate::Empty,
                MaskGate::NoLargeComponent {
                    largest_px: 0,
                    min_px: 50
                }
            ]
        );
        assert_eq!(
            gates(7, None),
            [MaskGate::NoLargeComponent {
                largest_px: 49,
                min_px: 50
            }]
        );
        assert_eq!(
            gates(70, None),
            [MaskGate::CoversTooMuch {
                coverage: 0.6125,
                max: 0.4
            }]
        );
        let subject = BinaryMask::from_fn(100, 80, |x, y| x == 19 && y < 30);
        assert_eq!(
            gates(20, Some(&subject)),
            [MaskGate::TouchesSubject { px: 20 }]
        );
        let small = BinaryMask::black(3, 3);
        let error = process(&square(20), &recipe)
            .gates(&recipe, Some(&small))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "subject mask is 3x3 but 100x80 was expected"
        );
    }

    #[test]
    fn exactly_the_allowed_coverage_passes() {
        let recipe = MaskRecipe {
            max_coverage: 0.05,
            ..MaskRecipe::none()
        };
        assert_eq!(
            process(&square(20), &recipe).gates(&recipe, None).unwrap(),
            []
        );
    }
}
