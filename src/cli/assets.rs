//! Where the embedded model, the sample session and the user's weights lie.

use std::path::{Path, PathBuf};

/// The folder of the embedded model, below the program's files.
const MODEL: &str = "assets/tiny-fill";
/// The sample session, below the program's files.
const SESSION: &str = "sessions/leash-on-grass";

/// Places where the program's files may lie: beside the executable, where it was built, here.
fn roots() -> Vec<PathBuf> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.canonicalize().ok())
        .and_then(|exe| exe.parent().map(Path::to_owned));
    beside
        .into_iter()
        .chain([
            PathBuf::from(env!("CARGO_MANIFEST_DIR")),
            PathBuf::from("."),
        ])
        .collect()
}

/// The first place where a folder with this file in it is found.
fn find(folder: &str, file: &str) -> Option<PathBuf> {
    roots()
        .into_iter()
        .map(|root| root.join(folder))
        .find(|path| path.join(file).is_file())
}

/// The embedded tiny model's folder.
pub fn embedded_model() -> Option<PathBuf> {
    find(MODEL, "ae.safetensors")
}

/// The sample session's folder.
pub fn sample_session() -> Option<PathBuf> {
    find(SESSION, "image.png")
}

/// What the window starts with: the embedded model and the sample session, where they are found.
pub fn services() -> crate::app::Services {
    crate::app::Services {
        default_models_dir: embedded_model(),
        default_session_dir: sample_session(),
        storage: crate::app::bucket::StorageServices::of_user(),
        remote: crate::app::remote::RemoteServices {
            tokens: crate::app::remote::TokenStore::of_user(),
            ..crate::app::remote::RemoteServices::default()
        },
        ..crate::app::Services::default()
    }
}
