//! What the worker's tests share: a place with a session, a worker in this process whose engine can be
//! held at a stage, a client, and a reader of events.

use fill_audit::audit::engine::{
    EngineError, EngineEvent, EngineHook, EngineInputs, Examination, Fill, FillEngine, FillJob,
    RunNeeds,
};
use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::model::cell::Quant;
use fill_audit::model::run::{Environment, ModelDocument};
use fill_audit::remote::plan::Places;
use fill_audit::remote::{
    EngineFactory, Limits, QueueOptions, ServeOptions, Server, Token, WorkerBucket,
};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use image::RgbImage;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The token of the workers that have one.
pub const TOKEN: &str = "correct-horse-battery-staple";

/// Where an engine can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// While this quant is loaded.
    Load(&'static str),
    /// After the first step of a cell.
    Step,
    /// There too, but without looking at the cancel flag.
    Deaf,
}

/// What a test tells the engines of a worker, and what they did.
#[derive(Debug, Default)]
pub struct Script {
    held: Mutex<BTreeSet<Stage>>,
    fills: Mutex<Vec<String>>,
}

impl Script {
    /// Engines stop at a stage until they are let go or cancelled.
    pub fn hold(&self, stage: Stage) {
        self.held.lock().unwrap().insert(stage);
    }

    /// Engines go on.
    pub fn release(&self) {
        self.held.lock().unwrap().clear();
    }

    /// The cells that were filled to their end, in order.
    pub fn fills(&self) -> Vec<String> {
        self.fills.lock().unwrap().clone()
    }

    fn wait(&self, is_meant: impl Fn(Stage) -> bool, hook: EngineHook<'_>) -> ControlFlow<()> {
        let is_held = || self.held.lock().unwrap().iter().copied().any(&is_meant);
        while is_held() {
            hook(EngineEvent::Poll)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        ControlFlow::Continue(())
    }
}

/// A painter that keeps to a script.
struct Scripted {
    painter: PaintedEngine,
    script: Arc<Script>,
    loaded: String,
}

impl FillEngine for Scripted {
    fn environment(&self) -> Environment {
        self.painter.environment()
    }

    fn max_sequence_length(&self) -> u32 {
        self.painter.max_sequence_length()
    }

    fn examine(
        &mut self,
        needs: &RunNeeds<'_>,
        hook: EngineHook<'_>,
    ) -> Result<Examination, EngineError> {
        self.painter.examine(needs, hook)
    }

    fn weights(
        &mut self,
        quants: &[Quant],
        hook: EngineHook<'_>,
    ) -> Result<ModelDocument, EngineError> {
        self.painter.weights(quants, hook)
    }

    fn prepare(&mut self, inputs: &EngineInputs, hook: EngineHook<'_>) -> Result<(), EngineError> {
        self.painter.prepare(inputs, hook)
    }

    fn load(&mut self, quant: &Quant, hook: EngineHook<'_>) -> Result<(), EngineError> {
        self.loaded = quant.to_string();
        let is_meant = |stage| matches!(stage, Stage::Load(name) if name == quant.as_str());
        if self.script.wait(is_meant, &mut *hook).is_break() {
            return Err(EngineError::Cancelled);
        }
        self.painter.load(quant, hook)
    }

