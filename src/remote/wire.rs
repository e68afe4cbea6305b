//! The JSON that goes over the wire. A request with a field that is not known is refused; an answer has
//! every field every time, null where nothing is known. `assets/deploy/openapi.json` describes the same.

use crate::model::cell::{Guidance, Quant, RadiusPx, Steps};
use crate::model::ids::{RunId, SessionId, UserId};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::{CellState, Environment, InferenceSize};
use crate::report::json::ShownCell;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

pub use super::reading::parse_request;

/// `POST /audit`: what is to be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditRequest {
    /// Whose session it is.
    pub user_id: UserId,
    /// The session, which lies below the worker's folder of sessions or in its bucket.
    pub session_id: SessionId,
    /// The run's name; without one the worker chooses, and a repeated request is another run.
    #[serde(default)]
    pub run_id: Option<RunId>,
    /// The values of every axis; the audit's where nothing is given.
    #[serde(default)]
    pub matrix: Option<MatrixRequest>,
    /// The mask recipe; the session's or the program's where nothing is given.
    #[serde(default)]
    pub recipe: Option<MaskRecipe>,
    /// The prompt, if there is one only; production's where nothing is given.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Make at most so many cells of the run.
    #[serde(default)]
    pub max_variations: Option<NonZeroU32>,
    /// What the model is given; the whole picture at 1024 pixels where nothing is given.
    #[serde(default)]
    pub inference: Option<InferenceRequest>,
}

impl AuditRequest {
    /// Whether both ask for the same run, however it is called and how much of it is to be made.
    pub fn is_same_run(&self, other: &Self) -> bool {
        let bare = |request: &Self| Self {
            run_id: None,
            max_variations: None,
            ..request.clone()
        };
        bare(self) == bare(other)
    }
}

/// The values of the axes that are not to be the audit's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixRequest {
    /// Quantizations.
    #[serde(default)]
    pub quants: Option<Vec<Quant>>,
    /// Guidance scales.
    #[serde(default)]
    pub guidances: Option<Vec<Guidance>>,
    /// Numbers of denoising steps.
    #[serde(default)]
    pub steps: Option<Vec<Steps>>,
    /// Seeds of the initial noise.
    #[serde(default)]
    pub seeds: Option<Vec<u64>>,
    /// Prompts, as texts.
    #[serde(default)]
    pub prompts: Option<Vec<String>>,
    /// Dilations in pixels at inference size.
    #[serde(default)]
    pub dilations: Option<Vec<RadiusPx>>,
}

/// How the photograph becomes what the model is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum InferenceRequest {
    /// The whole picture.
    Whole {
        /// Longest side in pixels, a multiple of 16.
        long_side_px: u32,
    },
    /// The mask's box with a margin.
    Crop {
        /// Longest side in pixels, a multiple of 16.
        long_side_px: u32,
        /// Margin on each side, as a fraction of the box's longer side; a quarter if it is not given.
        #[serde(default = "quarter")]
        margin: f32,
    },
}

fn quarter() -> f32 {
    0.25
}

impl From<InferenceRequest> for InferenceSize {
    fn from(request: InferenceRequest) -> Self {
        match request {
            InferenceRequest::Whole { long_side_px } => Self::Whole { long_side_px },
            InferenceRequest::Crop {
                long_side_px,
                margin,
            } => Self::Crop {
                long_side_px,
                margin,
            },
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It waits for the runs before it.
    Queued,
    /// It is being made.
    Running,
    /// Every cell that was asked for was tried; some may have failed.
    Done,
    /// It could not be made or gone on with; finished cells are kept.
    Failed,
    /// It was cancelled; finished cells are kept.
    Cancelled,
}

impl RunState {
    /// Whether nothing more will happen to it by itself.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// `202` to `POST /audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The run's name.
    pub run_id: RunId,
    /// Where its progress is.
    pub status_url: String,
    /// Where its events are.
    pub events_url: String,
    /// Where the run itself is.
    pub run_url: String,
}

/// How many cells are how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CellCounts {
    /// In the plan.
    pub planned: usize,
    /// With pictures.
    pub done: usize,
    /// Tried in this go, without success.
    pub failed: usize,
    /// Neither.
    pub left: usize,
}

/// The cell that is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellProgress {
    /// Its name, as in its files.
    pub name: String,
    /// Denoising steps that are done.
    pub step: usize,
    /// Denoising steps in all.
    pub steps: usize,
}

