//! Runs in a Cloud Run job, against a fake of its REST API: the plan with its time and cost before anything is
//! started, the same grid from the bucket, cancelled, left and watched again.

use super::bucket_store::{GatedStore, copy_folder, services as with_bucket, shelf};
use super::harness::{Desk, keep_picture, step_until};
use super::remote::support::{self, CELLS};
use super::remote::{There, compose, done, state, until_done, until_ended, until_label};
use eframe::egui::vec2;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use fake::{Fake, Fault};
use fill_audit::app::remote::RemoteServices;
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::remote::client::RemoteNote;
use fill_audit::remote::job::{CloudRun, JobControl, Limits};
use fill_audit::state::command::Command;
use fill_audit::state::remote::PlaceKind;
use fill_audit::state::{Msg, Page};
use fill_audit::storage::StorageConfig;
use fill_audit::storage::gcs::{self, Environment, credentials};
use futures::FutureExt as _;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[path = "../jobs/fake.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the jobs' tests, which use all of it; a failed unwrap is a failed test"
)]
mod fake;

/// A window whose job is the fake's, and whose bucket is a folder with the session in it.
fn services(desk: &Desk, there: &There, fake: &Fake) -> Services {
    let store = GatedStore::new(&shelf(desk));
    let prefix = StorageConfig::default().prefix_of_session("u1", "s1");
    let session = shelf(desk).join(prefix.expect("ids"));
    copy_folder(&there.place.path("sessions/u1/s1"), &session);
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/signing/key.json");
    let environment = Environment {
        firebase_credentials: Some(std::fs::read_to_string(key).expect("the test's key")),
        ..Environment::default()
    };
    let address = fake.address.clone();
    Services {
        remote: RemoteServices {
            look_every: Some(Duration::from_millis(200)),
            jobs: Arc::new(move |place, store, config| {
                let (address, environment) = (address.clone(), environment.clone());
                async move {
                    let limits = gcs::Limits::for_tests();
                    let identity = credentials::find_for_cloud(None, &environment, &limits).await?;
                    Ok(JobControl {
                        api: CloudRun::new(&address, identity, Limits::for_tests())?,
                        place,
                        store,
                        config,
                    })
                }
                .boxed()
            }),
            ..RemoteServices::default()
        },
        ..with_bucket(desk, &store)
    }
}

fn window(desk: &Desk, there: &There, fake: &Fake) -> Harness<'static, FillAuditApp> {
    let services = services(desk, there, fake);
    Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .wgpu()
        .build_eframe(|cc| FillAuditApp::new(cc, None, services))
}

/// Composes the worker's tests' run as a job's, and looks at its plan.
fn plan(harness: &mut Harness<'static, FillAuditApp>, there: &There) {
    compose(harness, there.address());
    let mut form = state(harness).compose.clone();
    form.place = PlaceKind::Job;
    "demo-1".clone_into(&mut form.job_project);
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.run_steps(3);
    let start = harness.get_by_label("Start run");
    assert!(
        start.accesskit_node().is_disabled(),
        "nothing was shown yet"
    );
    harness.get_by_label("Show the plan").click();
    until_label(harness, "cost: about");
}

/// The run that was started.
fn started(harness: &mut Harness<'static, FillAuditApp>, fake: &Fake) -> String {
    step_until(harness, "the job is started", |_| {
        !fake.executions().is_empty()
    });
    let executions = fake.executions();
    let args = executions[0]["template"]["containers"][0]["args"].clone();
    let args = args.as_array().expect("arguments");
    let mut names = args
        .iter()
        .filter_map(|arg| arg.as_str()?.strip_prefix("--run-id="));
    names.next().expect("a run").to_owned()
}

/// Makes the run as the job's tasks would, and leaves it in the bucket.
fn make(desk: &Desk, there: &There, run_id: &str) {
    let request = support::request(run_id);
    let asking = there.worker.client.submit(&request);
    there.runtime.block_on(asking);
    there.until_state(run_id, "done");
    let made = there.place.path("runs").join(run_id);
    copy_folder(&made, &shelf(desk).join("audit").join(run_id));
    let _ = std::fs::remove_file(shelf(desk).join("audit").join(run_id).join(".lock"));
}

