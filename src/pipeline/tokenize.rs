//! Prompts to token ids, from the files of either layout.

use super::error::{PipelineError, Result};
use std::path::Path;
use tokenizers::Tokenizer;

const CLIP_START: &str = "<|startoftext|>";
const CLIP_END: &str = "<|endoftext|>";
/// The original's split of English text, as transformers writes it for CLIP.
const CLIP_SPLIT: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A tokenizer and the ids that it ends and pads with.
pub struct PromptTokenizer {
    tokenizer: Tokenizer,
    end: u32,
    pad: u32,
}

fn failed(path: &Path) -> impl Fn(tokenizers::Error) -> PipelineError {
    let path = path.to_owned();
    move |error| PipelineError::bad_config(&path, error.to_string())
}

impl PromptTokenizer {
    fn new(tokenizer: Tokenizer, end: &str, pad: &str, path: &Path) -> Result<Self> {
        let id = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| {
                PipelineError::bad_config(path, format!("the vocabulary has no {token}"))
            })
        };
        Ok(Self {
            end: id(end)?,
            pad: id(pad)?,
            tokenizer,
        })
    }

    fn from_json(path: &Path, end: &str, pad: &str) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_file(path).map_err(failed(path))?;
        // Lengths are the pipeline's business, whatever the file says.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(failed(path))?;
        Self::new(tokenizer, end, pad, path)
    }

    /// CLIP's, from `tokenizer.json` or from `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// If neither is there, or they cannot be read.
    pub fn clip(folder: &Path) -> Result<Self> {
        let json = folder.join("tokenizer.json");
        if json.exists() {
            // CLIP pads with its end token.
            return Self::from_json(&json, CLIP_END, CLIP_END);
        }
        let (vocab, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
        for path in [&vocab, &merges] {
            if !path.exists() {
                return Err(PipelineError::MissingFile {
                    what: "CLIP's tokenizer".to_owned(),
                    path: path.clone(),
                    remedy: "fetch tokenizer/vocab.json and tokenizer/merges.txt".to_owned(),
                });
            }
        }
        let tokenizer = clip_from_bpe(&vocab, &merges)?;
        Self::new(tokenizer, CLIP_END, CLIP_END, &vocab)
    }

    /// T5's, from `tokenizer.json`.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
    pub fn t5(folder: &Path) -> Result<Self> {
        let json = folder.join("tokenizer.json");
        if !json.exists() {
            return Err(PipelineError::MissingFile {
                what: "T5's tokenizer".to_owned(),
                path: json,
                remedy: "fetch tokenizer_2/tokenizer.json".to_owned(),
            });
        }
        Self::from_json(&json, "</s>", "<pad>")
    }

    /// Exactly `len` ids: padded, or cut with the end token kept.
    ///
    /// # Errors
    /// If the prompt cannot be tokenized.
    pub fn ids(&self, prompt: &str, len: usize) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode(prompt, true)
            .map_err(|e| PipelineError::BadInput(format!("prompt {prompt:?}: {e}")))?;
        let mut ids = encoding.get_ids().to_vec();
        if ids.len() > len {
            ids.truncate(len.saturating_sub(1));
            ids.push(self.end);
        }
        ids.resize(len, self.pad);
        Ok(ids)
    }
}

/// What transformers builds from CLIP's `vocab.json` and `merges.txt`.
fn clip_from_bpe(vocab: &Path, merges: &Path) -> Result<Tokenizer> {
    use tokenizers::models::bpe::BPE;
    use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence, replace::ReplacePattern};
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::pre_tokenizers::sequence::Sequence as PreSequence;
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    use tokenizers::processors::roberta::RobertaProcessing;
    use tokenizers::{AddedToken, SplitDelimiterBehavior};

    let model = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy())
        .unk_token(CLIP_END.to_owned())
        .end_of_word_suffix("</w>".to_owned())
        .build()
        .map_err(failed(vocab))?;
    let mut tokenizer = Tokenizer::new(model);
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ");
    tokenizer
        .with_normalizer(Some(Sequence::new(vec![
            NFC.into(),
            spaces.map_err(failed(vocab))?.into(),
            Lowercase.into(),
        ])))
        .map_err(failed(vocab))?;
    let split = Split::new(
        SplitPattern::Regex(CLIP_SPLIT.to_owned()),
        SplitDelimiterBehavior::Removed,
        true,
    );
    tokenizer.with_pre_tokenizer(Some(PreSequence::new(vec![
        split.map_err(failed(vocab))?.into(),
        ByteLevel::new(false, true, true).into(),
    ])));
    let id = |token: &str| {
        tokenizer.token_to_id(token).ok_or_else(|| {
            PipelineError::bad_config(vocab, format!("the vocabulary has no {token}"))
        })
    };
    let (start, end) = (id(CLIP_START)?, id(CLIP_END)?);
    tokenizer.with_post_processor(Some(
        RobertaProcessing::new((CLIP_END.to_owned(), end), (CLIP_START.to_owned(), start))
            .trim_offsets(false)
            .add_prefix_space(false),
    ));
    tokenizer
        .add_special_tokens([CLIP_START, CLIP_END].map(|t| AddedToken::from(t, true)))
        .map_err(failed(vocab))?;
    Ok(tokenizer)
}
