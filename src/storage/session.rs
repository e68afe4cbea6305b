//! A session's picture and mask from a store into a local folder, verified.

use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::listing::list_or_saved;
use super::{Location, Result, StorageConfig, StorageError, Store, files};
use crate::model::run::files as run_files;

/// What a session cannot do without.
const NEEDED: [&str; 2] = [run_files::IMAGE, run_files::MASK];
/// What comes along if it is there.
const WELCOME: [&str; 2] = ["session.ron", "subject.png"];

/// The prefix of a session in the store, ending in `/`, from its address.
///
/// # Errors
/// [`StorageError::Config`] if the address is none or names only a bucket.
pub fn prefix_of_address(address: &str) -> Result<Location> {
    let mut location = Location::parse(address)?;
    // The address of one of its pictures means the session too.
    for file in NEEDED {
        if let Some(folder) = location.name.strip_suffix(file) {
            location.name = folder.to_owned();
        }
    }
    location.name = format!("{}/", location.name.trim_matches('/'));
    if location.name == "/" {
        return Err(StorageError::Config {
            problem: format!("{address:?} names a bucket but no session"),
            place: "the session's address".into(),
            remedy: "write gs://bucket/path/of/the/session/".into(),
        });
    }
    Ok(location)
}

/// Pulls the session of `user_id` and `session_id` into `dir`.
///
/// # Errors
/// See [`pull_session_at`]; [`StorageError::BadName`] for ids that are none.
pub async fn pull_session(
    store: &dyn Store,
    cache: &Cache,
    config: &StorageConfig,
    (user_id, session_id): (&str, &str),
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    pull_session_at(
        store,
        cache,
        &config.prefix_of_session(user_id, session_id)?,
        dir,
    )
    .await
}

/// Pulls `image.png` and `mask.png` (and `session.ron`, `subject.png` if present) below `prefix` into `dir`.
///
/// A local file that differs is not replaced: whoever changed it is told.
///
/// # Errors
/// [`StorageError::NotFound`] that names the missing picture; [`StorageError::Precondition`] for a local
/// file that differs; what [`Store::fetch`] returns.
pub async fn pull_session_at(
    store: &dyn Store,
    cache: &Cache,
    prefix: &str,
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    let listing = list_or_saved(store, cache.root(), prefix, true).await?;
    let mut placed = Vec::new();
    for file in NEEDED.into_iter().chain(WELCOME) {
        let name = format!("{prefix}{file}");
        let Some(meta) = listing.objects.iter().find(|o| o.name.as_str() == name) else {
            if NEEDED.contains(&file) {
                return Err(StorageError::NotFound {
                    place: format!("{}/{name}", store.place()),
                });
            }
            continue;
        };
        let cached = cache.fetch(store, meta, &|_| ()).await?;
        let path = dir.join(file);
        if path.exists() {
            if files::checksum(&path)? != files::checksum(&cached)? {
                return Err(StorageError::Precondition {
                    place: path.display().to_string(),
                    expected: format!(
                        "what {}/{name} holds; move it away to pull the session",
                        store.place()
                    ),
                });
            }
        } else {
            files::place_copy(&cached, &path, false)?;
        }
        placed.push(path);
    }
    Ok(placed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_sessions_address_may_name_its_folder_or_a_picture() {
        for address in [
            "gs://bucket/users/u/sessions/s",
            "gs://bucket/users/u/sessions/s/image.png",
        ] {
            assert_eq!(
                prefix_of_address(address).unwrap().name,
                "users/u/sessions/s/"
            );
        }
        assert!(prefix_of_address("gs://bucket/").is_err());
    }
}
