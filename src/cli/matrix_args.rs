//! The options that describe a matrix and a mask recipe, as they are typed, and what they mean.

use crate::model::cell::{Guidance, Quant, RadiusPx, Steps};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
use crate::model::prompt;
use anyhow::{Context as _, bail};
use std::str::FromStr;

/// The values of every axis. Lists are separated by commas; an option may also be repeated.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Matrix")]
pub struct AxisArgs {
    /// Quantizations of the transformer [default: `Q4_0,Q5_K_S,Q8_0`].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub quant: Vec<String>,
    /// Guidance scales [default: 2,4,10,20,30].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub guidance: Vec<String>,
    /// Numbers of denoising steps [default: 28].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub steps: Vec<String>,
    /// Seeds of the initial noise [default: 42].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub seed: Vec<String>,
    /// A prompt; repeat it for several, "" is the empty one [default: production's].
    #[arg(long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// Dilations of the mask in pixels at inference size [default: the session's, or 10].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub dilate: Vec<String>,
}

/// The mask recipe; what is not given is the session's, or the program's default.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Mask recipe, in pixels at inference size")]
pub struct RecipeArgs {
    /// White is where the mask is at least this, 1 to 255.
    #[arg(long, value_name = "GREY")]
    pub threshold: Option<u8>,
    /// Drop components of fewer pixels.
    #[arg(long, value_name = "PX")]
    pub despeck: Option<u32>,
    /// Radius of the closing.
    #[arg(long, value_name = "PX")]
    pub close: Option<f32>,
    /// Radius of the opening.
    #[arg(long, value_name = "PX")]
    pub open: Option<f32>,
    /// Standard deviation of the composite's feather.
    #[arg(long, value_name = "PX")]
    pub feather: Option<f32>,
    /// The largest part of the picture that the grown mask may cover, 0 to 1.
    #[arg(long, value_name = "FRACTION")]
    pub max_coverage: Option<f32>,
}

impl RecipeArgs {
    /// The recipe on the basis of another.
    pub fn on(&self, base: &MaskRecipe) -> MaskRecipe {
        MaskRecipe {
            threshold: self.threshold.unwrap_or(base.threshold),
            min_component_px: self.despeck.unwrap_or(base.min_component_px),
            close_px: self.close.unwrap_or(base.close_px),
            open_px: self.open.unwrap_or(base.open_px),
            dilate_px: base.dilate_px,
            max_coverage: self.max_coverage.unwrap_or(base.max_coverage),
            feather_sigma_px: self.feather.unwrap_or(base.feather_sigma_px),
        }
    }
}

/// What axes hold that are not given.
#[derive(Debug, Clone)]
pub struct AxisDefaults {
    /// Quantizations.
    pub quants: Vec<Quant>,
    /// Guidance scales.
    pub guidances: Vec<Guidance>,
    /// Numbers of steps.
    pub steps: Vec<Steps>,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// Prompts.
    pub prompts: Vec<String>,
    /// Dilations.
    pub dilations: Vec<RadiusPx>,
}

impl AxisDefaults {
    /// The audit's matrix, with a recipe's dilation.
    ///
    /// # Errors
    /// If the recipe's dilation is out of range.
    pub fn audit(recipe: &MaskRecipe) -> anyhow::Result<Self> {
        let matrix = Matrix::audit(RadiusPx::new(f64::from(recipe.dilate_px))?);
        Ok(Self {
            quants: matrix.quants,
            guidances: matrix.guidances,
            steps: matrix.steps,
            seeds: matrix.seeds,
            prompts: vec![prompt::PRODUCTION.to_owned()],
            dilations: matrix.dilations,
        })
    }
}

fn list<T: FromStr + Clone>(option: &str, typed: &[String], default: &[T]) -> anyhow::Result<Vec<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    if typed.is_empty() {
        return Ok(default.to_vec());
    }
    typed
        .iter()
        .map(|text| {
            text.trim()
                .parse()
                .with_context(|| format!("--{option} {text:?} cannot be read"))
        })
        .collect()
}

impl AxisArgs {
    /// The matrix and its prompts.
    ///
    /// # Errors
    /// Naming the option and the value.
    pub fn matrix(&self, defaults: &AxisDefaults) -> anyhow::Result<(Matrix, Vec<String>)> {
        let prompts = if self.prompt.is_empty() {
            defaults.prompts.clone()
        } else {
            self.prompt.clone()
        };
        let matrix = Matrix {
            quants: list("quant", &self.quant, &defaults.quants)?,
            guidances: list("guidance", &self.guidance, &defaults.guidances)?,
            steps: list("steps", &self.steps, &defaults.steps)?,
            seeds: list("seed", &self.seed, &defaults.seeds)?,
            prompts: (0..prompts.len()).collect(),
            dilations: list("dilate", &self.dilate, &defaults.dilations)?,
        };
        if let Err(error) = matrix.check() {
            bail!("{error}");
        }
        Ok((matrix, prompts))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn defaults() -> AxisDefaults {
        AxisDefaults::audit(&MaskRecipe::default()).unwrap()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn nothing_given_is_the_audits_matrix() {
        let (matrix, prompts) = AxisArgs::default().matrix(&defaults()).unwrap();
        assert_eq!(matrix.cell_count(), 15);
        assert_eq!(prompts, [prompt::PRODUCTION]);
        assert_eq!(matrix.dilations, [RadiusPx::new(10.0).unwrap()]);
    }

    #[test]
    fn every_axis_takes_a_list() {
        let args = AxisArgs {
            quant: words(&["Q4_0", " Q8_0"]),
            guidance: words(&["2", "2.5"]),
            steps: words(&["20", "28", "50"]),
            seed: words(&["1", "2"]),
            prompt: words(&["", "grass, tall"]),
            dilate: words(&["8", "12"]),
        };
        let (matrix, prompts) = args.matrix(&defaults()).unwrap();
        assert_eq!(matrix.cell_count(), 2 * 2 * 3 * 2 * 2 * 2);
        assert_eq!(prompts, ["", "grass, tall"]);
    }

    #[test]
    fn a_wrong_value_names_its_option() {
        for (args, expected) in [
            (
                AxisArgs {
                    guidance: words(&["x"]),
                    ..AxisArgs::default()
                },
                "--guidance \"x\"",
            ),
            (
                AxisArgs {
                    steps: words(&["0"]),
                    ..AxisArgs::default()
                },
                "--steps \"0\"",
            ),
            (
                AxisArgs {
                    seed: words(&["-1"]),
                    ..AxisArgs::default()
                },
                "--seed \"-1\"",
            ),
            (
                AxisArgs {
                    quant: words(&["Q4_0", "Q4_0"]),
                    ..AxisArgs::default()
                },
                "Q4_0 twice",
            ),
        ] {
            let error = args.matrix(&defaults()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
