//! A worker with a bucket, against the storage emulator: sessions from it, cells to it as they end, and a run
//! whose folder, or whose whole disk, is gone.

use crate::process::{Process, program};
use crate::support::{Place, Setup, Stage, Worker, request};
use bytes::Bytes;
use fill_audit::model::ids::RunId;
use fill_audit::remote::WorkerBucket;
use fill_audit::storage::cache::Cache;
use fill_audit::storage::gcs::{Gcs, Identity, Limits};
use fill_audit::storage::store::{Link, ListPage, ListQuery, OnBytes, list_all, read_verified};
use fill_audit::storage::{
    ObjectMeta, ObjectName, Precondition, Result, StorageConfig, StorageError, Store,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The emulator's address; `None` (with a line) where there is none and none is promised.
fn emulator() -> Option<String> {
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

/// A bucket of one test.
struct Bucket {
    address: String,
    name: String,
    store: Arc<Gcs>,
}

impl Bucket {
    async fn new(address: &str, test: &str) -> Self {
        let mut random = [0u8; 4];
        getrandom::fill(&mut random).unwrap();
        let name = format!("{test}-{:08x}.app", u32::from_le_bytes(random));
        let answer = reqwest::Client::new()
            .post(format!("{address}/storage/v1/b?project=demo"))
            .json(&json!({ "name": name }))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        let identity = Identity::anonymous();
        let store = Gcs::new(&name, address, identity, Limits::for_tests()).await;
        Self {
            address: address.to_owned(),
            name,
            store: Arc::new(store.unwrap()),
        }
    }

    /// Puts a place's session here and takes it away there.
    async fn take_session(&self, place: &Place) {
        for file in ["image.png", "mask.png"] {
            let bytes = std::fs::read(place.path("sessions/u1/s1").join(file)).unwrap();
            let name = ObjectName::new(format!("users/u1/sessions/s1/{file}")).unwrap();
            let written = self.store.write(&name, bytes.into(), Precondition::Absent);
            written.await.unwrap();
        }
        std::fs::remove_dir_all(place.path("sessions")).unwrap();
    }

    fn of_worker(&self, place: &Place, name: Option<&str>) -> WorkerBucket {
        WorkerBucket {
            store: Arc::<Gcs>::clone(&self.store),
            cache: Arc::new(Cache::open(place.path("cache"), 1_000_000_000).unwrap()),
            config: StorageConfig::default(),
            name: name.map(|name| RunId::new(name).unwrap()),
            runtime: tokio::runtime::Handle::current(),
        }
    }

    /// The objects below a prefix, by what follows it, with their generations.
    async fn generations(&self, prefix: &str) -> BTreeMap<String, i64> {
        let listing = list_all(&*self.store, prefix, false).await.unwrap();
        listing
            .objects
            .into_iter()
            .map(|object| {
                (
                    object.name.as_str()[prefix.len()..].to_owned(),
                    object.generation,
                )
            })
            .collect()
    }

    async fn read(&self, name: &str) -> String {
        let meta = self.store.stat(&ObjectName::new(name).unwrap()).await;
        let bytes = read_verified(&*self.store, &meta.unwrap()).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

/// A bucket that takes nothing for as long as it is said to be away or closed.
#[derive(Debug)]
struct Moody {
    inner: Arc<Gcs>,
    is_away: AtomicBool,
    is_closed: AtomicBool,
    /// So many lists fail before one succeeds.
    failing_lists: AtomicUsize,
    /// Objects whose names end so cannot be looked at.
    unreadable: &'static str,
    /// Objects whose names end so are written only when they are let through; how many wait.
    held: Mutex<Option<&'static str>>,
    waiting: AtomicUsize,
}

impl Moody {
    fn new(bucket: &Bucket) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(&bucket.store),
            is_away: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            failing_lists: AtomicUsize::new(0),
            unreadable: "/bad.json",
            held: Mutex::default(),
            waiting: AtomicUsize::new(0),
        })
    }

    fn offline(&self) -> StorageError {
        StorageError::Offline {
            place: self.place(),
            detail: "a test".to_owned(),
        }
    }
}

impl Store for Moody {
    fn place(&self) -> String {
        self.inner.place()
    }

    fn cache_key(&self) -> String {
        self.inner.cache_key()
    }

    fn list<'a>(&'a self, query: &'a ListQuery) -> BoxFuture<'a, Result<ListPage>> {
        let less = |left: usize| left.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.failing_lists.fetch_update(set, fetch, less).is_ok() {
            let error = self.offline();
            return async move { Err(error) }.boxed();
        }
        self.inner.list(query)
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<ObjectMeta>> {
        if name.as_str().ends_with(self.unreadable) {
            let (place, detail) = (name.to_string(), "a test".to_owned());
            return async move { Err(StorageError::Corrupt { place, detail }) }.boxed();
        }
        self.inner.stat(name)
    }

    fn fetch<'a>(
        &'a self,
        meta: &'a ObjectMeta,
        part: &'a Path,
        on_bytes: OnBytes<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        self.inner.fetch(meta, part, on_bytes)
    }

    fn read_range<'a>(
        &'a self,
        name: &'a ObjectName,
        offset: u64,
        len: u64,
    ) -> BoxFuture<'a, Result<Bytes>> {
        self.inner.read_range(name, offset, len)
    }

    fn write<'a>(
        &'a self,
        name: &'a ObjectName,
        content: Bytes,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<ObjectMeta>> {
        let place = self.place();
        if self.is_away.load(Ordering::Relaxed) {
            let error = self.offline();
            return async move { Err(error) }.boxed();
        }
        if self.is_closed.load(Ordering::Relaxed) {
            let (detail, remedy) = ("a test".to_owned(), "a role".to_owned());
            let refused = StorageError::Forbidden {
                place,
                detail,
                remedy,
            };
            return async move { Err(refused) }.boxed();
        }
        async move {
            let is_held = || {
                let held = *self.held.lock().unwrap();
                held.is_some_and(|held| name.as_str().ends_with(held))
            };
            self.waiting.fetch_add(1, Ordering::Relaxed);
            while is_held() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.inner.write(name, content, condition).await
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        name: &'a ObjectName,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<()>> {
        self.inner.delete(name, condition)
    }

    fn link<'a>(&'a self, name: &'a ObjectName, lifetime: Duration) -> BoxFuture<'a, Result<Link>> {
        self.inner.link(name, lifetime)
    }
}

