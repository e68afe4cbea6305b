//! Where the parts of a model are: the published repository's layout, the Hugging Face cache, or
//! one flat folder. Finds files and reads small configuration; loads no weights.

use super::error::{PipelineError, Result};
use super::schedule::Schedule;
use super::vae::VaeSettings;
use super::weights::{Weights, split_files};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A folder that holds, or is the Hugging Face cache of, FLUX.1-Fill-dev.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    root: PathBuf,
    transformers: Vec<TransformerFile>,
}

/// A transformer that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformerFile {
    /// The quantization that its name ends in, or the type of a dense file: `Q4_0`, `BF16`.
    pub quant: String,
    /// The file; of a split one, the first part.
    pub path: PathBuf,
}

/// The published repository, as the Hugging Face cache names its folder.
const BASE_REPO: &str = "models--black-forest-labs--FLUX.1-Fill-dev";
const FETCH: &str = "fetch black-forest-labs/FLUX.1-Fill-dev, or name the folder that has it";

impl ModelFolder {
    /// Opens a folder. It may be the model's own, a repository of the Hugging Face cache
    /// (`models--…`), or the cache's `hub`.
    ///
    /// # Errors
    /// If there is no `ae.safetensors` in it or where it leads to.
    pub fn open(path: &Path) -> Result<Self> {
        let candidates = [
            Some(path.to_owned()),
            snapshot(path),
            snapshot(&path.join(BASE_REPO)),
            snapshot(&path.join("hub").join(BASE_REPO)),
        ];
        let root = candidates
            .into_iter()
            .flatten()
            .find(|root| root.join("ae.safetensors").is_file())
            .ok_or_else(|| PipelineError::MissingFile {
                what: "the autoencoder ae.safetensors".to_owned(),
                path: path.to_owned(),
                remedy: FETCH.to_owned(),
            })?;
        let transformers = find_transformers(&root);
        Ok(Self { root, transformers })
    }

    /// The folder that holds `ae.safetensors`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All transformers that were found, by quantization, then path.
    pub fn transformers(&self) -> &[TransformerFile] {
        &self.transformers
    }

    /// The quantizations that are there, each once, sorted.
    pub fn quants(&self) -> Vec<String> {
        let mut quants: Vec<String> = self.transformers.iter().map(|t| t.quant.clone()).collect();
        quants.dedup();
        quants
    }

