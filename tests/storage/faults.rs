//! What a network does: for each fault either the right bytes or a clear error in time; never a wrong byte
//! under a file's name, and never a leftover that a later pull believes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fill_audit::storage::store::list_all;
use fill_audit::storage::{Precondition, StorageError, Store};

use futures::StreamExt as _;

use super::faulty_server::{Fault, Kind, start};
use super::support::{emulator, ensure_same, make_run, name, new_bucket, open, pull, push, tree};

/// No single pull or push of these tests may take longer.
const LIMIT: Duration = Duration::from_secs(25);
const FOR_EVER: usize = usize::MAX;

struct Case {
    what: &'static str,
    kind: Kind,
    fault: Fault,
    times: usize,
    /// `None`: the right bytes arrive. Otherwise the kind of error.
    error: Option<&'static str>,
}

fn case(
    what: &'static str,
    kind: Kind,
    fault: Fault,
    times: usize,
    error: Option<&'static str>,
) -> Case {
    Case {
        what,
        kind,
        fault,
        times,
        error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_brings_the_right_bytes_or_a_clear_error_in_time() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "faults").await?;
    let scratch = tempfile::tempdir()?;
    let original = make_run(scratch.path(), "r1", 3, 200_000)?;
    push(open(&address, &bucket).await?, &original, "audit/r1/")
        .run()
        .await?;
    let wanted = tree(&original, false)?;
    let denied = r#"{"error":{"code":403,"message":"a@b does not have storage.objects.get access","errors":[{"reason":"forbidden"}]}}"#;
    let m = Kind::Media;
    let cases = [
        case(
            "403 for bytes",
            m,
            Fault::Status(403, "", denied),
            FOR_EVER,
            Some("forbidden"),
        ),
        case(
            "403 for the list",
            Kind::Json,
            Fault::Status(403, "", denied),
            FOR_EVER,
            Some("forbidden"),
        ),
        case(
            "401 for the list",
            Kind::Json,
            Fault::Status(401, "", ""),
            FOR_EVER,
            Some("auth"),
        ),
        case(
            "404 for bytes",
            m,
            Fault::Status(404, "", ""),
            FOR_EVER,
            Some("not found"),
        ),
        case(
            "404 for the list",
            Kind::Json,
            Fault::Status(404, "", ""),
            FOR_EVER,
            Some("not found"),
        ),
        case(
            "400 for the list",
            Kind::Json,
            Fault::Status(400, "", ""),
            FOR_EVER,
            Some("refused"),
        ),
        case(
            "429 with Retry-After, then well",
            m,
            Fault::Status(429, "retry-after: 1\r\n", ""),
            3,
            None,
        ),
        case(
            "429 with a long Retry-After",
            m,
            Fault::Status(429, "retry-after: 600\r\n", ""),
            FOR_EVER,
            Some("transient"),
        ),
        case(
            "429 for the list, then well",
            Kind::Json,
            Fault::Status(429, "retry-after: 1\r\n", ""),
            1,
            None,
        ),
        case(
            "503 for a while",
            m,
            Fault::Status(503, "", "busy"),
            6,
            None,
        ),
        case(
            "503 for a while for the list",
            Kind::Json,
            Fault::Status(503, "", "busy"),
            2,
            None,
        ),
        case(
            "503 for ever",
            m,
            Fault::Status(503, "", "busy"),
            FOR_EVER,
            Some("transient"),
        ),
        case(
            "503 for ever for the list",
            Kind::Json,
            Fault::Status(503, "", ""),
            FOR_EVER,
            Some("transient"),
        ),
        case(
            "a reset at every 64 KiB",
            m,
            Fault::ResetAfter(64 * 1024),
            FOR_EVER,
            None,
        ),
        case(
            "a reset before any byte",
            m,
            Fault::ResetAfter(0),
            FOR_EVER,
            Some("transient"),
        ),
        case(
            "no answer at all",
            m,
            Fault::NoAnswer,
            FOR_EVER,
            Some("transient"),
        ),
        case("a stall, then well", m, Fault::StallAfter(70_000), 2, None),
        case(
            "a stall each time",
            m,
            Fault::StallAfter(0),
            FOR_EVER,
            Some("transient"),
        ),
        case(
            "a stall of the list",
            Kind::Json,
            Fault::StallAfter(10),
            FOR_EVER,
            Some("transient"),
        ),
        case("a bit flipped once", m, Fault::FlipBit, 1, None),
        case(
            "a bit flipped each time",
            m,
            Fault::FlipBit,
            FOR_EVER,
            Some("corrupt"),
        ),
        case(
            "cut in good order, then resumed",
            m,
            Fault::TruncateAfter(90_000),
            3,
            None,
        ),
        case(
            "a cut list",
            Kind::Json,
            Fault::TruncateAfter(40),
            FOR_EVER,
            Some("transient"),
        ),
        case(
            "a wrong checksum header",
            m,
            Fault::WrongHashHeader,
            FOR_EVER,
            None,
        ),
        case(
            "two checksum headers",
            m,
            Fault::TwoHashHeaders { flip_bit: false },
            FOR_EVER,
            None,
        ),
        case(
            "two checksum headers, a flipped bit",
            m,
            Fault::TwoHashHeaders { flip_bit: true },
            FOR_EVER,
            Some("corrupt"),
        ),
        case(
            "a slow drip",
            m,
            Fault::Drip(60),
            FOR_EVER,
            Some("too slow"),
        ),
    ];
    // Side by side, since most of them wait for a limit; not all at once, so that none waits for the processor.
    let mut running = futures::stream::iter(cases.into_iter().enumerate())
        .map(|(number, case)| {
            let (what, home) = (case.what, scratch.path().join(format!("case-{number}")));
            let (address, bucket, wanted) = (&address, &bucket, &wanted);
            async move {
                let done = one_pull(address, bucket, &home, case, wanted).await;
                done.map_err(|e| e.context(what))
            }
        })
        .buffer_unordered(7);
    while let Some(result) = running.next().await {
        result?;
    }
    Ok(())
}

