//! The settings file: its text, what holds it back, and what it changes.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::staging::Overrides;
use super::*;
use crate::model::cell::CellKey;
use crate::model::review::sample::{Script, cell, done_run, l4, sha, time, who};
use crate::model::review::{Action, BlindPlan, Choice, Round};
use crate::model::run::{CellState, MatmulPath, Origin, Run};
use proptest::prelude::*;

const EXAMPLE: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/review/example.toml"
));

fn golden(name: &str, text: &str) {
    let path = format!(
        "{}/tests/fixtures/review/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{path} (UPDATE_GOLDEN=1 renews it)");
}

/// Lines without comments and trailing spaces.
fn bare(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split("  #").next().unwrap_or_default().trim_end())
        .collect()
}

/// A reviewer who has seen all of a finished run and passed one cell.
fn reviewed() -> (Run, Script) {
    let run = done_run();
    let mut script = Script::default();
    script.see_all("jane", &run);
    script.pass("jane", "Q5_K_S_gs4");
    (run, script)
}

fn request<'a>(
    run: &'a Run,
    script: &'a Script,
    cell: &'a CellKey,
    jane: &'a crate::model::ids::ReviewerId,
) -> Request<'a> {
    Request {
        run,
        cell,
        review: &script.state,
        reviewer: jane,
        approved_by: "Jane Doe",
        at: time(900),
        note: Some("grass continues"),
        recipe: None,
        image_sha256: None,
        current: None,
    }
}

fn codes(held_back: &[HeldBack]) -> Vec<ReasonCode> {
    held_back.iter().map(|reason| reason.code).collect()
}

fn held(run: &Run, script: &Script, name: &str) -> Vec<ReasonCode> {
    let (key, jane) = (cell(name), who("jane"));
    codes(
        draft(request(run, script, &key, &jane))
            .unwrap()
            .held_back(),
    )
}

#[test]
fn the_layout_is_the_examples_line_by_line() {
    let settings = ApprovedSettings::parse(EXAMPLE, "example.toml").unwrap();
    assert_eq!(bare(&settings.to_toml()), bare(EXAMPLE));
}

#[test]
fn a_staged_file_is_commented_and_reads_back() {
    let (run, mut script) = reviewed();
    let round = Round {
        cells: vec![cell("Q5_K_S_gs4"), cell("Q8_0_gs4")],
        repeats: None,
    };
    let plan = BlindPlan {
        seed: 3,
        rounds: vec![round; 3],
    };
    let session = script.act("jane", Action::BlindBegin { plan });
    for (round, choice) in [Choice::Winner(0), Choice::Tie, Choice::Winner(1)]
        .into_iter()
        .enumerate()
    {
        script.act(
            "jane",
            Action::BlindVote {
                session: session.clone(),
                round,
                choice,
            },
        );
    }
    script.act("jane", Action::BlindReveal { session });
    let (key, jane) = (cell("Q5_K_S_gs4"), who("jane"));
    let draft = draft(request(&run, &script, &key, &jane)).unwrap();
    assert_eq!(draft.held_back(), []);
    let staged = draft.stage(&Overrides::new()).unwrap();
    golden("approved.toml", staged.text());
    assert_eq!(
        ApprovedSettings::parse(staged.text(), "x").unwrap(),
        *staged.settings()
    );
    golden("recommended.md", &recommended_section(staged.settings()));
    golden("new-file.diff", &staged.unified("phase1.toml"));
}

#[test]
fn every_value_has_a_comment() {
    let settings = ApprovedSettings::parse(EXAMPLE, "example.toml").unwrap();
    for line in settings
        .to_toml()
        .lines()
        .filter(|line| line.contains(" = "))
    {
        assert!(line.contains("  # "), "{line}");
    }
}

#[test]
fn unseen_cells_hold_it_back_and_only_the_approvers_eyes_count() {
    let run = done_run();
    let mut script = Script::default();
    script.see_all("max", &run);
    script.pass("jane", "Q5_K_S_gs4");
    let (key, jane) = (cell("Q5_K_S_gs4"), who("jane"));
    let held_back = draft(request(&run, &script, &key, &jane))
        .unwrap()
        .held_back()
        .to_vec();
    assert_eq!(codes(&held_back), [ReasonCode::UnseenCells]);
    assert_eq!(
        held_back[0].sentence,
        "8 of 9 cells are unseen by jane: Q4_0_gs4, Q4_0_gs10, Q4_0_gs30, Q5_K_S_gs10, Q5_K_S_gs30 and 3 more"
    );
}

