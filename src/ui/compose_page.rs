//! Composing a run: where it is made, session, the values of every axis, prompts, recipe; how many cells, how
//! long.

use super::{place_picker, theme};
use crate::model::prompt;
use crate::state::command::Command;
use crate::state::compose::ComposeForm;
use crate::state::remote::PlaceKind;
use crate::state::{AppState, Msg};
use eframe::egui;

fn text_row(ui: &mut egui::Ui, label: &str, text: &mut String, hint: &str) -> egui::Response {
    let name = ui.label(label);
    let field = ui
        .add(
            egui::TextEdit::singleline(text)
                .hint_text(hint)
                .desired_width(ui.available_width() - 90.0),
        )
        .labelled_by(name.id);
    ui.end_row();
    field
}

fn number_row(
    ui: &mut egui::Ui,
    label: &str,
    unit: &str,
    value: &mut f32,
    range: std::ops::RangeInclusive<f32>,
) {
    let name = ui.label(label);
    ui.horizontal(|ui| {
        ui.add(egui::Slider::new(value, range).suffix(unit))
            .labelled_by(name.id);
    });
    ui.end_row();
}

/// The page. A changed copy of the form is sent as one message.
pub fn compose_page_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    devices: &[String],
    out: &mut Vec<Msg>,
) {
    let mut form = state.compose.clone();
    egui::Panel::bottom("compose actions").show(ui, |ui| actions_ui(ui, state, &form, out));
    egui::CentralPanel::default().show(ui, |ui| {
        let scroll = egui::ScrollArea::vertical().auto_shrink([false, true]);
        scroll.show(ui, |ui| {
            ui.set_max_width(900.0);
            ui.heading("Where it runs");
            place_picker::place_ui(ui, state, &mut form, devices, out);
            ui.add_space(8.0);
            ui.heading("What is filled");
            paths_ui(ui, &mut form, out);
            if form.place == PlaceKind::Service {
                // The rest is the service's own, and said beside its address.
                return;
            }
            ui.add_space(8.0);
            ui.heading("The matrix");
            axes_ui(ui, &mut form);
            prompts_ui(ui, &mut form);
            ui.add_space(8.0);
            ui.heading("The mask recipe");
            recipe_ui(ui, &mut form);
            ui.add_space(8.0);
            ui.heading("How it runs");
            inference_ui(ui, &mut form);
        });
    });
    if form != state.compose {
        out.push(Msg::SetCompose(Box::new(form)));
    }
}

fn paths_ui(ui: &mut egui::Ui, form: &mut ComposeForm, out: &mut Vec<Msg>) {
    use crate::state::FolderFor;
    let is_elsewhere = form.place != PlaceKind::ThisMachine;
    egui::Grid::new("paths").num_columns(3).show(ui, |ui| {
        let rows = [
            (
                "Session",
                &mut form.session_dir,
                "a folder with image.png and mask.png",
                FolderFor::Session,
            ),
            (
                "Weights",
                &mut form.models_dir,
                "a folder laid out as FLUX.1-Fill-dev's repository",
                FolderFor::Models,
            ),
            (
                "Runs",
                &mut form.runs_dir,
                "where runs are kept",
                FolderFor::Runs,
            ),
        ];
        for (label, text, hint, purpose) in rows {
            // Elsewhere has its own session and weights.
            if is_elsewhere && purpose != FolderFor::Runs {
                continue;
            }
            let name = ui.label(label);
            ui.add_sized(
                [560.0, 20.0],
                egui::TextEdit::singleline(text).hint_text(hint),
            )
            .labelled_by(name.id);
            let button = ui.button("Choose…");
            button.widget_info(|| {
                egui::WidgetInfo::labeled(
                    egui::Role::Button,
                    true,
                    format!("Choose {}", label.to_lowercase()),
                )
            });
            if button.clicked() {
                out.push(Msg::ChooseFolder(purpose));
            }
            ui.end_row();
        }
    });
}

fn axes_ui(ui: &mut egui::Ui, form: &mut ComposeForm) {
    egui::Grid::new("axes").num_columns(2).show(ui, |ui| {
        text_row(ui, "Quants", &mut form.quants, "Q4_0, Q5_K_S, Q8_0");
        text_row(ui, "Guidance", &mut form.guidances, "2, 4, 10, 20, 30");
        text_row(ui, "Steps", &mut form.steps, "28");
        text_row(ui, "Seeds", &mut form.seeds, "42");
        text_row(ui, "Dilation (px)", &mut form.dilations, "10");
    });
}

