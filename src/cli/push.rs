//! `fill-audit push`: a local run, its review and its settings into the bucket.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::bucket::{self, Bar, BucketArgs};
use crate::storage::push::{Push, PushEvent, PushOptions, PushReport};
use crate::storage::queue::UploadQueue;
use crate::storage::{StorageConfig, StorageError, Store};

/// Send a run, its review and its settings to the bucket; run again to resume
#[derive(Debug, Clone, clap::Args)]
pub struct PushArgs {
    /// The run's folder
    #[arg(required_unless_present = "queued")]
    pub run_dir: Option<PathBuf>,
    /// Settings file to send along as phase1.toml
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Send what was queued while there was no network
    #[arg(long)]
    pub queued: bool,
    /// Transfers at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub jobs: u8,
    /// For a file that both sides changed: keep the local one and replace the bucket's
    #[arg(long, value_name = "FILE")]
    pub mine: Vec<String>,
    /// For a file that both sides changed: take the bucket's; the local one is kept hidden beside it
    #[arg(long, value_name = "FILE")]
    pub theirs: Vec<String>,
    /// For a file that both sides changed: keep both, the local one under a name of its own
    #[arg(long, value_name = "FILE")]
    pub both: Vec<String>,
    /// Folder of queued uploads (default: the user's folder for program state)
    #[arg(long, env = "FILL_AUDIT_QUEUE", value_name = "DIR")]
    pub queue: Option<PathBuf>,
    /// The bucket
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// Runs the command.
///
/// # Errors
/// What stopped the push, or that files failed or wait for a decision. Without a network the run is queued.
pub fn run(args: PushArgs) -> anyhow::Result<u8> {
    let how = "what was sent stays, and the same command sends the rest";
    bucket::run_until_ctrl_c(how, |cancel| async move {
        let config = args.bucket.config()?;
        let queue = args.queue.clone().or_else(UploadQueue::default_dir);
        let queue = queue.context("no folder for queued uploads is known: give --queue DIR")?;
        let queue = UploadQueue::new(queue);
        let store = bucket::or_stopped(&cancel, bucket::open(&config)).await?;
        if args.queued {
            push_queued(&queue, &store, &cancel).await?;
        }
        match &args.run_dir {
            Some(dir) => {
                let push = push_of(&args, dir, &config, store, cancel)?;
                send(&push, &queue, false).await
            }
            None => Ok(()),
        }
    })
}

fn push_of(
    args: &PushArgs,
    dir: &Path,
    config: &StorageConfig,
    store: Arc<dyn Store>,
    cancel: CancellationToken,
) -> anyhow::Result<Push> {
    Ok(Push {
        store,
        prefix: config.prefix_of_run(&bucket::run_id_of_folder(dir)?)?,
        dir: dir.to_owned(),
        options: PushOptions {
            at_once: usize::from(args.jobs),
            resolutions: bucket::resolutions(&args.mine, &args.theirs, &args.both),
            extra: args
                .settings
                .iter()
                .map(|f| ("phase1.toml".to_owned(), f.clone()))
                .collect(),
        },
        events: None,
        cancel,
    })
}

/// Sends a run with a bar on the terminal, and says what became of it. Without a network it is queued.
///
/// # Errors
/// What stopped the push, or that files failed or wait for a decision.
pub async fn send(push: &Push, queue: &UploadQueue, is_quiet: bool) -> anyhow::Result<()> {
    let (events, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut push = push.clone();
    push.events = Some(events);
    let showing = tokio::spawn(async move {
        let bar = Bar::new();
        while let Some(event) = heard.recv().await {
            if let PushEvent::Progress(progress) = event
                && !is_quiet
            {
                bar.show(&progress);
            }
        }
        bar.clear();
    });
    let result = push.run().await;
    push.events = None;
    showing.await?;
    match result {
        Ok(report) if is_quiet && report.is_complete() => Ok(()),
        Ok(report) => say(&report, &push.dir),
        Err(error) if error.is_offline() => {
            queue.add(&push)?;
            let said = format!(
                "{error}\nqueued: `fill-audit push --queued` sends {}",
                push.dir.display()
            );
            if is_quiet {
                writeln!(std::io::stderr(), "{said}")?;
            } else {
                writeln!(std::io::stdout(), "{said}")?;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

async fn push_queued(
    queue: &UploadQueue,
    store: &Arc<dyn Store>,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    let results = queue.send_all(store, cancel).await?;
    if cancel.is_cancelled() {
        return Err(StorageError::Cancelled.into());
    }
    if results.is_empty() {
        writeln!(std::io::stdout(), "nothing is queued for {}", store.place())?;
    }
    let mut failed = 0;
    for (entry, result) in results {
        let said = result
            .map_err(anyhow::Error::from)
            .and_then(|report| say(&report, &entry.dir));
        if let Err(error) = said {
            failed += 1;
            writeln!(
                std::io::stdout(),
                "still queued: {}: {error:#}",
                entry.dir.display()
            )?;
        }
    }
    if failed > 0 {
        anyhow::bail!("{failed} queued runs were not sent");
    }
    Ok(())
}

fn say(report: &PushReport, dir: &Path) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} sent, {} unchanged, {} journals merged: {}",
        report.sent.len(),
        report.unchanged,
        report.merged.len(),
        dir.display()
    )?;
    for file in &report.newer_there {
        writeln!(out, "newer in the bucket, pull to get it: {file}")?;
    }
    for conflict in &report.conflicts {
        writeln!(
            out,
            "{} (--mine {f} or --theirs {f} or --both {f})",
            conflict.words(),
            f = conflict.file
        )?;
    }
    for (file, error) in &report.failed {
        writeln!(out, "failed: {file}: {error}")?;
    }
    if report.report_held_back {
        writeln!(
            out,
            "REPORT.md was held back: it says that the run is whole"
        )?;
    }
    if report.is_complete() {
        return Ok(());
    }
    anyhow::bail!(
        "{} files failed and {} wait for a decision; run the command again to go on",
        report.failed.len(),
        report.conflicts.len()
    )
}
