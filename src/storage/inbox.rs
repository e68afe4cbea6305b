//! One list of runs from the bucket and from disk, with what a reviewer wants to know before opening one.
//!
//! Counts come from object names and the few small documents of a run (plan, journals, the service's
//! report); no picture is read for the list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures::StreamExt as _;

use super::cache::Cache;
use super::listing::{Freshness, list_or_saved};
use super::name::check_run_id;
use super::sync_state::SyncState;
use super::{LocalDir, ObjectMeta, Result, StorageConfig, Store, journal};
use crate::model::cell::{CellDefaults, CellKey};
use crate::model::ids::{ReviewerId, RunId};
use crate::model::review::{ReviewState, Standing, journal as review_journal};
use crate::model::run::{ExtensionDocument, Run, RunDocument, files as run_files};

/// Runs whose documents are read at a time.
const AT_ONCE: usize = 6;

/// A run in the inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxEntry {
    /// Its id.
    pub run_id: RunId,
    /// Its folder on disk, if it is there.
    pub dir: Option<PathBuf>,
    /// Its prefix in the bucket, if it is there.
    pub prefix: Option<String>,
    /// When something of it was written last, in seconds since 1970: its date. In the bucket, if it is
    /// there: the copies on disk are as old as their fetching.
    pub updated_secs: i64,
    /// Size of all its objects in bytes (of the larger side).
    pub size_bytes: u64,
    /// The session, if a document says so.
    pub session: Option<String>,
    /// Cells with a picture.
    pub done: usize,
    /// Cells in all, planned ones included.
    pub total: usize,
    /// Cells with a record and no picture.
    pub failed: usize,
    /// Cells with a picture that this reviewer (or, without one, anyone) has not judged.
    pub unreviewed: usize,
    /// Whether a cell was approved.
    pub is_approved: bool,
    /// `REPORT.md` is missing.
    pub in_progress: bool,
    /// The folder on disk is an interrupted pull.
    pub pull_unfinished: bool,
    /// A picture of it.
    pub thumbnail: Option<Thumbnail>,
    /// What could not be read of it.
    pub problem: Option<String>,
}

/// Where an entry's picture is.
#[derive(Debug, Clone, PartialEq)]
pub enum Thumbnail {
    /// On disk.
    File(PathBuf),
    /// In the bucket; [`Cache::fetch`] gives it.
    Object(ObjectMeta),
}

impl InboxEntry {
    /// Whether run id or session contain `text`, whatever its case.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.trim().to_lowercase();
        let session = self.session.as_deref().unwrap_or_default();
        self.run_id.as_str().to_lowercase().contains(&text)
            || session.to_lowercase().contains(&text)
    }
}

/// The list, and how fresh its bucket half is.
#[derive(Debug, Clone)]
pub struct Inbox {
    /// Runs, newest first.
    pub entries: Vec<InboxEntry>,
    /// Of the bucket's list; `None` without a bucket, or when it could not be listed at all.
    pub freshness: Option<Freshness>,
    /// Why the bucket's runs are missing.
    pub problem: Option<String>,
}

