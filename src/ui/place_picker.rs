//! Where a composed run is made: this machine with its device, a worker with its token, a Cloud Run job with
//! its plan, or the Python service; and what each of them computes on.

use super::theme;
use crate::state::compose::ComposeForm;
use crate::state::remote::{DeviceWords, KnownToken, PlaceKind, RemoteMsg, Secret};
use crate::state::{AppState, Msg};
use eframe::egui;

/// Width of the fields, in points.
const FIELD: f32 = 560.0;

/// The choice and what belongs to it.
pub fn place_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    form: &mut ComposeForm,
    devices: &[String],
    out: &mut Vec<Msg>,
) {
    ui.horizontal(|ui| {
        for kind in PlaceKind::ALL {
            ui.radio_value(&mut form.place, kind, kind.label());
        }
    });
    egui::Grid::new("place")
        .num_columns(2)
        .show(ui, |ui| match form.place {
            PlaceKind::ThisMachine => this_machine_ui(ui, state, form, devices),
            PlaceKind::Job => job_ui(ui, form),
            PlaceKind::Worker | PlaceKind::Service => worker_ui(ui, state, form, out),
        });
    if form.place == PlaceKind::Job {
        plan_ui(ui, state, form, out);
    }
    if form.place != PlaceKind::ThisMachine {
        hints_ui(ui, state, form);
    }
}

fn this_machine_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    form: &mut ComposeForm,
    devices: &[String],
) {
    ui.label("Device");
    ui.horizontal(|ui| {
        let combo = egui::ComboBox::from_id_salt("device")
            .selected_text(&form.device)
            .show_ui(ui, |ui| {
                for device in devices {
                    ui.selectable_value(&mut form.device, device.clone(), device);
                }
            });
        combo.response.widget_info(|| {
            egui::WidgetInfo::labeled(
                egui::Role::ComboBox,
                true,
                format!("device: {}", form.device),
            )
        });
        if let Some((device, words)) = &state.remote.device
            && *device == form.device
        {
            device_words_ui(ui, words);
        }
    });
    ui.end_row();
}

fn device_words_ui(ui: &mut egui::Ui, words: &DeviceWords) {
    ui.label(&words.label);
    if let Some(warning) = &words.warning {
        ui.colored_label(theme::warning(ui), theme::NOT_PRODUCTION)
            .on_hover_text(warning);
    }
}

fn field_ui(ui: &mut egui::Ui, label: &str, text: &mut String, hint: &str) {
    let name = ui.label(label);
    ui.add_sized(
        [FIELD, 20.0],
        egui::TextEdit::singleline(text).hint_text(hint),
    )
    .labelled_by(name.id);
    ui.end_row();
}

fn worker_ui(ui: &mut egui::Ui, state: &AppState, form: &mut ComposeForm, out: &mut Vec<Msg>) {
    let hint = match form.place {
        PlaceKind::Service => "https://SERVICE.a.run.app, whose POST /audit runs the audit",
        _ => "http://127.0.0.1:8080 or https://WORKER.a.run.app: where fill-audit serve listens",
    };
    field_ui(ui, "Worker", &mut form.worker, hint);
    field_ui(ui, "User", &mut form.user, "whose session it is there");
    field_ui(
        ui,
        "Session there",
        &mut form.session_id,
        "the session's id, such as D1A406F5",
    );
    let worker = form.worker.trim();
    let has_worker = !worker.is_empty();
    let remote = &state.remote;
    let name = ui.label("Token");
    ui.horizontal(|ui| {
        let mut typed = remote.typed_token.0.clone();
        let field = egui::TextEdit::singleline(&mut typed)
            .password(true)
            .hint_text("as the worker was started with")
            .desired_width(240.0);
        ui.add(field).labelled_by(name.id);
        let can_keep = has_worker && !typed.trim().is_empty();
        if ui
            .add_enabled(can_keep, egui::Button::new("Keep token"))
            .clicked()
        {
            out.push(Msg::Remote(RemoteMsg::KeepToken));
        }
        if typed != remote.typed_token.0 {
            out.push(Msg::Remote(RemoteMsg::TypeToken(Secret(typed))));
        }
        match &remote.token {
            Some(KnownToken {
                worker: of,
                place: Some(place),
                ..
            }) if of == worker => {
                if ui.button("Forget token").clicked() {
                    out.push(Msg::Remote(RemoteMsg::ForgetToken));
                }
                // Shown whole under the pointer.
                ui.add(egui::Label::new(format!("kept in {place}")).truncate());
            }
            Some(KnownToken {
                worker: of,
                place: None,
                ..
            }) if of == worker => {
                ui.weak("none is kept for this worker");
            }
            _ => {}
        }
    });
    ui.end_row();
    if form.place == PlaceKind::Worker {
        ui.label("GPU");
        ui.horizontal(|ui| gpu_ui(ui, state, worker, out));
        ui.end_row();
    }
}

