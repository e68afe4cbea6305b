//! `fill-audit models check`.

use crate::pipeline::{Finding, ModelFolder, Severity};
use anyhow::bail;
use std::io::Write;
use std::path::PathBuf;

/// Look at every file of a model, and say what is wrong with each.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The model's folder, or a Hugging Face cache.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Only what a run with these quantizations needs.
    #[arg(long, value_name = "Q", value_delimiter = ',')]
    pub quant: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// If something is wrong with the model, so that a run with it would fail.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    let folder = ModelFolder::open(&args.dir)?;
    let findings = if args.quant.is_empty() {
        folder.check()
    } else {
        let quants: Vec<&str> = args.quant.iter().map(String::as_str).collect();
        folder.check_for(&quants)
    };
    write_findings(&mut std::io::stdout().lock(), &findings)?;
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    if errors > 0 {
        let noun = if errors == 1 { "file is" } else { "files are" };
        bail!(
            "{errors} {noun} missing or not as they should be: {}",
            folder.root().display()
        );
    }
    Ok(())
}

/// A line for each, the worst last, where a person looks.
pub(super) fn write_findings(out: &mut dyn Write, findings: &[Finding]) -> std::io::Result<()> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.severity);
    for finding in sorted {
        let word = match finding.severity {
            Severity::Note => "ok",
            Severity::Warning => "warning",
            Severity::Error => "ERROR",
        };
        let file = finding.file.display().to_string();
        // Errors of files name them already.
        if finding.message.contains(&file) {
            writeln!(out, "{word:<8} {}", finding.message)?;
        } else {
            writeln!(out, "{word:<8} {}: {file}", finding.message)?;
        }
    }
    Ok(())
}
