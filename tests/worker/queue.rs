//! One run at a time: who waits, who is turned away, and what the same request again means.

use crate::support::{CELLS, Place, Setup, Stage, Worker, request};
use serde_json::{Value, json};

#[tokio::test]
async fn a_second_run_waits_and_a_third_is_turned_away() {
    let place = Place::new();
    let setup = Setup {
        waiting: 1,
        ..Setup::default()
    };
    let worker = Worker::with(&place, setup).await;
    let client = &worker.client;
    worker.script.hold(Stage::Load("Q4_0"));
    client.submit(&request("first")).await;
    client.until_loading("first", "Q4_0").await;
    client.submit(&request("second")).await;
    let second = client.status("second").await;
    assert_eq!(second["state"], "queued");
    assert_eq!(second["queue_position"], 1);
    assert_eq!(second["cells"]["planned"], 4);

    let third = client.post(&request("third")).await;
    assert_eq!(third.status, 429);
    assert!(
        third.error().contains("1 wait already"),
        "{}",
        third.error()
    );
    assert!(third.header("retry-after").parse::<u32>().unwrap() > 0);
    assert_eq!(client.get("/audit/third/status").await.status, 404);
    assert!(!place.path("runs/.worker/third.json").exists());
    // What is known already needs no room.
    client.submit(&request("second")).await;

    worker.script.release();
    client.until_state("second", "done").await;
    assert_eq!(client.status("first").await["state"], "done");
    let both: Vec<&str> = CELLS.into_iter().chain(CELLS).collect();
    assert_eq!(worker.script.fills(), both, "one after the other");
    client.submit(&request("third")).await;
    client.until_state("third", "done").await;
}

#[tokio::test]
async fn the_same_request_again_is_the_same_run_and_another_under_its_name_is_refused() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Step);
    client.submit(&request("r1")).await;
    client.until_state("r1", "running").await;
    client.submit(&request("r1")).await;
    let mut other = request("r1");
    other["prompt"] = json!("grass");
    let mut shorter = request("r1");
    shorter["max_variations"] = json!(1);
    for (request, expected) in [(&other, "other settings"), (&shorter, "under way")] {
        let answer = client.post(request).await;
        assert_eq!(answer.status, 409);
        assert!(answer.error().contains(expected), "{}", answer.error());
    }
    worker.script.release();
    client.until_state("r1", "done").await;
    client.submit(&request("r1")).await;
    assert_eq!(client.status("r1").await["state"], "done");
    assert_eq!(client.post(&other).await.status, 409);
    assert_eq!(worker.script.fills(), CELLS);
}

#[tokio::test]
async fn a_limited_run_goes_on_when_more_is_asked() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    for (limit, done) in [(json!(1), 1), (json!(3), 3), (Value::Null, 4)] {
        let mut asked = request("r1");
        asked["max_variations"] = limit;
        client.submit(&asked).await;
        let status = client.until_state("r1", "done").await;
        let expected = json!({"planned": 4, "done": done, "failed": 0, "left": 4 - done});
        assert_eq!(status["cells"], expected);
    }
    assert_eq!(worker.script.fills(), CELLS, "no finished cell is repeated");
}

#[tokio::test]
async fn a_folder_of_another_run_is_not_touched() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    client.submit(&request("r1")).await;
    client.until_state("r1", "done").await;
    assert!(worker.stop().await);
    // As if somebody else had made the run: nothing is remembered of it.
    std::fs::remove_file(place.path("runs/.worker/r1.json")).unwrap();
    let before = place.files("r1", "");
    let worker = Worker::start(&place).await;
    let mut other = request("r1");
    other["prompt"] = json!("grass");
    worker.client.submit(&other).await;
    let status = worker.client.until_state("r1", "failed").await;
    let error = status["error"].as_str().unwrap();
    assert!(error.contains("was started with another"), "{error}");
    assert!(place.files("r1", "") == before);
}
