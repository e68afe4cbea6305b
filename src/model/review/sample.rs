//! A run and a script of events for the tests of this folder and of approvals.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{Action, Event, EventId, ReviewState, UtcTime, Verdict};
use crate::model::cell::{CellDefaults, CellKey};
use crate::model::ids::{ReviewerId, RunId, SessionId};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
use crate::model::run::{
    CellDocument, CellOutcome, CellState, DoneCell, Environment, InferenceSize, InputHashes,
    MatmulPath, ModelDocument, PixelBox, Plan, Run, RunDocument, Timing, WeightsFile,
};
use std::collections::BTreeSet;

pub(crate) fn sha(digit: char) -> String {
    digit.to_string().repeat(64)
}

pub(crate) fn defaults() -> CellDefaults {
    run().defaults
}

pub(crate) fn cell(name: &str) -> CellKey {
    CellKey::parse(name, &defaults()).unwrap()
}

pub(crate) fn l4() -> Environment {
    Environment {
        device: "NVIDIA L4".to_owned(),
        compute_capability: Some("8.9".to_owned()),
        memory_bytes: Some(24 << 30),
        driver: None,
        program: None,
    }
}

/// `Q4_0`, `Q5_K_S`, `Q8_0` × guidance 4, 10, 30: nothing done yet.
pub(crate) fn run() -> Run {
    let weights = |quant: &str, digit| WeightsFile {
        quant: Some(crate::model::cell::Quant::new(quant).unwrap()),
        file: format!("flux1-fill-dev-{quant}.gguf"),
        sha256: sha(digit),
        size_bytes: 1,
    };
    let matrix = Matrix {
        quants: crate::model::cell::Quant::audited(),
        guidances: ["4", "10", "30"].map(|g| g.parse().unwrap()).to_vec(),
        steps: vec![crate::model::cell::Steps::PRODUCTION],
        seeds: vec![42],
        prompts: vec![0],
        dilations: vec!["10".parse().unwrap()],
    };
    let document = RunDocument {
        schema: 1,
        run_id: RunId::new("20261121-090000").unwrap(),
        session: SessionId::new("D1A406F5").unwrap(),
        expected: "grass".to_owned(),
        created_at: "2026-11-21T09:00:00Z".to_owned(),
        program: "fill-audit 0.1.0".to_owned(),
        plan: Plan {
            matrix,
            recipe: MaskRecipe::default(),
        },
        prompts: vec![crate::model::prompt::PRODUCTION.to_owned()],
        inference: InferenceSize::PRODUCTION,
        inference_box: PixelBox {
            x: 0,
            y: 0,
            width: 1024,
            height: 768,
        },
        inference_size_px: (1024, 768),
        max_sequence_length: 512,
        matmul: MatmulPath::Exact,
        device: "cuda:0".to_owned(),
        model: ModelDocument {
            repository: "YarvixPA/FLUX.1-Fill-dev-GGUF".to_owned(),
            base: "black-forest-labs/FLUX.1-Fill-dev".to_owned(),
            files: vec![
                weights("Q4_0", '4'),
                weights("Q5_K_S", '5'),
                weights("Q8_0", '8'),
            ],
        },
        inputs: InputHashes {
            image: sha('a'),
            mask: sha('b'),
            inference_image: sha('c'),
            inference_mask: sha('d'),
        },
        gates_overridden: Vec::new(),
        weights_warnings: Vec::new(),
    };
    Run::new(document, Vec::new()).unwrap()
}

pub(crate) fn done(key: &CellKey, wall_secs: f64) -> CellState {
    let timing = Timing {
        wall_secs: Some(wall_secs),
        gpu_millis: Some(1000.0 * wall_secs - 942.0),
        ..Timing::default()
    };
    let document = CellDocument {
        schema: 1,
        key: key.clone(),
        outcome: CellOutcome::Done {
            fill_sha256: sha('e'),
            composite_sha256: sha('f'),
        },
        timing: timing.clone(),
        environment: l4(),
        matmul: MatmulPath::Exact,
        inputs_sha256: sha('0'),
        finished_at: "2026-11-21T09:30:00Z".to_owned(),
        peak_memory_bytes: None,
        accelerations: Vec::new(),
    };
    CellState::Done(Box::new(DoneCell {
        timing,
        document: Some(document),
    }))
}

/// The same run with a picture for every cell; the first took 40.5 s, each further one second longer.
pub(crate) fn done_run() -> Run {
    let mut run = run();
    for (index, (key, state)) in run.cells.iter_mut().enumerate() {
        *state = done(key, 40.5 + index as f64);
    }
    run
}

pub(crate) fn who(name: &str) -> ReviewerId {
    ReviewerId::new(name).unwrap()
}

pub(crate) fn time(second: u64) -> UtcTime {
    UtcTime::new(
        "2026-11-21T10:00:00Z".parse::<jiff::Timestamp>().unwrap()
            + jiff::SignedDuration::from_secs(second as i64),
    )
}

/// Events one after another, each as the window would make it.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) state: ReviewState,
    count: u64,
}

impl Script {
    pub(crate) fn act(&mut self, reviewer: &str, action: Action) -> EventId {
        self.count += 1;
        let id = EventId::from_bits(u128::from(self.count));
        let event: Event =
            self.state
                .next_event(id.clone(), time(self.count), &who(reviewer), action);
        assert!(self.state.apply(event));
        id
    }

    pub(crate) fn pass(&mut self, reviewer: &str, name: &str) -> EventId {
        self.verdict(reviewer, name, Verdict::Pass(BTreeSet::new()))
    }

    pub(crate) fn reject(&mut self, reviewer: &str, name: &str, types: &[&str]) -> EventId {
        let types = types
            .iter()
            .map(|key| super::FailureKey::new(*key).unwrap())
            .collect();
        self.verdict(reviewer, name, Verdict::Reject(types))
    }

    pub(crate) fn verdict(&mut self, reviewer: &str, name: &str, verdict: Verdict) -> EventId {
        self.act(
            reviewer,
            Action::Verdict {
                cell: cell(name),
                verdict,
            },
        )
    }

    pub(crate) fn undo(&mut self, reviewer: &str) -> Option<CellKey> {
        let step = self.state.next_undo(&who(reviewer)).unwrap();
        self.act(reviewer, step.action);
        step.cell
    }

    pub(crate) fn redo(&mut self, reviewer: &str) -> Option<CellKey> {
        let step = self.state.next_redo(&who(reviewer)).unwrap();
        self.act(reviewer, step.action);
        step.cell
    }

    pub(crate) fn see_all(&mut self, reviewer: &str, run: &Run) {
        for key in run.cells.keys() {
            self.act(reviewer, Action::Seen { cell: key.clone() });
        }
    }
}
