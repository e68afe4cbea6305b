//! `pull` and `push` killed at 50 random moments each, and run again: identical trees, every time.
//!
//! The victim is this test binary itself, called for one test that does the work and nothing else.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fill_audit::storage::gcs::{Gcs, Identity, Limits};

use super::faults::{checksums, remote};
use super::support::{emulator, ensure_same, make_run, new_bucket, open, pull, push, tree};

const KILLS: u64 = 50;
const CELLS: usize = 24;
const TASK: &str = "FILL_AUDIT_TEST_VICTIM";

/// Does what the variable says (`pull` or `push`, address, bucket, prefix, folder, cache); without it, nothing.
#[tokio::test(flavor = "multi_thread")]
async fn victim() -> Result<()> {
    let Ok(task) = std::env::var(TASK) else {
        return Ok(());
    };
    let fields: Vec<&str> = task.split('\n').collect();
    let [what, address, bucket, prefix, dir, cache] = fields[..] else {
        anyhow::bail!("{TASK} has {} fields", fields.len());
    };
    let gcs = Gcs::new(bucket, address, Identity::anonymous(), Limits::default()).await?;
    let store = std::sync::Arc::new(gcs);
    let is_complete = if what == "pull" {
        pull(store, Path::new(cache), prefix, Path::new(dir))?
            .run()
            .await?
            .is_complete()
    } else {
        push(store, Path::new(dir), prefix)
            .run()
            .await?
            .is_complete()
    };
    ensure!(is_complete, "{what} was not complete");
    Ok(())
}

struct Victim<'a> {
    what: &'a str,
    address: &'a str,
    bucket: &'a str,
    prefix: &'a str,
    dir: &'a Path,
    cache: &'a Path,
}

impl Victim<'_> {
    fn start(&self) -> Result<std::process::Child> {
        let (dir, cache) = (self.dir.display(), self.cache.display());
        let task = format!(
            "{}\n{}\n{}\n{}\n{dir}\n{cache}",
            self.what, self.address, self.bucket, self.prefix
        );
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "kills::victim"]).env(TASK, task);
        Ok(command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?)
    }

    /// Kills it after `after`; whether it was still alive.
    fn killed_after(&self, after: Duration) -> Result<bool> {
        let mut child = self.start()?;
        let started = Instant::now();
        while started.elapsed() < after {
            if child.try_wait()?.is_some() {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill()?;
        child.wait()?;
        Ok(true)
    }

    fn to_the_end(&self) -> Result<Duration> {
        let started = Instant::now();
        ensure!(self.start()?.wait()?.success(), "{} failed", self.what);
        Ok(started.elapsed())
    }
}

/// A moment in the whole length of one undisturbed run, the same sequence each time.
fn moment(number: u64, whole: Duration) -> Duration {
    let mut state = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state ^= state >> 29;
    state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    whole.mul_f64((state >> 40) as f64 / (1u64 << 24) as f64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_killed_at_fifty_moments_ends_with_the_same_tree() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "killpull").await?;
    let scratch = tempfile::tempdir()?;
    let original = make_run(scratch.path(), "r1", CELLS, 150_000)?;
    push(open(&address, &bucket).await?, &original, "audit/r1/")
        .run()
        .await?;
    let at = |n: String| {
        (
            scratch.path().join(&n).join("r1"),
            scratch.path().join(&n).join("cache"),
        )
    };
    let (dir, cache) = at("whole".into());
    let victim = Victim {
        what: "pull",
        address: &address,
        bucket: &bucket,
        prefix: "audit/r1/",
        dir: &dir,
        cache: &cache,
    };
    let whole = victim.to_the_end()?;
    let wanted = tree(&dir, true)?; // with the hidden sync state
    ensure_same(&tree(&dir, false)?, &tree(&original, false)?)?;
    let mut halfway = 0;
    for number in 0..KILLS {
        let (dir, cache) = at(format!("k{number}"));
        let victim = Victim {
            dir: &dir,
            cache: &cache,
            ..victim
        };
        victim.killed_after(moment(number, whole))?;
        let left = if dir.exists() {
            tree(&dir, false)?
        } else {
            Default::default()
        };
        for (file, bytes) in &left {
            ensure!(
                wanted.get(file) == Some(bytes),
                "kill {number} left a wrong {file}"
            );
        }
        halfway += usize::from(!left.is_empty() && left.len() < CELLS * 2 + 3);
        victim.to_the_end()?;
        ensure_same(&tree(&dir, true)?, &wanted).with_context(|| format!("after kill {number}"))?;
        std::fs::remove_dir_all(scratch.path().join(format!("k{number}")))?;
    }
    println!("{halfway} of {KILLS} pulls were killed half-way; one takes {whole:?}");
    ensure!(halfway >= 5, "only {halfway} kills met a pull half-way");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_killed_at_fifty_moments_ends_with_the_same_objects() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "killpush").await?;
    let store = open(&address, &bucket).await?;
    let scratch = tempfile::tempdir()?;
    let dir = make_run(scratch.path(), "r1", CELLS, 150_000)?;
    let local = checksums(&dir)?;
    let cache = scratch.path().join("cache");
    let victim = Victim {
        what: "push",
        address: &address,
        bucket: &bucket,
        prefix: "audit/whole/",
        dir: &dir,
        cache: &cache,
    };
    let whole = victim.to_the_end()?;
    let mut halfway = 0;
    for number in 0..KILLS {
        let prefix = format!("audit/k{number}/");
        let victim = Victim {
            prefix: &prefix,
            ..victim
        };
        victim.killed_after(moment(number, whole))?;
        let left = remote(&*store, &prefix).await?;
        for (file, crc) in &left {
            ensure!(
                local.get(file) == Some(crc),
                "kill {number} left a wrong {file}"
            );
        }
        let is_whole = left.len() == local.len();
        ensure!(
            is_whole || !left.contains_key("REPORT.md"),
            "kill {number}: the report was not last"
        );
        halfway += usize::from(!left.is_empty() && !is_whole);
        victim.to_the_end()?;
        ensure!(
            remote(&*store, &prefix).await? == local,
            "objects differ after kill {number}"
        );
        ensure!(
            checksums(&dir)? == local,
            "kill {number} changed the local run"
        );
        for object in fill_audit::storage::store::list_all(&*store, &prefix, false)
            .await?
            .objects
        {
            fill_audit::storage::Store::delete(
                &*store,
                &object.name,
                fill_audit::storage::Precondition::None,
            )
            .await?;
        }
    }
    println!("{halfway} of {KILLS} pushes were killed half-way; one takes {whole:?}");
    ensure!(halfway >= 5, "only {halfway} kills met a push half-way");
    Ok(())
}