#[test]
fn a_failure_by_anyone_holds_it_back_and_a_noted_seam_does_not() {
    let (run, mut script) = reviewed();
    let seam = crate::model::review::FailureKey::new("seam").unwrap();
    let noted = crate::model::review::Verdict::Pass([seam].into());
    script.verdict("jane", "Q5_K_S_gs4", noted);
    assert_eq!(held(&run, &script, "Q5_K_S_gs4"), []);
    script.reject("max", "Q5_K_S_gs4", &["residue"]);
    assert_eq!(
        held(&run, &script, "Q5_K_S_gs4"),
        [ReasonCode::FailureOnCell]
    );
}

#[test]
fn missing_and_failed_cells_hold_it_back() {
    let (mut run, script) = reviewed();
    run.cells.insert(cell("Q8_0_gs30"), CellState::Missing);
    let failed = CellState::Failed {
        error: "not finite".to_owned(),
        document: None,
    };
    run.cells.insert(cell("Q8_0_gs10"), failed);
    let (key, jane) = (cell("Q5_K_S_gs4"), who("jane"));
    let made = draft(request(&run, &script, &key, &jane)).unwrap();
    assert_eq!(codes(made.held_back()), [ReasonCode::IncompleteRun]);
    assert_eq!(
        made.held_back()[0].sentence,
        "2 of 9 cells of the run have no picture: Q8_0_gs10 (failed), Q8_0_gs30 (missing)"
    );
    let because = Overrides::from([(ReasonCode::IncompleteRun, "gs30 is out anyway".to_owned())]);
    let approval = made.stage(&because).unwrap().settings().approval.clone();
    assert_eq!((approval.cells_seen, approval.cells_total), (7, 9));
}

fn change(run: &mut Run, name: &str, change: impl FnOnce(&mut crate::model::run::DoneCell)) {
    let Some(CellState::Done(done)) = run.cells.get_mut(&cell(name)) else {
        panic!("not done")
    };
    change(done);
}

#[test]
fn integer_kernels_and_another_gpu_hold_it_back() {
    let (mut run, script) = reviewed();
    change(&mut run, "Q5_K_S_gs4", |done| {
        let document = done.document.as_mut().unwrap();
        document.matmul = MatmulPath::Integer;
        document.environment.device = "NVIDIA A100-SXM4-40GB".to_owned();
    });
    assert_eq!(
        held(&run, &script, "Q5_K_S_gs4"),
        [ReasonCode::IntegerKernels, ReasonCode::GpuNotProduction]
    );
    assert_eq!(held(&run, &script, "Q4_0_gs4"), []);
}

#[test]
fn an_unknown_weights_hash_holds_it_back() {
    let (mut run, script) = reviewed();
    let Origin::FillAudit(document) = &mut run.origin else {
        panic!("own run")
    };
    document
        .model
        .files
        .retain(|file| file.file.contains("Q4_0"));
    assert_eq!(
        held(&run, &script, "Q5_K_S_gs4"),
        [ReasonCode::UnknownWeightsHash]
    );
}

#[test]
fn a_recipe_other_than_the_cells_holds_it_back() {
    let (run, script) = reviewed();
    let (key, jane) = (cell("Q5_K_S_gs4"), who("jane"));
    let wider = MaskRecipe {
        dilate_px: 12.0,
        ..MaskRecipe::default()
    };
    let made = draft(Request {
        recipe: Some(&wider),
        ..request(&run, &script, &key, &jane)
    })
    .unwrap();
    assert_eq!(codes(made.held_back()), [ReasonCode::RecipeDiffers]);
    assert_eq!(
        made.held_back()[0].sentence,
        "the cell was made at a dilation of 10 px, but 12 px is staged"
    );
    let because = Overrides::from([(ReasonCode::RecipeDiffers, "the ring is better".to_owned())]);
    let staged = made.stage(&because).unwrap();
    assert_eq!(staged.settings().recipe(), Some(wider));
    assert_eq!(disagreements(staged.settings(), &run), Vec::<String>::new());
    let same = MaskRecipe::default();
    let same = draft(Request {
        recipe: Some(&same),
        ..request(&run, &script, &key, &jane)
    })
    .unwrap();
    assert_eq!(same.held_back(), []);
}

