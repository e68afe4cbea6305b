//! Addresses of a run's pictures in the bucket, put into its report before the report goes there.

use super::report_file::{self, ReportLinks};
use super::run_folder::{self, Verification};
use crate::model::run::{CellState, Run, files};
use crate::storage::files::write_atomic;
use crate::storage::links::{self, Links};
use crate::storage::push::{Push, PushReport};
use crate::storage::store::LinkKind;
use crate::storage::sync_state::SyncState;
use crate::storage::{ObjectName, Result, StorageError, Store};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::path::Path;

/// Links to the pictures of `run` in `folder`, which lie at `prefix` in the store.
///
/// # Errors
/// [`StorageError::BadName`]; failures of the network.
pub async fn of_run(
    store: &dyn Store,
    prefix: &str,
    folder: &Path,
    run: &Run,
) -> Result<ReportLinks> {
    let links = links::link_all(store, prefix, folder, &picture_files(run)).await?;
    Ok(by_cell(run, &links))
}

/// Puts links into the report of the run in `folder` before it goes to `prefix`, and says whether it did. Only
/// a report of this program gets them that has no links yet, that nobody has edited, and whose object nobody
/// has written since it was last seen; where no link can be made, it keeps the names of files.
///
/// # Errors
/// An unreadable sync state, a file that cannot be written, failures of the network.
pub async fn put_into_report(store: &dyn Store, prefix: &str, folder: &Path) -> Result<bool> {
    let path = folder.join(files::REPORT);
    let Ok(before) = std::fs::read_to_string(&path) else {
        return Ok(false);
    };
    let Ok(run) = run_folder::open(folder, Verification::Quick) else {
        return Ok(false);
    };
    let is_plain =
        run.document().is_some() && report_file::text(folder, &run, None, None) == before;
    let Some(first) = picture_files(&run).into_iter().next().filter(|_| is_plain) else {
        return Ok(false);
    };
    let state = SyncState::load(folder, &format!("{}/{prefix}", store.place()))?;
    let seen = state.seen.get(files::REPORT).map(|seen| seen.generation);
    let object = ObjectName::new(format!("{prefix}{}", files::REPORT))?;
    match store.stat(&object).await {
        Ok(there) if seen != Some(there.generation) => return Ok(false),
        Ok(_) | Err(StorageError::NotFound { .. }) => {}
        Err(error) => return Err(error),
    }
    let probe = ObjectName::new(format!("{prefix}{first}"))?;
    if links::try_signing(store, &probe).await?.kind == LinkKind::LocalPath {
        return Ok(false);
    }
    let links = of_run(store, prefix, folder, &run).await?;
    let text = report_file::text(folder, &run, None, Some(&links));
    write_atomic(&path, text.as_bytes())?;
    Ok(true)
}

/// Pushes a run, after links were put into its report; without them where that fails for another reason than
/// the network.
///
/// # Errors
/// See [`Push::run`].
pub fn push(push: &Push) -> BoxFuture<'_, Result<PushReport>> {
    async move {
        let linking = put_into_report(&*push.store, &push.prefix, &push.dir);
        let linked = tokio::select! {
            biased;
            () = push.cancel.cancelled() => Err(StorageError::Cancelled),
            linked = linking => linked,
        };
        match linked {
            Ok(_) => {}
            Err(error) if error.is_offline() || matches!(error, StorageError::Cancelled) => {
                return Err(error);
            }
            Err(error) => tracing::warn!(%error, "the report goes without links"),
        }
        push.run().await
    }
    .boxed()
}

fn picture_files(run: &Run) -> Vec<String> {
    run.cells
        .iter()
        .filter(|(_, state)| matches!(state, CellState::Done(_)))
        .map(|(key, _)| run.picture_file(key))
        .collect()
}

/// Links by cell. A local path is left out: the file lies beside the report, and its name is enough.
fn by_cell(run: &Run, links: &Links) -> ReportLinks {
    let by_cell = run.cells.keys().filter_map(|key| {
        let link = links.by_file.get(&run.picture_file(key))?;
        (link.kind != LinkKind::LocalPath).then(|| (key.clone(), link.url.clone()))
    });
    ReportLinks {
        by_cell: by_cell.collect(),
        sentence: links.sentence(),
    }
}
