//! The mask lab's page: the recipe to the left, pictures in the middle, figures and gates to the right.

mod composite;
mod controls;
mod figures;
mod memory;
mod painting;
mod pasting;
mod views;

pub use memory::LabMemory;

use super::{UiMemory, theme};
use crate::imaging::mask::MaskFinding;
use crate::state::lab::{LabMsg, LabTab, LabView};
use crate::state::{AppState, FolderFor, Msg};
use eframe::egui;

/// The page.
pub fn mask_lab_ui(ui: &mut egui::Ui, state: &AppState, memory: &mut UiMemory, out: &mut Vec<Msg>) {
    let Some(view) = &state.lab else {
        empty_ui(ui, state, out);
        return;
    };
    memory.lab.begin(view);
    pasting::take_pasted(ui.ctx(), out);
    if !state.is_left_folded {
        egui::Panel::left("recipe")
            .default_size(300.0)
            .min_size(240.0)
            .show(ui, |ui| {
                egui::ScrollArea::vertical()
                    .show(ui, |ui| controls::controls_ui(ui, state, view, out));
            });
    }
    if !state.is_right_folded {
        egui::Panel::right("mask figures")
            .default_size(280.0)
            .min_size(256.0)
            .show(ui, |ui| {
                egui::ScrollArea::vertical()
                    .show(ui, |ui| figures::figures_ui(ui, state, view, out));
            });
    }
    egui::Panel::top("lab tabs").show(ui, |ui| {
        tabs_ui(ui, state, view, memory, out);
        pending_ui(ui, view, out);
    });
    egui::CentralPanel::default()
        .frame(egui::Frame::NONE)
        .show(ui, |ui| views::views_ui(ui, state, view, memory, out));
}

fn empty_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    egui::CentralPanel::default().show(ui, |ui| {
        ui.add_space(60.0);
        ui.vertical_centered(|ui| {
            if state.lab_opening.is_some() {
                ui.spinner();
                ui.label("reading the session");
                return;
            }
            ui.label("No session is open. Open one, or drop its folder here.");
            ui.horizontal(|ui| {
                ui.add_space((ui.available_width() / 2.0 - 150.0).max(0.0));
                open_buttons_ui(ui, state, out);
            });
        });
    });
}

/// Two ways to a session.
fn open_buttons_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    if ui.button("Open a session…").clicked() {
        out.push(Msg::ChooseFolder(FolderFor::Lab));
    }
    let of_run = ui
        .add_enabled(
            state.has_run_with_session(),
            egui::Button::new("Open the run's session"),
        )
        .on_disabled_hover_text("No run is open whose session is known.");
    if of_run.clicked() {
        out.push(Msg::Lab(LabMsg::OpenRun));
    }
}

fn tabs_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    view: &LabView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    ui.horizontal_wrapped(|ui| {
        for tab in LabTab::ALL {
            if ui.selectable_label(view.tab == tab, tab.label()).clicked() && view.tab != tab {
                out.push(Msg::Lab(LabMsg::SetTab(tab)));
            }
        }
        ui.separator();
        match view.tab {
            LabTab::Mask => overlay_ui(ui, view, out),
            LabTab::Composite => composite::fill_menu_ui(ui, state, view, out),
            LabTab::Paint => painting::tools_ui(ui, view, out),
            LabTab::Model => {}
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.monospace(&memory.lab.status);
            if view.is_b_held {
                ui.colored_label(theme::ACCENT, "showing B");
            }
        });
    });
}

fn overlay_ui(ui: &mut egui::Ui, view: &LabView, out: &mut Vec<Msg>) {
    use crate::state::look::Overlay;
    ui.label("overlay");
    for overlay in [Overlay::Ring, Overlay::Outline, Overlay::Tint, Overlay::Off] {
        let is_now = view.overlay == overlay;
        let name = match overlay {
            Overlay::Ring => "ring",
            Overlay::Outline => "outlines",
            Overlay::Tint => "tint",
            _ => "nothing",
        };
        if ui.selectable_label(is_now, name).clicked() {
            out.push(Msg::Lab(LabMsg::SetOverlay(overlay)));
        }
    }
}

/// A mask that is not what it should be, and what can be done about it.
fn pending_ui(ui: &mut egui::Ui, view: &LabView, out: &mut Vec<Msg>) {
    let Some(pending) = &view.pending else { return };
    egui::Frame::group(ui.style())
        .stroke(egui::Stroke::new(1.0, theme::WARNING))
        .show(ui, |ui| {
            ui.horizontal_wrapped(|ui| {
                ui.colored_label(theme::warning(ui), "A mask needs your word:");
                ui.label(&pending.name);
            });
            for finding in &pending.findings {
                ui.horizontal_wrapped(|ui| {
                    ui.label(finding.to_string());
                    for fix in finding.fixes() {
                        if ui.button(fix.label()).clicked() {
                            out.push(Msg::Lab(LabMsg::FixMask(*fix)));
                        }
                    }
                    if matches!(finding, MaskFinding::Coloured { .. } | MaskFinding::Empty) {
                        ui.weak("take another file");
                    }
                });
            }
            ui.horizontal(|ui| {
                if pending.is_usable() && ui.button("Use it as it is").clicked() {
                    out.push(Msg::Lab(LabMsg::UseMask));
                }
                if ui.button("Leave it aside").clicked() {
                    out.push(Msg::Lab(LabMsg::DropMask));
                }
            });
        });
}
