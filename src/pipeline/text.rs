//! Prompts to embeddings: CLIP's pooled vector and T5's tokens.
//!
//! Each encoder is loaded, used for every prompt, and freed before the next thing is loaded.

use super::error::{PipelineError, Result};
use super::folder::ModelFolder;
use super::memory::F32_ENCODER_BYTES;
use super::t5_weights::open_t5;
use super::tokenize::PromptTokenizer;
use super::weights::Weights;
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{clip::text_model as clip, t5};
use serde::Deserialize;
use std::path::Path;

/// Longest T5 prompt that FLUX pipelines use; also what they use when nothing says otherwise.
const T5_TOKENS: usize = 512;

/// What the transformer is told about one prompt.
pub struct PromptEmbedding {
    pub(super) prompt: String,
    /// CLIP's ids.
    pub(super) clip_ids: Vec<u32>,
    /// T5's ids.
    pub(super) t5_ids: Vec<u32>,
    /// (1, T5 tokens, width), float32 on the CPU.
    pub(super) tokens: Tensor,
    /// (1, width), float32 on the CPU.
    pub(super) pooled: Tensor,
}

impl PromptEmbedding {
    /// An embedding that was made before: `tokens` row by row, as many rows as `t5_ids`.
    ///
    /// # Errors
    /// If the values are no whole number of rows.
    pub fn from_values(
        prompt: &str,
        clip_ids: Vec<u32>,
        t5_ids: Vec<u32>,
        tokens: Vec<f32>,
        pooled: Vec<f32>,
    ) -> Result<Self> {
        let (rows, len) = (t5_ids.len(), tokens.len());
        if rows == 0 || len == 0 || !len.is_multiple_of(rows) {
            return Err(PipelineError::BadInput(format!(
                "an embedding of {len} values has no {rows} rows"
            )));
        }
        let width = pooled.len();
        Ok(Self {
            prompt: prompt.to_owned(),
            clip_ids,
            t5_ids,
            tokens: Tensor::from_vec(tokens, (1, rows, len / rows), &Device::Cpu)?,
            pooled: Tensor::from_vec(pooled, (1, width), &Device::Cpu)?,
        })
    }

    /// The prompt.
    pub fn prompt(&self) -> &str {
        &self.prompt
    }

    /// CLIP's 77 token ids.
    pub fn clip_ids(&self) -> &[u32] {
        &self.clip_ids
    }

    /// T5's token ids, padded to the length that is used.
    pub fn t5_ids(&self) -> &[u32] {
        &self.t5_ids
    }

    /// T5's output, row by row.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn token_values(&self) -> Result<Vec<f32>> {
        Ok(self.tokens.flatten_all()?.to_vec1()?)
    }

    /// CLIP's pooled output.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn pooled_values(&self) -> Result<Vec<f32>> {
        Ok(self.pooled.flatten_all()?.to_vec1()?)
    }
}

/// The parts of CLIP's `config.json` that are needed.
#[derive(Deserialize)]
struct ClipConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(default = "quick_gelu")]
    hidden_act: String,
}

fn quick_gelu() -> String {
    "quick_gelu".to_owned()
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(PipelineError::io("reading", path))?;
    serde_json::from_str(&text).map_err(|e| PipelineError::bad_config(path, e.to_string()))
}

/// How many T5 tokens to use: `model_max_length` of the tokenizer's configuration when it is a
/// sensible number (some files say 10³⁰ for "unlimited"), else 512.
pub fn t5_tokens(folder: &ModelFolder) -> usize {
    #[derive(Deserialize)]
    struct TokenizerConfig {
        model_max_length: Option<f64>,
    }
    let path = folder.t5_tokenizer_dir().join("tokenizer_config.json");
    let asked = read_json::<TokenizerConfig>(&path)
        .ok()
        .and_then(|config| config.model_max_length);
    match asked {
        Some(length) if (1.0..=T5_TOKENS as f64).contains(&length) => length as usize,
        _ => T5_TOKENS,
    }
}

/// Embeds every prompt. `between` is called between prompts and models and may stop the work.
///
/// # Errors
/// If a file is missing or malformed, memory runs out, or `between` says stop.
pub fn encode(
    folder: &ModelFolder,
    prompts: &[String],
    t5_len: usize,
    device: &Device,
    between: &mut dyn FnMut() -> Result<()>,
) -> Result<Vec<PromptEmbedding>> {
    let clip = encode_clip(folder, prompts, device, between)?;
    between()?;
    let t5 = encode_t5(folder, prompts, t5_len, device, between)?;
    Ok(prompts
        .iter()
        .zip(clip)
        .zip(t5)
        .map(
            |((prompt, (clip_ids, pooled)), (t5_ids, tokens))| PromptEmbedding {
                prompt: prompt.clone(),
                clip_ids,
                t5_ids,
                tokens,
                pooled,
            },
        )
        .collect())
}

type Encoded = Vec<(Vec<u32>, Tensor)>;

fn to_cpu(x: &Tensor) -> Result<Tensor> {
    Ok(x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?)
}

