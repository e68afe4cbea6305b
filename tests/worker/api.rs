//! The whole audit over HTTP, and what each address answers on the way.

use crate::support::{CELLS, Place, Stage, Worker, request};
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::report::json::ShownRun;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn the_whole_audit_through_the_worker() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    let answer = client.post(&request("r1")).await;
    assert_eq!(answer.status, 202, "{}", answer.error());
    assert_eq!(
        answer.json,
        json!({
            "run_id": "r1", "run_url": "/audit/r1", "status_url": "/audit/r1/status",
            "events_url": "/audit/r1/events"
        })
    );
    assert_eq!(answer.header("location"), "/audit/r1/status");
    let status = client.until_state("r1", "done").await;
    assert_eq!(
        status["cells"],
        json!({"planned": 4, "done": 4, "failed": 0, "left": 0})
    );
    assert_eq!(status["error"], Value::Null);
    assert_eq!(worker.script.fills(), CELLS);

    let run = client.get("/audit/r1").await.json;
    assert_eq!(run["state"], "done");
    assert_eq!(run["session"], "s1");
    assert!(run["gpu_warning"].as_str().unwrap().contains("a painter"));
    let folder = place.path("runs/r1");
    let shown = ShownRun::of(&run_folder::open(&folder, Verification::Full).unwrap());
    let shown = serde_json::to_value(&shown).unwrap();
    for (cell, expected) in run["cells"]
        .as_array()
        .unwrap()
        .iter()
        .zip(shown["cells"].as_array().unwrap())
    {
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(cell[field], *value, "as show --json has it: {field}");
        }
        let file = cell["file"].as_str().unwrap();
        let raw = file.replace(".png", ".fill.png");
        for (url, file) in [(&cell["image_url"], file), (&cell["fill_url"], &raw)] {
            let picture = client.get(url.as_str().unwrap()).await;
            assert_eq!(picture.header("content-type"), "image/png");
            assert!(picture.bytes == std::fs::read(folder.join(file)).unwrap());
            let known = client
                .ask(Method::GET, url.as_str().unwrap())
                .header("If-None-Match", picture.header("etag"));
            let known = client.send(known).await;
            assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0));
        }
    }
    let report = client.get(status["report_url"].as_str().unwrap()).await;
    assert!(report.bytes == std::fs::read(folder.join("REPORT.md")).unwrap());
    assert!(worker.stop().await);
}

#[tokio::test]
async fn without_a_name_the_worker_gives_one_and_a_second_request_is_a_second_run() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let mut asked = request("x");
    asked["run_id"] = Value::Null;
    asked["max_variations"] = json!(1);
    let mut names = Vec::new();
    for _ in 0..2 {
        let answer = worker.client.post(&asked).await;
        assert_eq!(answer.status, 202, "{}", answer.error());
        names.push(answer.json["run_id"].as_str().unwrap().to_owned());
    }
    assert_ne!(names[0], names[1]);
    for name in &names {
        let status = worker.client.until_state(name, "done").await;
        assert_eq!(status["cells"]["done"], 1);
    }
}

#[tokio::test]
async fn the_gpu_and_the_health_are_told() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let gpu = worker.client.get("/gpu").await.json;
    assert_eq!(gpu["name"], "a painter");
    assert_eq!(gpu["is_production_gpu"], false);
    assert!(gpu["warning"].as_str().unwrap().contains("NVIDIA L4"));
    let health = worker.client.get("/healthz").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.json, json!({"status": "ok"}));
}

#[tokio::test]
async fn a_failed_run_says_why_and_can_be_asked_for_again() {
    let place = Place::new();
    // White everywhere: no gate lets that pass.
    let mask = place.path("sessions/u1/s1/mask.png");
    let good = std::fs::read(&mask).unwrap();
    let (width, height) = image::image_dimensions(&mask).unwrap();
    image::GrayImage::from_pixel(width, height, image::Luma([255]))
        .save(&mask)
        .unwrap();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    client.submit(&request("r1")).await;
    let status = client.until_state("r1", "failed").await;
    let error = status["error"].as_str().unwrap();
    assert!(error.contains("the mask is refused"), "{error}");
    assert_eq!(client.get("/audit/r1").await.status, 409);
    assert_eq!(client.delete("/audit/r1").await.status, 409);

    std::fs::write(&mask, good).unwrap();
    client.submit(&request("r1")).await;
    let status = client.until_state("r1", "done").await;
    assert_eq!(status["error"], Value::Null);
}

