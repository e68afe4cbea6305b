//! The mask recipe: how a raw mask becomes what the model is given, and the gates it must pass.

use serde::{Deserialize, Serialize};

/// A recipe that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {allowed}, but is {value}")]
pub struct RecipeError {
    /// The field's name as it stands in documents.
    pub field: &'static str,
    /// What is allowed.
    pub allowed: &'static str,
    /// The refused value.
    pub value: String,
}

/// The operations in their order: threshold, drop small components, close, open, drop small components
/// again, dilate; and the feather of the composite. Radii are in pixels at inference size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskRecipe {
    /// A pixel is white where its grey is at least this, 1 to 255.
    pub threshold: u8,
    /// Components of fewer pixels are dropped, before closing and after opening; 0 keeps all.
    pub min_component_px: u32,
    /// Radius of the closing, 0 to 64.
    pub close_px: f32,
    /// Radius of the opening, 0 to 64.
    pub open_px: f32,
    /// Radius of the dilation, 0 to 256.
    pub dilate_px: f32,
    /// A processed mask that covers more of the picture is refused, 0 to 1.
    pub max_coverage: f32,
    /// Standard deviation of the composite's feather, 0 to 64.
    pub feather_sigma_px: f32,
}

impl Default for MaskRecipe {
    /// Drop under 50 px, open 2, dilate 10, feather 4.
    fn default() -> Self {
        Self {
            threshold: 128,
            min_component_px: 50,
            close_px: 0.0,
            open_px: 2.0,
            dilate_px: 10.0,
            max_coverage: 0.4,
            feather_sigma_px: 4.0,
        }
    }
}

/// A recipe with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    /// The name that is shown.
    pub name: &'static str,
    /// The recipe.
    pub recipe: MaskRecipe,
}

impl MaskRecipe {
    /// Threshold only, hard edge: what production does today.
    pub fn none() -> Self {
        Self {
            min_component_px: 0,
            open_px: 0.0,
            dilate_px: 0.0,
            feather_sigma_px: 0.0,
            ..Self::default()
        }
    }

    /// Today's production, a conservative and a wide recipe.
    pub fn presets() -> [Preset; 3] {
        let dilated = |dilate_px| Self {
            dilate_px,
            ..Self::default()
        };
        [
            Preset {
                name: "today's production",
                recipe: Self::none(),
            },
            Preset {
                name: "conservative",
                recipe: dilated(8.0),
            },
            Preset {
                name: "wide",
                recipe: dilated(15.0),
            },
        ]
    }

    /// Checks that every value is finite and in its range.
    ///
    /// # Errors
    /// [`RecipeError`] naming the field, what is allowed, and the value.
    pub fn check(&self) -> Result<(), RecipeError> {
        if self.threshold == 0 {
            return Err(RecipeError {
                field: "threshold",
                allowed: "from 1 to 255",
                value: "0".to_owned(),
            });
        }
        let radii = [
            (
                "close_px",
                self.close_px,
                64.0,
                "a number of pixels from 0 to 64",
            ),
            (
                "open_px",
                self.open_px,
                64.0,
                "a number of pixels from 0 to 64",
            ),
            (
                "dilate_px",
                self.dilate_px,
                256.0,
                "a number of pixels from 0 to 256",
            ),
            (
                "max_coverage",
                self.max_coverage,
                1.0,
                "a fraction from 0 to 1",
            ),
            (
                "feather_sigma_px",
                self.feather_sigma_px,
                64.0,
                "a number of pixels from 0 to 64",
            ),
        ];
        for (field, value, max, allowed) in radii {
            if !(0.0..=max).contains(&value) {
                return Err(RecipeError {
                    field,
                    allowed,
                    value: value.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Whether two recipes differ in nothing but their dilation.
    pub fn same_but_dilation(&self, other: &Self) -> bool {
        let other = Self {
            dilate_px: self.dilate_px,
            ..other.clone()
        };
        *self == other
    }

    /// The first 8 hexadecimal digits of the SHA-256 over the recipe without its dilation, which cell
    /// names carry on their own.
    pub fn hash8(&self) -> String {
        use sha2::Digest as _;
        let text = format!(
            "threshold={};min_component_px={};close_px={};open_px={};max_coverage={};feather_sigma_px={}",
            self.threshold,
            self.min_component_px,
            self.close_px,
            self.open_px,
            self.max_coverage,
            self.feather_sigma_px
        );
        let digest = sha2::Sha256::digest(text.as_bytes());
        let first: [u8; 4] = [digest[0], digest[1], digest[2], digest[3]];
        format!("{:08x}", u32::from_be_bytes(first))
    }
}

/// Why a mask should not be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MaskGate {
    /// The processed mask has no pixel.
    Empty,
    /// The processed mask covers too much of the picture.
    CoversTooMuch {
        /// Covered fraction, 0 to 1.
        coverage: f32,
        /// Allowed fraction, 0 to 1.
        max: f32,
    },
    /// No component of the raw mask is large enough to be an object.
    NoLargeComponent {
        /// Pixels of the largest component.
        largest_px: u64,
        /// Pixels that are needed.
        min_px: u64,
    },
    /// The processed mask reaches into what must not be touched.
    TouchesSubject {
        /// Pixels of the subject that it covers.
        px: u64,
    },
}

impl std::fmt::Display for MaskGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("the processed mask is empty: nothing would be repainted"),
            Self::CoversTooMuch { coverage, max } => write!(
                f,
                "the processed mask covers {:.1} % of the picture; at most {:.0} % is allowed",
                coverage * 100.0,
                max * 100.0
            ),
            Self::NoLargeComponent { largest_px, min_px } => write!(
                f,
                "the raw mask has no component of {min_px} px; its largest has {largest_px}"
            ),
            Self::TouchesSubject { px } => {
                write!(f, "the processed mask covers {px} px of the subject")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_wrong_value_names_its_field() {
        let recipe = MaskRecipe {
            open_px: f32::NAN,
            ..MaskRecipe::default()
        };
        assert!(recipe.check().unwrap_err().to_string().contains("open_px"));
        let recipe = MaskRecipe {
            max_coverage: 1.5,
            ..MaskRecipe::default()
        };
        assert!(recipe.check().unwrap_err().to_string().contains("1.5"));
        assert_eq!(MaskRecipe::default().check(), Ok(()));
        for preset in MaskRecipe::presets() {
            assert_eq!(preset.recipe.check(), Ok(()), "{}", preset.name);
        }
    }

    #[test]
    fn the_hash_changes_with_anything_but_the_dilation() {
        let base = MaskRecipe::default();
        let dilated = MaskRecipe {
            dilate_px: 12.0,
            ..base.clone()
        };
        assert_eq!(base.hash8(), dilated.hash8());
        assert!(base.same_but_dilation(&dilated));
        let opened = MaskRecipe {
            open_px: 1.0,
            ..base.clone()
        };
        assert_ne!(base.hash8(), opened.hash8());
        assert!(!base.same_but_dilation(&opened));
        assert_eq!(base.hash8().len(), 8);
    }
}
