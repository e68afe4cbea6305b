//! A recipe that is being tuned: recomputes only what a change touches.

use image::GrayImage;

use super::binary::BinaryMask;
use super::components::Components;
use super::distance::DistanceField;
use super::process::{MaskFigures, ProcessedMask, clean, gates};
use crate::imaging::ImagingError;
use crate::model::mask_recipe::{MaskGate, MaskRecipe};

/// A raw mask at inference size with a recipe that changes often. A change of the dilation compares
/// the distance field with another radius and nothing else; a change of the clean-up keeps the raw
/// mask and its components.
#[derive(Debug)]
pub struct MaskStages {
    grey: GrayImage,
    recipe: MaskRecipe,
    of_raw: Components,
    /// Distances to the cleaned mask; made when it is first needed.
    field: Option<DistanceField>,
    mask: ProcessedMask,
    field_computations: u64,
    clean_ups: u64,
}

impl MaskStages {
    /// Carries out the recipe on a mask at inference size.
    pub fn new(grey: GrayImage, recipe: MaskRecipe) -> Self {
        let raw = BinaryMask::from_grey(&grey, recipe.threshold);
        let of_raw = Components::of(&raw);
        let cleaned = clean(&raw, &of_raw, &recipe);
        let grown = cleaned.clone();
        let mut stages = Self {
            grey,
            recipe,
            of_raw,
            field: None,
            mask: ProcessedMask {
                raw,
                cleaned,
                grown,
            },
            field_computations: 0,
            clean_ups: 1,
        };
        stages.grow();
        stages
    }

    /// Changes the recipe.
    pub fn set_recipe(&mut self, recipe: MaskRecipe) {
        if recipe == self.recipe {
            return;
        }
        let old = std::mem::replace(&mut self.recipe, recipe);
        let new = &self.recipe;
        let new_threshold = old.threshold != new.threshold;
        if new_threshold {
            self.mask.raw = BinaryMask::from_grey(&self.grey, new.threshold);
            self.of_raw = Components::of(&self.mask.raw);
        }
        let new_clean_up = new_threshold
            || (old.min_component_px, old.close_px, old.open_px)
                != (new.min_component_px, new.close_px, new.open_px);
        if new_clean_up {
            self.clean_ups += 1;
            let cleaned = clean(&self.mask.raw, &self.of_raw, new);
            if cleaned != self.mask.cleaned {
                self.mask.cleaned = cleaned;
                self.field = None;
            }
        }
        self.grow();
    }

    fn grow(&mut self) {
        let dilate_px = self.recipe.dilate_px;
        let mut grown = std::mem::replace(&mut self.mask.grown, BinaryMask::black(0, 0));
        self.field().dilate_into(dilate_px, &mut grown);
        self.mask.grown = grown;
    }

    /// The recipe that the masks were made with.
    pub const fn recipe(&self) -> &MaskRecipe {
        &self.recipe
    }

    /// The masks.
    pub const fn mask(&self) -> &ProcessedMask {
        &self.mask
    }

    /// Squared distances to the cleaned mask, for a shader and for saving by the same rule.
    pub fn field(&mut self) -> &DistanceField {
        let (cleaned, count) = (&self.mask.cleaned, &mut self.field_computations);
        self.field.get_or_insert_with(|| {
            *count += 1;
            DistanceField::to_white(cleaned)
        })
    }

    /// Pixels of the raw object that the opening uncovers: within the large raw components and not
    /// in the grown mask. From there a sliver of the removed object comes back.
    pub fn uncovered(&self) -> BinaryMask {
        let smallest_px = self.recipe.min_component_px;
        let object = super::components::despeck_known(&self.mask.raw, &self.of_raw, smallest_px);
        object.without(&self.mask.grown).unwrap_or(object)
    }

