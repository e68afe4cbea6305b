//! A finished run of four cells as a folder, small enough to be made anew for each test.

use fill_audit::audit::hash;
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::model::cell::{CellKey, Quant, Steps};
use fill_audit::model::document::to_ron;
use fill_audit::model::ids::{ReviewerId, RunId, SessionId};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::matrix::Matrix;
use fill_audit::model::review::{Action, Event, EventId, ReviewState, UtcTime, Verdict};
use fill_audit::model::run::{
    CellDocument, CellOutcome, Environment, InferenceSize, InputHashes, MatmulPath, ModelDocument,
    PixelBox, Plan, Run, RunDocument, Timing, WeightsFile, files,
};
use std::collections::BTreeSet;
use std::path::Path;

pub fn who(name: &str) -> ReviewerId {
    ReviewerId::new(name).unwrap()
}

pub fn at(second: i64) -> UtcTime {
    let start: jiff::Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    UtcTime::new(start + jiff::SignedDuration::from_secs(second))
}

/// Weights whose bytes are their name, so that a folder of them is quickly made.
pub fn weights_bytes(quant: &str) -> Vec<u8> {
    format!("weights of {quant}").into_bytes()
}

pub fn document() -> RunDocument {
    let weights = |quant: &str| WeightsFile {
        quant: Some(Quant::new(quant).unwrap()),
        file: format!("flux1-fill-dev-{quant}.gguf"),
        sha256: hash::sha256(&weights_bytes(quant)),
        size_bytes: weights_bytes(quant).len() as u64,
    };
    let matrix = Matrix {
        quants: ["Q4_0", "Q8_0"]
            .map(|quant| Quant::new(quant).unwrap())
            .to_vec(),
        guidances: ["4", "10"]
            .map(|guidance| guidance.parse().unwrap())
            .to_vec(),
        steps: vec![Steps::PRODUCTION],
        seeds: vec![42],
        prompts: vec![0],
        dilations: vec!["10".parse().unwrap()],
    };
    RunDocument {
        schema: 1,
        run_id: RunId::new("20261121-090000").unwrap(),
        session: SessionId::new("D1A406F5").unwrap(),
        expected: "grass with leaves".to_owned(),
        created_at: "2026-11-21T09:00:00Z".to_owned(),
        program: "fill-audit 0.1.0".to_owned(),
        plan: Plan {
            matrix,
            recipe: MaskRecipe::default(),
        },
        prompts: vec!["grass".to_owned()],
        inference: InferenceSize::PRODUCTION,
        inference_box: PixelBox {
            x: 0,
            y: 0,
            width: 16,
            height: 16,
        },
        inference_size_px: (16, 16),
        max_sequence_length: 512,
        matmul: MatmulPath::Exact,
        device: "cuda:0".to_owned(),
        model: ModelDocument {
            repository: "YarvixPA/FLUX.1-Fill-dev-GGUF".to_owned(),
            base: "black-forest-labs/FLUX.1-Fill-dev".to_owned(),
            files: ["Q4_0", "Q8_0"].map(weights).to_vec(),
        },
        inputs: InputHashes {
            image: hash::sha256(&png(0)),
            mask: hash::sha256(&png(1)),
            inference_image: hash::sha256(&png(2)),
            inference_mask: hash::sha256(&png(3)),
        },
        gates_overridden: Vec::new(),
        weights_warnings: Vec::new(),
    }
}

fn png(shade: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(16, 16, image::Rgb([shade, 90, 30]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// Writes the run with every cell done on an L4, and opens it.
pub fn write(dir: &Path) -> Run {
    let document = document();
    for (name, shade) in [
        (files::IMAGE, 0),
        (files::MASK, 1),
        (files::INFERENCE_IMAGE, 2),
        (files::INFERENCE_MASK, 3),
    ] {
        std::fs::write(dir.join(name), png(shade)).unwrap();
    }
    std::fs::write(dir.join(files::RUN), to_ron(&document, "run.ron").unwrap()).unwrap();
    let plan = run_folder::read_plan(dir).unwrap();
    for (index, key) in plan.cells.keys().enumerate() {
        write_cell(dir, &plan, key, index, "NVIDIA L4");
    }
    std::fs::write(
        dir.join(files::REPORT),
        "# Audit\n\n## Results\n\nfour cells\n\n## Recommended Settings for Phase 1\n[User fills this in after reviewing images]\n",
    )
    .unwrap();
    let run = run_folder::open(dir, Verification::Full).unwrap();
    assert_eq!((run.done_count(), run.warnings.as_slice()), (4, &[][..]));
    run
}

pub fn write_cell(dir: &Path, plan: &Run, key: &CellKey, index: usize, device: &str) {
    let name = plan.cell_name(key);
    let picture = png(100 + index as u8);
    let timing = Timing {
        wall_secs: Some(40.0 + index as f64),
        gpu_millis: Some(39_000.0 + 1_000.0 * index as f64),
        ..Timing::default()
    };
    let cell = CellDocument {
        schema: 1,
        key: key.clone(),
        outcome: CellOutcome::Done {
            fill_sha256: hash::sha256(&picture),
            composite_sha256: hash::sha256(&picture),
        },
        timing,
        environment: Environment {
            device: device.to_owned(),
            compute_capability: Some("8.9".to_owned()),
            memory_bytes: None,
            driver: None,
            program: None,
        },
        matmul: MatmulPath::Exact,
        inputs_sha256: hash::of_cell_inputs(plan, key).unwrap(),
        finished_at: "2026-11-21T09:30:00Z".to_owned(),
        peak_memory_bytes: None,
        accelerations: Vec::new(),
    };
    std::fs::write(dir.join(files::composite(&name)), &picture).unwrap();
    std::fs::write(dir.join(files::fill(&name)), &picture).unwrap();
    std::fs::write(dir.join(files::cell(&name)), to_ron(&cell, &name).unwrap()).unwrap();
}

pub fn cell(run: &Run, name: &str) -> CellKey {
    CellKey::parse(name, &run.defaults).unwrap()
}

/// Events one after another.
#[derive(Default)]
pub struct Script {
    pub state: ReviewState,
    count: u64,
}

impl Script {
    /// Of another window: its ids begin above `count`.
    pub fn after(count: u64) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }

    pub fn act(&mut self, reviewer: &str, action: Action) -> Event {
        self.count += 1;
        let id = EventId::from_bits(u128::from(self.count));
        let event = self
            .state
            .next_event(id, at(self.count as i64), &who(reviewer), action);
        self.state.apply(event.clone());
        event
    }

    pub fn pass(&mut self, reviewer: &str, cell: CellKey) -> Event {
        self.act(
            reviewer,
            Action::Verdict {
                cell,
                verdict: Verdict::Pass(BTreeSet::new()),
            },
        )
    }

    pub fn reject(&mut self, reviewer: &str, cell: CellKey, types: &[&str]) -> Event {
        let types = types
            .iter()
            .map(|key| fill_audit::model::review::FailureKey::new(*key).unwrap())
            .collect();
        self.act(
            reviewer,
            Action::Verdict {
                cell,
                verdict: Verdict::Reject(types),
            },
        )
    }
}

pub fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/review")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text,
        expected,
        "{} (UPDATE_GOLDEN=1 renews it)",
        path.display()
    );
}
