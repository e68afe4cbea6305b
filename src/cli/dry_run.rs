//! `run --dry-run`: the cells, the gates, the memory and the time, and nothing is done.

use super::examination;
use super::run::{Job, RunArgs};
use crate::audit;
use crate::audit::engine::FillEngine as _;
use crate::audit::estimate::{self, Conditions};
use crate::audit::inputs::{SessionInputs, read_subject};
use crate::audit::pipeline_engine::{EngineOptions, PipelineEngine};
use crate::audit::run_folder;
use crate::audit::start::{check_gates, defaults_of, extension_of, widest};
use crate::model::run::{Plan, recipe_tag};
use crate::model::shard::Shard;
use anyhow::{Context as _, bail};
use std::io::Write as _;
use std::path::Path;

/// The gates that the masks of a plan do not pass; the region that must not be touched lies in `folder`.
fn would_refuse(folder: &Path, plan: &Plan, inputs: &SessionInputs) -> anyhow::Result<Vec<String>> {
    let subject = read_subject(folder, inputs)?;
    let subject = subject.as_ref().map(|subject| &subject.mask);
    Ok(check_gates(plan, inputs, subject, Some("dry run"))?)
}

/// Prints what a job would do, and does nothing.
///
/// # Errors
/// Whatever would keep it from being done.
pub(super) fn dry_run(
    args: &RunArgs,
    job: &Job,
    options: &EngineOptions,
    shard: Option<Shard>,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut engine = PipelineEngine::open(options)?;
    let (run, inputs, gates, runs_dir) = match job {
        Job::Start(request) => {
            let inputs = SessionInputs::read(
                &request.session_dir,
                request.inference,
                &widest(&request.plan),
            )?;
            let gates = would_refuse(&request.session_dir, &request.plan, &inputs)?;
            (None, inputs, gates, request.runs_dir.clone())
        }
        Job::Resume(folder) | Job::Extend(folder, _) => {
            let run = run_folder::open(folder, run_folder::Verification::Full)?;
            let document = run.document().context("the run has no run.ron")?;
            let inputs = SessionInputs::of_run(folder, document)?;
            let runs_dir = folder.parent().unwrap_or(Path::new(".")).to_owned();
            let gates = match job {
                Job::Extend(_, request) => {
                    let plan = Plan {
                        matrix: request.matrix.clone(),
                        recipe: request.recipe.clone(),
                    };
                    would_refuse(folder, &plan, &inputs)?
                }
                _ => Vec::new(),
            };
            (Some(run), inputs, gates, runs_dir)
        }
    };
    let (mut keys, defaults) = match (job, &run) {
        (Job::Start(request), _) => (request.plan.matrix.cells(None), defaults_of(&request.plan)),
        (Job::Extend(_, request), Some(run)) => {
            let document = run.document().context("the run has no run.ron")?;
            let extension = extension_of(run, document, request);
            let tag = recipe_tag(&document.plan.recipe, &request.recipe);
            (
                extension.plan.matrix.cells(tag.as_ref()),
                run.defaults.clone(),
            )
        }
        (_, Some(run)) => (run.cells.keys().cloned().collect(), run.defaults.clone()),
        (_, None) => bail!("there is nothing to do"),
    };
    if let Some(shard) = shard {
        let planned = run.as_ref().map(audit::planned_cells);
        keys = shard.of(planned.as_ref().unwrap_or(&keys));
    }
    if let Some(run) = &run {
        keys.retain(|key| {
            run.cells
                .get(key)
                .is_none_or(|state| state.word() != "done")
        });
    }
    let cells = keys.len();
    keys.truncate(args.max_cells.unwrap_or(usize::MAX));
    let (width, height) = inputs.placement.inference_size;
    writeln!(
        out,
        "{cells} cells at {width} x {height} px on {}",
        engine.environment().label()
    )?;
    for key in &keys {
        let star = if key.is_baseline(&defaults) {
            "  * production's baseline"
        } else {
            ""
        };
        writeln!(out, "  {}{star}", key.name(&defaults))?;
    }
    if keys.len() < cells {
        writeln!(
            out,
            "  and {} more in a later go (--max-cells)",
            cells - keys.len()
        )?;
    }
    for gate in gates {
        let gate = gate.replace(" (overridden: dry run)", "");
        let how = if args.override_gates.is_some() {
            "overridden"
        } else {
            "refused"
        };
        writeln!(out, "the mask would be {how}: {gate}")?;
    }
    let prompts = examination::prompts_of(job, run.as_ref());
    examination::write(&mut out, &mut engine, &keys, prompts, (width, height))?;
    let environment = engine.environment();
    let conditions = Conditions {
        environment: &environment,
        matmul: options.matmul,
        inference_px: u64::from(width) * u64::from(height),
        parameters: engine.parameters(&keys),
    };
    writeln!(
        out,
        "time: {}",
        estimate::estimate(&runs_dir, &keys, &conditions)
    )?;
    Ok(())
}
