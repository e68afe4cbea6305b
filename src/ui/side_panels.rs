//! Beside the grid: the original and the mask to the left, what is known of the selected cell to the right.

use super::canvas::{self, CellPaint, Framing, ImageId};
use super::{UiMemory, cell_look, figures_panel, theme, verdicts};
use crate::model::cell::Baseline;
use crate::model::run::{CellState, MatmulPath, Origin};
use crate::state::command::Command;
use crate::state::run_view::RunView;
use crate::state::{AppState, Msg};
use eframe::egui;

/// Original and mask, pinned, looked at through the same view as the cells.
pub fn originals_ui(
    ui: &mut egui::Ui,
    _state: &AppState,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    egui::ScrollArea::vertical().show(ui, |ui| {
        if view.has_session() {
            let original = memory.original_of(view);
            let mask = memory.mask_of(view);
            let marked = memory.marked_point(view);
            pinned_ui(ui, memory, "Original", original, marked);
            pinned_ui(ui, memory, "Mask", mask, marked);
        } else {
            ui.strong("Original");
            ui.label("unknown: this run was written by the Python service, which keeps no session beside it.");
            ui.weak("Mask views are off until the session is named.");
        }
        if view.run.document().is_none() {
            named_ui(ui, view, out);
        }
        if !view.expected().is_empty() {
            ui.add_space(6.0);
            ui.strong("Expected");
            ui.label(view.expected());
        }
        if let Some(document) = view.run.document() {
            ui.add_space(6.0);
            ui.strong("Prompt");
            for prompt in &document.prompts {
                ui.label(if prompt.is_empty() { "(empty)" } else { prompt });
            }
        }
        if let Some(environment) = &view.run.environment {
            ui.add_space(6.0);
            ui.strong("Made on");
            ui.label(environment.label());
            if !environment.is_production_gpu() {
                ui.colored_label(theme::warning(ui), "not production's GPU (NVIDIA L4): timings are not production's");
            }
        }
    });
}

/// Which session a person named for a run that has none of its own.
fn named_ui(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let label = match &view.named {
        None => "Name the session…",
        Some(named) => {
            ui.label(format!("session {}, as it was named here", named.name))
                .on_hover_text(named.dir.display().to_string());
            ui.weak("The mask is drawn as it is: how the service cleaned and grew it is unknown.");
            "Another session…"
        }
    };
    if ui.button(label).clicked() {
        out.push(Msg::Command(Command::NameSession));
    }
}

fn pinned_ui(
    ui: &mut egui::Ui,
    memory: &mut UiMemory,
    title: &str,
    image: Option<ImageId>,
    marked: Option<[f64; 2]>,
) {
    ui.strong(title);
    let aspect = (memory.size_in_image[1] / memory.size_in_image[0].max(1.0)) as f32;
    let width = ui.available_width();
    let size = egui::vec2(width, (width * aspect).clamp(60.0, 320.0));
    let (rect, _) = ui.allocate_exact_size(size, egui::Sense::hover());
    let (Some(image), Some(canvas)) = (image, memory.canvas.as_mut()) else {
        ui.painter().rect_filled(rect, 0.0, theme::EMPTY_CELL);
        return;
    };
    let id = ui.scope_id().with(("pinned", title));
    let response = canvas::cell_response(
        ui,
        id,
        rect,
        || title.to_owned(),
        false,
        canvas.status(image),
    );
    canvas::navigate(&mut memory.framing, &response, memory.size_in_image, true);
    let cell_px = canvas::cell_px(rect, ui.pixels_per_point());
    let view = match &memory.framing {
        // Where cells were zoomed by hand, the pinned ones show the same middle at a scale that fits.
        Framing::Free(view) => {
            view.in_another_cell(memory.last_cell_px.unwrap_or(cell_px), cell_px)
        }
        framing => framing.view(memory.size_in_image, cell_px),
    };
    let mut paint = CellPaint::new(image, view);
    paint.size_in_image = Some(memory.size_in_image);
    if canvas.has_gpu() {
        canvas::paint_cell(ui.painter(), rect, &paint, canvas);
    }
    if let Some(point) = marked {
        canvas::paint_cursor_mark(ui.painter(), rect, &view, point);
    }
}

