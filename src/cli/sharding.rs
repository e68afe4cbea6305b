//! `run --shard`: one share of a run's cells, made beside others that other processes make. They meet in the
//! bucket only.

use super::progress::Progress;
use super::run::{Job, RunArgs, run_part};
use super::uploading::Uploading;
use crate::audit::bucket_run::{BucketRun, Finished, Uploader};
use crate::audit::pipeline_engine::PipelineEngine;
use crate::audit::run_folder;
use crate::audit::{self, AuditError, Ending, OwnedRun, Part};
use crate::model::run::files;
use crate::model::shard::Shard;
use anyhow::{Context as _, bail};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Which task of a Cloud Run job this is, counted from 0; the platform sets it.
const TASK_INDEX: &str = "CLOUD_RUN_TASK_INDEX";
/// How many there are.
const TASK_COUNT: &str = "CLOUD_RUN_TASK_COUNT";
/// How long finished cells may take to the bucket when the task is stopped. Cloud Run gives it ten seconds.
const LAST_UPLOADS: Duration = Duration::from_secs(7);

/// The share that is asked for: on the command line, or by the platform whose task this is.
///
/// # Errors
/// If the platform's numbers are none.
pub fn shard(given: Option<Shard>) -> anyhow::Result<Option<Shard>> {
    if given.is_some() {
        return Ok(given);
    }
    from_variables(|name| std::env::var(name).ok())
}

