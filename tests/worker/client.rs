//! The client against a worker on loopback: a whole run comes, whatever happens to either side or between
//! them. Nothing is lost, no finished cell is made or fetched twice, and nothing wrong is told.

use crate::following::{Follower, cells_of, client, copies, has_waited, note};
use crate::proxy::{HARMLESS, Harm, Proxy};
use crate::scripted::Scripted;
use crate::support::{CELLS, Place, Setup, Stage, TOKEN, Worker, request};
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::model::ids::RunId;
use fill_audit::model::run::Run;
use fill_audit::remote::client::{ClientError, FollowEvent, Intent, Outcome, RemoteNote};
use fill_audit::remote::wire::{RunEvent, RunState};
use fill_audit::remote::{Limits, Token};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// The copy, every picture held against its hash.
fn copy(place: &Place, run_id: &str) -> Run {
    run_folder::open(&copies(place).join(run_id), Verification::Full).unwrap()
}

/// The copy has every file that says something of the run, and each is the worker's, bit for bit.
fn assert_same(place: &Place, run_id: &str) {
    let run = copy(place, run_id);
    assert_eq!(run.done_count(), CELLS.len());
    assert_eq!(run.warnings, ["it only paints"]);
    for ending in [".ron", ".png"] {
        let mut theirs = place.files(run_id, ending);
        // Drawn anew from what is here.
        theirs.remove(fill_audit::audit::CONTACT_SHEET);
        assert!(theirs.len() > CELLS.len());
        for (name, bytes) in theirs {
            let ours = std::fs::read(copies(place).join(run_id).join(&name));
            assert!(ours.is_ok_and(|ours| ours == bytes), "{name} is another");
        }
    }
    let report = copies(place).join(run_id).join("REPORT.md");
    assert!(std::fs::read_to_string(report).unwrap().contains("Q8_0"));
}

fn note_of(place: &Place, run_id: &str) -> RemoteNote {
    let run_id = RunId::new(run_id).unwrap();
    RemoteNote::read(&copies(place), &run_id).unwrap().unwrap()
}

#[tokio::test]
async fn a_run_is_asked_for_followed_and_copied_whole() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    worker.script.hold(Stage::Load("Q8_0"));
    let follower = Follower::start(&place, worker.address, &request("r1"));
    follower
        .until("half of it", |events| cells_of(events).len() == 2)
        .await;
    // While it is made, it is a run with two cells.
    assert_eq!(copy(&place, "r1").done_count(), 2);
    assert_eq!(note_of(&place, "r1").ended, None);
    worker.script.release();
    let events = follower.done().await;
    assert_eq!(cells_of(&events), CELLS);
    assert!(!has_waited(&events), "nothing was waited for");
    let planned = |event: &FollowEvent| matches!(event, FollowEvent::Planned { .. });
    let first_cell = |event: &FollowEvent| matches!(event, FollowEvent::Cell { .. });
    let at = |is: &dyn Fn(&FollowEvent) -> bool| events.iter().position(is).unwrap();
    assert!(
        at(&planned) < at(&first_cell),
        "it is opened before its cells"
    );
    assert_same(&place, "r1");
    assert_eq!(note_of(&place, "r1").ended.as_deref(), Some("done"));

    // Again: nothing is made, and nothing is fetched.
    let events = Follower::pick_up(&place, "r1").done().await;
    assert_eq!(cells_of(&events), Vec::<String>::new());
    assert_eq!(worker.script.fills(), CELLS);
}

#[tokio::test]
async fn a_client_beside_its_worker_may_use_the_same_folder() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    std::os::unix::fs::symlink(place.path("runs"), copies(&place)).unwrap();
    let follower = Follower::start(&place, worker.address, &request("r1"));
    follower.done().await;
    assert_same(&place, "r1");
}

