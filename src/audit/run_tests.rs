//! What runs a matrix, with an engine that paints: interrupted, resumed, extended, damaged.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use super::painted_engine::PaintedEngine;
use super::run_folder::{self, Verification};
use super::*;
use crate::model::cell::{CellKey, Guidance, Quant, RadiusPx, Steps};
use crate::model::ids::RunId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
use crate::model::prompt;
use crate::model::run::{CellState, InferenceSize, MatmulPath, Plan, Run, files};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

struct Bench {
    dir: tempfile::TempDir,
    engine: PaintedEngine,
    events: Vec<AuditEvent>,
    /// Cancels when so many cells have finished.
    cancel_after: Option<usize>,
}

fn session() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/service-run")
}

fn quant(name: &str) -> Quant {
    Quant::new(name).unwrap()
}

/// For a mask that is a few pixels wide at the test's size.
fn recipe() -> MaskRecipe {
    MaskRecipe {
        min_component_px: 4,
        open_px: 0.0,
        dilate_px: 2.0,
        feather_sigma_px: 1.0,
        ..MaskRecipe::default()
    }
}

fn matrix() -> Matrix {
    Matrix {
        quants: vec![quant("Q4_0"), quant("Q8_0")],
        guidances: [2.0, 10.0].map(|g| Guidance::new(g).unwrap()).to_vec(),
        steps: vec![Steps::new(2).unwrap()],
        seeds: vec![42],
        prompts: vec![0],
        dilations: vec![RadiusPx::new(2.0).unwrap()],
    }
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            engine: PaintedEngine::default(),
            events: Vec::new(),
            cancel_after: None,
        }
    }

    fn request(&self) -> RunRequest {
        RunRequest {
            session_dir: session(),
            runs_dir: self.dir.path().join("runs"),
            run_id: None,
            is_new: false,
            plan: Plan {
                matrix: matrix(),
                recipe: recipe(),
            },
            prompts: vec![prompt::PRODUCTION.to_owned()],
            inference: InferenceSize::Whole { long_side_px: 128 },
            device: "cpu".to_owned(),
            matmul: MatmulPath::Exact,
            gates_override: None,
        }
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut PaintedEngine, &mut AuditContext<'_>) -> Result<T, AuditError>,
    ) -> Result<T, AuditError> {
        let cancel = AtomicBool::new(false);
        let mut finished = 0;
        let (events, cancel_after) = (&mut self.events, self.cancel_after);
        let mut observer = |event: AuditEvent| {
            if matches!(event, AuditEvent::CellFinished { .. }) {
                finished += 1;
                if Some(finished) == cancel_after {
                    cancel.store(true, Ordering::Relaxed);
                }
            }
            events.push(event);
        };
        let mut context = AuditContext {
            clock: &|| "2026-11-21T09:00:00Z".parse().unwrap(),
            cancel: &cancel,
            observer: &mut observer,
        };
        work(&mut self.engine, &mut context)
    }

    fn run(&mut self, request: &RunRequest, max: Option<usize>) -> Result<RunSummary, AuditError> {
        self.with(|engine, context| {
            let owned = start(request, engine, context)?;
            execute(&owned, engine, max, context)
        })
    }

    fn fills(&self) -> usize {
        self.engine
            .calls
            .iter()
            .filter(|call| call.starts_with("fill"))
            .count()
    }
}

fn open(summary: &RunSummary) -> Run {
    run_folder::open(&summary.folder, Verification::Full).unwrap()
}

fn states(run: &Run) -> Vec<(String, &'static str)> {
    run.cells
        .iter()
        .map(|(key, state)| (run.cell_name(key), state.word()))
        .collect()
}

fn all_done(run: &Run) -> bool {
    run.cells
        .values()
        .all(|state| matches!(state, CellState::Done(_)))
}

/// The pictures of a run's folder, without the contact sheet: it shows how long each cell took.
fn pictures(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|e| e == "png"))
        .filter(|entry| entry.file_name() != super::CONTACT_SHEET)
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn key(run: &Run, name: &str) -> CellKey {
    CellKey::parse(name, &run.defaults).unwrap()
}

