//! What a fill does when it is stopped, asked for nonsense, or computed in another way.

use super::gguf_writer::{Entry, copied, gguf};
use super::{bundle, go_on, inputs, params, pipeline, prepare};
use crate::pipeline::{
    ComputeDevice, EmbeddingCache, FillEvent, FillInputs, HashCache, MatmulPath, PipelineError,
    Precision, PromptEmbedding, Stage, accelerations,
};
use image::GrayImage;
use std::ops::ControlFlow;

const TINY: &str = "flux1-fill-tiny-Q4_0.gguf";

#[test]
fn a_cancel_is_seen_between_two_blocks_of_a_step() {
    let mut pipeline = pipeline(|_| {});
    let (prompt, conditioning) = prepare(&mut pipeline);
    pipeline.load(&bundle().join(TINY), &mut go_on).unwrap();
    let (mut polls, mut steps) = (0, 0);
    let error = pipeline
        .fill(&prompt, &conditioning, &params(4), &mut |event| {
            match event {
                FillEvent::Poll => polls += 1,
                FillEvent::Step { .. } => steps += 1,
                FillEvent::Stage(_) => {}
            }
            // The model has four blocks: the sixth poll is in the middle of the second step.
            if polls == 6 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .unwrap_err();
    assert!(matches!(error, PipelineError::Cancelled));
    assert_eq!((polls, steps), (6, 1));
    // The pipeline goes on being usable.
    pipeline
        .fill(&prompt, &conditioning, &params(1), &mut go_on)
        .unwrap();
}

#[test]
fn stages_and_steps_are_told_in_order_with_previews_when_asked_for() {
    let mut pipeline = pipeline(|options| options.preview_every = Some(2));
    let (prompt, conditioning) = prepare(&mut pipeline);
    pipeline.load(&bundle().join(TINY), &mut go_on).unwrap();
    let mut told = Vec::new();
    let output = pipeline
        .fill(&prompt, &conditioning, &params(3), &mut |event| {
            match event {
                FillEvent::Stage(stage) => told.push(format!("{stage:?}")),
                FillEvent::Step {
                    index,
                    total,
                    preview,
                    ..
                } => {
                    let size = preview.map(|p| p.dimensions());
                    told.push(format!("{index}/{total} {size:?}"));
                }
                FillEvent::Poll => {}
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(
        told,
        [
            format!("{:?}", Stage::Denoise),
            "1/3 None".to_owned(),
            "2/3 Some((8, 6))".to_owned(),
            "3/3 None".to_owned(),
            format!("{:?}", Stage::Decode),
        ]
    );
    assert_eq!(output.image.dimensions(), (64, 48));
    assert_eq!(output.timing.step_secs.len(), 3);
    assert!(output.timing.total_secs >= output.timing.decode_secs);
}

#[test]
fn the_same_seed_fills_the_same_and_another_does_not() {
    let mut pipeline = pipeline(|_| {});
    let (prompt, conditioning) = prepare(&mut pipeline);
    pipeline.load(&bundle().join(TINY), &mut go_on).unwrap();
    let mut fill = |seed| {
        let params = crate::pipeline::FillParams {
            draws: crate::pipeline::Draws::Seed(seed),
            ..params(2)
        };
        let output = pipeline.fill(&prompt, &conditioning, &params, &mut go_on);
        output.unwrap().image.into_raw()
    };
    let first = fill(1);
    assert_eq!(first, fill(1));
    assert_ne!(first, fill(2));
}

#[test]
fn inputs_that_do_not_fit_are_refused_with_their_sizes() {
    let pipeline = pipeline(|_| {});
    let odd = inputs(60, 64);
    let error = pipeline.encode_image(&odd, &mut go_on).err().unwrap();
    assert!(error.to_string().contains("60x64"), "{error}");
    let other = FillInputs {
        mask: GrayImage::new(32, 32),
        ..inputs(64, 64)
    };
    let error = pipeline.encode_image(&other, &mut go_on).err().unwrap();
    assert!(
        error
            .to_string()
            .contains("mask is 32x32 but the image is 64x64"),
        "{error}"
    );
}

#[test]
fn nothing_is_filled_without_a_transformer_or_steps() {
    let mut pipeline = pipeline(|_| {});
    let (prompt, conditioning) = prepare(&mut pipeline);
    let fill = pipeline.fill(&prompt, &conditioning, &params(1), &mut go_on);
    assert!(matches!(fill.unwrap_err(), PipelineError::NoTransformer));
    pipeline.load(&bundle().join(TINY), &mut go_on).unwrap();
    let fill = pipeline.fill(&prompt, &conditioning, &params(0), &mut go_on);
    assert!(matches!(fill.unwrap_err(), PipelineError::BadInput(_)));
    // A load that fails has dropped the former one.
    pipeline
        .load(&bundle().join("absent-Q4_0.gguf"), &mut go_on)
        .unwrap_err();
    let fill = pipeline.fill(&prompt, &conditioning, &params(1), &mut go_on);
    assert!(matches!(fill.unwrap_err(), PipelineError::NoTransformer));
}

#[test]
fn latents_that_are_not_finite_fail_with_their_step() {
    let mut entries = copied(&bundle().join(TINY));
    for entry in &mut entries {
        if entry.name == "final_layer.linear.bias" {
            *entry = Entry::encoded(&entry.name, &[64], 0, vec![f32::INFINITY; 64]);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("infinite-Q4_0.gguf");
    std::fs::write(&path, gguf("flux", &entries)).unwrap();
    let mut pipeline = pipeline(|_| {});
    let (prompt, conditioning) = prepare(&mut pipeline);
    pipeline.load(&path, &mut go_on).unwrap();
    let error = pipeline
        .fill(&prompt, &conditioning, &params(2), &mut go_on)
        .unwrap_err();
    assert_eq!(error.to_string(), "a latent is not finite at step 1");
}

#[test]
fn bfloat16_fills_near_float32_given_the_same_noise() {
    let noise: Vec<f32> = {
        let mut generator = crate::pipeline::noise::TorchGenerator::new(3);
        let drawn = generator.randn_bf16(16 * 6 * 8);
        drawn.into_iter().map(half::bf16::to_f32).collect()
    };
    let fill = |precision, dense_budget_bytes| {
        let mut pipeline = pipeline(|options| {
            options.precision = precision;
            options.dense_budget_bytes = dense_budget_bytes;
        });
        let (prompt, conditioning) = prepare(&mut pipeline);
        pipeline.load(&bundle().join(TINY), &mut go_on).unwrap();
        let params = crate::pipeline::FillParams {
            draws: crate::pipeline::Draws::Given {
                noise: noise.clone(),
                posterior: None,
            },
            ..params(4)
        };
        let output = pipeline.fill(&prompt, &conditioning, &params, &mut go_on);
        output.unwrap().image.into_raw()
    };
    let mean = |a: &[u8], b: &[u8]| {
        let sum: u64 = a
            .iter()
            .zip(b)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        sum as f64 / a.len() as f64
    };
    let exact = fill(Precision::F32, u64::MAX);
    let rounded = fill(Precision::Bf16, u64::MAX);
    let tiled = fill(Precision::Bf16, 0);
    let difference = mean(&exact, &rounded);
    assert!(difference > 0.0 && difference < 4.0, "{difference} levels");
    let difference = mean(&rounded, &tiled);
    assert!(difference < 1.0, "{difference} levels");
}

#[test]
fn embeddings_come_from_the_cache_until_an_encoder_changes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = EmbeddingCache::at(&dir.path().join("embeddings"));
    let mut hashes = HashCache::in_memory();
    let prompts = ["grass".to_owned(), "wood floor".to_owned()];
    let mut first = pipeline(|_| {});
    let made = first
        .encode_prompts_cached(&prompts, &cache, &mut hashes, &mut go_on)
        .unwrap();
    let values = |e: &PromptEmbedding| {
        (
            e.prompt().to_owned(),
            e.clip_ids().to_vec(),
            e.t5_ids().to_vec(),
            e.token_values().unwrap(),
            e.pooled_values().unwrap(),
        )
    };
    // Found ones do not wake the encoders, and so keep a loaded transformer.
    let mut stages = 0;
    let mut second = pipeline(|_| {});
    second.load(&bundle().join(TINY), &mut go_on).unwrap();
    let found = second
        .encode_prompts_cached(&prompts, &cache, &mut hashes, &mut |event| {
            stages += usize::from(matches!(event, FillEvent::Stage(_)));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(stages, 0);
    assert_eq!(
        found.iter().map(values).collect::<Vec<_>>(),
        made.iter().map(values).collect::<Vec<_>>()
    );
    let conditioning = second.encode_image(&inputs(32, 32), &mut go_on).unwrap();
    second
        .fill(&found[0], &conditioning, &params(1), &mut go_on)
        .unwrap();

    // Another number of tokens is another embedding; so is what was damaged.
    let count = |change: &dyn Fn(&mut crate::pipeline::PipelineOptions)| {
        let mut stages = 0;
        let mut other = pipeline(change);
        other
            .encode_prompts_cached(
                &prompts,
                &cache,
                &mut HashCache::in_memory(),
                &mut |event| {
                    stages += usize::from(matches!(event, FillEvent::Stage(_)));
                    ControlFlow::Continue(())
                },
            )
            .unwrap();
        stages
    };
    assert_eq!(count(&|options| options.t5_tokens = Some(20)), 1);
    assert_eq!(count(&|_| {}), 0);
    for entry in std::fs::read_dir(dir.path().join("embeddings")).unwrap() {
        std::fs::write(entry.unwrap().path(), b"damaged").unwrap();
    }
    assert_eq!(count(&|_| {}), 1);
}

#[test]
fn the_memory_plan_of_the_fixture_is_small_and_grows_with_the_picture() {
    let pipeline = pipeline(|_| {});
    let peak = |side| {
        let plan = pipeline
            .memory_plan(&bundle().join(TINY), side, side)
            .unwrap();
        plan.check(1 << 40).unwrap();
        plan.peak_bytes()
    };
    assert!(peak(64) < 400 << 20, "{}", peak(64));
    assert!(peak(1024) > peak(64));
    let error = pipeline
        .memory_plan(&bundle().join(TINY), 1024, 1024)
        .unwrap()
        .check(1 << 20)
        .unwrap_err();
    assert!(matches!(error, PipelineError::OutOfMemory(_)), "{error}");
}

#[test]
fn the_acceleration_report_changes_with_the_path_that_ran() {
    let report = |matmul, dense_budget_bytes| {
        let mut options = crate::pipeline::PipelineOptions::for_device(ComputeDevice::Cpu);
        let mut pipeline = pipeline(|options| {
            options.matmul = matmul;
            options.dense_budget_bytes = dense_budget_bytes;
        });
        (options.matmul, options.dense_budget_bytes) = (matmul, dense_budget_bytes);
        let (prompt, conditioning) = prepare(&mut pipeline);
        pipeline.load(&bundle().join(TINY), &mut go_on).unwrap();
        let output = pipeline.fill(&prompt, &conditioning, &params(1), &mut go_on);
        let list = accelerations(ComputeDevice::Cpu, &options, output.unwrap().matmuls);
        assert!(
            !list.iter().any(crate::pipeline::Acceleration::fell_back),
            "{list:#?}"
        );
        let seen: Vec<bool> = list.iter().take(3).map(|a| a.seen > 0).collect();
        seen
    };
    assert_eq!(report(MatmulPath::Exact, u64::MAX), [true, false, false]);
    assert_eq!(report(MatmulPath::Exact, 0), [false, true, false]);
    assert_eq!(report(MatmulPath::Integer, 0), [false, true, true]);
}