fn prompts_ui(ui: &mut egui::Ui, form: &mut ComposeForm) {
    ui.horizontal(|ui| {
        ui.label("Prompts");
        if ui.button("Production's only").clicked() {
            form.prompts = vec![prompt::PRODUCTION.to_owned()];
        }
        if ui.button("Specificity experiment").clicked() {
            form.prompts = prompt::specificity("grass");
        }
        if ui.button("Add a prompt").clicked() {
            form.prompts.push(String::new());
        }
    });
    let mut removed = None;
    let has_several = form.prompts.len() > 1;
    for (index, text) in form.prompts.iter_mut().enumerate() {
        ui.horizontal(|ui| {
            let name = ui.label(format!("prompt {index}"));
            ui.add(
                egui::TextEdit::singleline(text)
                    .hint_text("empty")
                    .desired_width(640.0),
            )
            .labelled_by(name.id);
            let remove = ui.add_enabled(has_several, egui::Button::new("✕").small());
            remove.widget_info(|| {
                egui::WidgetInfo::labeled(
                    egui::Role::Button,
                    has_several,
                    format!("Remove prompt {index}"),
                )
            });
            if remove.clicked() {
                removed = Some(index);
            }
        });
    }
    if let Some(index) = removed {
        form.prompts.remove(index);
    }
}

fn recipe_ui(ui: &mut egui::Ui, form: &mut ComposeForm) {
    let recipe = &mut form.recipe;
    egui::Grid::new("recipe").num_columns(2).show(ui, |ui| {
        let mut threshold = f32::from(recipe.threshold);
        number_row(ui, "Threshold", "", &mut threshold, 1.0..=255.0);
        recipe.threshold = threshold.round() as u8;
        let mut smallest = recipe.min_component_px as f32;
        number_row(
            ui,
            "Drop components under",
            " px",
            &mut smallest,
            0.0..=1000.0,
        );
        recipe.min_component_px = smallest.round() as u32;
        number_row(ui, "Close", " px", &mut recipe.close_px, 0.0..=16.0);
        number_row(ui, "Open", " px", &mut recipe.open_px, 0.0..=16.0);
        number_row(
            ui,
            "Feather of the composite",
            " px",
            &mut recipe.feather_sigma_px,
            0.0..=32.0,
        );
    });
    ui.weak("Radii are in pixels at inference size. Dilation is an axis of the matrix, above.");
}

fn inference_ui(ui: &mut egui::Ui, form: &mut ComposeForm) {
    let is_here = matches!(form.place, PlaceKind::ThisMachine | PlaceKind::Job);
    egui::Grid::new("inference").num_columns(2).show(ui, |ui| {
        ui.label("Inference size");
        ui.horizontal(|ui| {
            ui.selectable_value(&mut form.is_cropped, false, "Whole image");
            ui.selectable_value(&mut form.is_cropped, true, "Mask's box");
            let name = ui.label("long side");
            ui.add(
                egui::DragValue::new(&mut form.long_side_px)
                    .speed(16.0)
                    .range(16..=4096)
                    .suffix(" px"),
            )
            .labelled_by(name.id);
            form.long_side_px = form.long_side_px / 16 * 16;
        });
        ui.end_row();
        // What a worker takes no word on; what was set before is named as a problem until it is unset.
        if is_here || form.has_integer_kernels {
            ui.label("Weights");
            ui.checkbox(
                &mut form.has_integer_kernels,
                "Integer kernels (quantize activations too; stamped on each cell)",
            );
            ui.end_row();
        }
        // A job makes all of its cells.
        if form.place != PlaceKind::Job || !form.max_cells.is_empty() {
            text_row(ui, "At most", &mut form.max_cells, "all cells");
        }
        if is_here || !form.gates_override.is_empty() {
            text_row(
                ui,
                "Override mask gates",
                &mut form.gates_override,
                "a reason; empty: refused masks are refused",
            );
        }
    });
}

fn actions_ui(ui: &mut egui::Ui, state: &AppState, form: &ComposeForm, out: &mut Vec<Msg>) {
    ui.add_space(4.0);
    for problem in &state.compose_problems {
        ui.colored_label(
            theme::WARNING,
            format!("{}: {}", problem.field, problem.problem),
        );
    }
    ui.horizontal(|ui| {
        let is_planned = form.place != PlaceKind::Job
            || form
                .request()
                .is_ok_and(|request| matches!(state.remote.plan_of(&request), Some(Ok(_))));
        let can_start = state.compose_problems.is_empty() && !state.is_running() && is_planned;
        if ui
            .add_enabled(can_start, egui::Button::new("Start run"))
            .clicked()
        {
            out.push(Msg::Command(Command::StartRun));
        }
        if state.is_running() && ui.button("Cancel run").clicked() {
            out.push(Msg::Command(Command::CancelRun));
        }
        if let Some(count) = form.cell_count() {
            ui.strong(format!("{count} cell{}", if count == 1 { "" } else { "s" }));
        }
        if let Some(estimate) = &state.estimate {
            ui.label(estimate.label());
        }
    });
    ui.add_space(4.0);
}