#[test]
fn a_run_leaves_a_whole_folder_with_one_load_a_quant() {
    let mut bench = Bench::new();
    let summary = bench.run(&bench.request(), None).unwrap();
    assert_eq!(summary.ending, Ending::Complete);
    assert_eq!((summary.made, summary.failed, summary.left), (4, 0, 0));
    assert_eq!(summary.run_id.as_str(), "20261121-090000");
    assert_eq!(
        bench.engine.calls,
        [
            "prepare 1 prompts, 1 masks",
            "load Q4_0",
            "fill Q4_0 gs2",
            "fill Q4_0 gs10",
            "load Q8_0",
            "fill Q8_0 gs2",
            "fill Q8_0 gs10"
        ]
    );
    let mut names: Vec<String> = std::fs::read_dir(&summary.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut expected: Vec<String> = [".lock", "REPORT.md", "contact_sheet.png", "run.ron"]
        .map(str::to_owned)
        .to_vec();
    expected
        .extend(["image", "mask", "inference_image", "inference_mask"].map(|n| format!("{n}.png")));
    for cell in ["Q4_0_gs2", "Q4_0_gs10", "Q8_0_gs2", "Q8_0_gs10"] {
        expected.extend([".png", ".fill.png", ".ron"].map(|end| format!("{cell}{end}")));
    }
    expected.sort();
    assert_eq!(names, expected);
    let run = open(&summary);
    assert!(all_done(&run), "{:?}", states(&run));
    assert_eq!(run.warnings, Vec::<String>::new());
    assert_eq!(run.environment.unwrap().device, "a painter");
    let report = std::fs::read_to_string(summary.folder.join(files::REPORT)).unwrap();
    assert!(
        report.contains("with their labels](contact_sheet.png)"),
        "{report}"
    );
    let sheet = image::open(summary.folder.join(super::CONTACT_SHEET)).unwrap();
    // Two columns of 320 pixels and their labels.
    assert!(sheet.width() > 640, "{}", sheet.width());
    let copied = std::fs::read(summary.folder.join(files::MASK)).unwrap();
    assert_eq!(copied, std::fs::read(session().join("mask.png")).unwrap());
}

#[test]
fn the_same_request_goes_on_where_it_was_cancelled_and_ends_the_same() {
    let mut whole = Bench::new();
    let expected = whole.run(&whole.request(), None).unwrap();
    for stop_after in 1..4 {
        let mut bench = Bench::new();
        bench.cancel_after = Some(stop_after);
        let first = bench.run(&bench.request(), None).unwrap();
        assert_eq!(first.ending, Ending::Cancelled);
        assert_eq!(first.made, stop_after);
        assert!(!first.folder.join(files::REPORT).exists());
        bench.cancel_after = None;
        let second = bench.run(&bench.request(), None).unwrap();
        assert_eq!(second.folder, first.folder);
        assert_eq!(
            (second.already_done, second.made),
            (stop_after, 4 - stop_after)
        );
        assert_eq!(bench.fills(), 4, "no cell is filled twice");
        assert_eq!(pictures(&second.folder), pictures(&expected.folder));
        assert!(second.folder.join(files::REPORT).exists());
    }
}

#[test]
fn a_cancel_in_the_middle_of_a_cell_leaves_nothing_of_it() {
    let mut bench = Bench::new();
    let cancel = AtomicBool::new(false);
    let request = bench.request();
    let mut steps = 0;
    let mut observer = |event: AuditEvent| {
        if matches!(event, AuditEvent::Step { .. }) {
            steps += 1;
            cancel.store(steps == 3, Ordering::Relaxed);
        }
    };
    let mut context = AuditContext {
        clock: &|| "2026-11-21T09:00:00Z".parse().unwrap(),
        cancel: &cancel,
        observer: &mut observer,
    };
    let owned = start(&request, &mut bench.engine, &mut context).unwrap();
    let summary = execute(&owned, &mut bench.engine, None, &mut context).unwrap();
    assert_eq!((summary.ending, summary.made), (Ending::Cancelled, 1));
    assert!(!summary.folder.join("Q4_0_gs10.png").exists());
    let run = open(&summary);
    assert_eq!(run.cells[&key(&run, "Q4_0_gs10")], CellState::Missing);
}

#[test]
fn a_finished_run_is_not_repeated_unless_a_new_one_is_asked_for() {
    let mut bench = Bench::new();
    let first = bench.run(&bench.request(), None).unwrap();
    let again = bench.run(&bench.request(), None).unwrap();
    assert_eq!(
        (again.folder.clone(), again.made, again.already_done),
        (first.folder.clone(), 0, 4)
    );
    let new = RunRequest {
        is_new: true,
        ..bench.request()
    };
    let other = bench.run(&new, None).unwrap();
    assert_ne!(other.folder, first.folder);
    assert_eq!(other.run_id.as_str(), "20261121-090000-2");
    assert_eq!(other.made, 4);
}

#[test]
fn a_limit_makes_a_partial_run_that_the_next_call_goes_on_with() {
    let mut bench = Bench::new();
    let first = bench.run(&bench.request(), Some(3)).unwrap();
    assert_eq!(
        (first.ending, first.made, first.left),
        (Ending::CellLimit, 3, 1)
    );
    let report = std::fs::read_to_string(first.folder.join(files::REPORT)).unwrap();
    assert!(report.contains("3 of 4 done, 1 not run"), "{report}");
    let second = bench.run(&bench.request(), Some(3)).unwrap();
    assert_eq!(
        (second.ending, second.made, second.left),
        (Ending::Complete, 1, 0)
    );
    assert_eq!(second.folder, first.folder);
}

#[test]
fn another_request_under_the_same_id_is_refused_and_named() {
    let mut bench = Bench::new();
    let named = RunRequest {
        run_id: Some(RunId::new("mine").unwrap()),
        ..bench.request()
    };
    bench.run(&named, None).unwrap();
    let mut other = named.clone();
    other.plan.matrix.seeds = vec![7];
    let error = bench.run(&other, None).unwrap_err().to_string();
    assert!(
        error.contains("another matrix") && error.contains("mine"),
        "{error}"
    );
    assert_eq!(bench.run(&named, None).unwrap().made, 0);
}

#[test]
fn failed_cells_are_recorded_the_run_goes_on_and_they_are_tried_again() {
    let mut bench = Bench::new();
    bench.engine.failing = Some((quant("Q4_0"), Guidance::new(10.0).unwrap()));
    bench.engine.broken_quants = vec![quant("Q8_0")];
    let summary = bench.run(&bench.request(), None).unwrap();
    assert_eq!(
        (summary.ending, summary.made, summary.failed),
        (Ending::Complete, 1, 3)
    );
    let run = open(&summary);
    let CellState::Failed { error, document } = &run.cells[&key(&run, "Q4_0_gs10")] else {
        panic!("{:?}", states(&run));
    };
    assert_eq!(error, "a latent is not finite at step 1");
    assert!(document.is_some());
    let report = std::fs::read_to_string(summary.folder.join(files::REPORT)).unwrap();
    assert!(report.contains("failed: Q8_0 cannot be loaded"), "{report}");
    bench.engine.failing = None;
    bench.engine.broken_quants.clear();
    let again = bench.run(&bench.request(), None).unwrap();
    assert_eq!((again.already_done, again.made, again.failed), (1, 3, 0));
    assert!(all_done(&open(&again)));
}

#[test]
fn damaged_cells_are_seen_made_again_and_no_strange_document_is_lost() {
    let mut bench = Bench::new();
    let summary = bench.run(&bench.request(), None).unwrap();
    let before = pictures(&summary.folder);
    let at = |name: &str| summary.folder.join(name);
    // A picture that is not the one described, a missing one, a cut document, another cell's document.
    std::fs::write(at("Q4_0_gs2.png"), &before["Q8_0_gs2.png"]).unwrap();
    std::fs::remove_file(at("Q4_0_gs10.fill.png")).unwrap();
    let text = std::fs::read_to_string(at("Q8_0_gs2.ron")).unwrap();
    std::fs::write(at("Q8_0_gs2.ron"), &text[..text.len() / 2]).unwrap();
    std::fs::copy(at("Q4_0_gs2.ron"), at("Q8_0_gs10.ron")).unwrap();
    let run = open(&summary);
    assert_eq!(
        states(&run),
        [
            ("Q4_0_gs2".to_owned(), "unreadable"),
            ("Q4_0_gs10".to_owned(), "missing"),
            ("Q8_0_gs2".to_owned(), "unreadable"),
            ("Q8_0_gs10".to_owned(), "unreadable"),
        ]
    );
    let warnings = run.warnings.join("\n");
    for expected in [
        "Q4_0_gs2.png is not the picture",
        "Q4_0_gs10.fill.png is missing",
        "Q8_0_gs2.ron",
        "line ",
    ] {
        assert!(warnings.contains(expected), "{expected}: {warnings}");
    }
    let again = bench.run(&bench.request(), None).unwrap();
    assert_eq!(
        (again.folder.clone(), again.made),
        (summary.folder.clone(), 4)
    );
    assert!(all_done(&open(&again)));
    assert_eq!(pictures(&again.folder), before);
    let kept = std::fs::read_to_string(at("Q8_0_gs2.ron.unreadable-1")).unwrap();
    assert_eq!(kept, text[..text.len() / 2]);
}

#[test]
fn a_document_made_from_other_inputs_is_not_believed() {
    let mut bench = Bench::new();
    let summary = bench.run(&bench.request(), None).unwrap();
    let path = summary.folder.join("Q4_0_gs2.ron");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("inputs_sha256"))
        .unwrap();
    let other = format!("    inputs_sha256: \"{}\",", "0".repeat(64));
    std::fs::write(&path, text.replace(line, &other)).unwrap();
    let run = run_folder::open(&summary.folder, Verification::Quick).unwrap();
    let CellState::Unreadable { reason } = &run.cells[&key(&run, "Q4_0_gs2")] else {
        panic!("{:?}", states(&run));
    };
    assert!(reason.contains("other inputs"), "{reason}");
}

