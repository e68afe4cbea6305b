//! What is wrong with a model folder, found from names, headers and shapes before a run starts.

use super::dimensions::{Dimensions, EMBEDDERS, in_module};
use super::error::{PipelineError, Result};
use super::folder::{ModelFolder, TransformerFile};
use super::t5_weights::open_t5;
use super::tokenize::PromptTokenizer;
use super::weights::Weights;
use std::path::{Path, PathBuf};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It will do.
    Note,
    /// It goes on some other way.
    Warning,
    /// A run would fail.
    Error,
}

/// One thing found in a model folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder that it is about.
    pub file: PathBuf,
    /// What is so, or what is wrong and what to do about it.
    pub message: String,
}

impl Finding {
    fn new(severity: Severity, file: &Path, message: impl Into<String>) -> Self {
        Self {
            severity,
            file: file.to_owned(),
            message: message.into(),
        }
    }

    fn of(file: &Path, result: Result<String>) -> Self {
        match result {
            Ok(message) => Self::new(Severity::Note, file, message),
            Err(error) => Self::new(Severity::Error, file, error.to_string()),
        }
    }
}

/// Where a transformer's input embedders are, which some converters leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Embedders {
    /// In its own file.
    Own,
    /// In a dense transformer of the same width beside it.
    From(PathBuf),
    /// Nowhere: these modules.
    Missing(Vec<&'static str>),
}

impl ModelFolder {
    /// Looks at every file of the model: present, whole, of this model, with all tensors in their
    /// shapes. Reads headers, not weights, so it is fast and cannot see changed bytes.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = self.check_shared();
        if self.transformers().is_empty() {
            findings.push(Finding::new(
                Severity::Error,
                self.root(),
                "there is no transformer; put files such as flux1-fill-dev-Q4_0.gguf beside ae.safetensors",
            ));
        }
        for transformer in self.transformers() {
            findings.extend(self.check_transformer(transformer));
        }
        findings
    }

    /// [`ModelFolder::check`] of what a run with these quantizations needs, and of nothing else.
    pub fn check_for(&self, quants: &[&str]) -> Vec<Finding> {
        let mut findings = self.check_shared();
        for quant in quants {
            let found = self.transformer(quant);
            let file = found.as_ref().ok().and_then(|path| {
                let mut all = self.transformers().iter();
                all.find(|transformer| transformer.path == *path)
            });
            match (file, found) {
                (Some(file), _) => findings.extend(self.check_transformer(file)),
                (None, Err(error)) => findings.push(Finding::new(
                    Severity::Error,
                    self.root(),
                    error.to_string(),
                )),
                (None, Ok(_)) => {}
            }
        }
        findings
    }

    /// Where a transformer of this folder has its input embedders.
    ///
    /// # Errors
    /// If its file, or the dense one that they would come from, cannot be read.
    pub fn embedders(&self, file: &TransformerFile) -> Result<Embedders> {
        let mut weights = Weights::open(&file.path)?;
        let lacking = lacking(&weights);
        if lacking.is_empty() {
            return Ok(Embedders::Own);
        }
        let taken = self.complete(&mut weights)?;
        Ok(taken.map_or(Embedders::Missing(lacking), Embedders::From))
    }

    /// The parts that all quantizations share.
    fn check_shared(&self) -> Vec<Finding> {
        vec![
            Finding::of(&self.vae_file(), self.check_vae()),
            Finding::of(&self.clip_dir(), self.check_clip()),
            Finding::of(&self.t5_dir(), self.check_t5()),
            Finding::of(
                &self.clip_tokenizer_dir(),
                PromptTokenizer::clip(&self.clip_tokenizer_dir())
                    .map(|_| "CLIP's tokenizer".to_owned()),
            ),
            Finding::of(
                &self.t5_tokenizer_dir(),
                PromptTokenizer::t5(&self.t5_tokenizer_dir()).map(|_| "T5's tokenizer".to_owned()),
            ),
            Finding::of(
                self.root(),
                self.schedule()
                    .and(self.vae_settings())
                    .map(|_| "configuration".to_owned()),
            ),
        ]
    }

    fn check_vae(&self) -> Result<String> {
        let weights = Weights::open(&self.vae_file())?;
        for half in ["encoder", "decoder"] {
            for layer in ["conv_in", "mid.attn_1.q", "norm_out", "conv_out"] {
                weights.info(&format!("{half}.{layer}.weight"))?;
            }
        }
        Ok(format!("autoencoder, {}", size(&weights)))
    }

    fn check_clip(&self) -> Result<String> {
        let weights = Weights::open_all(&self.encoder_files(&self.clip_dir())?)?;
        weights.info("text_model.embeddings.token_embedding.weight")?;
        weights.info("text_model.final_layer_norm.weight")?;
        existing(&self.clip_dir().join("config.json"))?;
        Ok(format!("CLIP, {}", size(&weights)))
    }

    fn check_t5(&self) -> Result<String> {
        let weights = open_t5(self)?;
        if !weights.contains("shared.weight") {
            weights.info("encoder.embed_tokens.weight")?;
        }
        weights.info("encoder.final_layer_norm.weight")?;
        existing(&self.t5_dir().join("config.json"))?;
        Ok(format!("T5, {}", size(&weights)))
    }

    fn check_transformer(&self, file: &TransformerFile) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Err(error) = self.transformer(&file.quant) {
            findings.push(Finding::new(Severity::Error, &file.path, error.to_string()));
        }
        let checked = self.inspect(&file.path).map(|(text, taken)| {
            if let Some(from) = taken {
                findings.push(Finding::new(
                    Severity::Warning,
                    &file.path,
                    format!("input embedders are missing; taken from {}", from.display()),
                ));
            }
            format!("transformer {}, {text}", file.quant)
        });
        findings.push(Finding::of(&file.path, checked));
        findings
    }

    /// Size of a transformer, and the file that its embedders come from if not from itself.
    fn inspect(&self, path: &Path) -> Result<(String, Option<PathBuf>)> {
        let mut weights = Weights::open(path)?;
        let text = size(&weights);
        let taken = self.complete(&mut weights)?;
        let dims = Dimensions::read(&weights, &self.axes_hints()?)?;
        for (name, shape) in dims.required() {
            weights.stored(&name, &shape)?;
        }
        Ok((text, taken))
    }

    /// Takes input embedders that `weights` lacks from a dense transformer of the same width in
    /// this folder, and says from which.
    ///
    /// # Errors
    /// If a dense transformer is malformed.
    pub(super) fn complete(&self, weights: &mut Weights) -> Result<Option<PathBuf>> {
        let lacking = lacking(weights);
        if lacking.is_empty() || !weights.contains("double_blocks.0.img_attn.qkv.weight") {
            return Ok(None);
        }
        for path in self.dense_transformers() {
            let base = Weights::open(path)?;
            let width = |w: &Weights| w.info("txt_in.bias").map(|t| t.shape.clone()).ok();
            if width(&base) == width(weights)
                && weights.fill_from(&base, |name| lacking.iter().any(|m| in_module(name, m))) > 0
            {
                tracing::warn!(
                    "{} lacks {}: taken from {}",
                    weights.path().display(),
                    lacking.join(", "),
                    path.display()
                );
                return Ok(Some(path.to_owned()));
            }
        }
        Ok(None)
    }
}

