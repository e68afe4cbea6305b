//! Which cells of the open run are run again with another recipe, and the extension that this becomes.

use crate::model::cell::{CellKey, RadiusPx};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
use crate::state::lab::recipe_field::RecipeField;
use crate::state::run_view::RunView;
use std::path::PathBuf;

/// Which cells are run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RerunScope {
    /// The selected cell.
    Selected,
    /// All cells of the grid as it is shown, sweeps below it aside.
    Shown,
}

/// An extension of a run: what the audit runner needs to carry it out.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtendRun {
    /// The run's folder.
    pub dir: PathBuf,
    /// The folder of weights.
    pub models_dir: PathBuf,
    /// The values of every axis; prompts are indices into `prompts`.
    pub matrix: Matrix,
    /// The recipe; its dilation is the matrix's only one.
    pub recipe: MaskRecipe,
    /// The run's prompts.
    pub prompts: Vec<String>,
    /// Why the mask's gates are overridden, if they are.
    pub gates_override: Option<String>,
}

/// The cells that a scope names.
pub fn cells(view: &RunView, scope: RerunScope) -> Vec<CellKey> {
    match scope {
        RerunScope::Selected => view.selected.iter().cloned().collect(),
        RerunScope::Shown => view.grid.cells.iter().flatten().cloned().collect(),
    }
}

/// The extension that runs these cells again with another recipe. A matrix is a product, so that cells
/// that are not one are completed to it.
///
/// # Errors
/// A sentence when there is nothing to run, or when something of it is not known.
pub fn extension(
    view: &RunView,
    scope: RerunScope,
    recipe: &MaskRecipe,
    models_dir: &str,
    gates_override: &str,
) -> Result<ExtendRun, String> {
    let Some(document) = view.run.document() else {
        return Err(
            "this run has no session: its mask is unknown, so nothing can be run again".to_owned(),
        );
    };
    let cells = cells(view, scope);
    if cells.is_empty() {
        return Err("no cell is selected".to_owned());
    }
    recipe.check().map_err(|error| error.to_string())?;
    let dilation = RadiusPx::new(f64::from(recipe.dilate_px)).map_err(|error| error.to_string())?;
    let own = &document.plan.matrix;
    let or = |found: Vec<u64>| {
        if found.is_empty() {
            own.seeds.clone()
        } else {
            found
        }
    };
    let prompts = distinct(cells.iter().filter_map(|key| key.prompt));
    let matrix = Matrix {
        quants: distinct(cells.iter().map(|key| key.quant.clone())),
        guidances: distinct(cells.iter().map(|key| key.guidance)),
        steps: distinct(cells.iter().map(|key| key.steps)),
        seeds: or(distinct(cells.iter().filter_map(|key| key.seed))),
        prompts: if prompts.is_empty() {
            own.prompts.clone()
        } else {
            prompts
        },
        dilations: vec![dilation],
    };
    matrix.check().map_err(|error| error.to_string())?;
    Ok(ExtendRun {
        dir: view.dir.clone(),
        models_dir: PathBuf::from(models_dir),
        matrix,
        recipe: recipe.clone(),
        prompts: view.run.prompts.clone(),
        gates_override: (!gates_override.trim().is_empty()).then(|| gates_override.to_owned()),
    })
}

/// The values without repetition, in their order.
fn distinct<T: PartialEq + Clone>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// What a cell was made with, if its recipe is not the one on screen: see [`made_with`].
pub fn made_at(view: &RunView, key: &CellKey) -> Option<String> {
    let shown = view.shown_recipe(key)?;
    made_with(&view.run.recipe_of(key)?, &shown)
}

/// How the recipe that a result was made with differs from the one on screen: `made at 10 px`,
/// `made at 10 px, open 2`, `made with feather σ 4`. `None` where they make the same picture.
pub fn made_with(made: &MaskRecipe, shown: &MaskRecipe) -> Option<String> {
    let differs = |field: &RecipeField| (field.value(made) - field.value(shown)).abs() > 1e-4;
    let mut text = String::new();
    if differs(&RecipeField::Dilate) {
        text = format!("made at {} px", made.dilate_px);
    }
    let rest = RecipeField::ALL
        .into_iter()
        .filter(|field| *field != RecipeField::Dilate && differs(field));
    for field in rest {
        text.push_str(if text.is_empty() { "made with " } else { ", " });
        text.push_str(&format!("{} {}", field.label(), field.text(made)));
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_names_everything_that_a_recipe_does_otherwise() {
        let made = MaskRecipe::default();
        let shown = |change: fn(&mut MaskRecipe)| {
            let mut shown = MaskRecipe::default();
            change(&mut shown);
            made_with(&made, &shown)
        };
        assert_eq!(shown(|_| {}), None);
        assert_eq!(
            shown(|recipe| recipe.max_coverage = 0.9),
            None,
            "no picture shows it"
        );
        assert_eq!(
            shown(|recipe| recipe.dilate_px = 14.5).as_deref(),
            Some("made at 10 px")
        );
        assert_eq!(
            shown(|recipe| recipe.feather_sigma_px = 2.5).as_deref(),
            Some("made with feather σ 4")
        );
        let all = shown(|recipe| {
            *recipe = MaskRecipe {
                threshold: 90,
                min_component_px: 7,
                close_px: 1.5,
                open_px: 0.0,
                dilate_px: 3.0,
                max_coverage: 0.4,
                feather_sigma_px: 0.0,
            };
        });
        assert_eq!(
            all.as_deref(),
            Some("made at 10 px, threshold 128, drop under 50, close 0, open 2, feather σ 4")
        );
    }
}
