//! `fill-audit list`: the runs in the bucket and on disk.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use super::bucket::{self, BucketArgs};
use crate::storage::conflict::time_words;
use crate::storage::inbox::{InboxEntry, list_inbox};

/// List the runs in the bucket and on disk
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// Only runs whose id or session contains this
    pub search: Option<String>,
    /// Folder of local runs
    #[arg(long, default_value = "runs", value_name = "DIR")]
    pub runs: PathBuf,
    /// What comes first
    #[arg(long, value_enum, default_value_t = SortBy::Date)]
    pub sort: SortBy,
    /// Only what is on disk
    #[arg(long)]
    pub local: bool,
    /// The bucket
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// Orders of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SortBy {
    /// Newest first
    Date,
    /// By run id
    Run,
    /// By session
    Session,
    /// Most unreviewed cells first
    Unreviewed,
}

/// Runs the command.
///
/// # Errors
/// Settings that cannot be used, a folder that cannot be read; a bucket that does not answer is told below
/// the list of what is on disk.
pub fn run(args: ListArgs) -> anyhow::Result<u8> {
    let how = "nothing was changed";
    bucket::run_until_ctrl_c(how, |cancel| async move {
        bucket::or_stopped(&cancel, list(args)).await
    })
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let config = args.bucket.config()?;
    let cache = args.bucket.cache(&config)?;
    let mut notes = Vec::new();
    let store = if args.local || config.bucket.is_empty() {
        None
    } else {
        match bucket::open(&config).await {
            Ok(store) => Some(store),
            Err(error) => {
                notes.push(format!("{error:#}"));
                None
            }
        }
    };
    let mut inbox = list_inbox(store.as_deref(), &cache, &config, &args.runs, None).await?;
    if let Some(search) = &args.search {
        inbox.entries.retain(|entry| entry.matches(search));
    }
    sort(&mut inbox.entries, args.sort);
    notes.extend(inbox.problem);
    notes.extend(inbox.freshness.and_then(|f| f.words(SystemTime::now())));
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<24} {:<20} {:<14} {:>9} {:>6} {:>10}  state",
        "run", "date", "session", "cells", "failed", "unreviewed"
    )?;
    for entry in &inbox.entries {
        writeln!(out, "{}", line(entry))?;
    }
    for note in notes {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

fn sort(entries: &mut [InboxEntry], by: SortBy) {
    match by {
        SortBy::Date => {} // as it comes
        SortBy::Run => entries.sort_by(|a, b| a.run_id.cmp(&b.run_id)),
        SortBy::Session => entries.sort_by(|a, b| a.session.cmp(&b.session)),
        SortBy::Unreviewed => entries.sort_by_key(|e| std::cmp::Reverse(e.unreviewed)),
    }
}

fn line(entry: &InboxEntry) -> String {
    let mut state = vec![match (&entry.dir, &entry.prefix) {
        (Some(_), Some(_)) => "bucket and disk",
        (None, _) => "bucket",
        (_, None) => "disk",
    }];
    if entry.in_progress {
        state.push("in progress");
    }
    if entry.pull_unfinished {
        state.push("pull unfinished");
    }
    if entry.is_approved {
        state.push("approved");
    }
    let mut state = state.join(", ");
    if let Some(problem) = &entry.problem {
        state.push_str(" — ");
        state.push_str(problem);
    }
    format!(
        "{:<24} {:<20} {:<14} {:>9} {:>6} {:>10}  {state}",
        entry.run_id.as_str(),
        time_words(entry.updated_secs),
        entry.session.as_deref().unwrap_or("unknown"),
        format!("{}/{}", entry.done, entry.total),
        entry.failed,
        entry.unreviewed,
    )
}
