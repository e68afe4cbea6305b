//! Start, status and cancel, request by request.

use crate::fake::{Fake, Fault, error, quota};
use fill_audit::model::ids::RunId;
use fill_audit::remote::job::wire::State;
use fill_audit::remote::job::{CloudRun, JobControl, JobError, JobPlace, Launch, Limits};
use fill_audit::storage::gcs::{self, Environment, credentials};
use fill_audit::storage::{LocalDir, ObjectName, Precondition, StorageConfig};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

const JOB: &str = "/v2/projects/demo-1/locations/europe-west4/jobs/fill-audit";
const NOW: &str = "2026-11-21T09:00:00Z";

/// A control whose bucket is a folder; its requests carry a real token, signed with the throw-away key.
async fn control(fake: &Fake, bucket: &Path) -> JobControl {
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/signing/key.json");
    let environment = Environment {
        firebase_credentials: Some(std::fs::read_to_string(key).unwrap()),
        // An emulator of the bucket does not make us nobody to Cloud Run.
        emulator_host: Some("127.0.0.1:1".to_owned()),
        ..Environment::default()
    };
    let limits = gcs::Limits::for_tests();
    let identity = credentials::find_for_cloud(None, &environment, &limits).await;
    JobControl {
        api: CloudRun::new(&fake.address, identity.unwrap(), Limits::for_tests()).unwrap(),
        place: JobPlace::new("demo-1", "europe-west4", "fill-audit").unwrap(),
        store: Arc::new(LocalDir::new(bucket)),
        config: StorageConfig::default(),
    }
}

fn launch(run_id: &str) -> Launch {
    let run_id = RunId::new(run_id).unwrap();
    Launch {
        args: vec![
            "run".to_owned(),
            "--session=gs://b/users/u/sessions/s/".to_owned(),
            format!("--run-id={run_id}"),
            "--prompt=grass, \"tall\"".to_owned(),
        ],
        run_id,
        tasks: 3,
        cells: 15,
        planned_secs: 1572.0,
        planned_usd: 0.62,
    }
}

async fn put(control: &JobControl, name: &str, text: &str) {
    let name = ObjectName::new(name).unwrap();
    let written = control
        .store
        .write(&name, text.to_owned().into(), Precondition::None);
    written.await.unwrap();
}

#[tokio::test]
async fn a_start_is_one_request_with_exactly_the_overrides() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    let record = control.start(&launch("r1"), NOW).await.unwrap();
    let seen = fake.seen();
    assert_eq!(
        fake.lines(),
        [
            format!("GET {JOB}/executions?pageSize=100"),
            format!("POST {JOB}:run"),
        ]
    );
    assert_eq!(
        seen[1].body,
        r#"{"overrides":{"containerOverrides":[{"args":["run","--session=gs://b/users/u/sessions/s/","--run-id=r1","--prompt=grass, \"tall\""]}],"taskCount":3,"timeout":"3600s"}}"#
    );
    assert_eq!(seen[1].headers["content-type"], "application/json");
    for seen in &seen {
        let authorization = seen.headers["authorization"].to_str().unwrap();
        assert!(authorization.starts_with("Bearer ey"), "no token");
    }
    let execution =
        "projects/demo-1/locations/europe-west4/jobs/fill-audit/executions/fill-audit-x0000";
    assert_eq!(record.execution, execution);
    // It is remembered in the bucket, for whoever looks from another machine.
    assert_eq!(control.record(&launch("r1").run_id).await.unwrap(), record);
    let text = std::fs::read_to_string(bucket.path().join("audit/r1/job.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["started_at"], NOW);
    assert_eq!(document["tasks"], 3);
}

#[tokio::test]
async fn a_start_that_names_no_execution_yet_is_followed_until_it_does() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    fake.be_silent(3);
    let record = control.start(&launch("r1"), NOW).await.unwrap();
    assert!(record.execution.ends_with("/fill-audit-x0000"));
    let asked = "GET /v2/projects/demo-1/locations/europe-west4/operations/start0";
    assert_eq!(fake.lines()[2..], [asked; 3]);
}

#[tokio::test]
async fn a_lost_answer_starts_nothing_twice() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    // It counted.
    fake.fail(":run", Fault::Lost);
    let record = control.start(&launch("r1"), NOW).await.unwrap();
    assert!(record.execution.ends_with("/fill-audit-x0000"));
    assert_eq!(fake.executions().len(), 1);
    // It did not, and neither did a gateway that gave up; the third did.
    fake.fail(":run", Fault::Ignored);
    fake.fail(":run", Fault::Answer(502, "<html>".to_owned(), None));
    let record = control.start(&launch("r2"), NOW).await.unwrap();
    assert!(record.execution.ends_with("/fill-audit-x0001"));
    assert_eq!(fake.executions().len(), 2);
    let runs = fake
        .lines()
        .iter()
        .filter(|line| line.ends_with(":run"))
        .count();
    assert_eq!(runs, 1 + 3);
}

