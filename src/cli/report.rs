//! `fill-audit report`: writes a run's report and contact sheet again.

use super::bucket::{self, BucketArgs};
use super::{run_folder_of, uploading};
use crate::audit::report_file::ReportLinks;
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
    /// Sign the links to the run's pictures in the bucket again, and write the report with them; a push
    /// sends it.
    #[arg(long)]
    pub renew_links: bool,
    /// The bucket.
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// Runs the command.
///
/// # Errors
/// If the run cannot be opened, a file cannot be written, or the report is the Python service's own.
pub fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let folder = run_folder_of(&args.run, Path::new("runs"));
    let links = if args.renew_links {
        Some(renewed_links(args, &folder)?)
    } else {
        None
    };
    let mut out = std::io::stdout().lock();
    match &args.out {
        Some(path) => {
            let run = run_folder::open(&folder, Verification::Full)?;
            let text = report_file::text(&folder, &run, None, links.as_ref());
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
            report_file::write_with(&folder, links.as_ref())?;
            writeln!(out, "{}", folder.join(files::REPORT).display())?;
        }
    }
    let is_printed = args.out.as_ref().is_some_and(|out| out.as_os_str() == "-");
    if let Some(links) = links.filter(|_| !is_printed) {
        writeln!(out, "{}", links.sentence)?;
    }
    if let Some(given) = &args.contact_sheet {
        let path = given.clone().unwrap_or_else(|| folder.join(CONTACT_SHEET));
        contact_sheet::write(&folder, &path)?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

/// Links to the run's pictures where the run was fetched from or sent to.
fn renewed_links(args: &ReportArgs, folder: &Path) -> anyhow::Result<ReportLinks> {
    let mut config = args.bucket.config()?;
    let prefix = bucket::prefix_of_folder(folder, &mut config)?;
    if let Some(bucket) = args.bucket.named() {
        bucket.clone_into(&mut config.bucket);
    }
    bucket::runtime()?.block_on(async {
        let store = bucket::open(&config).await?;
        uploading::links_to_pictures(&*store, &prefix, folder)
            .await
            .context("the links cannot be renewed")
    })
}
