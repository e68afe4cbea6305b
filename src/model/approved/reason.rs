//! What holds an approval back. Each can be overridden, by a typed reason that is written down.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// A kind of reason, by the code that stands in `phase1.toml` and is typed on the command line.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ReasonCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl ReasonCode {
            /// All codes, in the order in which they are listed.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code; it never changes.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

codes! {
    /// Cells with a picture that the approving reviewer has not looked at.
    UnseenCells = "unseen_cells",
    /// Some reviewer rejected the cell.
    FailureOnCell = "failure_on_cell",
    /// Cells of the run are missing or failed.
    IncompleteRun = "incomplete_run",
    /// The transformer file's SHA-256 is not known.
    UnknownWeightsHash = "unknown_weights_hash",
    /// The seed is not known.
    UnknownSeed = "unknown_seed",
    /// The mask recipe is not known.
    UnknownRecipe = "unknown_recipe",
    /// The prompt is not known.
    UnknownPrompt = "unknown_prompt",
    /// Inference size and prompt length are not known.
    UnknownInferenceInputs = "unknown_inference_inputs",
    /// The picture's SHA-256 is not known.
    UnknownImageHash = "unknown_image_hash",
    /// The recipe that is to be written is not the one that the cell was made with.
    RecipeDiffers = "recipe_differs",
    /// Integer kernels made the cell, which also quantize activations; production does not use them.
    IntegerKernels = "integer_kernels",
    /// It was not made on production's GPU.
    GpuNotProduction = "gpu_not_production",
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// A code that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no reason {0:?} that could hold an approval back; there are {known}", known = known())]
pub struct UnknownReason(pub String);

fn known() -> String {
    let codes: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.code()).collect();
    codes.join(", ")
}

impl FromStr for ReasonCode {
    type Err = UnknownReason;
    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL
            .iter()
            .find(|code| code.code() == text)
            .copied()
            .ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

/// One reason, with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBack {
    /// Which kind.
    pub code: ReasonCode,
    /// A sentence with the figures or names, such as "7 of 18 cells are unseen: …".
    pub sentence: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_is_snake_case() {
        for code in ReasonCode::ALL {
            assert_eq!(code.code().parse(), Ok(*code));
            assert!(
                code.code()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
        }
    }

    #[test]
    fn an_unknown_code_is_answered_with_the_known_ones() {
        let error = "gpu".parse::<ReasonCode>();
        assert!(
            matches!(&error, Err(e) if e.to_string().contains("gpu_not_production")),
            "{error:?}"
        );
    }
}
