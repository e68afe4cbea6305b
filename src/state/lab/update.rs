//! The lab's part of the one place that changes the state.

use super::painting::PaintOp;
use super::rerun::{self, RerunScope};
use super::result::{Opened, Painted};
use super::{Brush, LabEffect, LabEvent, LabMsg, LabSource, LabTab, LabView, Slot};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::{CellState, files};
use crate::state::command::Command;
use crate::state::look::{self, Overlay, ViewRequest};
use crate::state::named_session;
use crate::state::update::load_masks;
use crate::state::{AppState, Effect, FolderFor};
use std::path::PathBuf;

/// Overlays that the key goes through in the lab.
const OVERLAYS: [Overlay; 4] = [Overlay::Ring, Overlay::Outline, Overlay::Tint, Overlay::Off];

fn lab(effect: LabEffect) -> Effect {
    Effect::Lab(effect)
}

impl LabView {
    fn new(opening: u64, opened: Box<Opened>, painted: Painted) -> Self {
        let other = MaskRecipe::none();
        Self {
            opening,
            recipes: [opened.recipe.clone(), other],
            is_b_held: false,
            results: [None, None],
            requested: 0,
            tab: LabTab::Mask,
            overlay: Overlay::Ring,
            brush: Brush::default(),
            painted,
            pending: None,
            fill_of: None,
            composed: [None, None],
            view_request: (ViewRequest::Fit, 0),
            saved_recipe: opened.saved_recipe.clone(),
            is_saving: false,
            opened,
        }
    }

    fn process(&mut self, slot: Slot) -> Effect {
        self.requested += 1;
        lab(LabEffect::Process {
            slot,
            recipe: Box::new(self.recipes[slot.index()].clone()),
            generation: self.requested,
        })
    }
}

/// Asks for a session. What the lab holds stays on screen until the new one is there.
fn open(state: &mut AppState, source: LabSource) -> Vec<Effect> {
    state.next_id += 1;
    state.lab_opening = Some(state.next_id);
    vec![lab(LabEffect::Open {
        opening: state.next_id,
        source,
        sessions_dir: PathBuf::from(&state.settings.sessions_dir),
    })]
}

fn open_run(state: &mut AppState) -> Vec<Effect> {
    let Some(view) = &state.run else {
        return Vec::new();
    };
    let Some(document) = view.run.document() else {
        if let Some(named) = &view.named {
            return open(state, LabSource::Session(named.dir.clone()));
        }
        state.toast(
            "this run has no session: name it on the run's page, or open the session's folder",
            true,
        );
        return Vec::new();
    };
    let source = LabSource::Run {
        dir: view.dir.clone(),
        document: Box::new(document.clone()),
    };
    open(state, source)
}

/// The exact composite of what is on screen, if there is one to make.
fn compose(state: &AppState) -> Vec<Effect> {
    let (Some(view), Some(run)) = (&state.lab, &state.run) else {
        return Vec::new();
    };
    let Some(key) = view
        .fill_of
        .as_ref()
        .filter(|_| view.tab == LabTab::Composite)
    else {
        return Vec::new();
    };
    if view.exact_composite().is_some() {
        return Vec::new();
    }
    vec![lab(LabEffect::Compose {
        fill: run.dir.join(files::fill(&run.run.cell_name(key))),
        cell: Box::new(key.clone()),
        recipe: Box::new(view.shown_recipe().clone()),
    })]
}

/// Whether the open run's fills belong to the photograph in the lab.
fn has_fills(state: &AppState) -> bool {
    let (Some(view), Some(run)) = (&state.lab, &state.run) else {
        return false;
    };
    match &view.opened.source {
        LabSource::Run { dir, .. } => *dir == run.dir,
        LabSource::Session(_) => run.run.document().is_some_and(|document| {
            let placement = &view.opened.placement;
            let (own, region) = (placement.region, document.inference_box);
            document.session.as_str() == view.opened.name
                && document.inference_size_px == placement.inference_size
                && (own.x, own.y, own.width, own.height)
                    == (region.x, region.y, region.width, region.height)
        }),
    }
}