#[tokio::test]
async fn a_cancel_is_carried_out_and_the_same_run_goes_on_when_it_is_asked_for_again() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    worker.script.hold(Stage::Load("Q8_0"));
    let follower = Follower::start(&place, worker.address, &request("r1"));
    follower
        .until("half of it", |events| cells_of(events).len() == 2)
        .await;
    follower.want(Intent::Cancel);
    let (outcome, _) = follower.outcome().await;
    let Ok(Outcome::Ended { state, cells, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!((state, cells.done, cells.left), (RunState::Cancelled, 2, 2));
    assert_eq!(note_of(&place, "r1").ended.as_deref(), Some("cancelled"));
    worker.script.release();
    let follower = Follower::spawn(
        &place,
        client(worker.address, ""),
        note_of(&place, "r1"),
        true,
    );
    let events = follower.done().await;
    assert_eq!(cells_of(&events), CELLS[2..]);
    assert_eq!(worker.script.fills(), CELLS);
    assert_same(&place, "r1");
}

#[tokio::test]
async fn one_who_leaves_leaves_the_run_and_picks_it_up_again() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    worker.script.hold(Stage::Step);
    let follower = Follower::start(&place, worker.address, &request("r1"));
    follower
        .until("stepping", |events| {
            let is_step =
                |event: &FollowEvent| matches!(event, FollowEvent::Run(RunEvent::Step { .. }));
            events.iter().any(is_step)
        })
        .await;
    follower.want(Intent::Leave);
    let (outcome, _) = follower.outcome().await;
    assert_eq!(outcome, Ok(Outcome::Left));
    assert_eq!(note_of(&place, "r1").ended, None);
    let waiting = RemoteNote::waiting(&copies(&place));
    assert_eq!(waiting, [note_of(&place, "r1")]);
    worker.script.release();
    worker.client.until_state("r1", "done").await;
    let events = Follower::pick_up(&place, "r1").done().await;
    assert_eq!(cells_of(&events), CELLS);
    assert_same(&place, "r1");
    assert_eq!(RemoteNote::waiting(&copies(&place)), []);
}

#[tokio::test]
async fn a_client_that_is_killed_again_and_again_gets_all_of_it_and_nothing_twice() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let mut all = Vec::new();
    worker.script.hold(Stage::Load("Q8_0"));
    let first = Follower::start(&place, worker.address, &request("r1"));
    first
        .until("a cell", |events| !cells_of(events).is_empty())
        .await;
    all.extend(cells_of(&first.kill()));
    for _ in 0..3 {
        let follower = Follower::pick_up(&place, "r1");
        follower
            .until("connected", |events| !events.is_empty())
            .await;
        all.extend(cells_of(&follower.kill()));
    }
    worker.script.release();
    all.extend(cells_of(&Follower::pick_up(&place, "r1").done().await));
    let once: BTreeSet<&String> = all.iter().collect();
    assert_eq!(
        (all.len(), once.len()),
        (CELLS.len(), CELLS.len()),
        "{all:?}"
    );
    assert_eq!(worker.script.fills(), CELLS);
    assert_same(&place, "r1");
}

#[tokio::test]
async fn one_who_died_before_the_request_arrived_asks_again() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    note(worker.address, &request("r1"))
        .write(&copies(&place))
        .unwrap();
    Follower::pick_up(&place, "r1").done().await;
    assert_eq!(worker.script.fills(), CELLS);
    assert_same(&place, "r1");
}

#[tokio::test]
async fn through_a_proxy_that_cuts_delays_and_reorders_all_of_it_comes_once() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let proxy = Proxy::start(
        worker.address,
        Harm {
            cut_after: 6000,
            whole_between: 1,
            piece: 700,
            delay: Duration::from_millis(4),
        },
    )
    .await;
    let follower = Follower::start(&place, proxy.address, &request("r1"));
    let events = follower.done().await;
    let mut cells = cells_of(&events);
    assert!(proxy.cuts() > 3, "{} cuts", proxy.cuts());
    assert!(has_waited(&events), "a lost connection is told");
    cells.sort();
    let mut expected = CELLS.map(str::to_owned);
    expected.sort();
    assert_eq!(cells, expected, "each cell once");
    assert_eq!(worker.script.fills(), CELLS, "no finished cell is repeated");
    assert_same(&place, "r1");
    assert_states_are_true(&events);
}

