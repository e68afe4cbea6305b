//! Cancelled at each stage: it stops, what is finished stays, and the same request goes on with it.

use crate::support::{CELLS, Place, Stage, Worker, request};
use serde_json::Value;

/// Asks for the run again and checks that only what was missing is made.
async fn goes_on(place: &Place, worker: &Worker, run_id: &str) {
    let before = place.files(run_id, ".ron");
    worker.script.release();
    worker.client.submit(&request(run_id)).await;
    let status = worker.client.until_state(run_id, "done").await;
    assert_eq!(status["cells"]["done"], 4);
    assert_eq!(worker.script.fills(), CELLS, "no finished cell is repeated");
    let after = place.files(run_id, ".ron");
    for (name, document) in &before {
        assert!(after.get(name) == Some(document), "{name} was made again");
    }
}

#[tokio::test]
async fn a_run_that_waits_is_cancelled_at_once() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Load("Q4_0"));
    client.submit(&request("first")).await;
    client.until_state("first", "running").await;
    client.submit(&request("second")).await;
    client.submit(&request("third")).await;
    assert_eq!(client.status("third").await["queue_position"], 2);

    let answer = client.delete("/audit/second").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json["state"], "cancelled");
    assert_eq!(client.status("third").await["queue_position"], 1);
    // Again is no error.
    assert_eq!(client.delete("/audit/second").await.status, 200);
    let events = client.events("second", None).await.rest().await;
    assert_eq!(events.last().unwrap().data["state"], "cancelled");

    worker.script.release();
    client.until_state("third", "done").await;
    assert_eq!(client.status("second").await["state"], "cancelled");
    assert!(!place.path("runs/second").exists(), "it was never begun");
}

#[tokio::test]
async fn a_run_is_cancelled_while_it_loads() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Load("Q4_0"));
    client.submit(&request("r1")).await;
    client.until_loading("r1", "Q4_0").await;
    assert_eq!(client.delete("/audit/r1").await.status, 202);
    let status = client.until_state("r1", "cancelled").await;
    assert_eq!(status["cells"]["done"], 0);
    assert_eq!(status["is_cancelling"], false);
    assert_eq!(status["phase"], Value::Null);
    goes_on(&place, &worker, "r1").await;
}

#[tokio::test]
async fn a_run_is_cancelled_in_the_middle_of_a_cell() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Step);
    client.submit(&request("r1")).await;
    let status = client.until_stepping("r1").await;
    assert_eq!(status["cell"]["name"], "Q4_0_gs2");
    assert_eq!(status["cell"]["steps"], 2);
    assert_eq!(client.delete("/audit/r1").await.status, 202);
    let status = client.until_state("r1", "cancelled").await;
    assert_eq!(status["cell"], Value::Null);
    assert_eq!(place.files("r1", "Q4_0_gs2.png").len(), 0);
    goes_on(&place, &worker, "r1").await;
}

#[tokio::test]
async fn cells_that_were_finished_before_a_cancel_stay() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    // The second quant's load comes after two finished cells.
    worker.script.hold(Stage::Load("Q8_0"));
    client.submit(&request("r1")).await;
    client.until_loading("r1", "Q8_0").await;
    assert_eq!(client.delete("/audit/r1").await.status, 202);
    let status = client.until_state("r1", "cancelled").await;
    assert_eq!(status["cells"]["done"], 2);
    assert_eq!(status["cells"]["left"], 2);
    goes_on(&place, &worker, "r1").await;
}

#[tokio::test]
async fn what_has_ended_or_was_never_asked_for_cannot_be_cancelled() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    worker.client.submit(&request("r1")).await;
    worker.client.until_state("r1", "done").await;
    let answer = worker.client.delete("/audit/r1").await;
    assert_eq!(answer.status, 409);
    assert!(answer.error().contains("has ended"), "{}", answer.error());
    assert_eq!(worker.client.delete("/audit/none").await.status, 404);
}
