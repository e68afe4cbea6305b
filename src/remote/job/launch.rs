//! What the tasks of a job are told: a run's request as the words of a command line. Everything is said, so
//! that all tasks plan the same, whatever their defaults are.

use crate::audit::RunRequest;
use crate::model::ids::RunId;
use crate::model::run::{InferenceSize, MatmulPath};

/// The device of the job's tasks.
pub const DEVICE: &str = "cuda";

/// What is started.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The run, which all tasks share.
    pub run_id: RunId,
    /// The words after the program's name.
    pub args: Vec<String>,
    /// How many tasks.
    pub tasks: usize,
    /// Cells of the whole run, those that are there already among them.
    pub cells: usize,
    /// Seconds that all tasks may take together, as planned.
    pub planned_secs: f64,
    /// What they may cost, in US dollars, as planned.
    pub planned_usd: f64,
}

fn list<T: ToString>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// The option by which a task knows its run, and by which an execution is known again.
pub fn run_id_arg(run_id: &RunId) -> String {
    format!("--run-id={run_id}")
}

/// The words that make a run of `bucket` out of the session at an address there.
pub fn arguments(session: &str, bucket: &str, run_id: &RunId, request: &RunRequest) -> Vec<String> {
    let matrix = &request.plan.matrix;
    let recipe = &request.plan.recipe;
    let mut args = vec![
        "run".to_owned(),
        format!("--session={session}"),
        run_id_arg(run_id),
        format!("--bucket={bucket}"),
        format!("--device={DEVICE}"),
        "--out=/tmp/runs".to_owned(),
        format!("--quant={}", list(&matrix.quants)),
        format!("--guidance={}", list(&matrix.guidances)),
        format!("--steps={}", list(&matrix.steps)),
        format!("--seed={}", list(&matrix.seeds)),
    ];
    let prompts = matrix
        .prompts
        .iter()
        .filter_map(|index| request.prompts.get(*index));
    args.extend(prompts.map(|prompt| format!("--prompt={prompt}")));
    args.extend([
        format!("--dilate={}", list(&matrix.dilations)),
        format!("--threshold={}", recipe.threshold),
        format!("--despeck={}", recipe.min_component_px),
        format!("--close={}", recipe.close_px),
        format!("--open={}", recipe.open_px),
        format!("--feather={}", recipe.feather_sigma_px),
        format!("--max-coverage={}", recipe.max_coverage),
    ]);
    match request.inference {
        InferenceSize::Whole { long_side_px } => args.push(format!("--size={long_side_px}")),
        InferenceSize::Crop {
            long_side_px,
            margin,
        } => args.extend([
            format!("--crop={long_side_px}"),
            format!("--margin={margin}"),
        ]),
    }
    if request.matmul == MatmulPath::Integer {
        args.push("--integer-kernels".to_owned());
    }
    if let Some(reason) = &request.gates_override {
        args.push(format!("--override-gates={reason}"));
    }
    args
}