/// The finished cells whose fills the composite may show.
pub fn fills(state: &AppState) -> Vec<crate::model::cell::CellKey> {
    if !has_fills(state) {
        return Vec::new();
    }
    let is_done = |(_, cell): &(_, &CellState)| matches!(cell, CellState::Done(_));
    state
        .run
        .iter()
        .flat_map(|view| view.run.cells.iter().filter(is_done))
        .map(|(key, _)| key.clone())
        .collect()
}

/// Applies what a panel of the lab says.
pub fn on_msg(state: &mut AppState, msg: LabMsg) -> Vec<Effect> {
    match msg {
        LabMsg::OpenRun => return open_run(state),
        LabMsg::OpenSession(dir) => return open(state, LabSource::Session(dir)),
        LabMsg::Rerun(scope) => return rerun_cells(state, scope),
        LabMsg::UseInNewRun => return use_in_new_run(state),
        LabMsg::UseInOpenRun => {
            use_in_open_run(state);
            return load_masks(state);
        }
        LabMsg::Save => return save(state),
        LabMsg::Settle => return compose(state),
        _ => {}
    }
    let selected = state.run.as_ref().and_then(|view| view.selected.clone());
    let all_fills = fills(state);
    let Some(view) = &mut state.lab else {
        return Vec::new();
    };
    match msg {
        LabMsg::SetRecipe { recipe, is_settled } => {
            if recipe.check().is_err() || *recipe == view.recipes[0] {
                return if is_settled {
                    compose(state)
                } else {
                    Vec::new()
                };
            }
            view.recipes[0] = *recipe;
            let mut effects = vec![view.process(Slot::A)];
            if is_settled {
                effects.extend(compose(state));
            }
            effects
        }
        LabMsg::KeepAsB => {
            view.recipes[1] = view.recipes[0].clone();
            view.results[1] = None;
            vec![view.process(Slot::B)]
        }
        LabMsg::SwapRecipes => {
            view.recipes.swap(0, 1);
            view.results.swap(0, 1);
            view.composed.swap(0, 1);
            let mut effects = vec![view.process(Slot::A), view.process(Slot::B)];
            effects.extend(compose(state));
            effects
        }
        LabMsg::SetTab(tab) => {
            view.tab = tab;
            if tab == LabTab::Composite && view.fill_of.is_none() {
                view.fill_of = selected
                    .filter(|key| all_fills.contains(key))
                    .or_else(|| all_fills.first().cloned());
            }
            compose(state)
        }
        LabMsg::SetOverlay(overlay) => {
            view.overlay = overlay;
            Vec::new()
        }
        LabMsg::SetBrush(brush) => {
            let radius_px = if brush.radius_px.is_finite() {
                brush.radius_px.clamp(0.5, 500.0)
            } else {
                12.0
            };
            view.brush = Brush { radius_px, ..brush };
            Vec::new()
        }
        LabMsg::Paint(op) => vec![lab(LabEffect::Paint(op))],
        LabMsg::ChooseMask => vec![lab(LabEffect::ChooseMask)],
        LabMsg::LoadMask(path) => vec![lab(LabEffect::LoadMask(path))],
        LabMsg::PasteMask { size, rgba } => vec![lab(LabEffect::PasteMask { size, rgba })],
        LabMsg::FixMask(fix) => vec![lab(LabEffect::FixMask(fix))],
        LabMsg::UseMask => vec![lab(LabEffect::UseMask)],
        LabMsg::DropMask => vec![lab(LabEffect::DropMask)],
        LabMsg::ShowFillOf(key) => {
            view.fill_of = Some(key);
            compose(state)
        }
        LabMsg::OpenRun
        | LabMsg::OpenSession(_)
        | LabMsg::Rerun(_)
        | LabMsg::UseInNewRun
        | LabMsg::UseInOpenRun
        | LabMsg::Save
        | LabMsg::Settle => Vec::new(),
    }
}

fn save(state: &mut AppState) -> Vec<Effect> {
    let Some(view) = &mut state.lab else {
        return Vec::new();
    };
    if let Some(problem) = &view.opened.document_problem {
        let text = format!("not saved, so that nothing is overwritten: {problem}");
        state.toast(text, true);
        return Vec::new();
    }
    let Some(dir) = view.opened.session_dir.clone() else {
        return vec![Effect::ChooseFolder(FolderFor::LabSession)];
    };
    view.is_saving = true;
    vec![lab(LabEffect::Save {
        dir,
        recipe: Box::new(view.recipes[0].clone()),
    })]
}