fn service_run() -> Run {
    let mut run = done_run();
    run.origin = Origin::Service;
    run.session = None;
    run.prompts.clear();
    run.environment = Some(l4());
    run.defaults = crate::model::cell::CellDefaults::of_service_run();
    let cells = std::mem::take(&mut run.cells);
    for (key, mut state) in cells {
        if let CellState::Done(done) = &mut state {
            done.document = None;
        }
        let key = CellKey {
            seed: None,
            prompt: None,
            dilate_px: None,
            ..key
        };
        run.cells.insert(key, state);
    }
    run
}

#[test]
fn all_that_the_python_service_does_not_say_holds_it_back() {
    let run = service_run();
    let mut script = Script::default();
    script.see_all("jane", &run);
    let key = CellKey::parse("Q5_K_S_gs4", &run.defaults).unwrap();
    let jane = who("jane");
    let made = draft(request(&run, &script, &key, &jane)).unwrap();
    let expected = [
        ReasonCode::UnknownWeightsHash,
        ReasonCode::UnknownSeed,
        ReasonCode::UnknownRecipe,
        ReasonCode::UnknownPrompt,
        ReasonCode::UnknownInferenceInputs,
        ReasonCode::UnknownImageHash,
    ];
    assert_eq!(codes(made.held_back()), expected);
    let overrides: Overrides = expected
        .iter()
        .map(|code| (*code, "known from elsewhere".to_owned()))
        .collect();
    let staged = made.stage(&overrides).unwrap();
    golden("service-run.toml", staged.text());
    assert_eq!(
        ApprovedSettings::parse(staged.text(), "x").unwrap(),
        *staged.settings()
    );
    assert!(
        recommended_section(staged.settings())
            .contains("| Seed of the approved picture | unknown |")
    );
    // With the picture hashed there is one reason fewer.
    let digits = sha('9');
    let hashed = Request {
        image_sha256: Some(&digits),
        ..request(&run, &script, &key, &jane)
    };
    assert!(!codes(draft(hashed).unwrap().held_back()).contains(&ReasonCode::UnknownImageHash));
}

#[test]
fn nothing_is_staged_until_every_reason_is_answered_with_words() {
    let (mut run, script) = reviewed();
    change(&mut run, "Q5_K_S_gs4", |done| {
        done.document.as_mut().unwrap().environment.device = "cpu".to_owned();
    });
    let (key, jane) = (cell("Q5_K_S_gs4"), who("jane"));
    let made = draft(request(&run, &script, &key, &jane)).unwrap();
    for answer in [None, Some(""), Some("  \n")] {
        let overrides: Overrides = answer
            .map(|why| (ReasonCode::GpuNotProduction, why.to_owned()))
            .into_iter()
            .collect();
        let error = made.stage(&overrides).unwrap_err();
        assert!(
            matches!(&error, StageError::HeldBack(left) if left.len() == 1),
            "{error}"
        );
        assert!(error.to_string().contains("gpu_not_production"), "{error}");
    }
    let because = Overrides::from([(ReasonCode::GpuNotProduction, " a trial ".to_owned())]);
    let staged = made.stage(&because).unwrap();
    assert!(staged.text().contains("because = \"a trial\""));
    assert_eq!(made.preview(&because), staged.text());
    let Action::Approved {
        overrides, sha256, ..
    } = staged.action("phase1.toml")
    else {
        panic!()
    };
    assert_eq!(
        overrides,
        [("gpu_not_production".to_owned(), "a trial".to_owned())]
    );
    assert_eq!(sha256.len(), 64);
}

#[test]
fn an_answer_to_nothing_is_refused() {
    let (run, script) = reviewed();
    let (key, jane) = (cell("Q5_K_S_gs4"), who("jane"));
    let made = draft(request(&run, &script, &key, &jane)).unwrap();
    let because = Overrides::from([(ReasonCode::UnknownSeed, "it is 42".to_owned())]);
    assert_eq!(
        made.stage(&because),
        Err(StageError::NotHeldBack(ReasonCode::UnknownSeed))
    );
}

#[test]
fn a_cell_without_a_picture_or_with_a_changed_one_cannot_be_approved() {
    let (mut run, script) = reviewed();
    let (key, jane) = (cell("Q5_K_S_gs4"), who("jane"));
    let changed = sha('9');
    let made = draft(Request {
        image_sha256: Some(&changed),
        ..request(&run, &script, &key, &jane)
    });
    assert!(matches!(made, Err(StageError::PictureChanged { .. })));
    run.cells.insert(key.clone(), CellState::Missing);
    let made = draft(request(&run, &script, &key, &jane));
    assert!(matches!(
        made,
        Err(StageError::NoPicture {
            state: "missing",
            ..
        })
    ));
    run.cells.remove(&key);
    assert!(matches!(
        draft(request(&run, &script, &key, &jane)),
        Err(StageError::NoSuchCell { .. })
    ));
}

