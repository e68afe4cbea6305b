//! Runs that a worker makes: composed, watched, cancelled, lost, left and picked up in the same window and the
//! same grid as those of this machine.

use super::bucket_store::{GatedStore, copy_folder, services as with_bucket, shelf};
use super::harness::{Desk, keep_picture, service_run, step_until, view};
use eframe::egui::{Vec2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::remote::{RemoteServices, TokenStore};
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::model::ids::RunId;
use fill_audit::remote::Token;
use fill_audit::remote::client::{ClientOptions, Kind, RemoteNote};
use fill_audit::state::command::Command;
use fill_audit::state::compose::ComposeForm;
use fill_audit::state::remote::{PlaceKind, RemoteMsg, Secret};
use fill_audit::state::{AppState, Msg, Page};
use proxy::{HARMLESS, Proxy};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use support::{CELLS, Place, Setup, Stage, TOKEN, Worker};
use tokio::runtime::Runtime;

#[path = "../worker/proxy.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the worker's tests, which use all of it; a failed unwrap is a failed test"
)]
mod proxy;
#[path = "../worker/support.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the worker's tests, which use all of it; a failed unwrap is a failed test"
)]
pub mod support;

/// A worker on loopback with a proxy before it, on a runtime of their own.
pub struct There {
    pub runtime: Runtime,
    pub place: Place,
    pub worker: Worker,
    proxy: Proxy,
}

impl There {
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    fn with(setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let place = Place::new();
        let worker = runtime.block_on(Worker::with(&place, setup));
        let proxy = runtime.block_on(Proxy::start(worker.address, HARMLESS));
        Self {
            runtime,
            place,
            worker,
            proxy,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy.address
    }

    pub fn until_state(&self, run_id: &str, state: &str) {
        let client = &self.worker.client;
        self.runtime.block_on(client.until_state(run_id, state));
    }

    fn plug(&self, is_out: bool) {
        let _inside = self.runtime.enter();
        self.proxy.pull_plug(is_out);
    }
}

fn remote(desk: &Desk) -> RemoteServices {
    RemoteServices {
        options: ClientOptions {
            first_wait: Duration::from_millis(300),
            longest_wait: Duration::from_secs(2),
            ..ClientOptions::default()
        },
        tokens: TokenStore {
            folder: Some(desk.folder.path().join("tokens")),
        },
        look_every: Some(Duration::from_millis(200)),
        ..RemoteServices::default()
    }
}

fn window(desk: &Desk, target: Option<PathBuf>) -> Harness<'static, FillAuditApp> {
    let services = Services {
        remote: remote(desk),
        ..desk.services()
    };
    Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, target, services))
}

fn drawn_window(desk: &Desk, size: Vec2, scale: f32) -> Harness<'static, FillAuditApp> {
    let services = Services {
        remote: remote(desk),
        ..desk.services()
    };
    Harness::builder()
        .with_size(size)
        .with_pixels_per_point(scale)
        .wgpu()
        .build_eframe(|cc| FillAuditApp::new(cc, None, services))
}

pub fn state<'a>(harness: &'a Harness<'static, FillAuditApp>) -> &'a AppState {
    harness.state().state()
}

/// Composes the run that the worker's tests make, on a worker.
pub fn compose(harness: &mut Harness<'static, FillAuditApp>, address: SocketAddr) {
    let mut form = ComposeForm {
        place: PlaceKind::Worker,
        worker: format!("http://{address}"),
        user: "u1".to_owned(),
        session_id: "s1".to_owned(),
        quants: "Q4_0, Q8_0".to_owned(),
        guidances: "2, 10".to_owned(),
        steps: "2".to_owned(),
        dilations: "2".to_owned(),
        long_side_px: 64,
        ..state(harness).compose.clone()
    };
    form.recipe.min_component_px = 2;
    form.recipe.close_px = 0.0;
    form.recipe.open_px = 0.0;
    form.recipe.feather_sigma_px = 1.0;
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::Compose)));
    harness.run_steps(3);
    assert_eq!(state(harness).compose_problems, []);
}

pub fn done(harness: &Harness<'static, FillAuditApp>) -> usize {
    let view = state(harness).run.as_ref();
    view.map_or(0, |view| view.run.done_count())
}

pub fn until_done(harness: &mut Harness<'static, FillAuditApp>, count: usize) {
    step_until(harness, &format!("{count} cells are here"), |harness| {
        done(harness) == count
    });
}