/// What is told never goes back: a run that runs does not wait again, and no count shrinks.
fn assert_states_are_true(events: &[FollowEvent]) {
    let mut last = (0, 0);
    for event in events {
        if let FollowEvent::Status(status) = event {
            let rank = match status.state {
                RunState::Queued => 0,
                RunState::Running => 1,
                _ => 2,
            };
            let now = (rank, status.cells.done);
            assert!(now >= last, "{last:?} and then {now:?}");
            last = now;
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_starts_no_second_run() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    // The request gets through, nothing of its answer comes back.
    let proxy = Proxy::start(
        worker.address,
        Harm {
            cut_after: 1,
            ..HARMLESS
        },
    )
    .await;
    worker.script.hold(Stage::Step);
    let follower = Follower::start(&place, proxy.address, &request("r1"));
    follower.until("waiting", has_waited).await;
    worker.client.until_state("r1", "running").await;
    proxy.harm(HARMLESS);
    worker.script.release();
    follower.done().await;
    assert_eq!(worker.script.fills(), CELLS);
    let records = std::fs::read_dir(place.path("runs/.worker")).unwrap();
    let is_record = |path: &Path| path.extension().is_some_and(|end| end == "json");
    let paths = records.map(|entry| entry.unwrap().path());
    assert_eq!(paths.filter(|path| is_record(path)).count(), 1);
}

#[tokio::test]
async fn a_run_that_has_ended_is_resumed_though_the_first_request_is_lost() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    worker.script.hold(Stage::Load("Q8_0"));
    let follower = Follower::start(&place, worker.address, &request("r1"));
    follower
        .until("half of it", |events| cells_of(events).len() == 2)
        .await;
    follower.want(Intent::Cancel);
    assert!(follower.outcome().await.0.is_ok());
    worker.script.release();
    worker.client.until_state("r1", "cancelled").await;
    let proxy = Proxy::start(worker.address, HARMLESS).await;
    proxy.pull_plug(true);
    let resuming = note(proxy.address, &request("r1"));
    let follower = Follower::spawn(&place, client(proxy.address, ""), resuming, true);
    follower.until("waiting", has_waited).await;
    proxy.pull_plug(false);
    let events = follower.done().await;
    assert_eq!(cells_of(&events), CELLS[2..]);
    assert_same(&place, "r1");
}

#[tokio::test]
async fn a_request_that_may_have_been_taken_is_not_noted_as_refused() {
    let place = Place::new();
    let refusal = r#"{"error": "who asks?"}"#;
    let worker = Scripted::start(&[(0, ""), (401, refusal)]).await;
    let follower = Follower::start(&place, worker.address, &request("r1"));
    let (outcome, _) = follower.outcome().await;
    assert!(
        matches!(outcome, Err(ClientError::Unauthorized { .. })),
        "{outcome:?}"
    );
    assert_eq!(note_of(&place, "r1").ended, None, "it may be under way");
    // One that was refused at once is not.
    let worker = Scripted::start(&[(401, refusal)]).await;
    let follower = Follower::start(&place, worker.address, &request("r2"));
    assert!(follower.outcome().await.0.is_err());
    assert_eq!(note_of(&place, "r2").ended.as_deref(), Some("refused"));
}

#[tokio::test]
async fn a_worker_that_is_away_is_waited_for_and_the_time_is_told() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let proxy = Proxy::start(worker.address, HARMLESS).await;
    worker.script.hold(Stage::Load("Q8_0"));
    let follower = Follower::start(&place, proxy.address, &request("r1"));
    follower
        .until("half of it", |events| cells_of(events).len() == 2)
        .await;
    proxy.pull_plug(true);
    follower.until("waiting", has_waited).await;
    let told = follower.events().into_iter().find_map(|event| match event {
        FollowEvent::Waiting { why, for_secs } => Some((why, for_secs)),
        _ => None,
    });
    let (why, for_secs) = told.unwrap();
    assert_eq!(why, "connection lost");
    assert!((1..=30).contains(&for_secs));
    // Asked to stop while nobody can be told: it is told when somebody can.
    follower.want(Intent::Cancel);
    proxy.pull_plug(false);
    let (outcome, events) = follower.outcome().await;
    assert!(
        matches!(
            outcome,
            Ok(Outcome::Ended {
                state: RunState::Cancelled,
                ..
            })
        ),
        "{outcome:?}"
    );
    let is_connected = |event: &FollowEvent| matches!(event, FollowEvent::Connected);
    assert!(events.iter().any(is_connected));
}

