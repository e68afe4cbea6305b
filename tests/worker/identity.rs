//! The client before a private service: who gives ID tokens may be away for a while, and a token that was
//! kept may not be taken any more.

use crate::following::{Follower, client, has_waited, note};
use crate::scripted::Scripted;
use crate::support::{CELLS, Place, Worker, request};
use base64::Engine as _;
use fill_audit::remote::client::WorkerClient;
use fill_audit::remote::id_token::IdTokens;
use fill_audit::remote::wire::GpuAnswer;
use fill_audit::storage::gcs::id_tokens::IdTokenWay;
use serde_json::json;
use std::net::SocketAddr;

/// The nth token, which ends in an hour.
fn token(number: usize) -> String {
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let ends_at = jiff::Timestamp::now().as_second() + 3600;
    let claims = json!({"exp": ends_at, "n": number}).to_string();
    format!("{}.{}.c2ln", encode("{}"), encode(&claims))
}

fn showing(worker: SocketAddr, giver: &Scripted) -> WorkerClient {
    let giver = format!("http://{}", giver.address);
    let service = format!("http://{worker}");
    let identity = IdTokens::new(&service, IdTokenWay::Metadata, &giver).unwrap();
    client(worker, "").with_identity(identity)
}

#[tokio::test]
async fn one_who_gives_no_token_for_a_while_is_waited_for_and_the_run_comes() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let giver = Scripted::start(&[(503, "{}"), (429, "{}"), (0, ""), (200, &token(1))]).await;
    let showing = showing(worker.address, &giver);
    let note = note(worker.address, &request("r1"));
    let events = Follower::spawn(&place, showing, note, true).done().await;
    assert!(has_waited(&events), "it is told");
    assert_eq!(worker.script.fills(), CELLS);
    assert_eq!(giver.seen().len(), 4, "{:?}", giver.seen());
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_asked_for_anew_once() {
    let environment = fill_audit::model::run::Environment {
        device: "a GPU".to_owned(),
        compute_capability: None,
        memory_bytes: None,
        driver: None,
        program: None,
    };
    let gpu = serde_json::to_string(&GpuAnswer::of("cpu", &environment)).unwrap();
    let (first, second) = (token(1), token(2));
    for status in [401, 403] {
        let giver = Scripted::start(&[(200, &first), (200, &second)]).await;
        let worker = Scripted::start(&[(status, "<html>"), (200, &gpu)]).await;
        let showing = showing(worker.address, &giver);
        assert_eq!(showing.gpu().await.unwrap().name, "a GPU");
        let seen = worker.seen();
        let has = |at: usize, token: &str| seen[at].contains(&format!("Bearer {token}"));
        assert!(has(0, &first) && has(1, &second), "{seen:?}");
        assert!(!has(1, &first), "one header is enough: {seen:?}");
    }
    // One that is never taken is asked for twice, not for ever.
    let giver = Scripted::start(&[(200, &first)]).await;
    let worker = Scripted::start(&[(403, "<html>")]).await;
    let error = showing(worker.address, &giver).gpu().await.unwrap_err();
    assert!(error.to_string().contains("Cloud Run Invoker"), "{error}");
    assert_eq!((giver.seen().len(), worker.seen().len()), (2, 2));
}
