//! Listings, each kept on disk, so that without a network the last one is shown with its age.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::store::{ListPage, list_all};
use super::{ObjectMeta, Result, StorageError, Store, cache, files};

/// Where a listing comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// Just asked for.
    Live,
    /// The last one that was saved; the store does not answer.
    Saved {
        /// When it was made.
        saved_at: SystemTime,
        /// Why there is no newer one.
        because: String,
    },
}

impl Freshness {
    /// How old the listing is; zero for a live one.
    pub fn age(&self, now: SystemTime) -> Duration {
        match self {
            Self::Live => Duration::ZERO,
            Self::Saved { saved_at, .. } => now.duration_since(*saved_at).unwrap_or_default(),
        }
    }

    /// For the status line: `offline, list is 2 h 5 min old`; `None` for a live listing.
    pub fn words(&self, now: SystemTime) -> Option<String> {
        match self {
            Self::Live => None,
            Self::Saved { .. } => {
                Some(format!("offline, list is {} old", age_words(self.age(now))))
            }
        }
    }
}

/// A whole listing, and how fresh it is.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Objects, sorted by name.
    pub objects: Vec<ObjectMeta>,
    /// Folders, when asked for.
    pub prefixes: Vec<String>,
    /// Live or saved.
    pub freshness: Freshness,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    schema: u32,
    at_secs: u64,
    objects: Vec<ObjectMeta>,
    prefixes: Vec<String>,
}

/// Lists everything below `prefix`; if the store cannot be reached, the list that was saved last below
/// `cache_root`, of this prefix or of a folder above it.
///
/// # Errors
/// What [`Store::list`] returns, if there is no saved list or the failure is not one of the network.
pub async fn list_or_saved(
    store: &dyn Store,
    cache_root: &Path,
    prefix: &str,
    by_folder: bool,
) -> Result<Listing> {
    let path = saved_path(store, cache_root, prefix, by_folder);
    match list_all(store, prefix, by_folder).await {
        Ok(page) => {
            if let Err(error) = save(&path, &page) {
                tracing::warn!(%error, "the list cannot be kept for later");
            }
            Ok(Listing {
                objects: page.objects,
                prefixes: page.prefixes,
                freshness: Freshness::Live,
            })
        }
        Err(error) if error.is_retryable() => {
            let own = saved(&path, &error);
            let listing = own.or_else(|| saved_above(store, cache_root, prefix, by_folder, &error));
            listing.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

fn saved_path(store: &dyn Store, cache_root: &Path, prefix: &str, by_folder: bool) -> PathBuf {
    let key = cache::hash(&format!("{}\n{prefix}\n{by_folder}", store.cache_key()));
    cache_root.join("listings").join(format!("{key}.json"))
}

fn save(path: &Path, page: &ListPage) -> Result<()> {
    let at_secs = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let saved = Saved {
        schema: 1,
        at_secs,
        objects: page.objects.clone(),
        prefixes: page.prefixes.clone(),
    };
    let bytes = serde_json::to_vec(&saved)
        .map_err(|e| StorageError::io("writing", path)(std::io::Error::other(e)))?;
    files::write_atomic(path, &bytes)
}

/// What a saved list of a folder above says of `prefix`: of a run that was only seen in the list of runs.
fn saved_above(
    store: &dyn Store,
    cache_root: &Path,
    prefix: &str,
    by_folder: bool,
    because: &StorageError,
) -> Option<Listing> {
    if by_folder {
        return None;
    }
    let mut above = prefix.trim_end_matches('/');
    loop {
        above = above.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = match above {
            "" => String::new(),
            above => format!("{above}/"),
        };
        let path = saved_path(store, cache_root, &folder, false);
        if let Some(mut listing) = saved(&path, because) {
            let is_below = |o: &ObjectMeta| o.name.as_str().starts_with(prefix);
            listing.objects.retain(is_below);
            return (!listing.objects.is_empty()).then_some(listing);
        }
        if above.is_empty() {
            return None;
        }
    }
}

/// A saved list that cannot be read is as good as none.
fn saved(path: &Path, because: &StorageError) -> Option<Listing> {
    let saved: Saved = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (saved.schema == 1).then(|| Listing {
        objects: saved.objects,
        prefixes: saved.prefixes,
        freshness: Freshness::Saved {
            saved_at: UNIX_EPOCH + Duration::from_secs(saved.at_secs),
            because: because.to_string(),
        },
    })
}

/// A duration in the two largest of days, hours, minutes.
pub fn age_words(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => "under a minute".to_owned(),
        (0, 0, m) => format!("{m} min"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test]
    async fn without_a_network_the_list_of_a_folder_above_serves() {
        use crate::storage::{LocalDir, ObjectName, Precondition};
        let dir = tempfile::tempdir().unwrap();
        let store = LocalDir::new(dir.path().join("store"));
        for name in ["audit/r1/a.png", "audit/r10/b.png", "c.png"] {
            let name = ObjectName::new(name).unwrap();
            let written = store.write(&name, "x".into(), Precondition::None);
            written.await.unwrap();
        }
        let cache = dir.path().join("cache");
        list_or_saved(&store, &cache, "audit/", false)
            .await
            .unwrap();
        let offline = StorageError::Offline {
            place: "p".into(),
            detail: "d".into(),
        };
        let found = saved_above(&store, &cache, "audit/r1/", false, &offline).unwrap();
        let names: Vec<&str> = found.objects.iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names, ["audit/r1/a.png"]);
        assert!(matches!(found.freshness, Freshness::Saved { .. }));
        assert!(saved_above(&store, &cache, "audit/r2/", false, &offline).is_none());
        assert!(saved_above(&store, &cache, "other/r1/", false, &offline).is_none());
    }

    #[test]
    fn ages_read_well() {
        let words = |secs| age_words(Duration::from_secs(secs));
        assert_eq!(words(10), "under a minute");
        assert_eq!(words(125 * 60), "2 h 5 min");
        assert_eq!(words(26 * 3600), "1 d 2 h");
    }
}
