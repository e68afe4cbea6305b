//! What can be wrong with storage, one line each with its remedy.

use std::time::{Duration, SystemTime};

use super::gcs::{Environment, Gcs, Limits};
use super::store::{LinkKind, ListQuery};
use super::{ObjectName, Precondition, Result, StorageConfig, StorageError, Store};

/// More than this makes requests and signatures fail.
const CLOCK_WRONG: Duration = Duration::from_mins(5);
/// More than this is worth a word.
const CLOCK_OFF: Duration = Duration::from_secs(30);

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What: `credentials`, `bucket`, `list`, `read`, `write`, `sign`, `clock`.
    pub what: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was found, or what is wrong with its remedy.
    pub words: String,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but less well than it could.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be checked, because something before it failed.
    Skipped,
}

impl Check {
    /// `ok      list         3 runs below audit/`
    pub fn line(&self) -> String {
        let word = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
            Verdict::Skipped => "skipped",
        };
        format!("{word:<8} {:<12} {}", self.what, self.words)
    }
}

const AFTER_CREDENTIALS: [&str; 6] = ["bucket", "list", "read", "write", "sign", "clock"];

/// Checks everything, in this order. It writes one small object below `.doctor/` where runs live, and
/// deletes it.
pub async fn examine(
    config: &StorageConfig,
    environment: &Environment,
    limits: Limits,
) -> Vec<Check> {
    let mut checks = Vec::new();
    if config.bucket.is_empty() {
        let words = "no bucket is configured: set `bucket` in storage.toml, or give --bucket \
                     PROJECT.firebasestorage.app";
        let gcs = Gcs::open("none", config.credentials.as_deref(), environment, limits).await;
        checks.push(of_credentials(gcs.as_ref()));
        checks.push(check("bucket", Verdict::Failed, words));
        checks.extend(AFTER_CREDENTIALS.iter().skip(1).map(|w| skipped(w)));
        return checks;
    }
    let gcs = Gcs::open(
        &config.bucket,
        config.credentials.as_deref(),
        environment,
        limits,
    )
    .await;
    checks.push(of_credentials(gcs.as_ref()));
    let Ok(gcs) = gcs else {
        checks.extend(AFTER_CREDENTIALS.iter().map(|w| skipped(w)));
        return checks;
    };
    let bucket = gcs.check_bucket_exists().await;
    let reachable = !matches!(
        &bucket,
        Err(StorageError::Offline { .. } | StorageError::NotFound { .. })
    );
    checks.push(match bucket {
        Ok(()) => check("bucket", Verdict::Ok, &gcs.place()),
        // Reading a bucket's own description needs a role that objects do not.
        Err(StorageError::Forbidden { .. }) => {
            let words = format!("{}, without leave to read its description (not needed)", gcs.place());
            check("bucket", Verdict::Ok, &words)
        }
        Err(StorageError::NotFound { .. }) => {
            let words = format!(
                "{} does not exist; projects from before 30 October 2024 have PROJECT.appspot.com, later \
                 ones PROJECT.firebasestorage.app",
                gcs.place()
            );
            check("bucket", Verdict::Failed, &words)
        }
        Err(error) => failed("bucket", &error),
    });
    if !reachable {
        checks.extend(AFTER_CREDENTIALS.iter().skip(1).map(|w| skipped(w)));
        return checks;
    }
    let probe = format!("{}.doctor/probe-{:08x}", config.runs_root(), random());
    let probe = match ObjectName::new(probe) {
        Ok(probe) => probe,
        Err(error) => {
            checks.push(failed("list", &error));
            return checks;
        }
    };
    let listed = list(&gcs, config.runs_root()).await;
    let first = listed.as_ref().ok().and_then(|(first, _)| first.clone());
    checks.push(match listed {
        Ok((_, words)) => check("list", Verdict::Ok, &words),
        Err(error) => failed("list", &error),
    });
    let written = gcs
        .write(&probe, "fill-audit doctor".into(), Precondition::Absent)
        .await;
    checks.push(read(&gcs, written.is_ok().then_some(&probe).or(first.as_ref())).await);
    let sign = sign(&gcs, &probe, written.is_ok()).await;
    checks.push(match written {
        Err(error) => failed("write", &error),
        Ok(meta) => {
            match gcs
                .delete(&probe, Precondition::Generation(meta.generation))
                .await
            {
                Ok(()) => check(
                    "write",
                    Verdict::Ok,
                    "an object was written and deleted again",
                ),
                Err(error) => {
                    let words =
                        format!("written, but not deleted ({error}); remove {probe} by hand");
                    check("write", Verdict::Warning, &words)
                }
            }
        }
    });
    checks.push(sign);
    checks.push(clock(&gcs).await);
    checks
}