fn from_variables(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Shard>> {
    let (Some(index), Some(count)) = (variable(TASK_INDEX), variable(TASK_COUNT)) else {
        return Ok(None);
    };
    let number = |name: &str, text: &str| {
        text.parse::<usize>()
            .with_context(|| format!("{name} is no number: {text:?}"))
    };
    let shard = Shard::new(number(TASK_INDEX, &index)?, number(TASK_COUNT, &count)?);
    Ok(Some(shard.with_context(|| {
        format!("{TASK_INDEX} and {TASK_COUNT} do not go together")
    })?))
}

/// The run's folder: its name is what the shares have in common.
///
/// # Errors
/// If the run has no name that the others can know.
pub fn folder_of(args: &RunArgs) -> anyhow::Result<std::path::PathBuf> {
    if args.extend.is_some() {
        bail!(
            "--shard makes what is planned; add the sweep first with --extend RUN --max-cells 1 --push, then \
             give --resume RUN --shard"
        );
    }
    match (&args.run_id, &args.resume) {
        (Some(run_id), _) => Ok(args.out.join(run_id)),
        // By its name where it is not on this disk yet.
        (None, Some(run)) if !run.exists() && run.components().count() == 1 => {
            Ok(args.out.join(run))
        }
        (None, Some(run)) => Ok(run.clone()),
        (None, None) => bail!("--shard needs --run-id ID, the same for all shards"),
    }
}

/// Fetches a run that is to be gone on with and is not in its folder.
///
/// # Errors
/// If the bucket does not have it either.
pub fn bring(uploading: &Uploading, folder: &Path) -> anyhow::Result<()> {
    let run = uploading.bucket_run(folder)?;
    if !run.is_here() {
        let never = CancellationToken::new();
        uploading.runtime().block_on(run.fetch(&never))?;
    }
    Ok(())
}

/// Makes a share and, if nothing is missing then, the report. It ends well where every cell of the share was tried
/// and is in the bucket, also if cells failed.
///
/// # Errors
/// Whatever keeps the share from being made, or from the bucket.
pub fn run(
    args: &RunArgs,
    shard: Shard,
    job: &Job,
    engine: &mut PipelineEngine,
    progress: &mut Progress,
    uploading: &Uploading,
) -> anyhow::Result<u8> {
    let cancel = super::progress::cancel_flag();
    let never = CancellationToken::new();
    let runtime = uploading.runtime();
    let place = uploading.bucket_run(&folder_of(args)?)?;
    let Some(owned) = own(&place, job, engine, progress, uploading, &cancel)? else {
        return Ok(super::EXIT_CANCELLED);
    };
    let planned = audit::planned_cells(&run_folder::read_plan(&owned.folder)?);
    let mine = shard.of(&planned);
    if !args.quiet {
        let text = format!("shard {shard}: {} of {} cells", mine.len(), planned.len());
        writeln!(std::io::stderr(), "{text}")?;
    }
    let part = Part {
        only: Some(mine.into_iter().collect()),
        max_cells: args.max_cells,
    };
    let uploader = Uploader::start(runtime.handle(), place.clone());
    let made = run_part(&owned, &part, engine, progress, &cancel, &mut |_| {
        uploader.nudge();
    });
    let was_stopped = made
        .as_ref()
        .map_or(true, |summary| summary.ending == Ending::Cancelled);
    runtime.block_on(uploader.finish(if was_stopped {
        LAST_UPLOADS
    } else {
        Duration::MAX
    }));
    let summary = match made {
        Ok(summary) => summary,
        Err(AuditError::Cancelled) => return Ok(super::EXIT_CANCELLED),
        Err(error) => return Err(error.into()),
    };
    let mut out = std::io::stdout().lock();
    let shown = owned.folder.display();
    if was_stopped {
        writeln!(out, "{shown}: stopped; the same command goes on")?;
        return Ok(super::EXIT_CANCELLED);
    }
    let finished = runtime.block_on(async {
        place.send(&never).await?;
        place.finish(&never).await
    });
    let finished = finished.with_context(|| {
        format!("the cells of shard {shard} are whole on disk, and the same command sends them")
    })?;
    let (made, failed) = (summary.made, summary.failed);
    let failed = match failed {
        0 => String::new(),
        n => format!(", {n} failed"),
    };
    let then = match finished {
        Finished::OthersAreAtWork { missing } => {
            format!("{missing} cells of the run are still to be made by other shards")
        }
        Finished::WroteReport => "the run is complete and has its report".to_owned(),
        Finished::HadReport => "the run is complete and had its report".to_owned(),
    };
    if args.quiet {
        writeln!(out, "{shown}")?;
    } else {
        writeln!(out, "{shown}: {made} made{failed}; {then}")?;
    }
    // Cells that failed are in the report. A task that ends otherwise is started again, and paid for again.
    Ok(super::EXIT_OK)
}

/// The run's folder, as all shards have it. `None` if it was cancelled before.
fn own(
    place: &BucketRun,
    job: &Job,
    engine: &mut PipelineEngine,
    progress: &mut Progress,
    uploading: &Uploading,
    cancel: &AtomicBool,
) -> anyhow::Result<Option<OwnedRun>> {
    let never = CancellationToken::new();
    let runtime = uploading.runtime();
    let is_there = runtime.block_on(place.is_there())?;
    if is_there {
        runtime.block_on(place.fetch(&never))?;
    }
    if cancel.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let owned = match job {
        Job::Start(request) if place.folder.join(files::RUN).is_file() => {
            audit::start::check_same(&place.folder, request)?;
            audit::resume(&place.folder)?
        }
        Job::Start(request) => {
            let mut observer = |event| progress.show(&event);
            let mut context = audit::AuditContext {
                clock: &jiff::Timestamp::now,
                cancel,
                observer: &mut observer,
            };
            match audit::start(request, engine, &mut context) {
                Ok(owned) => owned,
                Err(AuditError::Cancelled) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Job::Resume(folder) => audit::resume(folder)?,
        Job::Extend(..) => bail!("--shard does not go with --extend"),
    };
    if !is_there {
        runtime.block_on(place.publish(&never))?;
    }
    Ok(Some(owned))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn of(index: Option<&str>, count: Option<&str>) -> anyhow::Result<Option<Shard>> {
        from_variables(|name| match name {
            TASK_INDEX => index.map(str::to_owned),
            _ => count.map(str::to_owned),
        })
    }

    #[test]
    fn a_task_of_a_job_knows_its_share() {
        assert_eq!(of(None, None).unwrap(), None);
        assert_eq!(of(Some("0"), None).unwrap(), None);
        let shard = of(Some("2"), Some("3")).unwrap().unwrap();
        assert_eq!(shard.to_string(), "3/3");
        assert!(of(Some("3"), Some("3")).is_err());
        assert!(of(Some("x"), Some("3")).is_err());
    }
}
