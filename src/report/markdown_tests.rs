//! The report against a golden file, and read back by the reader of the service's reports.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use super::*;
use crate::model::cell::{CellDefaults, Guidance, RadiusPx, Steps};
use crate::model::document;
use crate::model::ids::{RunId, SessionId};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
use crate::model::run::{
    Environment, InputHashes, ModelDocument, PixelBox, Plan, RunDocument, WeightsFile,
};
use crate::report::service::ServiceReport;

fn environment() -> Environment {
    Environment {
        device: "NVIDIA L4".to_owned(),
        compute_capability: Some("8.9".to_owned()),
        memory_bytes: Some(24_152_899_584),
        driver: Some("535.216".to_owned()),
        program: Some("fill-audit 0.1.0".to_owned()),
    }
}

/// Two quants, two guidances: done, failed, missing, unreadable.
fn run() -> Run {
    let hash = |digit: &str| digit.repeat(64);
    let quants = ["Q4_0", "Q8_0"]
        .map(|name| Quant::new(name).unwrap())
        .to_vec();
    let file = |quant: Option<&Quant>, file: &str, digit: &str| WeightsFile {
        quant: quant.cloned(),
        file: file.to_owned(),
        sha256: hash(digit),
        size_bytes: 6_810_000_000,
    };
    let document = RunDocument {
        schema: document::SCHEMA,
        run_id: RunId::new("20261121-090000").unwrap(),
        session: SessionId::new("D1A406F5").unwrap(),
        expected: "grass with fallen leaves, nothing else".to_owned(),
        created_at: "2026-11-21T09:00:00Z".to_owned(),
        program: "fill-audit 0.1.0".to_owned(),
        plan: Plan {
            matrix: Matrix {
                quants: quants.clone(),
                guidances: [2.5, 10.0].map(|g| Guidance::new(g).unwrap()).to_vec(),
                steps: vec![Steps::PRODUCTION],
                seeds: vec![42],
                prompts: vec![0],
                dilations: vec![RadiusPx::new(10.0).unwrap()],
            },
            recipe: MaskRecipe::default(),
        },
        prompts: vec![prompt::PRODUCTION.to_owned()],
        inference: InferenceSize::PRODUCTION,
        inference_box: PixelBox {
            x: 0,
            y: 0,
            width: 1200,
            height: 900,
        },
        inference_size_px: (1024, 768),
        max_sequence_length: 512,
        matmul: MatmulPath::Exact,
        device: "cuda".to_owned(),
        model: ModelDocument {
            repository: "YarvixPA/FLUX.1-Fill-dev-GGUF".to_owned(),
            base: "black-forest-labs/FLUX.1-Fill-dev".to_owned(),
            files: vec![
                file(None, "ae.safetensors", "a"),
                file(Some(&quants[0]), "flux1-fill-dev-Q4_0.gguf", "4"),
                file(Some(&quants[1]), "flux1-fill-dev-Q8_0.gguf", "8"),
            ],
        },
        inputs: InputHashes {
            image: hash("1"),
            mask: hash("2"),
            inference_image: hash("3"),
            inference_mask: hash("5"),
        },
        gates_overridden: vec!["the mask is large (overridden: it is a long leash)".to_owned()],
        weights_warnings: Vec::new(),
    };
    let mut run = Run::new(document, Vec::new()).unwrap();
    run.environment = Some(environment());
    let key = |run: &Run, name: &str| CellKey::parse(name, &run.defaults).unwrap();
    let timing = Timing {
        wall_secs: Some(45.23),
        gpu_millis: Some(44_100.4),
        step_secs: vec![1.6, 1.5, 1.7],
        load_secs: Some(12.0),
        ..Timing::default()
    };
    let done = CellState::Done(Box::new(DoneCell {
        timing,
        document: None,
    }));
    let failed = CellState::Failed {
        error: "CUDA | out\nof memory".to_owned(),
        document: None,
    };
    let unreadable = CellState::Unreadable {
        reason: "Q8_0_gs10.png is cut off".to_owned(),
    };
    run.cells.insert(key(&run, "Q4_0_gs10"), done);
    run.cells.insert(key(&run, "Q8_0_gs2.5"), failed);
    run.cells.insert(key(&run, "Q8_0_gs10"), unreadable);
    run.warnings.push("Q8_0_gs10.png is cut off".to_owned());
    run
}

#[test]
fn the_report_is_the_golden_one() {
    let golden = include_str!("../../tests/fixtures/report/REPORT.md");
    let parts = ReportParts {
        contact_sheet: Some("contact_sheet.png"),
        review: Some("## Review\n\n1 of 4 cells reviewed."),
        ..ReportParts::default()
    };
    let text = render(&run(), &parts);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/report/REPORT.md"
        );
        std::fs::write(path, &text).unwrap();
        return;
    }
    assert_eq!(text, golden);
}