#[tokio::test]
async fn a_cell_that_is_not_there_has_no_picture() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    let mut asked = request("r1");
    asked["max_variations"] = json!(1);
    client.submit(&asked).await;
    client.until_state("r1", "done").await;
    for (file, expected) in [
        ("Q8_0_gs2.png", "not made yet"),
        ("Q8_0_gs3.png", "no picture of that name"),
        ("Q4_0_gs2.ron", "no picture of that name"),
        ("run.ron", "no picture of that name"),
        ("image.png", "no picture of that name"),
        ("..%2F..%2Fsessions%2Fu1%2Fs1%2Fimage.png", "no picture"),
    ] {
        let answer = client.get(&format!("/audit/r1/cells/{file}")).await;
        assert_eq!(answer.status, 404, "{file}");
        assert!(
            answer.error().contains(expected),
            "{file}: {}",
            answer.error()
        );
    }
    // Damaged behind the worker's back: never served as what it is not.
    std::fs::write(place.path("runs/r1/Q4_0_gs2.png"), "not a picture").unwrap();
    let answer = client.get("/audit/r1/cells/Q4_0_gs2.png").await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.error().contains("is not the picture"),
        "{}",
        answer.error()
    );
}

#[tokio::test]
async fn another_machine_can_have_every_file_of_a_run_and_nothing_else() {
    let place = Place::new();
    let worker = Worker::start(&place).await;
    let client = &worker.client;
    worker.script.hold(Stage::Load("Q4_0"));
    client.submit(&request("r1")).await;
    client.submit(&request("r2")).await;
    client.until_state("r1", "running").await;
    let waiting = client.get("/audit/r2/files").await;
    assert_eq!(waiting.json["files"], json!([]), "it has not begun");
    worker.script.release();
    client.until_state("r2", "done").await;

    let listed = client.get("/audit/r1/files").await.json;
    assert_eq!(listed["state"], "done");
    let mut names = Vec::new();
    for file in listed["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap().to_owned();
        let answer = client.get(&format!("/audit/r1/files/{name}")).await;
        assert_eq!(answer.status, 200, "{name}");
        let on_disk = std::fs::read(place.path("runs/r1").join(&name)).unwrap();
        assert!(answer.bytes == on_disk, "{name}");
        assert_eq!(file["size_bytes"], on_disk.len());
        let sha256 = fill_audit::audit::hash::sha256(&on_disk);
        assert_eq!(file["sha256"], sha256, "{name}");
        assert_eq!(answer.header("etag"), format!("\"{sha256}\""));
        names.push(name);
    }
    let on_disk: Vec<String> = place.files("r1", "").into_keys().collect();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, on_disk, "all of it");
    let at = |name: &str| names.iter().position(|one| one == name).unwrap();
    assert!(at("run.ron") < at("Q4_0_gs2.fill.png"));
    assert!(
        at("Q4_0_gs2.png") < at("Q4_0_gs2.ron"),
        "a document comes last"
    );

    std::fs::write(place.path("runs/r1/review-ada.ron"), "private").unwrap();
    for name in [
        ".lock",
        "review-ada.ron",
        "plan-1.ron",
        "Q8_0_gs3.ron",
        "nothing",
        "..%2Fr2%2Frun.ron",
        "..%2F.worker%2Fr1.json",
    ] {
        let answer = client.get(&format!("/audit/r1/files/{name}")).await;
        assert_eq!(answer.status, 404, "{name}");
        assert!(answer.error().contains("no file of that name"), "{name}");
    }
}