fn runs_asked_for(fake: &Fake) -> usize {
    let lines = fake.lines();
    lines.iter().filter(|line| line.ends_with(":run")).count()
}

#[tokio::test]
async fn an_execution_that_is_listed_late_is_not_started_twice() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    // Two lists after the 503 lack it.
    fake.fail(":run", Fault::Late(2));
    let record = control.start(&launch("r1"), NOW).await.unwrap();
    assert!(record.execution.ends_with("/fill-audit-x0000"));
    assert_eq!((fake.executions().len(), runs_asked_for(&fake)), (1, 1));
}

#[tokio::test]
async fn an_execution_whose_start_was_never_told_is_found_by_status_and_cancel() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    let run_id = launch("r1").run_id;
    let path = bucket.path().join("audit/r1/job.json");
    // An earlier one, which failed, is not it.
    control.start(&launch("r1"), NOW).await.unwrap();
    fake.change(|newest| newest["conditions"][0]["state"] = json!("CONDITION_FAILED"));

    // Whoever started it was stopped before the answer came.
    fake.fail(":run", Fault::Lost);
    let asked = launch("r1");
    let start = control.start(&asked, NOW);
    let stopped = tokio::time::timeout(std::time::Duration::from_millis(500), start).await;
    assert!(stopped.is_err(), "it was not stopped");
    assert_eq!(fake.executions().len(), 2);
    let status = control.status(&run_id).await.unwrap();
    assert_eq!(status.state, State::Pending);
    assert!(status.record.execution.ends_with("/fill-audit-x0001"));
    assert_eq!((status.record.tasks, status.record.cells), (3, 15));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("executions/fill-audit-x0001"), "{text}");
    let status = control.cancel(&run_id).await.unwrap();
    assert_eq!(status.state, State::Cancelled);

    // An operation that never says what it is about, while lists run behind.
    fake.be_silent(1_000_000);
    let mut hasty = control.clone();
    hasty.api.limits.operation = std::time::Duration::from_millis(60);
    let record = hasty.start(&launch("r1"), NOW).await.unwrap();
    assert!(record.execution.ends_with("/fill-audit-x0002"));
    fake.change(|newest| newest["conditions"][0]["state"] = json!("CONDITION_FAILED"));

    // Nobody took it after all.
    let only = fake.lines().len();
    fake.fail(":run", Fault::Ignored);
    let asked = launch("r2");
    let start = control.start(&asked, NOW);
    let stopped = tokio::time::timeout(std::time::Duration::from_millis(500), start).await;
    assert!(stopped.is_err() && fake.lines().len() > only);
    let error = control.status(&asked.run_id).await.unwrap_err().to_string();
    assert!(error.contains("was to be started at 2026-11-21"), "{error}");
    assert!(error.contains("job start"), "{error}");
}

#[tokio::test]
async fn nothing_is_started_that_cannot_be_remembered() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    std::fs::write(bucket.path().join("audit"), "no folder").unwrap();
    control.start(&launch("r1"), NOW).await.unwrap_err();
    assert_eq!(runs_asked_for(&fake), 0);
}

#[tokio::test]
async fn a_project_is_the_same_by_its_number() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    fake.answer_with_number(123_456_789);
    let record = control.start(&launch("r1"), NOW).await.unwrap();
    assert_eq!(
        record.execution,
        "projects/demo-1/locations/europe-west4/jobs/fill-audit/executions/fill-audit-x0000"
    );
    let status = control.status(&launch("r1").run_id).await.unwrap();
    assert_eq!(status.state, State::Pending);
}

#[tokio::test]
async fn quota_refusals_are_waited_out_and_then_told() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    let message = "Quota exceeded for total NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion";
    fake.fail(":run", quota(message, "0.3s"));
    fake.fail(":run", Fault::Answer(429, String::new(), Some("0.2")));
    let before = std::time::Instant::now();
    control.start(&launch("r1"), NOW).await.unwrap();
    assert!(
        before.elapsed().as_millis() >= 500,
        "it did not wait as asked"
    );
    assert_eq!(fake.executions().len(), 1);

    for _ in 0..4 {
        fake.fail(":run", quota(message, "0.01s"));
    }
    let error = control.start(&launch("r2"), NOW).await.unwrap_err();
    let JobError::Quota { attempts, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*attempts, 4);
    let text = error.to_string();
    assert!(text.contains(message) && text.contains("--tasks"), "{text}");
    assert_eq!(fake.executions().len(), 1);
}

