//! Ctrl-C, runs made from a bucket's session and sent back, links that are signed again; with the real
//! binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fill_audit::audit::report_links;
use fill_audit::storage::{LocalDir, Precondition, Store};

use super::faults::remote;
use super::faulty_server::{self, Fault, FaultyServer, Kind};
use super::leaks;
use super::support::{
    emulator, ensure_same, fixture, log_folder, make_run, name, new_bucket, open, push, tree,
};

/// The program in `home`, with every log line of every crate on its standard error.
fn program(address: &str, bucket: &str, home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
    command
        .env_clear()
        .env("HOME", home)
        .env("STORAGE_EMULATOR_HOST", address)
        .env("FIREBASE_CREDENTIALS", fixture("signing/key.json"))
        .env("FILL_AUDIT_BUCKET", bucket)
        .env("FILL_AUDIT_MODELS", fixture("tiny-fill/bundle"))
        .env("FILL_AUDIT_LOG", "trace")
        .envs(log_folder())
        .current_dir(home);
    command
}

/// What it said, after a search for secrets in all of it.
fn said(output: &Output) -> Result<(String, String)> {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    for text in [&out, &error] {
        if let Some(secret) = leaks::secret_in(text, &leaks::key_pieces()) {
            anyhow::bail!("a secret ({secret}) was said");
        }
    }
    Ok((out, error))
}

fn succeed(command: &mut Command) -> Result<(String, String)> {
    let output = command.output()?;
    let (out, error) = said(&output)?;
    ensure!(output.status.success(), "{command:?}: {out}\n{error}");
    Ok((out, error))
}

