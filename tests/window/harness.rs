//! The application in a test: its own services, a folder of its own, pictures on software Vulkan.

use eframe::egui::{self, vec2};
use egui_kittest::Harness;
use fill_audit::app::dialogs::FileDialogs;
use fill_audit::app::{FillAuditApp, Services};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Dialogs that answer from a list.
#[derive(Default)]
pub struct ScriptedDialogs {
    /// Answers, last first.
    pub answers: Mutex<Vec<PathBuf>>,
}

impl FileDialogs for ScriptedDialogs {
    fn pick_folder(&self, _title: &str) -> Option<PathBuf> {
        self.answers.lock().ok()?.pop()
    }

    fn pick_picture(&self, _title: &str) -> Option<PathBuf> {
        self.answers.lock().ok()?.pop()
    }

    fn save_file(&self, _title: &str, _suggested: &str) -> Option<PathBuf> {
        self.answers.lock().ok()?.pop()
    }
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub fn service_run() -> PathBuf {
    fixture("service-run/audit/20260222-025304")
}

pub fn services() -> Services {
    Services {
        dialogs: Arc::new(ScriptedDialogs::default()),
        ..Services::default()
    }
}

/// The application without a renderer: layout, input and names only.
pub fn plain(target: Option<PathBuf>) -> Harness<'static, FillAuditApp> {
    Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, target, services()))
}

/// The application with pictures.
pub fn rendered(size: egui::Vec2, target: Option<PathBuf>) -> Harness<'static, FillAuditApp> {
    Harness::builder()
        .with_size(size)
        .wgpu()
        .build_eframe(|cc| FillAuditApp::new(cc, target, services()))
}

/// Steps until a condition holds; leaves a picture behind and fails if it does not within 30 s.
pub fn step_until(
    harness: &mut Harness<'static, FillAuditApp>,
    what: &str,
    mut is_met: impl FnMut(&mut Harness<'static, FillAuditApp>) -> bool,
) {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        harness.step();
        if is_met(harness) {
            return;
        }
        if Instant::now() > limit {
            let path = std::env::temp_dir().join("fill-audit-window-test-failed.png");
            if let Ok(picture) = harness.render() {
                let _ = picture.save(&path);
            }
            panic!("not within 30 s: {what}; picture: {}", path.display());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Steps until the run is read and every picture on screen is there.
pub fn settle(harness: &mut Harness<'static, FillAuditApp>) {
    let mut quiet = 0;
    step_until(
        harness,
        "the run is read and its pictures are loaded",
        |harness| {
            let is_quiet =
                !harness.state().is_loading() && harness.state().state().opening.is_none();
            quiet = if is_quiet { quiet + 1 } else { 0 };
            quiet > 3
        },
    );
}

/// Writes a picture where FILL_AUDIT_PICTURES says, for a person to look at.
pub fn keep_picture(harness: &mut Harness<'static, FillAuditApp>, name: &str) {
    if let Some(folder) = std::env::var_os("FILL_AUDIT_PICTURES") {
        let path = PathBuf::from(folder).join(format!("{name}.png"));
        harness
            .render()
            .expect("rendered")
            .save(&path)
            .expect("written");
    }
}