/// Lists the runs below `runs_dir` and, if there is one, in the bucket.
///
/// # Errors
/// [`super::StorageError::Io`] if the folder cannot be listed. A bucket that cannot be listed is told in the answer.
pub async fn list_inbox(
    bucket: Option<&dyn Store>,
    cache: &Cache,
    config: &StorageConfig,
    runs_dir: &Path,
    reviewer: Option<&ReviewerId>,
) -> Result<Inbox> {
    let local = LocalDir::new(runs_dir);
    let mut runs: BTreeMap<RunId, Sides> = BTreeMap::new();
    let on_disk = super::store::list_all(&local, "", false).await?;
    for meta in on_disk.objects {
        let id = meta
            .name
            .as_str()
            .split_once('/')
            .and_then(|(id, _)| check_run_id(id).ok());
        if let Some(id) = id {
            runs.entry(id).or_default().local.push(meta);
        }
    }
    let mut inbox = Inbox {
        entries: Vec::new(),
        freshness: None,
        problem: None,
    };
    if let Some(bucket) = bucket {
        match list_or_saved(bucket, cache.root(), config.runs_root(), false).await {
            Ok(listing) => {
                inbox.freshness = Some(listing.freshness);
                for meta in listing.objects {
                    let id = config
                        .run_of(meta.name.as_str())
                        .and_then(|id| check_run_id(id).ok());
                    let Some(id) = id else { continue };
                    // Only objects below the run's folder, not ones beside it.
                    let Ok(prefix) = config.prefix_of_run(id.as_str()) else {
                        continue;
                    };
                    if meta.name.as_str().starts_with(&prefix) {
                        runs.entry(id).or_default().remote.push(meta);
                    }
                }
            }
            Err(error) => inbox.problem = Some(error.to_string()),
        }
    }
    let local = &local;
    let is_offline = matches!(inbox.freshness, Some(Freshness::Saved { .. }));
    inbox.entries = futures::stream::iter(runs)
        .map(|(run_id, sides)| async move {
            let remote_prefix = config.prefix_of_run(run_id.as_str()).unwrap_or_default();
            let reader = Reader {
                local,
                bucket,
                cache,
                remote_prefix,
                reviewer,
                is_offline,
            };
            reader.entry(run_id, sides).await
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // Interrupted pulls and other folders without any sign of a run stay out of sight.
    inbox
        .entries
        .retain(|e| e.total > 0 || !e.in_progress || e.session.is_some());
    inbox
        .entries
        .sort_by(|a, b| (b.updated_secs, &b.run_id).cmp(&(a.updated_secs, &a.run_id)));
    Ok(inbox)
}

#[derive(Debug, Default)]
struct Sides {
    local: Vec<ObjectMeta>,
    remote: Vec<ObjectMeta>,
}

struct Reader<'a> {
    local: &'a LocalDir,
    bucket: Option<&'a dyn Store>,
    cache: &'a Cache,
    remote_prefix: String,
    reviewer: Option<&'a ReviewerId>,
    /// The list is a saved one: what is not in the cache is not waited for.
    is_offline: bool,
}

#[derive(Default)]
struct Documents {
    run: Option<Run>,
    session: Option<String>,
    review: ReviewState,
    problem: Option<String>,
}

impl Reader<'_> {
    async fn entry(&self, run_id: RunId, sides: Sides) -> InboxEntry {
        let local_prefix = format!("{run_id}/");
        let local = by_file(&sides.local, &local_prefix);
        let remote = by_file(&sides.remote, &self.remote_prefix);
        let documents = self.documents(&local, &remote).await;
        let defaults = documents
            .run
            .as_ref()
            .map_or_else(CellDefaults::of_service_run, |run| run.defaults.clone());
        let files: BTreeSet<&str> = local.keys().chain(remote.keys()).copied().collect();
        let cells_with = |end: &str| -> BTreeSet<CellKey> {
            let stems = files.iter().filter_map(|file| file.strip_suffix(end));
            stems
                .filter_map(|stem| CellKey::parse(stem, &defaults))
                .collect()
        };
        let (done, recorded) = (cells_with(".png"), cells_with(".ron"));
        let mut all: BTreeSet<CellKey> = done.union(&recorded).cloned().collect();
        if let Some(run) = &documents.run {
            all.extend(run.cells.keys().cloned());
        }
        let is_unreviewed = |cell: &&CellKey| {
            documents.review.standing(self.reviewer, cell) == Standing::Unreviewed
        };
        let latest = |side: &BTreeMap<&str, &ObjectMeta>| {
            side.values().map(|object| object.updated_secs).max()
        };
        let dir = self.local.root().join(run_id.as_str());
        let size =
            |side: &BTreeMap<&str, &ObjectMeta>| side.values().map(|o| o.size_bytes).sum::<u64>();
        InboxEntry {
            updated_secs: latest(&remote)
                .or_else(|| latest(&local))
                .unwrap_or_default(),
            size_bytes: size(&local).max(size(&remote)),
            session: documents.session,
            total: all.len(),
            failed: recorded.difference(&done).count(),
            unreviewed: done.iter().filter(is_unreviewed).count(),
            done: done.len(),
            is_approved: !documents.review.approvals().is_empty(),
            in_progress: !files.contains(run_files::REPORT),
            pull_unfinished: !local.is_empty() && SyncState::pull_was_interrupted(&dir),
            thumbnail: thumbnail(&local, &remote, &defaults, &dir),
            problem: documents.problem,
            dir: (!local.is_empty()).then_some(dir),
            prefix: (!remote.is_empty()).then(|| self.remote_prefix.clone()),
            run_id,
        }
    }

    async fn documents(
        &self,
        local: &BTreeMap<&str, &ObjectMeta>,
        remote: &BTreeMap<&str, &ObjectMeta>,
    ) -> Documents {
        let mut found = Documents::default();
        if let Some(text) = self
            .text(run_files::RUN, local, remote, &mut found.problem)
            .await
        {
            let mut extensions = Vec::new();
            for number in 1.. {
                let file = run_files::plan(number);
                if !local.contains_key(file.as_str()) && !remote.contains_key(file.as_str()) {
                    break;
                }
                let text = self.text(&file, local, remote, &mut found.problem).await;
                match text.map(|text| ExtensionDocument::parse(&text, &file)) {
                    Some(Ok(extension)) => extensions.push(extension),
                    Some(Err(error)) => found.problem = Some(error.to_string()),
                    None => {}
                }
            }
            match RunDocument::parse(&text, run_files::RUN) {
                Ok(document) => {
                    found.session = Some(document.session.to_string());
                    match Run::new(document, extensions) {
                        Ok(run) => found.run = Some(run),
                        Err(problem) => found.problem = Some(problem),
                    }
                }
                Err(error) => found.problem = Some(error.to_string()),
            }
        } else if let Some(text) = self
            .text(run_files::REPORT, local, remote, &mut found.problem)
            .await
        {
            found.session = session_of_report(&text);
        }
        // Both copies of a journal count: each may have events that the other lacks.
        let mut events = Vec::new();
        for (side, is_local) in [(local, true), (remote, false)] {
            for (file, meta) in side.iter().filter(|(file, _)| journal::is_journal(file)) {
                match self.read(meta, is_local).await {
                    Ok(bytes) => events.extend(review_journal::parse(&bytes, 1, file).events),
                    // That there is no network is said of the whole list.
                    Err(error) if error.is_offline() => {}
                    Err(error) => found.problem = Some(error.to_string()),
                }
            }
        }
        found.review = ReviewState::replay(events);
        found
    }

    /// A document's text, from disk if it is there.
    async fn text(
        &self,
        file: &str,
        local: &BTreeMap<&str, &ObjectMeta>,
        remote: &BTreeMap<&str, &ObjectMeta>,
        problem: &mut Option<String>,
    ) -> Option<String> {
        let (meta, is_local) = match (local.get(file), remote.get(file)) {
            (Some(meta), _) => (meta, true),
            (None, Some(meta)) => (meta, false),
            (None, None) => return None,
        };
        match self.read(meta, is_local).await {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.is_offline() => None,
            Err(error) => {
                *problem = Some(error.to_string());
                None
            }
        }
    }

    async fn read(&self, meta: &ObjectMeta, is_local: bool) -> Result<Vec<u8>> {
        let io = super::StorageError::io;
        if is_local {
            let path = self.local.path_of(&meta.name)?;
            return tokio::fs::read(&path).await.map_err(io("reading", &path));
        }
        let Some(bucket) = self.bucket else {
            return Ok(Vec::new());
        };
        let path = if self.is_offline {
            let held = self.cache.lookup(bucket, meta)?;
            held.ok_or_else(|| super::StorageError::Offline {
                place: format!("{}/{}", bucket.place(), meta.name),
                detail: "it is not in the cache".into(),
            })?
        } else {
            self.cache.fetch(bucket, meta, &|_| ()).await?
        };
        tokio::fs::read(&path).await.map_err(io("reading", &path))
    }
}