/// The input embedders that a file has no tensor of.
fn lacking(weights: &Weights) -> Vec<&'static str> {
    let is_absent = |module: &&str| !weights.names().any(|name| in_module(name, module));
    EMBEDDERS.into_iter().filter(is_absent).collect()
}

fn existing(path: &Path) -> Result<()> {
    std::fs::metadata(path)
        .map(|_| ())
        .map_err(PipelineError::io("reading", path))
}

fn size(weights: &Weights) -> String {
    let megabytes = weights.size_bytes() as f64 / 1e6;
    let millions = weights.value_count() as f64 / 1e6;
    format!("{millions:.1} million values in {megabytes:.1} MB")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    fn bundle() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-fill/bundle")
    }

    fn worst(folder: &Path) -> Vec<Finding> {
        let findings = ModelFolder::open(folder).unwrap().check();
        let worst = findings.iter().map(|f| f.severity).max().unwrap();
        findings
            .into_iter()
            .filter(|f| f.severity == worst && worst > Severity::Note)
            .collect()
    }

    #[test]
    fn a_whole_folder_has_nothing_wrong() {
        assert_eq!(worst(&bundle()), []);
    }

    #[test]
    fn everything_that_is_missing_or_cut_is_found_in_one_go() {
        let dir = tempfile::tempdir().unwrap();
        let copy = |name: &str| std::fs::copy(bundle().join(name), dir.path().join(name)).unwrap();
        copy("ae.safetensors");
        copy("config.json");
        let name = "flux1-fill-tiny-Q4_0.gguf";
        let whole = std::fs::read(bundle().join(name)).unwrap();
        std::fs::write(dir.path().join(name), &whole[..whole.len() - 100]).unwrap();
        let messages: Vec<String> = worst(dir.path()).into_iter().map(|f| f.message).collect();
        assert_eq!(messages.len(), 5, "{messages:#?}");
        for part in [
            "text_encoder/",
            "text_encoder_2/",
            "CLIP's tokenizer",
            "T5's tokenizer",
            "truncated",
        ] {
            assert!(
                messages.iter().any(|m| m.contains(part)),
                "{part}: {messages:#?}"
            );
        }
    }

    #[test]
    fn a_run_is_told_of_what_it_needs_and_of_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for entry in ["ae.safetensors", "config.json", "flux1-fill-tiny-Q8_0.gguf"] {
            std::fs::copy(bundle().join(entry), dir.path().join(entry)).unwrap();
        }
        std::fs::write(dir.path().join("flux1-fill-tiny-Q4_0.gguf"), b"GGUF").unwrap();
        let folder = ModelFolder::open(dir.path()).unwrap();
        let errors = |quants: &[&str]| -> Vec<String> {
            let found = folder.check_for(quants).into_iter();
            let about_transformers = found
                .filter(|f| f.severity == Severity::Error && !f.message.contains("text_encoder"));
            let text = about_transformers.map(|f| f.message);
            text.filter(|m| !m.contains("tokenizer")).collect()
        };
        assert_eq!(errors(&["q8_0"]), Vec::<String>::new());
        assert!(errors(&["Q8_0", "Q4_0"])[0].contains("truncated"));
        let absent = errors(&["Q8_0", "Q5_K_S"]);
        assert!(
            absent[0].contains("Q5_K_S") && absent[0].contains("there are Q4_0, Q8_0"),
            "{absent:?}"
        );
    }

    #[test]
    fn the_required_tensors_are_all_that_a_transformer_has() {
        for file in ["flux1-fill-tiny.safetensors", "flux1-fill-kq-Q5_K_S.gguf"] {
            let weights = Weights::open(&bundle().join(file)).unwrap();
            let hints = ModelFolder::open(&bundle()).unwrap().axes_hints().unwrap();
            let dims = Dimensions::read(&weights, &hints).unwrap();
            let mut required: Vec<String> = dims.required().into_iter().map(|r| r.0).collect();
            required.sort();
            let names: Vec<String> = weights.names().map(str::to_owned).collect();
            assert_eq!(required, names);
        }
    }
}
