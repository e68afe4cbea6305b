//! The commands as they are typed: the plan, the start, the tasks themselves with what they are told, the
//! status and the cancel.

use crate::fake::Fake;
use fill_audit::storage::gcs::{Gcs, Identity, Limits};
use fill_audit::storage::{ObjectName, Precondition, Store};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const MATRIX: &str = "--quant Q4_0,Q8_0 --guidance 2,10 --steps 1 --crop 64 --margin 0.25 --despeck 2 \
                      --close 0 --open 0 --dilate 2 --feather 1";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A bucket with a session, a fake of Cloud Run, and a disk.
struct Place {
    emulator: String,
    bucket: String,
    fake: Fake,
    dir: tempfile::TempDir,
}

impl Place {
    /// `None` (with a line) where there is no emulator and none is promised.
    async fn new(test: &str) -> Option<Self> {
        let Ok(emulator) = std::env::var("FILL_AUDIT_EMULATOR") else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "FILL_AUDIT_EMULATOR is not set although CI=true: tests/run starts an emulator"
            );
            println!("skipped: FILL_AUDIT_EMULATOR is not set (see tests/setup/emulator.sh)");
            return None;
        };
        let emulator = emulator.trim_end_matches('/').to_owned();
        let mut random = [0_u8; 4];
        getrandom::fill(&mut random).unwrap();
        let bucket = format!("{test}-{:08x}.app", u32::from_le_bytes(random));
        let answer = reqwest::Client::new()
            .post(format!("{emulator}/storage/v1/b?project=demo"))
            .json(&json!({ "name": bucket }))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success());
        let store = Gcs::new(
            &bucket,
            &emulator,
            Identity::anonymous(),
            Limits::for_tests(),
        );
        let store = store.await.unwrap();
        for file in ["image.png", "mask.png"] {
            let bytes = std::fs::read(root().join("tests/fixtures/service-run").join(file));
            let name = ObjectName::new(format!("users/u1/sessions/s1/{file}")).unwrap();
            let written = store.write(&name, bytes.unwrap().into(), Precondition::Absent);
            written.await.unwrap();
        }
        Some(Self {
            emulator,
            bucket,
            fake: Fake::start().await,
            dir: tempfile::tempdir().unwrap(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, disk: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
        for name in [
            "GOOGLE_CLOUD_PROJECT",
            "CLOUDSDK_RUN_REGION",
            "CLOUD_RUN_TASK_INDEX",
        ] {
            command.env_remove(name);
        }
        command
            .current_dir(self.dir.path())
            .env("STORAGE_EMULATOR_HOST", &self.emulator)
            .env("CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN", &self.fake.address)
            .env(
                "FIREBASE_CREDENTIALS",
                root().join("tests/fixtures/signing/key.json"),
            )
            .env("FILL_AUDIT_MODELS", root().join("assets/tiny-fill"))
            .env("FILL_AUDIT_CACHE", self.path(disk).join("cache"))
            .env("FILL_AUDIT_QUEUE", self.path(disk).join("queue"))
            .env("XDG_CACHE_HOME", self.path(disk))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .stdin(Stdio::null());
        command
    }

    fn job(&self, args: &str) -> Output {
        let mut command = self.command("here");
        let args = args.replace(
            "SESSION",
            &format!("gs://{}/users/u1/sessions/s1", self.bucket),
        );
        command.arg("job").args(args.split_whitespace());
        command.output().unwrap()
    }

    fn job_ok(&self, args: &str) -> String {
        let output = self.job(args);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{said}{}", text(&output.stderr));
        said
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_planned_shown_started_made_by_its_tasks_and_seen_whole() {
    let Some(place) = Place::new("job").await else {
        return;
    };
    let bucket = place.bucket.clone();
    let plan = place.job_ok(&format!("plan --session SESSION --run-id r1 {MATRIX}"));
    assert!(plan.contains("4 cells in 2 tasks on NVIDIA L4"), "{plan}");
    assert!(plan.contains("task 1: Q8_0, 2 cells, 2 steps"), "{plan}");
    assert!(plan.contains("a guess: nothing was measured"), "{plan}");
    assert!(
        plan.contains("USD a second") && plan.contains("April 2026"),
        "{plan}"
    );

    let start = format!(
        "start --session SESSION --run-id r1 {MATRIX} --project demo-1 --region europe-west4"
    );
    let shown = place.job_ok(&start);
    assert!(shown.contains("nothing was started"), "{shown}");
    assert!(shown.starts_with(&plan), "the same plan is shown");
    assert_eq!(place.fake.lines(), Vec::<String>::new());

    let started = place.job_ok(&format!("{start} --yes"));
    assert!(started.contains("executions/fill-audit-x0000"), "{started}");
    let body: Value = serde_json::from_str(&place.fake.seen()[1].body).unwrap();
    let expected = json!({"overrides": {
        "containerOverrides": [{"args": [
            "run", format!("--session=gs://{bucket}/users/u1/sessions/s1/"), "--run-id=r1",
            format!("--bucket={bucket}"), "--device=cuda", "--out=/tmp/runs", "--quant=Q4_0,Q8_0",
            "--guidance=2,10", "--steps=1", "--seed=42",
            "--prompt=empty ground, nothing here, just the natural ground surface continuing seamlessly",
            "--dilate=2", "--threshold=128", "--despeck=2", "--close=0", "--open=0", "--feather=1",
            "--max-coverage=0.4", "--crop=64", "--margin=0.25"
        ]}],
        "taskCount": 2, "timeout": "3600s"
    }});
    assert_eq!(body, expected);

    // The tasks, as Cloud Run would start them, on this machine's CPU.
    let args = body["overrides"]["containerOverrides"][0]["args"]
        .as_array()
        .unwrap();
    for index in 0..2 {
        let disk = format!("task{index}");
        let mut task = place.command(&disk);
        for arg in args.iter().map(|arg| arg.as_str().unwrap()) {
            match arg {
                "--device=cuda" => task.arg("--device=cpu"),
                "--out=/tmp/runs" => task.arg(format!("--out={}", place.path(&disk).display())),
                other => task.arg(other),
            };
        }
        task.env("CLOUD_RUN_TASK_INDEX", index.to_string())
            .env("CLOUD_RUN_TASK_COUNT", "2");
        let output = task.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let status = place.job_ok(&format!("status r1 --bucket {bucket}"));
        let cells = format!("{} of 4 cells", 2 * (index + 1));
        assert!(status.contains(&cells), "{status}");
        assert_eq!(
            status.contains("the report is there"),
            index == 1,
            "{status}"
        );
        // Going on with it is planned as what is missing.
        if index == 0 {
            let plan = place.job_ok(&format!("plan --session SESSION --run-id r1 {MATRIX}"));
            let rest = "2 of 4 cells in 2 tasks on NVIDIA L4, 2 are in the bucket already";
            assert!(plan.contains(rest), "{plan}");
        }
    }
    place.fake.change(|newest| {
        newest["conditions"][0] = json!({"type": "Completed", "state": "CONDITION_SUCCEEDED"});
        newest["succeededCount"] = json!(2);
    });
    let status = place.job_ok(&format!("status r1 --bucket {bucket} --json --follow 1"));
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["state"], "succeeded");
    assert_eq!(
        status["cells"],
        json!({"done": 4, "failed": 0, "has_report": true})
    );
    // Who follows it in a script learns how it ended.
    let followed = format!("status r1 --bucket {bucket} --follow 1");
    for (conditions, code) in [
        (
            json!([{"type": "Completed", "state": "CONDITION_FAILED"}]),
            1,
        ),
        (
            json!([{"type": "Completed", "state": "CONDITION_FAILED", "executionReason": "CANCELLED"}]),
            130,
        ),
    ] {
        place
            .fake
            .change(|newest| newest["conditions"] = conditions.clone());
        assert_eq!(place.job(&followed).status.code(), Some(code));
    }
    // The run opens like any other.
    let mut pull = place.command("here");
    pull.args(["pull", "r1", "--bucket", &bucket]);
    assert!(pull.output().unwrap().status.success());
    let mut show = place.command("here");
    let shown = text(&show.args(["show", "runs/r1"]).output().unwrap().stdout);
    assert!(shown.contains("Q8_0_gs10"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cancelled_and_what_cannot_be_started_is_refused_before() {
    let Some(place) = Place::new("cancel").await else {
        return;
    };
    let bucket = place.bucket.clone();
    let start = format!("start --session SESSION --run-id r1 {MATRIX} --yes --project demo-1");
    let refused = place.job(&start);
    assert!(!refused.status.success());
    assert!(
        text(&refused.stderr).contains("--region"),
        "{}",
        text(&refused.stderr)
    );
    // A mask that every task would refuse.
    let gates = place.job("plan --session SESSION --crop 64 --despeck 50 --dilate 2");
    assert!(!gates.status.success());
    assert!(
        text(&gates.stderr).contains("the mask is refused"),
        "{}",
        text(&gates.stderr)
    );
    let many = place.job(&format!("plan --session SESSION {MATRIX} --tasks 9"));
    assert!(
        text(&many.stderr).contains("--tasks 1 to 4"),
        "{}",
        text(&many.stderr)
    );
    assert_eq!(place.fake.lines(), Vec::<String>::new());

    place.job_ok(&format!("{start} --region europe-west4"));
    let said = place.job_ok(&format!("cancel r1 --bucket {bucket}"));
    assert!(said.contains("cancelled"), "{said}");
    assert!(said.contains("makes what is missing"), "{said}");
    let none = place.job(&format!("status r2 --bucket {bucket}"));
    assert!(
        text(&none.stderr).contains("no job of run r2"),
        "{}",
        text(&none.stderr)
    );
}
