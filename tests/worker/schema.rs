//! `assets/deploy/openapi.json` against the worker: the same addresses and methods, and no answer or
//! event that is not as described. Descriptions allow no other fields and require all of them, so a
//! field that is added, dropped or renamed in the code fails here.

use crate::support::{Answer, Client, Place, Setup, Stage, TOKEN, Worker, recipe, request};
use fill_audit::remote::{Limits, Token, routes, wire};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn document() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/deploy/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What a request's body is said to be.
const JSON: &str = "application/json";

/// Keywords that say something to a reader, or that are checked by the worker's own tests.
const READ_ONLY: [&str; 13] = [
    "description",
    "format",
    "pattern",
    "contentEncoding",
    "contentMediaType",
    "uniqueItems",
    "multipleOf",
    "minItems",
    "default",
    "title",
    "required",
    "properties",
    "additionalProperties",
];

/// What of a value is not as a schema has it.
fn problems(schema: &Value, value: &Value, at: &str, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                let target = document.pointer(pointer).unwrap();
                found.extend(problems(target, value, at, document));
            }
            "type" => {
                let names: Vec<&str> = match rule {
                    Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                    name => vec![name.as_str().unwrap()],
                };
                if !names.iter().any(|name| is_of_type(value, name)) {
                    found.push(format!("{at} is no {names:?}: {value}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => {
                found.push(format!("{at} is none of {rule}: {value}"));
            }
            "const" if rule != value => found.push(format!("{at} is not {rule}: {value}")),
            "minimum" if value.as_f64() < rule.as_f64() && value.is_number() => {
                found.push(format!("{at} is below {rule}: {value}"));
            }
            "maximum" if value.as_f64() > rule.as_f64() => {
                found.push(format!("{at} is above {rule}: {value}"));
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(problems(rule, item, &format!("{at}[{index}]"), document));
                }
            }
            "oneOf" => {
                let tried: Vec<_> = rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| problems(one, value, at, document))
                    .collect();
                let fitting = tried.iter().filter(|problems| problems.is_empty()).count();
                if fitting != 1 {
                    found.push(format!(
                        "{at} fits {fitting} of the alternatives: {tried:?}"
                    ));
                }
            }
            "enum" | "const" | "minimum" | "maximum" => {}
            other => assert!(READ_ONLY.contains(&other), "{at}: {other} is not checked"),
        }
    }
    if let (Some(properties), Some(fields)) = (
        schema.get("properties").and_then(Value::as_object),
        value.as_object(),
    ) {
        for name in schema["required"].as_array().into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap()) {
                found.push(format!("{at} has no {name}"));
            }
        }
        for (name, field) in fields {
            match properties.get(name) {
                Some(rule) => {
                    found.extend(problems(rule, field, &format!("{at}.{name}"), document));
                }
                None => found.push(format!("{at}.{name} is not described")),
            }
        }
    }
    found
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no such type: {other}"),
    }
}

/// What the document says of an answer, held against it.
struct Checker {
    document: Value,
    /// Every status that was seen of each address and method.
    seen: BTreeMap<String, BTreeSet<u16>>,
}

impl Checker {
    fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let status = answer.status.as_u16();
        let operation = &self.document["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not described");
        let described = &operation["responses"][status.to_string()];
        assert!(
            described.is_object(),
            "{method} {path} answers {status}: {}",
            answer.error()
        );
        let kind = answer.header("content-type");
        let kind = kind.split(';').next().unwrap();
        match described["content"].as_object() {
            None => assert!(answer.bytes.is_empty(), "{method} {path} {status}"),
            Some(content) => {
                let content = content
                    .get(kind)
                    .unwrap_or_else(|| panic!("{method} {path} {status} is {kind}"));
                if kind == "application/json" {
                    let at = format!("{method} {path} {status}");
                    let found = problems(&content["schema"], &answer.json, &at, &self.document);
                    assert!(found.is_empty(), "{}", found.join("\n"));
                }
            }
        }
        for (name, header) in described["headers"].as_object().into_iter().flatten() {
            let is_there = answer.headers.contains_key(name);
            assert!(
                is_there || header["required"] != true,
                "{path} {status}: {name}"
            );
        }
        let seen = self.seen.entry(format!("{method} {path}")).or_default();
        seen.insert(status);
    }

    async fn ask(&mut self, client: &Client, method: &str, path: &str, run_id: &str, file: &str) {
        let url = path.replace("{run_id}", run_id).replace("{file}", file);
        let request = client.ask(method.parse().unwrap(), &url);
        self.check(method, path, &client.send(request).await);
    }

    fn event(&self, event: &Value) {
        let schema = json!({"$ref": "#/components/schemas/Event"});
        let found = problems(&schema, event, "event", &self.document);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// Each address with its methods, as the document has them.
fn operations(document: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if method != "parameters" {
                found.push((method.to_uppercase(), path.clone()));
            }
        }
    }
    found
}

