//! Asking the person for a folder or a file: behind a trait, because a test cannot drive the real one.

use std::path::PathBuf;

/// Asks for folders and files. Called on a thread of its own: the real one waits for the person.
pub trait FileDialogs: Send + Sync {
    /// Asks for a folder; `None` if the person gave up.
    fn pick_folder(&self, title: &str) -> Option<PathBuf>;
    /// Asks for a picture's file; `None` if the person gave up.
    fn pick_picture(&self, title: &str) -> Option<PathBuf>;
    /// Asks where to save a file; `None` if the person gave up.
    fn save_file(&self, title: &str, suggested_name: &str) -> Option<PathBuf>;
}

/// The system's own dialogs.
pub struct SystemDialogs;

impl FileDialogs for SystemDialogs {
    fn pick_folder(&self, title: &str) -> Option<PathBuf> {
        rfd::FileDialog::new().set_title(title).pick_folder()
    }

    fn pick_picture(&self, title: &str) -> Option<PathBuf> {
        let endings = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "gif"];
        rfd::FileDialog::new()
            .set_title(title)
            .add_filter("Pictures", &endings)
            .pick_file()
    }

    fn save_file(&self, title: &str, suggested_name: &str) -> Option<PathBuf> {
        rfd::FileDialog::new()
            .set_title(title)
            .set_file_name(suggested_name)
            .save_file()
    }
}
