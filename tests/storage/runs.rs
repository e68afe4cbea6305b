//! Whole runs up and down: order, conflicts, journals, offline, a run that fills while it is pulled, the
//! Python service's runs, sessions, the inbox, the doctor.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fill_audit::storage::cache::Cache;
use fill_audit::storage::conflict::{Conflict, Resolution};
use fill_audit::storage::doctor::{Verdict, examine};
use fill_audit::storage::gcs::{Environment, Limits};
use fill_audit::storage::inbox::{Thumbnail, list_inbox};
use fill_audit::storage::listing::Freshness;
use fill_audit::storage::pull::PullEvent;
use fill_audit::storage::store::read_verified;
use fill_audit::storage::{LocalDir, Precondition, StorageConfig, Store, session};

use super::faults::{checksums, remote};
use super::support::{
    emulator, ensure_same, fixture, make_run, name, new_bucket, open, pull, push, tree,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_push_sends_pictures_first_and_the_report_last() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "order").await?).await?;
    let scratch = tempfile::tempdir()?;
    let dir = make_run(scratch.path(), "r1", 5, 3000)?;
    std::fs::write(dir.join(".hidden"), "stays")?;
    let settings = scratch.path().join("phase1.toml");
    std::fs::write(&settings, "schema = 1\n")?;
    let mut push = push(store.clone(), &dir, "audit/r1/");
    push.options.extra = vec![("phase1.toml".into(), settings)];
    let report = push.run().await?;
    assert_eq!(report.sent.len(), 5 * 2 + 4);
    let stage = |file: &String| match file.as_str() {
        f if f.strip_suffix(".png").is_some() => 0,
        "run.ron" => 1,
        "REPORT.md" => 3,
        _ => 2,
    };
    ensure!(
        report.sent.is_sorted_by_key(stage),
        "sent in this order: {:?}",
        report.sent
    );
    let again = push.run().await?;
    assert_eq!((again.sent.len(), again.unchanged), (0, 14));
    assert!(!remote(&*store, "audit/r1/").await?.contains_key(".hidden"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_sides_changed_waits_for_a_decision() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "conflicts").await?).await?;
    let scratch = tempfile::tempdir()?;
    let mine = make_run(scratch.path(), "r1", 2, 1000)?;
    push(store.clone(), &mine, "audit/r1/").run().await?;
    // A colleague pulls, changes the report and pushes.
    let theirs = scratch.path().join("colleague/r1");
    let their_cache = scratch.path().join("colleague/cache");
    pull(store.clone(), &their_cache, "audit/r1/", &theirs)?
        .run()
        .await?;
    std::fs::write(theirs.join("REPORT.md"), "theirs")?;
    let report = push(store.clone(), &theirs, "audit/r1/").run().await?;
    assert_eq!(report.sent, ["REPORT.md"]);
    // Meanwhile nothing changed here: only the store's is newer.
    let report = push(store.clone(), &mine, "audit/r1/").run().await?;
    assert_eq!(report.newer_there, ["REPORT.md"]);
    // Then it did.
    std::fs::write(mine.join("REPORT.md"), "mine")?;
    let report = push(store.clone(), &mine, "audit/r1/").run().await?;
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    let words = report
        .conflicts
        .first()
        .map(Conflict::words)
        .unwrap_or_default();
    ensure!(
        words.contains("REPORT.md") && words.contains("4 bytes"),
        "{words}"
    );
    let cache = scratch.path().join("cache");
    let mut pulling = pull(store.clone(), &cache, "audit/r1/", &mine)?;
    assert_eq!(pulling.run().await?.conflicts.len(), 1);
    assert_eq!(std::fs::read_to_string(mine.join("REPORT.md"))?, "mine");
    // Taking theirs keeps mine aside, hidden.
    pulling
        .options
        .resolutions
        .by_file
        .insert("REPORT.md".into(), Resolution::TakeTheirs);
    assert_eq!(pulling.run().await?.arrived, ["REPORT.md"]);
    assert_eq!(std::fs::read_to_string(mine.join("REPORT.md"))?, "theirs");
    let kept = tree(&mine, true)?;
    ensure!(
        kept.iter()
            .any(|(n, b)| n.starts_with(".replaced-") && b == b"mine"),
        "mine is lost"
    );
    // Keeping mine replaces exactly the generation that was shown.
    std::fs::write(mine.join("REPORT.md"), "mine again")?;
    std::fs::write(theirs.join("REPORT.md"), "theirs again")?;
    push(store.clone(), &theirs, "audit/r1/").run().await?;
    let mut pushing = push(store.clone(), &mine, "audit/r1/");
    assert_eq!(pushing.run().await?.conflicts.len(), 1);
    pushing
        .options
        .resolutions
        .by_file
        .insert("REPORT.md".into(), Resolution::KeepMine);
    assert_eq!(pushing.run().await?.sent, ["REPORT.md"]);
    let meta = store.stat(&name("audit/r1/REPORT.md")?).await?;
    assert_eq!(read_verified(&*store, &meta).await?, b"mine again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reviewers_who_push_at_once_keep_all_their_events() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "journals").await?).await?;
    let scratch = tempfile::tempdir()?;
    let mut dirs = Vec::new();
    for machine in 0..4 {
        let dir = scratch.path().join(format!("m{machine}/r1"));
        std::fs::create_dir_all(&dir)?;
        let lines: Vec<String> = (0..5)
            .map(|n| format!("(id: \"{machine}-{n}\", note: \"a (b\")\n"))
            .collect();
        std::fs::write(dir.join("review-ann.ron"), lines.concat())?;
        dirs.push(dir);
    }
    let mut running = tokio::task::JoinSet::new();
    for dir in dirs.clone() {
        let push = push(store.clone(), &dir, "audit/r1/");
        running.spawn(async move { push.run().await });
    }
    while let Some(result) = running.join_next().await {
        let report = result??;
        ensure!(report.is_complete(), "{report:?}");
    }
    let meta = store.stat(&name("audit/r1/review-ann.ron")?).await?;
    let text = String::from_utf8(read_verified(&*store, &meta).await?)?;
    let lines: std::collections::BTreeSet<&str> = text.lines().collect();
    assert_eq!((text.lines().count(), lines.len()), (20, 20), "{text}");
    // After a pull everyone has all of them, each once, with their own first.
    for (machine, dir) in dirs.iter().enumerate() {
        let cache = scratch.path().join(format!("c{machine}"));
        pull(store.clone(), &cache, "audit/r1/", dir)?.run().await?;
        let text = std::fs::read_to_string(dir.join("review-ann.ron"))?;
        assert_eq!(text.lines().count(), 20, "{text}");
        ensure!(
            text.starts_with(&format!("(id: \"{machine}-0\"")),
            "own events were moved: {text}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_the_cache_and_the_saved_list_serve_and_say_so() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "offline").await?;
    let scratch = tempfile::tempdir()?;
    let original = make_run(scratch.path(), "r1", 4, 5000)?;
    push(open(&address, &bucket).await?, &original, "audit/r1/")
        .run()
        .await?;
    let cache = scratch.path().join("cache");
    let server = super::faulty_server::start(
        &address,
        super::faulty_server::Kind::Json,
        super::faulty_server::Fault::LoseAnswer,
        0,
    )
    .await?;
    let online = pull(
        open(&server.address, &bucket).await?,
        &cache,
        "audit/r1/",
        &scratch.path().join("a/r1"),
    )?;
    online.run().await?;
    // The same address with nobody behind it: a name that the cache knows, and no network.
    let gone = open("http://127.0.0.1:9", &bucket).await?;
    let alone = scratch.path().join("b/r1");
    let result = pull(gone.clone(), &cache, "audit/r1/", &alone)?.run().await;
    assert!(
        result.is_err_and(|e| e.is_offline()),
        "nothing is known of this address"
    );
    let dead = Arc::new(Unplugged {
        address: server.address.clone(),
        inner: gone,
    });
    let offline = pull(dead, &cache, "audit/r1/", &alone)?;
    let report = offline.run().await?;
    let words = report
        .offline
        .context("it did not say that it is offline")?;
    ensure!(
        words.contains("offline") && words.contains("old"),
        "{words}"
    );
    ensure_same(&tree(&alone, false)?, &tree(&original, false)?)
}

/// A bucket that was reachable once, at `address`: the cache knows it, the network does not.
#[derive(Debug)]
struct Unplugged {
    address: String,
    inner: Arc<fill_audit::storage::gcs::Gcs>,
}

impl Store for Unplugged {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn cache_key(&self) -> String {
        format!("{}@{}", self.inner.bucket(), self.address)
    }
    fn list<'a>(
        &'a self,
        query: &'a fill_audit::storage::store::ListQuery,
    ) -> futures::future::BoxFuture<
        'a,
        fill_audit::storage::Result<fill_audit::storage::store::ListPage>,
    > {
        self.inner.list(query)
    }
    fn stat<'a>(
        &'a self,
        name: &'a fill_audit::storage::ObjectName,
    ) -> futures::future::BoxFuture<'a, fill_audit::storage::Result<fill_audit::storage::ObjectMeta>>
    {
        self.inner.stat(name)
    }
    fn fetch<'a>(
        &'a self,
        meta: &'a fill_audit::storage::ObjectMeta,
        part: &'a Path,
        on_bytes: fill_audit::storage::store::OnBytes<'a>,
    ) -> futures::future::BoxFuture<'a, fill_audit::storage::Result<()>> {
        self.inner.fetch(meta, part, on_bytes)
    }
    fn read_range<'a>(
        &'a self,
        name: &'a fill_audit::storage::ObjectName,
        offset: u64,
        len: u64,
    ) -> futures::future::BoxFuture<'a, fill_audit::storage::Result<bytes::Bytes>> {
        self.inner.read_range(name, offset, len)
    }
    fn write<'a>(
        &'a self,
        name: &'a fill_audit::storage::ObjectName,
        content: bytes::Bytes,
        condition: Precondition,
    ) -> futures::future::BoxFuture<'a, fill_audit::storage::Result<fill_audit::storage::ObjectMeta>>
    {
        self.inner.write(name, content, condition)
    }
    fn delete<'a>(
        &'a self,
        name: &'a fill_audit::storage::ObjectName,
        condition: Precondition,
    ) -> futures::future::BoxFuture<'a, fill_audit::storage::Result<()>> {
        self.inner.delete(name, condition)
    }
    fn link<'a>(
        &'a self,
        name: &'a fill_audit::storage::ObjectName,
        lifetime: Duration,
    ) -> futures::future::BoxFuture<'a, fill_audit::storage::Result<fill_audit::storage::store::Link>>
    {
        self.inner.link(name, lifetime)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_in_progress_fills_as_objects_appear_and_wanted_files_come_first() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "follow").await?).await?;
    let scratch = tempfile::tempdir()?;
    let original = make_run(scratch.path(), "r1", 9, 2000)?;
    let send = |file: String| {
        let (store, path) = (store.clone(), original.join(&file));
        async move {
            let object = name(&format!("audit/r1/{file}"))?;
            store
                .write(&object, std::fs::read(path)?.into(), Precondition::Absent)
                .await?;
            anyhow::Ok(())
        }
    };
    for cell in 1..=6 {
        send(format!("Q4_0_gs{cell}.png")).await?;
    }
    // Names that cannot be files, and a folder made by a console, do not get in the way.
    for odd in ["audit/r1/../../evil", "audit/r1/sub/", "audit/r1/NUL"] {
        store
            .write(&name(odd)?, "x".into(), Precondition::Absent)
            .await?;
    }
    let dir = scratch.path().join("here/r1");
    let (events, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut pulling = pull(
        store.clone(),
        &scratch.path().join("cache"),
        "audit/r1/",
        &dir,
    )?;
    pulling.events = Some(events);
    pulling.options.at_once = 1;
    pulling.options.follow = Some(Duration::from_millis(100));
    pulling
        .options
        .priority
        .show_first(vec!["Q4_0_gs5.png".into(), "Q4_0_gs3.png".into()]);
    let running = tokio::spawn(async move { pulling.run().await });
    let (mut arrived, mut said_in_progress, mut last) = (Vec::new(), false, None);
    while let Some(event) = heard.recv().await {
        match event {
            PullEvent::Listed {
                in_progress,
                freshness,
                files,
            } => {
                assert_eq!(freshness, Freshness::Live);
                ensure!(!files.is_empty());
                said_in_progress |= in_progress;
            }
            PullEvent::Arrived { file, .. } => {
                arrived.push(file);
                if arrived.len() == 6 {
                    for file in ["Q4_0_gs7.png", "run.ron", "REPORT.md"] {
                        send(file.into()).await?;
                    }
                }
            }
            PullEvent::Progress(progress) => last = Some(progress),
            PullEvent::Failed { file, error } => anyhow::bail!("{file}: {error}"),
        }
    }
    let report = running.await??;
    ensure!(said_in_progress && !report.in_progress);
    assert_eq!(
        arrived.get(..2).unwrap_or_default(),
        ["Q4_0_gs5.png", "Q4_0_gs3.png"]
    );
    assert_eq!(arrived.len(), 9, "{arrived:?}");
    assert_eq!(report.skipped.len(), 2, "{:?}", report.skipped);
    let last = last.context("no progress was told")?;
    assert_eq!((last.objects_done, last.bytes_done), (9, last.bytes_total));
    ensure!(!scratch.path().join("evil").exists() && !scratch.path().join("here/evil").exists());
    let beside: Vec<_> = std::fs::read_dir(scratch.path().join("here"))?.collect();
    assert_eq!(beside.len(), 1, "something was written beside the run");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inbox_shows_bucket_and_disk_as_one_list() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "inbox").await?).await?;
    let scratch = tempfile::tempdir()?;
    let runs = scratch.path().join("runs");
    // A run as the Python service leaves it: pictures and a report, nothing else.
    let service = make_run(scratch.path(), "20260222-025304", 0, 0)?;
    for file in ["run.ron", "review-ann.ron"] {
        std::fs::remove_file(service.join(file))?;
    }
    for cell in ["Q4_0_gs10", "Q4_0_gs2", "Q8_0_gs30"] {
        std::fs::write(service.join(format!("{cell}.png")), "png")?;
    }
    push(store.clone(), &service, "audit/20260222-025304/")
        .run()
        .await?;
    // One that is in progress, in the bucket and here, with a failed cell.
    let here = make_run(&runs, "r2", 2, 100)?;
    std::fs::remove_file(here.join("run.ron"))?;
    std::fs::remove_file(here.join("REPORT.md"))?;
    std::fs::write(here.join("Q8_0_gs4.ron"), "(failed)")?;
    push(store.clone(), &here, "audit/r2/").run().await?;
    let cache = Cache::open(scratch.path().join("cache"), 1_000_000)?;
    let config = StorageConfig::default();
    let inbox = list_inbox(Some(&*store), &cache, &config, &runs, None).await?;
    assert_eq!(inbox.freshness, Some(Freshness::Live));
    assert_eq!(inbox.entries.len(), 2, "{:?}", inbox.entries);
    let find = |id: &str| {
        inbox
            .entries
            .iter()
            .find(|e| e.run_id.as_str() == id)
            .context("missing")
    };
    let service = find("20260222-025304")?;
    assert_eq!(
        (
            service.done,
            service.total,
            service.failed,
            service.unreviewed
        ),
        (3, 3, 0, 3)
    );
    assert_eq!(service.session.as_deref(), Some("S1"));
    assert!(!service.in_progress && service.dir.is_none() && service.updated_secs > 0);
    let Some(Thumbnail::Object(picture)) = &service.thumbnail else {
        anyhow::bail!("no picture")
    };
    assert_eq!(
        picture.name.file_name(),
        "Q4_0_gs10.png",
        "the baseline's picture"
    );
    let ours = find("r2")?;
    assert_eq!((ours.done, ours.total, ours.failed), (2, 3, 1));
    assert!(ours.in_progress && ours.dir.is_some() && ours.prefix.is_some());
    let there = store.stat(&name("audit/r2/Q8_0_gs4.ron")?).await?;
    std::fs::File::open(here.join("Q8_0_gs4.ron"))?
        .set_modified(std::time::SystemTime::now() + Duration::from_secs(9000))?;
    let again = list_inbox(Some(&*store), &cache, &config, &runs, None).await?;
    let date = again.entries.iter().map(|e| e.updated_secs).max();
    assert!(
        date.is_some_and(|date| (date - there.updated_secs).abs() < 600),
        "a copy on disk has made the run younger: {date:?}"
    );
    assert!(matches!(ours.thumbnail, Some(Thumbnail::File(_))));
    assert!(ours.matches("R2") && service.matches("s1") && !ours.matches("x"));
    // Without the bucket, what is on disk, and why the rest is missing.
    let gone = open("http://127.0.0.1:9", "gone.firebasestorage.app").await?;
    let inbox = list_inbox(Some(&*gone), &cache, &config, &runs, None).await?;
    assert_eq!(inbox.entries.len(), 1);
    assert!(inbox.problem.is_some_and(|p| p.contains("offline")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_comes_by_its_ids_or_its_address() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "session").await?).await?;
    let scratch = tempfile::tempdir()?;
    let cache = Cache::open(scratch.path().join("cache"), 1_000_000)?;
    let config = StorageConfig::default();
    let dir = scratch.path().join("sessions/s1");
    let write = |file: &str| {
        let (store, object) = (store.clone(), name(&format!("users/u1/sessions/s1/{file}")));
        async move {
            anyhow::Ok(
                store
                    .write(&object?, "picture".into(), Precondition::Absent)
                    .await?,
            )
        }
    };
    write("image.png").await?;
    let lacking = session::pull_session(&*store, &cache, &config, ("u1", "s1"), &dir).await;
    let Err(error) = lacking else {
        anyhow::bail!("a session without a mask was pulled")
    };
    ensure!(error.to_string().contains("mask.png"), "{error}");
    write("mask.png").await?;
    let placed = session::pull_session(&*store, &cache, &config, ("u1", "s1"), &dir).await?;
    assert_eq!(placed.len(), 2);
    let address =
        session::prefix_of_address(&format!("gs://{}/users/u1/sessions/s1", store.bucket()))?;
    session::pull_session_at(&*store, &cache, &address.name, &dir).await?;
    std::fs::write(dir.join("mask.png"), "painted over")?;
    let kept = session::pull_session_at(&*store, &cache, &address.name, &dir).await;
    ensure!(kept.is_err_and(|e| e.is_precondition()));
    assert_eq!(
        std::fs::read_to_string(dir.join("mask.png"))?,
        "painted over"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_each_trouble_and_leaves_nothing_behind() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "doctor").await?;
    let key = std::fs::read_to_string(fixture("signing/key.json"))?;
    let environment = Environment {
        firebase_credentials: Some(key),
        emulator_host: Some(address.clone()),
        ..Environment::default()
    };
    let config = StorageConfig {
        bucket: bucket.clone(),
        ..StorageConfig::default()
    };
    let checks = examine(&config, &environment, Limits::for_tests()).await;
    let what: Vec<&str> = checks.iter().map(|c| c.what).collect();
    assert_eq!(
        what,
        [
            "credentials",
            "bucket",
            "list",
            "read",
            "write",
            "sign",
            "clock"
        ]
    );
    ensure!(
        checks.iter().all(|c| c.verdict == Verdict::Ok),
        "{checks:#?}"
    );
    assert!(
        remote(&*open(&address, &bucket).await?, "")
            .await?
            .is_empty(),
        "a probe was left"
    );
    let verdicts = |checks: Vec<fill_audit::storage::doctor::Check>| {
        checks
            .into_iter()
            .map(|c| (c.what, c.verdict, c.words))
            .collect::<Vec<_>>()
    };
    let missing = StorageConfig {
        bucket: "missing.appspot.com".into(),
        ..StorageConfig::default()
    };
    let found = verdicts(examine(&missing, &environment, Limits::for_tests()).await);
    ensure!(
        found[1].1 == Verdict::Failed && found[1].2.contains("firebasestorage.app"),
        "{found:?}"
    );
    let nobody = Environment {
        firebase_credentials: Some("/none.json".into()),
        ..Environment::default()
    };
    let found = verdicts(examine(&config, &nobody, Limits::for_tests()).await);
    ensure!(
        found[0].1 == Verdict::Failed && found[0].2.contains("/none.json"),
        "{found:?}"
    );
    ensure!(
        found[1..].iter().all(|c| c.1 == Verdict::Skipped),
        "{found:?}"
    );
    // Reading only: writing is refused, the rest goes on.
    let denied = super::faulty_server::Fault::Status(403, "", "");
    let upload = super::faulty_server::Kind::Upload;
    let server = super::faulty_server::start(&address, upload, denied, usize::MAX).await?;
    let reader = Environment {
        emulator_host: Some(server.address.clone()),
        ..environment
    };
    let found = verdicts(examine(&config, &reader, Limits::for_tests()).await);
    let write = found
        .iter()
        .find(|c| c.0 == "write")
        .context("no write check")?;
    ensure!(
        write.1 == Verdict::Failed && write.2.contains("Storage Object User"),
        "{write:?}"
    );
    let list = found
        .iter()
        .find(|c| c.0 == "list")
        .context("no list check")?;
    ensure!(list.1 == Verdict::Ok, "{list:?}");
    Ok(())
}

