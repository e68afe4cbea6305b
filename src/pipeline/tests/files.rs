//! Unusual, damaged and hostile weight files: the right weights or a named error.

use super::gguf_writer::{Entry, copied, gguf, reencoded};
use super::{bundle, go_on, params, pipeline, prepare};
use crate::pipeline::gguf::read_header;
use crate::pipeline::weights::{Weights, decode_all};
use crate::pipeline::{ComputeDevice, FillPipeline, ModelFolder, PipelineError, PipelineOptions};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

fn kq() -> PathBuf {
    bundle().join("flux1-fill-kq-Q5_K_S.gguf")
}

fn tiny() -> PathBuf {
    bundle().join("flux1-fill-tiny-Q8_0.gguf")
}

/// What loading these entries as a transformer of the bundle says.
fn load(entries: &[Entry], architecture: &str) -> Result<(), PipelineError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flux1-fill-test-Q4_0.gguf");
    std::fs::write(&path, gguf(architecture, entries)).unwrap();
    pipeline(|_| {}).load(&path, &mut go_on).map(|_| ())
}

fn decoded(path: &Path) -> Vec<(String, Vec<f32>)> {
    let weights = Weights::open(path).unwrap();
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    names
        .into_iter()
        .map(|name| {
            let shape = weights.info(&name).unwrap().shape.clone();
            let (stored, bytes) = weights.stored(&name, &shape).unwrap();
            (name, decode_all(stored, bytes.bytes()))
        })
        .collect()
}

#[test]
fn a_mixture_of_types_fills_as_the_same_weights_in_float32_do() {
    let dir = tempfile::tempdir().unwrap();
    let mixed = dir.path().join("mixed-Q4_K_M.gguf");
    // K-quants where rows are whole blocks of 256, floats where they are not.
    let (quantized, plain) = ([12, 14, 13, 8, 2], [1, 30]);
    let turn = std::cell::Cell::new(0);
    let entries = reencoded(&kq(), |name| {
        let i = turn.replace(turn.get() + 1);
        if name.contains("_blocks.") {
            quantized[i % quantized.len()]
        } else {
            plain[i % plain.len()]
        }
    });
    let used: std::collections::BTreeSet<u32> = entries.iter().map(|e| e.kind).collect();
    assert_eq!(used, [0, 1, 2, 8, 12, 13, 14, 30].into());
    std::fs::write(&mixed, gguf("flux", &entries)).unwrap();

    let plain = dir.path().join("plain-F32.gguf");
    let entries: Vec<Entry> = reencoded(&mixed, |_| 0);
    std::fs::write(&plain, gguf("flux", &entries)).unwrap();
    assert_eq!(decoded(&mixed), decoded(&plain));

    let mut pipeline = pipeline(|_| {});
    let (prompt, conditioning) = prepare(&mut pipeline);
    let mut fill = |path: &Path| {
        pipeline.load(path, &mut go_on).unwrap();
        let output = pipeline.fill(&prompt, &conditioning, &params(2), &mut go_on);
        output.unwrap().image.into_raw()
    };
    assert_eq!(fill(&mixed), fill(&plain));
}