#[test]
fn the_current_file_is_what_is_replaced_and_a_broken_one_is_left_alone() {
    let (run, script) = reviewed();
    let (key, jane) = (cell("Q8_0_gs30"), who("jane"));
    let current = Some((EXAMPLE, "phase1.toml"));
    let made = draft(Request {
        current,
        ..request(&run, &script, &key, &jane)
    })
    .unwrap();
    let staged = made.stage(&Overrides::new()).unwrap();
    let replaces = &staged.settings().replaces;
    assert_eq!(
        (
            replaces.quant.as_str(),
            replaces.guidance_scale.to_string().as_str()
        ),
        ("Q5_K_S", "4")
    );
    assert_eq!(staged.current_from().unwrap().compact(), "20261121T101500Z");
    let changed: Vec<String> = staged
        .changes()
        .into_iter()
        .map(|change| change.path)
        .collect();
    assert!(
        changed.contains(&"inference.guidance_scale".to_owned()),
        "{changed:?}"
    );
    assert!(
        changed.contains(&"approval.override[0].reason".to_owned()),
        "{changed:?}"
    );
    assert!(!changed.contains(&"model.base".to_owned()), "{changed:?}");

    let current = Some(("schema = 1\nmodel = 3\n", "phase1.toml"));
    let refused = draft(Request {
        current,
        ..request(&run, &script, &key, &jane)
    })
    .unwrap_err();
    assert!(matches!(refused, StageError::Current(_)));
    let text = refused.to_string();
    assert!(
        text.contains("not overwritten") && text.contains("line 2") && text.contains("phase1.toml"),
        "{text}"
    );
}

#[test]
fn a_file_that_says_otherwise_than_its_run_is_found_out() {
    let (run, script) = reviewed();
    let (key, jane) = (cell("Q5_K_S_gs4"), who("jane"));
    let staged = draft(request(&run, &script, &key, &jane))
        .unwrap()
        .stage(&Overrides::new())
        .unwrap();
    assert_eq!(disagreements(staged.settings(), &run), Vec::<String>::new());
    let edits = [
        (
            "guidance_scale = 4.0 ",
            "guidance_scale = 5.0 ",
            "inference.guidance_scale is 5",
        ),
        (
            "num_inference_steps = 28 ",
            "num_inference_steps = 50 ",
            "inference.num_inference_steps is 50",
        ),
        ("seed = 42", "seed = 43", "inference.seed is 43"),
        ("dilate_px = 10.0", "dilate_px = 11.0", "the mask recipe is"),
        (
            "feather_sigma_px = 4.0",
            "feather_sigma_px = 3.0",
            "the mask recipe is",
        ),
        (
            "long_side_px = 1024",
            "long_side_px = 768",
            "inference.long_side_px is 768",
        ),
        (&"5".repeat(64), &"6".repeat(64), "model.sha256 is 666"),
        (
            &"f".repeat(64),
            &"e".repeat(64),
            "approval.image_sha256 is eee",
        ),
        (
            "cell = \"Q5_K_S_gs4\"",
            "cell = \"Q5_K_S_gs5\"",
            "has no cell Q5_K_S_gs5",
        ),
        (
            "run = \"20261121-090000\"",
            "run = \"other\"",
            "it approves run other",
        ),
        (
            "prompt = \"empty ",
            "prompt = \"green ",
            "inference.prompt is",
        ),
        ("seed = 42", "", "inference.seed is not in the file but 42"),
        (
            "gpu = \"NVIDIA L4 (sm_89)\"",
            "gpu = \"NVIDIA L4 (sm_90)\"",
            "approval.gpu is NVIDIA L4 (sm_90)",
        ),
    ];
    for (from, to, expected) in edits {
        let text = staged.text().replace(from.trim_end(), to.trim_end());
        assert_ne!(text, staged.text(), "{from}");
        let settings = ApprovedSettings::parse(&text, "x").unwrap();
        let found = disagreements(&settings, &run).join("; ");
        assert!(found.contains(expected), "{expected:?} not in {found:?}");
    }
}

