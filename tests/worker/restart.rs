//! Stopped and started again in this process: what was under way goes on, and what is remembered is true.

use crate::support::{CELLS, Place, Setup, Stage, Worker, names, request};
use fill_audit::remote::{Limits, Queue, RemoteError};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_run_that_was_interrupted_goes_on_and_repeats_no_finished_cell() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Load("Q8_0"));
    client.submit(&request("r1")).await;
    client.submit(&request("r2")).await;
    client.until_loading("r1", "Q8_0").await;
    let mut events = client.events("r1", None).await;
    let seen = events.next().await.unwrap();
    let first = Arc::clone(&worker.script);
    assert!(worker.stop().await, "the run stops in time");
    let told = events.rest().await;
    assert!(!names(&told).contains(&"end"), "the run has not ended");
    assert_eq!(first.fills(), ["Q4_0_gs2", "Q4_0_gs10"]);
    let before = place.files("r1", ".ron");
    // What is left is made from the run's folder: its session may be gone.
    std::fs::remove_dir_all(place.path("sessions/u1/s1")).unwrap();

    let worker = Worker::start(&place).await;
    let client = &worker.client;
    let status = client.until_state("r1", "done").await;
    assert_eq!(status["cells"]["done"], 4);
    assert_eq!(worker.script.fills(), ["Q8_0_gs2", "Q8_0_gs10"]);
    let after = place.files("r1", ".ron");
    for (name, document) in &before {
        assert!(after.get(name) == Some(document), "{name} was made again");
    }
    // Its place in the queue was kept too; it had no folder yet and needs its session.
    let status = client.until_state("r2", "failed").await;
    assert!(status["error"].as_str().unwrap().contains("no session s1"));
    // The id of an event of the other process is no position in this one.
    let events = client.events("r1", Some(&seen.id)).await.rest().await;
    assert_eq!(names(&events), ["snapshot", "end"]);
}

#[tokio::test]
async fn a_block_that_does_not_end_keeps_no_worker_from_stopping() {
    let place = Place::new();
    let setup = Setup::limited(Limits {
        drain: Duration::from_millis(200),
        ..Limits::default()
    });
    let worker = Worker::with(&place, setup).await;
    worker.script.hold(Stage::Deaf);
    worker.client.submit(&request("r1")).await;
    worker.client.until_stepping("r1").await;
    let script = Arc::clone(&worker.script);
    assert!(!worker.stop().await, "it says that the run did not stop");
    assert_eq!(script.fills(), Vec::<String>::new());
    script.release();
}

#[tokio::test]
async fn runs_that_waited_are_made_in_their_order() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    worker.script.hold(Stage::Load("Q4_0"));
    for run_id in ["b", "c", "a"] {
        worker.client.submit(&request(run_id)).await;
    }
    worker.client.until_state("b", "running").await;
    assert!(worker.stop().await);
    let setup = Setup {
        // Room is for what comes new; what was promised is kept.
        waiting: 0,
        ..Setup::default()
    };
    let worker = Worker::with(&place, setup).await;
    for run_id in ["a", "b", "c"] {
        worker.client.until_state(run_id, "done").await;
    }
    let times = async |run_id: &'static str| worker.client.status(run_id).await["ended_at"].clone();
    let ended = [times("b").await, times("c").await, times("a").await];
    let mut sorted = ended.clone().map(|time| time.to_string());
    sorted.sort();
    assert_eq!(sorted, ended.map(|time| time.to_string()));
    assert_eq!(worker.script.fills().len(), 3 * CELLS.len());
}

#[tokio::test]
async fn what_has_ended_is_remembered_as_it_ended() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    let mut limited = request("part");
    limited["max_variations"] = json!(1);
    client.submit(&limited).await;
    client.until_state("part", "done").await;
    worker.script.hold(Stage::Step);
    client.submit(&request("gone")).await;
    client.until_stepping("gone").await;
    client.delete("/audit/gone").await;
    client.until_state("gone", "cancelled").await;
    let before = [client.status("part").await, client.status("gone").await];
    assert!(worker.stop().await);

    let worker = Worker::start(&place).await;
    let client = &worker.client;
    let after = [client.status("part").await, client.status("gone").await];
    assert_eq!(after, before);
    assert_eq!(worker.script.fills(), Vec::<String>::new());
    let events = client.events("gone", None).await.rest().await;
    assert_eq!(names(&events), ["snapshot", "end"]);
    assert_eq!(client.get("/audit/part").await.json["state"], "done");
}

#[tokio::test]
async fn a_cancel_that_was_answered_outlives_a_kill() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    worker.script.hold(Stage::Step);
    worker.client.submit(&request("r1")).await;
    worker.client.until_state("r1", "running").await;
    assert!(worker.stop().await);
    // As a worker leaves it that is killed between its answer and the run's end.
    let path = place.path("runs/.worker/r1.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"state\": \"running\""), "{text}");
    let text = text.replace("\"is_cancelling\": false", "\"is_cancelling\": true");
    std::fs::write(&path, text).unwrap();
    let worker = Worker::start(&place).await;
    assert_eq!(worker.client.status("r1").await["state"], "cancelled");
    assert_eq!(worker.script.fills(), Vec::<String>::new());
}

#[tokio::test]
async fn a_worker_that_drains_takes_nothing_more() {
    let place = Place::new();
    let queue = Queue::open(place.queue(1), Arc::new(|| panic!("nothing is to be made"))).unwrap();
    let other = Queue::open(place.queue(1), Arc::new(|| panic!("nothing is to be made")));
    assert!(matches!(other, Err(RemoteError::Busy { .. })));
    queue.drain();
    queue.ended().await;
    assert!(queue.is_draining());
    let request = serde_json::from_value(request("r1")).unwrap();
    let refusal = queue.submit(request).unwrap_err();
    assert_eq!(refusal.status(), 503);
}

#[tokio::test]
async fn a_defect_in_one_run_does_not_keep_the_next_from_being_made() {
    let place = Place::new();
    let options = place.queue(1);
    let queue = Queue::open(options, Arc::new(|| panic!("a defect"))).unwrap();
    for name in ["r1", "r2"] {
        let request = serde_json::from_value(request(name)).unwrap();
        let run_id = queue.submit(request).unwrap().run_id;
        let log = queue.events(&run_id).unwrap();
        let mut changed = log.subscribe();
        while !queue.status(&run_id).unwrap().state.has_ended() {
            changed.changed().await.unwrap();
        }
        let status = queue.status(&run_id).unwrap();
        assert!(status.error.unwrap().contains("a defect of the program"));
    }
}