/// A folder was chosen to save the lab's session in.
pub fn save_in(state: &mut AppState, dir: PathBuf) -> Vec<Effect> {
    if let Some(view) = &mut state.lab {
        view.opened.session_dir = Some(dir);
    }
    save(state)
}

fn use_in_new_run(state: &mut AppState) -> Vec<Effect> {
    let Some(view) = &state.lab else {
        return Vec::new();
    };
    let recipe = view.recipe().clone();
    state.compose.dilations = recipe.dilate_px.to_string();
    state.compose.recipe = recipe;
    if let Some(dir) = &view.opened.session_dir {
        state.compose.session_dir = dir.display().to_string();
    }
    if view.painted.is_changed {
        state.toast(
            "the painted mask is not saved yet: a new run takes the session's file",
            false,
        );
    }
    state.page = crate::state::Page::Compose;
    super::super::update::check_form(state)
}

/// The open run shows the lab's dilation from now on, and its cells what they were made at.
fn use_in_open_run(state: &mut AppState) {
    let Some(recipe) = state.lab.as_ref().map(|view| view.recipe().clone()) else {
        return;
    };
    let Some(view) = &mut state.run else {
        state.toast("no run is open", true);
        return;
    };
    view.look.dilate_px = Some(recipe.dilate_px);
    let own = view.run.document().map(|document| &document.plan.recipe);
    let differs_otherwise = own.is_some_and(|own| !own.same_but_dilation(&recipe));
    view.lab_recipe = Some(recipe);
    state.page = crate::state::Page::Run;
    if differs_otherwise {
        state.toast(
            "the recipe differs from the run's in more than its dilation: the grid draws the mask that \
             it makes, and cells that are run again take all of it",
            false,
        );
    }
}

/// The recipe that cells are run again with: the lab's if it was handed over, else the selected cell's own
/// or the run's; in either case with the dilation that the overlay shows.
fn rerun_recipe(state: &AppState, scope: RerunScope) -> Option<MaskRecipe> {
    let view = state.run.as_ref()?;
    let document = view.run.document()?;
    let own = match (scope, &view.selected) {
        (RerunScope::Selected, Some(key)) => view.run.recipe_of(key),
        _ => Some(document.plan.recipe.clone()),
    };
    let mut recipe = view.lab_recipe.clone().or(own)?;
    if let Some(dilate_px) = view.look.dilate_px {
        recipe.dilate_px = dilate_px;
    }
    Some(recipe)
}

fn rerun_cells(state: &mut AppState, scope: RerunScope) -> Vec<Effect> {
    if state.rerun_waits {
        state.toast(
            "cells wait to be run again already; let the run under way end first",
            true,
        );
        return Vec::new();
    }
    let (Some(view), Some(recipe)) = (&state.run, rerun_recipe(state, scope)) else {
        state.toast(
            "no run of this program is open, so nothing can be run again",
            true,
        );
        return Vec::new();
    };
    let form = &state.compose;
    match rerun::extension(view, scope, &recipe, &form.models_dir, &form.gates_override) {
        Ok(extension) => {
            if state.is_running() {
                state.rerun_waits = true;
                let text = "queued: these cells are run again once the run under way has ended";
                state.toast(text, false);
            }
            vec![Effect::ExtendRun(Box::new(extension))]
        }
        Err(problem) => {
            state.toast(problem, true);
            Vec::new()
        }
    }
}