    /// The transformer of a quantization, ignoring case.
    ///
    /// # Errors
    /// If there is none or more than one.
    pub fn transformer(&self, quant: &str) -> Result<PathBuf> {
        let mut found = self
            .transformers
            .iter()
            .filter(|t| t.quant.eq_ignore_ascii_case(quant));
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only.path.clone()),
            (Some(first), Some(second)) => Err(PipelineError::AmbiguousQuant {
                quant: quant.to_owned(),
                first: first.path.clone(),
                second: second.path.clone(),
            }),
            _ => Err(PipelineError::UnknownQuant {
                quant: quant.to_owned(),
                available: self.quants(),
                path: self.root.clone(),
            }),
        }
    }

    /// The dense transformers, which embedders are taken from when a GGUF lacks them.
    pub fn dense_transformers(&self) -> impl Iterator<Item = &Path> {
        self.transformers
            .iter()
            .filter(|t| t.path.extension().is_some_and(|e| e == "safetensors"))
            .map(|t| t.path.as_path())
    }

    /// The autoencoder's file.
    pub fn vae_file(&self) -> PathBuf {
        self.root.join("ae.safetensors")
    }

    /// CLIP's folder.
    pub fn clip_dir(&self) -> PathBuf {
        self.root.join("text_encoder")
    }

    /// T5's folder.
    pub fn t5_dir(&self) -> PathBuf {
        self.root.join("text_encoder_2")
    }

    /// The folder of CLIP's tokenizer: `tokenizer`, or the encoder's own.
    pub fn clip_tokenizer_dir(&self) -> PathBuf {
        first_dir(self.root.join("tokenizer"), self.clip_dir())
    }

    /// The folder of T5's tokenizer: `tokenizer_2`, or the encoder's own.
    pub fn t5_tokenizer_dir(&self) -> PathBuf {
        first_dir(self.root.join("tokenizer_2"), self.t5_dir())
    }

    /// The weight files of a text encoder: the shards that its index names, or the single file; for T5
    /// also a GGUF file (all parts of a split one) where there are no safetensors.
    ///
    /// # Errors
    /// If none is there, the index is malformed, a shard is missing, or there is more than one GGUF file.
    pub fn encoder_files(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let index_path = dir.join("model.safetensors.index.json");
        if index_path.exists() {
            let index: Index = serde_json::from_str(&read(&index_path)?)
                .map_err(|e| PipelineError::bad_config(&index_path, e.to_string()))?;
            let mut names: Vec<String> = index.weight_map.into_values().collect();
            names.sort();
            names.dedup();
            return names
                .into_iter()
                .map(|name| {
                    let plain = Path::new(&name).file_name() == Some(name.as_ref());
                    if !plain {
                        return Err(PipelineError::bad_config(
                            &index_path,
                            format!("the shard {name:?} is no plain file name"),
                        ));
                    }
                    existing(dir.join(name), "a shard of a text encoder")
                })
                .collect();
        }
        let single = dir.join("model.safetensors");
        if dir == self.t5_dir()
            && !single.is_file()
            && let Some(gguf) = only_gguf(dir)?
        {
            return split_files(&gguf);
        }
        Ok(vec![existing(single, "the weights of a text encoder")?])
    }

    /// Noise schedule from `scheduler/scheduler_config.json`, or FLUX.1's.
    ///
    /// # Errors
    /// If the file is there and malformed.
    pub fn schedule(&self) -> Result<Schedule> {
        let path = self.root.join("scheduler").join("scheduler_config.json");
        if path.exists() {
            Schedule::from_json(&read(&path)?, &path)
        } else {
            Ok(Schedule::default())
        }
    }

    /// Scale and shift of latents from `vae/config.json` or the folder's `config.json`, or FLUX.1's.
    ///
    /// # Errors
    /// If a file is there and malformed.
    pub fn vae_settings(&self) -> Result<VaeSettings> {
        #[derive(Deserialize)]
        struct Bundle {
            ae: Option<VaeSettings>,
        }
        let path = self.root.join("vae").join("config.json");
        if path.exists() {
            return parse(&path);
        }
        let path = self.root.join("config.json");
        if path.exists() {
            let bundle: Bundle = parse(&path)?;
            return Ok(bundle.ae.unwrap_or_default());
        }
        Ok(VaeSettings::default())
    }

    /// Every division of a head's channels between the position axes that a configuration names.
    ///
    /// # Errors
    /// If a file is there and malformed.
    pub fn axes_hints(&self) -> Result<Vec<[usize; 3]>> {
        #[derive(Deserialize)]
        struct Transformer {
            axes_dims_rope: Option<[usize; 3]>,
        }
        #[derive(Deserialize)]
        struct Section {
            axes: [usize; 3],
        }
        let mut hints = Vec::new();
        let path = self.root.join("transformer").join("config.json");
        if path.exists() {
            hints.extend(parse::<Transformer>(&path)?.axes_dims_rope);
        }
        let path = self.root.join("config.json");
        if path.exists() {
            // A bundle of several models has one section for each.
            let sections: BTreeMap<String, serde_json::Value> = parse(&path)?;
            hints.extend(
                sections
                    .into_values()
                    .filter_map(|v| serde_json::from_value::<Section>(v).ok())
                    .map(|section| section.axes),
            );
        }
        Ok(hints)
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(PipelineError::io("reading", path))
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    serde_json::from_str(&read(path)?).map_err(|e| PipelineError::bad_config(path, e.to_string()))
}

