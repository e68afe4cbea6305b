//! The figures of the three zones for the selected cell against what it is compared with: asked for one
//! at a time, kept by cell and base.
//!
//! They say how much differs, and nothing about which is better.

use crate::imaging::zones::ZoneReport;
use crate::model::cell::CellKey;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::{CellState, RunDocument, files};
use crate::state::look::Reference;
use crate::state::run_view::RunView;
use crate::state::{AppState, Effect, Page};
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::SeeEffect;

/// What figures are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FiguresKey {
    /// The cell.
    pub cell: CellKey,
    /// The picture that it is compared with.
    pub base: PathBuf,
}

/// What is needed to compute figures.
#[derive(Debug, Clone, PartialEq)]
pub struct FiguresJob {
    /// What they are about.
    pub key: FiguresKey,
    /// The opening of the run, [`RunView::generation`].
    pub generation: u64,
    /// The reading of the run: what was computed of an older one is dropped.
    pub reading: u64,
    /// The run's folder, where its mask lies.
    pub dir: PathBuf,
    /// The cell's picture.
    pub picture: PathBuf,
    /// Where the inference picture lies in the original.
    pub document: Box<RunDocument>,
    /// The recipe that the cell was made with, by which its zones are found.
    pub recipe: MaskRecipe,
}

/// The figures that are known, and the ones that are being computed.
#[derive(Debug, Default)]
pub struct FiguresCache {
    known: BTreeMap<FiguresKey, Result<ZoneReport, String>>,
    in_flight: Option<FiguresKey>,
    reading: u64,
}

impl FiguresCache {
    /// What is known; `None` while it is being computed.
    pub fn of(&self, key: &FiguresKey) -> Option<&Result<ZoneReport, String>> {
        self.known.get(key)
    }

    /// Takes what was computed, unless the run was read again since.
    pub fn take_in(&mut self, reading: u64, key: FiguresKey, result: Result<ZoneReport, String>) {
        if reading == self.reading {
            self.in_flight = None;
            self.known.insert(key, result);
        }
    }

    /// Forgets what is known: the pictures may be others now.
    pub fn forget(&mut self) {
        self.known.clear();
        self.in_flight = None;
        self.reading += 1;
    }
}

/// What the right panel shows figures of, or why there are none.
///
/// # Errors
/// A sentence: what is missing, and what would help.
pub fn subject(view: &RunView) -> Result<FiguresKey, String> {
    let Some(cell) = &view.selected else {
        return Err("no cell is selected".to_owned());
    };
    if !matches!(view.run.cells.get(cell), Some(CellState::Done(_))) {
        return Err("this cell has no picture".to_owned());
    }
    if view.run.document().is_none() {
        let why = if view.named.is_some() {
            "not available: the mask recipe of this run is unknown, and with it the zones"
        } else {
            "not available: this run was written by the Python service, which keeps neither session nor \
             mask beside it"
        };
        return Err(why.to_owned());
    }
    if view.run.recipe_of(cell).is_none() {
        return Err("not available: the recipe of this cell's mask is unknown".to_owned());
    }
    let base = match &view.look.reference {
        Reference::Original => view.dir.join(files::IMAGE),
        Reference::Cell(other) if other == cell => {
            return Err("the reference is this cell itself".to_owned());
        }
        Reference::Cell(other) => match view.run.cells.get(other) {
            Some(CellState::Done(_)) => view.dir.join(view.run.picture_file(other)),
            _ => return Err("the reference has no picture".to_owned()),
        },
        Reference::OtherRun => {
            let Some(other) = &view.other else {
                return Err("no second run is open".to_owned());
            };
            other
                .picture_beside(cell)
                .ok_or_else(|| format!("run {} has no picture of this cell", other.run.run_id))?
        }
    };
    Ok(FiguresKey {
        cell: cell.clone(),
        base,
    })
}

/// Whether the selected cell and its reference were made with other masks, so that the reference may
/// differ outside this cell's mask for that reason alone.
pub fn has_other_mask(view: &RunView) -> bool {
    let Some(cell) = &view.selected else {
        return false;
    };
    let theirs = match &view.look.reference {
        Reference::Original => return false,
        Reference::Cell(other) => view.run.recipe_of(other),
        Reference::OtherRun => view.other.as_ref().and_then(|other| {
            let (theirs, _) = other.beside(cell)?;
            other.run.recipe_of(theirs)
        }),
    };
    view.run.recipe_of(cell) != theirs
}

/// Asks for what the right panel lacks, one at a time: while cells fly by, those between are passed over.
pub(crate) fn ask(state: &mut AppState) -> Vec<Effect> {
    if state.page != Page::Run || state.is_right_folded {
        return Vec::new();
    }
    let Some(view) = state.run.as_mut() else {
        return Vec::new();
    };
    if view.figures.in_flight.is_some() || view.judging.blind.is_some() || view.cycle.is_on {
        return Vec::new();
    }
    let Ok(key) = subject(view) else {
        return Vec::new();
    };
    if view.figures.known.contains_key(&key) {
        return Vec::new();
    }
    let (Some(document), Some(recipe)) = (view.run.document(), view.run.recipe_of(&key.cell))
    else {
        return Vec::new();
    };
    let job = FiguresJob {
        generation: view.generation,
        reading: view.figures.reading,
        dir: view.dir.clone(),
        picture: view.dir.join(view.run.picture_file(&key.cell)),
        document: Box::new(document.clone()),
        recipe,
        key: key.clone(),
    };
    view.figures.in_flight = Some(key);
    vec![Effect::See(SeeEffect::Figures(Box::new(job)))]
}
