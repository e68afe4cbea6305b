//! The settings of storage: bucket, prefixes, credentials by kind, cache; and a check of them.

use super::theme;
use crate::state::bucket::BucketMsg;
use crate::state::bucket::form::{CheckLine, CheckVerdict, StorageForm};
use crate::state::{AppState, Msg};
use eframe::egui;

/// Width of the fields, in points.
const FIELD: egui::Vec2 = egui::vec2(560.0, 20.0);

/// The section. What is typed takes effect, and is written, with `Save`.
pub fn storage_settings_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    let settings = &state.bucket.settings;
    let mut form = settings.form.clone();
    ui.heading("Storage");
    match &settings.path {
        Some(path) => ui.weak(format!("Kept in {}", path.display())),
        None => ui.weak("No folder for settings is known, so these cannot be kept."),
    };
    if let Some(bucket) = &settings.bucket_override {
        ui.label(format!(
            "The command line (or FILL_AUDIT_BUCKET) names the bucket {bucket}, which goes before the one \
             below."
        ));
    }
    ui.add_space(4.0);
    egui::Grid::new("storage settings")
        .num_columns(2)
        .spacing([12.0, 8.0])
        .show(ui, |ui| form_ui(ui, &mut form, &settings.credentials_words));
    if let Some(problem) = &settings.problem {
        ui.colored_label(theme::warning(ui), problem);
    }
    ui.horizontal(|ui| {
        let is_changed = form != settings.saved;
        let can_save = is_changed && settings.path.is_some();
        if ui
            .add_enabled(can_save, egui::Button::new("Save storage settings"))
            .clicked()
        {
            out.push(Msg::Bucket(BucketMsg::SaveForm));
        }
        if ui
            .add_enabled(is_changed, egui::Button::new("Take back"))
            .clicked()
        {
            out.push(Msg::Bucket(BucketMsg::RevertForm));
        }
        if ui
            .add_enabled(settings.checking.is_none(), egui::Button::new("Check"))
            .on_hover_text(
                "Credentials, bucket, permissions to list, read, write and sign, and the clock",
            )
            .clicked()
        {
            out.push(Msg::Bucket(BucketMsg::Check));
        }
        if settings.checking.is_some() {
            ui.spinner();
            ui.weak("checking…");
        } else if is_changed {
            ui.colored_label(theme::warning(ui), "not saved yet");
        }
    });
    checks_ui(ui, &settings.checks);
    if form != settings.form {
        out.push(Msg::Bucket(BucketMsg::SetForm(Box::new(form))));
    }
}

fn form_ui(ui: &mut egui::Ui, form: &mut StorageForm, credentials_words: &str) {
    let rows = [
        (
            "Bucket",
            &mut form.bucket,
            "PROJECT.firebasestorage.app; empty for none",
        ),
        ("Runs in it", &mut form.run_prefix, "audit/{run_id}/"),
        (
            "Sessions in it",
            &mut form.session_prefix,
            "users/{user_id}/sessions/{session_id}/",
        ),
        (
            "Credentials' file",
            &mut form.credentials,
            "a service account's JSON file; empty for FIREBASE_CREDENTIALS or Application Default Credentials",
        ),
    ];
    for (label, text, hint) in rows {
        let name = ui.label(label);
        ui.add_sized(FIELD, egui::TextEdit::singleline(text).hint_text(hint))
            .labelled_by(name.id);
        ui.end_row();
    }
    ui.label("Credentials in use");
    ui.add(egui::Label::new(credentials_words).wrap());
    ui.end_row();
    let name = ui.label("Cache on disk");
    ui.add(
        egui::DragValue::new(&mut form.cache_limit_mb)
            .range(1..=10_000_000)
            .speed(50.0)
            .suffix(" MB"),
    )
    .labelled_by(name.id);
    ui.end_row();
}

fn checks_ui(ui: &mut egui::Ui, checks: &[CheckLine]) {
    // What was found comes into view once, and is then left where it is.
    let seen_id = ui.scope_id().with("checks seen");
    let is_seen = ui.data(|data| data.get_temp::<bool>(seen_id).unwrap_or_default());
    let is_new = !checks.is_empty() && !is_seen;
    ui.data_mut(|data| data.insert_temp(seen_id, !checks.is_empty()));
    if checks.is_empty() {
        return;
    }
    ui.add_space(6.0);
    let lines = egui::Grid::new("checks")
        .num_columns(3)
        .spacing([12.0, 4.0])
        .show(ui, |ui| {
            for check in checks {
                let colour = match check.verdict {
                    CheckVerdict::Ok => Some(theme::PASS),
                    CheckVerdict::Warning => Some(theme::warning(ui)),
                    CheckVerdict::Failed => Some(theme::REJECT),
                    CheckVerdict::Skipped => None,
                };
                match colour {
                    Some(colour) => ui.colored_label(colour, check.verdict.word()),
                    None => ui.weak(check.verdict.word()),
                };
                ui.label(&check.what);
                ui.add(egui::Label::new(&check.words).wrap());
                ui.end_row();
            }
        });
    if is_new {
        lines.response.scroll_to_me(None);
    }
}