#[test]
fn a_job_shows_its_plan_first_and_then_fills_the_same_grid_from_the_bucket() {
    let (desk, there) = (Desk::new(), There::new());
    let fake = there.runtime.block_on(Fake::start());
    let mut harness = window(&desk, &there, &fake);
    plan(&mut harness, &there);
    assert!(
        harness
            .query_by_label_contains("4 cells in 2 tasks on NVIDIA L4")
            .is_some()
    );
    assert!(
        harness
            .query_by_label_contains("a guess: nothing was measured")
            .is_some()
    );
    keep_picture(&mut harness, "compose_job_1280");
    assert_eq!(
        fake.lines(),
        Vec::<String>::new(),
        "nothing was asked of Cloud Run"
    );

    // Another matrix is another plan.
    let mut form = state(&harness).compose.clone();
    "2, 10, 30".clone_into(&mut form.guidances);
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    harness.run_steps(3);
    assert!(harness.query_by_label_contains("cost: about").is_none());
    assert!(state(&harness).running.is_none());
    let mut form = state(&harness).compose.clone();
    "2, 10".clone_into(&mut form.guidances);
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    until_label(&mut harness, "cost: about");

    harness.get_by_label("Start run").click();
    let run_id = started(&mut harness, &fake);
    until_label(&mut harness, "0 of 2 tasks run");
    make(&desk, &there, &run_id);
    until_done(&mut harness, CELLS.len());
    until_label(&mut harness, "4 of 4 cells, ");
    fake.change(|execution| {
        execution["succeededCount"] = json!(2);
        execution["conditions"] = json!([{"type": "Completed", "state": "CONDITION_SUCCEEDED"}]);
    });
    until_ended(&mut harness);
    let toasts = state(&harness).toasts.iter();
    let bad: Vec<&str> = toasts
        .filter(|toast| toast.is_error)
        .map(|toast| toast.text.as_str())
        .collect();
    // Of the matrix that was not planned.
    assert_eq!(bad, ["look at the plan with its time and cost first"]);
    assert_eq!(done(&harness), CELLS.len());
}

#[test]
fn a_job_goes_on_without_a_window_and_is_watched_and_cancelled_by_the_next() {
    let (desk, there) = (Desk::new(), There::new());
    let fake = there.runtime.block_on(Fake::start());
    let mut harness = window(&desk, &there, &fake);
    plan(&mut harness, &there);
    harness.state_mut().send(Msg::Command(Command::StartRun));
    let run_id = started(&mut harness, &fake);
    until_label(&mut harness, "0 of 2 tasks run");
    drop(harness);

    let mut harness = window(&desk, &there, &fake);
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::Inbox)));
    until_label(&mut harness, "is made on projects/demo-1/");
    harness.get_by_label(&format!("Watch {run_id}")).click();
    until_label(&mut harness, "0 of 2 tasks run");
    harness.get_by_label("Cancel run").click();
    until_ended(&mut harness);
    let lines = fake.lines();
    assert!(
        lines.iter().any(|line| line.ends_with(":cancel")),
        "{lines:?}"
    );
    let starts = lines.iter().filter(|line| line.ends_with(":run"));
    assert_eq!(starts.count(), 1, "{lines:?}");
}

/// Waits until a run that was started is told to have gone wrong.
fn until_refused(harness: &mut Harness<'static, FillAuditApp>, words: &str) {
    step_until(harness, &format!("it is told: {words}"), |harness| {
        let mut toasts = state(harness).toasts.iter();
        toasts.any(|toast| toast.is_error && toast.text.contains(words))
    });
    until_ended(harness);
}

#[test]
fn a_plan_that_is_another_one_by_now_is_shown_and_nothing_is_started() {
    let (desk, there) = (Desk::new(), There::new());
    let fake = there.runtime.block_on(Fake::start());
    let mut harness = window(&desk, &there, &fake);
    plan(&mut harness, &there);
    let mut form = state(&harness).compose.clone();
    form.long_side_px = 1024;
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.run_steps(3);
    harness.get_by_label("Show the plan").click();
    until_label(&mut harness, "cost: about");
    let shown = |harness: &Harness<'static, FillAuditApp>| {
        let plan = state(harness).remote.plan.clone().expect("a plan");
        plan.result.expect("it can be run")
    };
    let before = shown(&harness);

    // The session is another one meanwhile, with pictures of another shape.
    let prefix = StorageConfig::default().prefix_of_session("u1", "s1");
    let session = shelf(&desk).join(prefix.expect("ids"));
    for name in ["image.png", "mask.png"] {
        let path = session.join(name);
        let picture = image::open(&path).expect("a picture");
        let (width, height) = (picture.width(), picture.height());
        let nearest = image::imageops::FilterType::Nearest;
        let picture = picture.resize_exact(width, height / 2, nearest);
        picture.save(&path).expect("saved");
    }
    harness.state_mut().send(Msg::Command(Command::StartRun));
    until_refused(&mut harness, "the plan is another one now");
    assert_eq!(fake.lines(), Vec::<String>::new(), "nothing was started");
    let runs = desk.folder.path().join("runs");
    assert_eq!(RemoteNote::waiting(&runs), []);
    assert_ne!(shown(&harness), before, "the new one is on screen");
    harness.state_mut().send(Msg::Command(Command::StartRun));
    started(&mut harness, &fake);
}

#[test]
fn a_start_of_which_nothing_is_certain_is_kept_and_one_that_is_refused_is_not() {
    let (desk, there) = (Desk::new(), There::new());
    let fake = there.runtime.block_on(Fake::start());
    let runs = desk.folder.path().join("runs");
    let mut harness = window(&desk, &there, &fake);
    plan(&mut harness, &there);
    let refusal = fake::error(403, "PERMISSION_DENIED", "run.jobs.run is missing");
    fake.fail(":run", Fault::Answer(403, refusal, None));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    until_refused(&mut harness, "run.jobs.run is missing");
    assert_eq!(RemoteNote::waiting(&runs), []);
    fake.fail(":run", Fault::Answer(200, "nonsense".to_owned(), None));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    until_refused(&mut harness, "something else than an answer");
    assert_eq!(RemoteNote::waiting(&runs).len(), 1, "it may be under way");
}