fn encode_clip(
    folder: &ModelFolder,
    prompts: &[String],
    device: &Device,
    between: &mut dyn FnMut() -> Result<()>,
) -> Result<Encoded> {
    let tokenizer = PromptTokenizer::clip(&folder.clip_tokenizer_dir())?;
    let dir = folder.clip_dir();
    let path = dir.join("config.json");
    let config: ClipConfig = read_json(&path)?;
    if config.hidden_act != "quick_gelu" {
        return Err(PipelineError::bad_config(
            &path,
            format!("hidden_act is {}, expected quick_gelu", config.hidden_act),
        ));
    }
    let weights = Weights::open_all(&folder.encoder_files(&dir)?)?;
    let vars = VarBuilder::from_backend(Box::new(weights), DType::F32, device.clone());
    let model = clip::ClipTextTransformer::new(
        vars.pp("text_model"),
        &clip::ClipTextConfig {
            vocab_size: config.vocab_size,
            embed_dim: config.hidden_size,
            activation: clip::Activation::QuickGelu,
            intermediate_size: config.intermediate_size,
            max_position_embeddings: config.max_position_embeddings,
            pad_with: None,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            projection_dim: config.hidden_size,
        },
    )?;
    let len = config.max_position_embeddings;
    prompts
        .iter()
        .map(|prompt| {
            between()?;
            let ids = tokenizer.ids(prompt, len)?;
            check_ids(&ids, config.vocab_size, &path)?;
            let input = Tensor::from_vec(ids.clone(), (1, len), device)?;
            Ok((ids, to_cpu(&model.forward(&input)?)?))
        })
        .collect()
}

/// An id beyond the vocabulary would read outside the embedding table.
fn check_ids(ids: &[u32], vocab_size: usize, path: &Path) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= vocab_size) {
        Some(id) => Err(PipelineError::bad_config(
            path,
            format!(
                "the tokenizer gives id {id} and vocab_size is {vocab_size}: they do not belong together"
            ),
        )),
        None => Ok(()),
    }
}

fn encode_t5(
    folder: &ModelFolder,
    prompts: &[String],
    len: usize,
    device: &Device,
    between: &mut dyn FnMut() -> Result<()>,
) -> Result<Encoded> {
    let tokenizer = PromptTokenizer::t5(&folder.t5_tokenizer_dir())?;
    let dir = folder.t5_dir();
    let path = dir.join("config.json");
    let config: t5::Config = read_json(&path)?;
    let weights = open_t5(folder)?;
    let dtype = if weights.value_count() * 4 <= F32_ENCODER_BYTES {
        DType::F32
    } else {
        DType::BF16
    };
    let mut model = load_t5(weights, &config, dtype, device)?;
    prompts
        .iter()
        .map(|prompt| {
            between()?;
            let ids = tokenizer.ids(prompt, len)?;
            check_ids(&ids, config.vocab_size, &path)?;
            let input = Tensor::from_vec(ids.clone(), (1, len), device)?;
            model.clear_kv_cache();
            // Activations in float32, whatever the weights are.
            let tokens = model.forward_dt(&input, Some(DType::F32))?;
            Ok((ids, to_cpu(&tokens)?))
        })
        .collect()
}

fn load_t5(
    weights: Weights,
    config: &t5::Config,
    dtype: DType,
    device: &Device,
) -> Result<t5::T5EncoderModel> {
    let vars = VarBuilder::from_backend(Box::new(weights), dtype, device.clone());
    Ok(t5::T5EncoderModel::load(vars, config)?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn bundle() -> ModelFolder {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-fill/bundle");
        ModelFolder::open(&path).unwrap()
    }

    #[test]
    fn weights_kept_in_bfloat16_embed_as_their_float32_copies_do() {
        // The fixture's weights are exact in bfloat16, so the two must agree to rounding.
        let folder = bundle();
        let dir = folder.t5_dir();
        let config: t5::Config = read_json(&dir.join("config.json")).unwrap();
        let ids = PromptTokenizer::t5(&folder.t5_tokenizer_dir())
            .unwrap()
            .ids("a red brick wall", 16)
            .unwrap();
        let input = Tensor::from_vec(ids, (1, 16), &Device::Cpu).unwrap();
        let embed = |dtype| {
            let files: Vec<PathBuf> = folder.encoder_files(&dir).unwrap();
            let weights = Weights::open_all(&files).unwrap();
            let mut model = load_t5(weights, &config, dtype, &Device::Cpu).unwrap();
            let tokens = model.forward_dt(&input, Some(DType::F32)).unwrap();
            tokens.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let (exact, kept) = (embed(DType::F32), embed(DType::BF16));
        for (a, b) in exact.iter().zip(&kept) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn a_tensor_that_an_encoder_lacks_is_named_with_its_file() {
        let folder = bundle();
        let dir = folder.t5_dir();
        let mut config: t5::Config = read_json(&dir.join("config.json")).unwrap();
        config.num_layers += 1;
        let weights = Weights::open_all(&folder.encoder_files(&dir).unwrap()).unwrap();
        let error = load_t5(weights, &config, DType::F32, &Device::Cpu).err();
        let text = error.unwrap().to_string();
        assert!(text.starts_with("tensor encoder.block.2."), "{text}");
        assert!(text.ends_with("text_encoder_2/model.safetensors"), "{text}");
    }

    #[test]
    fn a_long_prompt_is_cut_and_keeps_its_end() {
        let folder = bundle();
        let t5 = PromptTokenizer::t5(&folder.t5_tokenizer_dir()).unwrap();
        let ids = t5.ids(&"a wooden table ".repeat(50), 8).unwrap();
        assert_eq!(ids.len(), 8);
        assert_eq!(ids.last(), Some(&1));
        let clip = PromptTokenizer::clip(&folder.clip_tokenizer_dir()).unwrap();
        let ids = clip.ids("", 77).unwrap();
        assert!(ids[1..].iter().all(|&id| id == ids[1]));
    }
}
