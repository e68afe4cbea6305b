//! Where models may be on this machine, by the rules of the Hugging Face tools.

use super::folder::ModelFolder;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The Hugging Face cache's `hub` folder, as `huggingface_hub` finds it: `HF_HUB_CACHE`, or
/// `HF_HOME` or `XDG_CACHE_HOME` or `~/.cache` and what belongs below. `variable` reads an
/// environment variable.
fn hub_folder(variable: impl Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Option<PathBuf> {
    let set = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let under_cache = |cache: PathBuf| cache.join("huggingface").join("hub");
    set("HF_HUB_CACHE")
        .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(set("HF_HOME")?.join("hub")))
        .or_else(|| set("XDG_CACHE_HOME").map(under_cache))
        .or_else(|| Some(under_cache(home?.join(".cache"))))
}

/// Models in the user's Hugging Face cache and in the folders that are named, each once.
pub fn find_models(named: &[PathBuf]) -> Vec<ModelFolder> {
    let hub = hub_folder(|name| std::env::var_os(name), dirs::home_dir().as_deref());
    find_in(named.iter().cloned().chain(hub))
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
