//! Links for a report: by the first way that works, with its kind and end, tried before any GPU time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _};

use super::store::{Link, LinkKind};
use super::{ObjectName, Result, StorageError, Store};

/// How long the audit's reports want their links to work.
pub const WANTED_LIFETIME: Duration = Duration::from_hours(72);

/// Links that are made at a time.
const AT_ONCE: usize = 6;

/// The links of a report. All are of one kind as a rule; a mixture is possible where only some objects are
/// public.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// By file name in the run.
    pub by_file: BTreeMap<String, Link>,
}

impl Links {
    /// One sentence for the report and the window: which kind, and until when.
    pub fn sentence(&self) -> String {
        let count = |kind| self.by_file.values().filter(|l| l.kind == kind).count();
        let mut parts = Vec::new();
        for kind in [
            LinkKind::OwnKey,
            LinkKind::SignBlob,
            LinkKind::Public,
            LinkKind::LocalPath,
        ] {
            let n = count(kind);
            if n == 0 {
                continue;
            }
            let first_end = self
                .by_file
                .values()
                .filter(|l| l.kind == kind)
                .filter_map(|l| l.expires_at)
                .min()
                .map(|at| format!(", valid until {}", utc_words(at)));
            let what = if n == self.by_file.len() {
                "Links are".to_owned()
            } else {
                format!("{n} links are")
            };
            let how = match kind {
                LinkKind::OwnKey => "V4 signed with the account's own key",
                LinkKind::SignBlob => "V4 signed by signBlob (Google promises 12 hours)",
                LinkKind::Public => "public addresses that do not expire",
                LinkKind::LocalPath => {
                    "local paths: signing was not possible and the objects are not public"
                }
            };
            parts.push(format!("{what} {how}{}.", first_end.unwrap_or_default()));
        }
        if parts.is_empty() {
            "There are no links.".to_owned()
        } else {
            parts.join(" ")
        }
    }
}

/// Tries for real which kind of link this store gives, with the object `probe` or, if it does not exist yet,
/// its name.
///
/// # Errors
/// Failures of the network; that nothing can be signed is no error but [`LinkKind::LocalPath`].
pub async fn try_signing(store: &dyn Store, probe: &ObjectName) -> Result<Link> {
    link_or_path(store, probe, Path::new("")).await
}

/// Links to the files of the run at `prefix`, whose local copies are in `dir`.
///
/// # Errors
/// [`StorageError::BadName`]; failures of the network.
pub async fn link_all(
    store: &dyn Store,
    prefix: &str,
    dir: &Path,
    files: &[String],
) -> Result<Links> {
    // Through signBlob each link is a call of its own.
    let making = files.iter().cloned().map(|file| async move {
        let name = ObjectName::new(format!("{prefix}{file}"))?;
        let link = link_or_path(store, &name, &dir.join(&file)).await?;
        Ok((file, link))
    });
    let by_file = futures::stream::iter(making)
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(Links { by_file })
}

/// Own key, `signBlob` and public address are the store's to try, in this order; the path is the last way.
async fn link_or_path(store: &dyn Store, name: &ObjectName, path: &Path) -> Result<Link> {
    match store.link(name, WANTED_LIFETIME).await {
        Ok(link) => Ok(link),
        Err(StorageError::Forbidden { .. } | StorageError::Auth { .. }) => {
            let shown: PathBuf = if path.as_os_str().is_empty() {
                name.as_str().into()
            } else {
                path.into()
            };
            Ok(Link {
                url: shown.display().to_string(),
                kind: LinkKind::LocalPath,
                expires_at: None,
            })
        }
        Err(error) => Err(error),
    }
}

fn utc_words(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(
        |_| "an unknown time".to_owned(),
        |t| t.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_kind_and_end() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let link = Link {
            url: "u".into(),
            kind: LinkKind::SignBlob,
            expires_at: Some(at),
        };
        let mut links = Links {
            by_file: BTreeMap::from([("a.png".to_owned(), link)]),
        };
        let said = links.sentence();
        assert!(
            said.contains("signBlob") && said.contains("2001-09-09 01:46 UTC"),
            "{said}"
        );
        let path = Link {
            url: "p".into(),
            kind: LinkKind::LocalPath,
            expires_at: None,
        };
        links.by_file.insert("b.png".into(), path);
        assert!(
            links.sentence().starts_with("1 links are V4"),
            "{}",
            links.sentence()
        );
    }
}
