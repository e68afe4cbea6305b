//! Which cells of the open run are run again with another recipe, and the extension that this becomes.

use crate::model::cell::{CellKey, RadiusPx};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
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

/// What a cell was made at, if another dilation is on screen: `made at 10 px`.
pub fn made_at(view: &RunView, key: &CellKey) -> Option<String> {
    let made_px = key.dilate_px?.value() as f32;
    let shown_px = view.look.dilate_px?;
    ((shown_px - made_px).abs() > 1e-4).then(|| format!("made at {made_px} px"))
}
