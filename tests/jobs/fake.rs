//! A fake of Cloud Run's REST API (v2): jobs.run, operations.get, executions.get, list and cancel, and the
//! errors that Google's APIs answer with. It keeps every request as it came.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub line: String,
    pub body: String,
    pub headers: HeaderMap,
}

/// What goes wrong with the next request whose line contains some words.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is answered with this status and body, and with `Retry-After` if there is one.
    Answer(u16, String, Option<&'static str>),
    /// Its answer does not come in time, though it counted.
    Lost,
    /// Its answer does not come in time, and it did not count.
    Ignored,
    /// It is answered with 503 though it counted, and what it made is missing in so many lists.
    Late(usize),
}

#[derive(Default)]
struct Inner {
    seen: Vec<Seen>,
    faults: VecDeque<(String, Fault)>,
    executions: Vec<Value>,
    /// Executions that there are and that so many lists still lack.
    late: Vec<(usize, Value)>,
    /// The project's number, if names are answered with it.
    number: Option<u64>,
    /// How often an operation is asked before it says what it is about.
    silent: usize,
    /// How often a cancelled operation is asked before it is over.
    slow_cancel: usize,
}

/// The server.
#[derive(Clone)]
pub struct Fake {
    pub address: String,
    inner: Arc<Mutex<Inner>>,
}

impl Fake {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move {
            // hyper directly would be no other; the tests' own server needs no limits.
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                tokio::spawn(async move {
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(io, service)
                        .await;
                });
            }
        });
        fake
    }

    pub fn fail(&self, words: &str, fault: Fault) {
        let mut inner = self.inner.lock().unwrap();
        inner.faults.push_back((words.to_owned(), fault));
    }

    pub fn be_silent(&self, times: usize) {
        self.inner.lock().unwrap().silent = times;
    }

    /// From now on names are answered with the project's number in place of its id.
    pub fn answer_with_number(&self, number: u64) {
        self.inner.lock().unwrap().number = Some(number);
    }

    pub fn cancel_slowly(&self, times: usize) {
        self.inner.lock().unwrap().slow_cancel = times;
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().unwrap().seen.clone()
    }

    /// The lines of all requests so far.
    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }

    /// Deletes all executions, as Cloud Run does with old ones.
    pub fn forget(&self) {
        self.inner.lock().unwrap().executions.clear();
    }

    pub fn executions(&self) -> Vec<Value> {
        self.inner.lock().unwrap().executions.clone()
    }

    /// Changes the newest execution.
    pub fn change(&self, change: impl Fn(&mut Value)) {
        let mut inner = self.inner.lock().unwrap();
        change(inner.executions.first_mut().unwrap());
    }
}

/// An error in Google's form.
pub fn error(code: u16, status: &str, message: &str) -> String {
    json!({"error": {"code": code, "message": message, "status": status}}).to_string()
}

/// A quota that is used up, with the pause that is asked for.
pub fn quota(message: &str, delay: &str) -> Fault {
    let body = json!({"error": {
        "code": 429, "message": message, "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
        ]
    }});
    Fault::Answer(429, body.to_string(), None)
}

