//! The real engine with the tiny models: what it keeps between runs, refuses beforehand, and counts.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use super::engine::{EngineEvent, EngineInputs, FillEngine as _, RunNeeds};
use super::pipeline_engine::{EngineOptions, PipelineEngine};
use super::run_folder::{self, Verification};
use super::*;
use crate::model::cell::{Guidance, Quant, RadiusPx, Steps};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
use crate::model::run::{AccelerationSeen, CellState, InferenceSize, MatmulPath, Plan, files};
use crate::pipeline::PipelineError;
use image::{GrayImage, RgbImage};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn bundle() -> PathBuf {
    root().join("tests/fixtures/tiny-fill/bundle")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn go_on(_: EngineEvent) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Caches in a folder of the test's own.
fn options(models: &Path, caches: &Path) -> EngineOptions {
    EngineOptions {
        embeddings_dir: Some(caches.join("embeddings")),
        hashes_file: Some(caches.join("hashes.json")),
        ..EngineOptions::new(models.to_owned(), "cpu".to_owned(), MatmulPath::Exact)
    }
}

fn inputs(prompt: &str) -> EngineInputs {
    EngineInputs {
        prompts: vec![prompt.to_owned()],
        image: RgbImage::new(32, 32),
        masks: vec![GrayImage::from_pixel(32, 32, image::Luma([255]))],
    }
}

#[test]
fn a_prompt_that_was_embedded_before_does_not_load_t5_again() {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    copy(&bundle(), &models);
    let t5 = models.join("text_encoder_2/model.safetensors");
    // Of an age at which hashes are remembered.
    let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
    let set_time = |path: &Path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(an_hour_ago).unwrap();
    };
    set_time(&t5);
    let options = options(&models, dir.path());
    let prepare = |options: &EngineOptions, prompt: &str| {
        let mut engine = PipelineEngine::open(options).unwrap();
        engine.prepare(&inputs(prompt), &mut go_on)
    };
    prepare(&options, "grass").unwrap();

    // T5 becomes a file that cannot be loaded, of the same size and age, so that its hash is not asked
    // of it again: whoever loads it fails.
    let size = t5.metadata().unwrap().len();
    std::fs::write(&t5, vec![0xff; size as usize]).unwrap();
    set_time(&t5);
    prepare(&options, "grass").unwrap();
    let error = prepare(&options, "wood floor").unwrap_err().to_string();
    assert!(error.contains("text_encoder_2"), "{error}");
    let off = EngineOptions {
        embeddings_dir: None,
        ..options
    };
    prepare(&off, "grass").unwrap_err();
}

#[test]
fn everything_that_is_wrong_with_the_weights_of_a_run_is_found_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    copy(&bundle(), &models);
    std::fs::remove_dir_all(models.join("text_encoder")).unwrap();
    let q8 = models.join("flux1-fill-tiny-Q8_0.gguf");
    let whole = std::fs::read(&q8).unwrap();
    std::fs::write(&q8, &whole[..whole.len() / 2]).unwrap();
    let mut engine = PipelineEngine::open(&options(&models, dir.path())).unwrap();
    let mut errors = |quants: &[&str]| {
        let quants: Vec<Quant> = quants.iter().map(|q| Quant::new(*q).unwrap()).collect();
        let needs = RunNeeds {
            quants: &quants,
            prompts: &["grass".to_owned()],
            size_px: (64, 64),
        };
        engine.examine(&needs, &mut go_on).unwrap().errors
    };
    // CLIP and its tokenizer; the Q8_0 that is cut off is none of this run's business.
    assert_eq!(errors(&["Q4_0"]).len(), 2);
    let all = errors(&["Q4_0", "Q8_0", "Q2_K"]).join("\n");
    for part in ["text_encoder/", "CLIP's tokenizer", "truncated", "Q2_K"] {
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn memory_that_does_not_suffice_is_refused_with_figures_unless_the_prompts_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let tight = EngineOptions {
        available_bytes: Some(10_000_000),
        ..options(&bundle(), dir.path())
    };
    let mut engine = PipelineEngine::open(&tight).unwrap();
    let quants = [Quant::new("Q4_0").unwrap()];
    let prompts = ["grass".to_owned()];
    let needs = RunNeeds {
        quants: &quants,
        prompts: &prompts,
        size_px: (32, 32),
    };
    let found = engine.examine(&needs, &mut go_on).unwrap();
    assert_eq!(found.errors.len(), 1, "{found:?}");
    assert!(found.errors[0].contains("10.0 MB are free"), "{found:?}");
    assert!(
        found
            .memory
            .iter()
            .any(|line| line.starts_with("embedding the prompts"))
    );
    engine.prepare(&inputs("grass"), &mut go_on).unwrap();
    let found = engine.examine(&needs, &mut go_on).unwrap();
    let says_prompts = |line: &String| line.contains("embedding the prompts");
    assert!(!found.memory.iter().any(says_prompts), "{found:?}");
    assert!(!found.errors.iter().any(says_prompts), "{found:?}");
}