#[test]
fn a_run_whose_own_document_is_damaged_is_refused_and_left_alone() {
    let mut bench = Bench::new();
    let named = RunRequest {
        run_id: Some(RunId::new("mine").unwrap()),
        ..bench.request()
    };
    let summary = bench.run(&named, None).unwrap();
    let path = summary.folder.join(files::RUN);
    for bad in [
        "",
        "(schema: 99, run_id: \"x\")",
        "(schema: 1, nonsense: 3)",
        "\u{0}\u{1}",
    ] {
        std::fs::write(&path, bad).unwrap();
        let error = run_folder::open(&summary.folder, Verification::Quick).unwrap_err();
        assert!(error.to_string().contains("run.ron"), "{error}");
        assert!(bench.run(&named, None).is_err());
        assert!(resume(&summary.folder).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
    }
}

fn sweep() -> ExtendRequest {
    let mut matrix = matrix();
    matrix.quants = vec![quant("Q8_0"), quant("Q5_K_S")];
    matrix.guidances = vec![Guidance::new(10.0).unwrap()];
    matrix.steps = [2, 3, 5].map(|n| Steps::new(n).unwrap()).to_vec();
    matrix.prompts = vec![0, 1];
    ExtendRequest {
        matrix,
        recipe: recipe(),
        prompts: vec![prompt::PRODUCTION.to_owned(), "grass".to_owned()],
    }
}

#[test]
fn a_sweep_is_added_once_and_repeats_no_cell() {
    let mut bench = Bench::new();
    let first = bench.run(&bench.request(), None).unwrap();
    let folder = first.folder.clone();
    for round in 0..2 {
        let summary = bench
            .with(|engine, context| {
                let owned = extend(&folder, &sweep(), None, engine, context)?;
                execute(&owned, engine, None, context)
            })
            .unwrap();
        // 2 quants x 3 steps x 2 prompts, of which Q8_0 at 2 steps with prompt 0 is there.
        assert_eq!(summary.made, if round == 0 { 11 } else { 0 });
    }
    assert!(folder.join("plan-1.ron").exists() && !folder.join("plan-2.ron").exists());
    assert!(folder.join("Q5_K_S_gs10_s5_p1.png").exists());
    let run = open(&first);
    assert!(all_done(&run), "{:?}", run.warnings);
    assert_eq!(run.prompts, [prompt::PRODUCTION, "grass"]);
    assert_eq!(run.cells.len(), 15);
    let report = std::fs::read_to_string(folder.join(files::REPORT)).unwrap();
    assert!(
        report.contains("| Q5_K_S | 10 | 5 | \"grass\" |"),
        "{report}"
    );
}

#[test]
fn a_plan_that_cannot_be_read_is_kept_and_none_is_added() {
    let mut bench = Bench::new();
    let first = bench.run(&bench.request(), None).unwrap();
    let path = first.folder.join("plan-1.ron");
    std::fs::write(&path, "not a plan").unwrap();
    let run = open(&first);
    assert!(
        run.warnings.join(" ").contains("plan-1.ron"),
        "{:?}",
        run.warnings
    );
    assert!(all_done(&run), "the first plan's cells are still there");
    let folder = first.folder.clone();
    let error = bench
        .with(|engine, context| extend(&folder, &sweep(), None, engine, context))
        .unwrap_err();
    assert!(error.to_string().contains("plan-1.ron"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not a plan");
}

#[test]
fn other_dilations_and_recipes_have_masks_of_their_own() {
    let mut bench = Bench::new();
    let first = bench.run(&bench.request(), None).unwrap();
    let mut request = sweep();
    request.matrix = matrix();
    request.matrix.dilations = [4.0, 6.0].map(|d| RadiusPx::new(d).unwrap()).to_vec();
    request.prompts.truncate(1);
    request.recipe.close_px = 1.0;
    request.recipe.dilate_px = 4.0;
    let folder = first.folder.clone();
    bench
        .with(|engine, context| {
            let owned = extend(&folder, &request, None, engine, context)?;
            execute(&owned, engine, None, context)
        })
        .unwrap();
    let run = open(&first);
    assert!(all_done(&run), "{:?}", run.warnings);
    let tag = request.recipe.hash8();
    for name in [
        format!("inference_mask_d4_m{tag}.png"),
        format!("inference_mask_d6_m{tag}.png"),
    ] {
        assert!(folder.join(&name).exists(), "{name}");
    }
    assert!(folder.join(format!("Q4_0_gs2_d6_m{tag}.png")).exists());
}

#[test]
fn other_weights_than_the_runs_are_refused() {
    struct Swapped(PaintedEngine);
    impl engine::FillEngine for Swapped {
        fn environment(&self) -> crate::model::run::Environment {
            self.0.environment()
        }
        fn max_sequence_length(&self) -> u32 {
            self.0.max_sequence_length()
        }
        fn examine(
            &mut self,
            needs: &engine::RunNeeds<'_>,
            hook: engine::EngineHook<'_>,
        ) -> Result<engine::Examination, engine::EngineError> {
            self.0.examine(needs, hook)
        }
        fn weights(
            &mut self,
            quants: &[Quant],
            hook: engine::EngineHook<'_>,
        ) -> Result<crate::model::run::ModelDocument, engine::EngineError> {
            let mut model = self.0.weights(quants, hook)?;
            for file in &mut model.files {
                file.sha256 = hash::sha256(b"other");
            }
            Ok(model)
        }
        fn prepare(
            &mut self,
            inputs: &engine::EngineInputs,
            hook: engine::EngineHook<'_>,
        ) -> Result<(), engine::EngineError> {
            self.0.prepare(inputs, hook)
        }
        fn load(
            &mut self,
            quant: &Quant,
            hook: engine::EngineHook<'_>,
        ) -> Result<(), engine::EngineError> {
            self.0.load(quant, hook)
        }
        fn fill(
            &mut self,
            job: &engine::FillJob,
            hook: engine::EngineHook<'_>,
        ) -> Result<engine::Fill, engine::EngineError> {
            self.0.fill(job, hook)
        }
    }
    let mut bench = Bench::new();
    let first = bench.run(&bench.request(), Some(2)).unwrap();
    let mut swapped = Swapped(PaintedEngine::default());
    let error = bench
        .with(|_, context| {
            let owned = resume(&first.folder)?;
            execute(&owned, &mut swapped, None, context)
        })
        .unwrap_err();
    assert!(
        error.to_string().contains("not those of the run"),
        "{error}"
    );
}

#[test]
fn inputs_that_were_changed_after_the_start_are_refused() {
    let mut bench = Bench::new();
    let first = bench.run(&bench.request(), Some(2)).unwrap();
    std::fs::copy(session().join("image.png"), first.folder.join("mask.png")).unwrap();
    let error = bench
        .with(|engine, context| {
            let owned = resume(&first.folder)?;
            execute(&owned, engine, None, context)
        })
        .unwrap_err();
    assert!(error.to_string().contains("mask.png"), "{error}");
}

#[test]
fn a_mask_that_fails_a_gate_is_refused_unless_a_reason_is_given() {
    let mut bench = Bench::new();
    let mut request = bench.request();
    request.plan.recipe.max_coverage = 0.01;
    let error = bench.run(&request, None).unwrap_err();
    assert!(matches!(error, AuditError::Gates { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("covers") && text.contains("--override-gates"),
        "{text}"
    );
    assert!(
        !request.runs_dir.exists(),
        "nothing is left of a refused run"
    );
    request.gates_override = Some(" ".to_owned());
    assert!(
        bench.run(&request, None).is_err(),
        "an empty reason is none"
    );
    request.gates_override = Some("the leash is that long".to_owned());
    let summary = bench.run(&request, None).unwrap();
    let run = open(&summary);
    let overridden = &run.document().unwrap().gates_overridden;
    assert!(
        overridden[0].contains("the leash is that long"),
        "{overridden:?}"
    );
    let report = std::fs::read_to_string(summary.folder.join(files::REPORT)).unwrap();
    assert!(report.contains("Mask gate overridden"), "{report}");
}

#[test]
fn pixels_outside_the_grown_mask_are_the_originals() {
    let mut bench = Bench::new();
    let mut request = bench.request();
    for inference in [
        InferenceSize::Whole { long_side_px: 128 },
        InferenceSize::Crop {
            long_side_px: 64,
            margin: 0.25,
        },
    ] {
        request.inference = inference;
        let summary = bench.run(&request, Some(1)).unwrap();
        let run = open(&summary);
        let document = run.document().unwrap();
        let inputs = inputs::SessionInputs::of_run(&summary.folder, document).unwrap();
        let mask = inputs.mask(&document.plan.recipe);
        let composite = image::open(summary.folder.join("Q4_0_gs2.png"))
            .unwrap()
            .to_rgb8();
        let (mut kept, mut filled) = (0, 0);
        for (x, y, pixel) in composite.enumerate_pixels() {
            let white = inputs
                .placement
                .inference_pixel(x, y)
                .is_some_and(|(u, v)| mask.mask.grown.is_white(u, v));
            if white {
                filled += 1;
            } else {
                kept += 1;
                assert_eq!(pixel, inputs.image.get_pixel(x, y), "at {x}, {y}");
            }
        }
        assert!(
            kept > 10_000 && filled > 1_000,
            "{kept} kept, {filled} filled"
        );
        assert_ne!(composite, inputs.image);
    }
}

#[test]
fn what_a_killed_process_left_of_a_folder_is_cleared_away() {
    let mut bench = Bench::new();
    let request = RunRequest {
        run_id: Some(RunId::new("mine").unwrap()),
        ..bench.request()
    };
    let staged = request.runs_dir.join(".starting-mine");
    std::fs::create_dir_all(&staged).unwrap();
    std::fs::write(staged.join("image.png"), "half").unwrap();
    let summary = bench.run(&request, None).unwrap();
    assert!(!staged.exists());
    assert!(all_done(&open(&summary)));
}

#[test]
fn a_run_that_cannot_be_made_is_refused_with_all_that_is_wrong() {
    let mut bench = Bench::new();
    bench.engine.examination.errors = vec!["no T5".to_owned(), "Q8_0 is truncated".to_owned()];
    let error = bench.run(&bench.request(), None).unwrap_err().to_string();
    assert!(
        error.contains("no T5") && error.contains("Q8_0 is truncated"),
        "{error}"
    );
    assert!(!bench.dir.path().join("runs").exists());
    // A run that was started when all was well is not gone on with either.
    bench.engine.examination.errors.clear();
    let partial = bench.run(&bench.request(), Some(1)).unwrap();
    bench.engine.examination.errors = vec!["no T5".to_owned()];
    let error = bench.with(|engine, context| {
        let owned = resume(&partial.folder)?;
        execute(&owned, engine, None, context)
    });
    assert!(error.unwrap_err().to_string().contains("no T5"));
    assert_eq!(open(&partial).done_count(), 1);
}

#[test]
fn what_is_odd_about_weights_is_told_and_kept_with_the_run() {
    let mut bench = Bench::new();
    bench.engine.examination.warnings = vec!["embedders are taken from x".to_owned()];
    bench.engine.examination.memory = vec!["denoising: 1.00 GB".to_owned()];
    let summary = bench.run(&bench.request(), None).unwrap();
    assert_eq!(open(&summary).warnings, ["embedders are taken from x"]);
    let report = std::fs::read_to_string(summary.folder.join(files::REPORT)).unwrap();
    assert!(report.contains("- embedders are taken from x"), "{report}");
    let told: Vec<String> = bench
        .events
        .iter()
        .filter_map(|event| match event {
            AuditEvent::Warning { text } => Some(text.clone()),
            AuditEvent::Memory { lines } => Some(lines.join(" ")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["embedders are taken from x", "denoising: 1.00 GB"]);
    // Another go and another sweep work in spite of it.
    let again = bench.run(&bench.request(), None).unwrap();
    assert_eq!(again.folder, summary.folder);
    let sweep = ExtendRequest {
        matrix: Matrix {
            seeds: vec![7],
            ..matrix()
        },
        recipe: recipe(),
        prompts: vec![prompt::PRODUCTION.to_owned()],
    };
    bench
        .with(|engine, context| extend(&summary.folder, &sweep, None, engine, context))
        .unwrap();
}

#[test]
fn documents_from_before_memory_and_accelerations_were_kept_still_read() {
    let mut bench = Bench::new();
    let summary = bench.run(&bench.request(), None).unwrap();
    let new = [
        "decode_secs",
        "peak_memory_bytes",
        "accelerations",
        "weights_warnings",
    ];
    let mut dropped = 0;
    for entry in std::fs::read_dir(&summary.folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "ron") {
            let text = std::fs::read_to_string(&path).unwrap();
            let is_new = |line: &&str| new.iter().any(|name| line.trim().starts_with(name));
            dropped += text.lines().filter(is_new).count();
            let old: Vec<&str> = text.lines().filter(|line| !is_new(line)).collect();
            std::fs::write(&path, old.join("\n")).unwrap();
        }
    }
    assert_eq!(dropped, 4 * 3 + 1);
    let run = open(&summary);
    assert!(all_done(&run), "{:?}", states(&run));
    assert_eq!(run.warnings, Vec::<String>::new());
}

#[cfg(target_os = "linux")]
#[test]
fn a_cell_keeps_the_most_memory_that_it_took() {
    let mut bench = Bench::new();
    let summary = bench.run(&bench.request(), Some(1)).unwrap();
    let run = open(&summary);
    let Some(CellState::Done(done)) = run.cells.get(&key(&run, "Q4_0_gs2")) else {
        panic!("{:?}", states(&run));
    };
    let peak = done.document.as_ref().unwrap().peak_memory_bytes.unwrap();
    assert!(peak > 1 << 20, "{peak}");
}

#[test]
fn events_come_in_order() {
    let mut bench = Bench::new();
    bench.run(&bench.request(), Some(1)).unwrap();
    let names: Vec<&str> = bench
        .events
        .iter()
        .map(|event| match event {
            AuditEvent::Started { todo, .. } => {
                assert_eq!(todo.len(), 1);
                "started"
            }
            AuditEvent::CheckingWeights => "weights",
            AuditEvent::Warning { .. } => "warning",
            AuditEvent::Memory { .. } => "memory",
            AuditEvent::Preparing => "preparing",
            AuditEvent::Loading { .. } => "loading",
            AuditEvent::CellStarted { .. } => "cell",
            AuditEvent::Step { .. } => "step",
            AuditEvent::CellFinished { .. } => "done",
            AuditEvent::Finished(_) => "finished",
        })
        .collect();
    assert_eq!(
        names,
        [
            "weights",
            "started",
            "weights",
            "memory",
            "preparing",
            "loading",
            "cell",
            "step",
            "step",
            "done",
            "finished"
        ]
    );
}
