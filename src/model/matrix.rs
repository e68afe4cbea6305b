//! A matrix: the values of every axis, and the ordered cells that they give.

use super::cell::{CellKey, Guidance, Quant, RadiusPx, RecipeHash, Steps};
use serde::{Deserialize, Serialize};

/// The largest number of cells in one plan.
pub const MAX_CELLS: usize = 10_000;

/// A matrix that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// An axis without a value.
    #[error("the matrix has no {axis}: give at least one value")]
    EmptyAxis {
        /// The axis' name.
        axis: &'static str,
    },
    /// A value that is given twice.
    #[error("the matrix names {axis} {value} twice")]
    Repeated {
        /// The axis' name.
        axis: &'static str,
        /// The repeated value.
        value: String,
    },
    /// Too many cells.
    #[error("the matrix has {cells} cells; at most {MAX_CELLS} are allowed")]
    TooManyCells {
        /// The product of all axes.
        cells: usize,
    },
}

/// One of the six axes along which cells differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Axis {
    /// Quantization of the transformer.
    Quant,
    /// Guidance scale.
    Guidance,
    /// Denoising steps.
    Steps,
    /// Seed of the initial noise.
    Seed,
    /// Prompt, by its index in the run.
    Prompt,
    /// Dilation of the mask, in pixels at inference size, and any other change of the recipe.
    Dilation,
}

impl Axis {
    /// All axes, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Quant,
        Self::Guidance,
        Self::Steps,
        Self::Seed,
        Self::Prompt,
        Self::Dilation,
    ];

    /// The axis' name as it is shown.
    pub fn label(self) -> &'static str {
        match self {
            Self::Quant => "quant",
            Self::Guidance => "guidance",
            Self::Steps => "steps",
            Self::Seed => "seed",
            Self::Prompt => "prompt",
            Self::Dilation => "dilation",
        }
    }

    /// The cell's value on this axis.
    pub fn value_of(self, key: &CellKey) -> AxisValue {
        match self {
            Self::Quant => AxisValue::Quant(key.quant.clone()),
            Self::Guidance => AxisValue::Guidance(key.guidance),
            Self::Steps => AxisValue::Steps(key.steps),
            Self::Seed => AxisValue::Seed(key.seed),
            Self::Prompt => AxisValue::Prompt(key.prompt),
            Self::Dilation => AxisValue::Dilation(key.dilate_px, key.recipe.clone()),
        }
    }
}

/// A value on an axis; ordered as a person expects to see them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AxisValue {
    /// A quantization.
    Quant(Quant),
    /// A guidance scale.
    Guidance(Guidance),
    /// A number of steps.
    Steps(Steps),
    /// A seed, `None` where it is unknown.
    Seed(Option<u64>),
    /// A prompt's index, `None` where it is unknown.
    Prompt(Option<usize>),
    /// A dilation in pixels at inference size, with the recipe where that differs too.
    Dilation(Option<RadiusPx>, Option<RecipeHash>),
}

impl AxisValue {
    /// The value as it is shown in a label; `prompts` are the run's.
    pub fn label(&self, prompts: &[String]) -> String {
        match self {
            Self::Quant(quant) => quant.to_string(),
            Self::Guidance(guidance) => guidance.to_string(),
            Self::Steps(steps) => steps.to_string(),
            Self::Seed(Some(seed)) => seed.to_string(),
            Self::Prompt(Some(index)) => prompts.get(*index).map_or_else(
                || format!("prompt {index}"),
                |prompt| super::prompt::short_label(prompt, 24),
            ),
            Self::Dilation(Some(px), None) => format!("{px} px"),
            Self::Dilation(Some(px), Some(recipe)) => {
                format!("{px} px, recipe {}", recipe.as_str())
            }
            Self::Seed(None) | Self::Prompt(None) | Self::Dilation(None, _) => "unknown".to_owned(),
        }
    }
}

/// The values of every axis. The first of each is the default, which cell names leave out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Quantizations.
    pub quants: Vec<Quant>,
    /// Guidance scales.
    pub guidances: Vec<Guidance>,
    /// Numbers of denoising steps.
    pub steps: Vec<Steps>,
    /// Seeds of the initial noise.
    pub seeds: Vec<u64>,
    /// Indices into the run's prompts.
    pub prompts: Vec<usize>,
    /// Dilations in pixels at inference size.
    pub dilations: Vec<RadiusPx>,
}