/// Starts the command, sends it Ctrl-C once the server has held up one of its requests, and gives what it
/// said in the end.
async fn interrupted(mut command: Command, server: &FaultyServer) -> Result<(Option<i32>, String)> {
    let before = server.concerned.load(Ordering::SeqCst);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let limit = Instant::now() + Duration::from_secs(30);
    while server.concerned.load(Ordering::SeqCst) == before {
        ensure!(Instant::now() < limit, "no request was held up within 30 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sent = Instant::now();
    let id = child.id().to_string();
    Command::new("kill").args(["-INT", &id]).status()?;
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    ensure!(
        sent.elapsed() < Duration::from_secs(10),
        "it did not stop at once"
    );
    let (_, error) = said(&output)?;
    Ok((output.status.code(), error))
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_pull_push_and_list_with_130_and_says_how_to_go_on() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "ctrlc").await?;
    let home = tempfile::tempdir()?;
    let original = make_run(&home.path().join("mine"), "r1", 4, 50_000)?;
    push(open(&address, &bucket).await?, &original, "audit/r1/")
        .run()
        .await?;
    let stall = |kind| faulty_server::start(&address, kind, Fault::StallAfter(10), usize::MAX);
    let command = |address: &str, args: &[&str]| {
        let mut command = program(address, &bucket, home.path());
        command.args(args);
        command
    };

    let server = stall(Kind::Media).await?;
    let pull = command(&server.address, &["pull", "r1", "--into", "a"]);
    let (code, error) = interrupted(pull, &server).await?;
    assert_eq!(code, Some(130), "{error}");
    ensure!(
        error.contains("the same command fetches the rest"),
        "{error}"
    );
    succeed(&mut command(&address, &["pull", "r1", "--into", "a"]))?;
    ensure_same(
        &tree(&home.path().join("a/r1"), false)?,
        &tree(&original, false)?,
    )?;

    let second = make_run(&home.path().join("mine"), "r2", 3, 50_000)?;
    let server = stall(Kind::Upload).await?;
    let pushing = command(&server.address, &["push", "mine/r2"]);
    let (code, error) = interrupted(pushing, &server).await?;
    assert_eq!(code, Some(130), "{error}");
    ensure!(error.contains("the same command sends the rest"), "{error}");
    succeed(&mut command(&address, &["push", "mine/r2"]))?;
    let there = remote(&*open(&address, &bucket).await?, "audit/r2/").await?;
    assert_eq!(there.len(), tree(&second, false)?.len());

    let server = stall(Kind::Json).await?;
    let (code, error) = interrupted(command(&server.address, &["list"]), &server).await?;
    assert_eq!(code, Some(130), "{error}");
    ensure!(error.contains("stopped"), "{error}");
    Ok(())
}

/// Puts the fixture's session into the bucket.
async fn session_there(store: &dyn Store) -> Result<()> {
    for file in ["image.png", "mask.png"] {
        let object = name(&format!("users/u1/sessions/S1/{file}"))?;
        let bytes = std::fs::read(fixture("service-run").join(file))?;
        store
            .write(&object, bytes.into(), Precondition::Absent)
            .await?;
    }
    Ok(())
}

/// A run that takes seconds.
fn quick_run(run_id: &str, further: &[&str]) -> Vec<String> {
    let words = "run --quant Q4_0 --guidance 2,10 --steps 1 --size 64 --despeck 2 --open 0 --dilate 2 \
                 --feather 1 --run-id";
    let words = words.split_whitespace().chain([run_id]);
    words
        .chain(further.iter().copied())
        .map(str::to_owned)
        .collect()
}

fn report(folder: &Path) -> Result<String> {
    let path = folder.join("REPORT.md");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_bucket_is_run_and_goes_back_with_links_that_are_signed_again()
-> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "runpush").await?;
    let store = open(&address, &bucket).await?;
    session_there(&*store).await?;
    let home = tempfile::tempdir()?;
    let session = format!("gs://{bucket}/users/u1/sessions/S1/");
    let mut command = program(&address, &bucket, home.path());
    command.args(quick_run("r1", &["--session", &session, "--push"]));
    let (out, error) = succeed(&mut command)?;
    ensure!(
        error.contains("links will be signed with the account's own key"),
        "the link was not tried: {error}"
    );
    ensure!(out.contains("2 made; the run is complete"), "{out}");
    let run = home.path().join("runs/r1");
    let first = report(&run)?;
    for expected in [
        "**Session:** S1",
        "V4 signed with the account's own key, valid until",
        "X-Goog-Signature=",
    ] {
        ensure!(first.contains(expected), "{expected}: {first}");
    }
    let there = remote(&*store, "audit/r1/").await?;
    for file in [
        "run.ron",
        "Q4_0_gs10.png",
        "Q4_0_gs10.fill.png",
        "REPORT.md",
    ] {
        ensure!(there.contains_key(file), "{file} is not there: {there:?}");
    }
    assert_eq!(
        there,
        super::faults::checksums(&run)?,
        "both sides are equal"
    );
    ensure!(
        !home.path().join("sessions").exists(),
        "the session is the run's own"
    );

    // The link of the report opens the picture.
    let link = first
        .split("[view](")
        .nth(1)
        .and_then(|rest| rest.split(')').next())
        .context("no link")?;
    let answer = reqwest::get(link).await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    let bytes = answer.bytes().await?;
    ensure!(
        bytes == std::fs::read(run.join("Q4_0_gs2.png"))?,
        "another picture"
    );

    // Signed again a second later, they are others, and a push sends the report.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut renew = program(&address, "", home.path());
    renew.args(["report", "r1", "--renew-links"]);
    let (out, _) = succeed(&mut renew)?;
    ensure!(out.contains("valid until"), "{out}");
    let second = report(&run)?;
    ensure!(
        second != first && second.contains("X-Goog-Signature="),
        "{second}"
    );
    let mut sending = program(&address, &bucket, home.path());
    let (out, _) = succeed(sending.args(["push", "runs/r1"]))?;
    ensure!(out.contains("1 sent"), "{out}");

    // The session's id with its user is as good as its address; the same run is found again.
    let mut again = program(&address, &bucket, home.path());
    again.args(quick_run("r1", &["--session", "S1", "--user", "u1"]));
    let (out, _) = succeed(&mut again)?;
    ensure!(out.contains("all 2 cells are there already"), "{out}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_known_before_any_weights_are_loaded() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let home = tempfile::tempdir()?;
    let session = fixture("service-run").display().to_string();
    let run = |bucket: &str, credentials: &str, address: Option<&str>| -> Result<Output> {
        let mut command = program(address.unwrap_or_default(), bucket, home.path());
        command.env("FIREBASE_CREDENTIALS", credentials);
        // No weights: whoever gets so far names them.
        command.env("FILL_AUDIT_MODELS", home.path());
        command.args(quick_run("r1", &["--session", &session, "--push"]));
        Ok(command.output()?)
    };
    let key = fixture("signing/key.json").display().to_string();
    for (bucket, credentials, wanted) in [
        ("", key.as_str(), "no bucket is configured"),
        ("some-bucket", "/none.json", "/none.json cannot be read"),
    ] {
        let output = run(bucket, credentials, Some(&address))?;
        let (_, error) = said(&output)?;
        assert_eq!(output.status.code(), Some(1), "{error}");
        ensure!(error.contains(wanted), "{wanted}: {error}");
    }
    // Without leave to sign it goes on, and says what the report will have instead.
    let bucket = new_bucket(&address, "nosign").await?;
    let output = run(&bucket, "", Some(&address))?;
    let (_, error) = said(&output)?;
    ensure!(error.contains("links cannot be signed"), "{error}");
    ensure!(!home.path().join("runs").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_is_sent_later_says_which_kind_its_links_are() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "laterlinks").await?;
    let home = tempfile::tempdir()?;
    let session = fixture("service-run").display().to_string();
    let run = home.path().join("runs/r1");
    let command = |address: &str, args: &[&str]| {
        let mut command = program(address, &bucket, home.path());
        command.args(args);
        command
    };
    let mut making = program(&address, &bucket, home.path());
    succeed(making.args(quick_run("r1", &["--session", &session])))?;
    let plain = report(&run)?;
    let sentence = "Links are the names of the files beside this report; they do not expire.";
    ensure!(plain.contains(sentence), "{plain}");
    // A plain push signs, once.
    let (out, _) = succeed(&mut command(&address, &["push", "runs/r1"]))?;
    ensure!(out.contains(" sent, 0 unchanged"), "{out}");
    let signed = report(&run)?;
    for expected in [
        "[view](http",
        "V4 signed with the account's own key, valid until",
    ] {
        ensure!(signed.contains(expected), "{expected}: {signed}");
    }
    ensure!(!signed.contains(sentence), "{signed}");
    let there = || async { remote(&*open(&address, &bucket).await?, "audit/r1/").await };
    assert_eq!(there().await?, super::faults::checksums(&run)?);
    let (out, _) = succeed(&mut command(&address, &["push", "runs/r1"]))?;
    ensure!(out.contains("0 sent"), "{out}");
    // What is written anew gets them again, also when it had to wait.
    succeed(&mut command(&address, &["report", "r1"]))?;
    assert_eq!(report(&run)?, plain);
    succeed(&mut command("http://127.0.0.1:9", &["push", "runs/r1"]))?;
    assert_eq!(report(&run)?, plain);
    let (out, _) = succeed(&mut command(&address, &["push", "--queued"]))?;
    ensure!(out.contains("1 sent"), "{out}");
    ensure!(report(&run)?.contains("V4 signed"), "{}", report(&run)?);
    assert_eq!(there().await?, super::faults::checksums(&run)?);
    // Without a key the emulator's objects are public, and that is said; a folder has no addresses.
    std::fs::write(run.join("REPORT.md"), &plain)?;
    let mut nobody = command(&address, &["push", "runs/r1"]);
    succeed(nobody.env_remove("FIREBASE_CREDENTIALS"))?;
    let public = report(&run)?;
    ensure!(
        public.contains("[view](http") && public.contains("Links are public addresses"),
        "{public}"
    );
    let other = home.path().join("shelf/r1");
    std::fs::create_dir_all(&other)?;
    for (file, bytes) in tree(&run, false)? {
        std::fs::write(other.join(file), bytes)?;
    }
    std::fs::write(other.join("REPORT.md"), &plain)?;
    let shelf = std::sync::Arc::new(LocalDir::new(home.path().join("store")));
    report_links::push(&push(shelf, &other, "audit/r1/")).await?;
    assert_eq!(report(&other)?, plain);
    // An edited report is nobody's but its editor's.
    let edited = plain.replacen("## GPU Info", "Seen by Ann.\n\n## GPU Info", 1);
    std::fs::write(run.join("REPORT.md"), &edited)?;
    succeed(&mut command(&address, &["push", "runs/r1"]))?;
    assert_eq!(report(&run)?, edited);
    assert_eq!(there().await?, super::faults::checksums(&run)?);
    // One that another has written since keeps its bytes, and the local one is not touched.
    std::fs::write(run.join("REPORT.md"), &plain)?;
    let object = name("audit/r1/REPORT.md")?;
    let store = open(&address, &bucket).await?;
    store
        .write(&object, "theirs".into(), Precondition::None)
        .await?;
    let output = command(&address, &["push", "runs/r1"]).output()?;
    said(&output)?;
    assert_eq!(report(&run)?, plain);
    let meta = store.stat(&object).await?;
    assert_eq!(meta.size_bytes, 6);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_without_a_network_waits_on_disk() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "runqueue").await?;
    let home = tempfile::tempdir()?;
    let session = fixture("service-run").display().to_string();
    let mut command = program("http://127.0.0.1:9", &bucket, home.path());
    command.args(quick_run("r1", &["--session", &session, "--push"]));
    let (out, error) = succeed(&mut command)?;
    ensure!(error.contains("the run will wait on disk"), "{error}");
    ensure!(out.contains("queued"), "{out}");
    let (out, _) = succeed(program(&address, &bucket, home.path()).args(["push", "--queued"]))?;
    ensure!(out.contains("sent"), "{out}");
    let there = remote(&*open(&address, &bucket).await?, "audit/r1/").await?;
    let run: PathBuf = home.path().join("runs/r1");
    assert_eq!(there, super::faults::checksums(&run)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_run_keeps_its_report_and_gets_new_links_elsewhere() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "servicelinks").await?;
    let home = tempfile::tempdir()?;
    let id = "20260222-025304";
    let source = home.path().join("theirs").join(id);
    std::fs::create_dir_all(&source)?;
    for (file, bytes) in tree(&fixture("service-run/audit").join(id), false)? {
        std::fs::write(source.join(file), bytes)?;
    }
    push(
        open(&address, &bucket).await?,
        &source,
        &format!("audit/{id}/"),
    )
    .run()
    .await?;
    succeed(program(&address, &bucket, home.path()).args(["pull", id]))?;
    let before = report(&home.path().join("runs").join(id))?;
    let output = program(&address, &bucket, home.path())
        .args(["report", id, "--renew-links"])
        .output()?;
    let (_, error) = said(&output)?;
    ensure!(error.contains("its report is left as it is"), "{error}");
    let mut elsewhere = program(&address, &bucket, home.path());
    elsewhere.args(["report", id, "--renew-links", "--out", "links.md"]);
    succeed(&mut elsewhere)?;
    assert_eq!(report(&home.path().join("runs").join(id))?, before);
    let links = std::fs::read_to_string(home.path().join("links.md"))?;
    assert_eq!(links.matches("X-Goog-Signature=").count(), 15);
    Ok(())
}
