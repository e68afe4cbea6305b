//! Settings: who reviews, where things are kept, how much memory pictures may take, and storage.

use super::storage_settings::storage_settings_ui;
use crate::model::review::failure::{FailureKey, FailureType, FailureTypes};
use crate::state::settings::Settings;
use crate::state::{AppState, Msg};
use eframe::egui;

/// The page. A changed copy is sent as one message.
pub fn settings_page_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    let mut settings = state.settings.clone();
    egui::CentralPanel::default().show(ui, |ui| {
        egui::ScrollArea::vertical().show(ui, |ui| {
            ui.set_max_width(900.0);
            egui::Grid::new("settings")
                .num_columns(2)
                .spacing([12.0, 8.0])
                .show(ui, |ui| {
                    let rows = [
                        (
                            "Reviewer",
                            &mut settings.reviewer,
                            "your name, as it stands in journals and approvals",
                        ),
                        ("Runs", &mut settings.runs_dir, "where runs are kept"),
                        (
                            "Sessions",
                            &mut settings.sessions_dir,
                            "where sessions are kept",
                        ),
                        (
                            "Weights",
                            &mut settings.models_dir,
                            "a folder laid out as FLUX.1-Fill-dev's repository",
                        ),
                        (
                            "Approved settings",
                            &mut settings.phase1_path,
                            "phase1.toml",
                        ),
                    ];
                    for (label, text, hint) in rows {
                        let name = ui.label(label);
                        ui.add_sized(
                            [560.0, 20.0],
                            egui::TextEdit::singleline(text).hint_text(hint),
                        )
                        .labelled_by(name.id);
                        ui.end_row();
                    }
                    let name = ui.label("Memory for pictures");
                    ui.add(
                        egui::DragValue::new(&mut settings.picture_budget_mib)
                            .range(64..=65_536)
                            .speed(16.0)
                            .suffix(" MiB"),
                    )
                    .labelled_by(name.id);
                    ui.end_row();
                    let name = ui.label("Interface size");
                    ui.add(
                        egui::DragValue::new(&mut settings.ui_scale)
                            .range(0.5..=3.0)
                            .speed(0.05)
                            .suffix(" ×"),
                    )
                    .labelled_by(name.id);
                    ui.end_row();
                    ui.label("Failure types");
                    failure_types_ui(ui, &mut settings);
                    ui.end_row();
                    ui.label("Theme");
                    ui.horizontal(|ui| {
                        ui.selectable_value(&mut settings.is_light, false, "Dark");
                        ui.selectable_value(&mut settings.is_light, true, "Light");
                    });
                    ui.end_row();
                });
            ui.add_space(12.0);
            ui.separator();
            storage_settings_ui(ui, state, out);
        });
    });
    if settings != state.settings {
        out.push(Msg::SetSettings(Box::new(settings)));
    }
}

/// The list on the keys `1` to `9`. A type's key in journals is made from its first label and stays.
fn failure_types_ui(ui: &mut egui::Ui, settings: &mut Settings) {
    ui.vertical(|ui| {
        let mut types = settings.failure_types.all().to_vec();
        let mut removed = None;
        for (index, kind) in types.iter_mut().enumerate() {
            ui.horizontal(|ui| {
                let name = ui.label(format!("{}", index + 1));
                ui.add_sized([260.0, 20.0], egui::TextEdit::singleline(&mut kind.label))
                    .labelled_by(name.id);
                ui.checkbox(&mut kind.is_failure, "fails the cell");
                ui.weak(kind.key.as_str());
                let remove = ui.small_button("✕");
                remove.widget_info(|| {
                    let label = format!("Remove failure type {}", index + 1);
                    egui::WidgetInfo::labeled(egui::Role::Button, true, label)
                });
                if remove.clicked() {
                    removed = Some(index);
                }
            });
        }
        if let Some(index) = removed {
            types.remove(index);
        }
        ui.horizontal(|ui| {
            let id = ui.scope_id().with("new failure type");
            let mut label: String = ui.data(|data| data.get_temp(id).unwrap_or_default());
            let name = ui.label("New type");
            ui.add_sized([220.0, 20.0], egui::TextEdit::singleline(&mut label))
                .labelled_by(name.id);
            let can_add = types.len() < 9 && !label.trim().is_empty();
            if ui
                .add_enabled(can_add, egui::Button::new("Add a type"))
                .clicked()
                && let Some(key) = FailureKey::for_label(&label, &types)
            {
                types.push(FailureType {
                    label: label.trim().to_owned(),
                    key,
                    is_failure: true,
                });
                label.clear();
            }
            ui.data_mut(|data| data.insert_temp(id, label));
            if ui.button("Reset the list").clicked() {
                types = FailureTypes::default().all().to_vec();
            }
        });
        if let Ok(types) = FailureTypes::new(types) {
            settings.failure_types = types;
        }
    });
}