fn of_credentials(gcs: std::result::Result<&Gcs, &StorageError>) -> Check {
    match gcs {
        Ok(gcs) => check("credentials", Verdict::Ok, gcs.identity_words()),
        Err(error) => failed("credentials", error),
    }
}

async fn list(gcs: &Gcs, root: &str) -> Result<(Option<ObjectName>, String)> {
    let by_folder = ListQuery {
        prefix: root.to_owned(),
        by_folder: true,
        ..ListQuery::default()
    };
    let folders = gcs.list(&by_folder).await?;
    let any = ListQuery {
        prefix: root.to_owned(),
        page_size: 5,
        ..ListQuery::default()
    };
    let first = gcs
        .list(&any)
        .await?
        .objects
        .into_iter()
        .find(|o| !o.name.is_folder_marker());
    let more = if folders.next_page.is_some() {
        " or more"
    } else {
        ""
    };
    let words = format!("{}{more} runs below {root}", folders.prefixes.len());
    Ok((first.map(|o| o.name), words))
}

async fn read(gcs: &Gcs, name: Option<&ObjectName>) -> Check {
    let Some(name) = name else {
        return check("read", Verdict::Skipped, "there is nothing to read yet");
    };
    match gcs.read_range(name, 0, 16).await {
        Ok(_) => check("read", Verdict::Ok, "an object's first bytes were read"),
        Err(error) => failed("read", &error),
    }
}

async fn sign(gcs: &Gcs, probe: &ObjectName, probe_is_there: bool) -> Check {
    let link = match gcs.link(probe, super::links::WANTED_LIFETIME).await {
        Ok(link) => link,
        Err(StorageError::Forbidden { detail, remedy, .. }) => {
            let words =
                format!("{detail}; reports will show local paths; grant this account {remedy}");
            return check("sign", Verdict::Warning, &words);
        }
        Err(error) => return failed("sign", &error),
    };
    if probe_is_there && let Err(error) = gcs.try_link(&link.url).await {
        return failed("sign", &error);
    }
    let (verdict, words) = match link.kind {
        LinkKind::OwnKey => (
            Verdict::Ok,
            "links are signed with the account's own key, 72 h",
        ),
        LinkKind::SignBlob => (
            Verdict::Warning,
            "links are signed by signBlob, 12 h at most; a service account key in FIREBASE_CREDENTIALS \
             gives 72 h",
        ),
        LinkKind::Public => (
            Verdict::Warning,
            "links cannot be signed; the objects are public, so that plain addresses work",
        ),
        LinkKind::LocalPath => (Verdict::Warning, "links are local paths"),
    };
    check("sign", verdict, words)
}

async fn clock(gcs: &Gcs) -> Check {
    let asked_at = SystemTime::now();
    match gcs.server_time().await {
        Ok(theirs) => judge_clock(asked_at, theirs),
        Err(error) => failed("clock", &error),
    }
}

/// Judges this machine's clock `mine` by the server's.
fn judge_clock(mine: SystemTime, theirs: SystemTime) -> Check {
    let (off, word) = match theirs.duration_since(mine) {
        Ok(behind) => (behind, "behind"),
        Err(ahead) => (ahead.duration(), "ahead"),
    };
    let words = format!("this machine is {} s {word}", off.as_secs());
    let remedy = "; let it keep the network's time (NTP), or signed requests are refused";
    if off > CLOCK_WRONG {
        check("clock", Verdict::Failed, &(words + remedy))
    } else if off > CLOCK_OFF {
        check("clock", Verdict::Warning, &(words + remedy))
    } else {
        check("clock", Verdict::Ok, "agrees with the server's")
    }
}

fn check(what: &'static str, verdict: Verdict, words: &str) -> Check {
    Check {
        what,
        verdict,
        words: words.to_owned(),
    }
}

fn failed(what: &'static str, error: &StorageError) -> Check {
    check(what, Verdict::Failed, &error.to_string())
}

fn skipped(what: &'static str) -> Check {
    check(what, Verdict::Skipped, "not checked, because of the above")
}

fn random() -> u32 {
    let mut bytes = [0u8; 4];
    // Without randomness two doctors at one moment could meet; the precondition then says so.
    let _ = getrandom::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_told_with_its_remedy() {
        let now = SystemTime::now();
        let at = |secs| judge_clock(now, now + Duration::from_secs(secs));
        assert_eq!(at(5).verdict, Verdict::Ok);
        assert_eq!(at(60).verdict, Verdict::Warning);
        assert_eq!(at(900).verdict, Verdict::Failed);
        assert!(at(900).words.contains("900 s behind") && at(900).words.contains("NTP"));
        let ahead = judge_clock(now + Duration::from_secs(900), now);
        assert!(ahead.words.contains("ahead"), "{}", ahead.words);
    }
}
