//! The recipe's controls in the order in which they act, presets, the other recipe, and where it goes.

use super::super::theme;
use crate::model::mask_recipe::MaskRecipe;
use crate::state::lab::recipe_field::{Measure, RecipeField};
use crate::state::lab::{LabMsg, LabView};
use crate::state::{AppState, Msg};
use eframe::egui::{self, DragValue, Slider, WidgetInfo};

const NAME_WIDTH: f32 = 68.0;
/// Room for the longest number with its unit.
const NUMBER_WIDTH: f32 = 80.0;
const RESET_WIDTH: f32 = 22.0;

/// The left panel.
pub fn controls_ui(ui: &mut egui::Ui, state: &AppState, view: &LabView, out: &mut Vec<Msg>) {
    session_ui(ui, state, view, out);
    ui.separator();
    let mut recipe = view.recipe().clone();
    presets_ui(ui, &mut recipe);
    ui.add_space(4.0);
    let scale = view.opened.placement.original_px_per_inference_px();
    let mut is_let_go = false;
    for field in RecipeField::ALL {
        is_let_go |= field_ui(ui, field, &mut recipe, &view.opened.recipe, scale);
        if field == RecipeField::Open {
            ui.weak(format!(
                "then drop under {} px again",
                recipe.min_component_px
            ));
        }
    }
    if recipe != *view.recipe() {
        let is_settled = !ui.input(|input| input.pointer.any_down());
        out.push(Msg::Lab(LabMsg::SetRecipe {
            recipe: Box::new(recipe),
            is_settled,
        }));
    } else if is_let_go {
        out.push(Msg::Lab(LabMsg::Settle));
    }
    ui.separator();
    other_ui(ui, view, out);
    ui.separator();
    destinations_ui(ui, state, view, out);
}

fn session_ui(ui: &mut egui::Ui, state: &AppState, view: &LabView, out: &mut Vec<Msg>) {
    ui.horizontal_wrapped(|ui| {
        ui.strong(format!("Session {}", view.opened.name));
        if view.has_unsaved() {
            ui.colored_label(theme::warning(ui), "not saved");
        }
    });
    let (width, height) = view.opened.placement.image_size;
    let (across, down) = view.opened.placement.inference_size;
    ui.weak(format!(
        "photo {width} × {height}, at inference {across} × {down}"
    ))
    .on_hover_text(view.opened.source.dir().display().to_string());
    if !view.opened.expected.is_empty() {
        ui.add(egui::Label::new(format!("expected: {}", view.opened.expected)).wrap());
    }
    ui.horizontal_wrapped(|ui| super::open_buttons_ui(ui, state, out));
    let problems = view
        .opened
        .document_problem
        .iter()
        .chain(&view.opened.warnings);
    for problem in problems {
        let text = egui::RichText::new(problem).color(theme::warning(ui));
        ui.add(egui::Label::new(text).wrap());
    }
}

fn presets_ui(ui: &mut egui::Ui, recipe: &mut MaskRecipe) {
    ui.horizontal_wrapped(|ui| {
        ui.label("presets");
        for preset in MaskRecipe::presets() {
            let is_now = *recipe == preset.recipe;
            if ui.selectable_label(is_now, preset.name).clicked() {
                *recipe = preset.recipe;
            }
        }
    });
}

/// One number as a slider, a wheel and typed. Answers whether it was let go.
fn field_ui(
    ui: &mut egui::Ui,
    field: RecipeField,
    recipe: &mut MaskRecipe,
    opened: &MaskRecipe,
    scale: f64,
) -> bool {
    let is_whole = field.measure() != Measure::Length;
    let mut value = field.value(recipe);
    let mut is_let_go = false;
    let row = ui.scope(|ui| {
        ui.horizontal(|ui| {
            let name = ui
                .allocate_ui_with_layout(
                    egui::vec2(NAME_WIDTH, ui.spacing().interact_size.y),
                    egui::Layout::left_to_right(egui::Align::Center),
                    |ui| {
                        ui.set_min_width(NAME_WIDTH);
                        ui.label(field.label())
                    },
                )
                .inner;
            name.clone().on_hover_text(field.explanation());
            // The number keeps its width whatever it is, so that reset stays in reach.
            let gaps = 3.0 * ui.spacing().item_spacing.x;
            let beside = NUMBER_WIDTH + RESET_WIDTH + gaps;
            ui.spacing_mut().slider_width = (ui.available_width() - beside).clamp(40.0, 400.0);
            let mut slider = Slider::new(&mut value, field.slider_range())
                .show_value(false)
                .clamping(egui::SliderClamping::Never)
                .step_by(if is_whole { 1.0 } else { 0.1 });
            if is_whole {
                slider = slider.integer();
            }
            let slider = ui.add(slider);
            let shown = field.value(recipe);
            slider.widget_info(|| {
                WidgetInfo::slider(true, shown, format!("{} slider", field.label()))
            });
            is_let_go |= slider.drag_stopped();
            let mut number = DragValue::new(&mut value)
                .range(field.limits())
                .speed(field.step() / 10.0)
                .max_decimals(if is_whole { 0 } else { 2 });
            if field.measure() != Measure::Level {
                number = number.suffix(" px");
            }
            let number = ui
                .add_sized([NUMBER_WIDTH, ui.spacing().interact_size.y], number)
                .labelled_by(name.id);
            is_let_go |= number.drag_stopped() || number.lost_focus();
            let before = field.value(opened);
            let reset = ui
                .add_enabled(
                    (value - before).abs() > 1e-6,
                    egui::Button::new("↺").small(),
                )
                .on_hover_text(format!("Back to {before}, as it was opened"));
            reset.widget_info(|| {
                WidgetInfo::labeled(egui::Role::Button, true, format!("Reset {}", field.label()))
            });
            if reset.clicked() {
                value = before;
            }
        });
        if let Some(text) = field.at_original(recipe, scale) {
            ui.horizontal(|ui| {
                ui.add_space(NAME_WIDTH + ui.spacing().item_spacing.x);
                ui.weak(text);
            });
        }
    });
    value += wheel_notches(ui, row.response.rect) * field.step();
    if (value - field.value(recipe)).abs() > 1e-6 {
        field.set(recipe, value);
    }
    is_let_go
}