    fn fill(&mut self, job: &FillJob, hook: EngineHook<'_>) -> Result<Fill, EngineError> {
        let script = Arc::clone(&self.script);
        let fill = self.painter.fill(job, &mut |event| {
            let event = match event {
                EngineEvent::Step { index, total, .. } => EngineEvent::Step {
                    index,
                    total,
                    preview: Some(RgbImage::new(8, 6)),
                },
                EngineEvent::Poll => EngineEvent::Poll,
            };
            hook(event)?;
            let deaf = &mut |_: EngineEvent| ControlFlow::Continue(());
            script.wait(|stage| stage == Stage::Deaf, deaf)?;
            script.wait(|stage| stage == Stage::Step, &mut *hook)
        })?;
        let name = format!("{}_gs{}", self.loaded, job.guidance);
        self.script.fills.lock().unwrap().push(name);
        Ok(fill)
    }
}

/// A folder with a session of user `u1`, and room for runs.
pub struct Place {
    pub dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let session = dir.path().join("sessions/u1/s1");
        std::fs::create_dir_all(&session).unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/service-run");
        for name in ["image.png", "mask.png"] {
            std::fs::copy(fixture.join(name), session.join(name)).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A queue of the place's runs.
    pub fn queue(&self, waiting: usize) -> QueueOptions {
        QueueOptions {
            places: Places {
                runs_dir: self.path("runs"),
                sessions_dir: self.path("sessions"),
                device: "cpu".to_owned(),
            },
            waiting,
            bucket: None,
            clock: jiff::Timestamp::now,
        }
    }

    /// Every file and folder below the place, sorted.
    pub fn everything(&self) -> Vec<PathBuf> {
        fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, found);
                }
                found.push(path);
            }
        }
        let mut found = Vec::new();
        collect(self.dir.path(), &mut found);
        found.sort();
        found
    }

    /// The bytes of the files in a run's folder that end so.
    pub fn files(&self, run_id: &str, ending: &str) -> BTreeMap<String, Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(self.path("runs").join(run_id)) else {
            return BTreeMap::new();
        };
        entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
            .filter(|(name, _)| name.ends_with(ending) && !name.starts_with('.'))
            .map(|(name, path)| (name, std::fs::read(path).unwrap()))
            .collect()
    }
}

/// How a test's worker differs from the usual one.
pub struct Setup {
    pub waiting: usize,
    pub token: Option<Token>,
    pub limits: Limits,
    pub bucket: Option<WorkerBucket>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            waiting: 4,
            token: None,
            limits: Limits::default(),
            bucket: None,
        }
    }
}

impl Setup {
    /// With other limits.
    pub fn limited(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }
}

/// A worker in this process.
pub struct Worker {
    pub address: SocketAddr,
    pub script: Arc<Script>,
    pub client: Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<bool>,
}

impl Worker {
    /// One as it usually is.
    pub async fn start(place: &Place) -> Self {
        Self::with(place, Setup::default()).await
    }

    pub async fn with(place: &Place, setup: Setup) -> Self {
        let script = Arc::new(Script::default());
        let told = Arc::clone(&script);
        let engines: Arc<EngineFactory> =
            Arc::new(move || -> Result<Box<dyn FillEngine>, EngineError> {
                let mut painter = PaintedEngine::default();
                painter.examination = Examination {
                    memory: vec!["nothing to speak of".to_owned()],
                    warnings: vec!["it only paints".to_owned()],
                    ..Examination::default()
                };
                Ok(Box::new(Scripted {
                    painter,
                    script: Arc::clone(&told),
                    loaded: String::new(),
                }))
            });
        let options = ServeOptions {
            listen: "127.0.0.1:0".parse().unwrap(),
            token: setup.token,
            queue: QueueOptions {
                bucket: setup.bucket,
                ..place.queue(setup.waiting)
            },
            environment: PaintedEngine::default().environment(),
            limits: setup.limits,
        };
        let server = Server::bind(options, engines).await.unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Self {
            address,
            script,
            client: Client::new(address),
            stop: Some(stop),
            task,
        }
    }

    /// Stops it as a signal would; `true` if it stopped cleanly.
    pub async fn stop(mut self) -> bool {
        self.stop.take().unwrap().send(()).unwrap();
        tokio::time::timeout(LIMIT, self.task)
            .await
            .unwrap()
            .unwrap()
    }
}

/// A recipe for a mask that is a few pixels wide at a test's size.
pub fn recipe() -> Value {
    json!({
        "threshold": 128, "min_component_px": 2, "close_px": 0, "open_px": 0, "dilate_px": 2,
        "max_coverage": 0.4, "feather_sigma_px": 1
    })
}