/// Keys while the lab is in front; `None` for those that mean the same on every page.
pub fn on_command(state: &mut AppState, command: Command) -> Option<Vec<Effect>> {
    let view = state.lab.as_mut()?;
    match command {
        Command::HoldReference => {
            let is_held = !view.is_b_held;
            return Some(hold_other(state, is_held));
        }
        Command::DilateBy(px) => {
            let mut recipe = view.recipe().clone();
            recipe.dilate_px = (recipe.dilate_px + f32::from(px)).clamp(0.0, 256.0);
            let set = LabMsg::SetRecipe {
                recipe: Box::new(recipe),
                is_settled: true,
            };
            return Some(on_msg(state, set));
        }
        Command::Undo => return Some(on_msg(state, LabMsg::Paint(PaintOp::Undo))),
        Command::Redo => return Some(on_msg(state, LabMsg::Paint(PaintOp::Redo))),
        Command::CycleOverlay => view.overlay = look::next_in(&OVERLAYS, view.overlay),
        Command::Fit => view.ask(ViewRequest::Fit),
        Command::ToggleMaskBox => view.ask(ViewRequest::ToggleMaskBox),
        Command::ActualSize => view.ask(ViewRequest::ActualSize),
        Command::ZoomIn => view.ask(ViewRequest::ZoomBy(1.25)),
        Command::ZoomOut => view.ask(ViewRequest::ZoomBy(0.8)),
        Command::PanBy(across, down) => view.ask(ViewRequest::PanBy([across, down].map(f32::from))),
        _ => return None,
    }
    Some(Vec::new())
}

/// Space was pressed or let go.
pub fn hold_other(state: &mut AppState, is_held: bool) -> Vec<Effect> {
    let Some(view) = &mut state.lab else {
        return Vec::new();
    };
    view.is_b_held = is_held;
    compose(state)
}

/// Applies what comes back from the background; what belongs to an older opening is dropped.
pub fn on_event(state: &mut AppState, event: LabEvent) -> Vec<Effect> {
    if let LabEvent::Opened(opening, result) = event {
        return on_opened(state, opening, result);
    }
    if let LabEvent::MaskChosen(path) = event {
        return on_msg(state, LabMsg::LoadMask(path));
    }
    let of = match &event {
        LabEvent::Processed(opening, ..)
        | LabEvent::Painted(opening, _)
        | LabEvent::Pending(opening, _)
        | LabEvent::Composed(opening, _)
        | LabEvent::Saved(opening, _) => *opening,
        LabEvent::Opened(..) | LabEvent::MaskChosen(_) => return Vec::new(),
    };
    let Some(view) = state.lab.as_mut().filter(|view| view.opening == of) else {
        return Vec::new();
    };
    match event {
        LabEvent::Processed(_, slot, result) => {
            let shown = view.results[slot.index()].as_ref();
            let is_newer = shown.is_none_or(|shown| {
                (result.generation, result.mask_revision) >= (shown.generation, shown.mask_revision)
            });
            // A slot whose recipes were exchanged waits for the result of its own.
            if is_newer {
                view.results[slot.index()] = Some(result);
            }
        }
        LabEvent::Painted(_, painted) => {
            if painted.revision >= view.painted.revision {
                view.painted = painted;
            }
            return compose(state);
        }
        LabEvent::Pending(_, pending) => view.pending = pending,
        LabEvent::Composed(_, composed) => {
            let is_other = composed.recipe == view.recipes[1] && composed.recipe != view.recipes[0];
            let slot = if is_other { Slot::B } else { Slot::A };
            view.composed[slot.index()] = Some(composed);
        }
        LabEvent::Saved(_, result) => {
            view.is_saving = false;
            match result {
                Ok(saved) => {
                    if saved.mask_revision == Some(view.painted.revision) {
                        view.painted.is_changed = false;
                    }
                    view.saved_recipe = Some(saved.recipe);
                    state.toast(format!("saved: {}", saved.dir.display()), false);
                    return named_session::changed(state, &saved.dir);
                }
                Err(problem) => state.toast(problem, true),
            }
        }
        LabEvent::Opened(..) | LabEvent::MaskChosen(_) => {}
    }
    Vec::new()
}

fn on_opened(
    state: &mut AppState,
    opening: u64,
    result: Result<(Box<Opened>, Painted), String>,
) -> Vec<Effect> {
    if state.lab_opening != Some(opening) {
        return Vec::new();
    }
    state.lab_opening = None;
    match result {
        Ok((opened, painted)) => {
            let mut view = LabView::new(opening, opened, painted);
            let effects = vec![view.process(Slot::A), view.process(Slot::B)];
            state.lab = Some(view);
            effects
        }
        Err(problem) => {
            state.toast(problem, true);
            Vec::new()
        }
    }
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
