//! `fill-audit pull | push | list | doctor` as a person types them, against the emulator.

use std::path::Path;

use anyhow::Result;
use assert_cmd::Command;
use fill_audit::model::approved::ApprovedSettings;
use fill_audit::storage::store::read_verified;
use fill_audit::storage::{Precondition, Store as _};
use predicates::prelude::*;

use super::faults::remote;
use super::leaks;
use super::support::{
    emulator, ensure_same, fixture, log_folder, make_run, name, new_bucket, open, push, tree,
};

fn fill_audit(address: &str, bucket: &str, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
    command
        .env_clear()
        .env("HOME", home)
        .env("STORAGE_EMULATOR_HOST", address)
        .env("FIREBASE_CREDENTIALS", fixture("signing/key.json"))
        .env("FILL_AUDIT_BUCKET", bucket)
        .envs(log_folder())
        .current_dir(home)
        .timeout(std::time::Duration::from_mins(1));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_up_is_listed_and_comes_down() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "commands").await?;
    let home = tempfile::tempdir()?;
    let original = make_run(&home.path().join("mine"), "r1", 3, 5000)?;
    let run = |args: &[&str]| {
        let mut command = fill_audit(&address, &bucket, home.path());
        command.args(args);
        command
    };
    run(&["push", "mine/r1"])
        .assert()
        .success()
        .stdout(predicate::str::contains("9 sent, 0 unchanged"));
    run(&["list"]).assert().success().stdout(
        predicate::str::contains("r1")
            .and(predicate::str::contains("3/3"))
            .and(predicate::str::contains("bucket")),
    );
    run(&["pull", "r1", "--into", "a"])
        .assert()
        .success()
        .stdout(predicate::str::contains("9 fetched"));
    ensure_same(
        &tree(&home.path().join("a/r1"), false)?,
        &tree(&original, false)?,
    )?;
    let pasted = format!(
        "https://console.cloud.google.com/storage/browser/{bucket}/audit/r1;tab=objects?project=p"
    );
    run(&["pull", &pasted, "--into", "a"])
        .assert()
        .success()
        .stdout(predicate::str::contains("9 unchanged"));
    // Both sides change the report: nothing is overwritten until somebody says which.
    std::fs::write(original.join("REPORT.md"), "mine")?;
    std::fs::write(home.path().join("a/r1/REPORT.md"), "theirs")?;
    run(&["push", "a/r1"]).assert().success();
    run(&["push", "mine/r1"])
        .assert()
        .failure()
        .stdout(predicate::str::contains(
            "--mine REPORT.md or --theirs REPORT.md",
        ));
    run(&["push", "mine/r1", "--mine", "REPORT.md"])
        .assert()
        .success();
    run(&["pull", "r1", "--into", "a"]).assert().success();
    assert_eq!(
        std::fs::read_to_string(home.path().join("a/r1/REPORT.md"))?,
        "mine"
    );
    run(&["doctor"])
        .assert()
        .success()
        .stdout(predicate::str::contains("FAILED").not());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_a_push_is_queued_and_sent_later() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "queue").await?;
    let home = tempfile::tempdir()?;
    make_run(&home.path().join("runs"), "r1", 2, 500)?;
    fill_audit("http://127.0.0.1:9", &bucket, home.path())
        .args(["push", "runs/r1"])
        .assert()
        .success()
        .stdout(predicate::str::contains("offline").and(predicate::str::contains("queued")));
    let store = open(&address, &bucket).await?;
    assert!(
        super::faults::remote(&*store, "audit/r1/")
            .await?
            .is_empty()
    );
    fill_audit(&address, &bucket, home.path())
        .args(["push", "--queued"])
        .assert()
        .success()
        .stdout(predicate::str::contains("7 sent"));
    assert_eq!(super::faults::remote(&*store, "audit/r1/").await?.len(), 7);
    fill_audit(&address, &bucket, home.path())
        .args(["push", "--queued"])
        .assert()
        .success()
        .stdout(predicate::str::contains("nothing is queued"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_back_to_the_bucket_that_it_came_from() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let theirs = new_bucket(&address, "origin").await?;
    let ours = new_bucket(&address, "configured").await?;
    let home = tempfile::tempdir()?;
    let original = make_run(home.path(), "r1", 2, 500)?;
    let (there, here) = (open(&address, &theirs).await?, open(&address, &ours).await?);
    push(there.clone(), &original, "audit/r1/").run().await?;
    let settings = home.path().join(".config/fill-audit/storage.toml");
    std::fs::create_dir_all(settings.parent().unwrap_or(home.path()))?;
    std::fs::write(settings, format!("bucket = \"{ours}\"\n"))?;
    let run = |address: &str, args: &[&str]| {
        let mut command = fill_audit(address, "", home.path());
        command.args(args);
        command
    };
    run(&address, &["pull", &format!("gs://{theirs}/audit/r1")])
        .assert()
        .success();
    let report = home.path().join("runs/r1/REPORT.md");
    std::fs::write(&report, "judged")?;
    run(&address, &["push", "runs/r1"])
        .assert()
        .success()
        .stdout(predicate::str::contains("1 sent, 6 unchanged"));
    assert!(
        remote(&*here, "").await?.is_empty(),
        "it went to the configured bucket"
    );
    // What waits on disk goes there too, although another bucket is configured.
    std::fs::write(&report, "judged again")?;
    run("http://127.0.0.1:9", &["push", "runs/r1"])
        .assert()
        .success()
        .stdout(predicate::str::contains("queued"));
    run(&address, &["push", "--queued"])
        .assert()
        .success()
        .stdout(predicate::str::contains("1 sent"));
    assert!(
        remote(&*here, "").await?.is_empty(),
        "it went to the configured bucket"
    );
    // A copy under another name is a run of its own, and a named bucket goes before.
    std::fs::create_dir(home.path().join("runs/r2"))?;
    for (file, bytes) in tree(&home.path().join("runs/r1"), true)? {
        std::fs::write(home.path().join("runs/r2").join(file), bytes)?;
    }
    run(&address, &["push", "runs/r2"]).assert().success();
    assert_eq!(remote(&*here, "audit/r2/").await?.len(), 7);
    run(&address, &["push", "runs/r1", "--bucket", &ours])
        .assert()
        .success();
    assert_eq!(remote(&*here, "audit/r1/").await?.len(), 7);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_meanwhile_waits_no_longer() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "sentmeanwhile").await?;
    let home = tempfile::tempdir()?;
    make_run(&home.path().join("runs"), "r1", 2, 500)?;
    let run = |address: &str, args: &[&str]| {
        let mut command = fill_audit(address, &bucket, home.path());
        command.args(args);
        command
    };
    run("http://127.0.0.1:9", &["push", "runs/r1"])
        .assert()
        .success()
        .stdout(predicate::str::contains("queued"));
    run(&address, &["push", "runs/r1"])
        .assert()
        .success()
        .stdout(predicate::str::contains("7 sent"));
    run(&address, &["push", "--queued"])
        .assert()
        .success()
        .stdout(predicate::str::contains("nothing is queued"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_go_up_with_the_run_that_they_were_approved_from() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "settings").await?;
    let home = tempfile::tempdir()?;
    let text = std::fs::read_to_string(fixture("review/example.toml"))?;
    let settings = ApprovedSettings::parse(&text, "example.toml")?;
    let (its, other) = (settings.approval.run.as_str(), "other");
    std::fs::write(home.path().join("phase1.toml"), &text)?;
    for id in [its, other] {
        make_run(&home.path().join("runs"), id, 1, 500)?;
        fill_audit(&address, &bucket, home.path())
            .args(["push", &format!("runs/{id}")])
            .assert()
            .success();
    }
    let store = open(&address, &bucket).await?;
    let there = remote(&*store, &format!("audit/{its}/")).await?;
    assert_eq!(
        there.get("phase1.toml"),
        Some(&crc32c::crc32c(text.as_bytes()))
    );
    let there = remote(&*store, &format!("audit/{other}/")).await?;
    assert!(!there.contains_key("phase1.toml"), "it is another run's");
    // A file that is named goes with any run.
    fill_audit(&address, &bucket, home.path())
        .args(["push", "runs/other", "--settings", "phase1.toml"])
        .assert()
        .success()
        .stdout(predicate::str::contains("1 sent"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_counts_for_the_generation_that_was_shown() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "generation").await?;
    let home = tempfile::tempdir()?;
    let mine = make_run(&home.path().join("mine"), "r1", 1, 500)?;
    let store = open(&address, &bucket).await?;
    push(store.clone(), &mine, "audit/r1/").run().await?;
    let object = name("audit/r1/REPORT.md")?;
    let theirs = async |text: &'static str| {
        let written = store
            .write(&object, text.into(), Precondition::None)
            .await?;
        anyhow::Ok(written.generation)
    };
    let deciding = |option: &str, generation: i64| {
        let mut command = fill_audit(&address, &bucket, home.path());
        command.args([
            "push",
            "mine/r1",
            option,
            &format!("REPORT.md@{generation}"),
        ]);
        command
    };
    std::fs::write(mine.join("REPORT.md"), "mine")?;
    let shown = theirs("theirs").await?;
    fill_audit(&address, &bucket, home.path())
        .args(["push", "mine/r1"])
        .assert()
        .failure()
        .stdout(predicate::str::contains(format!("REPORT.md@{shown}")));
    // It is written again before the decision arrives: nothing is replaced, and the new one is shown.
    let newer = theirs("theirs, written again").await?;
    for option in ["--mine", "--theirs", "--both"] {
        deciding(option, shown)
            .assert()
            .failure()
            .stdout(predicate::str::contains(format!("generation {newer}")));
        let there = store.stat(&object).await?;
        assert_eq!(there.generation, newer, "{option}");
        assert_eq!(std::fs::read_to_string(mine.join("REPORT.md"))?, "mine");
    }
    deciding("--mine", newer).assert().success();
    let there = store.stat(&object).await?;
    assert_eq!(read_verified(&*store, &there).await?, b"mine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_level_is_logged_into_a_folder_and_none_of_it_is_secret() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "logs").await?;
    let home = tempfile::tempdir()?;
    make_run(&home.path().join("runs"), "r1", 2, 500)?;
    let logs = home.path().join("logs");
    for args in [&["push", "runs/r1"][..], &["doctor"]] {
        fill_audit(&address, &bucket, home.path())
            .env("FILL_AUDIT_LOG_DIR", &logs)
            .args(args)
            .assert()
            .success()
            .stderr(predicate::str::contains("TRACE").not());
    }
    let logs = tree(&logs, true)?;
    assert_eq!(logs.len(), 2, "one for each process");
    for (file, bytes) in logs {
        let text = String::from_utf8(bytes)?;
        assert!(text.contains("TRACE") && text.contains("DEBUG"), "{file}");
        let secret = leaks::secret_in(&text, &leaks::key_pieces());
        assert_eq!(secret, None, "{file}");
    }
    // A folder that cannot be written is named, and stops nothing.
    fill_audit(&address, &bucket, home.path())
        .env("FILL_AUDIT_LOG_DIR", home.path().join("runs/r1/run.ron"))
        .args(["push", "runs/r1"])
        .assert()
        .success()
        .stderr(predicate::str::contains("FILL_AUDIT_LOG_DIR"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_is_named_with_its_remedy() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "wrong").await?;
    let home = tempfile::tempdir()?;
    for (args, said) in [
        (&["pull", "none"][..], "not found"),
        (&["pull", "../x"], "name refused"),
        (
            &["pull", "https://example.com/x"],
            "not an address in a bucket",
        ),
        (
            &["pull", "gs://some-bucket/elsewhere/r1"],
            "does not lie below audit/",
        ),
        (&["push", "nowhere"], "nowhere"),
        (&["pull", "r1", "--bucket", "UPPER"], "not a bucket's name"),
        (&["pull", "--session", "s1"], "--user"),
    ] {
        fill_audit(&address, &bucket, home.path())
            .args(args)
            .assert()
            .failure()
            .stderr(predicate::str::contains(said).and(predicate::str::contains("panicked").not()));
    }
    fill_audit(&address, "", home.path())
        .arg("doctor")
        .assert()
        .failure()
        .stdout(predicate::str::contains("no bucket is configured"));
    Ok(())
}