fn row(ui: &mut egui::Ui, name: &str, value: &str) {
    ui.label(name);
    ui.add(egui::Label::new(value).wrap());
    ui.end_row();
}

/// What is known of the selected cell.
pub fn inspector_ui(
    ui: &mut egui::Ui,
    _state: &AppState,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    egui::ScrollArea::vertical().show(ui, |ui| {
        let Some(key) = &view.selected else {
            ui.label("No cell is selected.");
            return;
        };
        ui.heading(format!("{}  gs {}", key.quant, key.guidance));
        match view.run.baseline(key) {
            Some(Baseline::Exact) => {
                ui.label("★ production's baseline");
            }
            Some(Baseline::OtherSteps) => {
                ui.label(format!(
                    "☆ the baseline's quant and guidance, but {} steps",
                    key.steps
                ));
            }
            None => {}
        }
        ui.label(cell_look::full_title(view, key));
        ui.separator();
        match view.run.cells.get(key) {
            Some(CellState::Done(done)) => known_ui(ui, view, done),
            Some(CellState::Failed { error, .. }) => {
                ui.colored_label(theme::warning(ui), "failed");
                ui.add(egui::Label::new(error).wrap().selectable(true));
            }
            Some(CellState::Unreadable { reason }) => {
                ui.colored_label(theme::warning(ui), "cannot be read");
                ui.add(egui::Label::new(reason).wrap().selectable(true));
            }
            Some(CellState::Missing) | None => {
                ui.label(memory.missing_words(view, key));
            }
        }
        if matches!(view.run.cells.get(key), Some(CellState::Done(_))) {
            ui.separator();
            figures_panel::figures_ui(ui, view);
            ui.separator();
            if let Some(other) = &view.other {
                ui.weak(format!("About this run (A), not {}", other.run.run_id));
            }
            verdicts::verdict_ui(ui, view, key, memory, out);
        }
        ui.add_space(8.0);
        let can_approve = matches!(view.run.cells.get(key), Some(CellState::Done(_)));
        if ui
            .add_enabled(can_approve, egui::Button::new("Approve…"))
            .clicked()
        {
            out.push(Msg::Command(Command::Approve));
        }
    });
}

fn known_ui(ui: &mut egui::Ui, view: &RunView, done: &crate::model::run::DoneCell) {
    let Some(key) = &view.selected else { return };
    let unknown = || "unknown".to_owned();
    egui::Grid::new("known").num_columns(2).show(ui, |ui| {
        row(
            ui,
            "wall",
            &done
                .timing
                .wall_secs
                .map_or_else(unknown, |secs| format!("{secs:.2} s")),
        );
        let gpu = match (done.timing.gpu_millis, &view.run.origin) {
            (Some(millis), _) => format!("{millis:.0} ms"),
            (None, Origin::FillAudit(_)) => "none: not made on a GPU".to_owned(),
            (None, Origin::Service) => unknown(),
        };
        row(ui, "GPU", &gpu);
        row(
            ui,
            "seed",
            &key.seed.map_or_else(unknown, |seed| seed.to_string()),
        );
        let prompt = view.run.prompt_of(key).map_or_else(unknown, |prompt| {
            if prompt.is_empty() {
                "(empty)".to_owned()
            } else {
                prompt.to_owned()
            }
        });
        row(ui, "prompt", &prompt);
        match view.run.recipe_of(key) {
            Some(recipe) => {
                row(ui, "made at", &format!("{} px dilation", recipe.dilate_px));
                row(
                    ui,
                    "recipe",
                    &format!(
                        "threshold {}, drop under {} px, close {}, open {}, feather {}",
                        recipe.threshold,
                        recipe.min_component_px,
                        recipe.close_px,
                        recipe.open_px,
                        recipe.feather_sigma_px
                    ),
                );
            }
            None => row(ui, "recipe", "unknown"),
        }
        if let Some(document) = &done.document {
            row(ui, "device", &document.environment.label());
            if document.matmul == MatmulPath::Integer {
                row(ui, "weights", "integer kernels");
            }
        }
    });
    if let (Some(shown), Some(made)) = (view.look.dilate_px, key.dilate_px)
        && (f64::from(shown) - made.value()).abs() > 1e-6
    {
        ui.colored_label(
            theme::warning(ui),
            format!("the overlay shows {shown} px; made at {made} px"),
        );
    }
}
