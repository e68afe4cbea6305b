//! The Run page: axes and progress above, original and mask to the left, the grid, the inspector.

use super::{UiMemory, blind, full_screen, grid, side_panels, theme, verdicts};
use crate::model::matrix::{Axis, AxisValue};
use crate::model::run::CellState;
use crate::state::bucket::transfer::PullView;
use crate::state::command::Command;
use crate::state::look::{Compare, Metric, Overlay, Reference};
use crate::state::pivot::Pivot;
use crate::state::run_view::RunView;
use crate::state::{AppState, Msg};
use eframe::egui;

/// The page.
pub fn run_page_ui(ui: &mut egui::Ui, state: &AppState, memory: &mut UiMemory, out: &mut Vec<Msg>) {
    let Some(view) = &state.run else {
        egui::CentralPanel::default().show(ui, |ui| {
            ui.add_space(60.0);
            ui.vertical_centered(|ui| {
                if state.opening.is_some() {
                    ui.spinner();
                    if let Some(words) = state.bucket.pull.as_ref().and_then(PullView::words) {
                        ui.label(words);
                    }
                } else {
                    ui.label(
                        "No run is open. Open one from the inbox, or drop a run's folder here.",
                    );
                    if ui.button("Open a run's folder…").clicked() {
                        out.push(Msg::Command(Command::OpenRunFolder));
                    }
                }
            });
        });
        return;
    };
    if let Some(comparison) = &view.judging.blind {
        blind::blind_ui(ui, view, comparison, memory, out);
        return;
    }
    egui::Panel::top("axes").show(ui, |ui| {
        axes_ui(ui, view, out);
        ui.horizontal_wrapped(|ui| verdicts::review_bar_ui(ui, view, memory, out));
        if view.look.compare != Compare::Plain {
            compare_ui(ui, view, out);
        }
    });
    if !state.is_left_folded {
        egui::Panel::left("originals")
            .default_size(theme::SIDE_PANEL_WIDTH)
            .show(ui, |ui| {
                side_panels::originals_ui(ui, state, view, memory, out);
            });
    }
    if !state.is_right_folded {
        egui::Panel::right("inspector")
            .default_size(theme::SIDE_PANEL_WIDTH)
            .show(ui, |ui| {
                side_panels::inspector_ui(ui, state, view, memory, out);
            });
    }
    egui::CentralPanel::default()
        .frame(egui::Frame::NONE)
        .show(ui, |ui| {
            if view.is_full_screen {
                full_screen::full_screen_ui(ui, view, memory, out);
            } else {
                grid::grid_ui(ui, state, view, memory, out);
            }
        });
}

fn axis_menu(ui: &mut egui::Ui, label: &str, now: Axis, choose: &mut Option<Axis>) {
    ui.label(label);
    let combo = egui::ComboBox::from_id_salt(label)
        .selected_text(now.label())
        .show_ui(ui, |ui| {
            for axis in Axis::ALL {
                if ui.selectable_label(axis == now, axis.label()).clicked() {
                    *choose = Some(axis);
                }
            }
        });
    combo.response.widget_info(|| {
        egui::WidgetInfo::labeled(
            egui::Role::ComboBox,
            true,
            format!("{label}: {}", now.label()),
        )
    });
}

fn axes_ui(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let mut pivot = view.pivot.clone();
    ui.horizontal_wrapped(|ui| {
        let (mut rows, mut columns) = (None, None);
        axis_menu(ui, "rows", pivot.rows, &mut rows);
        if ui
            .small_button("⇄")
            .on_hover_text("Swap rows and columns")
            .clicked()
        {
            rows = Some(pivot.columns);
        }
        axis_menu(ui, "columns", pivot.columns, &mut columns);
        if let Some(axis) = rows {
            pivot.set_rows(axis, &view.run);
        }
        if let Some(axis) = columns {
            pivot.set_columns(axis, &view.run);
        }
        for axis in pivot.page_axes(&view.run) {
            page_menu(ui, view, &mut pivot, axis);
        }
        hidden_menu(ui, view, &mut pivot);
        ui.separator();
        reference_menu(ui, view, out);
        overlay_menu(ui, view, out);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let (done, all) = (view.run.done_count(), view.run.cells.len());
            let failed = view
                .run
                .cells
                .values()
                .filter(|s| matches!(s, CellState::Failed { .. }))
                .count();
            if failed > 0 {
                ui.colored_label(theme::WARNING, format!("{failed} failed"));
            }
            ui.label(format!("{done} of {all} cells"));
            if done < all
                && view.live.is_none()
                && view.run.document().is_some()
                && ui.button("Resume run").clicked()
            {
                out.push(Msg::Command(Command::ResumeRun));
            }
        });
    });
    if pivot != view.pivot {
        out.push(Msg::SetPivot(Box::new(pivot)));
    }
}