#[tokio::test]
async fn other_refusals_end_at_once_with_what_to_do() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    let denied = "Permission 'run.jobs.runWithOverrides' denied on resource";
    for (status, body, words) in [
        (
            400,
            error(400, "INVALID_ARGUMENT", "bad taskCount"),
            "HTTP 400",
        ),
        (
            401,
            error(401, "UNAUTHENTICATED", "bad token"),
            "gcloud auth",
        ),
        (
            403,
            error(403, "PERMISSION_DENIED", denied),
            "run.jobs.runWithOverrides) and",
        ),
        (404, error(404, "NOT_FOUND", "no job"), "job deploy --print"),
        (
            409,
            error(409, "ABORTED", "changed meanwhile"),
            "changed meanwhile",
        ),
        (
            200,
            "{\"name\": 1}".to_owned(),
            "something else than an answer",
        ),
    ] {
        fake.fail(":run", Fault::Answer(status, body, None));
        let before = fake
            .lines()
            .iter()
            .filter(|line| line.ends_with(":run"))
            .count();
        let error = control.start(&launch("r1"), NOW).await.unwrap_err();
        assert!(error.to_string().contains(words), "{status}: {error}");
        let after = fake
            .lines()
            .iter()
            .filter(|line| line.ends_with(":run"))
            .count();
        assert_eq!(after, before + 1, "{status}");
        // Of a start that certainly was none nothing is remembered.
        let is_remembered = bucket.path().join("audit/r1/job.json").exists();
        assert_eq!(is_remembered, status == 200, "{status}");
    }

    let mut nobody = fake.clone();
    nobody.address = "http://127.0.0.1:9".to_owned();
    let away = self::control(&nobody, bucket.path()).await;
    let error = away.start(&launch("r1"), NOW).await.unwrap_err();
    assert!(matches!(error, JobError::Offline { .. }), "{error}");
}

#[tokio::test]
async fn a_run_that_is_under_way_is_not_started_again_and_one_that_failed_is() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    control.start(&launch("r1"), NOW).await.unwrap();
    let error = control
        .start(&launch("r1"), NOW)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("being made already"), "{error}");
    assert!(error.contains("fill-audit-x0000"), "{error}");
    // Another run of the same job is another matter.
    control.start(&launch("r10"), NOW).await.unwrap();
    fake.change(|newest| {
        newest["conditions"][0]["state"] = json!("CONDITION_FAILED");
        newest["failedCount"] = json!(1);
    });
    let record = control.start(&launch("r10"), NOW).await.unwrap();
    assert!(record.execution.ends_with("/fill-audit-x0002"));
    assert_eq!(control.record(&launch("r10").run_id).await.unwrap(), record);
}

#[tokio::test]
async fn the_status_is_cloud_runs_and_the_buckets() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    let run_id = launch("r1").run_id;
    control.start(&launch("r1"), NOW).await.unwrap();
    let status = control.status(&run_id).await.unwrap();
    assert_eq!(status.state, State::Pending);
    assert_eq!(status.cells.done, 0);

    // Two cells, one that failed, one whose document is not there yet.
    for file in [
        "run.ron",
        "plan-1.ron",
        "review-ann.ron",
        "image.png",
        "Q4_0_gs2.png",
        "Q4_0_gs2.fill.png",
        "Q4_0_gs2.ron",
        "Q4_0_gs4.png",
        "Q4_0_gs4.ron",
        "Q4_0_gs10.ron",
        "Q4_0_gs20.png",
    ] {
        put(&control, &format!("audit/r1/{file}"), "x").await;
    }
    fake.change(|newest| {
        newest["runningCount"] = json!(2);
        newest["succeededCount"] = json!(1);
        newest["retriedCount"] = json!(1);
    });
    let status = control.status(&run_id).await.unwrap();
    assert_eq!(status.state, State::Running);
    assert_eq!((status.cells.done, status.cells.failed), (2, 1));
    let text = status.lines().join("\n");
    assert!(text.contains("run r1: 2 of 15 cells, 1 failed"), "{text}");
    assert!(
        text.contains("running, 1 of 3 tasks ended well, 2 run, 1 attempts"),
        "{text}"
    );
    assert!(text.contains("logs: https://"), "{text}");
    let last = fake.lines().pop().unwrap();
    assert_eq!(last, format!("GET {JOB}/executions/fill-audit-x0000"));

    put(&control, "audit/r1/REPORT.md", "# R").await;
    fake.change(|newest| newest["conditions"][0]["state"] = json!("CONDITION_SUCCEEDED"));
    let status = control.status(&run_id).await.unwrap();
    assert_eq!(status.state, State::Succeeded);
    assert!(status.cells.has_report);

    // An old execution is forgotten by Cloud Run, and its run is not.
    fake.forget();
    let status = control.status(&run_id).await.unwrap();
    assert_eq!(status.state, State::Forgotten);
    assert_eq!((status.cells.done, status.cells.has_report), (2, true));

    let error = control
        .status(&RunId::new("none").unwrap())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no job of run none"), "{error}");
}

