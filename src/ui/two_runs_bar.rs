//! Two runs side by side: which is which, which cells have no counterpart, and the menu that opens the
//! second one.

use super::{UiMemory, theme};
use crate::model::cell::CellKey;
use crate::model::run::Run;
use crate::state::command::Command;
use crate::state::run_view::RunView;
use crate::state::seeing::SeeMsg;
use crate::state::seeing::two_runs::OtherRun;
use crate::state::{AppState, Msg};
use eframe::egui;

/// How many names are written out before the rest is counted.
const NAMED: usize = 40;

/// The menu of runs to compare with.
pub fn menu_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let menu = ui.menu_button("Second run", |ui| {
        if !memory.has_listed_runs {
            memory.has_listed_runs = true;
            out.push(Msg::See(SeeMsg::ListRuns));
        }
        ui.label("Look at another run beside this one");
        egui::ScrollArea::vertical()
            .max_height(320.0)
            .show(ui, |ui| {
                // What lies in the bucket alone has to be fetched first, by opening it once.
                for row in &state.bucket.inbox.listing.rows {
                    let Some(dir) = row.dir.as_ref().filter(|dir| **dir != view.dir) else {
                        continue;
                    };
                    let text = format!("{}  ({} of {} cells)", row.run_id, row.done, row.total);
                    if ui.button(text).clicked() {
                        out.push(Msg::See(SeeMsg::OpenOther(dir.clone())));
                        ui.close();
                    }
                }
            });
        if ui.button("Another folder…").clicked() {
            out.push(Msg::Command(Command::CompareWithRun));
            ui.close();
        }
    });
    if menu.inner.is_none() {
        memory.has_listed_runs = false;
    }
}

/// The line about the two runs.
pub fn runs_ui(ui: &mut egui::Ui, view: &RunView, other: &OtherRun, out: &mut Vec<Msg>) {
    ui.horizontal_wrapped(|ui| {
        ui.strong(format!("A  {}", view.run.run_id));
        ui.separator();
        ui.strong(format!("B  {}", other.run.run_id));
        ui.label("only looked at: verdicts and boxes are about A");
        ui.separator();
        let matching = &other.matching;
        ui.label(format!("{} cells in both", matching.count()));
        names_ui(ui, "only in A", &matching.only_first, &view.run);
        names_ui(ui, "only in B", &matching.only_second, &other.run);
        let mut is_paired = other.is_paired;
        if ui.checkbox(&mut is_paired, "Pairs (Y)").changed() {
            out.push(Msg::See(SeeMsg::ShowPairs(is_paired)));
        }
        if ui.button("B as reference").clicked() {
            out.push(Msg::Command(Command::ReferenceIsOtherRun));
        }
        if ui.button("Close B").clicked() {
            out.push(Msg::Command(Command::CloseOtherRun));
        }
        if !matching.differences.is_empty() {
            ui.label(format!("all differ in {}", matching.differences.join(", ")));
        }
        match (&view.run.session, &other.run.session) {
            (Some(one), Some(two)) if one == two => {}
            (Some(one), Some(two)) => {
                let text = format!("of different sessions: {one} and {two}");
                ui.colored_label(theme::warning(ui), text);
            }
            _ => {
                ui.weak("whether both are of one session is unknown");
            }
        }
    });
}

/// A count that opens a list of names; nothing where all have a counterpart.
fn names_ui(ui: &mut egui::Ui, what: &str, keys: &[CellKey], run: &Run) {
    if keys.is_empty() {
        return;
    }
    ui.menu_button(format!("{} {what}", keys.len()), |ui| {
        for key in keys.iter().take(NAMED) {
            ui.label(run.cell_name(key));
        }
        if keys.len() > NAMED {
            ui.label(format!("and {} more", keys.len() - NAMED));
        }
    });
}