pub fn until_ended(harness: &mut Harness<'static, FillAuditApp>) {
    step_until(harness, "the run has ended", |harness| {
        state(harness).running.is_none()
    });
}

pub fn until_label(harness: &mut Harness<'static, FillAuditApp>, text: &str) {
    step_until(harness, &format!("it says: {text}"), |harness| {
        harness.query_by_label_contains(text).is_some()
    });
}

#[test]
fn a_run_on_a_worker_fills_the_same_grid() {
    let (desk, there) = (Desk::new(), There::new());
    let mut harness = window(&desk, None);
    compose(&mut harness, there.address());
    assert!(harness.query_by_label("4 cells").is_some());
    there.worker.script.hold(Stage::Load("Q8_0"));
    harness.get_by_label("Start run").click();
    until_done(&mut harness, 2);
    // Half of it is here: it is drawn as any run under way.
    until_label(&mut harness, "Q4_0_gs10, done");
    until_label(&mut harness, "2 of 4 cells, ");
    // Times on another GPU than production's are said to be such.
    until_label(&mut harness, "⚠ not production's L4");
    until_label(&mut harness, &format!("on http://{}", there.address()));
    there.worker.script.release();
    until_done(&mut harness, 4);
    until_ended(&mut harness);
    assert!(view(&harness).dir.join("REPORT.md").is_file());
    assert!(
        view(&harness)
            .dir
            .starts_with(desk.folder.path().join("runs"))
    );
    assert_eq!(there.worker.script.fills(), CELLS);
    let is_said = |text: &str| {
        state(&harness)
            .toasts
            .iter()
            .any(|toast| toast.text.contains(text))
    };
    assert!(is_said("is complete"), "{:?}", state(&harness).toasts);
}

#[test]
fn a_lost_connection_is_shown_with_its_time_and_the_run_is_picked_up_where_it_was() {
    let (desk, there) = (Desk::new(), There::new());
    let mut harness = drawn_window(&desk, vec2(1280.0, 800.0), 1.0);
    compose(&mut harness, there.address());
    there.worker.script.hold(Stage::Load("Q8_0"));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    until_done(&mut harness, 2);
    there.plug(true);
    until_label(&mut harness, "connection lost, trying again in");
    assert!(state(&harness).running.is_some(), "it is no end");
    keep_picture(&mut harness, "connection_lost_1280");
    there.worker.script.release();
    let run_id = view(&harness).run.run_id.to_string();
    there.until_state(&run_id, "done");
    assert_eq!(done(&harness), 2, "nothing can have come");
    there.plug(false);
    until_done(&mut harness, 4);
    until_ended(&mut harness);
    assert!(harness.query_by_label_contains("connection lost").is_none());
    assert_eq!(there.worker.script.fills(), CELLS, "none is repeated");
}

#[test]
fn a_window_that_is_closed_leaves_the_run_and_opening_its_folder_picks_it_up() {
    let (desk, there) = (Desk::new(), There::new());
    let mut harness = window(&desk, None);
    compose(&mut harness, there.address());
    there.worker.script.hold(Stage::Load("Q8_0"));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    until_done(&mut harness, 2);
    let dir = view(&harness).dir.clone();
    drop(harness);
    let run_id = dir.file_name().and_then(|name| name.to_str());
    let run_id = run_id.expect("a name").to_owned();
    assert_eq!(
        there.runtime.block_on(there.worker.client.status(&run_id))["state"],
        "running"
    );
    let mut harness = window(&desk, Some(dir));
    step_until(&mut harness, "it is under way again", |harness| {
        state(harness).running.is_some()
    });
    until_label(&mut harness, "loading Q8_0");
    assert_eq!(done(&harness), 2);
    there.worker.script.release();
    until_done(&mut harness, 4);
    until_ended(&mut harness);
    assert_eq!(there.worker.script.fills(), CELLS);
}

const CHILD: &str = "FILL_AUDIT_REMOTE_CHILD";

