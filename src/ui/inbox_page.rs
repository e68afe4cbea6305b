//! Runs to open.

use super::theme;
use crate::state::command::Command;
use crate::state::{AppState, InboxEntry, Msg};
use eframe::egui;
use egui_extras::{Column, TableBuilder};

fn matches(entry: &InboxEntry, search: &str) -> bool {
    let search = search.trim().to_lowercase();
    search.is_empty()
        || entry.run_id.to_lowercase().contains(&search)
        || entry
            .session
            .as_ref()
            .is_some_and(|session| session.to_lowercase().contains(&search))
}

/// The page.
pub fn inbox_page_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    egui::CentralPanel::default().show(ui, |ui| {
        ui.horizontal(|ui| {
            let name = ui.label("Search");
            let mut search = state.inbox_search.clone();
            ui.add(
                egui::TextEdit::singleline(&mut search)
                    .hint_text("run or session")
                    .desired_width(240.0),
            )
            .labelled_by(name.id);
            if search != state.inbox_search {
                out.push(Msg::SetInboxSearch(search));
            }
            if ui.button("Refresh").clicked() {
                out.push(Msg::Command(Command::Reload));
            }
            if ui.button("Open a run's folder…").clicked() {
                out.push(Msg::Command(Command::OpenRunFolder));
            }
            if ui.button("Compose a run").clicked() {
                out.push(Msg::Command(Command::GoTo(crate::state::Page::Compose)));
            }
        });
        ui.separator();
        let shown: Vec<&InboxEntry> = state
            .inbox
            .iter()
            .filter(|entry| matches(entry, &state.inbox_search))
            .collect();
        if shown.is_empty() {
            ui.add_space(40.0);
            ui.vertical_centered(|ui| {
                let text = if state.inbox.is_empty() {
                    format!(
                        "No runs in {}. Compose one, or drop a run's folder here.",
                        state.settings.runs_dir
                    )
                } else {
                    "No run matches the search.".to_owned()
                };
                ui.label(text);
            });
            return;
        }
        table_ui(ui, &shown, out);
    });
}

fn table_ui(ui: &mut egui::Ui, shown: &[&InboxEntry], out: &mut Vec<Msg>) {
    TableBuilder::new(ui)
        .striped(true)
        .sense(egui::Sense::click())
        .column(Column::initial(220.0).resizable(true))
        .column(Column::initial(200.0).resizable(true))
        .column(Column::initial(120.0))
        .column(Column::initial(120.0))
        .column(Column::remainder())
        .header(22.0, |mut header| {
            for title in ["Run", "Session", "Cells", "Unreviewed", "State"] {
                header.col(|ui| {
                    ui.strong(title);
                });
            }
        })
        .body(|body| {
            body.rows(26.0, shown.len(), |mut row| {
                let Some(entry) = shown.get(row.index()) else {
                    return;
                };
                row.col(|ui| {
                    let link = ui.link(&entry.run_id);
                    if link.clicked() {
                        out.push(Msg::Open(entry.dir.clone()));
                    }
                });
                row.col(|ui| {
                    ui.label(entry.session.as_deref().unwrap_or("unknown"));
                });
                row.col(|ui| {
                    ui.label(format!("{} of {}", entry.done, entry.total));
                });
                row.col(|ui| {
                    ui.label(entry.unreviewed.to_string());
                });
                row.col(|ui| {
                    if entry.failed > 0 {
                        ui.colored_label(theme::WARNING, format!("{} failed", entry.failed));
                    }
                    if !entry.is_finished {
                        ui.label("in progress");
                    }
                });
                if row.response().clicked() {
                    out.push(Msg::Open(entry.dir.clone()));
                }
            });
        });
}
