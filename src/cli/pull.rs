//! `fill-audit pull`: a run, or a session, from the bucket into a local folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::bucket::{self, Bar, BucketArgs};
use crate::storage::listing::age_words;
use crate::storage::pull::{Pull, PullEvent, PullOptions, PullReport};
use crate::storage::session;

/// Fetch a run (or a session) from the bucket; run again to resume
#[derive(Debug, Clone, clap::Args)]
pub struct PullArgs {
    /// Run id, or an address: gs://…, or pasted from the Firebase or Google Cloud console
    #[arg(required_unless_present = "session")]
    pub run: Option<String>,
    /// Folder that the run's folder is put into
    #[arg(long, default_value = "runs", value_name = "DIR")]
    pub into: PathBuf,
    /// For a run in progress: look again every so many seconds until its report appears
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "10")]
    pub follow: Option<u64>,
    /// Transfers at a time
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub jobs: u8,
    /// For a file that both sides changed: keep the local one
    #[arg(long, value_name = "FILE[@GENERATION]")]
    pub mine: Vec<String>,
    /// For a file that both sides changed: take the bucket's; the local one is kept hidden beside it
    #[arg(long, value_name = "FILE[@GENERATION]")]
    pub theirs: Vec<String>,
    /// For a file that both sides changed: keep both, the local one under a name of its own
    #[arg(long, value_name = "FILE[@GENERATION]")]
    pub both: Vec<String>,
    /// Fetch a session instead: its address (gs://…), or its id together with --user
    #[arg(long, conflicts_with_all = ["run", "follow", "mine", "theirs", "both"])]
    pub session: Option<String>,
    /// User that the session belongs to
    #[arg(long, requires = "session")]
    pub user: Option<String>,
    /// Folder that the session's folder is put into
    #[arg(long, default_value = "sessions", value_name = "DIR")]
    pub sessions: PathBuf,
    /// The bucket
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// Runs the command.
///
/// # Errors
/// What stopped the pull, or that files failed or wait for a decision.
pub fn run(args: PullArgs) -> anyhow::Result<u8> {
    let how = "what has arrived is kept, and the same command fetches the rest";
    bucket::run_until_ctrl_c(how, |cancel| async move {
        match args.session.clone() {
            Some(session) => {
                let pulling = pull_session(&args, &session);
                bucket::or_stopped(&cancel, pulling).await
            }
            None => pull_run(&args, cancel).await,
        }
    })
}

async fn pull_run(args: &PullArgs, cancel: CancellationToken) -> anyhow::Result<()> {
    let mut config = args.bucket.config()?;
    let run_id = bucket::run_id_of(args.run.as_deref().unwrap_or_default(), &mut config)?;
    let prefix = config.prefix_of_run(&run_id)?;
    let dir = args.into.join(&run_id);
    let (events, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let pull = Pull {
        store: bucket::or_stopped(&cancel, bucket::open(&config)).await?,
        cache: args.bucket.cache(&config)?,
        prefix,
        dir: dir.clone(),
        options: PullOptions {
            at_once: usize::from(args.jobs),
            follow: args.follow.map(|secs| Duration::from_secs(secs.max(1))),
            resolutions: bucket::resolutions(&args.mine, &args.theirs, &args.both),
            ..PullOptions::default()
        },
        events: Some(events),
        cancel,
    };
    let showing = tokio::spawn(async move {
        let bar = Bar::new();
        while let Some(event) = heard.recv().await {
            if let PullEvent::Progress(progress) = event {
                bar.show(&progress);
            }
        }
        bar.clear();
    });
    let result = pull.run().await;
    drop(pull);
    showing.await?;
    say(&result?, &dir)
}

fn say(report: &PullReport, dir: &Path) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} fetched, {} unchanged, {} journals merged: {}",
        report.arrived.len(),
        report.unchanged,
        report.merged.len(),
        dir.display()
    )?;
    if let Some(words) = &report.offline {
        writeln!(out, "{words}")?;
    }
    if report.in_progress {
        writeln!(
            out,
            "the run is in progress (it has no REPORT.md yet); --follow waits for the rest"
        )?;
    }
    for file in &report.kept_mine {
        writeln!(out, "changed only here, kept: {file}")?;
    }
    for skipped in &report.skipped {
        writeln!(out, "skipped: {skipped}")?;
    }
    for conflict in &report.conflicts {
        writeln!(out, "{}", bucket::choice_words(conflict))?;
    }
    for (file, error) in &report.failed {
        writeln!(out, "failed: {file}: {error}")?;
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

async fn pull_session(args: &PullArgs, session: &str) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let (placed, dir) =
        fetch_session(&args.bucket, session, args.user.as_deref(), &args.sessions).await?;
    let took = started.elapsed();
    writeln!(
        std::io::stdout(),
        "{placed} files in {}: {}",
        age_words(took),
        dir.display()
    )?;
    Ok(())
}

/// Fetches the session that an address, or an id with its user, names into a folder of its name below
/// `sessions`. How many files it has, and the folder.
///
/// # Errors
/// What is wrong with the address, or what stopped the pull.
pub async fn fetch_session(
    args: &BucketArgs,
    session: &str,
    user: Option<&str>,
    sessions: &Path,
) -> anyhow::Result<(usize, PathBuf)> {
    let mut config = args.config()?;
    let prefix = if session.contains("://") {
        let location = session::prefix_of_address(session)?;
        config.bucket = location.bucket;
        location.name
    } else if let Some(user) = user {
        config.prefix_of_session(user, session)?
    } else {
        anyhow::bail!(
            "whose session {session:?} is, is not known: give --user ID, or its gs:// address"
        )
    };
    let name = prefix
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    crate::storage::name::check_run_id(name)?; // the same rule makes it a folder's name
    let dir = sessions.join(name);
    let store = bucket::open(&config).await?;
    let cache = args.cache(&config)?;
    let placed = session::pull_session_at(&*store, &cache, &prefix, &dir).await?;
    Ok((placed.len(), dir))
}