/// The child: a window that composes a run on the worker at the address, and watches it until it is killed.
#[test]
fn remote_child() {
    let Some(told) = std::env::var_os(CHILD) else {
        return;
    };
    let told = told.to_string_lossy().into_owned();
    let (address, folder) = told.split_once(' ').expect("an address and a folder");
    let desk = Desk::at(PathBuf::from(folder), "none");
    let mut harness = window(&desk, None);
    compose(&mut harness, address.parse().expect("an address"));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    loop {
        harness.step();
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_window_that_is_killed_loses_nothing_and_another_one_goes_on() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let (desk, there) = (Desk::new(), There::new());
    there.worker.script.hold(Stage::Load("Q8_0"));
    let told = format!("{} {}", there.address(), desk.folder.path().display());
    let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "window::remote::remote_child", "--nocapture"])
        .env(CHILD, told)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the child starts");
    let runs = desk.folder.path().join("runs");
    let copied = || {
        let runs = std::fs::read_dir(&runs).expect("the runs").flatten();
        let mut own = runs.map(|entry| entry.path().join("Q4_0_gs2.ron"));
        own.find(|document| document.is_file())
    };
    let limit = std::time::Instant::now() + support::LIMIT;
    let document = loop {
        if let Some(document) = copied() {
            break document;
        }
        assert!(std::time::Instant::now() < limit, "no cell was copied");
        std::thread::sleep(Duration::from_millis(5));
    };
    child.kill().expect("killed");
    let _ = child.wait();
    let before = std::fs::read(&document).expect("the document");
    let dir = document.parent().expect("the run").to_owned();
    there.worker.script.release();
    let mut harness = window(&desk, Some(dir));
    until_done(&mut harness, 4);
    until_ended(&mut harness);
    assert_eq!(there.worker.script.fills(), CELLS, "no cell is made twice");
    assert_eq!(std::fs::read(&document).expect("the document"), before);
}

#[test]
fn a_run_without_a_folder_yet_is_found_in_the_inbox() {
    let (desk, there) = (Desk::new(), There::new());
    let mut harness = window(&desk, None);
    compose(&mut harness, there.address());
    there.worker.script.hold(Stage::Load("Q4_0"));
    let busy = support::request("busy");
    there.runtime.block_on(there.worker.client.submit(&busy));
    there.until_state("busy", "running");
    harness.state_mut().send(Msg::Command(Command::StartRun));
    until_label(&mut harness, "waiting there, place 1");
    harness.get_by_label("Leave it").click();
    until_ended(&mut harness);
    drop(harness);

    let mut harness = window(&desk, None);
    until_label(&mut harness, "is made on http://");
    let waiting = state(&harness).remote.waiting.clone();
    let [run] = waiting.as_slice() else {
        panic!("{waiting:?}")
    };
    harness
        .get_by_label(&format!("Watch {}", run.run_id))
        .click();
    step_until(&mut harness, "it is watched", |harness| {
        state(harness).running.is_some()
    });
    there.worker.script.release();
    until_done(&mut harness, 4);
    until_ended(&mut harness);
    step_until(&mut harness, "nothing waits", |harness| {
        state(harness).remote.waiting.is_empty()
    });
}

#[test]
fn a_run_on_a_worker_is_cancelled_and_resumed_there() {
    let (desk, there) = (Desk::new(), There::new());
    let mut harness = window(&desk, None);
    compose(&mut harness, there.address());
    there.worker.script.hold(Stage::Load("Q8_0"));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    until_done(&mut harness, 2);
    until_label(&mut harness, "Cancel run");
    harness.get_by_label("Cancel run").click();
    until_ended(&mut harness);
    let run_id = view(&harness).run.run_id.to_string();
    there.until_state(&run_id, "cancelled");
    step_until(&mut harness, "where it was made is known", |harness| {
        let open = state(harness).remote.open.as_ref();
        open.is_some_and(|open| open.has_ended)
    });
    there.worker.script.release();
    until_label(&mut harness, "Resume run");
    harness.get_by_label("Resume run").click();
    until_done(&mut harness, 4);
    until_ended(&mut harness);
    assert_eq!(there.worker.script.fills(), CELLS);
}

