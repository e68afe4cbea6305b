//! The list of runs, their small pictures, and what a pasted address names.

use super::BucketOutbox;
use super::connection::{Connection, StoreProblem};
use crate::imaging::codecs;
use crate::model::ids::ReviewerId;
use crate::state::bucket::BucketEvent;
use crate::state::bucket::inbox::{BucketFreshness, InboxListing, InboxRow};
use crate::storage::cache::Cache;
use crate::storage::inbox::{Inbox, InboxEntry, Thumbnail, list_inbox};
use crate::storage::listing::Freshness;
use crate::storage::name::check_run_id;
use crate::storage::{Location, Store, session};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest sides of a small picture in pixels: sharp at twice the size of a row.
const THUMBNAIL_PX: (u32, u32) = (192, 128);

/// Lists what is on disk at once, then with the bucket's half.
pub(super) async fn list(
    connection: &Connection,
    outbox: &BucketOutbox,
    job: u64,
    runs_dir: &Path,
    reviewer: &str,
) {
    let reviewer = ReviewerId::from_name(reviewer);
    let send = |listing| outbox.send(BucketEvent::Listed(job, Box::new(listing)));
    let has_bucket = connection
        .config()
        .is_ok_and(|config| !config.bucket.is_empty());
    let on_disk = listing(connection, None, runs_dir, &reviewer).await;
    if !has_bucket {
        send(on_disk);
        return;
    }
    send(InboxListing {
        is_partial: true,
        ..on_disk.clone()
    });
    send(match connection.store(None).await {
        Ok(store) => listing(connection, store.as_deref(), runs_dir, &reviewer).await,
        Err(problem) => InboxListing {
            freshness: BucketFreshness::Failed(problem.to_string()),
            ..on_disk
        },
    });
}

async fn listing(
    connection: &Connection,
    store: Option<&dyn Store>,
    runs_dir: &Path,
    reviewer: &ReviewerId,
) -> InboxListing {
    let found = async {
        let (config, cache) = (connection.config()?, connection.cache()?);
        list_inbox(store, &cache, &config, runs_dir, Some(reviewer))
            .await
            .map_err(|error| error.to_string())
    };
    match found.await {
        Ok(inbox) => take(connection, inbox, store),
        Err(problem) => InboxListing {
            problem: Some(problem),
            ..InboxListing::default()
        },
    }
}

fn take(connection: &Connection, inbox: Inbox, store: Option<&dyn Store>) -> InboxListing {
    let freshness = match (inbox.freshness, inbox.problem) {
        (_, Some(problem)) => BucketFreshness::Failed(problem),
        (Some(Freshness::Live), None) => BucketFreshness::Live(secs(SystemTime::now())),
        (Some(Freshness::Saved { saved_at, because }), None) => BucketFreshness::Offline {
            saved_secs: secs(saved_at),
            because,
        },
        (None, None) => BucketFreshness::None,
    };
    let mut pictures = BTreeMap::new();
    let rows = inbox.entries.into_iter().map(|entry| {
        let picture = entry.thumbnail.clone().map(|picture| {
            let key = key_of(&picture);
            pictures.insert(key.clone(), picture);
            key
        });
        row(entry, picture)
    });
    let rows = rows.collect();
    connection.set_pictures(pictures);
    InboxListing {
        rows,
        is_partial: false,
        freshness,
        bucket: store.map(Store::place),
        problem: None,
    }
}

fn row(entry: InboxEntry, picture: Option<String>) -> InboxRow {
    InboxRow {
        run_id: entry.run_id.to_string(),
        dir: entry.dir,
        is_in_bucket: entry.prefix.is_some(),
        updated_secs: entry.updated_secs,
        session: entry.session,
        done: entry.done,
        total: entry.total,
        failed: entry.failed,
        unreviewed: entry.unreviewed,
        is_approved: entry.is_approved,
        is_in_progress: entry.in_progress,
        is_pull_unfinished: entry.pull_unfinished,
        picture,
        problem: entry.problem,
    }
}

/// Changes whenever the picture does.
fn key_of(picture: &Thumbnail) -> String {
    match picture {
        Thumbnail::File(path) => {
            let facts = std::fs::metadata(path).ok();
            let written = facts.as_ref().and_then(|facts| facts.modified().ok());
            format!(
                "{}|{}|{}",
                path.display(),
                facts.map_or(0, |facts| facts.len()),
                written.map_or(0, |at| {
                    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
                }),
            )
        }
        Thumbnail::Object(meta) => format!("{}#{}", meta.name, meta.generation),
    }
}

