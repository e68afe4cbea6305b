//! What strangers, broken clients and crowds get.

use crate::support::{LIMIT, Place, Setup, Stage, TOKEN, Worker, recipe, request};
use fill_audit::remote::{Limits, Token};
use percent_encoding::NON_ALPHANUMERIC;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Everything that a worker answers, as it is described, but for `/healthz`; and two things that it does not.
fn addresses() -> Vec<(Method, String)> {
    let text = include_str!("../../assets/deploy/openapi.json");
    let description: Value = serde_json::from_str(text).unwrap();
    let mut found = vec![
        (Method::GET, "/nothing".to_owned()),
        (Method::PUT, "/audit".to_owned()),
    ];
    for (path, methods) in description["paths"].as_object().unwrap() {
        let path = path
            .replace("{run_id}", "r1")
            .replace("{file}", "Q4_0_gs2.png");
        assert!(!path.contains('{'), "{path}");
        for method in methods.as_object().unwrap().keys() {
            if path != "/healthz" && method != "parameters" {
                let method = method.to_uppercase().parse().unwrap();
                found.push((method, path.clone()));
            }
        }
    }
    assert!(found.len() >= 12, "{found:?}");
    found
}

#[tokio::test]
async fn nothing_but_the_health_is_told_without_the_token() {
    let place = Place::new();
    let setup = Setup {
        token: Some(Token::new(TOKEN, "a test").unwrap()),
        ..Setup::default()
    };
    let worker = Worker::with(&place, setup).await;
    let before = place.everything();
    for token in [
        None,
        Some("correct-horse-battery-stapl"),
        Some("correct-horse-battery-staplex"),
        Some(""),
    ] {
        let mut client = worker.client.clone();
        client.token = token.map(str::to_owned);
        for (method, path) in addresses() {
            let answer = client
                .send(client.ask(method, &path).json(&request("r1")))
                .await;
            assert_eq!(answer.status, 401, "{path} with {token:?}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert!(answer.error().contains("Bearer"), "{}", answer.error());
        }
        assert_eq!(client.get("/healthz").await.status, 200);
    }
    assert_eq!(place.everything(), before, "nothing was made");

    let mut client = worker.client.clone();
    client.token = Some(TOKEN.to_owned());
    client.submit(&request("r1")).await;
    client.until_state("r1", "done").await;
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_reach_a_worker_without_a_token() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    // Its own name may resolve to 127.0.0.1, but stands in the request.
    let answer = client
        .ask(Method::GET, "/gpu")
        .header("Host", "evil.example");
    assert_eq!(client.send(answer).await.status, 403);
    // Without asking first, a page can only send what forms can.
    let answer = client
        .ask(Method::POST, "/audit")
        .header("Content-Type", "text/plain")
        .body(request("r1").to_string());
    assert_eq!(client.send(answer).await.status, 415);
    assert_eq!(client.get("/audit/r1/status").await.status, 404);
}

#[tokio::test]
async fn ids_that_could_build_a_path_are_refused_and_nothing_is_made() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    let before = place.everything();
    let long = "x".repeat(300);
    for id in [
        "", ".", "..", "../r", "../../r", "a/b", "/etc", "a\\b", "a\0", "a\nb", ".hidden", "ä",
        "a b", "%2e%2e", &long,
    ] {
        for field in ["run_id", "user_id", "session_id"] {
            let mut asked = request("r1");
            asked[field] = json!(id);
            let answer = client.post(&asked).await;
            assert_eq!(answer.status, 422, "{field} {id:?}");
            assert!(
                answer.error().contains("must be 1 to 64"),
                "{}",
                answer.error()
            );
        }
        let encoded = percent_encoding::percent_encode(id.as_bytes(), NON_ALPHANUMERIC);
        for rest in [
            "",
            "/status",
            "/events",
            "/REPORT.md",
            "/cells/Q4_0_gs2.png",
        ] {
            let answer = client.get(&format!("/audit/{encoded}{rest}")).await;
            assert!(
                answer.status.is_client_error(),
                "{id:?}{rest}: {}",
                answer.status
            );
        }
        let answer = client.delete(&format!("/audit/{encoded}")).await;
        assert!(answer.status.is_client_error(), "{id:?}: {}", answer.status);
    }
    // As it is, without what a client would clean up.
    for path in [
        "/audit/../../etc/passwd",
        "/audit/..",
        "/audit/../sessions/u1/s1/image.png",
        "/audit/r1/cells/../../../../etc/passwd",
        "/audit/%FF/status",
        "//audit",
    ] {
        let answer = raw(
            &worker,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer}");
        assert!(answer.contains("{\"error\":"), "{path}: {answer}");
    }
    assert_eq!(place.everything(), before, "nothing was made");
}