/// Two quants at two guidances, two steps each, at 64 pixels.
pub fn request(run_id: &str) -> Value {
    json!({
        "user_id": "u1", "session_id": "s1", "run_id": run_id,
        "matrix": {"quants": ["Q4_0", "Q8_0"], "guidances": [2, 10], "steps": [2]},
        "recipe": recipe(),
        "inference": {"whole": {"long_side_px": 64}}
    })
}

/// The names of its cells, in the order in which they are made.
pub const CELLS: [&str; 4] = ["Q4_0_gs2", "Q4_0_gs10", "Q8_0_gs2", "Q8_0_gs10"];

/// An answer: its status, its headers, and its body, null if that is no JSON.
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
    pub json: Value,
}

impl Answer {
    /// The sentence of a refusal.
    pub fn error(&self) -> &str {
        self.json["error"].as_str().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// One who talks to a worker.
#[derive(Clone)]
pub struct Client {
    pub http: reqwest::Client,
    pub base: String,
    pub token: Option<String>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{address}"),
            token: None,
        }
    }

    pub fn ask(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = tokio::time::timeout(LIMIT, request.send()).await;
        let answer = answer.unwrap().unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let bytes = answer.bytes().await.unwrap().to_vec();
        Answer {
            status,
            headers,
            json: serde_json::from_slice(&bytes).unwrap_or_default(),
            bytes,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.ask(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.ask(Method::DELETE, path)).await
    }

    pub async fn post(&self, body: &Value) -> Answer {
        self.send(self.ask(Method::POST, "/audit").json(body)).await
    }

    /// Asks for a run, which must be taken.
    pub async fn submit(&self, body: &Value) {
        let answer = self.post(body).await;
        assert_eq!(answer.status, 202, "{}", answer.error());
    }

    pub async fn status(&self, run_id: &str) -> Value {
        let answer = self.get(&format!("/audit/{run_id}/status")).await;
        assert_eq!(answer.status, 200, "{}", answer.error());
        answer.json
    }

    /// Waits until a run's status is as it should be.
    pub async fn until(&self, run_id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LIMIT;
        loop {
            let status = self.status(run_id).await;
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "not {what}: {status}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a run is in a state.
    pub async fn until_state(&self, run_id: &str, state: &str) -> Value {
        self.until(run_id, state, |status| status["state"] == state)
            .await
    }

    /// Waits until the first step of a cell is done.
    pub async fn until_stepping(&self, run_id: &str) -> Value {
        self.until(run_id, "stepping", |status| status["cell"]["step"] == 1)
            .await
    }

    /// Waits until a quant is being loaded.
    pub async fn until_loading(&self, run_id: &str, quant: &str) -> Value {
        let phase = format!("loading {quant}");
        self.until(run_id, &phase, |status| status["phase"] == phase.as_str())
            .await
    }

    /// Follows a run's events.
    pub async fn events(&self, run_id: &str, last_id: Option<&str>) -> Events {
        let mut request = self.ask(Method::GET, &format!("/audit/{run_id}/events"));
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Events {
            pieces: answer.bytes_stream().boxed(),
            text: String::new(),
        }
    }
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerEvent {
    pub id: String,
    pub name: String,
    pub data: Value,
}

/// A stream of them.
pub struct Events {
    pieces: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Events {
    /// The next one; `None` at the stream's end.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let prefix = format!("{name}: ");
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(&prefix))
                        .unwrap_or_default()
                        .to_owned()
                };
                // Comments keep the stream alive and say nothing.
                if field("event").is_empty() {
                    continue;
                }
                return Some(ServerEvent {
                    id: field("id"),
                    name: field("event"),
                    data: serde_json::from_str(&field("data")).unwrap(),
                });
            }
            let piece = tokio::time::timeout(LIMIT, self.pieces.next()).await;
            let piece = piece.expect("an event or the end");
            self.text
                .push_str(std::str::from_utf8(&piece?.unwrap()).unwrap());
        }
    }

    /// All that is left.
    pub async fn rest(mut self) -> Vec<ServerEvent> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

/// The names of events, in order.
pub fn names(events: &[ServerEvent]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}