async fn one_pull(
    address: &str,
    bucket: &str,
    home: &Path,
    case: Case,
    wanted: &BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let server = start(address, case.kind, case.fault, case.times).await?;
    let (dir, cache) = (home.join("runs/r1"), home.join("cache"));
    let store = open(&server.address, bucket).await?;
    let started = Instant::now();
    let mut pulling = pull(store, &cache, "audit/r1/", &dir)?;
    pulling.options.at_once = 9; // all files wait for their limit at once
    let result = pulling.run().await;
    ensure!(started.elapsed() < LIMIT, "it took {:?}", started.elapsed());
    ensure!(
        server.concerned.load(Ordering::SeqCst) > 0,
        "the fault never happened"
    );
    let found = match &result {
        Ok(report) if report.failed.is_empty() => None,
        Ok(report) => report.failed.first().map(|(_, error)| error),
        Err(error) => Some(error),
    };
    match (case.error, found) {
        (None, None) => ensure_same(&tree(&dir, false)?, wanted)?,
        (Some(kind), Some(error)) => {
            ensure!(error.kind() == kind, "got another error: {error:?}");
            ensure!(error.to_string().len() > 30, "a bare message: {error}");
        }
        (expected, got) => anyhow::bail!("expected {expected:?}, got {got:?}"),
    }
    // Whatever is under a file's name is right, whole, and nothing else is there.
    if dir.exists() {
        for (file, bytes) in tree(&dir, false)? {
            ensure!(wanted.get(&file) == Some(&bytes), "{file} is wrong");
        }
    }
    // Without the fault the same folders give the same tree: no leftover was believed.
    let store = open(address, bucket).await?;
    let report = pull(store, &cache, "audit/r1/", &dir)?.run().await?;
    ensure!(report.is_complete(), "the second pull failed: {report:?}");
    ensure_same(&tree(&dir, false)?, wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_sends_the_right_bytes_or_a_clear_error_in_time() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "upfaults").await?;
    let scratch = tempfile::tempdir()?;
    let u = Kind::Upload;
    let cases = [
        case(
            "403",
            u,
            Fault::Status(403, "", ""),
            FOR_EVER,
            Some("forbidden"),
        ),
        case("503 for a while", u, Fault::Status(503, "", ""), 6, None),
        case(
            "503 for ever",
            u,
            Fault::Status(503, "", ""),
            FOR_EVER,
            Some("transient"),
        ),
        case(
            "429 with Retry-After, then well",
            u,
            Fault::Status(429, "retry-after: 1\r\n", ""),
            3,
            None,
        ),
        case("no answer, then well", u, Fault::NoAnswer, 3, None),
        case(
            "answers lost after the write",
            u,
            Fault::LoseAnswer,
            3,
            None,
        ),
        case(
            "a stalled answer, then well",
            u,
            Fault::StallAfter(0),
            1,
            None,
        ),
        case("a cut answer", u, Fault::TruncateAfter(20), 2, None),
    ];
    let mut running = futures::stream::iter(cases.into_iter().enumerate())
        .map(|(number, case)| {
            let (what, root) = (case.what, scratch.path().join(format!("case-{number}")));
            let (address, bucket) = (&address, &bucket);
            async move {
                let done = one_push(address, bucket, &root, number, case).await;
                done.map_err(|e| e.context(what))
            }
        })
        .buffer_unordered(4);
    while let Some(result) = running.next().await {
        result?;
    }
    Ok(())
}

