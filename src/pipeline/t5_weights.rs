//! T5's weights from safetensors or GGUF, under the names that Hugging Face gives them.
//!
//! llama.cpp's converter has names of its own (`enc.blk.*`, as in `gguf-py/gguf/tensor_mapping.py` of
//! <https://github.com/ggml-org/llama.cpp>); everything else keeps Hugging Face's. Quantized weights are
//! dequantized when the encoder is loaded.

use super::error::{PipelineError, Result};
use super::folder::ModelFolder;
use super::weights::Weights;

/// Opens a folder's T5.
///
/// # Errors
/// If a file is missing or malformed, or has the same tensor under both names.
pub fn open_t5(folder: &ModelFolder) -> Result<Weights> {
    let mut weights = Weights::open_all(&folder.encoder_files(&folder.t5_dir())?)?;
    weights.rename(hugging_face_name)?;
    Ok(weights)
}

/// Hugging Face's name of a tensor that llama.cpp's converter named; `None` for any other.
fn hugging_face_name(name: &str) -> Option<String> {
    match name {
        "token_embd.weight" => return Some("shared.weight".to_owned()),
        "enc.output_norm.weight" => return Some("encoder.final_layer_norm.weight".to_owned()),
        _ => {}
    }
    let (block, part) = name.strip_prefix("enc.blk.")?.split_once('.')?;
    if block.is_empty() || !block.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = match part.strip_suffix(".weight")? {
        "attn_norm" => "layer.0.layer_norm",
        "attn_q" => "layer.0.SelfAttention.q",
        "attn_k" => "layer.0.SelfAttention.k",
        "attn_v" => "layer.0.SelfAttention.v",
        "attn_o" => "layer.0.SelfAttention.o",
        "attn_rel_b" => "layer.0.SelfAttention.relative_attention_bias",
        "ffn_norm" => "layer.1.layer_norm",
        "ffn_gate" => "layer.1.DenseReluDense.wi_0",
        "ffn_up" => "layer.1.DenseReluDense.wi_1",
        "ffn_down" => "layer.1.DenseReluDense.wo",
        _ => return None,
    };
    Some(format!("encoder.block.{block}.{part}.weight"))
}

impl Weights {
    /// Gives tensors other names; `None` keeps one.
    ///
    /// # Errors
    /// If two tensors would have the same name.
    fn rename(&mut self, name_of: impl Fn(&str) -> Option<String>) -> Result<()> {
        let renamed: Vec<(String, String)> = self
            .names()
            .filter_map(|name| Some((name.to_owned(), name_of(name)?)))
            .collect();
        for (from, to) in renamed {
            if self.contains(&to) {
                return Err(PipelineError::bad_header(
                    self.path(),
                    format!("tensor {to} is there twice, once as {from}"),
                ));
            }
            self.move_tensor(&from, to);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_converters_names_become_hugging_faces_and_others_stay() {
        let name = |name: &str| hugging_face_name(name).unwrap_or_default();
        assert_eq!(
            name("enc.blk.23.attn_rel_b.weight"),
            "encoder.block.23.layer.0.SelfAttention.relative_attention_bias.weight"
        );
        assert_eq!(
            name("enc.blk.0.ffn_up.weight"),
            "encoder.block.0.layer.1.DenseReluDense.wi_1.weight"
        );
        assert_eq!(name("token_embd.weight"), "shared.weight");
        for other in [
            "shared.weight",
            "enc.blk.x.attn_q.weight",
            "enc.blk.0.attn_q.bias",
            "dec.blk.0.attn_q.weight",
        ] {
            assert_eq!(hugging_face_name(other), None, "{other}");
        }
    }
}