/// Notches of the wheel over a control; the panel does not scroll with them. Shift makes each eight.
fn wheel_notches(ui: &egui::Ui, rect: egui::Rect) -> f64 {
    if !ui.rect_contains_pointer(rect) {
        return 0.0;
    }
    ui.ctx().input_mut(|input| {
        let mut notches = 0.0;
        for event in &input.events {
            if let egui::Event::MouseWheel {
                unit,
                delta,
                modifiers,
                ..
            } = event
                && !modifiers.ctrl
                && !modifiers.command
            {
                let along = if delta.y == 0.0 { delta.x } else { delta.y };
                let lines = match unit {
                    egui::MouseWheelUnit::Point => along / 40.0,
                    egui::MouseWheelUnit::Line | egui::MouseWheelUnit::Page => along,
                };
                notches += f64::from(lines) * if modifiers.shift { 8.0 } else { 1.0 };
            }
        }
        input.smooth_scroll_delta = egui::Vec2::ZERO;
        notches
    })
}

/// A recipe in a line.
fn in_a_line(recipe: &MaskRecipe) -> String {
    format!(
        "threshold {}, drop under {}, close {}, open {}, dilate {}, feather {}",
        recipe.threshold,
        recipe.min_component_px,
        recipe.close_px,
        recipe.open_px,
        recipe.dilate_px,
        recipe.feather_sigma_px
    )
}

fn other_ui(ui: &mut egui::Ui, view: &LabView, out: &mut Vec<Msg>) {
    ui.strong("B, while Space is held");
    ui.add(egui::Label::new(in_a_line(&view.recipes[1])).wrap());
    ui.horizontal_wrapped(|ui| {
        if ui.button("Keep this one as B").clicked() {
            out.push(Msg::Lab(LabMsg::KeepAsB));
        }
        if ui.button("Swap A and B").clicked() {
            out.push(Msg::Lab(LabMsg::SwapRecipes));
        }
    });
}

fn destinations_ui(ui: &mut egui::Ui, state: &AppState, view: &LabView, out: &mut Vec<Msg>) {
    let can_save = !view.is_saving && view.opened.document_problem.is_none();
    let save = ui.add_enabled(can_save, egui::Button::new("Save to the session"));
    let save = match (&view.opened.document_problem, &view.opened.session_dir) {
        (Some(_), _) => save.on_disabled_hover_text(
            "session.ron cannot be read, and is not overwritten: repair it first.",
        ),
        (None, Some(dir)) => save.on_hover_text(dir.display().to_string()),
        (None, None) => save.on_hover_text("Asks for a folder: the run's session is not at hand."),
    };
    if save.clicked() {
        out.push(Msg::Lab(LabMsg::Save));
    }
    if view
        .shown_result()
        .is_some_and(|result| !result.gates.is_empty())
    {
        ui.weak("A run refuses this mask unless overridden; it can be saved.");
    }
    if ui.button("Use in a new run").clicked() {
        out.push(Msg::Lab(LabMsg::UseInNewRun));
    }
    let compare = ui
        .add_enabled(
            state.has_own_run(),
            egui::Button::new("Compare with the open run"),
        )
        .on_hover_text("Shows this recipe's mask over the run's cells, and what each was made at.")
        .on_disabled_hover_text("No run is open whose cells' recipe is known.");
    if compare.clicked() {
        out.push(Msg::Lab(LabMsg::UseInOpenRun));
    }
}