/// `GET /audit/{run_id}/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The run's name.
    pub run_id: RunId,
    /// Whose session it is.
    pub user_id: UserId,
    /// The session.
    pub session_id: SessionId,
    /// How far it is.
    pub state: RunState,
    /// Whether it was asked to stop and has not stopped yet.
    pub is_cancelling: bool,
    /// Its place among the runs that wait, from 1; null if it does not wait.
    pub queue_position: Option<usize>,
    /// What it is doing, such as `loading Q4_0`; null if it is not running.
    pub phase: Option<String>,
    /// The cell that is being made, if one is.
    pub cell: Option<CellProgress>,
    /// How many cells are how far.
    pub cells: CellCounts,
    /// At most so many cells are to be made; null for all.
    pub max_variations: Option<NonZeroU32>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for: UTC, RFC 3339.
    pub created_at: String,
    /// When it was begun.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Where the run itself is.
    pub run_url: String,
    /// Where its events are.
    pub events_url: String,
    /// Where its report is, once there is one.
    pub report_url: Option<String>,
}

/// `GET /audit/{run_id}`: the run with its cells, links and timings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunAnswer {
    /// The run's name.
    pub run_id: RunId,
    /// How far it is.
    pub state: RunState,
    /// The session, if it is known.
    pub session: Option<String>,
    /// Where it was made, if that is known.
    pub environment: Option<Environment>,
    /// Why the GPU is not production's, in a sentence; null if it is, or is not known.
    pub gpu_warning: Option<String>,
    /// What could not be read or does not agree.
    pub warnings: Vec<String>,
    /// Where its report is, once there is one.
    pub report_url: Option<String>,
    /// Every cell, by key.
    pub cells: Vec<CellAnswer>,
}

/// What became of a cell, with links to its pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellAnswer {
    /// As `show --json` prints it.
    #[serde(flatten)]
    pub cell: ShownCell,
    /// The composite at original size, once it is there.
    pub image_url: Option<String>,
    /// The raw fill at inference size, once it is there.
    pub fill_url: Option<String>,
}

/// `GET /audit/{run_id}/files`: what another machine needs to have the same run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFiles {
    /// The run's name.
    pub run_id: RunId,
    /// How far it was before the files were listed.
    pub state: RunState,
    /// Every file that is whole, each after those that it speaks of.
    pub files: Vec<RunFile>,
}

/// A file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Its name in the run's folder.
    pub name: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// `GET /gpu`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuAnswer {
    /// As it is named on the command line: `cpu`, `cuda`, `cuda:1`.
    pub device: String,
    /// What the device calls itself.
    pub name: String,
    /// CUDA compute capability such as `8.9`.
    pub compute_capability: Option<String>,
    /// Memory of the device in bytes.
    pub memory_bytes: Option<u64>,
    /// Driver's version.
    pub driver: Option<String>,
    /// Program and version.
    pub program: Option<String>,
    /// Whether this is production's GPU, an NVIDIA L4.
    pub is_production_gpu: bool,
    /// Why it is not, in a sentence.
    pub warning: Option<String>,
}

impl GpuAnswer {
    /// Of the device that the worker computes on.
    pub fn of(device: &str, environment: &Environment) -> Self {
        Self {
            device: device.to_owned(),
            name: environment.device.clone(),
            compute_capability: environment.compute_capability.clone(),
            memory_bytes: environment.memory_bytes,
            driver: environment.driver.clone(),
            program: environment.program.clone(),
            is_production_gpu: environment.is_production_gpu(),
            warning: gpu_warning(environment),
        }
    }
}

/// A sentence if a device is not production's GPU: times then say nothing of production.
pub fn gpu_warning(environment: &Environment) -> Option<String> {
    environment.production_warning()
}

/// `GET /healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or `draining` with status 503 while the worker is on its way out.
    pub status: String,
}

/// Any answer above 399.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// What is wrong, in a sentence.
    pub error: String,
}

