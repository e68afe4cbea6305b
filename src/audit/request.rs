//! What is asked of a new run, and the checks that need no picture and no weights.

use super::AuditError;
use crate::model::ids::RunId;
use crate::model::run::{InferenceSize, MatmulPath, Plan, dilation_of};
use std::path::PathBuf;

/// A run as it is asked for, by the command line or the window.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest {
    /// The session's folder.
    pub session_dir: PathBuf,
    /// Where runs are kept.
    pub runs_dir: PathBuf,
    /// The run's name; by the clock if there is none.
    pub run_id: Option<RunId>,
    /// Start another run even where the same one is there already.
    pub is_new: bool,
    /// What is asked.
    pub plan: Plan,
    /// Prompts by index.
    pub prompts: Vec<String>,
    /// How the photograph becomes what the model is given.
    pub inference: InferenceSize,
    /// `cpu`, `cuda:0`, `metal:0`.
    pub device: String,
    /// How weights are multiplied.
    pub matmul: MatmulPath,
    /// Why the mask's gates are overridden.
    pub gates_override: Option<String>,
}

/// The longest side that is accepted, in pixels.
pub const MAX_LONG_SIDE_PX: u32 = 4096;

impl RunRequest {
    /// Checks what can be checked without a picture.
    ///
    /// # Errors
    /// [`AuditError::Refused`] naming the value and what is allowed.
    pub fn check(&self) -> Result<(), AuditError> {
        check_plan(&self.plan, &self.prompts)?;
        let (long_side_px, margin) = match self.inference {
            InferenceSize::Whole { long_side_px } => (long_side_px, 0.0),
            InferenceSize::Crop {
                long_side_px,
                margin,
            } => (long_side_px, margin),
        };
        if !(16..=MAX_LONG_SIDE_PX).contains(&long_side_px) || !long_side_px.is_multiple_of(16) {
            return Err(AuditError::Refused(format!(
                "the inference size must be a multiple of 16 from 16 to {MAX_LONG_SIDE_PX} pixels, \
                 but is {long_side_px}"
            )));
        }
        if !(0.0..=4.0).contains(&margin) {
            return Err(AuditError::Refused(format!(
                "the margin must be a fraction from 0 to 4 of the mask's box, but is {margin}"
            )));
        }
        Ok(())
    }
}

/// Checks a plan with its prompts.
///
/// # Errors
/// [`AuditError::Refused`] naming the axis or the field.
pub fn check_plan(plan: &Plan, prompts: &[String]) -> Result<(), AuditError> {
    let refused = |text: String| AuditError::Refused(text);
    plan.matrix
        .check()
        .map_err(|error| refused(error.to_string()))?;
    plan.recipe
        .check()
        .map_err(|error| refused(error.to_string()))?;
    let of_recipe = dilation_of(&plan.recipe).map_err(|error| refused(error.to_string()))?;
    if let Some(first) = plan
        .matrix
        .dilations
        .first()
        .filter(|first| **first != of_recipe)
    {
        return Err(refused(format!(
            "the recipe dilates by {of_recipe} px but the first dilation of the matrix is {first} px"
        )));
    }
    if let Some(index) = plan
        .matrix
        .prompts
        .iter()
        .find(|index| **index >= prompts.len())
    {
        return Err(refused(format!(
            "prompt {index} is asked for but there are {}",
            prompts.len()
        )));
    }
    for (index, prompt) in prompts.iter().enumerate() {
        if prompts.iter().take(index).any(|earlier| earlier == prompt) {
            return Err(refused(format!("the prompt {prompt:?} is given twice")));
        }
    }
    Ok(())
}
