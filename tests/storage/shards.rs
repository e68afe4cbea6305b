//! One run made by several processes, each on a disk of its own, which meet in the bucket only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fill_audit::audit::CONTACT_SHEET;
use fill_audit::audit::bucket_run::{BucketRun, Finished};
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::storage::cache::Cache;
use fill_audit::storage::store::{list_all, read_verified};
use fill_audit::storage::{Precondition, Store};
use tokio_util::sync::CancellationToken;

use super::support::{emulator, ensure_same, fixture, name, new_bucket, open, open_with_key, tree};

const LIMIT: Duration = Duration::from_secs(120);
const MATRIX: &str = "--quant Q4_0,Q5_K_S,Q8_0 --guidance 2,10,30 --crop 64 --margin 0.25 --despeck 2 \
                      --close 0 --open 0 --dilate 2 --feather 1";

/// A disk of its own, and the command on it.
struct Machine {
    root: PathBuf,
    address: String,
    bucket: String,
}

impl Machine {
    fn new(root: &Path, label: &str, address: &str, bucket: &str) -> Self {
        Self {
            root: root.join(label),
            address: address.to_owned(),
            bucket: bucket.to_owned(),
        }
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-fill");
        command
            .arg("run")
            .args(args.split_whitespace())
            .args(MATRIX.split_whitespace())
            .args(["--bucket", &self.bucket, "--out"])
            .arg(self.root.join("runs"))
            .arg("--queue")
            .arg(self.root.join("queue"))
            .arg("--cache")
            .arg(self.root.join("cache"))
            .env("XDG_CACHE_HOME", self.root.join("home"))
            .env("FILL_AUDIT_MODELS", models)
            .env("STORAGE_EMULATOR_HOST", &self.address)
            .env_remove("CLOUD_RUN_TASK_INDEX")
            .env_remove("CLOUD_RUN_TASK_COUNT")
            .stdin(Stdio::null());
        command
    }

    /// Begins a share.
    fn shard(&self, run_id: &str, shard: &str, steps: u32) -> Result<Child> {
        let session = format!("gs://{}/users/u1/sessions/s1", self.bucket);
        let args = format!("--session {session} --run-id {run_id} --steps {steps} --shard {shard}");
        let mut command = self.command(&args);
        Ok(command.stdout(Stdio::piped()).spawn()?)
    }
}

/// Waits for a process that must end well; what it said.
fn ended(child: Child) -> Result<String> {
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{} {said}", output.status);
    Ok(said)
}

async fn bucket_with_session(address: &str, test: &str) -> Result<String> {
    let bucket = new_bucket(address, test).await?;
    let store = open(address, &bucket).await?;
    for file in ["image.png", "mask.png"] {
        let bytes = std::fs::read(fixture("service-run").join(file))?;
        let object = name(&format!("users/u1/sessions/s1/{file}"))?;
        store
            .write(&object, bytes.into(), Precondition::Absent)
            .await?;
    }
    Ok(bucket)
}

/// The cells' pictures and what the model was given, by name.
fn pictures(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let is_picture = |name: &str| name.strip_suffix(".png").is_some() && name != CONTACT_SHEET;
    let found = files.iter().filter(|(name, _)| is_picture(name));
    found
        .map(|(name, bytes)| (name.clone(), bytes.clone()))
        .collect()
}

/// What lies in the bucket of a run, by name, with the generations.
async fn objects(
    address: &str,
    bucket: &str,
    run_id: &str,
) -> Result<(BTreeMap<String, Vec<u8>>, BTreeMap<String, i64>)> {
    let store = open(address, bucket).await?;
    let prefix = format!("audit/{run_id}/");
    let (mut files, mut generations) = (BTreeMap::new(), BTreeMap::new());
    for meta in list_all(&*store, &prefix, false).await?.objects {
        let file = meta.name.as_str()[prefix.len()..].to_owned();
        files.insert(file.clone(), read_verified(&*store, &meta).await?);
        generations.insert(file, meta.generation);
    }
    Ok((files, generations))
}

