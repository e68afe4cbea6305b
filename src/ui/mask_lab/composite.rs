//! A finished fill under the recipe that is tuned: approximated while a control is held, exact once it is
//! let go; what cells were made with, and running them again.

use super::super::canvas::{CellPaint, ImageId, ImageSource, Mode};
use super::super::{UiMemory, theme};
use crate::model::cell::CellKey;
use crate::model::run::files;
use crate::state::lab::rerun::{RerunScope, cells as rerun_cells, made_with};
use crate::state::lab::{LabMsg, LabView, fills};
use crate::state::{AppState, Msg};
use eframe::egui;

/// What stands over each picture.
pub fn names(state: &AppState, view: &LabView) -> Vec<String> {
    let (Some(key), Some(run)) = (&view.fill_of, &state.run) else {
        return vec!["original".to_owned()];
    };
    let name = run.run.cell_name(key);
    let how = if view.exact_composite().is_some() {
        "exact"
    } else {
        "approximated"
    };
    let made = badge(state, view, key).map_or(String::new(), |text| format!(", {text}"));
    vec![
        format!("{name} at {} px, {how}", view.shown_recipe().dilate_px),
        format!("{name} as stored{made}"),
        "original".to_owned(),
    ]
}

/// A picture of the lab.
pub struct Picture {
    /// What is painted.
    pub paint: CellPaint,
    /// What is painted until that can be shown.
    pub stand_in: Option<CellPaint>,
}

impl From<CellPaint> for Picture {
    fn from(paint: CellPaint) -> Self {
        Self {
            paint,
            stand_in: None,
        }
    }
}

/// What is painted: the fill under the recipe on screen, the cell as it was stored, the photograph.
pub fn pictures(
    state: &AppState,
    view: &LabView,
    memory: &mut UiMemory,
    photo: ImageId,
    plain: &dyn Fn(ImageId) -> CellPaint,
) -> Vec<Picture> {
    let unmasked = |image| CellPaint {
        mask: None,
        ..plain(image)
    };
    let original = || Picture::from(unmasked(photo));
    let (Some(key), Some(run)) = (&view.fill_of, &state.run) else {
        return vec![original()];
    };
    let name = run.run.cell_name(key);
    let exact = exact_composite(view, memory);
    let Some(canvas) = memory.canvas.as_mut() else {
        return vec![original()];
    };
    let file = |name: String| ImageSource::File {
        path: run.dir.join(name),
        revision: run.generation,
    };
    let fill = canvas.image(&file(files::fill(&name)));
    let stored = canvas.image(&file(files::composite(&name)));
    let lying = plain(fill);
    let approximated = CellPaint {
        reference: Some(photo),
        // A fill covers what was inferred, and nothing else.
        image_box: lying.mask_box,
        mode: Mode::Composite {
            feather_px: view.shown_recipe().feather_sigma_px,
        },
        ..lying
    };
    let composite = match exact {
        // The live one stays until the exact one is there.
        Some(image) => Picture {
            paint: unmasked(image),
            stand_in: Some(approximated),
        },
        None => approximated.into(),
    };
    vec![composite, unmasked(stored).into(), original()]
}

/// The exact composite on the canvas, once it can be shown.
fn exact_composite(view: &LabView, memory: &mut UiMemory) -> Option<ImageId> {
    let composed = view.exact_composite()?;
    let canvas = memory.canvas.as_mut()?;
    let held = &mut memory.lab.composed;
    let is_it = |(revision, _): &&(u64, ImageId)| *revision == composed.revision;
    if let Some((_, id)) = held.iter().flatten().find(is_it) {
        return Some(*id);
    }
    let place = &mut held[view.shown_slot().index()];
    if let Some((_, old)) = place.take() {
        canvas.release(old);
    }
    let id = canvas.image(&ImageSource::Memory {
        name: format!("composite in the lab {}", view.opening).into(),
        bytes: std::sync::Arc::clone(&composed.picture),
        revision: composed.revision,
    });
    *place = Some((composed.revision, id));
    Some(id)
}

/// Which cell's fill the composite shows.
pub fn fill_menu_ui(ui: &mut egui::Ui, state: &AppState, view: &LabView, out: &mut Vec<Msg>) {
    let all = fills(state);
    let Some(run) = state.run.as_ref().filter(|_| !all.is_empty()) else {
        ui.weak(why_no_fill(state, view));
        return;
    };
    let name_of = |key: &CellKey| run.run.cell_name(key);
    let now = view
        .fill_of
        .as_ref()
        .map_or("choose a fill".to_owned(), name_of);
    ui.label("fill");
    let combo = egui::ComboBox::from_id_salt("fill of")
        .selected_text(&now)
        .show_ui(ui, |ui| {
            for key in all {
                let is_now = view.fill_of.as_ref() == Some(&key);
                if ui.selectable_label(is_now, name_of(&key)).clicked() {
                    out.push(Msg::Lab(LabMsg::ShowFillOf(key)));
                }
            }
        });
    combo.response.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::ComboBox, true, format!("fill: {now}"))
    });
    if let Some(text) = view
        .fill_of
        .as_ref()
        .and_then(|key| badge(state, view, key))
    {
        ui.colored_label(theme::warning(ui), text);
    }
}

/// Why there is no fill to show, and the remedy.
fn why_no_fill(state: &AppState, view: &LabView) -> &'static str {
    let is_same_session = state
        .run
        .as_ref()
        .and_then(|run| run.run.document())
        .is_some_and(|document| document.session.as_str() == view.opened.name);
    if is_same_session {
        "no fill of the open run fits: none is finished yet, or another size or part was inferred; \
         “Open the run's session” takes the run's own"
    } else {
        "open a run of this session to see its fills under this recipe"
    }
}

/// What a cell was made with, where that is another recipe than the one on screen.
fn badge(state: &AppState, view: &LabView, key: &CellKey) -> Option<String> {
    let made = state.run.as_ref()?.run.recipe_of(key)?;
    made_with(&made, view.shown_recipe())
}

/// Says that cells of the open run were made otherwise, and offers to run them again.
pub fn made_at_ui(ui: &mut egui::Ui, state: &AppState, view: &LabView, out: &mut Vec<Msg>) {
    let all = fills(state);
    if all.is_empty() {
        return;
    }
    ui.separator();
    let others = all
        .iter()
        .filter(|key| badge(state, view, key).is_some())
        .count();
    ui.label(format!(
        "{others} of {} finished cells were made with another recipe",
        all.len()
    ));
    rerun_buttons_ui(ui, state, out);
}

/// Runs cells of the open run again with the recipe that is tuned.
fn rerun_buttons_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    let Some(run) = &state.run else { return };
    for scope in [RerunScope::Selected, RerunScope::Shown] {
        let count = rerun_cells(run, scope).len();
        let name = match scope {
            RerunScope::Selected => "Re-run the selected cell".to_owned(),
            RerunScope::Shown => format!("Re-run these {count} cells"),
        };
        let is_possible = count > 0 && !state.rerun_waits;
        if ui
            .add_enabled(is_possible, egui::Button::new(name))
            .clicked()
        {
            out.push(Msg::Lab(LabMsg::UseInOpenRun));
            out.push(Msg::Lab(LabMsg::Rerun(scope)));
        }
    }
}