#[tokio::test]
async fn an_earlier_report_does_not_make_a_failed_execution_look_well() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    let run_id = launch("r1").run_id;
    put(&control, "audit/r1/REPORT.md", "# R").await;
    for number in 0..15 {
        put(&control, &format!("audit/r1/Q4_0_gs{number}.ron"), "x").await;
    }
    control
        .start(&launch("r1"), "2100-01-01T00:00:00Z")
        .await
        .unwrap();
    fake.change(|newest| newest["conditions"][0]["state"] = json!("CONDITION_FAILED"));
    let status = control.status(&run_id).await.unwrap();
    assert_eq!(status.state, State::Failed);
    assert!(!status.cells.has_report && !status.is_whole());
    let text = status.lines().join("\n");
    assert!(text.contains("the run is not whole"), "{text}");
    // Its own report, though tasks failed: what there is is said, and that it did not end well.
    put(&control, "audit/r1/REPORT.md", "# R").await;
    let record = bucket.path().join("audit/r1/job.json");
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replace("2100-01-01T00:00:00Z", NOW)).unwrap();
    let status = control.status(&run_id).await.unwrap();
    assert!(status.cells.has_report && !status.is_whole());
    fake.change(|newest| newest["conditions"][0]["state"] = json!("CONDITION_SUCCEEDED"));
    assert!(control.status(&run_id).await.unwrap().is_whole());
    // A task that says that it ended well, and a cell that nobody tried.
    std::fs::remove_file(bucket.path().join("audit/r1/Q4_0_gs3.ron")).unwrap();
    assert!(!control.status(&run_id).await.unwrap().is_whole());
}

#[tokio::test]
async fn a_cancel_is_asked_for_once_and_waited_for() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    let run_id = launch("r1").run_id;
    control.start(&launch("r1"), NOW).await.unwrap();
    fake.cancel_slowly(3);
    fake.fail(":cancel", Fault::Answer(503, String::new(), Some("0.05")));
    let before = fake.lines().len();
    let status = control.cancel(&run_id).await.unwrap();
    assert_eq!(status.state, State::Cancelled);
    let execution = format!("{JOB}/executions/fill-audit-x0000");
    let operation = "GET /v2/projects/demo-1/locations/europe-west4/operations/cancel0".to_owned();
    assert_eq!(
        fake.lines()[before..],
        [
            format!("GET {execution}"),
            format!("POST {execution}:cancel"),
            format!("POST {execution}:cancel"),
            operation.clone(),
            operation.clone(),
            operation,
            format!("GET {execution}"),
        ]
    );
    let bodies: Vec<String> = fake.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies[before + 1], "{}");
    // What has ended is not cancelled again.
    let before = fake.lines().len();
    control.cancel(&run_id).await.unwrap();
    assert_eq!(fake.lines()[before..], [format!("GET {execution}")]);
    // One that takes longer than is waited for has been asked all the same.
    control.start(&launch("r2"), NOW).await.unwrap();
    fake.cancel_slowly(1_000_000);
    let mut hasty = control.clone();
    hasty.api.limits.operation = std::time::Duration::from_millis(100);
    let status = hasty.cancel(&launch("r2").run_id).await.unwrap();
    assert_eq!(status.state, State::Pending);
}

#[tokio::test]
async fn a_record_in_the_bucket_leads_no_request_elsewhere() {
    let (fake, bucket) = (Fake::start().await, tempfile::tempdir().unwrap());
    let control = control(&fake, bucket.path()).await;
    let run_id = launch("r1").run_id;
    control.start(&launch("r1"), NOW).await.unwrap();
    let path = bucket.path().join("audit/r1/job.json");
    let right = std::fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("/executions/", "/executions/../../"),
        ("fill-audit-x0000", "x?alt=media"),
        ("\"project\": \"demo-1\"", "\"project\": \"other/1\""),
        ("\"schema\": 1", "\"schema\": 2"),
    ] {
        put(&control, "audit/r1/job.json", &right.replace(from, to)).await;
        let before = fake.lines().len();
        let error = control.status(&run_id).await.unwrap_err();
        assert!(
            matches!(error, JobError::BadName { .. } | JobError::Malformed { .. }),
            "{to}: {error}"
        );
        assert_eq!(fake.lines().len(), before, "{to}");
    }
}