#[test]
fn the_report_reads_back_as_the_services() {
    let report = ServiceReport::parse(&render(&run(), &ReportParts::default()));
    assert_eq!(report.warnings, Vec::<String>::new());
    assert_eq!(report.session.unwrap().as_str(), "D1A406F5");
    let read = report.environment.unwrap();
    assert_eq!(read.label(), environment().label());
    assert_eq!(read.driver, environment().driver);
    let rows: Vec<_> = report
        .rows
        .iter()
        .map(|row| {
            let error = row.error.as_deref().unwrap_or_default();
            (
                row.quant.as_str(),
                row.guidance.value(),
                row.timing.wall_secs,
                error,
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("Q4_0", 2.5, None, ""),
            ("Q4_0", 10.0, Some(45.2), ""),
            ("Q8_0", 2.5, None, "failed: CUDA | out of memory"),
            ("Q8_0", 10.0, None, "error: Q8_0_gs10.png is cut off"),
        ]
    );
}

#[test]
fn a_run_on_another_device_says_that_its_times_do_not_count() {
    let mut run = run();
    assert!(!render(&run, &ReportParts::default()).contains("not production's"));
    if let Some(environment) = &mut run.environment {
        environment.device = "AMD EPYC".to_owned();
        environment.compute_capability = None;
    }
    assert!(
        render(&run, &ReportParts::default()).contains("**This is not production's NVIDIA L4**")
    );
}

#[test]
fn accelerations_are_shown_as_they_were_seen_and_fallbacks_are_named() {
    use crate::model::run::{AccelerationSeen, CellDocument, CellOutcome};
    let mut run = run();
    let seen = |name: &str, available, asked, seen| AccelerationSeen {
        name: name.to_owned(),
        available,
        asked,
        seen,
        remark: "as | is".to_owned(),
    };
    let documents = ["Q4_0_gs2.5", "Q4_0_gs10"].map(|name| CellDocument {
        schema: document::SCHEMA,
        key: CellKey::parse(name, &run.defaults).unwrap(),
        outcome: CellOutcome::Failed {
            error: String::new(),
        },
        timing: Timing::default(),
        environment: environment(),
        matmul: MatmulPath::Integer,
        inputs_sha256: "0".repeat(64),
        finished_at: String::new(),
        peak_memory_bytes: Some(7_000_000_000),
        accelerations: vec![
            seen("dense", true, false, 40),
            seen("integer kernels", true, true, 0),
            seen("flash attention", false, false, 0),
        ],
    });
    for document in documents {
        let key = document.key.clone();
        let done = CellState::Done(Box::new(DoneCell {
            timing: Timing {
                wall_secs: Some(1.0),
                decode_secs: Some(0.25),
                ..Timing::default()
            },
            document: Some(document),
        }));
        run.cells.insert(key, done);
    }
    let text = render(&run, &ReportParts::default());
    for part in [
        "| Q4_0 | 2 | — | — | 0.250 | 7.00 GB |",
        "doctor --measure",
        "| dense | yes | no | 80 times in 2 of 2 cells | as \\| is |",
        "| integer kernels | yes | yes | no |",
        "| flash attention | no | no | no |",
        "- **Fallback: integer kernels was asked for and did not run** in 2 of 2 cells",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("No acceleration was measured"));
    let read = ServiceReport::parse(&text);
    assert_eq!(read.warnings, Vec::<String>::new());
    assert_eq!(read.rows.len(), 4);
    assert!(read.acceleration_section.unwrap().contains("| dense |"));
}

#[test]
fn several_values_on_an_axis_give_it_a_column_and_links_may_lie_elsewhere() {
    let mut run = run();
    let defaults: CellDefaults = run.defaults.clone();
    let other = CellKey::parse("Q4_0_gs10_seed7", &defaults).unwrap();
    run.cells.insert(other, CellState::Missing);
    let key = CellKey::parse("Q4_0_gs10", &defaults).unwrap();
    let parts = ReportParts {
        links: BTreeMap::from([(key, "https://bucket/x.png?sig=1".to_owned())]),
        recommended: Some("Q4_0 it stays."),
        ..ReportParts::default()
    };
    let text = render(&run, &parts);
    assert!(
        text.contains(
            "| Q4_0 ★ | 10 | 28 | 42 | 45.2 | 44100 | [view](https://bucket/x.png?sig=1) |"
        ),
        "{text}"
    );
    assert!(
        text.contains("| Q4_0 | 10 | 28 | 7 | — | — | not run |"),
        "{text}"
    );
    assert!(
        text.ends_with("## Recommended Settings for Phase 1\n\nQ4_0 it stays.\n"),
        "{text}"
    );
}