fn secs(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

/// Makes small pictures, a few at a time, in the order in which they were asked for.
pub(super) async fn thumbnails(
    connection: &Arc<Connection>,
    outbox: &BucketOutbox,
    keys: Vec<String>,
) {
    for key in keys {
        let Ok(_slot) = connection.thumbnail_slots.acquire().await else {
            return;
        };
        let result = thumbnail(connection, &key).await;
        outbox.send(BucketEvent::Thumbnail(key, result));
    }
}

async fn thumbnail(connection: &Connection, key: &str) -> Result<PathBuf, String> {
    let picture = connection
        .picture(key)
        .ok_or_else(|| "the run is no longer in the list".to_owned())?;
    let cache = connection.cache()?;
    let store = match &picture {
        Thumbnail::File(_) => None,
        Thumbnail::Object(_) => {
            let store = connection.store(None).await;
            Some(
                store
                    .map_err(|p| p.to_string())?
                    .ok_or("there is no bucket")?,
            )
        }
    };
    // Two buckets may have objects of one name and generation.
    let place = store
        .as_ref()
        .map_or_else(String::new, |store| store.cache_key());
    let key = format!("{place}\n{key}");
    if let Some(path) = cache.thumbnail(&key) {
        return Ok(path);
    }
    let source = match (picture, store) {
        (Thumbnail::File(path), _) => path,
        (Thumbnail::Object(meta), Some(store)) => cache
            .fetch(&*store, &meta, &|_| ())
            .await
            .map_err(|error| error.to_string())?,
        (Thumbnail::Object(_), None) => return Err("there is no bucket".to_owned()),
    };
    let made = tokio::task::spawn_blocking(move || shrink_into(&source, &cache, &key));
    made.await
        .unwrap_or_else(|_| Err("the picture cannot be decoded".to_owned()))
}

/// The picture at a row's size, as a file of the cache.
fn shrink_into(source: &Path, cache: &Cache, key: &str) -> Result<PathBuf, String> {
    let pixels = codecs::decode(source)
        .map_err(|error| error.to_string())?
        .into_rgba();
    let (width, height) = pixels.dimensions();
    let scale = (f64::from(THUMBNAIL_PX.0) / f64::from(width.max(1)))
        .min(f64::from(THUMBNAIL_PX.1) / f64::from(height.max(1)))
        .min(1.0);
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let small = image::imageops::thumbnail(&pixels, side(width), side(height));
    let png = codecs::encode_rgba_png(&small).map_err(|error| error.to_string())?;
    cache
        .keep_thumbnail(key, &png)
        .map_err(|error| error.to_string())
}

/// What an address names: a folder on this machine, a run in a bucket, or a session, which is fetched.
pub(super) async fn resolve(
    connection: &Connection,
    address: &str,
    sessions_dir: &Path,
) -> BucketEvent {
    if !address.contains("://") {
        let path = Path::new(address);
        if path.is_dir() {
            return BucketEvent::AddressIsFolder(path.to_owned());
        }
        // A bare run id of the configured bucket is as good as its address.
        let has_bucket = connection
            .config()
            .is_ok_and(|config| !config.bucket.is_empty());
        if has_bucket && check_run_id(address).is_ok() {
            return BucketEvent::AddressIsRun {
                bucket: None,
                run_id: address.to_owned(),
            };
        }
        return BucketEvent::AddressRefused(format!(
            "neither a folder nor an address: {address}; paste gs://bucket/audit/run/, or the address of \
             the folder in the Firebase or Google Cloud console"
        ));
    }
    match resolve_in_bucket(connection, address, sessions_dir).await {
        Ok(event) => event,
        Err(problem) => BucketEvent::AddressRefused(problem),
    }
}

async fn resolve_in_bucket(
    connection: &Connection,
    address: &str,
    sessions_dir: &Path,
) -> Result<BucketEvent, String> {
    let text = |error: crate::storage::StorageError| error.to_string();
    let config = connection.config()?;
    let location = Location::parse(address).map_err(text)?;
    let named = (location.bucket != config.bucket).then(|| location.bucket.clone());
    if let Some(run_id) = config.run_of(&location.name) {
        return Ok(BucketEvent::AddressIsRun {
            bucket: named,
            run_id: run_id.to_owned(),
        });
    }
    let Some((_, session_id)) = config.session_of(&location.name) else {
        return Err(format!(
            "neither a run nor a session: gs://{}/{} lies neither below {} nor where {} says; see \
             Settings, Storage",
            location.bucket,
            location.name,
            config.runs_root(),
            config.session_prefix
        ));
    };
    let dir = sessions_dir.join(session_id);
    let prefix = session::prefix_of_address(address).map_err(text)?.name;
    let store = connection.store(named.as_deref()).await;
    let store = store
        .map_err(|problem| problem.to_string())?
        .ok_or_else(|| StoreProblem::Other("there is no bucket".to_owned()).to_string())?;
    let cache = connection.cache()?;
    session::pull_session_at(&*store, &cache, &prefix, &dir)
        .await
        .map_err(text)?;
    Ok(BucketEvent::SessionFetched(dir))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_small_picture_fits_its_row_and_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("a.png");
        image::RgbImage::from_pixel(1200, 400, image::Rgb([9, 99, 200]))
            .save(&source)
            .unwrap();
        let cache = Cache::open(dir.path().join("cache"), 1_000_000).unwrap();
        assert_eq!(cache.thumbnail("k"), None);
        let path = shrink_into(&source, &cache, "k").unwrap();
        let small = image::open(&path).unwrap().into_rgb8();
        assert_eq!(small.dimensions(), (192, 64));
        assert_eq!(small.get_pixel(100, 30), &image::Rgb([9, 99, 200]));
        assert_eq!(cache.thumbnail("k"), Some(path));
        std::fs::write(&source, "no picture").unwrap();
        let problem = shrink_into(&source, &cache, "other").unwrap_err();
        assert!(problem.contains("a.png"), "{problem}");
    }

    #[test]
    fn a_changed_file_is_another_picture() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        std::fs::write(&path, "one").unwrap();
        let before = key_of(&Thumbnail::File(path.clone()));
        assert_eq!(key_of(&Thumbnail::File(path.clone())), before);
        std::fs::write(&path, "another").unwrap();
        assert_ne!(key_of(&Thumbnail::File(path)), before);
    }
}
