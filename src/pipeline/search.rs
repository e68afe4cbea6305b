//! Where models may be on this machine, by the rules of the Hugging Face tools.

use super::folder::ModelFolder;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The Hugging Face cache's `hub` folder, as `huggingface_hub` finds it: `HF_HUB_CACHE`, or
/// `HF_HOME` or `XDG_CACHE_HOME` or `~/.cache` and what belongs below. `variable` reads an
/// environment variable.
pub(super) fn hub_folder(
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<&Path>,
) -> Option<PathBuf> {
    let set = |name: &str| set(&variable, name);
    set("HF_HUB_CACHE")
        .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(home_folder(&variable, home)?.join("hub")))
}

/// The folder of all that the Hugging Face tools keep: `HF_HOME`, or `huggingface` in the user's cache.
pub(super) fn home_folder(
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<&Path>,
) -> Option<PathBuf> {
    let under_cache = |cache: PathBuf| cache.join("huggingface");
    set(&variable, "HF_HOME")
        .or_else(|| set(&variable, "XDG_CACHE_HOME").map(under_cache))
        .or_else(|| Some(under_cache(home?.join(".cache"))))
}

fn set(variable: &impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The user's Hugging Face cache, whether it is there or not.
pub fn user_hub_folder() -> Option<PathBuf> {
    hub_folder(|name| std::env::var_os(name), dirs::home_dir().as_deref())
}

/// Models in the folders that are named and in the user's Hugging Face cache, each once.
pub fn find_models(named: &[PathBuf]) -> Vec<ModelFolder> {
    find_in(named.iter().cloned().chain(user_hub_folder()))
}

/// The repository that a path in a Hugging Face cache belongs to, or the folder's own name.
pub fn repository_of(path: &Path) -> String {
    let in_cache = path.components().find_map(|part| {
        let name = part.as_os_str().to_str()?.strip_prefix("models--")?;
        Some(name.replace("--", "/"))
    });
    in_cache.unwrap_or_else(|| {
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        canonical.file_name().map_or_else(
            || "local folder".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    })
}

fn find_in(places: impl Iterator<Item = PathBuf>) -> Vec<ModelFolder> {
    let mut found: Vec<ModelFolder> = Vec::new();
    for place in places {
        if let Ok(folder) = ModelFolder::open(&place)
            && !found.iter().any(|known| known.root() == folder.root())
        {
            found.push(folder);
        }
    }
    found
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    fn hub(set: &[(&str, &str)]) -> PathBuf {
        let variable = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        hub_folder(variable, Some(Path::new("/home/me"))).unwrap()
    }

    #[test]
    fn the_cache_is_where_the_hugging_face_tools_look_for_it() {
        assert_eq!(hub(&[]), Path::new("/home/me/.cache/huggingface/hub"));
        assert_eq!(hub(&[("HF_HOME", "/data/hf")]), Path::new("/data/hf/hub"));
        let both = [("HF_HOME", "/data/hf"), ("HF_HUB_CACHE", "/fast")];
        assert_eq!(hub(&both), Path::new("/fast"));
        let xdg = [("XDG_CACHE_HOME", "/cache"), ("HF_HOME", "")];
        assert_eq!(hub(&xdg), Path::new("/cache/huggingface/hub"));
    }

    #[test]
    fn a_repository_is_named_by_its_place_in_the_cache() {
        let path = Path::new("/hub/models--black-forest-labs--FLUX.1-Fill-dev/snapshots/1");
        assert_eq!(repository_of(path), "black-forest-labs/FLUX.1-Fill-dev");
        assert_eq!(repository_of(Path::new("/models/mine")), "mine");
    }

    #[test]
    fn a_model_that_is_named_twice_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ae.safetensors"), b"x").unwrap();
        let places = [
            dir.path().to_owned(),
            dir.path().join("absent"),
            dir.path().to_owned(),
        ];
        let found = find_in(places.into_iter());
        assert_eq!(found.len(), 1);
    }
}
