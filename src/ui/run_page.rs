//! The Run page: axes and progress above, original and mask to the left, the grid, the inspector.

use super::{
    UiMemory, axes_bar, blind, cell_look, cycle_bar, full_screen, grid, side_panels, theme,
    time_tone, two_runs_bar, values_panel, verdicts,
};
use crate::imaging::difference::Metric;
use crate::model::run::CellState;
use crate::state::bucket::transfer::PullView;
use crate::state::command::Command;
use crate::state::look::{Compare, Overlay, Reference};
use crate::state::run_view::RunView;
use crate::state::seeing::time_tone::TimeTone;
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
        looking_ui(ui, view, out);
        ui.horizontal_wrapped(|ui| {
            verdicts::review_bar_ui(ui, view, memory, out);
            ui.separator();
            two_runs_bar::menu_ui(ui, state, view, memory, out);
            tone_menu(ui, view, out);
        });
        if let Some(other) = &view.other {
            two_runs_bar::runs_ui(ui, view, other, out);
        }
        if view.cycle.is_on {
            cycle_bar::cycle_ui(ui, view, out);
        }
        if view.look.compare != Compare::Plain {
            compare_ui(ui, view, out);
        }
    });
    if view.look.has_values {
        values_panel::values_ui(ui, view, memory, out);
    }
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
    memory.is_fetching = state.bucket.is_fetching(&view.dir);
    egui::CentralPanel::default()
        .frame(egui::Frame::NONE)
        .show(ui, |ui| {
            if view.is_full_screen {
                full_screen::full_screen_ui(ui, view, memory, out);
            } else {
                grid::grid_ui(ui, view, memory, out);
            }
        });
}

/// Axes, reference, overlay, and how far the run is.
fn looking_ui(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    ui.horizontal_wrapped(|ui| {
        axes_bar::axes_ui(ui, view, out);
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
                ui.colored_label(theme::warning(ui), format!("{failed} failed"));
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
}

/// Which time the cells are toned by.
fn tone_menu(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let mut look = view.look.clone();
    let combo = egui::ComboBox::from_id_salt("tone")
        .selected_text(look.tone.label())
        .show_ui(ui, |ui| {
            for tone in TimeTone::ALL {
                ui.selectable_value(&mut look.tone, tone, tone.label());
            }
        });
    combo.response.widget_info(|| {
        let label = format!("tone by: {}", look.tone.label());
        egui::WidgetInfo::labeled(egui::Role::ComboBox, true, label)
    });
    if look != view.look {
        out.push(Msg::SetLook(Box::new(look)));
    }
    time_tone::legend_ui(ui, view);
}

fn reference_menu(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let now = match &view.look.reference {
        Reference::Original => "original".to_owned(),
        Reference::Cell(key) => view.run.cell_name(key),
        Reference::OtherRun => "same cell of B".to_owned(),
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
            if view.other.is_some() {
                let is_now = look.reference == Reference::OtherRun;
                if ui.selectable_label(is_now, "same cell of B").clicked() {
                    look.reference = Reference::OtherRun;
                }
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
    let held = ui
        .selectable_label(view.is_reference_held, "show it")
        .on_hover_text("The reference in every cell's place, as while Space is held");
    if held.clicked() {
        out.push(Msg::Command(Command::HoldReference));
    }
}

fn overlay_menu(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let mut look = view.look.clone();
    let has_mask = view.has_session();
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
    .on_disabled_hover_text(
        "The session of this run is not known: name it to the left, and mask views are there.",
    );
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
        ui.label(match look.compare {
            Compare::Wipe => format!("left of the line: {}", cell_look::reference_label(view)),
            _ => format!("from {}", cell_look::reference_label(view)),
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
            let unit = format!(" {}", look.metric.unit());
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