#[test]
fn a_worker_says_what_it_computes_on_once_it_has_its_token() {
    let (desk, there) = (
        Desk::new(),
        There::with(Setup {
            token: Some(Token::new(TOKEN, "a test").expect("a token")),
            ..Setup::default()
        }),
    );
    let mut harness = drawn_window(&desk, vec2(1280.0, 800.0), 1.0);
    compose(&mut harness, there.address());
    until_label(&mut harness, "none is kept for this worker");
    harness.get_by_label("Ask the worker").click();
    until_label(&mut harness, "does not take the token");
    keep_picture(&mut harness, "compose_worker_refused_1280");
    harness.get_by_label("Token").focus();
    harness.run_steps(2);
    harness.get_by_label("Token").type_text(TOKEN);
    harness.run_steps(2);
    harness.get_by_label("Keep token").click();
    until_label(&mut harness, "readable by you only");
    harness.get_by_label("Ask the worker").click();
    until_label(&mut harness, "this is not production's GPU, an NVIDIA L4");
    keep_picture(&mut harness, "compose_worker_1280");
    harness.state_mut().send(Msg::Command(Command::StartRun));
    until_done(&mut harness, 4);
    until_ended(&mut harness);

    // Another window of the same user has it too; forgotten, nobody has.
    drop(harness);
    let mut harness = window(&desk, None);
    compose(&mut harness, there.address());
    until_label(&mut harness, "readable by you only");
    harness.get_by_label("Forget token").click();
    until_label(&mut harness, "none is kept for this worker");
    harness.state_mut().send(Msg::Command(Command::StartRun));
    step_until(&mut harness, "it is refused", |harness| {
        let is_told = |text: &str| text.contains("does not take the token");
        state(harness)
            .toasts
            .iter()
            .any(|toast| is_told(&toast.text))
    });
    assert_eq!(there.worker.script.fills(), CELLS);
}

#[test]
fn a_token_that_can_be_read_on_the_way_is_warned_of_however_the_address_is_written() {
    let desk = Desk::new();
    let mut harness = window(&desk, None);
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    compose(&mut harness, nowhere);
    for (worker, is_warned) in [
        ("gpu-box:8080", true),
        ("HTTP://gpu-box:8080", true),
        ("http://localhost.example.com", true),
        ("http://127.0.0.1:9", false),
        ("LOCALHOST:9", false),
        ("https://gpu-box", false),
    ] {
        let mut form = state(&harness).compose.clone();
        worker.clone_into(&mut form.worker);
        harness.state_mut().send(Msg::SetCompose(Box::new(form)));
        let token = Secret(TOKEN.to_owned());
        for msg in [RemoteMsg::TypeToken(token), RemoteMsg::KeepToken] {
            harness.state_mut().send(Msg::Remote(msg));
        }
        step_until(&mut harness, "the token is kept", |harness| {
            let known = state(harness).remote.token.as_ref();
            known.is_some_and(|known| known.worker == worker && known.place.is_some())
        });
        harness.run_steps(2);
        let warning = harness.query_by_label_contains("can be read on the way");
        assert_eq!(warning.is_some(), is_warned, "{worker}");
    }
}

#[test]
fn a_session_that_the_worker_has_not_is_told_with_what_is_needed() {
    let (desk, there) = (Desk::new(), There::new());
    let mut harness = window(&desk, None);
    compose(&mut harness, there.address());
    let mut form = state(&harness).compose.clone();
    form.session_id = "only-here".to_owned();
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    step_until(&mut harness, "it is told", |harness| {
        let is_told =
            |text: &str| text.contains("no session only-here") && text.contains("--sessions");
        state(harness)
            .toasts
            .iter()
            .any(|toast| is_told(&toast.text))
    });
    assert!(state(&harness).running.is_none());
    assert!(there.place.files("only-here", "").is_empty());
}

#[test]
fn the_compose_page_names_what_this_machine_computes_on() {
    let desk = Desk::new();
    for (size, scale, name) in [
        (vec2(1280.0, 800.0), 1.0, "compose_here_1280"),
        (vec2(1920.0, 1080.0), 2.0, "compose_here_3840"),
    ] {
        let mut harness = drawn_window(&desk, size, scale);
        harness
            .state_mut()
            .send(Msg::Command(Command::GoTo(Page::Compose)));
        step_until(&mut harness, "the device is described", |harness| {
            state(harness).remote.device.is_some()
        });
        harness.run_steps(2);
        let (device, words) = state(&harness).remote.device.clone().expect("described");
        assert_eq!(device, "cpu");
        assert!(harness.query_by_label(&words.label).is_some());
        keep_picture(&mut harness, name);
        for kind in ["A worker", "A Cloud Run job", "The Python service"] {
            harness.get_by_label(kind).click();
            harness.run_steps(3);
            let short = kind.rsplit(' ').next().unwrap_or_default();
            keep_picture(&mut harness, &format!("{name}_{short}"));
        }
    }
}

