//! Asking the person for a folder or a file: behind a trait, because a test cannot drive the real one.

use std::path::{Path, PathBuf};

/// Asks for folders and files. Called on a thread of its own: the real one waits for the person.
pub trait FileDialogs: Send + Sync {
    /// Asks for a folder; `None` if the person gave up.
    fn pick_folder(&self, title: &str) -> Option<PathBuf>;
    /// Asks for a picture's file; `None` if the person gave up.
    fn pick_picture(&self, title: &str) -> Option<PathBuf>;
    /// Asks where to save a file; `None` if the person gave up.
    fn save_file(&self, title: &str, suggested_name: &str) -> Option<PathBuf>;
    /// Why nothing can be asked on this machine, and what to do instead.
    fn problem(&self) -> Option<String> {
        None
    }
}

/// The system's own dialogs. Where it has none, a file is saved in the current folder, under a name that is
/// free.
pub struct SystemDialogs;

/// Whether somebody answers when a dialog is asked for: a desktop's portal, or zenity. Elsewhere than on
/// Linux there always is.
fn has_dialogs() -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    let folders = |variable: &str, usual: &str| -> Vec<PathBuf> {
        let value = std::env::var_os(variable).filter(|value| !value.is_empty());
        std::env::split_paths(&value.unwrap_or_else(|| usual.into())).collect()
    };
    let has_zenity = folders("PATH", "/usr/bin")
        .iter()
        .any(|dir| dir.join("zenity").is_file());
    let service = "dbus-1/services/org.freedesktop.portal.Desktop.service";
    let has_portal = std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some()
        && folders("XDG_DATA_DIRS", "/usr/local/share:/usr/share")
            .iter()
            .any(|dir| dir.join(service).is_file());
    has_zenity || has_portal
}

/// A name in a folder that nothing has yet: the suggested one, or with a number before its ending.
fn free_name(folder: &Path, suggested: &str) -> Option<PathBuf> {
    let (stem, ending) = suggested.rsplit_once('.').unwrap_or((suggested, ""));
    (1..1000)
        .map(|n| match (n, ending) {
            (1, _) => suggested.to_owned(),
            (n, "") => format!("{stem}-{n}"),
            (n, ending) => format!("{stem}-{n}.{ending}"),
        })
        .map(|name| folder.join(name))
        .find(|path| !path.exists())
}

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
        if !has_dialogs() {
            return free_name(&std::env::current_dir().ok()?, suggested_name);
        }
        rfd::FileDialog::new()
            .set_title(title)
            .set_file_name(suggested_name)
            .save_file()
    }

    fn problem(&self) -> Option<String> {
        (!has_dialogs()).then(|| {
            "this machine has no file dialogs (neither a desktop portal nor zenity): type the path where \
             there is a field for it, or drop the folder on the window"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_file_that_is_saved_unasked_takes_nobodys_name() {
        let dir = tempfile::tempdir().unwrap();
        let first = free_name(dir.path(), "review-x.csv").unwrap();
        assert_eq!(first, dir.path().join("review-x.csv"));
        std::fs::write(&first, "kept").unwrap();
        let second = free_name(dir.path(), "review-x.csv").unwrap();
        assert_eq!(second, dir.path().join("review-x-2.csv"));
    }
}