fn page_menu(ui: &mut egui::Ui, view: &RunView, pivot: &mut Pivot, axis: Axis) {
    let Some(now) = pivot.page.get(&axis).cloned() else {
        return;
    };
    ui.label(format!("{}:", axis.label()));
    let combo = egui::ComboBox::from_id_salt(("page", axis))
        .selected_text(now.label(&view.run.prompts))
        .show_ui(ui, |ui| {
            for value in view.run.axis_values(axis) {
                let label = value.label(&view.run.prompts);
                if ui.selectable_label(value == now, label).clicked() {
                    pivot.page.insert(axis, value);
                }
            }
        });
    combo.response.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::ComboBox, true, format!("page {}", axis.label()))
    });
}

fn hidden_menu(ui: &mut egui::Ui, view: &RunView, pivot: &mut Pivot) {
    let title = if pivot.hidden.is_empty() {
        "Show".to_owned()
    } else {
        format!("Show ({} hidden)", pivot.hidden.len())
    };
    ui.menu_button(title, |ui| {
        for axis in [pivot.rows, pivot.columns] {
            ui.strong(axis.label());
            for value in view.run.axis_values(axis) {
                let mut is_shown = !pivot.hidden.contains(&value);
                let label = value.label(&view.run.prompts);
                if ui.checkbox(&mut is_shown, label).changed() {
                    set_hidden(pivot, value, !is_shown);
                }
            }
        }
        if ui.button("Show all").clicked() {
            pivot.hidden.clear();
        }
    });
}

fn set_hidden(pivot: &mut Pivot, value: AxisValue, is_hidden: bool) {
    if is_hidden {
        pivot.hidden.insert(value);
    } else {
        pivot.hidden.remove(&value);
    }
}

fn reference_menu(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let now = match &view.look.reference {
        Reference::Original => "original".to_owned(),
        Reference::Cell(key) => view.run.cell_name(key),
    };
    ui.label("reference");
    let mut look = view.look.clone();
    let combo = egui::ComboBox::from_id_salt("reference")
        .selected_text(&now)
        .show_ui(ui, |ui| {
            if ui
                .selectable_label(look.reference == Reference::Original, "original")
                .clicked()
            {
                look.reference = Reference::Original;
            }
            for key in view.grid.order() {
                let is_now = look.reference == Reference::Cell(key.clone());
                if ui
                    .selectable_label(is_now, view.run.cell_name(&key))
                    .clicked()
                {
                    look.reference = Reference::Cell(key);
                }
            }
        });
    combo.response.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::ComboBox, true, format!("reference: {now}"))
    });
    if look != view.look {
        out.push(Msg::SetLook(Box::new(look)));
    }
}

fn overlay_menu(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let mut look = view.look.clone();
    let has_mask = view.run.document().is_some();
    ui.label("overlay");
    ui.add_enabled_ui(has_mask, |ui| {
        let combo = egui::ComboBox::from_id_salt("overlay")
            .selected_text(look.overlay.label())
            .show_ui(ui, |ui| {
                for overlay in Overlay::ALL {
                    ui.selectable_value(&mut look.overlay, overlay, overlay.label());
                }
            });
        combo.response.widget_info(|| {
            egui::WidgetInfo::labeled(
                egui::Role::ComboBox,
                has_mask,
                format!("overlay: {}", look.overlay.label()),
            )
        });
    })
    .response
    .on_disabled_hover_text("This run has no session: its mask is unknown, so mask views are off.");
    if look != view.look {
        out.push(Msg::SetLook(Box::new(look)));
    }
}

/// Wipe's line, or the difference's metric, gain and threshold.
fn compare_ui(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let mut look = view.look.clone();
    ui.horizontal_wrapped(|ui| {
        ui.strong(if look.compare == Compare::Wipe {
            "Wipe"
        } else {
            "Difference"
        });
        if look.compare == Compare::Wipe {
            ui.add(
                egui::Slider::new(&mut look.wipe, 0.0..=1.0)
                    .show_value(false)
                    .text("line"),
            );
        } else {
            for metric in Metric::ALL {
                ui.selectable_value(&mut look.metric, metric, metric.label());
            }
            ui.add(
                egui::Slider::new(&mut look.gain, 1.0..=64.0)
                    .logarithmic(true)
                    .text("gain")
                    .suffix(" ×"),
            );
            let unit = if look.metric == Metric::DeltaE2000 {
                " ΔE"
            } else {
                " levels"
            };
            ui.add(
                egui::Slider::new(&mut look.threshold, 0.0..=32.0)
                    .text("threshold")
                    .suffix(unit),
            );
        }
        if ui.button("Close").clicked() {
            look.compare = Compare::Plain;
        }
    });
    if look != view.look {
        out.push(Msg::SetLook(Box::new(look)));
    }
}