fn by_file<'a>(objects: &'a [ObjectMeta], prefix: &str) -> BTreeMap<&'a str, &'a ObjectMeta> {
    objects
        .iter()
        .filter_map(|o| Some((o.name.as_str().strip_prefix(prefix)?, o)))
        .collect()
}

/// The production baseline's picture, or the first cell's, or the photograph; from disk if it is there.
fn thumbnail(
    local: &BTreeMap<&str, &ObjectMeta>,
    remote: &BTreeMap<&str, &ObjectMeta>,
    defaults: &CellDefaults,
    dir: &Path,
) -> Option<Thumbnail> {
    let rank = |file: &str| -> Option<u8> {
        if file == run_files::IMAGE {
            return Some(2);
        }
        let key = CellKey::parse(file.strip_suffix(".png")?, defaults)?;
        Some(u8::from(!key.is_baseline(defaults)))
    };
    let best = |side: &BTreeMap<&str, &ObjectMeta>| {
        side.keys()
            .filter_map(|file| Some((rank(file)?, (*file).to_owned())))
            .min()
    };
    match (best(local), best(remote)) {
        (Some((rank, file)), other) if other.as_ref().is_none_or(|(theirs, _)| rank <= *theirs) => {
            Some(Thumbnail::File(dir.join(file)))
        }
        (_, Some((_, file))) => remote
            .get(file.as_str())
            .map(|o| Thumbnail::Object((*o).clone())),
        (_, None) => None,
    }
}

/// `**Session:** D1A406F5 | …` in the head of a service's report.
fn session_of_report(text: &str) -> Option<String> {
    let rest = text.split_once("**Session:**")?.1;
    let session = rest.split(['|', '\n']).next()?.trim().trim_matches('`');
    (!session.is_empty()).then(|| session.chars().take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_report_names_its_session() {
        let text = "# Baseline Audit Report\n**Session:** D1A406F5 | **Date:** 2026-02-22\n";
        assert_eq!(session_of_report(text).as_deref(), Some("D1A406F5"));
        assert_eq!(session_of_report("no head"), None);
    }
}