#[tokio::test]
async fn the_document_has_the_workers_addresses_and_methods_and_no_others() {
    let document = document();
    let described: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(described, routes::paths().into_iter().collect());

    let place = Place::new();
    let worker = Worker::start(&place).await;
    let operations = operations(&document);
    for path in described {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let is_described = operations.contains(&(method.to_owned(), path.to_owned()));
            let url = path.replace("{run_id}", "none").replace("{file}", "x.png");
            let request = worker.client.ask(method.parse().unwrap(), &url);
            let answer = worker.client.send(request).await;
            assert_eq!(answer.status != 405, is_described, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_answer_and_every_event_is_as_described() {
    let place = Place::new();
    let setup = Setup {
        waiting: 0,
        token: Some(Token::new(TOKEN, "a test").unwrap()),
        limits: Limits::default(),
        bucket: None,
    };
    let worker = Worker::with(&place, setup).await;
    let mut client = worker.client.clone();
    let mut checker = Checker {
        document: document(),
        seen: BTreeMap::new(),
    };
    let all = operations(&checker.document);
    for (method, path) in &all {
        checker.ask(&client, method, path, "r1", "x.png").await;
    }
    client.token = Some(TOKEN.to_owned());
    for (method, path) in &all {
        // Unknown, then impossible.
        checker.ask(&client, method, path, "none", "x.png").await;
        checker.ask(&client, method, path, "a%20b", "x.png").await;
    }

    let post = async |checker: &mut Checker, body: String, kind: &str| {
        let request = client.ask(Method::POST, "/audit");
        let request = request.header("Content-Type", kind).body(body);
        let answer = client.send(request).await;
        checker.check("POST", "/audit", &answer);
        answer.status.as_u16()
    };
    assert_eq!(post(&mut checker, "{".to_owned(), JSON).await, 400);
    assert_eq!(post(&mut checker, "{}".to_owned(), JSON).await, 422);
    assert_eq!(post(&mut checker, "{}".to_owned(), "text/plain").await, 415);
    let mut unknown = request("r1");
    unknown["session_id"] = json!("none");
    assert_eq!(post(&mut checker, unknown.to_string(), JSON).await, 404);

    worker.script.hold(Stage::Step);
    assert_eq!(
        post(&mut checker, request("r1").to_string(), JSON).await,
        202
    );
    client.until_stepping("r1").await;
    assert_eq!(
        post(&mut checker, request("r2").to_string(), JSON).await,
        429
    );
    let mut other = request("r1");
    other["prompt"] = json!("grass");
    assert_eq!(post(&mut checker, other.to_string(), JSON).await, 409);
    let ask = async |checker: &mut Checker, method: &str, path: &str, file: &str| {
        checker.ask(&client, method, path, "r1", file).await;
    };
    // While it is made, while it stops, when it is cancelled, when it is done.
    ask(&mut checker, "GET", "/audit/{run_id}", "").await;
    ask(&mut checker, "GET", "/audit/{run_id}/status", "").await;
    ask(&mut checker, "GET", "/audit/{run_id}/REPORT.md", "").await;
    let mut events = client.events("r1", None).await;
    let snapshot = events.next().await.unwrap();
    checker.event(&snapshot.data);
    ask(&mut checker, "DELETE", "/audit/{run_id}", "").await;
    client.until_state("r1", "cancelled").await;
    ask(&mut checker, "DELETE", "/audit/{run_id}", "").await;
    worker.script.release();
    client.submit(&request("r1")).await;
    client.until_state("r1", "done").await;
    ask(&mut checker, "DELETE", "/audit/{run_id}", "").await;
    ask(&mut checker, "GET", "/audit/{run_id}", "").await;
    ask(&mut checker, "GET", "/audit/{run_id}/status", "").await;
    ask(&mut checker, "GET", "/audit/{run_id}/REPORT.md", "").await;
    let pictures = "/audit/{run_id}/cells/{file}";
    ask(&mut checker, "GET", pictures, "Q4_0_gs2.png").await;
    ask(&mut checker, "GET", pictures, "Q4_0_gs2.fill.png").await;
    let files = "/audit/{run_id}/files";
    ask(&mut checker, "GET", files, "").await;
    let file = "/audit/{run_id}/files/{file}";
    for name in ["run.ron", "Q4_0_gs2.ron", "Q4_0_gs2.png", "REPORT.md"] {
        ask(&mut checker, "GET", file, name).await;
    }
    for path in [pictures, file] {
        let url = path
            .replace("{run_id}", "r1")
            .replace("{file}", "Q4_0_gs2.png");
        let tag = client.get(&url).await.header("etag").to_owned();
        let known = client.ask(Method::GET, &url).header("If-None-Match", tag);
        checker.check("GET", path, &client.send(known).await);
    }

    let first = snapshot.id.split_once('-').unwrap().0;
    let events = client.events("r1", Some(&format!("{first}-0"))).await;
    let events = events.rest().await;
    let names: BTreeSet<&str> = events.iter().map(|event| event.name.as_str()).collect();
    for name in [
        "phase",
        "warning",
        "memory",
        "started",
        "load",
        "cell_started",
        "step",
        "cell_finished",
        "end",
    ] {
        assert!(names.contains(name), "{name} was not seen");
    }
    for event in &events {
        checker.event(&event.data);
    }
    let last = &events.last().unwrap().id;
    let request = client.ask(Method::GET, "/audit/r1/events");
    let answer = client.send(request.header("Last-Event-ID", last)).await;
    checker.check("GET", "/audit/{run_id}/events", &answer);

    // Every success that is described was seen, and with it every field.
    for (method, path) in &all {
        let responses = &checker.document["paths"][path][method.to_lowercase()]["responses"];
        let seen = &checker.seen[&format!("{method} {path}")];
        for status in responses.as_object().unwrap().keys() {
            let status: u16 = status.parse().unwrap();
            // A stream's beginning is read elsewhere.
            let is_stream = path.ends_with("/events") && status == 200;
            assert!(
                status >= 400 || is_stream || seen.contains(&status),
                "{path} {status}"
            );
        }
    }
}

#[test]
fn a_request_with_every_field_is_as_described_and_read() {
    let document = document();
    let schema = json!({"$ref": "#/components/schemas/AuditRequest"});
    let body = |inference: Value| {
        json!({
            "user_id": "u1", "session_id": "s1", "run_id": "r1",
            "matrix": {"quants": ["Q4_0"], "guidances": [2.5], "steps": [28], "seeds": [42],
                "prompts": ["", "grass"], "dilations": [2]},
            "recipe": recipe(),
            "prompt": null, "max_variations": 3, "inference": inference
        })
    };
    for inference in [
        json!({"whole": {"long_side_px": 64}}),
        json!({"crop": {"long_side_px": 64, "margin": 0.5}}),
        json!({"crop": {"long_side_px": 64}}),
        Value::Null,
    ] {
        let body = body(inference);
        let found = problems(&schema, &body, "request", &document);
        assert!(found.is_empty(), "{}", found.join("\n"));
        let read = wire::parse_request(body.to_string().as_bytes()).unwrap();
        // What is written again has every field that the code knows; all of them are described.
        let written = serde_json::to_value(&read).unwrap();
        let found = problems(&schema, &written, "request", &document);
        assert!(found.is_empty(), "{}", found.join("\n"));
        for name in ["AuditRequest", "MatrixRequest", "MaskRecipe"] {
            let object = match name {
                "AuditRequest" => &written,
                "MatrixRequest" => &written["matrix"],
                _ => &written["recipe"],
            };
            let described = &document["components"]["schemas"][name]["properties"];
            for field in described.as_object().unwrap().keys() {
                assert!(object.get(field).is_some(), "{name}.{field} is not read");
            }
        }
    }
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let document = document();
    let status = json!({"$ref": "#/components/schemas/CellCounts"});
    for (value, expected) in [
        (json!({"planned": 1, "done": 1, "failed": 0}), "has no"),
        (
            json!({"planned": 1, "done": 1, "failed": 0, "left": 0, "x": 1}),
            "not described",
        ),
        (
            json!({"planned": "1", "done": 1, "failed": 0, "left": 0}),
            "is no",
        ),
        (
            json!({"planned": -1, "done": 1, "failed": 0, "left": 0}),
            "is below",
        ),
        (json!([]), "is no"),
    ] {
        let found = problems(&status, &value, "counts", &document).join("\n");
        assert!(found.contains(expected), "{value}: {found}");
    }
    let event = json!({"$ref": "#/components/schemas/Event"});
    let wrong = json!({"type": "load", "quant": "Q4_0", "more": 1});
    assert!(!problems(&event, &wrong, "event", &document).is_empty());
}