fn check_axis<T: PartialEq + ToString>(
    axis: &'static str,
    values: &[T],
) -> Result<(), MatrixError> {
    if values.is_empty() {
        return Err(MatrixError::EmptyAxis { axis });
    }
    for (index, value) in values.iter().enumerate() {
        if values[..index].contains(value) {
            return Err(MatrixError::Repeated {
                axis,
                value: value.to_string(),
            });
        }
    }
    Ok(())
}

impl Matrix {
    /// The audit's matrix: three quants, five guidances, 28 steps, seed 42, one prompt, one dilation.
    pub fn audit(dilate_px: RadiusPx) -> Self {
        Self {
            quants: Quant::audited(),
            guidances: Guidance::audited(),
            steps: vec![Steps::PRODUCTION],
            seeds: vec![42],
            prompts: vec![0],
            dilations: vec![dilate_px],
        }
    }

    /// Checks that each axis has a value, none twice, and that the product is at most [`MAX_CELLS`].
    ///
    /// # Errors
    /// [`MatrixError`] naming the axis.
    pub fn check(&self) -> Result<(), MatrixError> {
        // Before the values are compared with each other, which takes the square of their number.
        if self.cell_count() > MAX_CELLS {
            return Err(MatrixError::TooManyCells {
                cells: self.cell_count(),
            });
        }
        check_axis("quant", &self.quants)?;
        check_axis("guidance", &self.guidances)?;
        check_axis("steps", &self.steps)?;
        check_axis("seed", &self.seeds)?;
        check_axis("prompt", &self.prompts)?;
        check_axis("dilation", &self.dilations)
    }

    /// The product of all axes.
    pub fn cell_count(&self) -> usize {
        [
            self.quants.len(),
            self.guidances.len(),
            self.steps.len(),
            self.seeds.len(),
            self.prompts.len(),
            self.dilations.len(),
        ]
        .into_iter()
        .fold(1, usize::saturating_mul)
    }

    /// All cells, quant by quant, since loading a quant is the expensive part; within a quant what is
    /// prepared per prompt and dilation stays together.
    pub fn cells(&self, recipe: Option<&RecipeHash>) -> Vec<CellKey> {
        let mut cells = Vec::with_capacity(self.cell_count().min(MAX_CELLS));
        for quant in &self.quants {
            for prompt in &self.prompts {
                for dilate_px in &self.dilations {
                    for seed in &self.seeds {
                        for steps in &self.steps {
                            for guidance in &self.guidances {
                                cells.push(CellKey {
                                    quant: quant.clone(),
                                    guidance: *guidance,
                                    steps: *steps,
                                    seed: Some(*seed),
                                    prompt: Some(*prompt),
                                    dilate_px: Some(*dilate_px),
                                    recipe: recipe.cloned(),
                                });
                            }
                        }
                    }
                }
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn matrix() -> Matrix {
        Matrix::audit(RadiusPx::new(10.0).unwrap())
    }

    #[test]
    fn the_audits_matrix_has_fifteen_cells_grouped_by_quant() {
        let cells = matrix().cells(None);
        assert_eq!(cells.len(), 15);
        let changes = cells
            .windows(2)
            .filter(|pair| pair[0].quant != pair[1].quant)
            .count();
        assert_eq!(changes, 2);
    }

    #[test]
    fn an_empty_or_repeated_axis_is_named() {
        let mut empty = matrix();
        empty.seeds.clear();
        assert_eq!(empty.check(), Err(MatrixError::EmptyAxis { axis: "seed" }));
        let mut twice = matrix();
        twice.guidances.push(Guidance::new(4.0).unwrap());
        assert!(
            twice
                .check()
                .unwrap_err()
                .to_string()
                .contains("guidance 4 twice")
        );
        assert_eq!(matrix().check(), Ok(()));
    }

    #[test]
    fn a_huge_matrix_is_refused_before_it_is_made() {
        let mut huge = matrix();
        huge.seeds = (0..100_000).collect();
        assert!(matches!(
            huge.check(),
            Err(MatrixError::TooManyCells { cells: 1_500_000 })
        ));
    }
}