#[test]
fn missing_embedders_are_named_and_taken_from_a_dense_file_beside() {
    let embedder = |e: &Entry| {
        ["img_in.", "time_in.", "vector_in.", "guidance_in."]
            .iter()
            .any(|m| e.name.starts_with(m))
    };
    let entries: Vec<Entry> = copied(&tiny())
        .into_iter()
        .filter(|e| !embedder(e))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flux1-fill-bare-Q8_0.gguf");
    std::fs::write(&path, gguf("flux", &entries)).unwrap();

    // The bundle's folder has a dense transformer of the same width.
    let loaded = pipeline(|_| {}).load(&path, &mut go_on).unwrap();
    assert!(
        loaded
            .embedders_from
            .unwrap()
            .ends_with("flux1-fill-tiny.safetensors")
    );

    std::fs::copy(
        bundle().join("ae.safetensors"),
        dir.path().join("ae.safetensors"),
    )
    .unwrap();
    std::fs::copy(bundle().join("config.json"), dir.path().join("config.json")).unwrap();
    let folder = ModelFolder::open(dir.path()).unwrap();
    let options = PipelineOptions::for_device(ComputeDevice::Cpu);
    let mut alone = FillPipeline::new(folder, ComputeDevice::Cpu, options).unwrap();
    let error = alone.load(&path, &mut go_on).unwrap_err().to_string();
    for part in [
        "img_in, time_in, vector_in, guidance_in",
        "flux1-fill-dev.safetensors",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn tensors_with_the_prefix_of_checkpoints_are_found() {
    let mut entries = copied(&tiny());
    for entry in &mut entries {
        entry.name = format!("model.diffusion_model.{}", entry.name);
    }
    load(&entries, "flux").unwrap();
}

#[test]
fn foreign_models_are_refused_by_what_they_are() {
    let renamed = |name: &str| vec![Entry::encoded(name, &[4, 32], 0, vec![0.0; 128])];
    for (entries, architecture, expected) in [
        (copied(&tiny()), "llama", "a llama model"),
        (
            renamed("transformer_blocks.0.attn.to_q.weight"),
            "flux",
            "diffusers' tensor names",
        ),
        (renamed("enc.blk.0.attn_q.weight"), "flux", "a text encoder"),
        (renamed("whatever"), "flux", "unknown model"),
    ] {
        let error = load(&entries, architecture).unwrap_err();
        assert!(
            matches!(error, PipelineError::ForeignArchitecture { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut without_fill = copied(&tiny());
    for entry in &mut without_fill {
        if entry.name == "img_in.weight" {
            *entry = Entry::encoded("img_in.weight", &[64, 64], 0, vec![0.0; 64 * 64]);
        }
    }
    let error = load(&without_fill, "flux").unwrap_err().to_string();
    assert!(
        error.contains("64 input channels") && error.contains("384"),
        "{error}"
    );
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    let name = "double_blocks.1.txt_mlp.2.weight";
    let all = || copied(&tiny());
    let without: Vec<Entry> = all().into_iter().filter(|e| e.name != name).collect();
    let error = load(&without, "flux").unwrap_err();
    assert!(
        matches!(&error, PipelineError::MissingTensor { tensor, .. } if tensor == name),
        "{error}"
    );
    let wrong: Vec<Entry> = all()
        .into_iter()
        .map(|e| {
            if e.name == name {
                Entry::encoded(name, &[32, 32], 0, vec![0.0; 1024])
            } else {
                e
            }
        })
        .collect();
    let error = load(&wrong, "flux").unwrap_err().to_string();
    assert!(
        error.contains("[32, 32]") && error.contains("[64, 256]"),
        "{error}"
    );
}

#[test]
fn a_split_file_is_one_and_a_missing_part_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = copied(&tiny());
    let second = first.split_off(first.len() / 2);
    let part = |i: usize| {
        dir.path()
            .join(format!("flux1-fill-tiny-Q8_0-{i:05}-of-00002.gguf"))
    };
    std::fs::write(part(1), gguf("flux", &first)).unwrap();
    let error = Weights::open(&part(1)).err().unwrap().to_string();
    assert!(error.contains("part 2 of 2"), "{error}");
    std::fs::write(part(2), gguf("flux", &second)).unwrap();
    assert_eq!(decoded(&part(1)), decoded(&tiny()));
    let error = Weights::open(&part(2)).err().unwrap().to_string();
    assert!(error.contains("name its first part"), "{error}");
}

#[test]
fn a_file_cut_anywhere_is_said_to_be_truncated() {
    let whole = std::fs::read(tiny()).unwrap();
    let path = Path::new("cut.gguf");
    // Every length inside the header's beginning, then some of the rest.
    let lengths = (4..600).chain((600..whole.len()).step_by(9973));
    for len in lengths {
        let error = read_header(&whole[..len], path).unwrap_err();
        assert!(
            matches!(error, PipelineError::Truncated { .. }),
            "{len}: {error}"
        );
    }
    let dense = std::fs::read(bundle().join("flux1-fill-tiny.safetensors")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flux1-fill-cut.safetensors");
    for len in [0, 7, 8, 100, dense.len() / 2, dense.len() - 1] {
        std::fs::write(&path, &dense[..len]).unwrap();
        let error = Weights::open(&path).err().unwrap();
        assert!(
            matches!(error, PipelineError::Truncated { .. }),
            "{len}: {error}"
        );
    }
}

#[test]
fn hostile_counts_and_offsets_are_refused_without_allocating() {
    let path = Path::new("hostile.gguf");
    let entries = [Entry::encoded("a", &[2, 32], 0, vec![0.5; 64])];
    let good = gguf("flux", &entries);
    read_header(&good, path).unwrap();
    let huge = u64::MAX.to_le_bytes();
    // Numbers of tensors and of metadata entries, and the length of the first key.
    for at in [8, 16, 24] {
        let mut bad = good.clone();
        bad[at..at + 8].copy_from_slice(&huge);
        assert!(read_header(&bad, path).is_err(), "{at}");
    }
    // The tensor's entry: name (8 + 1), dimensions (4), two sizes, type, offset.
    let name_at = good
        .windows(9)
        .position(|w| w == b"\x01\0\0\0\0\0\0\0a")
        .unwrap();
    for at in [13, 21, 33] {
        let mut bad = good.clone();
        bad[name_at + at..name_at + at + 8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
        assert!(read_header(&bad, path).is_err(), "{at}");
    }
    let mut bad = good.clone();
    bad[name_at + 9] = 200;
    assert!(
        read_header(&bad, path)
            .unwrap_err()
            .to_string()
            .contains("200 dimensions")
    );
    let mut bad = good.clone();
    bad[name_at + 29] = 99;
    let error = read_header(&bad, path).unwrap_err();
    assert!(error.to_string().contains("GGUF type 99"), "{error}");
    let twice = [
        Entry::encoded("a", &[32], 0, vec![0.5; 32]),
        Entry::encoded("a", &[32], 0, vec![0.5; 32]),
    ];
    let error = read_header(&gguf("flux", &twice), path).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_damaged_header_gives_tensors_inside_the_file_or_an_error(
        changes in prop::collection::vec((0_usize..400, any::<u8>()), 1..12),
        len in 0_usize..1200,
    ) {
        let entries = [
            Entry::encoded("double_blocks.0.a", &[2, 32], 2, vec![0.5; 64]),
            Entry::encoded("b", &[32], 0, vec![0.5; 32]),
            Entry::encoded("c", &[1, 2, 32], 8, vec![0.5; 64]),
        ];
        let mut bytes = gguf("flux", &entries);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(len.max(8));
        check_inside(&bytes);
    }

    #[test]
    fn noise_after_the_magic_gives_tensors_inside_the_file_or_an_error(
        noise in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(noise);
        check_inside(&bytes);
    }
}

fn check_inside(bytes: &[u8]) {
    if let Ok(header) = read_header(bytes, Path::new("damaged.gguf")) {
        for tensor in header.tensors.values() {
            let range = tensor.range.clone();
            let encoded = &bytes[range];
            decode_all(tensor.stored_type, encoded);
            let size = tensor.stored_type.size_bytes(&tensor.shape);
            assert_eq!(size, Some(encoded.len() as u64));
        }
    }
}