fn existing(path: PathBuf, what: &str) -> Result<PathBuf> {
    if path.is_file() {
        Ok(path)
    } else {
        Err(PipelineError::MissingFile {
            what: what.to_owned(),
            path,
            remedy: FETCH.to_owned(),
        })
    }
}

/// The GGUF file of a folder, of a split one the first part; `None` without one.
fn only_gguf(dir: &Path) -> Result<Option<PathBuf>> {
    let mut found = files_in(dir).into_iter().filter(|path| {
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
        path.extension().is_some_and(|e| e == "gguf")
            && stem.is_some_and(|s| quant_of(&s).is_some())
    });
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(PipelineError::bad_config(
            dir,
            format!(
                "there is more than one text encoder, {} and {}; remove one of them",
                first.display(),
                second.display()
            ),
        )),
        (only, _) => Ok(only),
    }
}

fn first_dir(preferred: PathBuf, otherwise: PathBuf) -> PathBuf {
    if preferred.is_dir() {
        preferred
    } else {
        otherwise
    }
}

/// The current snapshot of a repository in the Hugging Face cache.
fn snapshot(repo: &Path) -> Option<PathBuf> {
    let snapshots = repo.join("snapshots");
    if let Ok(revision) = std::fs::read_to_string(repo.join("refs").join("main")) {
        return Some(snapshots.join(revision.trim()));
    }
    // Fetched by revision: take the last by name, so that the choice is the same each time.
    files_in(&snapshots).pop()
}

/// Entries of a folder, sorted; none if it cannot be read.
fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    entries
}

/// Folders in which transformers may lie: the model's, its `transformer`, and other repositories of
/// the same cache that hold GGUF files of FLUX.1-Fill.
fn transformer_dirs(root: &Path) -> Vec<PathBuf> {
    let mut dirs = vec![root.to_owned(), root.join("transformer")];
    let repo = root
        .parent()
        .filter(|p| p.file_name().is_some_and(|n| n == "snapshots"))
        .and_then(Path::parent);
    if let Some(hub) = repo.and_then(Path::parent) {
        dirs.extend(
            files_in(hub)
                .into_iter()
                .filter(|path| {
                    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase());
                    name.is_some_and(|n| {
                        n.starts_with("models--") && n.contains("flux.1-fill") && n.contains("gguf")
                    })
                })
                .filter_map(|repo| snapshot(&repo)),
        );
    }
    dirs
}

fn find_transformers(root: &Path) -> Vec<TransformerFile> {
    let mut found = Vec::new();
    for path in transformer_dirs(root).iter().flat_map(|dir| files_in(dir)) {
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned());
        let (Some(stem), Some(extension)) = (stem, path.extension()) else {
            continue;
        };
        if extension == "gguf" {
            if let Some(quant) = quant_of(&stem) {
                found.push(TransformerFile { quant, path });
            }
        } else if extension == "safetensors" && stem.starts_with("flux") {
            // One that cannot be read is there all the same; checking it says what is wrong.
            let quant = dense_type(&path).unwrap_or_else(|_| "unreadable".to_owned());
            found.push(TransformerFile { quant, path });
        }
    }
    found.sort_by(|a, b| (&a.quant, &a.path).cmp(&(&b.quant, &b.path)));
    found
}

/// The quantization in a file's name, such as `Q5_K_S` in `flux1-fill-dev-Q5_K_S`; `None` for a
/// later part of a split file.
pub(super) fn quant_of(stem: &str) -> Option<String> {
    let stem = match stem.rsplit_once("-of-") {
        Some((rest, count)) if count.bytes().all(|b| b.is_ascii_digit()) => {
            let (base, number) = rest.rsplit_once('-')?;
            if number.trim_start_matches('0') != "1" {
                return None;
            }
            base
        }
        _ => stem,
    };
    let looks_like_one = |part: &&str| {
        let upper = part.to_ascii_uppercase();
        let digits = upper
            .strip_prefix("IQ")
            .or(upper.strip_prefix('Q'))
            .or(upper.strip_prefix("BF"))
            .or(upper.strip_prefix('F'));
        digits.is_some_and(|d| d.starts_with(|c: char| c.is_ascii_digit()))
    };
    let parts: Vec<&str> = stem.split(['-', '.']).collect();
    let known = parts.iter().rev().copied().find(looks_like_one);
    known.or(parts.last().copied()).map(str::to_owned)
}