#[tokio::test]
async fn a_request_that_cannot_be_read_or_done_is_answered_with_a_sentence() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    let before = place.everything();
    let send = async |body: &str| {
        let request = client
            .ask(Method::POST, "/audit")
            .header("Content-Type", "application/json")
            .body(body.to_owned());
        client.send(request).await
    };
    for (body, expected) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("not JSON", "line 1"),
        ("{\"user_id\": \"u1\",}", "trailing comma"),
        (&"[".repeat(10_000), "recursion limit"),
    ] {
        let answer = send(body).await;
        assert_eq!(answer.status, 400, "{body:.40}");
        assert!(answer.error().contains(expected), "{}", answer.error());
    }
    let with = |field: &str, value: Value| {
        let mut asked = request("r1");
        asked[field] = value;
        asked
    };
    let mut tiny_recipe = recipe();
    tiny_recipe["threshold"] = json!(0);
    for (asked, code, expected) in [
        (json!([]), 422, "must be an object"),
        (json!({"user_id": "u1"}), 422, "session_id"),
        (with("colour", json!(1)), 422, "unknown field `colour`"),
        (with("max_variations", json!(0)), 422, "nonzero"),
        (with("max_variations", json!(-1)), 422, "invalid value"),
        (with("prompt", json!(7)), 422, "expected a string"),
        (with("recipe", tiny_recipe), 422, "threshold must be"),
        (with("recipe", json!({})), 422, "missing field"),
        (with("matrix", json!({"guidances": []})), 422, "no guidance"),
        (
            with("matrix", json!({"seeds": (0..3000).collect::<Vec<_>>()})),
            422,
            "at most 10000",
        ),
        (
            with("inference", json!({"whole": {"long_side_px": 17}})),
            422,
            "multiple of 16",
        ),
        (with("session_id", json!("none")), 404, "no session none"),
        (with("user_id", json!("joe")), 404, "no session s1"),
    ] {
        let answer = client.post(&asked).await;
        assert_eq!(answer.status, code, "{asked}");
        assert!(answer.error().contains(expected), "{}", answer.error());
    }
    assert_eq!(place.everything(), before, "nothing was made");
    let put = client.send(client.ask(Method::PUT, "/audit")).await;
    assert_eq!(put.status, 405);
    assert_eq!(put.header("allow"), "POST");
    assert_eq!(client.get("/nothing").await.status, 404);
    for rest in ["", "/status", "/events", "/REPORT.md", "/cells/a.png"] {
        let answer = client.get(&format!("/audit/none{rest}")).await;
        assert_eq!(answer.status, 404);
        assert!(answer.error().contains("no run none"), "{}", answer.error());
    }
}

/// Sends bytes and returns all that is answered until the connection ends.
async fn raw(worker: &Worker, request: &str) -> String {
    let mut stream = TcpStream::connect(worker.address).await.unwrap();
    let request = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    // It may be closed before all is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    until_closed(stream).await
}

async fn until_closed(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    // A reset ends a connection as well.
    let _ = tokio::time::timeout(LIMIT, read)
        .await
        .expect("the connection stays open");
    String::from_utf8_lossy(&bytes).into_owned()
}

const POST: &str = "POST /audit HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    // None of it is sent: its announcement is enough.
    let announced = format!("{POST}Content-Length: 10000000\r\n\r\n");
    let answer = raw(&worker, &announced).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("at most 65536 bytes"), "{answer}");
    // Without an announcement, it ends where the limit is.
    let mut stream = TcpStream::connect(worker.address).await.unwrap();
    let head = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let piece = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    stream.write_all(piece.repeat(4).as_bytes()).await.unwrap();
    stream.write_all(b"1\r\n \r\n").await.unwrap();
    let answer = until_closed(stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn who_sends_slowly_is_not_waited_for() {
    let place = Place::new();
    let setup = Setup::limited(Limits {
        head: Duration::from_millis(300),
        body: Duration::from_millis(300),
        ..Limits::default()
    });
    let worker = Worker::with(&place, setup).await;
    // Nothing, half a line, a header that never ends, an open connection without a next request.
    for head in [
        "",
        "GET /gpu",
        "GET /gpu HTTP/1.1\r\nHost: localhost\r\nX: ",
        "GET /gpu HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(worker.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = until_closed(stream).await;
        assert_eq!(
            answer.starts_with("HTTP/1.1 200"),
            head.ends_with("\r\n\r\n"),
            "{answer}"
        );
    }
    // A byte now and then does not keep a connection open.
    let mut stream = TcpStream::connect(worker.address).await.unwrap();
    stream.write_all(b"GET /gpu HTTP/1.1\r\nX: ").await.unwrap();
    let dribble = async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, dribble)
        .await
        .expect("the connection stays open");
    let mut stream = TcpStream::connect(worker.address).await.unwrap();
    let head = format!("{POST}Content-Length: 100\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = until_closed(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(worker.client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let head = format!(
        "GET /gpu HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let answer = raw(&worker, &head).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer:.80}"
    );
    assert_eq!(worker.client.get("/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_at_once_all_get_the_status() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Step);
    client.submit(&request("r1")).await;
    client.until_stepping("r1").await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(TcpStream::connect(worker.address).await.unwrap());
    }
    // All of them are connected before the first asks.
    let readers: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            tokio::spawn(async move {
                for _ in 0..3 {
                    let head = b"GET /audit/r1/status HTTP/1.1\r\nHost: localhost\r\n\r\n";
                    stream.write_all(head).await.unwrap();
                    let mut text = String::new();
                    while !text.ends_with('}') {
                        let mut piece = [0; 4096];
                        let length = stream.read(&mut piece).await.unwrap();
                        assert_ne!(length, 0, "cut after {text}");
                        text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
                    }
                    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
                    let body = text.split_once("\r\n\r\n").unwrap().1;
                    let status: Value = serde_json::from_str(body).unwrap();
                    assert_eq!(status["state"], "running");
                    assert_eq!(status["cell"]["step"], 1);
                }
            })
        })
        .collect();
    for reader in readers {
        tokio::time::timeout(LIMIT, reader).await.unwrap().unwrap();
    }
    worker.script.release();
    client.until_state("r1", "done").await;
}

#[tokio::test]
async fn more_connections_than_there_is_room_for_wait_their_turn() {
    let place = Place::new();
    let setup = Setup::limited(Limits {
        connections: 2,
        head: Duration::from_millis(300),
        ..Limits::default()
    });
    let worker = Worker::with(&place, setup).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(worker.address).await.unwrap());
    }
    // The idle ones are closed in their turn, and then there is room.
    let answer = worker.client.get("/healthz").await;
    assert_eq!(answer.status, StatusCode::OK);
}