async fn one_push(
    address: &str,
    bucket: &str,
    root: &Path,
    number: usize,
    case: Case,
) -> Result<()> {
    let server = start(address, case.kind, case.fault, case.times).await?;
    let dir = make_run(root, "r1", 3, 60_000)?;
    let prefix = format!("audit/push-{number}/");
    let store = open(&server.address, bucket).await?;
    let started = Instant::now();
    let result = push(store, &dir, &prefix).run().await;
    ensure!(started.elapsed() < LIMIT, "it took {:?}", started.elapsed());
    ensure!(
        server.concerned.load(Ordering::SeqCst) > 0,
        "the fault never happened"
    );
    let clean = open(address, bucket).await?;
    let there = remote(&*clean, &prefix).await?;
    let local = checksums(&dir)?;
    match (case.error, result) {
        (None, Ok(report)) => {
            ensure!(report.is_complete(), "{report:?}");
            ensure!(there == local, "the bucket has {there:?}");
        }
        (Some(kind), Err(error)) => ensure!(error.kind() == kind, "got another error: {error:?}"),
        (Some(kind), Ok(report)) => {
            let error = report.failed.first().map(|(_, e)| e.kind());
            ensure!(error == Some(kind), "got another result: {report:?}");
            ensure!(
                report.report_held_back,
                "REPORT.md went up although files had failed"
            );
        }
        (None, Err(error)) => return Err(error.into()),
    }
    for (file, crc) in &there {
        ensure!(
            local.get(file) == Some(crc),
            "{file} is wrong in the bucket"
        );
    }
    let report = push(clean.clone(), &dir, &prefix).run().await?;
    ensure!(report.is_complete(), "the second push failed: {report:?}");
    ensure!(
        remote(&*clean, &prefix).await? == local,
        "the second push left a difference"
    );
    Ok(())
}

/// Names below `prefix` with their checksums.
pub async fn remote(store: &dyn Store, prefix: &str) -> Result<BTreeMap<String, u32>> {
    let listed = list_all(store, prefix, false).await?;
    let pair = |o: fill_audit::storage::ObjectMeta| {
        Some((o.name.as_str().strip_prefix(prefix)?.to_owned(), o.crc32c?))
    };
    Ok(listed.objects.into_iter().filter_map(pair).collect())
}

/// Visible files with their checksums.
pub fn checksums(dir: &Path) -> Result<BTreeMap<String, u32>> {
    Ok(tree(dir, false)?
        .into_iter()
        .map(|(f, bytes)| (f, crc32c::crc32c(&bytes)))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_part_of_another_content_is_not_believed() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "torn").await?;
    let store = open(&address, &bucket).await?;
    let object = name("audit/r/a.png")?;
    let meta = store
        .write(&object, vec![7u8; 50_000].into(), Precondition::Absent)
        .await?;
    let scratch = tempfile::tempdir()?;
    let part = scratch.path().join("part");
    for left_over in [vec![0u8; 20_000], vec![0u8; 50_000], vec![0u8; 60_000]] {
        std::fs::write(&part, left_over)?;
        store.fetch(&meta, &part, &|_| ()).await?;
        ensure!(std::fs::read(&part)? == vec![7u8; 50_000]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_pull_stops_at_once_and_resumes() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "cancel").await?;
    let scratch = tempfile::tempdir()?;
    let original = make_run(scratch.path(), "r1", 3, 200_000)?;
    push(open(&address, &bucket).await?, &original, "audit/r1/")
        .run()
        .await?;
    let server = start(&address, Kind::Media, Fault::Drip(2000), FOR_EVER).await?;
    let (dir, cache) = (scratch.path().join("here/r1"), scratch.path().join("cache"));
    let slow = pull(
        open(&server.address, &bucket).await?,
        &cache,
        "audit/r1/",
        &dir,
    )?;
    let cancel = slow.cancel.clone();
    let started = Instant::now();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    });
    let result = slow.run().await;
    ensure!(matches!(result, Err(StorageError::Cancelled)), "{result:?}");
    ensure!(
        started.elapsed() < Duration::from_secs(2),
        "it took {:?}",
        started.elapsed()
    );
    let store: Arc<dyn Store> = open(&address, &bucket).await?;
    pull(store, &cache, "audit/r1/", &dir)?.run().await?;
    ensure_same(&tree(&dir, false)?, &tree(&original, false)?)
}