#[test]
fn an_override_that_was_taken_out_of_the_file_is_missed() {
    let (mut run, script) = reviewed();
    let (key, jane) = (cell("Q5_K_S_gs4"), who("jane"));
    let Some(CellState::Done(done)) = run.cells.get_mut(&key) else {
        panic!("the sample has this cell");
    };
    let document = done.document.as_mut().unwrap();
    document.environment.device = "NVIDIA H100".to_owned();
    let because = "the L4 was not available".to_owned();
    let overrides = Overrides::from([(ReasonCode::GpuNotProduction, because)]);
    let mut settings = draft(request(&run, &script, &key, &jane))
        .unwrap()
        .stage(&overrides)
        .unwrap()
        .settings()
        .clone();
    assert_eq!(disagreements(&settings, &run), Vec::<String>::new());
    settings.approval.overrides.clear();
    let found = disagreements(&settings, &run).join("; ");
    assert!(found.contains("(gpu_not_production)"), "{found}");
    settings.approval.gpu = Some("NVIDIA L4 (sm_89)".to_owned());
    let found = disagreements(&settings, &run).join("; ");
    assert!(found.contains("approval.gpu is NVIDIA L4"), "{found}");
}

#[test]
fn what_is_not_understood_is_refused_with_file_and_line() {
    let cases = [
        (EXAMPLE.replace("schema = 1", "schema = 2"), "newer"),
        (EXAMPLE.replace("open_px", "opening_px"), "line 23"),
        (
            EXAMPLE.replace("quant = \"Q5_K_S\"", "quant = \"../x\""),
            "a quant is",
        ),
        (EXAMPLE.replace("9f2c0", "xyz"), "64 lower-case hex digits"),
        (
            EXAMPLE.replace("[composite]\nfeather_sigma_px = 4.0\n", ""),
            "belong together",
        ),
        (
            EXAMPLE.replace("threshold = 128", "threshold = 0"),
            "threshold must be",
        ),
        (
            EXAMPLE.replace("cells_seen = 18", "cells_seen = 19"),
            "cells_total is 18",
        ),
        (
            EXAMPLE.replace("2026-11-21T10:15:00Z", "2026-11-21T10:15:00"),
            "RFC 3339",
        ),
        (
            EXAMPLE.replace("because = \"the L4", "because = \" \" # "),
            "no reason",
        ),
        (
            EXAMPLE.replace("\"gpu_not_production\"", "\"gpu\""),
            "unknown variant `gpu`",
        ),
        (
            EXAMPLE.replace("wall_secs = 47.1", "wall_secs = nan"),
            "a time must be",
        ),
        (String::new(), "missing field `schema`"),
    ];
    for (text, expected) in cases {
        let error = ApprovedSettings::parse(&text, "out/phase1.toml")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected) && error.contains("out/phase1.toml"),
            "{expected:?}: {error}"
        );
    }
}

proptest! {
    #[test]
    fn any_words_and_numbers_read_back(
        note in any::<String>(), by in "\\PC{1,20}", prompt in any::<String>(), seed in any::<u64>(),
        secs in proptest::option::of(0.0f64..1e9), dilate in 0.0f32..256.0, because in any::<String>(),
    ) {
        prop_assume!(!by.trim().is_empty() && !because.trim().is_empty());
        let mut settings = ApprovedSettings::parse(EXAMPLE, "x").unwrap();
        settings.approval.note = note;
        settings.approval.approved_by = by;
        settings.approval.wall_secs = secs;
        settings.approval.gpu_millis = secs.map(|secs| secs * 1000.0);
        settings.approval.overrides[0].because = because;
        settings.inference.prompt = Some(prompt);
        settings.inference.seed = Some(seed);
        settings.mask.as_mut().unwrap().dilate_px = dilate;
        let text = settings.to_toml();
        let back = ApprovedSettings::parse(&text, "x").unwrap();
        prop_assert_eq!(&back, &settings);
        prop_assert_eq!(back.to_toml(), text);
        // A note cannot add a heading or a table row to the report.
        let section = recommended_section(&settings);
        prop_assert!(!section.lines().any(|line| line.starts_with('#')));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(ApprovedSettings::parse(&text, "x").is_err());
        let _ = changes(Some(&text), EXAMPLE);
    }

    #[test]
    fn a_damaged_file_is_refused_or_still_a_whole_one(
        at in any::<proptest::sample::Index>(), with in "\\PC{0,3}", cut in 0usize..40,
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, with.chars());
        let text: String = text.into_iter().collect();
        if let Ok(settings) = ApprovedSettings::parse(&text, "x") {
            prop_assert_eq!(ApprovedSettings::parse(&settings.to_toml(), "x").unwrap(), settings);
        }
    }
}