fn with(bucket: WorkerBucket) -> Setup {
    Setup {
        bucket: Some(bucket),
        ..Setup::default()
    }
}

/// The documents of finished cells among objects.
fn cells(objects: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let is_cell = |name: &str| name.strip_suffix(".ron").is_some_and(|stem| stem != "run");
    let found = objects.iter().filter(|(name, _)| is_cell(name));
    found.map(|(name, at)| (name.clone(), *at)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_comes_from_the_bucket_and_each_cell_goes_there_as_it_ends() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "served").await;
    let place = Place::new();
    bucket.take_session(&place).await;
    let worker = Worker::with(&place, with(bucket.of_worker(&place, None))).await;
    worker.script.hold(Stage::Load("Q8_0"));
    worker.client.submit(&request("r1")).await;
    // Two cells of Q4_0 are made; the first must be in the bucket while the second quant is loaded.
    let deadline = std::time::Instant::now() + crate::support::LIMIT;
    loop {
        let there = bucket.generations("audit/r1/").await;
        if cells(&there).len() == 2 {
            assert!(there.contains_key("Q4_0_gs2.png"), "{there:?}");
            assert!(!there.contains_key("REPORT.md"), "{there:?}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{there:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.script.release();
    worker.client.until_state("r1", "done").await;
    let there = bucket.generations("audit/r1/").await;
    assert_eq!(cells(&there).len(), 4);
    let local: Vec<String> = place.files("r1", "").into_keys().collect();
    let remote: Vec<String> = there.into_keys().collect();
    assert_eq!(remote, local);
    let report = bucket.read("audit/r1/REPORT.md").await;
    assert!(report.contains("4 of 4 done"), "{report}");
    assert!(worker.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_disk_is_gone_goes_on_by_itself_and_repeats_no_cell() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "diskless").await;
    let place = Place::new();
    bucket.take_session(&place).await;
    let worker = Worker::with(&place, with(bucket.of_worker(&place, Some("w1")))).await;
    worker.script.hold(Stage::Load("Q8_0"));
    worker.client.submit(&request("r1")).await;
    let two = |status: &Value| status["cells"]["done"] == 2;
    worker.client.until("r1", "two cells done", two).await;
    assert!(worker.stop().await);
    let before = bucket.generations("audit/r1/").await;
    assert_eq!(cells(&before).len(), 2, "{before:?}");
    std::fs::remove_dir_all(place.path("runs")).unwrap();
    std::fs::remove_dir_all(place.path("cache")).unwrap();

    // Another worker of that bucket leaves it alone.
    let other = Place::new();
    let stranger = Worker::with(&other, with(bucket.of_worker(&other, Some("w2")))).await;
    assert_eq!(stranger.client.get("/audit/r1/status").await.status, 404);
    assert!(stranger.stop().await);

    let worker = Worker::with(&place, with(bucket.of_worker(&place, Some("w1")))).await;
    worker.client.until_state("r1", "done").await;
    assert_eq!(worker.script.fills(), ["Q8_0_gs2", "Q8_0_gs10"]);
    let after = bucket.generations("audit/r1/").await;
    for (name, generation) in cells(&before) {
        assert_eq!(after.get(&name), Some(&generation), "{name} was made again");
    }
    assert_eq!(cells(&after).len(), 4);
    assert!(after.contains_key("REPORT.md"));
    assert!(worker.stop().await);
    // What has ended is not remembered.
    assert_eq!(bucket.generations("audit/.worker/").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_that_name_in_the_bucket_is_gone_on_with_only_if_it_is_the_same() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "same").await;
    let place = Place::new();
    bucket.take_session(&place).await;
    let worker = Worker::with(&place, with(bucket.of_worker(&place, None))).await;
    worker.client.submit(&request("r1")).await;
    worker.client.until_state("r1", "done").await;
    assert!(worker.stop().await);
    std::fs::remove_dir_all(place.path("runs")).unwrap();

    let worker = Worker::with(&place, with(bucket.of_worker(&place, None))).await;
    let mut other = request("r1");
    other["matrix"]["guidances"] = json!([2, 4]);
    worker.client.submit(&other).await;
    let status = worker.client.until_state("r1", "failed").await;
    assert!(
        status["error"].as_str().unwrap().contains("another matrix"),
        "{status}"
    );
    assert!(worker.stop().await);
    std::fs::remove_dir_all(place.path("runs")).unwrap();

    let worker = Worker::with(&place, with(bucket.of_worker(&place, None))).await;
    worker.client.submit(&request("r1")).await;
    worker.client.until_state("r1", "done").await;
    assert_eq!(worker.script.fills(), Vec::<String>::new());
    assert!(worker.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_nobody_has_and_a_bucket_that_is_away_are_told_apart() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "nobody").await;
    let place = Place::new();
    let mut of_worker = bucket.of_worker(&place, None);
    let worker = Worker::with(&place, with(of_worker.clone())).await;
    let mut unknown = request("r1");
    unknown["session_id"] = json!("none");
    let answer = worker.client.post(&unknown).await;
    assert_eq!(answer.status, 404, "{}", answer.error());
    assert!(
        answer.error().contains("no session none"),
        "{}",
        answer.error()
    );
    assert!(worker.stop().await);

    let gone = Gcs::new(
        &bucket.name,
        "http://127.0.0.1:9",
        Identity::anonymous(),
        Limits::for_tests(),
    );
    of_worker.store = Arc::new(gone.await.unwrap());
    let worker = Worker::with(&place, with(of_worker)).await;
    let answer = worker.client.post(&unknown).await;
    assert_eq!(answer.status, 503, "{}", answer.error());
    assert!(answer.error().contains("the session cannot be fetched"));
    assert_eq!(answer.header("retry-after"), "60");
    assert!(worker.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_done_only_when_the_bucket_has_it() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "moody").await;
    let place = Place::new();
    let moody = Moody::new(&bucket);
    let mut of_worker = bucket.of_worker(&place, None);
    of_worker.store = Arc::<Moody>::clone(&moody);
    let worker = Worker::with(&place, with(of_worker)).await;
    // Away while the run ends: it is waited for, and said.
    moody.is_away.store(true, Ordering::Relaxed);
    worker.client.submit(&request("r1")).await;
    let mut events = worker.client.events("r1", None).await;
    loop {
        let event = events.next().await.unwrap();
        assert_ne!(event.name, "end", "{event:?}");
        let text = event.data["text"].as_str().unwrap_or_default().to_owned();
        if event.name == "warning" && text.contains("does not take the run yet") {
            break;
        }
    }
    assert_eq!(worker.script.fills().len(), 4);
    moody.is_away.store(false, Ordering::Relaxed);
    worker.client.until_state("r1", "done").await;
    let there = bucket.generations("audit/r1/").await;
    assert_eq!(cells(&there).len(), 4);
    assert!(there.contains_key("REPORT.md"));
    // Closed for good: the run has failed to arrive, and asked for again it arrives without a cell being made.
    moody.is_closed.store(true, Ordering::Relaxed);
    worker.client.submit(&request("r2")).await;
    let status = worker.client.until_state("r2", "failed").await;
    let error = status["error"].as_str().unwrap();
    assert!(
        error.contains("not in the bucket; ask for it again"),
        "{error}"
    );
    assert!(error.contains("a role"), "{error}");
    moody.is_closed.store(false, Ordering::Relaxed);
    worker.client.submit(&request("r2")).await;
    worker.client.until_state("r2", "done").await;
    assert_eq!(worker.script.fills().len(), 8);
    let there = bucket.generations("audit/r2/").await;
    assert_eq!(cells(&there).len(), 4);
    assert!(there.contains_key("REPORT.md"));
    assert!(worker.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_with_its_folder_removed_the_program_goes_on_from_the_bucket() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "killed").await;
    let place = Place::new();
    bucket.take_session(&place).await;
    let start = || {
        let args = ["--listen", "127.0.0.1:0", "--bucket", &bucket.name];
        let mut command = program(&place, &args);
        command.env("STORAGE_EMULATOR_HOST", &bucket.address);
        Process::spawn(command)
    };
    let mut long = request("killed");
    long["matrix"] = json!({"quants": ["Q4_0", "Q8_0"], "guidances": [2, 10, 30], "steps": [12]});
    long["inference"] = json!({"crop": {"long_side_px": 64, "margin": 0.25}});
    let deadline = std::time::Instant::now() + crate::support::LIMIT;
    let before = {
        let worker = start();
        assert!(
            worker
                .greeting
                .contains(&format!("runs go to gs://{}/audit/", bucket.name)),
            "{}",
            worker.greeting
        );
        worker.client.submit(&long).await;
        loop {
            let there = cells(&bucket.generations("audit/killed/").await);
            if !there.is_empty() {
                break there;
            }
            assert!(std::time::Instant::now() < deadline, "no cell arrives");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Dropped: killed at once.
    };
    assert!(before.len() < 6, "{before:?}");
    std::fs::remove_dir_all(place.path("runs/killed")).unwrap();
    let worker = start();
    let status = worker.client.until_state("killed", "done").await;
    assert_eq!(status["cells"]["done"], 6);
    let after = bucket.generations("audit/killed/").await;
    for (name, generation) in &before {
        assert_eq!(after.get(name), Some(generation), "{name} was made again");
    }
    assert_eq!(cells(&after).len(), 6);
    let report = bucket.read("audit/killed/REPORT.md").await;
    assert!(report.contains("6 of 6 done"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bucket_cannot_remember_is_not_accepted() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "forgetful").await;
    let place = Place::new();
    let moody = Moody::new(&bucket);
    let mut of_worker = bucket.of_worker(&place, Some("w1"));
    of_worker.store = Arc::<Moody>::clone(&moody);
    let worker = Worker::with(&place, with(of_worker)).await;
    worker.script.hold(Stage::Load("Q4_0"));
    moody.is_closed.store(true, Ordering::Relaxed);
    let answer = worker.client.post(&request("r1")).await;
    assert_eq!(answer.status, 503, "{}", answer.error());
    assert!(answer.error().contains("run r1; ask again under this name"));
    assert_eq!(answer.header("retry-after"), "60");
    moody.is_closed.store(false, Ordering::Relaxed);
    let answer = worker.client.post(&request("r1")).await;
    assert_eq!(answer.status, 202);
    let there = bucket.generations("audit/.worker/w1/").await;
    assert!(there.contains_key("r1.json"), "{there:?}");
    worker.script.release();
    worker.client.until_state("r1", "done").await;
    assert_eq!(worker.script.fills().len(), 4);
    assert!(worker.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_is_not_remembered_after_its_cancel() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "slow").await;
    let place = Place::new();
    let moody = Moody::new(&bucket);
    let mut of_worker = bucket.of_worker(&place, Some("w1"));
    of_worker.store = Arc::<Moody>::clone(&moody);
    let worker = Worker::with(&place, with(of_worker)).await;
    worker.script.hold(Stage::Load("Q4_0"));
    worker.client.submit(&request("r1")).await;
    *moody.held.lock().unwrap() = Some("/r2.json");
    let client = worker.client.clone();
    let asking = tokio::spawn(async move { client.post(&request("r2")).await.status });
    while moody.waiting.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let client = worker.client.clone();
    let cancelling = tokio::spawn(async move {
        let cancel = client.ask(Method::DELETE, "/audit/r2");
        client.send(cancel).await.status
    });
    worker.client.until_state("r2", "cancelled").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    *moody.held.lock().unwrap() = None;
    assert_eq!(asking.await.unwrap(), 202);
    assert!(cancelling.await.unwrap().is_success());
    let there = bucket.generations("audit/.worker/w1/").await;
    assert_eq!(there.into_keys().collect::<Vec<_>>(), ["r1.json"]);
    worker.script.release();
    worker.client.until_state("r1", "done").await;
    assert!(worker.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_and_a_bucket_that_comes_late_lose_no_run() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "late").await;
    let place = Place::new();
    bucket.take_session(&place).await;
    let worker = Worker::with(&place, with(bucket.of_worker(&place, Some("w1")))).await;
    worker.script.hold(Stage::Load("Q4_0"));
    worker.client.submit(&request("r1")).await;
    assert!(worker.stop().await);
    std::fs::remove_dir_all(place.path("runs")).unwrap();
    let bad = ObjectName::new("audit/.worker/w1/bad.json").unwrap();
    let written = bucket.store.write(&bad, "{".into(), Precondition::None);
    written.await.unwrap();
    let moody = Moody::new(&bucket);
    moody.failing_lists.store(2, Ordering::Relaxed);
    let mut of_worker = bucket.of_worker(&place, Some("w1"));
    of_worker.store = Arc::<Moody>::clone(&moody);
    let worker = Worker::with(&place, with(of_worker)).await;
    worker.client.until_state("r1", "done").await;
    assert_eq!(worker.client.get("/audit/bad/status").await.status, 404);
    assert!(worker.stop().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_changed_in_the_bucket_is_replaced_whole() {
    let Some(address) = emulator() else { return };
    let bucket = Bucket::new(&address, "changed").await;
    let place = Place::new();
    // What must not be touched lies in a corner.
    let mask = image::open(place.path("sessions/u1/s1/mask.png")).unwrap();
    let corner = image::GrayImage::from_fn(mask.width(), mask.height(), |x, y| {
        image::Luma([if x < 4 && y < 4 { 255 } else { 0 }])
    });
    let mut png = std::io::Cursor::new(Vec::new());
    corner.write_to(&mut png, image::ImageFormat::Png).unwrap();
    bucket.take_session(&place).await;
    let name = |file: &str| ObjectName::new(format!("users/u1/sessions/s1/{file}")).unwrap();
    let subject = name("subject.png");
    let written = bucket
        .store
        .write(&subject, png.into_inner().into(), Precondition::Absent);
    written.await.unwrap();
    let worker = Worker::with(&place, with(bucket.of_worker(&place, None))).await;
    worker.client.submit(&request("r1")).await;
    worker.client.until_state("r1", "done").await;
    let brought = place.path("runs/.worker/sessions/u1/s1");
    assert!(brought.join("subject.png").is_file());

    let deleted = bucket.store.delete(&subject, Precondition::None);
    deleted.await.unwrap();
    let picture = image::open(brought.join("image.png")).unwrap().fliph();
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    let image = name("image.png");
    let written = bucket
        .store
        .write(&image, png.clone().into(), Precondition::None);
    written.await.unwrap();
    let ids = ["r2", "r3", "r4", "r5"];
    let asked = ids.map(|run_id| {
        let client = worker.client.clone();
        tokio::spawn(async move { client.post(&request(run_id)).await.status })
    });
    for asked in asked {
        assert_eq!(asked.await.unwrap(), 202);
    }
    for run_id in ids {
        worker.client.until_state(run_id, "done").await;
        let used = std::fs::read(place.path("runs").join(run_id).join("image.png"));
        assert_eq!(used.unwrap(), png, "{run_id}");
    }
    let mut left: Vec<_> = std::fs::read_dir(&brought)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["image.png", "mask.png"]);
    let beside = std::fs::read_dir(brought.parent().unwrap()).unwrap();
    assert_eq!(beside.count(), 1, "something was left beside the session");
    assert!(worker.stop().await);
}
