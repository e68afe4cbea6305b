//! The eframe application: drains messages, runs `update`, performs effects.

pub mod bucket;
pub mod dialogs;
mod effects;
mod estimating;
pub mod executor;
mod figures_thread;
mod journal_thread;
mod lab_effects;
mod lab_session;
mod lab_tuning;
mod named_session;
pub mod remote;
pub mod runner;
mod window;

pub use effects::{Performer, Services};
pub use window::{WindowError, open_window};

use crate::state::bucket::{BucketEffect, BucketMsg};
use crate::state::lab::LabMsg;
use crate::state::settings::Settings;
use crate::state::{AppState, Effect, Event, Msg, Page, update};
use crate::ui::canvas::{Canvas, CanvasOptions};
use crate::ui::{UiMemory, window_ui};
use eframe::egui;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

const SETTINGS_KEY: &str = "settings";

/// The application. Tests build it with their own [`Services`].
pub struct FillAuditApp {
    state: AppState,
    memory: UiMemory,
    events: Receiver<Event>,
    performer: Performer,
    messages: Vec<Msg>,
}

impl FillAuditApp {
    /// An application that opens `target` (a run's folder, or an address in a bucket), or the inbox without
    /// one.
    pub fn new(
        cc: &eframe::CreationContext<'_>,
        target: Option<PathBuf>,
        services: Services,
    ) -> Self {
        let mut settings: Settings = cc
            .storage
            .and_then(|storage| eframe::get_value(storage, SETTINGS_KEY))
            .unwrap_or_default();
        services.fill_in(&mut settings);
        crate::ui::theme::install_fonts(&cc.egui_ctx);
        let ctx = cc.egui_ctx.clone();
        let wake = Arc::new(move || ctx.request_repaint());
        let decode: Arc<crate::ui::canvas::Decode> = Arc::new(effects::decode);
        let options = CanvasOptions {
            budget_bytes: u64::from(settings.picture_budget_mib) << 20,
            ..CanvasOptions::default()
        };
        let canvas = Canvas::new(
            &cc.egui_ctx,
            cc.wgpu_render_state.as_ref(),
            &decode,
            &options,
        );
        let (performer, events) = Performer::new(services, wake, canvas.ahead());
        let mut state = AppState::new(settings);
        state.devices = performer.devices();
        let mut app = Self {
            state,
            memory: UiMemory::new(canvas),
            events,
            performer,
            messages: Vec::new(),
        };
        for effect in [BucketEffect::ReadConfig, BucketEffect::ListQueue] {
            app.performer
                .perform(Effect::Bucket(effect), &app.state.settings);
        }
        let address = target.as_ref().and_then(|target| target.to_str());
        let address = address
            .filter(|text| text.contains("://"))
            .map(str::to_owned);
        app.messages.push(match (target, address) {
            (_, Some(address)) => Msg::Bucket(BucketMsg::OpenAddress(address)),
            (Some(dir), None) => Msg::Open(dir),
            (None, None) => Msg::Command(crate::state::command::Command::GoTo(Page::Inbox)),
        });
        app
    }

    /// What the window shows.
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Whether pictures that were asked for are still on their way.
    pub fn is_loading(&self) -> bool {
        self.state.opening.is_some() || self.memory.canvas.as_ref().is_some_and(Canvas::is_busy)
    }

    /// Hands the application a message as if a view had sent it.
    pub fn send(&mut self, msg: Msg) {
        self.messages.push(msg);
    }

    fn apply_all(&mut self, ctx: &egui::Context) {
        while let Ok(event) = self.events.try_recv() {
            self.messages.push(Msg::Event(event));
        }
        for msg in std::mem::take(&mut self.messages) {
            for effect in update(&mut self.state, msg) {
                match effect {
                    Effect::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
                    Effect::ExportView => {
                        let run = self.state.run.as_ref();
                        let name =
                            run.map_or("fill-audit".to_owned(), |view| view.run.run_id.to_string());
                        ctx.request_screenshot(self.performer.view_saver(&name));
                    }
                    effect => self.performer.perform(effect, &self.state.settings),
                }
            }
        }
    }

    fn take_dropped(&mut self, ctx: &egui::Context) {
        let dropped = ctx.input(|input| input.raw.dropped_files.clone());
        if let Some(file) = dropped.first() {
            let path = file.path();
            if self.state.page == Page::MaskLab {
                let has_session = self.state.lab.is_some();
                let msg = match (path.is_dir(), path.parent()) {
                    (true, _) => LabMsg::OpenSession(path.to_owned()),
                    // Without a session a file stands for the session that it lies in.
                    (false, Some(folder)) if !has_session => LabMsg::OpenSession(folder.to_owned()),
                    (false, _) => LabMsg::LoadMask(path.to_owned()),
                };
                self.messages.push(Msg::Lab(msg));
                return;
            }
            let dir = if path.is_dir() {
                Some(path)
            } else {
                path.parent()
            }
            .map(PathBuf::from);
            self.messages.extend(dir.map(Msg::Open));
        }
    }
}

impl eframe::App for FillAuditApp {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        self.take_dropped(&ctx);
        if ctx.input(|input| input.viewport().close_requested()) {
            self.messages.extend(self.memory.take_note());
            if self.state.would_lose_verdicts() {
                ctx.send_viewport_cmd(egui::ViewportCommand::CancelClose);
                self.messages.push(Msg::CloseRequested);
            }
        }
        self.apply_all(&ctx);
        window_ui(ui, &self.state, &mut self.memory, &mut self.messages);
        if !self.messages.is_empty() {
            self.apply_all(&ctx);
            ctx.request_repaint();
        }
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, SETTINGS_KEY, &self.state.settings);
    }
}
