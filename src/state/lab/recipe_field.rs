//! The numbers of a mask recipe one by one, in the order in which they act: name, unit, range, step.

use crate::model::mask_recipe::MaskRecipe;

/// A number of the recipe that has a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecipeField {
    /// White from this grey on.
    Threshold,
    /// Components of fewer pixels are dropped, before closing and after opening.
    MinComponent,
    /// Radius of the closing.
    Close,
    /// Radius of the opening.
    Open,
    /// Radius of the dilation.
    Dilate,
    /// Standard deviation of the composite's feather.
    Feather,
}

/// What a field's number measures, for its size at original resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// A grey level: the same at any size.
    Level,
    /// A length in pixels.
    Length,
    /// An area in pixels.
    Area,
}

impl RecipeField {
    /// All fields in the order in which they act.
    pub const ALL: [Self; 6] = [
        Self::Threshold,
        Self::MinComponent,
        Self::Close,
        Self::Open,
        Self::Dilate,
        Self::Feather,
    ];

    /// The name that is shown; also the accessible name of its number.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::MinComponent => "drop under",
            Self::Close => "close",
            Self::Open => "open",
            Self::Dilate => "dilate",
            Self::Feather => "feather σ",
        }
    }

    /// What it does, in a sentence.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Threshold => "A pixel is white where its grey is at least this.",
            Self::MinComponent => {
                "Components of fewer pixels are dropped, before closing and again after opening."
            }
            Self::Close => "Fills gaps and holes that a disc of this radius does not fit into.",
            Self::Open => "Removes what a disc of this radius does not fit into.",
            Self::Dilate => "Grows the mask by a disc of this radius; keys [ and ].",
            Self::Feather => {
                "Softens the seam of the composite only; the model is given a binary mask."
            }
        }
    }

    /// What the number measures.
    pub const fn measure(self) -> Measure {
        match self {
            Self::Threshold => Measure::Level,
            Self::MinComponent => Measure::Area,
            Self::Close | Self::Open | Self::Dilate | Self::Feather => Measure::Length,
        }
    }

    /// The range of the slider. What may be typed goes further: see [`Self::limits`].
    pub const fn slider_range(self) -> std::ops::RangeInclusive<f64> {
        match self {
            Self::Threshold => 1.0..=255.0,
            Self::MinComponent => 0.0..=500.0,
            Self::Close | Self::Open => 0.0..=16.0,
            Self::Dilate => 0.0..=64.0,
            Self::Feather => 0.0..=24.0,
        }
    }

    /// What is allowed, as [`MaskRecipe::check`] has it.
    pub const fn limits(self) -> std::ops::RangeInclusive<f64> {
        match self {
            Self::Threshold => 1.0..=255.0,
            Self::MinComponent => 0.0..=1_000_000.0,
            Self::Close | Self::Open | Self::Feather => 0.0..=64.0,
            Self::Dilate => 0.0..=256.0,
        }
    }

    /// What one notch of the wheel changes.
    pub const fn step(self) -> f64 {
        match self {
            Self::Threshold | Self::Dilate => 1.0,
            Self::MinComponent => 10.0,
            Self::Close | Self::Open | Self::Feather => 0.5,
        }
    }

    /// The number in a recipe.
    pub fn value(self, recipe: &MaskRecipe) -> f64 {
        match self {
            Self::Threshold => f64::from(recipe.threshold),
            Self::MinComponent => f64::from(recipe.min_component_px),
            Self::Close => f64::from(recipe.close_px),
            Self::Open => f64::from(recipe.open_px),
            Self::Dilate => f64::from(recipe.dilate_px),
            Self::Feather => f64::from(recipe.feather_sigma_px),
        }
    }

    /// The number in a recipe in the shortest decimal, as documents have it.
    pub fn text(self, recipe: &MaskRecipe) -> String {
        match self {
            Self::Threshold => recipe.threshold.to_string(),
            Self::MinComponent => recipe.min_component_px.to_string(),
            Self::Close => recipe.close_px.to_string(),
            Self::Open => recipe.open_px.to_string(),
            Self::Dilate => recipe.dilate_px.to_string(),
            Self::Feather => recipe.feather_sigma_px.to_string(),
        }
    }

    /// Puts a number into a recipe, brought into its limits. Not a number changes nothing.
    pub fn set(self, recipe: &mut MaskRecipe, value: f64) {
        if value.is_nan() {
            return;
        }
        let limits = self.limits();
        let value = value.clamp(*limits.start(), *limits.end());
        match self {
            Self::Threshold => recipe.threshold = value.round() as u8,
            Self::MinComponent => recipe.min_component_px = value.round() as u32,
            Self::Close => recipe.close_px = value as f32,
            Self::Open => recipe.open_px = value as f32,
            Self::Dilate => recipe.dilate_px = value as f32,
            Self::Feather => recipe.feather_sigma_px = value as f32,
        }
    }

    /// The number's size at original resolution, as it is shown beside it; none for grey levels.
    pub fn at_original(self, recipe: &MaskRecipe, original_px_per_px: f64) -> Option<String> {
        let value = self.value(recipe);
        match self.measure() {
            Measure::Level => None,
            Measure::Length => Some(format!(
                "= {:.1} px of the photo",
                value * original_px_per_px
            )),
            Measure::Area => Some(format!(
                "= {:.0} px of the photo",
                value * original_px_per_px.powi(2)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_a_recipe_that_passes_its_check() {
        for field in RecipeField::ALL {
            for value in [*field.limits().start(), *field.limits().end(), -7.0, 1e12] {
                let mut recipe = MaskRecipe::default();
                field.set(&mut recipe, value);
                assert_eq!(recipe.check(), Ok(()), "{} {value}", field.label());
            }
            assert!(*field.slider_range().end() <= *field.limits().end());
        }
    }

    #[test]
    fn a_number_comes_back_as_it_was_set() {
        for field in RecipeField::ALL {
            let mut recipe = MaskRecipe::default();
            field.set(&mut recipe, 3.0);
            assert!((field.value(&recipe) - 3.0).abs() < 1e-6);
            field.set(&mut recipe, f64::NAN);
            assert!((field.value(&recipe) - 3.0).abs() < 1e-6);
        }
    }

    #[test]
    fn sizes_at_the_original_are_lengths_or_areas() {
        let recipe = MaskRecipe::default();
        let shown = |field: RecipeField| field.at_original(&recipe, 2.5);
        assert_eq!(shown(RecipeField::Threshold), None);
        assert_eq!(
            shown(RecipeField::Dilate).as_deref(),
            Some("= 25.0 px of the photo")
        );
        assert_eq!(
            shown(RecipeField::MinComponent).as_deref(),
            Some("= 312 px of the photo")
        );
    }
}
