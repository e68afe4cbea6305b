//! `fill-audit view`: opens the window.

use super::bucket::BucketArgs;
use super::{assets, run_folder_of};
use crate::app::open_window;
use anyhow::bail;
use std::path::{Path, PathBuf};

/// Open the window on a run, or on the inbox.
#[derive(Debug, Clone, clap::Args)]
pub struct ViewArgs {
    /// The run's folder, or its name below the folder of runs; or its address in a bucket (gs://…).
    pub run: Option<PathBuf>,
    /// Where runs are kept [default: the window's setting].
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
    /// Where approved settings are written [default: the window's setting].
    #[arg(long, value_name = "FILE")]
    pub phase1: Option<PathBuf>,
    /// Who reviews [default: the window's setting].
    #[arg(long, value_name = "NAME", env = "FILL_AUDIT_REVIEWER")]
    pub reviewer: Option<String>,
    /// The bucket.
    #[command(flatten)]
    pub bucket: BucketArgs,
    /// Folder of queued uploads [default: the user's folder for program state].
    #[arg(long, env = "FILL_AUDIT_QUEUE", value_name = "DIR")]
    pub queue: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If the run is not there, or there is no display.
pub fn run(args: &ViewArgs) -> anyhow::Result<()> {
    let runs_dir = args.runs.clone().unwrap_or_else(|| PathBuf::from("runs"));
    let target = args.run.as_ref().map(|run| run_folder_of(run, &runs_dir));
    let is_address = |target: &Path| target.to_string_lossy().contains("://");
    let folder = target.as_ref().filter(|target| !is_address(target));
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        bail!(
            "there is no such run: {} (fill-audit --help lists the subcommands)",
            folder.display()
        );
    }
    let mut services = assets::services();
    services.runs_dir.clone_from(&args.runs);
    services.phase1_path.clone_from(&args.phase1);
    services.reviewer.clone_from(&args.reviewer);
    services.storage.bucket = args.bucket.named().map(str::to_owned);
    if let Some(path) = &args.bucket.storage_config {
        services.storage.config_path = Some(path.clone());
    }
    if let Some(dir) = &args.bucket.cache {
        services.storage.cache_dir = Some(dir.clone());
    }
    if let Some(dir) = &args.queue {
        services.storage.queue_dir = Some(dir.clone());
    }
    open_window(target, services)?;
    Ok(())
}
