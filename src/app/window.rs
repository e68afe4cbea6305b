//! Opening the real window, and what to say where there is none.

use super::{FillAuditApp, Services};
use eframe::egui;
use std::path::PathBuf;

/// Why no window could be opened.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// There is no display to open it on.
    #[error("there is no display: neither WAYLAND_DISPLAY nor DISPLAY is set")]
    NoDisplay,
    /// The display or its graphics driver refused.
    #[error(
        "the window could not be opened: {0}; a Vulkan or GL driver is needed (on Debian: apt install mesa-vulkan-drivers libegl1)"
    )]
    Refused(String),
}

/// The id under which the system knows the program, and the folder of its settings.
pub const APP_ID: &str = "fill-audit";

/// Opens the window on a run, or on the inbox, and returns when it is closed.
///
/// # Errors
/// [`WindowError`] where there is no display or no graphics driver.
pub fn open_window(target: Option<PathBuf>, services: Services) -> Result<(), WindowError> {
    if cfg!(target_os = "linux") && !has_display() {
        return Err(WindowError::NoDisplay);
    }
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_app_id(APP_ID)
            .with_title("fill-audit")
            .with_inner_size([1280.0, 800.0])
            .with_min_inner_size([640.0, 420.0])
            .with_drag_and_drop(true),
        renderer: eframe::Renderer::Wgpu,
        ..Default::default()
    };
    eframe::run_native(
        APP_ID,
        options,
        Box::new(move |cc| Ok(Box::new(FillAuditApp::new(cc, target, services)))),
    )
    .map_err(|error| WindowError::Refused(error.to_string()))
}

fn has_display() -> bool {
    ["WAYLAND_DISPLAY", "WAYLAND_SOCKET", "DISPLAY"]
        .into_iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}