/// The Python service as far as it is seen from outside: it answers one long request when all is done, and
/// leaves its pictures in the bucket meanwhile.
fn python_service(desk: &Desk, runtime: &Runtime) -> SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bucket = shelf(desk).join("audit");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut text = String::new();
        while !text.ends_with('}') {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece).await.expect("a request");
            text.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        let body = text.split_once("\r\n\r\n").expect("a body").1;
        let asked: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let fields: Vec<&String> = asked.as_object().expect("an object").keys().collect();
        assert_eq!(
            fields,
            ["run_id", "session_id", "user_id"],
            "it knows no others"
        );
        let run_id = asked["run_id"].as_str().expect("a run").to_owned();
        let there = bucket.join(&run_id);
        // Long enough for the bucket to be looked into in vain.
        tokio::time::sleep(Duration::from_millis(700)).await;
        std::fs::create_dir_all(&there).expect("made");
        for name in ["Q4_0_gs2.png", "Q4_0_gs4.png"] {
            std::fs::copy(service_run().join(name), there.join(name)).expect("copied");
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        copy_folder(&service_run(), &there);
        let answer = serde_json::json!({"run_id": run_id, "report_url": null}).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream
            .write_all(format!("{head}{answer}").as_bytes())
            .await
            .expect("answered");
    });
    address
}

#[test]
fn the_python_service_can_be_the_worker_and_its_pictures_come_from_the_bucket() {
    let desk = Desk::new();
    let store = GatedStore::new(&shelf(&desk));
    std::fs::create_dir_all(shelf(&desk)).expect("made");
    let runtime = Runtime::new().expect("a runtime");
    let address = python_service(&desk, &runtime);
    let services = Services {
        remote: remote(&desk),
        ..with_bucket(&desk, &store)
    };
    let mut harness = Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, None, services));
    let form = ComposeForm {
        place: PlaceKind::Service,
        worker: format!("http://{address}"),
        user: "u1".to_owned(),
        session_id: "D1A406F5".to_owned(),
        ..state(&harness).compose.clone()
    };
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::Compose)));
    harness.run_steps(3);
    harness.get_by_label("Start run").click();
    until_label(&mut harness, "the service works since");
    until_done(&mut harness, 15);
    until_ended(&mut harness);
    assert_eq!(state(&harness).page, Page::Run);
    let is_bad = |toast: &&fill_audit::state::Toast| toast.is_error;
    let bad: Vec<_> = state(&harness).toasts.iter().filter(is_bad).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn a_run_of_the_python_service_is_watched_until_its_report_is_in_the_bucket() {
    let desk = Desk::new();
    let store = GatedStore::new(&shelf(&desk));
    let there = shelf(&desk).join("audit").join("asked-before");
    std::fs::create_dir_all(&there).expect("made");
    let runs = desk.folder.path().join("runs");
    let request = support::request("asked-before");
    let note = RemoteNote::new(
        Kind::Service,
        "http://127.0.0.1:9".to_owned(),
        RunId::new("asked-before").expect("a name"),
        serde_json::from_value(request).expect("a request"),
        jiff::Timestamp::now(),
    );
    note.write(&runs).expect("written");
    let ended = || {
        let note = RemoteNote::read(&runs, &note.run_id).expect("read");
        note.expect("a note").ended
    };
    let services = Services {
        remote: remote(&desk),
        ..with_bucket(&desk, &store)
    };
    let mut harness = Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, None, services));
    let watch = RemoteMsg::Watch(runs.join("asked-before"));
    harness.state_mut().send(Msg::Remote(watch));
    until_label(&mut harness, "its report is looked for in the bucket");
    // Looked at in vain, and again.
    for name in ["Q4_0_gs2.png", "Q4_0_gs4.png"] {
        std::fs::copy(service_run().join(name), there.join(name)).expect("copied");
    }
    until_done(&mut harness, 2);
    assert_eq!(ended(), None, "it still works");
    assert!(state(&harness).running.is_some());
    copy_folder(&service_run(), &there);
    until_done(&mut harness, 15);
    until_ended(&mut harness);
    assert_eq!(ended().as_deref(), Some("done"));

    // After the longest time that it may take, nothing is waited for.
    let old = RemoteNote {
        run_id: RunId::new("long-ago").expect("a name"),
        asked_at: "2026-01-01T00:00:00Z".to_owned(),
        ..note
    };
    old.write(&runs).expect("written");
    let watch = RemoteMsg::Watch(runs.join("long-ago"));
    harness.state_mut().send(Msg::Remote(watch));
    step_until(&mut harness, "it is given up", |_| {
        let note = RemoteNote::read(&runs, &old.run_id).expect("read");
        note.is_some_and(|note| note.ended.is_some())
    });
}
