//! Prompt embeddings on disk, so that T5 need not be loaded for a prompt that was seen before.
//!
//! The key is a hash of everything that an embedding depends on: the encoders' weights,
//! configurations and tokenizers, the number of tokens, the kind of device, and the prompt. An
//! entry that cannot be read or does not fit is made again.

use super::error::{PipelineError, Result};
use super::folder::ModelFolder;
use super::hashes::HashCache;
use super::request::Hook;
use super::text::PromptEmbedding;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A folder of embeddings.
#[derive(Debug, Clone)]
pub struct EmbeddingCache {
    dir: PathBuf,
}

/// Files that decide what an embedding is, beside the weights.
const SETTINGS: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
];

/// A version of the way in which embeddings are made; to be raised when it changes.
const VERSION: &str = "fill-audit embedding 1";

impl EmbeddingCache {
    /// The cache in a folder, which is made when the first entry is written.
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The user's own cache, where there is such a place.
    pub fn of_user() -> Option<Self> {
        Some(Self::at(
            &dirs::cache_dir()?.join("fill-audit").join("embeddings"),
        ))
    }

    /// What all embeddings of a folder's encoders share; hashes the weights, which the hash cache
    /// remembers.
    ///
    /// # Errors
    /// If a file is missing or the hook cancels.
    pub(super) fn encoders_key(
        folder: &ModelFolder,
        t5_tokens: usize,
        device: &str,
        hashes: &mut HashCache,
        hook: Hook<'_>,
    ) -> Result<String> {
        let mut hasher = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(VERSION.as_bytes());
        part(device.as_bytes());
        part(&t5_tokens.to_le_bytes());
        for dir in [folder.clip_dir(), folder.t5_dir()] {
            for file in folder.encoder_files(&dir)? {
                part(hashes.sha256(&file, hook)?.as_bytes());
            }
        }
        let dirs = [
            folder.clip_dir(),
            folder.clip_tokenizer_dir(),
            folder.t5_dir(),
            folder.t5_tokenizer_dir(),
        ];
        for dir in dirs {
            for name in SETTINGS {
                // What is absent is part of the key too.
                part(&std::fs::read(dir.join(name)).unwrap_or_default());
            }
        }
        Ok(format!("{:x}", hasher.finalize()))
    }

    fn path(&self, encoders_key: &str, prompt: &str) -> PathBuf {
        let mut hasher = Sha256::new();
        hasher.update(encoders_key.as_bytes());
        hasher.update(prompt.as_bytes());
        self.dir
            .join(format!("{:x}.safetensors", hasher.finalize()))
    }

    /// The embedding of a prompt, if it is there and whole.
    pub(super) fn read(&self, encoders_key: &str, prompt: &str) -> Option<PromptEmbedding> {
        let bytes = std::fs::read(self.path(encoders_key, prompt)).ok()?;
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let words = |name: &str, dtype: Dtype| -> Option<Vec<[u8; 4]>> {
            let tensor = tensors.tensor(name).ok()?;
            let words = tensor.data().chunks_exact(4);
            (tensor.dtype() == dtype).then(|| words.map(|b| [b[0], b[1], b[2], b[3]]).collect())
        };
        let ids = |name: &str| -> Option<Vec<u32>> {
            let words = words(name, Dtype::U32)?;
            Some(words.into_iter().map(u32::from_le_bytes).collect())
        };
        let floats = |name: &str| -> Option<Vec<f32>> {
            let words = words(name, Dtype::F32)?;
            let floats: Vec<f32> = words.into_iter().map(f32::from_le_bytes).collect();
            floats.iter().all(|v| v.is_finite()).then_some(floats)
        };
        PromptEmbedding::from_values(
            prompt,
            ids("clip_ids")?,
            ids("t5_ids")?,
            floats("tokens")?,
            floats("pooled")?,
        )
        .ok()
    }

    /// Keeps an embedding. One that cannot be written is only a warning to whoever calls.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub(super) fn write(&self, encoders_key: &str, embedding: &PromptEmbedding) -> Result<()> {
        let path = self.path(encoders_key, embedding.prompt());
        let words = |ids: &[u32]| {
            ids.iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let floats = |values: &[f32]| {
            values
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let parts = [
            ("clip_ids", Dtype::U32, words(embedding.clip_ids())),
            ("t5_ids", Dtype::U32, words(embedding.t5_ids())),
            ("tokens", Dtype::F32, floats(&embedding.token_values()?)),
            ("pooled", Dtype::F32, floats(&embedding.pooled_values()?)),
        ];
        let failed = |detail: String| PipelineError::bad_config(&path, detail);
        let mut views = Vec::new();
        for (name, dtype, bytes) in &parts {
            let view = TensorView::new(*dtype, vec![bytes.len() / 4], bytes)
                .map_err(|e| failed(e.to_string()))?;
            views.push((*name, view));
        }
        let bytes = safetensors::serialize(views, None).map_err(|e| failed(e.to_string()))?;
        let io = |result: std::io::Result<()>| {
            result.map_err(PipelineError::io("writing an embedding", &path))
        };
        io(std::fs::create_dir_all(&self.dir))?;
        io(
            tempfile::NamedTempFile::new_in(&self.dir).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.persist(&path)?;
                Ok(())
            }),
        )
    }
}