#[test]
fn want_of_memory_on_the_device_fails_the_cell_with_what_was_planned() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = PipelineEngine::open(&options(&bundle(), dir.path())).unwrap();
    engine.prepare(&inputs("grass"), &mut go_on).unwrap();
    let quant = Quant::new("Q4_0").unwrap();
    let error = PipelineError::OutOfMemory("CUDA_ERROR_OUT_OF_MEMORY".to_owned());
    let text = engine.with_figures(Some(&quant), error).to_string();
    for part in ["CUDA_ERROR_OUT_OF_MEMORY", "planned: ", "denoising: ", "GB"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A run of one cell at 64 pixels, its warnings, its cell's accelerations and its report.
fn run(
    models: &Path,
    quant: &str,
    matmul: MatmulPath,
) -> (Vec<String>, Vec<AccelerationSeen>, String) {
    let dir = tempfile::tempdir().unwrap();
    let recipe = MaskRecipe {
        min_component_px: 2,
        open_px: 0.0,
        dilate_px: 2.0,
        feather_sigma_px: 1.0,
        ..MaskRecipe::default()
    };
    let request = RunRequest {
        session_dir: root().join("tests/fixtures/service-run"),
        runs_dir: dir.path().join("runs"),
        run_id: None,
        is_new: false,
        plan: Plan {
            matrix: Matrix {
                quants: vec![Quant::new(quant).unwrap()],
                guidances: vec![Guidance::new(4.0).unwrap()],
                steps: vec![Steps::new(1).unwrap()],
                seeds: vec![1],
                prompts: vec![0],
                dilations: vec![RadiusPx::new(2.0).unwrap()],
            },
            recipe,
        },
        prompts: vec!["grass".to_owned()],
        inference: InferenceSize::Whole { long_side_px: 64 },
        device: "cpu".to_owned(),
        matmul,
        gates_override: None,
    };
    let options = EngineOptions {
        matmul,
        ..options(models, dir.path())
    };
    let mut engine = PipelineEngine::open(&options).unwrap();
    let mut context = AuditContext {
        clock: &jiff::Timestamp::now,
        cancel: &AtomicBool::new(false),
        observer: &mut |_| {},
    };
    let owned = start(&request, &mut engine, &mut context).unwrap();
    let summary = execute(&owned, &mut engine, None, &mut context).unwrap();
    let run = run_folder::open(&summary.folder, Verification::Full).unwrap();
    let Some(CellState::Done(done)) = run.cells.values().next() else {
        panic!("{:?}", run.cells);
    };
    let document = done.document.clone().unwrap();
    assert!(document.timing.decode_secs.unwrap() > 0.0);
    let report = std::fs::read_to_string(summary.folder.join(files::REPORT)).unwrap();
    (run.warnings, document.accelerations, report)
}

#[test]
fn the_report_says_which_path_ran_and_changes_when_it_does_not() {
    let (warnings, seen, report) = run(&bundle(), "Q4_0", MatmulPath::Integer);
    assert_eq!(warnings, Vec::<String>::new());
    let integer = seen.iter().find(|a| a.name == "integer kernels").unwrap();
    assert!(
        integer.available && integer.asked && integer.seen > 0,
        "{integer:?}"
    );
    assert!(
        report.contains(&format!(
            "| integer kernels | yes | yes | {} times in 1 of 1",
            integer.seen
        )),
        "{report}"
    );
    assert!(!report.contains("Fallback"), "{report}");

    // Not asked for.
    let (_, _, report) = run(&bundle(), "Q4_0", MatmulPath::Exact);
    assert!(
        report.contains("| integer kernels | yes | no | no |"),
        "{report}"
    );

    // Asked for, but these weights have nothing to multiply so: the path is off.
    let (warnings, _, report) = run(&bundle(), "BF16", MatmulPath::Integer);
    assert!(
        report.contains("| integer kernels | yes | yes | no |"),
        "{report}"
    );
    assert!(report.contains("**Fallback: integer kernels"), "{report}");
    assert_eq!(
        warnings,
        ["integer kernels: asked for, and did not run in BF16_gs4"]
    );
}