    /// Raw components that are dropped for their size.
    pub fn specks(&self) -> BinaryMask {
        let smallest_px = self.recipe.min_component_px;
        let object = super::components::despeck_known(&self.mask.raw, &self.of_raw, smallest_px);
        self.mask.raw.without(&object).unwrap_or(object)
    }

    /// The figures of the masks.
    pub fn figures(&self) -> MaskFigures {
        MaskFigures::of(&self.mask, &self.of_raw)
    }

    /// The gates that the masks do not pass.
    ///
    /// # Errors
    /// When the subject's size differs.
    pub fn gates(&self, subject: Option<&BinaryMask>) -> Result<Vec<MaskGate>, ImagingError> {
        gates(&self.mask, self.of_raw.largest_px(), &self.recipe, subject)
    }

    /// How often a distance field was computed so far.
    pub const fn field_computations(&self) -> u64 {
        self.field_computations
    }

    /// How often the clean-up was carried out so far.
    pub const fn clean_ups(&self) -> u64 {
        self.clean_ups
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::process;
    use super::*;

    fn grey() -> GrayImage {
        GrayImage::from_fn(150, 110, |x, y| {
            let near = (x as f32 - 70.0).hypot(y as f32 - 50.0);
            let speck = (x * 7 + y * 13) % 89 == 0;
            image::Luma([if speck {
                200
            } else {
                (255.0 - near * 5.0).max(0.0) as u8
            }])
        })
    }

    #[test]
    fn dragging_the_dilation_computes_no_field_and_no_clean_up() {
        let recipe = MaskRecipe::default();
        let mut stages = MaskStages::new(grey(), recipe.clone());
        assert_eq!((stages.field_computations(), stages.clean_ups()), (1, 1));
        for dilate_px in [0.0, 1.0, 3.5, 15.0, 60.0, 7.0] {
            let recipe = MaskRecipe {
                dilate_px,
                ..recipe.clone()
            };
            stages.set_recipe(recipe.clone());
            assert_eq!(*stages.mask(), process(&grey(), &recipe), "{dilate_px}");
        }
        stages.set_recipe(MaskRecipe {
            feather_sigma_px: 9.0,
            ..recipe
        });
        assert_eq!((stages.field_computations(), stages.clean_ups()), (1, 1));
    }

    #[test]
    fn every_change_gives_what_the_recipe_gives_from_the_start() {
        let recipe = MaskRecipe::default();
        let mut stages = MaskStages::new(grey(), recipe.clone());
        for recipe in [
            MaskRecipe {
                threshold: 90,
                ..recipe.clone()
            },
            MaskRecipe {
                close_px: 3.0,
                ..recipe.clone()
            },
            MaskRecipe {
                open_px: 4.0,
                ..recipe.clone()
            },
            MaskRecipe {
                min_component_px: 0,
                open_px: 0.0,
                ..recipe.clone()
            },
            recipe,
        ] {
            stages.set_recipe(recipe.clone());
            assert_eq!(*stages.mask(), process(&grey(), &recipe), "{recipe:?}");
            assert_eq!(stages.figures(), stages.mask().figures());
        }
    }

    #[test]
    fn specks_and_uncovered_pixels_are_told_apart() {
        let body = |x: u32, y: u32| (20..60).contains(&x) && (20..60).contains(&y);
        let grey = GrayImage::from_fn(100, 80, |x, y| {
            let thread = (60..90).contains(&x) && y == 40;
            let speck = x == 5 && y == 5;
            image::Luma([if body(x, y) || thread || speck {
                255
            } else {
                0
            }])
        });
        let mut stages = MaskStages::new(grey, MaskRecipe::default().clone());
        stages.set_recipe(MaskRecipe {
            dilate_px: 0.0,
            ..MaskRecipe::default()
        });
        assert_eq!(stages.specks().white_px(), 1);
        assert!(stages.uncovered().is_white(80, 40), "the thread comes back");
        assert!(
            !stages.uncovered().is_white(5, 5),
            "a speck was never the object"
        );
    }
}
