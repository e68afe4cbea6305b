//! A run's events: from its beginning to its end, broken off and taken up again.

use crate::support::{CELLS, Place, ServerEvent, Setup, Stage, Worker, names, request};
use base64::Engine as _;
use fill_audit::remote::Limits;
use reqwest::Method;

fn number(event: &ServerEvent) -> u64 {
    event.id.split_once('-').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn a_stream_tells_the_whole_run_and_ends_with_it() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Load("Q4_0"));
    client.submit(&request("r1")).await;
    client.until_loading("r1", "Q4_0").await;
    let mut events = client.events("r1", None).await;
    let first = events.next().await.unwrap();
    assert_eq!(first.name, "snapshot");
    assert_eq!(first.data["phase"], "loading Q4_0");
    worker.script.release();
    let rest = events.rest().await;

    let cell = ["cell_started", "step", "step", "cell_finished"];
    let mut expected: Vec<&str> = Vec::new();
    expected.extend(cell);
    expected.extend(cell);
    expected.push("load");
    expected.extend(cell);
    expected.extend(cell);
    expected.push("end");
    assert_eq!(names(&rest), expected);
    let ids: Vec<u64> = rest.iter().map(number).collect();
    let from = number(&first) + 1;
    assert_eq!(ids, (from..from + ids.len() as u64).collect::<Vec<_>>());
    for event in &rest {
        assert_eq!(event.data["type"], event.name);
    }
    let finished = rest.iter().filter(|event| event.name == "cell_finished");
    let urls: Vec<&str> = finished
        .map(|event| event.data["image_url"].as_str().unwrap())
        .collect();
    assert_eq!(
        urls,
        CELLS.map(|cell| format!("/audit/r1/cells/{cell}.png"))
    );
    let end = rest.last().unwrap();
    assert_eq!(end.data["state"], "done");
    assert_eq!(end.data["cells"]["done"], 4);
}

#[tokio::test]
async fn the_newest_step_has_a_small_picture() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Step);
    client.submit(&request("r1")).await;
    client.until_stepping("r1").await;
    // As one who saw the very beginning and lost the connection.
    let snapshot = client.events("r1", None).await.next().await.unwrap();
    let epoch = snapshot.id.split_once('-').unwrap().0.to_owned();
    let mut events = client.events("r1", Some(&format!("{epoch}-0"))).await;
    let step = loop {
        let event = events.next().await.unwrap();
        assert_ne!(event.name, "snapshot", "nothing was missed");
        if event.name == "step" {
            break event;
        }
    };
    let png = base64::engine::general_purpose::STANDARD
        .decode(step.data["preview"].as_str().unwrap())
        .unwrap();
    let picture = image::load_from_memory(&png).unwrap();
    assert_eq!((picture.width(), picture.height()), (8, 6));
    worker.script.release();
    client.until_state("r1", "done").await;
    let all = client
        .events("r1", Some(&format!("{epoch}-0")))
        .await
        .rest()
        .await;
    let with_picture = all.iter().filter(|event| event.data["preview"].is_string());
    assert!(
        with_picture.count() <= CELLS.len(),
        "old pictures are dropped"
    );
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_was() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Load("Q4_0"));
    client.submit(&request("r1")).await;
    client.until_state("r1", "running").await;
    let whole = tokio::spawn(client.events("r1", None).await.rest());
    let mut pieces = vec![client.events("r1", None).await.next().await.unwrap()];
    worker.script.release();
    // A new connection for every two events.
    let mut rounds = 0;
    while pieces.last().is_none_or(|event| event.name != "end") {
        let last = pieces.last().unwrap().id.clone();
        let mut events = client.events("r1", Some(&last)).await;
        for _ in 0..2 {
            if let Some(event) = events.next().await {
                pieces.push(event);
            }
        }
        rounds += 1;
        assert!(rounds < 100, "the end never comes: {:?}", names(&pieces));
    }
    assert!(rounds > 3);
    let numbers: Vec<u64> = pieces.iter().map(number).collect();
    let expected: Vec<u64> = (numbers[0]..numbers[0] + numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "nothing twice, nothing missed");
    let whole = whole.await.unwrap();
    let finished = |events: &[ServerEvent]| {
        let finished = events.iter().filter(|event| event.name == "cell_finished");
        finished.map(|event| event.data.clone()).collect::<Vec<_>>()
    };
    assert_eq!(finished(&pieces), finished(&whole));

    // Who has seen the end is told that there is nothing more.
    let last = &pieces.last().unwrap().id;
    let answer = client
        .ask(Method::GET, "/audit/r1/events")
        .header("Last-Event-ID", last);
    let answer = client.send(answer).await;
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (204, 0));
}

#[tokio::test]
async fn who_comes_after_the_end_gets_the_state_and_the_end() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    client.submit(&request("r1")).await;
    client.until_state("r1", "done").await;
    for last in [None, Some("1-1"), Some("nonsense")] {
        let events = client.events("r1", last).await.rest().await;
        assert_eq!(names(&events), ["snapshot", "end"], "{last:?}");
        assert_eq!(events[0].data["state"], "done");
    }
}

#[tokio::test]
async fn a_run_goes_on_when_its_reader_is_gone() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Step);
    client.submit(&request("r1")).await;
    let mut events = client.events("r1", None).await;
    events.next().await.unwrap();
    drop(events);
    worker.script.release();
    client.until_state("r1", "done").await;
}

#[tokio::test]
async fn there_is_room_for_so_many_readers() {
    let place = Place::new();
    let setup = Setup::limited(Limits {
        readers: 2,
        ..Limits::default()
    });
    let worker = Worker::with(&place, setup).await;
    let client = &worker.client;
    worker.script.hold(Stage::Load("Q4_0"));
    client.submit(&request("r1")).await;
    let mut one = client.events("r1", None).await;
    let mut two = client.events("r1", None).await;
    one.next().await.unwrap();
    two.next().await.unwrap();
    let third = client.get("/audit/r1/events").await;
    assert_eq!(third.status, 503);
    assert!(third.error().contains("2 readers"), "{}", third.error());
    assert!(!third.header("retry-after").is_empty());
    worker.script.release();
    one.rest().await;
    two.rest().await;
    let events = client.events("r1", None).await.rest().await;
    assert_eq!(names(&events), ["snapshot", "end"]);
}