fn job_ui(ui: &mut egui::Ui, form: &mut ComposeForm) {
    field_ui(ui, "Project", &mut form.job_project, "the project's id");
    field_ui(
        ui,
        "Region",
        &mut form.job_region,
        "one with L4s, such as europe-west4",
    );
    field_ui(
        ui,
        "Job",
        &mut form.job_name,
        "as it was deployed: fill-audit job deploy --print",
    );
    field_ui(
        ui,
        "User",
        &mut form.user,
        "whose session it is in the bucket",
    );
    field_ui(
        ui,
        "Session there",
        &mut form.session_id,
        "the session's id, such as D1A406F5",
    );
}

/// Tasks, time and cost, before anything is started.
fn plan_ui(ui: &mut egui::Ui, state: &AppState, form: &ComposeForm, out: &mut Vec<Msg>) {
    let remote = &state.remote;
    let request = form.request().ok();
    ui.horizontal(|ui| {
        let can_plan = request.is_some() && !remote.is_planning;
        if ui
            .add_enabled(can_plan, egui::Button::new("Show the plan"))
            .on_hover_text("Tasks, time and cost. Nothing is started.")
            .clicked()
        {
            out.push(Msg::Remote(RemoteMsg::Plan));
        }
        if remote.is_planning {
            ui.spinner();
            ui.weak("the session is fetched and looked at…");
        } else if request.is_some() {
            ui.weak("a run is started once its plan is on screen");
        }
    });
    match request.as_ref().and_then(|request| remote.plan_of(request)) {
        Some(Ok(lines)) => {
            for line in lines {
                ui.label(line);
            }
        }
        Some(Err(problem)) => {
            let text = egui::RichText::new(problem).color(theme::warning(ui));
            ui.add(egui::Label::new(text).wrap());
        }
        None => {}
    }
}

fn gpu_ui(ui: &mut egui::Ui, state: &AppState, worker: &str, out: &mut Vec<Msg>) {
    let remote = &state.remote;
    let can_ask = !worker.is_empty() && remote.asking.is_none();
    if ui
        .add_enabled(can_ask, egui::Button::new("Ask the worker"))
        .on_hover_text("Whether it answers, takes the token, and what it computes on")
        .clicked()
    {
        out.push(Msg::Remote(RemoteMsg::Ask));
    }
    if remote.asking.is_some() {
        ui.spinner();
        return;
    }
    match &remote.asked {
        Some((of, Ok(words))) if of == worker => {
            ui.label(&words.label);
        }
        Some((of, Err(problem))) if of == worker => {
            ui.add(egui::Label::new(egui::RichText::new(problem).color(theme::warning(ui))).wrap());
        }
        _ => {
            ui.weak("not asked yet");
        }
    }
}

/// What is worth knowing before the run is started.
fn hints_ui(ui: &mut egui::Ui, state: &AppState, form: &ComposeForm) {
    let worker = form.worker.trim();
    if let Some((of, Ok(words))) = &state.remote.asked
        && of == worker
        && form.place == PlaceKind::Worker
        && let Some(warning) = &words.warning
    {
        let text = egui::RichText::new(format!("⚠ {warning}")).color(theme::warning(ui));
        ui.add(egui::Label::new(text).wrap());
    }
    if form.place != PlaceKind::Job
        && let Some(known) = &state.remote.token
        && known.worker == worker
        && known.place.is_some()
        && known.is_readable
    {
        let text = egui::RichText::new(
            "⚠ the token goes over plain http:// and can be read on the way; use https:// or a tunnel",
        )
        .color(theme::warning(ui));
        ui.add(egui::Label::new(text).wrap());
    }
    let text = match form.place {
        PlaceKind::Job => {
            "The job's tasks take the session from the bucket of Settings, Storage, and send each cell there as \
             it ends; they are fetched from there. The job goes on when this window is closed."
        }
        PlaceKind::Service => {
            "The service runs its own matrix with its own weights and mask, and tells nothing before it is \
             done. Its pictures are fetched from the bucket of Settings, Storage, as they come. It cannot be \
             cancelled from here."
        }
        _ => {
            "The worker takes the session from its own folder (--sessions), as USER/SESSION or SESSION, or from \
             its bucket. One that is only on this machine must be put there first, with image.png and \
             mask.png. The run goes on when this window is closed."
        }
    };
    ui.add(egui::Label::new(egui::RichText::new(text).weak()).wrap());
}
