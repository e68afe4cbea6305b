//! `fill-audit check`: whether a settings file is well, and agrees with its run and weights.

use crate::audit::run_folder::{self, Verification};
use crate::audit::{hash, journal};
use crate::model::approved::{ApprovedSettings, disagreements};
use crate::model::cell::CellKey;
use crate::model::review::ReviewState;
use anyhow::{Context as _, bail};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Verify a settings file, also against the run's pictures and the weights.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The settings file.
    #[arg(default_value = "phase1.toml")]
    pub file: PathBuf,
    /// The folder of the run that it names: its values and the picture's hash are compared.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// A folder with the weights, such as a Hugging Face cache: the file's hash is compared.
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The file cannot be read, or something in it does not agree.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    run_with(args, &mut std::io::stdout())
}

/// Runs the command, writing to `out`.
///
/// # Errors
/// As [`run`].
pub fn run_with(args: &CheckArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let path = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file)
        .with_context(|| format!("the settings file cannot be read: {path}"))?;
    let settings = ApprovedSettings::parse(&text, &path)?;
    writeln!(
        out,
        "ok: {path} is schema {}, {} of run {}, approved by {} on {}",
        settings.schema,
        settings.approval.cell,
        settings.approval.run,
        settings.approval.approved_by,
        settings.approval.approved_at.short()
    )?;
    for one in &settings.approval.overrides {
        writeln!(out, "note: {} was overridden: {}", one.reason, one.because)?;
    }
    let mut problems = Vec::new();
    match &args.run {
        Some(folder) => {
            check_run(&settings, folder, &mut problems, out)?;
            check_journal(&text, folder, &mut problems, out)?;
        }
        None => writeln!(out, "not checked: the run (--run DIR)")?,
    }
    match &args.models {
        Some(folder) => check_weights(&settings, folder, &mut problems, out)?,
        None => writeln!(out, "not checked: the weights (--models DIR)")?,
    }
    if problems.is_empty() {
        return Ok(());
    }
    for problem in &problems {
        writeln!(out, "differs: {problem}")?;
    }
    let count = problems.len();
    let noun = if count == 1 {
        "value does"
    } else {
        "values do"
    };
    bail!("{count} {noun} not agree: {path}")
}

fn check_run(
    settings: &ApprovedSettings,
    folder: &Path,
    problems: &mut Vec<String>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let run = run_folder::open(folder, Verification::Full)?;
    let found = disagreements(settings, &run);
    if found.is_empty() {
        writeln!(out, "ok: every value agrees with the run")?;
    }
    problems.extend(found);
    let Some(recorded) = &settings.approval.image_sha256 else {
        writeln!(
            out,
            "not checked: the picture, whose hash the file does not name"
        )?;
        return Ok(());
    };
    let key = CellKey::parse(&settings.approval.cell, &run.defaults);
    // A cell that is not there is among the disagreements already.
    let Some(key) = key.filter(|key| run.cells.contains_key(key)) else {
        return Ok(());
    };
    let picture = folder.join(run.picture_file(&key));
    match hash::sha256_file(&picture) {
        Ok(digits) if digits == *recorded => {
            writeln!(out, "ok: {} is the approved picture", picture.display())?;
        }
        Ok(digits) => problems.push(format!(
            "the picture's SHA-256 is {recorded} in the file but {digits} on disk: {}",
            picture.display()
        )),
        Err(error) => {
            problems.push(format!(
                "the picture cannot be read ({error}): {}",
                picture.display()
            ));
        }
    }
    Ok(())
}

/// Whether the approval that a journal of the run records wrote just these bytes.
fn check_journal(
    text: &str,
    folder: &Path,
    problems: &mut Vec<String>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let review = ReviewState::replay(journal::read_all(folder)?.events);
    let digits = hash::sha256(text.as_bytes());
    match review.approvals().iter().rfind(|one| one.sha256 == digits) {
        Some(approval) => writeln!(
            out,
            "ok: {}'s journal records the approval that wrote these bytes, on {}",
            approval.reviewer,
            approval.at.short()
        )?,
        None => problems.push(format!(
            "no journal of the run records an approval that wrote these bytes: the file was changed since, \
             or a journal is missing: {}",
            folder.display()
        )),
    }
    Ok(())
}

fn check_weights(
    settings: &ApprovedSettings,
    folder: &Path,
    problems: &mut Vec<String>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let (Some(file), Some(recorded)) = (&settings.model.file, &settings.model.sha256) else {
        writeln!(
            out,
            "not checked: the weights, whose file or hash the settings do not name"
        )?;
        return Ok(());
    };
    let name = Path::new(file)
        .file_name()
        .map_or_else(|| file.into(), ToOwned::to_owned);
    let found = find(folder, &name, 0)
        .with_context(|| format!("the weights cannot be searched: {}", folder.display()))?;
    if found.is_empty() {
        problems.push(format!("{file} is not in {}", folder.display()));
    }
    for path in found {
        let digits = hash::sha256_file(&path)
            .with_context(|| format!("the weights cannot be read: {}", path.display()))?;
        if digits == *recorded {
            writeln!(out, "ok: {} are the approved weights", path.display())?;
        } else {
            problems.push(format!(
                "the weights' SHA-256 is {recorded} in the file but {digits} on disk: {}",
                path.display()
            ));
        }
    }
    Ok(())
}

/// Every file of that name, down to the depth of a Hugging Face cache.
fn find(folder: &Path, name: &std::ffi::OsStr, depth: usize) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Follows links: a cache's snapshots are links to its blobs.
        let is_folder = path.is_dir();
        if !is_folder && entry.file_name() == name {
            found.push(path);
        } else if is_folder && depth < 6 {
            found.extend(find(&path, name, depth + 1)?);
        }
    }
    Ok(found)
}