/// What a dense file stores its matrices as.
fn dense_type(path: &Path) -> Result<String> {
    let weights = Weights::open(path)?;
    let matrix = weights
        .names()
        .filter_map(|name| weights.info(name).ok())
        .find(|info| info.shape.len() == 2);
    Ok(matrix
        .map_or("unknown", |info| info.stored_type.name())
        .to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    #[test]
    fn the_quantization_is_read_from_the_names_that_people_use() {
        for (stem, quant) in [
            ("flux1-fill-dev-Q4_0", "Q4_0"),
            ("flux1-fill-dev-Q5_K_S", "Q5_K_S"),
            ("flux1-fill-dev-fp16-Q8_0-GGUF", "Q8_0"),
            ("flux1-fill-dev.Q6_K", "Q6_K"),
            ("flux1-fill-dev-Q4_0-00001-of-00002", "Q4_0"),
            ("flux1-fill-dev-BF16", "BF16"),
            ("flux1-fill-mystery", "mystery"),
        ] {
            assert_eq!(quant_of(stem).as_deref(), Some(quant), "{stem}");
        }
        assert_eq!(quant_of("flux1-fill-dev-Q4_0-00002-of-00002"), None);
    }

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"x").unwrap();
    }

    #[test]
    fn the_cache_of_two_repositories_is_one_folder() {
        let hub = tempfile::tempdir().unwrap();
        let base = hub.path().join(BASE_REPO);
        touch(&base.join("snapshots/abc/ae.safetensors"));
        std::fs::create_dir_all(base.join("refs")).unwrap();
        std::fs::write(base.join("refs/main"), "abc\n").unwrap();
        let gguf = hub.path().join("models--YarvixPA--FLUX.1-Fill-dev-GGUF");
        touch(&gguf.join("snapshots/def/flux1-fill-dev-Q4_0.gguf"));
        touch(&gguf.join("snapshots/def/flux1-fill-dev-Q8_0.gguf"));
        touch(
            &hub.path()
                .join("models--someone--other-GGUF/snapshots/1/x-Q4_0.gguf"),
        );
        for path in [hub.path(), base.as_path(), &base.join("snapshots/abc")] {
            let folder = ModelFolder::open(path).unwrap();
            assert_eq!(folder.quants(), ["Q4_0", "Q8_0"]);
            assert!(
                folder
                    .transformer("q4_0")
                    .unwrap()
                    .ends_with("flux1-fill-dev-Q4_0.gguf")
            );
        }
    }

    #[test]
    fn what_is_missing_or_doubled_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = ModelFolder::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("ae.safetensors"), "{error}");
        touch(&dir.path().join("ae.safetensors"));
        touch(&dir.path().join("a-Q4_0.gguf"));
        let folder = ModelFolder::open(dir.path()).unwrap();
        let error = folder.transformer("Q9_9").unwrap_err().to_string();
        assert!(error.contains("Q9_9") && error.contains("Q4_0"), "{error}");
        touch(&dir.path().join("b-Q4_0.gguf"));
        let folder = ModelFolder::open(dir.path()).unwrap();
        let error = folder.transformer("Q4_0").unwrap_err().to_string();
        assert!(
            error.contains("a-Q4_0") && error.contains("b-Q4_0"),
            "{error}"
        );
    }

    #[test]
    fn a_shard_outside_the_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        touch(&dir.path().join("ae.safetensors"));
        let index = r#"{"weight_map": {"a": "../../etc/passwd"}}"#;
        std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
        let folder = ModelFolder::open(dir.path()).unwrap();
        let error = folder.encoder_files(dir.path()).unwrap_err();
        assert!(error.to_string().contains("no plain file name"), "{error}");
    }
}