/// What is denied, to whom, and the checks that differ for it, with a word that each says.
type Denied<'a> = (
    super::faulty_server::Kind,
    Option<&'a str>,
    &'a [(&'a str, Verdict, &'a str)],
);

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_denied_and_looks_at_the_rest() -> Result<()> {
    use super::faulty_server::{Fault, Kind, start};
    let Some(address) = emulator() else {
        return Ok(());
    };
    let config = StorageConfig {
        bucket: new_bucket(&address, "denied").await?,
        ..StorageConfig::default()
    };
    let key = std::fs::read_to_string(fixture("signing/key.json"))?;
    let ok = [
        ("credentials", Verdict::Ok),
        ("bucket", Verdict::Ok),
        ("list", Verdict::Ok),
        ("read", Verdict::Ok),
        ("write", Verdict::Ok),
        ("sign", Verdict::Ok),
        ("clock", Verdict::Ok),
    ];
    let role = "Storage Object User";
    let cases: [Denied<'_>; 3] = [
        (
            Kind::Media,
            Some(&key),
            &[(
                "read",
                Verdict::Failed,
                "Storage Object Viewer to read only",
            )],
        ),
        (
            Kind::Json,
            Some(&key),
            &[
                (
                    "bucket",
                    Verdict::Ok,
                    "without leave to read its description",
                ),
                ("list", Verdict::Failed, role),
                ("write", Verdict::Warning, "by hand"),
                ("sign", Verdict::Failed, "a freshly signed link"),
                ("clock", Verdict::Failed, "ahead"),
            ],
        ),
        // Nothing to sign with, and nothing is public.
        (
            Kind::Json,
            None,
            &[
                ("list", Verdict::Failed, role),
                ("write", Verdict::Warning, "by hand"),
                ("sign", Verdict::Warning, "Service Account Token Creator"),
                ("sign", Verdict::Warning, "reports will show local paths"),
                ("clock", Verdict::Failed, "ahead"),
            ],
        ),
    ];
    for (kind, key, differing) in cases {
        let denied = Fault::Status(403, "date: Mon, 01 Jan 2024 00:00:00 GMT\r\n", "");
        let server = start(&address, kind, denied, usize::MAX).await?;
        let environment = Environment {
            firebase_credentials: key.map(str::to_owned),
            emulator_host: Some(server.address),
            ..Environment::default()
        };
        let checks = examine(&config, &environment, Limits::for_tests()).await;
        for (what, usual) in ok {
            let found = checks.iter().find(|c| c.what == what);
            let found = found.with_context(|| format!("no {what} check"))?;
            let mut wanted = usual;
            for (_, verdict, words) in differing.iter().filter(|d| d.0 == what) {
                wanted = *verdict;
                ensure!(found.words.contains(words), "{words}: {checks:#?}");
            }
            assert_eq!(found.verdict, wanted, "{kind:?}: {checks:#?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_found_although_the_server_refuses_what_it_signs() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let config = StorageConfig {
        bucket: new_bucket(&address, "clock").await?,
        ..StorageConfig::default()
    };
    let old = "date: Mon, 01 Jan 2024 00:00:00 GMT\r\n";
    let word = "s ahead; let it keep";
    for (code, date, wanted) in [(401, old, word), (403, old, word), (401, "", "Date")] {
        let refused = super::faulty_server::Fault::Status(code, date, "");
        let json = super::faulty_server::Kind::Json;
        let server = super::faulty_server::start(&address, json, refused, usize::MAX).await?;
        let environment = Environment {
            emulator_host: Some(server.address),
            ..Environment::default()
        };
        let checks = examine(&config, &environment, Limits::for_tests()).await;
        let clock = checks.iter().find(|c| c.what == "clock");
        let clock = clock.context("no clock check")?;
        assert_eq!(clock.verdict, Verdict::Failed, "{checks:#?}");
        ensure!(clock.words.contains(wanted), "{code}: {checks:#?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keeping_both_loses_neither_whether_fetching_or_sending() -> Result<()> {
    super::leaks::listen_to_all_logs();
    let scratch = tempfile::tempdir()?;
    let mine = make_run(scratch.path(), "r1", 1, 500)?;
    let shelf = scratch.path().join("shared");
    let store: Arc<dyn Store> = Arc::new(LocalDir::new(&shelf));
    push(store.clone(), &mine, "audit/r1/").run().await?;
    let change_both = |what: &str| -> Result<()> {
        std::fs::write(mine.join("REPORT.md"), format!("mine, {what}"))?;
        std::fs::write(shelf.join("audit/r1/REPORT.md"), format!("theirs, {what}"))?;
        Ok(())
    };
    let both = || {
        let mut decided = fill_audit::storage::conflict::Resolutions::default();
        decided
            .by_file
            .insert("REPORT.md".into(), Resolution::KeepBoth);
        decided
    };
    change_both("fetching")?;
    let mut pulling = pull(
        store.clone(),
        &scratch.path().join("cache"),
        "audit/r1/",
        &mine,
    )?;
    assert_eq!(pulling.run().await?.conflicts.len(), 1);
    pulling.options.resolutions = both();
    assert_eq!(pulling.run().await?.arrived, ["REPORT.md"]);
    change_both("sending")?;
    let mut pushing = push(store.clone(), &mine, "audit/r1/");
    assert_eq!(pushing.run().await?.conflicts.len(), 1);
    pushing.options.resolutions = both();
    ensure!(pushing.run().await?.is_complete());
    // Both versions of both times are on both sides.
    ensure!(
        push(store.clone(), &mine, "audit/r1/")
            .run()
            .await?
            .is_complete()
    );
    let (here, there) = (tree(&mine, false)?, tree(&shelf.join("audit/r1"), false)?);
    ensure_same(&here, &there)?;
    let texts: Vec<&[u8]> = here
        .iter()
        .filter(|(file, _)| file.starts_with("REPORT."))
        .map(|(_, bytes)| bytes.as_slice())
        .collect();
    for wanted in ["mine, fetching", "mine, sending", "theirs, sending"] {
        ensure!(texts.contains(&wanted.as_bytes()), "{wanted} is lost");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_serves_as_well_as_a_bucket() -> Result<()> {
    super::leaks::listen_to_all_logs();
    let scratch = tempfile::tempdir()?;
    let original = make_run(scratch.path(), "r1", 3, 2000)?;
    let store: Arc<dyn Store> = Arc::new(LocalDir::new(scratch.path().join("shared")));
    push(store.clone(), &original, "audit/r1/").run().await?;
    let dir = scratch.path().join("here/r1");
    let report = pull(
        store.clone(),
        &scratch.path().join("cache"),
        "audit/r1/",
        &dir,
    )?
    .run()
    .await?;
    assert_eq!(report.arrived.len(), 9);
    let again = pull(
        store.clone(),
        &scratch.path().join("cache"),
        "audit/r1/",
        &dir,
    )?
    .run()
    .await?;
    assert_eq!((again.arrived.len(), again.unchanged), (0, 9));
    ensure_same(&tree(&dir, false)?, &tree(&original, false)?)?;
    assert_eq!(
        checksums(&dir)?,
        checksums(&scratch.path().join("shared/audit/r1"))?
    );
    Ok(())
}
