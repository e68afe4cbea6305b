//! `pull` and `push` killed at 50 random moments each, and run again: identical trees, every time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::faults::{checksums, remote};
use super::support::{emulator, ensure_same, make_run, new_bucket, open, push, tree};

const KILLS: u64 = 50;
const CELLS: usize = 24;

struct Victim<'a> {
    what: &'a str,
    address: &'a str,
    bucket: &'a str,
    /// Where runs live in the bucket.
    root: &'a str,
    /// The folder that holds `r1`.
    dir: &'a Path,
    /// Cache and settings.
    home: &'a Path,
}

impl Victim<'_> {
    fn start(&self) -> Result<std::process::Child> {
        std::fs::create_dir_all(self.home)?;
        let settings = self.home.join("storage.toml");
        std::fs::write(
            &settings,
            format!("run_prefix = \"{}{{run_id}}/\"\n", self.root),
        )?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
        command.env("STORAGE_EMULATOR_HOST", self.address);
        if self.what == "pull" {
            command.args(["pull", "r1", "--into"]).arg(self.dir);
        } else {
            command
                .arg("push")
                .arg(self.dir.join("r1"))
                .arg("--queue")
                .arg(self.home.join("queue"));
        }
        command
            .args(["--bucket", self.bucket, "--storage-config"])
            .arg(&settings);
        command.arg("--cache").arg(self.home.join("cache"));
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

/// How long one takes, as far as the last kill tells: a busy machine changes its pace meanwhile, and moments
/// that all lie before or behind the transfers would prove nothing.
fn next_length(whole: Duration, was_killed: bool, was_too_early: bool) -> Duration {
    match (was_killed, was_too_early) {
        (false, _) => whole.mul_f64(0.9),
        (true, true) => whole.mul_f64(1.1),
        (true, false) => whole,
    }
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
    let into = |n: &str| scratch.path().join(n).join("runs");
    let home = |n: &str| scratch.path().join(n).join("home");
    let (dir, at_home) = (into("whole"), home("whole"));
    let victim = Victim {
        what: "pull",
        address: &address,
        bucket: &bucket,
        root: "audit/",
        dir: &dir,
        home: &at_home,
    };
    let mut whole = victim.to_the_end()?;
    let wanted = tree(&dir.join("r1"), true)?; // with the hidden sync state
    ensure_same(&tree(&dir.join("r1"), false)?, &tree(&original, false)?)?;
    let mut halfway = 0;
    for number in 0..KILLS {
        let name = format!("k{number}");
        let (dir, at_home) = (into(&name), home(&name));
        let victim = Victim {
            dir: &dir,
            home: &at_home,
            ..victim
        };
        let was_killed = victim.killed_after(moment(number, whole))?;
        let dir = dir.join("r1");
        let left = if dir.exists() {
            tree(&dir, false)?
        } else {
            BTreeMap::default()
        };
        whole = next_length(whole, was_killed, left.is_empty());
        for (file, bytes) in &left {
            ensure!(
                wanted.get(file) == Some(bytes),
                "kill {number} left a wrong {file}"
            );
        }
        halfway += usize::from(!left.is_empty() && left.len() < CELLS * 2 + 3);
        victim.to_the_end()?;
        ensure_same(&tree(&dir, true)?, &wanted).with_context(|| format!("after kill {number}"))?;
        std::fs::remove_dir_all(scratch.path().join(name))?;
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
    let home = scratch.path().join("home");
    let victim = Victim {
        what: "push",
        address: &address,
        bucket: &bucket,
        root: "audit/whole/",
        dir: scratch.path(),
        home: &home,
    };
    let mut whole = victim.to_the_end()?;
    let mut halfway = 0;
    for number in 0..KILLS {
        let root = format!("audit/k{number}/");
        let prefix = format!("{root}r1/");
        let victim = Victim {
            root: &root,
            ..victim
        };
        let was_killed = victim.killed_after(moment(number, whole))?;
        let left = remote(&*store, &prefix).await?;
        whole = next_length(whole, was_killed, left.is_empty());
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
