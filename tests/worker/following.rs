//! What the client's tests share: one who follows a run into a folder and writes down what is told.

use crate::support::{LIMIT, Place};
use fill_audit::model::ids::RunId;
use fill_audit::remote::client::{
    ClientError, ClientOptions, Follow, FollowEvent, Intent, Kind, Outcome, RemoteNote,
    StaticToken, WorkerClient,
};
use fill_audit::remote::wire::RunState;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Waits that a test has time for.
pub fn options() -> ClientOptions {
    ClientOptions {
        connect: Duration::from_secs(10),
        idle: Duration::from_secs(20),
        first_wait: Duration::from_millis(20),
        longest_wait: Duration::from_millis(200),
    }
}

pub fn client(address: SocketAddr, token: &str) -> WorkerClient {
    WorkerClient::new(
        format!("http://{address}").parse().unwrap(),
        Arc::new(StaticToken::new(token).unwrap()),
        options(),
    )
    .unwrap()
}

/// The note on a run that is asked for.
pub fn note(address: SocketAddr, request: &Value) -> RemoteNote {
    let run_id = RunId::new(request["run_id"].as_str().unwrap()).unwrap();
    RemoteNote::new(
        Kind::Worker,
        format!("http://{address}"),
        run_id,
        serde_json::from_value(request.clone()).unwrap(),
        jiff::Timestamp::now(),
    )
}

/// The folder of copies in a place.
pub fn copies(place: &Place) -> PathBuf {
    place.path("copies")
}

/// One who follows a run.
pub struct Follower {
    events: Arc<Mutex<Vec<FollowEvent>>>,
    intent: watch::Sender<Intent>,
    task: JoinHandle<Result<Outcome, ClientError>>,
}

impl Follower {
    /// Asks for a run and follows it.
    pub fn start(place: &Place, address: SocketAddr, request: &Value) -> Self {
        Self::spawn(place, client(address, ""), note(address, request), true)
    }

    /// Follows a run that was asked for before, as its note says.
    pub fn pick_up(place: &Place, run_id: &str) -> Self {
        let run_id = RunId::new(run_id).unwrap();
        let note = RemoteNote::read(&copies(place), &run_id).unwrap().unwrap();
        let address = note.worker.strip_prefix("http://").unwrap().parse();
        Self::spawn(place, client(address.unwrap(), ""), note, false)
    }

    pub fn spawn(place: &Place, client: WorkerClient, note: RemoteNote, is_start: bool) -> Self {
        let runs_dir = copies(place);
        std::fs::create_dir_all(&runs_dir).unwrap();
        let events: Arc<Mutex<Vec<FollowEvent>>> = Arc::default();
        let told = Arc::clone(&events);
        let (intent, wanted) = watch::channel(Intent::GoOn);
        let task = tokio::spawn(async move {
            let tell = move |event| told.lock().unwrap().push(event);
            let follow = Follow::new(&client, runs_dir, note, wanted, &tell);
            if is_start {
                follow.start().await
            } else {
                follow.pick_up().await
            }
        });
        Self {
            events,
            intent,
            task,
        }
    }

    pub fn events(&self) -> Vec<FollowEvent> {
        self.events.lock().unwrap().clone()
    }

    pub fn want(&self, intent: Intent) {
        self.intent.send_replace(intent);
    }

    /// Waits until something was told.
    pub async fn until(&self, what: &str, is_so: impl Fn(&[FollowEvent]) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !is_so(&self.events.lock().unwrap()) {
            assert!(Instant::now() < deadline, "not {what}: {:?}", self.events());
            assert!(!self.task.is_finished(), "it ended before: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// As a power failure ends it.
    pub fn kill(self) -> Vec<FollowEvent> {
        self.task.abort();
        self.events()
    }

    /// What came of it, and all that was told.
    pub async fn outcome(self) -> (Result<Outcome, ClientError>, Vec<FollowEvent>) {
        let outcome = tokio::time::timeout(LIMIT, self.task).await;
        let events = self.events.lock().unwrap().clone();
        (outcome.expect("it never ends").unwrap(), events)
    }

    /// Waits for its end, which must be that the run is done and all of it is here.
    pub async fn done(self) -> Vec<FollowEvent> {
        let (outcome, events) = self.outcome().await;
        let Ok(Outcome::Ended {
            state: RunState::Done,
            lacking,
            ..
        }) = &outcome
        else {
            panic!("{outcome:?}");
        };
        assert!(lacking.is_empty(), "{lacking:?}");
        events
    }
}

/// The names of the cells that came, in order.
pub fn cells_of(events: &[FollowEvent]) -> Vec<String> {
    let cell = |event: &FollowEvent| match event {
        FollowEvent::Cell { key, .. } => Some(format!("{}_gs{}", key.quant, key.guidance)),
        _ => None,
    };
    events.iter().filter_map(cell).collect()
}

/// Whether something was waited for.
pub fn has_waited(events: &[FollowEvent]) -> bool {
    let is_waiting = |event: &FollowEvent| matches!(event, FollowEvent::Waiting { .. });
    events.iter().any(is_waiting)
}
