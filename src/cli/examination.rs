//! What a dry run says of files and memory, before anything is loaded.

use super::run::Job;
use crate::audit::engine::{EngineEvent, FillEngine as _, RunNeeds};
use crate::audit::pipeline_engine::PipelineEngine;
use crate::model::cell::{CellKey, Quant};
use crate::model::run::Run;
use std::io::Write;
use std::ops::ControlFlow;

/// The prompts that a job embeds.
pub(super) fn prompts_of<'a>(job: &'a Job, run: Option<&'a Run>) -> &'a [String] {
    match (job, run) {
        (Job::Start(request), _) => &request.prompts,
        (Job::Extend(_, request), _) => &request.prompts,
        (Job::Resume(_), Some(run)) => &run.prompts,
        (Job::Resume(_), None) => &[],
    }
}

/// What keeps the cells from being made, what is odd, and what each stage needs in memory.
///
/// # Errors
/// If nothing can be printed.
pub(super) fn write(
    out: &mut dyn Write,
    engine: &mut PipelineEngine,
    keys: &[CellKey],
    prompts: &[String],
    size_px: (u32, u32),
) -> anyhow::Result<()> {
    let mut quants: Vec<Quant> = Vec::new();
    for key in keys {
        if !quants.contains(&key.quant) {
            quants.push(key.quant.clone());
        }
    }
    let needs = RunNeeds {
        quants: &quants,
        prompts,
        size_px,
    };
    let mut go_on = |_: EngineEvent| ControlFlow::Continue(());
    let found = engine.examine(&needs, &mut go_on)?;
    for error in &found.errors {
        writeln!(out, "would be refused: {error}")?;
    }
    for warning in &found.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out, "memory:")?;
    for line in &found.memory {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}
