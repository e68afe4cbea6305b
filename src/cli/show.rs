//! `fill-audit show`: prints a run as a table or as JSON.

use super::run_folder_of;
use crate::audit::estimate::duration;
use crate::audit::run_folder::{self, Verification};
use crate::model::cell::{Baseline, CellKey};
use crate::model::ids::SessionId;
use crate::model::matrix::Axis;
use crate::model::run::{CellState, Environment, Run};
use crate::report::json::{ShownRun, error_of};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Print what became of each cell of a run.
///
/// Every picture is read and held against its hash. A run of the Python service is shown as well; what
/// it does not say is unknown.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowArgs {
    /// The run's folder, or its name below ./runs.
    pub run: PathBuf,
    /// Print JSON; what is unknown is null.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// # Errors
/// If the folder holds no run, or its `run.ron` cannot be understood.
pub fn run(args: &ShowArgs) -> anyhow::Result<()> {
    let folder = run_folder_of(&args.run, Path::new("runs"));
    let run = run_folder::open(&folder, Verification::Full)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        print_json(&run, &mut out)
    } else {
        print_table(&run, &mut out)
    }
}

fn print_json(run: &Run, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &ShownRun::of(run))?;
    writeln!(out)?;
    Ok(())
}

fn print_table(run: &Run, out: &mut dyn Write) -> anyhow::Result<()> {
    let session = run.session.as_ref().map_or("unknown", SessionId::as_str);
    writeln!(out, "run {}   session {session}", run.run_id)?;
    let device = run
        .environment
        .as_ref()
        .map_or("unknown".to_owned(), Environment::label);
    writeln!(out, "on {device}")?;
    if !run.expected.is_empty() {
        writeln!(out, "expected: {}", run.expected)?;
    }
    writeln!(out)?;
    let extra: Vec<Axis> = [Axis::Seed, Axis::Prompt, Axis::Dilation]
        .into_iter()
        .filter(|axis| run.axis_values(*axis).len() > 1)
        .collect();
    let mut rows = vec![header(&extra)];
    for (key, state) in &run.cells {
        rows.push(row(run, key, state, &extra));
    }
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (index, text) in row.iter().enumerate() {
            match widths.get_mut(index) {
                Some(width) => *width = (*width).max(text.chars().count()),
                None => widths.push(text.chars().count()),
            }
        }
    }
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    writeln!(out, "\n{}", crate::report::markdown::counts(run))?;
    let secs: f64 = run
        .cells
        .values()
        .filter_map(|state| state.timing().and_then(|timing| timing.wall_secs))
        .sum();
    if secs > 0.0 {
        writeln!(out, "{} in all, loading aside", duration(secs))?;
    }
    match run.baseline_key().and_then(|key| run.baseline(key)) {
        Some(Baseline::Exact) => writeln!(out, "★ is production's baseline")?,
        Some(Baseline::OtherSteps) => {
            writeln!(
                out,
                "★ stands in for production's baseline, which has 28 steps"
            )?;
        }
        None => {}
    }
    for warning in &run.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

fn header(extra: &[Axis]) -> Vec<String> {
    let mut row = ["", "cell", "quant", "guidance", "steps"]
        .map(str::to_owned)
        .to_vec();
    row.extend(extra.iter().map(|axis| axis.label().to_owned()));
    row.extend(["state", "wall", "GPU", ""].map(str::to_owned));
    row
}

fn row(run: &Run, key: &CellKey, state: &CellState, extra: &[Axis]) -> Vec<String> {
    let timing = run.timing_of(key);
    let star = if run.baseline(key).is_some() {
        "★"
    } else {
        ""
    };
    let mut row = vec![
        star.to_owned(),
        run.cell_name(key),
        key.quant.to_string(),
        key.guidance.to_string(),
        key.steps.to_string(),
    ];
    row.extend(
        extra
            .iter()
            .map(|axis| axis.value_of(key).label(&run.prompts)),
    );
    let wall = timing.and_then(|timing| timing.wall_secs);
    let gpu = timing.and_then(|timing| timing.gpu_millis);
    row.push(state.word().to_owned());
    row.push(wall.map_or("-".to_owned(), |secs| format!("{secs:.2} s")));
    row.push(gpu.map_or("-".to_owned(), |millis| format!("{millis:.0} ms")));
    row.push(error_of(state).unwrap_or_default().to_owned());
    row
}