/// One of a run's events. The stream names it as `type` does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunEvent {
    /// All that is known now: first of every stream, and where events were missed that are not kept.
    Snapshot(Box<Status>),
    /// The folder is there.
    Started {
        /// Cells that were done before.
        already_done: usize,
        /// Cells of this go.
        todo: usize,
    },
    /// What is being done between cells.
    Phase {
        /// Such as `checking weights`.
        phase: String,
    },
    /// Something goes on some other way than it might.
    Warning {
        /// What.
        text: String,
    },
    /// What each stage will need of memory, before anything is loaded.
    Memory {
        /// A line for each stage, and what is free.
        lines: Vec<String>,
    },
    /// A quant is read into memory.
    Load {
        /// Which.
        quant: Quant,
    },
    /// A cell is begun.
    CellStarted {
        /// Its name.
        cell: String,
        /// Denoising steps in all.
        steps: u32,
    },
    /// A denoising step is done.
    Step {
        /// The cell's name.
        cell: String,
        /// Counted from 1.
        index: usize,
        /// How many there will be.
        total: usize,
        /// What the fill looks like so far: a small PNG in base64. Only the newest is kept.
        preview: Option<String>,
    },
    /// A cell is on disk.
    CellFinished {
        /// Its name.
        cell: String,
        /// `done` or `failed`.
        state: String,
        /// Wall-clock seconds of denoising and decoding, loading aside.
        wall_secs: Option<f64>,
        /// GPU milliseconds by its own events.
        gpu_millis: Option<f64>,
        /// What went wrong.
        error: Option<String>,
        /// The composite at original size, if it is done.
        image_url: Option<String>,
    },
    /// It is over; the stream ends.
    End {
        /// How it ended.
        state: RunState,
        /// Why it failed.
        error: Option<String>,
        /// How many cells are how far.
        cells: CellCounts,
    },
}

impl RunEvent {
    /// The event's name in the stream; the same as its `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "snapshot",
            Self::Started { .. } => "started",
            Self::Phase { .. } => "phase",
            Self::Warning { .. } => "warning",
            Self::Memory { .. } => "memory",
            Self::Load { .. } => "load",
            Self::CellStarted { .. } => "cell_started",
            Self::Step { .. } => "step",
            Self::CellFinished { .. } => "cell_finished",
            Self::End { .. } => "end",
        }
    }
}

/// The addresses of a run's answers, below the worker's own.
pub mod urls {
    use crate::model::ids::RunId;

    /// `GET`: the run; `DELETE`: cancels it.
    pub fn run(run_id: &RunId) -> String {
        format!("/audit/{run_id}")
    }

    /// Its progress.
    pub fn status(run_id: &RunId) -> String {
        format!("/audit/{run_id}/status")
    }

    /// Its events.
    pub fn events(run_id: &RunId) -> String {
        format!("/audit/{run_id}/events")
    }

    /// Its report.
    pub fn report(run_id: &RunId) -> String {
        format!("/audit/{run_id}/REPORT.md")
    }

    /// The list of its files.
    pub fn files(run_id: &RunId) -> String {
        format!("/audit/{run_id}/files")
    }

    /// One of its files, by name.
    pub fn file(run_id: &RunId, name: &str) -> String {
        format!("/audit/{run_id}/files/{name}")
    }

    /// One of a cell's pictures, by its file's name.
    pub fn picture(run_id: &RunId, file: &str) -> String {
        format!("/audit/{run_id}/cells/{file}")
    }
}

/// A cell's end as an event; `name` as in its files.
pub fn cell_finished(run_id: &RunId, name: &str, state: &CellState) -> RunEvent {
    let timing = state.timing();
    RunEvent::CellFinished {
        cell: name.to_owned(),
        state: state.word().to_owned(),
        wall_secs: timing.and_then(|timing| timing.wall_secs),
        gpu_millis: timing.and_then(|timing| timing.gpu_millis),
        error: crate::report::json::error_of(state).map(str::to_owned),
        image_url: matches!(state, CellState::Done(_))
            .then(|| urls::picture(run_id, &crate::model::run::files::composite(name))),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_same_run_may_be_asked_for_under_a_name_and_in_parts() {
        let ids = r#""user_id": "u", "session_id": "s""#;
        let parse = |rest: &str| parse_request(format!("{{{ids}{rest}}}").as_bytes()).unwrap();
        let plain = parse("");
        assert!(plain.is_same_run(&parse(r#", "run_id": "a", "max_variations": 3"#)));
        assert!(!plain.is_same_run(&parse(r#", "prompt": "grass""#)));
    }

    #[test]
    fn an_events_type_is_its_name_in_the_stream() {
        for event in [
            RunEvent::Started {
                already_done: 0,
                todo: 1,
            },
            RunEvent::Load {
                quant: Quant::new("Q4_0").unwrap(),
            },
            RunEvent::CellStarted {
                cell: "x".to_owned(),
                steps: 1,
            },
            RunEvent::End {
                state: RunState::Done,
                error: None,
                cells: CellCounts::default(),
            },
        ] {
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["type"], event.name());
        }
    }
}