async fn answer(
    State(fake): State<Fake>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let line = format!("{method} {uri}");
    let body = String::from_utf8_lossy(&body).into_owned();
    let fault = {
        let mut inner = fake.inner.lock().unwrap();
        inner.seen.push(Seen {
            line: line.clone(),
            body: body.clone(),
            headers,
        });
        match inner.faults.front() {
            Some((words, _)) if line.contains(words.as_str()) => inner.faults.pop_front(),
            _ => None,
        }
    };
    match fault {
        Some((_, Fault::Answer(status, text, retry_after))) => {
            let mut response = Response::builder()
                .status(status)
                .header("content-type", "application/json; charset=UTF-8");
            if let Some(secs) = retry_after {
                response = response.header("retry-after", secs);
            }
            return response.body(Body::from(text)).unwrap();
        }
        Some((_, Fault::Ignored)) => {
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        Some((_, Fault::Lost)) => {
            fake.perform(&method, uri.path(), &body);
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        Some((_, Fault::Late(lists))) => {
            fake.perform(&method, uri.path(), &body);
            let mut inner = fake.inner.lock().unwrap();
            let made = inner.executions.remove(0);
            inner.late.push((lists, made));
            return Response::builder()
                .status(503)
                .body(Body::from("<html>"))
                .unwrap();
        }
        None => {}
    }
    let (status, answer) = fake.perform(&method, uri.path(), &body);
    Response::builder()
        .status(status)
        .header("content-type", "application/json; charset=UTF-8")
        .body(Body::from(answer.to_string()))
        .unwrap()
}

impl Fake {
    fn perform(&self, method: &Method, path: &str, body: &str) -> (u16, Value) {
        let mut inner = self.inner.lock().unwrap();
        let inner = &mut *inner;
        let path = path.trim_start_matches("/v2/");
        let not_found = || {
            let message = format!("Resource {path:?} was not found");
            let text = error(404, "NOT_FOUND", &message);
            (404, serde_json::from_str(&text).unwrap())
        };
        let operation = |execution: &Value, id: &str, done: bool| {
            json!({
                "name": format!("projects/demo-1/locations/europe-west4/operations/{id}"),
                "metadata": {
                    "@type": "type.googleapis.com/google.cloud.run.v2.Execution",
                    "name": execution["name"], "taskCount": execution["taskCount"],
                },
                "done": done,
            })
        };
        if method == Method::POST && path.ends_with(":run") {
            let body: Value = serde_json::from_str(body).unwrap();
            let overrides = &body["overrides"];
            let number = inner.executions.len() + inner.late.len();
            let project = inner.number.map(|number| format!("projects/{number}/"));
            let execution = json!({
                "name": format!(
                    "{}/executions/fill-audit-x{number:04}",
                    match project {
                        Some(project) => path.replace("projects/demo-1/", &project),
                        None => path.to_owned(),
                    }
                    .trim_end_matches(":run")
                ),
                "taskCount": overrides["taskCount"],
                "template": {
                    "containers": [{"args": overrides["containerOverrides"][0]["args"]}],
                    "timeout": overrides["timeout"],
                },
                "conditions": [{
                    "type": "Completed", "state": "CONDITION_RECONCILING",
                    "message": "Waiting for execution to complete."
                }],
                "logUri": "https://console.cloud.google.com/logs/viewer?x=1",
                "reconciling": true, "someNewField": [1],
            });
            let mut answer = operation(&execution, &format!("start{number}"), false);
            if inner.silent > 0 {
                answer.as_object_mut().unwrap().remove("metadata");
            }
            inner.executions.insert(0, execution);
            return (200, answer);
        }
        if method == Method::GET && path.ends_with("/executions") {
            let listed = inner.executions.clone();
            for (lists, _) in &mut inner.late {
                *lists = lists.saturating_sub(1);
            }
            while let Some(index) = inner.late.iter().position(|(lists, _)| *lists == 0) {
                let (_, execution) = inner.late.remove(index);
                inner.executions.insert(0, execution);
            }
            return (200, json!({"executions": listed}));
        }
        if let Some((_, id)) = path.split_once("/operations/") {
            if let Some(number) = id.strip_prefix("cancel") {
                inner.slow_cancel = inner.slow_cancel.saturating_sub(1);
                let is_over = inner.slow_cancel == 0;
                let newest = inner.executions.first_mut().unwrap();
                if is_over {
                    newest["cancelledCount"] = json!(2);
                    newest["runningCount"] = json!(0);
                    newest["conditions"] = json!([{
                        "type": "Completed", "state": "CONDITION_FAILED",
                        "message": "Execution was cancelled.", "executionReason": "CANCELLED"
                    }]);
                }
                return (200, operation(newest, &format!("cancel{number}"), is_over));
            }
            inner.silent = inner.silent.saturating_sub(1);
            let mut answer = operation(inner.executions.first().unwrap(), id, false);
            if inner.silent > 0 {
                answer["metadata"] = json!({});
            }
            return (200, answer);
        }
        let name = path.trim_end_matches(":cancel");
        let mut executions = inner.executions.iter();
        let last = |name: &str| name.rsplit('/').next().unwrap().to_owned();
        let is_it = |one: &Value| last(one["name"].as_str().unwrap()) == last(name);
        let Some(execution) = executions.find(|one| is_it(one)) else {
            return not_found();
        };
        if method == Method::POST {
            return (200, operation(execution, "cancel0", false));
        }
        (200, execution.clone())
    }
}
