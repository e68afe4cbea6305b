//! T5 from GGUF files as converters write them, against the same weights as safetensors.

use super::gguf_writer::{Entry, copied, gguf, reencoded};
use super::{bundle, go_on};
use crate::pipeline::{
    ComputeDevice, FillPipeline, ModelFolder, PipelineError, PipelineOptions, Severity,
};
use std::path::Path;

/// The bundle with another T5 in place of its own; `None` keeps the folder without one.
fn folder_with(dir: &Path, file: &str, t5: Option<&[Entry]>) -> ModelFolder {
    for name in ["ae.safetensors", "config.json", "flux1-fill-tiny-Q4_0.gguf"] {
        std::fs::copy(bundle().join(name), dir.join(name)).unwrap();
    }
    for encoder in ["text_encoder", "text_encoder_2"] {
        std::fs::create_dir(dir.join(encoder)).unwrap();
        for entry in std::fs::read_dir(bundle().join(encoder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_owned();
            if encoder == "text_encoder" || name != "model.safetensors" {
                std::fs::write(dir.join(encoder).join(name), std::fs::read(path).unwrap()).unwrap();
            }
        }
    }
    if let Some(entries) = t5 {
        let path = dir.join("text_encoder_2").join(file);
        std::fs::write(path, gguf("t5encoder", entries)).unwrap();
    }
    ModelFolder::open(dir).unwrap()
}

fn own_t5() -> std::path::PathBuf {
    bundle().join("text_encoder_2/model.safetensors")
}

/// As llama.cpp's converter names them.
fn converted(mut entries: Vec<Entry>) -> Vec<Entry> {
    let parts = [
        ("layer.0.layer_norm", "attn_norm"),
        ("layer.0.SelfAttention.q", "attn_q"),
        ("layer.0.SelfAttention.k", "attn_k"),
        ("layer.0.SelfAttention.v", "attn_v"),
        ("layer.0.SelfAttention.o", "attn_o"),
        (
            "layer.0.SelfAttention.relative_attention_bias",
            "attn_rel_b",
        ),
        ("layer.1.layer_norm", "ffn_norm"),
        ("layer.1.DenseReluDense.wi_0", "ffn_gate"),
        ("layer.1.DenseReluDense.wi_1", "ffn_up"),
        ("layer.1.DenseReluDense.wo", "ffn_down"),
    ];
    for entry in &mut entries {
        entry.name = match entry.name.as_str() {
            "shared.weight" => "token_embd.weight".to_owned(),
            "encoder.final_layer_norm.weight" => "enc.output_norm.weight".to_owned(),
            name => {
                let rest = name.strip_prefix("encoder.block.").unwrap();
                let (block, part) = rest.split_once('.').unwrap();
                let part = part.strip_suffix(".weight").unwrap();
                let short = parts.iter().find(|(long, _)| *long == part).unwrap().1;
                format!("enc.blk.{block}.{short}.weight")
            }
        };
    }
    entries
}

fn embed(folder: ModelFolder) -> Result<Vec<f32>, PipelineError> {
    let mut options = PipelineOptions::for_device(ComputeDevice::Cpu);
    options.t5_tokens = Some(16);
    let mut pipeline = FillPipeline::new(folder, ComputeDevice::Cpu, options)?;
    let prompts = ["a red brick wall".to_owned()];
    let embeddings = pipeline.encode_prompts(&prompts, &mut go_on)?;
    embeddings[0].token_values()
}

#[test]
fn a_converted_t5_embeds_as_the_published_one_does() {
    let expected = embed(ModelFolder::open(&bundle()).unwrap()).unwrap();
    for entries in [copied(&own_t5()), converted(copied(&own_t5()))] {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder_with(dir.path(), "t5-v1_1-xxl-encoder-f32.gguf", Some(&entries));
        let errors: Vec<_> = folder
            .check()
            .into_iter()
            .filter(|finding| finding.severity > Severity::Note)
            .collect();
        assert_eq!(errors, []);
        assert_eq!(embed(folder).unwrap(), expected);
    }
}

#[test]
fn a_quantized_t5_is_dequantized_exactly_and_stays_near() {
    let exact = embed(ModelFolder::open(&bundle()).unwrap()).unwrap();
    // The converter keeps the position bias and the norms as they are.
    let quantized = |to: u32| {
        reencoded(&own_t5(), |name| {
            if name.contains("relative_attention_bias") {
                0
            } else {
                to
            }
        })
    };
    let dir = tempfile::tempdir().unwrap();
    let name = "t5-v1_1-xxl-encoder-Q8_0.gguf";
    let folder = folder_with(dir.path(), name, Some(&converted(quantized(8))));
    let from_q8 = embed(folder).unwrap();
    // The same values, stored plainly.
    let stored = dir.path().join("text_encoder_2").join(name);
    let plain = reencoded(&stored, |_| 0);
    let other = tempfile::tempdir().unwrap();
    let from_plain = embed(folder_with(other.path(), "t5.gguf", Some(&plain))).unwrap();
    assert_eq!(from_q8, from_plain);
    let largest = exact.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
    let off = exact
        .iter()
        .zip(&from_q8)
        .fold(0.0_f32, |max, (a, b)| max.max((a - b).abs()));
    assert!(off > 0.0 && off < 0.03 * largest, "{off} of {largest}");
}

#[test]
fn a_t5_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = embed(folder_with(dir.path(), "", None)).unwrap_err();
    assert!(error.to_string().contains("text_encoder_2"), "{error}");

    // The same tensor under both names, and a file of something else.
    let mut twice = copied(&own_t5());
    twice.extend(
        converted(copied(&own_t5()))
            .into_iter()
            .filter(|entry| entry.name == "token_embd.weight"),
    );
    let dir = tempfile::tempdir().unwrap();
    let error = embed(folder_with(dir.path(), "t5.gguf", Some(&twice))).unwrap_err();
    assert!(
        error.to_string().contains("shared.weight is there twice"),
        "{error}"
    );
    let foreign = copied(&bundle().join("flux1-fill-tiny-Q4_0.gguf"));
    let dir = tempfile::tempdir().unwrap();
    let folder = folder_with(dir.path(), "t5.gguf", Some(&foreign));
    let is_named = folder.check().iter().any(|finding| {
        finding.severity == Severity::Error && finding.message.contains("encoder.embed_tokens")
    });
    assert!(is_named, "{:#?}", folder.check());

    // Two files: neither is taken by chance.
    let dir = tempfile::tempdir().unwrap();
    let folder = folder_with(dir.path(), "a.gguf", Some(&copied(&own_t5())));
    let t5 = folder.t5_dir();
    std::fs::copy(t5.join("a.gguf"), t5.join("b.gguf")).unwrap();
    let error = embed(folder).unwrap_err().to_string();
    assert!(
        error.contains("a.gguf") && error.contains("b.gguf"),
        "{error}"
    );
}