fn cells(generations: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let is_cell = |name: &str| name.strip_suffix(".ron").is_some_and(|stem| stem != "run");
    let found = generations.iter().filter(|(name, _)| is_cell(name));
    found.map(|(name, at)| (name.clone(), *at)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_shards_one_of_them_killed_are_one_unsharded_run() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = bucket_with_session(&address, "shards").await?;
    let scratch = tempfile::tempdir()?;
    let machine = |label: &str| Machine::new(scratch.path(), label, &address, &bucket);

    // All at once, so that each believes to be the first; the second is killed after its first cell.
    let first = machine("a").shard("sharded", "1/3", 6)?;
    let mut killed = machine("b").shard("sharded", "2/3", 6)?;
    let third = machine("c").shard("sharded", "3/3", 6)?;
    let deadline = Instant::now() + LIMIT;
    let before = loop {
        let (_, there) = objects(&address, &bucket, "sharded").await?;
        let mine: BTreeMap<String, i64> = cells(&there)
            .into_iter()
            .filter(|(name, _)| name.starts_with("Q5_K_S"))
            .collect();
        if !mine.is_empty() {
            break mine;
        }
        ensure!(
            Instant::now() < deadline,
            "no cell of the second shard arrives"
        );
        ensure!(killed.try_wait()?.is_none(), "the second shard has ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    killed.kill()?;
    killed.wait()?;
    for child in [first, third] {
        let said = ended(child)?;
        ensure!(said.contains("still to be made by other shards"), "{said}");
    }
    let (there, _) = objects(&address, &bucket, "sharded").await?;
    ensure!(
        !there.contains_key("REPORT.md"),
        "a report without all cells"
    );

    // It is started again, on another disk.
    let said = ended(machine("d").shard("sharded", "2/3", 6)?)?;
    ensure!(said.contains("has its report"), "{said}");
    let (sharded, generations) = objects(&address, &bucket, "sharded").await?;
    for (file, generation) in &before {
        ensure!(
            generations.get(file) == Some(generation),
            "{file} was made again"
        );
    }
    ensure!(cells(&generations).len() == 9, "{generations:?}");
    let report = String::from_utf8(sharded.get("REPORT.md").cloned().unwrap_or_default())?;
    ensure!(report.contains("9 of 9 done"), "{report}");

    let whole = machine("whole");
    let session = scratch.path().join("session");
    std::fs::create_dir_all(&session)?;
    for file in ["image.png", "mask.png"] {
        std::fs::copy(fixture("service-run").join(file), session.join(file))?;
    }
    let args = format!("--session {} --run-id whole --steps 6", session.display());
    ensure!(
        whole.command(&args).status()?.success(),
        "the whole run failed"
    );
    let whole = tree(&whole.root.join("runs/whole"), false)?;
    ensure_same(&pictures(&sharded), &pictures(&whole))?;
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&sharded), names(&whole), "the same files");

    // Anyone who looks again finds one finished run and changes nothing.
    let again = ended(machine("e").shard("sharded", "1/3", 6)?)?;
    ensure!(
        again.contains("0 made") && again.contains("had its report"),
        "{again}"
    );
    let (_, later) = objects(&address, &bucket, "sharded").await?;
    assert_eq!(later, generations);
    let copy = machine("e").root.join("runs/sharded");
    let run = run_folder::open(&copy, Verification::Full)?;
    assert_eq!((run.done_count(), run.cells.len()), (9, 9));
    ensure!(run.warnings.is_empty(), "{:?}", run.warnings);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_job_that_all_end_at_once_write_one_report() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = bucket_with_session(&address, "tasks").await?;
    let scratch = tempfile::tempdir()?;
    let session = format!("gs://{bucket}/users/u1/sessions/s1");
    let mut tasks = Vec::new();
    // Four tasks for three quants: one quant is divided.
    for index in 0..4 {
        let machine = Machine::new(scratch.path(), &index.to_string(), &address, &bucket);
        let args = format!("--session {session} --run-id job --steps 1");
        let mut command = machine.command(&args);
        // With a key of their own their reports differ: each has links that it signed itself.
        command
            .env("FIREBASE_CREDENTIALS", fixture("signing/key.json"))
            .env("CLOUD_RUN_TASK_INDEX", index.to_string())
            .env("CLOUD_RUN_TASK_COUNT", "4");
        tasks.push(command.stdout(Stdio::piped()).spawn()?);
    }
    let mut said = Vec::new();
    for task in tasks {
        said.push(ended(task)?);
    }
    let wrote = said
        .iter()
        .filter(|said| said.contains("complete and has its report"))
        .count();
    assert_eq!(wrote, 1, "{said:?}");
    let (files, generations) = objects(&address, &bucket, "job").await?;
    assert_eq!(cells(&generations).len(), 9);
    let report = String::from_utf8(files.get("REPORT.md").cloned().unwrap_or_default())?;
    ensure!(report.contains("9 of 9 done"), "{report}");
    assert_eq!(report.matches("X-Goog-Signature=").count(), 9);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_believe_to_be_last_one_writes_the_report() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = bucket_with_session(&address, "last").await?;
    let scratch = tempfile::tempdir()?;
    let machine = Machine::new(scratch.path(), "a", &address, &bucket);
    ended(machine.shard("r", "1/1", 1)?)?;
    let report = name("audit/r/REPORT.md")?;
    // With a key: each report has links of its own, so that no two are equal.
    let store: Arc<dyn Store> = Arc::new(open_with_key(&address, &bucket).await?);
    let never = CancellationToken::new();
    for round in 0..4 {
        store.delete(&report, Precondition::None).await?;
        if round == 3 {
            // One that was written before the last cell was there, as by a task that was killed then.
            let old = "# Baseline Audit Report\n\n8 of 9 done\n".to_owned();
            store
                .write(&report, old.into(), Precondition::Absent)
                .await?;
        }
        let mut running = tokio::task::JoinSet::new();
        for number in 0..4 {
            let root = scratch.path().join(format!("{round}-{number}"));
            let place = BucketRun {
                store: Arc::clone(&store),
                cache: Arc::new(Cache::open(root.join("cache"), 1_000_000_000)?),
                prefix: "audit/r/".to_owned(),
                folder: root.join("r"),
            };
            let never = never.clone();
            running.spawn(async move { place.finish(&never).await });
        }
        let mut ends = Vec::new();
        while let Some(end) = running.join_next().await {
            ends.push(end??);
        }
        let count = |wanted| ends.iter().filter(|end| **end == wanted).count();
        assert_eq!(count(Finished::WroteReport), 1, "{round}: {ends:?}");
        assert_eq!(count(Finished::HadReport), 3, "{round}: {ends:?}");
        let meta = store.stat(&report).await?;
        let text = String::from_utf8(read_verified(&*store, &meta).await?)?;
        ensure!(text.contains("9 of 9 done"), "{round}: {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_whose_cells_fail_ends_well_and_the_report_says_so() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = bucket_with_session(&address, "failing").await?;
    let scratch = tempfile::tempdir()?;
    // Weights whose last quant has a layer of values that are no numbers.
    let models = scratch.path().join("models");
    for (file, mut bytes) in tree(&fixture("../../assets/tiny-fill"), true)? {
        let path = models.join(&file);
        std::fs::create_dir_all(path.parent().context("a file's folder")?)?;
        if file.ends_with("Q8_0.gguf") {
            let len = bytes.len();
            bytes[len - 256..].fill(0xff);
        }
        std::fs::write(path, &bytes)?;
    }
    let session = format!("gs://{bucket}/users/u1/sessions/s1");
    let mut said = String::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let machine = Machine::new(scratch.path(), &shard.replace('/', "-"), &address, &bucket);
        let args = format!("--session {session} --run-id failing --steps 1 --shard {shard}");
        let mut command = machine.command(&args);
        command.env("FILL_AUDIT_MODELS", &models);
        said = ended(command.stdout(Stdio::piped()).spawn()?)?;
    }
    ensure!(said.contains("3 failed; the run is complete"), "{said}");
    let (files, _) = objects(&address, &bucket, "failing").await?;
    let report = String::from_utf8_lossy(files.get("REPORT.md").context("no report")?);
    ensure!(report.contains("6 of 9 done"), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_asks_for_something_else_is_refused() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = bucket_with_session(&address, "other").await?;
    let scratch = tempfile::tempdir()?;
    let machine = |label: &str| Machine::new(scratch.path(), label, &address, &bucket);
    ended(machine("a").shard("r", "1/3", 1)?)?;
    // A folder in which the same run was begun before the bucket had it takes the bucket's plan.
    let begun = machine("begun");
    let session = format!("gs://{bucket}/users/u1/sessions/s1");
    let args = format!("--session {session} --run-id r --steps 1 --max-cells 1");
    std::thread::sleep(Duration::from_millis(1100));
    ensure!(begun.command(&args).status()?.success(), "it was not begun");
    let plan = begun.root.join("runs/r/run.ron");
    let (before, there) = (
        std::fs::read(&plan)?,
        objects(&address, &bucket, "r").await?.0,
    );
    ensure!(
        there.get("run.ron") != Some(&before),
        "begun in the same second"
    );
    ended(begun.shard("r", "1/3", 1)?)?;
    ensure!(
        there.get("run.ron") == Some(&std::fs::read(&plan)?),
        "two plans"
    );
    let mut other = machine("b").command(&format!(
        "--session gs://{bucket}/users/u1/sessions/s1 --run-id r --steps 2 --shard 2/3"
    ));
    let output = other.output().context("it does not start")?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    ensure!(said.contains("started with another matrix"), "{said}");
    // A run that is there is gone on with by its name alone.
    let mut resumed = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
    resumed
        .args([
            "run", "--resume", "r", "--shard", "2/3", "--bucket", &bucket, "--out",
        ])
        .arg(scratch.path().join("c"))
        .arg("--cache")
        .arg(scratch.path().join("c-cache"))
        .arg("--queue")
        .arg(scratch.path().join("c-queue"))
        .env("XDG_CACHE_HOME", scratch.path().join("c-home"))
        .env(
            "FILL_AUDIT_MODELS",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-fill"),
        )
        .env("STORAGE_EMULATOR_HOST", &address);
    let output = resumed.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let (_, generations) = objects(&address, &bucket, "r").await?;
    assert_eq!(cells(&generations).len(), 6);
    Ok(())
}
