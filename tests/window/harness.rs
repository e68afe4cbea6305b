//! The application in a test: its own services, a folder of its own, pictures on software Vulkan.

use eframe::egui::{self, vec2};
use egui_kittest::Harness;
use fill_audit::app::dialogs::FileDialogs;
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::state::run_view::RunView;
use fill_audit::ui::canvas::{CellMap, View};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Dialogs that answer from a list.
#[derive(Default)]
pub struct ScriptedDialogs {
    /// Answers, last first.
    pub answers: Mutex<Vec<PathBuf>>,
}

impl ScriptedDialogs {
    /// What the next question is answered with.
    pub fn answer(&self, path: PathBuf) {
        self.answers.lock().expect("nobody panicked").push(path);
    }
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

/// A folder that goes with the test, or one that outlives this process.
pub enum Folder {
    Own(tempfile::TempDir),
    Kept(PathBuf),
}

impl Folder {
    pub fn path(&self) -> &Path {
        match self {
            Self::Own(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }
}

/// A folder of the test's own with a copy of the service's run in it.
pub struct Desk {
    /// The test's own folder.
    pub folder: Folder,
    /// The run's copy.
    pub run: PathBuf,
    /// Answers questions for folders and files.
    pub dialogs: Arc<ScriptedDialogs>,
}

impl Desk {
    pub fn new() -> Self {
        fill_audit::cli::log::start_in_folder();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = folder.path().join("runs").join("20260222-025304");
        std::fs::create_dir_all(&run).expect("made");
        for entry in std::fs::read_dir(service_run())
            .expect("the fixture")
            .flatten()
        {
            std::fs::copy(entry.path(), run.join(entry.file_name())).expect("copied");
        }
        Self {
            folder: Folder::Own(folder),
            run,
            dialogs: Arc::default(),
        }
    }

    /// A desk in a folder that is there already.
    pub fn at(folder: PathBuf, run: &str) -> Self {
        fill_audit::cli::log::start_in_folder();
        Self {
            run: folder.join("runs").join(run),
            folder: Folder::Kept(folder),
            dialogs: Arc::default(),
        }
    }

    pub fn phase1(&self) -> PathBuf {
        self.folder.path().join("phase1.toml")
    }

    pub fn journal(&self) -> String {
        std::fs::read_to_string(self.run.join("review-ada.ron")).unwrap_or_default()
    }

    pub fn services(&self) -> Services {
        Services {
            dialogs: self.dialogs.clone(),
            runs_dir: Some(self.folder.path().join("runs")),
            phase1_path: Some(self.phase1()),
            reviewer: Some("ada".to_owned()),
            engines: Arc::new(|_, _, _| {
                let mut painter = PaintedEngine::default();
                painter.step = Duration::from_millis(2);
                painter.has_previews = true;
                Ok(Box::new(painter))
            }),
            ..Services::default()
        }
    }

    /// The application without a renderer.
    pub fn plain(&self) -> Harness<'static, FillAuditApp> {
        let (run, services) = (self.run.clone(), self.services());
        let mut harness = Harness::builder()
            .with_size(vec2(1280.0, 800.0))
            .build_eframe(|cc| FillAuditApp::new(cc, Some(run), services));
        settle(&mut harness);
        harness
    }

    /// The application with pictures.
    pub fn rendered(&self, size: egui::Vec2) -> Harness<'static, FillAuditApp> {
        self.rendered_at(size, 1.0)
    }

    /// The same on a scaled display: `size` is in points.
    pub fn rendered_at(
        &self,
        size: egui::Vec2,
        pixels_per_point: f32,
    ) -> Harness<'static, FillAuditApp> {
        let (run, services) = (self.run.clone(), self.services());
        let mut harness = Harness::builder()
            .with_size(size)
            .with_pixels_per_point(pixels_per_point)
            .wgpu()
            .build_eframe(|cc| FillAuditApp::new(cc, Some(run), services));
        settle(&mut harness);
        harness
    }
}

/// The open run.
pub fn view<'a>(harness: &'a Harness<'static, FillAuditApp>) -> &'a RunView {
    harness.state().state().run.as_ref().expect("a run is open")
}

/// The name of the selected cell.
pub fn selected(harness: &Harness<'static, FillAuditApp>) -> String {
    let view = view(harness);
    view.selected
        .as_ref()
        .map(|key| view.run.cell_name(key))
        .unwrap_or_default()
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

/// What is drawn now. A software driver on a busy machine may need longer than the harness waits for one
/// submission: the same frame is then asked for again.
pub fn drawn(harness: &mut Harness<'static, FillAuditApp>) -> image::RgbaImage {
    let limit = Instant::now() + Duration::from_secs(180);
    loop {
        match harness.render() {
            Ok(picture) => return picture,
            Err(error) => assert!(
                error.contains("timed out") && Instant::now() < limit,
                "not rendered: {error}"
            ),
        }
    }
}

/// What is drawn of a picture of `size` at 100 % about its middle in `cell`, below the cell's title: the point
/// of the picture and the colour of each pixel on the screen.
pub fn drawn_at_full_size(
    harness: &mut Harness<'static, FillAuditApp>,
    cell: egui::Rect,
    (width, height): (u32, u32),
) -> Vec<([f64; 2], [u8; 3])> {
    let size = [f64::from(width), f64::from(height)];
    let view = View {
        center_in_image: size.map(|px| px / 2.0),
        zoom: 1.0,
    };
    let map = CellMap::new(cell, 1.0, &view);
    let drawn = drawn(harness);
    let free = egui::Rect::from_min_max(cell.min + egui::vec2(0.0, 26.0), cell.max).shrink(2.0);
    let mut found = Vec::new();
    for (x, y, pixel) in drawn.enumerate_pixels() {
        let at = egui::pos2(x as f32 + 0.5, y as f32 + 0.5);
        let point = map.to_image(at);
        let is_on_picture = (0..2).all(|i| (0.0..size[i]).contains(&point[i]));
        if free.contains(at) && is_on_picture {
            let [r, g, b, _] = pixel.0;
            found.push((point, [r, g, b]));
        }
    }
    assert!(found.len() > 20_000, "{} pixels", found.len());
    found
}

/// Writes a picture where `FILL_AUDIT_PICTURES` says, for a person to look at.
pub fn keep_picture(harness: &mut Harness<'static, FillAuditApp>, name: &str) {
    if let Some(folder) = std::env::var_os("FILL_AUDIT_PICTURES") {
        let path = PathBuf::from(folder).join(format!("{name}.png"));
        drawn(harness).save(&path).expect("written");
    }
}