#[tokio::test]
async fn a_worker_that_is_stopped_and_started_again_is_followed_on() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let proxy = Proxy::start(worker.address, HARMLESS).await;
    worker.script.hold(Stage::Load("Q8_0"));
    let follower = Follower::start(&place, proxy.address, &request("r1"));
    follower
        .until("half of it", |events| cells_of(events).len() == 2)
        .await;
    assert!(worker.stop().await);
    let worker = Worker::start(&place).await;
    proxy.aim(worker.address);
    let events = follower.done().await;
    assert_eq!(cells_of(&events), CELLS, "each cell once");
    assert_eq!(worker.script.fills(), CELLS[2..]);
    assert_same(&place, "r1");
    assert_states_are_true(
        // The second worker puts what was interrupted back to the front of its queue.
        &events
            .into_iter()
            .filter(|event| !matches!(event, FollowEvent::Status(status) if status.state == RunState::Queued))
            .collect::<Vec<_>>(),
    );
}

#[tokio::test]
async fn a_picture_that_is_damaged_on_the_worker_keeps_no_other_from_coming() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    worker.client.submit(&request("r1")).await;
    worker.client.until_state("r1", "done").await;
    let picture = place.path("runs/r1/Q4_0_gs10.png");
    let mut bytes = std::fs::read(&picture).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&picture, bytes).unwrap();
    let (outcome, events) = Follower::start(&place, worker.address, &request("r1"))
        .outcome()
        .await;
    let Ok(Outcome::Ended { lacking, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    let lacking: Vec<&str> = lacking.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(lacking, ["Q4_0_gs10.png"]);
    assert_eq!(cells_of(&events), ["Q4_0_gs2", "Q8_0_gs2", "Q8_0_gs10"]);
    assert_eq!(
        copy(&place, "r1").done_count(),
        3,
        "no half of a cell is one"
    );
}

#[tokio::test]
async fn a_worker_without_room_is_asked_again_and_a_cancel_then_asks_no_more() {
    let place = Place::new();
    let setup = Setup {
        waiting: 0,
        ..Setup::default()
    };
    let worker = Worker::with(&place, setup).await;
    worker.script.hold(Stage::Step);
    worker.client.submit(&request("other")).await;
    worker.client.until_state("other", "running").await;
    let follower = Follower::start(&place, worker.address, &request("r1"));
    follower.until("waiting", has_waited).await;
    let is_told = |event: &FollowEvent| {
        matches!(event, FollowEvent::Waiting { why, for_secs }
        if why.contains("one run is made at a time") && *for_secs >= 55)
    };
    assert!(
        follower.events().iter().any(is_told),
        "{:?}",
        follower.events()
    );
    follower.want(Intent::Cancel);
    let (outcome, _) = follower.outcome().await;
    assert!(matches!(
        outcome,
        Ok(Outcome::Ended {
            state: RunState::Cancelled,
            ..
        })
    ));
    worker.script.release();
    worker.client.until_state("other", "done").await;
    assert_eq!(worker.client.get("/audit/r1/status").await.status, 404);
}

#[tokio::test]
async fn what_will_not_pass_is_said_once_with_its_remedy() {
    let place = Place::new();
    let setup = Setup {
        token: Some(Token::new(TOKEN, "a test").unwrap()),
        limits: Limits::default(),
        ..Setup::default()
    };
    let worker = Worker::with(&place, setup).await;
    let start = async |token: &str, request: &serde_json::Value| {
        let follower = Follower::spawn(
            &place,
            client(worker.address, token),
            note(worker.address, request),
            true,
        );
        let (outcome, events) = follower.outcome().await;
        assert!(!has_waited(&events));
        outcome.unwrap_err()
    };
    for token in ["", "another-token-of-the-same-kind"] {
        let error = start(token, &request("r1")).await;
        assert!(matches!(error, ClientError::Unauthorized { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("--token-file") && text.contains("127.0.0.1"),
            "{text}"
        );
        assert!(!text.contains("another-token"), "{text}");
    }
    let mut unknown = request("r2");
    unknown["session_id"] = json!("none");
    let error = start(TOKEN, &unknown).await;
    assert!(matches!(error, ClientError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("no session none"), "{error}");
    // What was refused is not waited for.
    assert_eq!(RemoteNote::waiting(&copies(&place)), []);
    let gpu = client(worker.address, TOKEN).gpu().await.unwrap();
    assert!(!gpu.is_production_gpu && gpu.warning.unwrap().contains("L4"));
}

#[tokio::test]
async fn what_is_no_worker_is_named_as_such() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    for (answer, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "no fill-audit worker",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "no fill-audit worker",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            "no fill-audit worker",
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "cannot be reached"),
        (
            "HTTP/1.1 500 Oh\r\nContent-Length: 99999999999\r\n\r\nx",
            "the worker failed (500)",
        ),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let error = client(address, "").gpu().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{answer}: {error}");
        assert!(error.contains(&address.to_string()), "{error}");
        answering.await.unwrap();
    }
}

#[tokio::test]
async fn a_private_service_is_shown_who_asks_beside_the_workers_own_token() {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::http::Response;
    use base64::Engine as _;
    use fill_audit::remote::id_token::IdTokens;
    use fill_audit::storage::gcs::id_tokens::IdTokenWay;
    use std::sync::{Arc, Mutex};

    // Both Google's metadata server and the service: what it is shown is written down.
    let seen: Arc<Mutex<Vec<[String; 2]>>> = Arc::default();
    let shown = Arc::clone(&seen);
    let answer = move |request: Request| {
        let header = |name: &str| {
            let value = request.headers().get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        let is_identity = request.uri().path().ends_with("/identity");
        if !is_identity {
            let both = ["authorization", "x-serverless-authorization"].map(header);
            shown.lock().unwrap().push(both);
        }
        async move {
            if is_identity {
                let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
                let claims = json!({"exp": 4_000_000_000_u64}).to_string();
                let token = format!("{}.{}.c2ln", engine.encode("{}"), engine.encode(claims));
                return Response::new(Body::from(token));
            }
            let refused = Response::builder().status(403);
            refused.body(Body::from("<html>Forbidden</html>")).unwrap()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(io, service);
            tokio::spawn(async move {
                let _ = connection.await;
            });
        }
    });
    let base = format!("http://{address}");
    let identity = IdTokens::new(&base, IdTokenWay::Metadata, &base).unwrap();
    let client = client(address, TOKEN).with_identity(identity);
    let error = client.gpu().await.unwrap_err();
    assert!(matches!(error, ClientError::Forbidden { .. }), "{error}");
    assert!(error.to_string().contains("Cloud Run Invoker"), "{error}");
    let seen = seen.lock().unwrap().clone();
    // Once more with a token that is asked for anew, and then no more.
    assert_eq!(seen.len(), 2, "{seen:?}");
    for [own, identity] in seen {
        assert_eq!(own, format!("Bearer {TOKEN}"));
        assert!(identity.starts_with("Bearer e30."), "{identity}");
    }
}
