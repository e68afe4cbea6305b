//! What the storage tests share: the emulator, buckets of their own, runs on disk, trees to compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use fill_audit::storage::cache::Cache;
use fill_audit::storage::gcs::{Environment, Gcs, Identity, Limits};
use fill_audit::storage::pull::{Pull, PullOptions};
use fill_audit::storage::push::{Push, PushOptions};
use fill_audit::storage::{ObjectName, Store};
use tokio_util::sync::CancellationToken;

/// The emulator's address; `None` (with a line) where there is none and none is promised.
pub fn emulator() -> Option<String> {
    super::leaks::listen_to_all_logs();
    if let Ok(address) = std::env::var("FILL_AUDIT_EMULATOR") {
        return Some(address.trim_end_matches('/').to_owned());
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "FILL_AUDIT_EMULATOR is not set although CI=true: tests/run starts an emulator"
    );
    println!("skipped: FILL_AUDIT_EMULATOR is not set (see tests/setup/emulator.sh)");
    None
}

/// Where the program is to log every level, if the tests were told a folder.
pub fn log_folder() -> Option<(&'static str, std::ffi::OsString)> {
    let name = "FILL_AUDIT_LOG_DIR";
    Some((name, std::env::var_os(name)?))
}

/// Makes an empty bucket for one test.
pub async fn new_bucket(address: &str, test: &str) -> Result<String> {
    let mut random = [0u8; 4];
    getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    let bucket = format!(
        "{test}-{:08x}.firebasestorage.app",
        u32::from_le_bytes(random)
    );
    let answer = reqwest::Client::new()
        .post(format!("{address}/storage/v1/b?project=demo"))
        .json(&serde_json::json!({ "name": bucket }))
        .send()
        .await?;
    ensure!(
        answer.status().is_success(),
        "the emulator made no bucket: {}",
        answer.status()
    );
    Ok(bucket)
}

/// The bucket as nobody, with short limits.
pub async fn open(address: &str, bucket: &str) -> Result<Arc<Gcs>> {
    let gcs = Gcs::new(bucket, address, Identity::anonymous(), Limits::for_tests()).await?;
    Ok(Arc::new(gcs))
}

/// The bucket with the throw-away service account, whose requests carry a real token and whose links are
/// signed with its own key.
pub async fn open_with_key(address: &str, bucket: &str) -> Result<Gcs> {
    let key = std::fs::read_to_string(fixture("signing/key.json"))?;
    let environment = Environment {
        firebase_credentials: Some(key),
        ..Environment::default()
    };
    let limits = Limits::for_tests();
    let identity = fill_audit::storage::gcs::credentials::find(None, &environment, &limits).await?;
    Ok(Gcs::new(bucket, address, identity, limits).await?)
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub fn name(text: &str) -> Result<ObjectName> {
    Ok(ObjectName::new(text)?)
}

/// Bytes that look random and are the same each time.
pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Writes a run of `cells` pictures of `len` bytes with documents, and returns its folder.
pub fn make_run(root: &Path, id: &str, cells: usize, len: usize) -> Result<PathBuf> {
    let dir = root.join(id);
    std::fs::create_dir_all(&dir)?;
    for cell in 0..cells {
        let stem = format!("Q4_0_gs{}", cell + 1);
        std::fs::write(dir.join(format!("{stem}.png")), bytes(len, cell as u64))?;
        std::fs::write(dir.join(format!("{stem}.ron")), format!("(cell: {cell})"))?;
    }
    std::fs::write(dir.join("run.ron"), "(not: \"read here\")")?;
    std::fs::write(dir.join("review-ann.ron"), "(id: \"1\", say: \"pass\")\n")?;
    std::fs::write(
        dir.join("REPORT.md"),
        "# Report\n**Session:** S1 | **Date:** 2026-11-21\n",
    )?;
    Ok(dir)
}

pub fn push(store: Arc<dyn Store>, dir: &Path, prefix: &str) -> Push {
    Push {
        store,
        prefix: prefix.to_owned(),
        dir: dir.to_owned(),
        options: PushOptions::default(),
        events: None,
        cancel: CancellationToken::new(),
    }
}

pub fn pull(store: Arc<dyn Store>, cache: &Path, prefix: &str, dir: &Path) -> Result<Pull> {
    Ok(Pull {
        store,
        cache: Arc::new(Cache::open(cache, 10_000_000_000)?),
        prefix: prefix.to_owned(),
        dir: dir.to_owned(),
        options: PullOptions::default(),
        events: None,
        cancel: CancellationToken::new(),
    })
}

/// Every file below `dir` with its bytes; `with_hidden` tells whether dot-files count.
pub fn tree(dir: &Path, with_hidden: bool) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.strip_prefix(dir)?.to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if with_hidden || !name.contains("/.") && !name.starts_with('.') {
                found.insert(name, std::fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// Fails with the names that differ, not with megabytes of bytes.
pub fn ensure_same(
    found: &BTreeMap<String, Vec<u8>>,
    wanted: &BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let differing: Vec<&String> = found
        .keys()
        .chain(wanted.keys())
        .filter(|name| found.get(*name) != wanted.get(*name))
        .collect();
    ensure!(differing.is_empty(), "trees differ in {differing:?}");
    Ok(())
}
