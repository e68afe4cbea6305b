//! `fill-audit push`: a local run, its review and its settings into the bucket.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::bucket::{self, Bar, BucketArgs};
use crate::audit::report_links;
use crate::storage::push::{Push, PushEvent, PushOptions, PushReport};
use crate::storage::queue::UploadQueue;
use crate::storage::{Location, StorageConfig, StorageError, Store, approved_file};

/// Send a run, its review and its settings to the bucket; run again to resume
#[derive(Debug, Clone, clap::Args)]
pub struct PushArgs {
    /// The run's folder
    #[arg(required_unless_present = "queued")]
    pub run_dir: Option<PathBuf>,
    /// Settings file to send along as phase1.toml (default: ./phase1.toml, if it was approved from this run)
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Send what was queued while there was no network
    #[arg(long)]
    pub queued: bool,
    /// Transfers at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub jobs: u8,
    /// For a file that both sides changed: keep the local one and replace the bucket's
    #[arg(long, value_name = "FILE[@GENERATION]")]
    pub mine: Vec<String>,
    /// For a file that both sides changed: take the bucket's; the local one is kept hidden beside it
    #[arg(long, value_name = "FILE[@GENERATION]")]
    pub theirs: Vec<String>,
    /// For a file that both sides changed: keep both, the local one under a name of its own
    #[arg(long, value_name = "FILE[@GENERATION]")]
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
        let queue = args.queue.clone().or_else(UploadQueue::default_dir);
        let queue = queue.context("no folder for queued uploads is known: give --queue DIR")?;
        let queue = UploadQueue::new(queue);
        if args.queued {
            push_queued(&queue, &args.bucket, &cancel).await?;
        }
        match &args.run_dir {
            Some(dir) => {
                let (config, prefix) = target(&args.bucket, dir)?;
                let store = bucket::or_stopped(&cancel, bucket::open(&config)).await?;
                let push = push_of(&args, dir, prefix, store, cancel);
                send(&push, &queue, false).await
            }
            None => Ok(()),
        }
    })
}

/// The bucket and the prefix that the run in `dir` goes to: where it came from or went before, or else where
/// the settings say. A bucket that is named goes before, with the prefix that the settings give there. A
/// folder under another name than the run's that it was copied from is a run of its own.
fn target(args: &BucketArgs, dir: &Path) -> anyhow::Result<(StorageConfig, String)> {
    let usual = args.config()?;
    let run_id = bucket::run_id_of_folder(dir)?;
    let mut origin = usual.clone();
    if args.named().is_none() {
        let prefix = bucket::prefix_of_folder(dir, &mut origin)?;
        if prefix.ends_with(&format!("/{run_id}/")) {
            return Ok((origin, prefix));
        }
    }
    let prefix = usual.prefix_of_run(&run_id)?;
    Ok((usual, prefix))
}

fn push_of(
    args: &PushArgs,
    dir: &Path,
    prefix: String,
    store: Arc<dyn Store>,
    cancel: CancellationToken,
) -> Push {
    Push {
        store,
        prefix,
        dir: dir.to_owned(),
        options: PushOptions {
            at_once: usize::from(args.jobs),
            resolutions: bucket::resolutions(&args.mine, &args.theirs, &args.both),
            extra: settings_of(dir, args.settings.as_deref()),
        },
        events: None,
        cancel,
    }
}

/// The settings that go up with the run in `dir`: the file that is named, or else `phase1.toml` of the working
/// folder, if it was approved from this run.
pub fn settings_of(dir: &Path, named: Option<&Path>) -> Vec<(String, PathBuf)> {
    let file = match named {
        Some(file) => Some(file.to_owned()),
        None => approved_file::of_run(dir, Path::new(approved_file::FILE_NAME)),
    };
    file.into_iter()
        .map(|file| (approved_file::FILE_NAME.to_owned(), file))
        .collect()
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
    let result = report_links::push(&push).await;
    push.events = None;
    showing.await?;
    match result {
        Ok(report) => {
            if report.is_complete()
                && let Err(error) = queue.remove_push(&push)
            {
                tracing::warn!(%error, "a run that was sent stays in the queue");
            }
            if is_quiet && report.is_complete() {
                return Ok(());
            }
            say(&report, &push.dir)
        }
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

/// Sends what waits, each run to its own bucket; only to the named one, where one is named.
async fn push_queued(
    queue: &UploadQueue,
    args: &BucketArgs,
    cancel: &CancellationToken,
) -> anyhow::Result<()> {
    let mut config = args.config()?;
    let named = args
        .named()
        .map(|bucket| bucket.trim_start_matches("gs://"));
    let named = named.map(|bucket| bucket.trim_end_matches('/'));
    let buckets: BTreeSet<String> = queue
        .entries()?
        .into_iter()
        .filter_map(|entry| Location::parse(&entry.place).ok())
        .map(|location| location.bucket)
        .filter(|bucket| named.is_none_or(|named| named == bucket))
        .collect();
    if buckets.is_empty() {
        let to = named.map_or(String::new(), |named| format!(" for gs://{named}"));
        writeln!(std::io::stdout(), "nothing is queued{to}")?;
    }
    let mut failed = 0;
    for bucket in buckets {
        config.bucket = bucket;
        let store = bucket::or_stopped(cancel, bucket::open(&config)).await?;
        let results = queue.send_all(&store, cancel, report_links::push).await?;
        if cancel.is_cancelled() {
            return Err(StorageError::Cancelled.into());
        }
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
        writeln!(out, "{}", bucket::choice_words(conflict))?;
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
