//! `fill-audit report`: writes a run's report and contact sheet again.

use super::run_folder_of;
use crate::audit::run_folder::{self, Verification};
use crate::audit::{CONTACT_SHEET, atomic, contact_sheet, report_file};
use crate::model::run::files;
use anyhow::Context as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Write a run's REPORT.md again, or its contact sheet.
#[derive(Debug, Clone, clap::Args)]
pub struct ReportArgs {
    /// The run's folder, or its name below ./runs.
    pub run: PathBuf,
    /// Write the report there instead of into the run; `-` prints it.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Also write a contact sheet [default: `contact_sheet.png` in the run].
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub contact_sheet: Option<Option<PathBuf>>,
}

/// Runs the command.
///
/// # Errors
/// If the run cannot be opened, a file cannot be written, or the report is the Python service's own.
pub fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let folder = run_folder_of(&args.run, Path::new("runs"));
    let mut out = std::io::stdout().lock();
    match &args.out {
        Some(path) => {
            let run = run_folder::open(&folder, Verification::Full)?;
            let text = report_file::text(&folder, &run, None);
            if path.as_os_str() == "-" {
                write!(out, "{text}")?;
            } else {
                atomic::write(path, text.as_bytes())
                    .with_context(|| format!("the report cannot be written: {}", path.display()))?;
                writeln!(out, "{}", path.display())?;
            }
        }
        // A service's run keeps its report; a contact sheet can be had of it all the same.
        None if args.contact_sheet.is_some() && !folder.join(files::RUN).exists() => {}
        None => {
            report_file::write(&folder)?;
            writeln!(out, "{}", folder.join(files::REPORT).display())?;
        }
    }
    if let Some(given) = &args.contact_sheet {
        let path = given.clone().unwrap_or_else(|| folder.join(CONTACT_SHEET));
        contact_sheet::write(&folder, &path)?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}
