//! A run that goes up, and what waits on disk for the network.

use super::connection::Connection;
use super::{BucketOutbox, words};
use crate::audit::report_links;
use crate::state::bucket::BucketEvent;
use crate::state::bucket::transfer::{Moved, PushOutcome, PushRequest};
use crate::storage::StorageError;
use crate::storage::push::{Push, PushEvent, PushOptions, PushReport};
use crate::storage::sync_state::SyncState;
use crate::storage::{Location, Store, approved_file};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc::unbounded_channel;
use tokio_util::sync::CancellationToken;

pub(super) async fn push(
    connection: &Connection,
    outbox: &BucketOutbox,
    request: PushRequest,
    cancel: CancellationToken,
) {
    let job = request.job;
    let result = push_now(connection, outbox, request, cancel).await;
    outbox.send(BucketEvent::PushEnded(job, result));
}

async fn push_now(
    connection: &Connection,
    outbox: &BucketOutbox,
    request: PushRequest,
    cancel: CancellationToken,
) -> Result<PushOutcome, String> {
    let finding = target(connection, &request.dir);
    let (store, prefix) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ok(PushOutcome { was_stopped: true, ..PushOutcome::default() }),
        found = finding => found?,
    };
    let place = format!("{}/{prefix}", store.place());
    let (sender, mut events) = unbounded_channel();
    let mut push = Push {
        store,
        prefix,
        dir: request.dir.clone(),
        options: PushOptions {
            resolutions: words::resolutions(&request.choices),
            extra: approved_file::of_run(&request.dir, &request.phase1_path)
                .into_iter()
                .map(|path| (approved_file::FILE_NAME.to_owned(), path))
                .collect(),
            ..PushOptions::default()
        },
        events: Some(sender),
        cancel,
    };
    let telling = {
        let (outbox, job) = (outbox.clone(), request.job);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let PushEvent::Progress(progress) = event {
                    let moved = Moved {
                        progress: words::progress(progress),
                        ..Moved::default()
                    };
                    outbox.send(BucketEvent::PushMoved(job, Box::new(moved)));
                }
            }
        })
    };
    let result = report_links::push(&push).await;
    push.events = None;
    let _ = telling.await;
    let outcome = match result {
        Ok(report) => {
            let outcome = outcome(&report, place);
            if report.is_complete() {
                forget(connection, &push);
            }
            outcome
        }
        Err(StorageError::Cancelled) => PushOutcome {
            place,
            was_stopped: true,
            ..PushOutcome::default()
        },
        Err(error) if error.is_offline() => PushOutcome {
            place,
            queued: Some(wait_for_network(connection, &push, &error)?),
            ..PushOutcome::default()
        },
        Err(error) => return Err(error.to_string()),
    };
    Ok(outcome)
}

/// Where a run goes: to where it came from, or else to where the settings say.
async fn target(connection: &Connection, dir: &Path) -> Result<(Arc<dyn Store>, String), String> {
    let config = connection.config()?;
    let absolute = std::path::absolute(dir).map_err(|error| error.to_string())?;
    let run_id = absolute
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let usual = config
        .prefix_of_run(run_id)
        .map_err(|error| error.to_string())?;
    let origin = SyncState::place_of(dir);
    let named = origin
        .as_deref()
        .and_then(|place| Location::parse(place).ok())
        .filter(|location| location.bucket != config.bucket);
    let store = connection.store(named.as_ref().map(|location| location.bucket.as_str()));
    let store = store.await.map_err(|problem| problem.to_string())?;
    let store =
        store.ok_or_else(|| "no bucket is configured: name one in Settings, Storage".to_owned())?;
    let from_there = origin.and_then(|place| {
        let rest = place.strip_prefix(&format!("{}/", store.place()))?;
        Some(rest.to_owned())
    });
    Ok((store, from_there.unwrap_or(usual)))
}

fn wait_for_network(
    connection: &Connection,
    push: &Push,
    error: &StorageError,
) -> Result<String, String> {
    let queue = connection
        .queue()
        .ok_or_else(|| format!("{error}; no folder for waiting uploads is known"))?;
    queue
        .add(push)
        .map_err(|problem| format!("{error}; and it cannot wait on disk: {problem}"))?;
    Ok(error.to_string())
}

/// What went up need not wait any longer.
fn forget(connection: &Connection, push: &Push) {
    let Some(queue) = connection.queue() else {
        return;
    };
    if let Err(error) = queue.remove_push(push) {
        tracing::warn!(%error, "a run that was sent stays in the queue");
    }
}

fn outcome(report: &PushReport, place: String) -> PushOutcome {
    PushOutcome {
        place,
        was_stopped: false,
        queued: None,
        sent: report.sent.len(),
        unchanged: report.unchanged,
        merged: report.merged.len(),
        newer_there: report.newer_there.clone(),
        conflicts: report.conflicts.iter().map(words::conflict).collect(),
        failed: words::reasons(&report.failed),
        is_report_held_back: report.report_held_back,
    }
}

/// Sends what waits, each to its own bucket.
pub(super) async fn queue(
    connection: &Connection,
    outbox: &BucketOutbox,
    cancel: &CancellationToken,
) {
    outbox.send(BucketEvent::QueueSent(send_queue(connection, cancel).await));
}

async fn send_queue(connection: &Connection, cancel: &CancellationToken) -> Vec<(String, bool)> {
    let Some(queue) = connection.queue() else {
        return vec![("no folder for waiting uploads is known".to_owned(), false)];
    };
    let entries = match queue.entries() {
        Ok(entries) => entries,
        Err(error) => return vec![(error.to_string(), false)],
    };
    let mut said = Vec::new();
    let places: BTreeSet<String> = entries.into_iter().map(|entry| entry.place).collect();
    for place in places {
        let named = Location::parse(&place).ok().map(|location| location.bucket);
        let store = match connection.store(named.as_deref()).await {
            Ok(Some(store)) => store,
            Ok(None) => continue,
            Err(problem) => {
                said.push((format!("still waiting: {problem}"), false));
                continue;
            }
        };
        match queue.send_all(&store, cancel, report_links::push).await {
            Err(error) => said.push((error.to_string(), false)),
            Ok(results) => said.extend(results.into_iter().map(|(entry, result)| {
                let run = entry.dir.display();
                match result {
                    Ok(report) if report.is_complete() => {
                        (format!("sent: {run} ({} files)", report.sent.len()), true)
                    }
                    Ok(report) => {
                        let (failed, undecided) = (report.failed.len(), report.conflicts.len());
                        let sentence = format!(
                            "still waiting: {run}: {failed} files failed and {undecided} wait for a \
                             decision; open the run and send it"
                        );
                        (sentence, false)
                    }
                    Err(error) => (format!("still waiting: {run}: {error}"), false),
                }
            })),
        }
    }
    said
}
