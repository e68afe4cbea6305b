//! The real binary with a tiny model: started, asked, killed, stopped politely, started again.

use crate::following::{Follower, cells_of, copies, has_waited};
use crate::proxy::{HARMLESS, Proxy};
use crate::support::{Client, LIMIT, Place, TOKEN, recipe};
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::model::run::Run;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The tiny models that the pipeline is held against.
fn models() -> PathBuf {
    let bundle = Path::new("tiny-fill").join("bundle");
    match std::env::var_os("FILL_AUDIT_FIXTURES") {
        Some(other) => Path::new(&other).join(bundle),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures")
            .join(bundle),
    }
}

pub fn program(place: &Place, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
    command
        .current_dir(place.dir.path())
        .arg("serve")
        .args(args)
        .env("XDG_CACHE_HOME", place.path("cache"))
        .env("HOME", place.dir.path())
        .env("FILL_AUDIT_MODELS", models())
        .env_remove("FILL_AUDIT_TOKEN")
        .stdin(Stdio::null());
    command
}

/// A worker of its own process.
pub struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
    pub greeting: String,
    pub client: Client,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(place: &Place) -> Self {
        Self::spawn(program(place, &["--listen", "127.0.0.1:0"]))
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        while !greeting.contains("warning: ") {
            assert_ne!(out.read_line(&mut greeting).unwrap(), 0, "{greeting}");
        }
        let first = greeting.lines().next().unwrap();
        let address = first.strip_prefix("listening on http://").unwrap();
        let client = Client::new(address.parse().unwrap());
        Self {
            child,
            out,
            greeting,
            client,
        }
    }

    fn address(&self) -> SocketAddr {
        let address = self.client.base.strip_prefix("http://").unwrap();
        address.parse().unwrap()
    }

    /// Asks it to stop; its exit code and what it said last.
    fn terminate(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut last = String::new();
        self.out.read_to_string(&mut last).unwrap();
        (status.code(), last)
    }
}

/// Three quants at two guidances, two steps each, of the mask's box at 64 pixels.
fn request(run_id: &str) -> Value {
    json!({
        "user_id": "u1", "session_id": "s1", "run_id": run_id,
        "matrix": {"quants": ["Q4_0", "Q8_0"], "guidances": [2, 10, 30], "steps": [2]},
        "recipe": recipe(),
        "inference": {"crop": {"long_side_px": 64, "margin": 0.25}}
    })
}

/// The documents of finished cells.
fn documents(place: &Place, run_id: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = place.files(run_id, ".ron");
    files.remove("run.ron");
    files
}

/// The cells' pictures and what the model was given; the contact sheet has times and the run's name.
fn pictures(place: &Place, run_id: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = place.files(run_id, ".png");
    files.remove(fill_audit::audit::CONTACT_SHEET);
    files
}

/// The same run by the command line, as `typed`.
fn typed(place: &Place) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
    let output = command
        .current_dir(place.dir.path())
        .args(
            "run --session sessions/u1/s1 --run-id typed --quant Q4_0,Q8_0 --guidance 2,10,30 \
             --steps 2 --crop 64 --margin 0.25 --despeck 2 --close 0 --open 0 --dilate 2 --feather 1"
                .split_whitespace(),
        )
        .env("XDG_CACHE_HOME", place.path("cache"))
        .env("FILL_AUDIT_MODELS", models())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[tokio::test]
async fn the_whole_audit_through_the_program_is_the_command_lines() {
    let place = Place::new();
    let worker = Process::start(&place);
    assert!(
        worker.greeting.contains("computing on "),
        "{}",
        worker.greeting
    );
    assert!(worker.greeting.contains("NVIDIA L4"), "{}", worker.greeting);
    let client = &worker.client;
    client.submit(&request("served")).await;
    let events = client.events("served", None).await.rest().await;
    assert_eq!(events.last().unwrap().data["state"], "done");
    let previews = events
        .iter()
        .filter(|event| event.data["preview"].is_string());
    assert_eq!(previews.count(), 0, "two steps are fewer than four");
    let run = client.get("/audit/served").await.json;
    for cell in run["cells"].as_array().unwrap() {
        assert!(cell["wall_secs"].as_f64().unwrap() > 0.0);
        let picture = client.get(cell["image_url"].as_str().unwrap()).await;
        assert_eq!(picture.header("content-type"), "image/png");
    }

    typed(&place);
    let (served, typed) = (pictures(&place, "served"), pictures(&place, "typed"));
    assert_eq!(served.len(), 6 * 2 + 4);
    assert!(served == typed, "the same pictures, bit for bit");
    let (code, last) = worker.terminate();
    assert_eq!(code, Some(0));
    assert!(last.contains("stopped"), "{last}");
}

#[tokio::test]
async fn killed_in_the_middle_and_started_again_it_repeats_no_finished_cell() {
    let place = Place::new();
    let mut before = BTreeMap::new();
    let mut kills = 0;
    {
        let worker = Process::start(&place);
        worker.client.submit(&longer("whole")).await;
        worker.client.until_state("whole", "done").await;
        worker.client.submit(&longer("killed")).await;
        worker.client.submit(&longer("later")).await;
        // Dropped: killed at once, as by a power failure.
        let finished = |status: &Value| status["cells"]["done"].as_u64() >= Some(1);
        worker.client.until("killed", "begun", finished).await;
    }
    let first = documents(&place, "killed").len();
    assert!((1..6).contains(&first), "{first} cells at the first kill");
    // Killed again and again, each time after one more cell.
    loop {
        let now = documents(&place, "killed");
        for (name, document) in &before {
            assert!(
                now.get(name) == Some(document),
                "{name} was lost or made again"
            );
        }
        before = now;
        let count = before.len() as u64;
        let worker = Process::start(&place);
        let status = worker
            .client
            .until("killed", "further", |status| {
                status["state"] == "done" || status["cells"]["done"].as_u64() > Some(count)
            })
            .await;
        if status["state"] == "done" {
            break;
        }
        kills += 1;
        assert!(kills < 20, "it never ends");
    }
    let worker = Process::start(&place);
    worker.client.until_state("later", "done").await;
    let after = documents(&place, "killed");
    assert_eq!(after.len(), 6);
    for (name, document) in &before {
        assert!(after.get(name) == Some(document), "{name} was made again");
    }
    let whole = pictures(&place, "whole");
    for run_id in ["killed", "later"] {
        assert!(
            pictures(&place, run_id) == whole,
            "{run_id}: the same pictures"
        );
    }
}

#[tokio::test]
async fn asked_to_stop_it_ends_well_and_the_run_goes_on_later() {
    let place = Place::new();
    let worker = Process::start(&place);
    let mut long = request("long");
    // Far more than a test waits for.
    long["matrix"]["steps"] = json!([900]);
    worker.client.submit(&long).await;
    let stepping = |status: &Value| status["cell"]["step"].as_u64() >= Some(1);
    worker.client.until("long", "stepping", stepping).await;
    let events = worker.client.events("long", None).await;
    let (code, last) = worker.terminate();
    assert_eq!(code, Some(0));
    assert!(last.contains("goes on at the next start"), "{last}");
    let events = events.rest().await;
    assert!(
        events.iter().all(|event| event.name != "end"),
        "it has not ended"
    );

    let worker = Process::start(&place);
    worker.client.until("long", "stepping", stepping).await;
    let answer = worker.client.delete("/audit/long").await;
    assert_eq!(answer.status, 202);
    worker.client.until_state("long", "cancelled").await;
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fails(mut command: Command) -> String {
    let output: Output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn it_does_not_listen_where_others_reach_it_without_a_token() {
    let place = Place::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        let error = fails(program(&place, &["--listen", address]));
        assert!(error.contains("needs a token"), "{error}");
        assert!(error.contains("--token-file"), "{error}");
    }
    assert!(!place.path("runs").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_token_comes_from_a_file_that_is_private_or_from_the_environment() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let file = place.path("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let args = ["--listen", "127.0.0.1:0", "--token-file", "token"];
    let error = fails(program(&place, &args));
    assert!(error.contains("chmod 600"), "{error}");
    assert!(!error.contains(TOKEN), "{error}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut in_environment = program(&place, &["--listen", "127.0.0.1:0"]);
    in_environment.env("FILL_AUDIT_TOKEN", TOKEN);
    for command in [program(&place, &args), in_environment] {
        let mut worker = Process::spawn(command);
        assert_eq!(worker.client.get("/gpu").await.status, 401);
        worker.client.token = Some(TOKEN.to_owned());
        assert_eq!(worker.client.get("/gpu").await.status, 200);
    }
    let mut empty = program(&place, &["--listen", "127.0.0.1:0"]);
    empty.env("FILL_AUDIT_TOKEN", "");
    let error = fails(empty);
    assert!(error.contains("empty"), "{error}");
}

#[tokio::test]
async fn a_second_worker_on_the_same_runs_is_refused() {
    let place = Place::new();
    let _worker = Process::start(&place);
    let error = fails(program(&place, &["--listen", "127.0.0.1:0"]));
    assert!(error.contains("another worker uses this folder"), "{error}");
}

#[test]
fn weights_that_are_missing_are_said_at_the_start() {
    let place = Place::new();
    let nowhere = place.path("nowhere").display().to_string();
    let args = ["--listen", "127.0.0.1:0", "--models", &nowhere];
    let error = fails(program(&place, &args));
    assert!(error.contains("nowhere"), "{error}");
}

/// The whole run of this file, with more steps, so that there is time to be killed in.
fn longer(run_id: &str) -> Value {
    let mut request = request(run_id);
    request["matrix"]["steps"] = json!([12]);
    request
}

/// The copy's pictures are those of a run on the worker.
fn assert_copied(place: &Place, run_id: &str, whole: &str) {
    let theirs = pictures(place, whole);
    assert_eq!(theirs.len(), 6 * 2 + 4);
    for (name, bytes) in theirs {
        let ours = std::fs::read(copies(place).join(run_id).join(&name));
        assert!(ours.is_ok_and(|ours| ours == bytes), "{name} is another");
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_in_mid_run_is_followed_on_by_its_client() {
    let place = Place::new();
    let worker = Process::start(&place);
    worker.client.submit(&longer("whole")).await;
    worker.client.until_state("whole", "done").await;
    let proxy = Proxy::start(worker.address(), HARMLESS).await;
    let follower = Follower::start(&place, proxy.address, &longer("followed"));
    follower
        .until("a cell", |events| !cells_of(events).is_empty())
        .await;
    // As by a power failure.
    drop(worker);
    follower.until("waiting", has_waited).await;
    let before = documents(&place, "followed");
    let worker = Process::start(&place);
    proxy.aim(worker.address());
    let events = follower.done().await;
    let cells = cells_of(&events);
    let once: BTreeSet<&String> = cells.iter().collect();
    assert_eq!((cells.len(), once.len()), (6, 6), "{cells:?}");
    let after = documents(&place, "followed");
    for (name, document) in &before {
        assert!(after.get(name) == Some(document), "{name} was made again");
    }
    assert_copied(&place, "followed", "whole");
}

#[tokio::test]
async fn the_whole_audit_by_way_of_a_client_is_the_command_lines() {
    let place = Place::new();
    let worker = Process::start(&place);
    Follower::start(&place, worker.address(), &request("r1"))
        .done()
        .await;
    typed(&place);
    assert_copied(&place, "r1", "typed");
    let opened = |folder: &Path| run_folder::open(folder, Verification::Full).unwrap();
    let copy = opened(&copies(&place).join("r1"));
    let typed = opened(&place.path("runs/typed"));
    let cells = |run: &Run| run.cells.keys().cloned().collect::<Vec<_>>();
    assert_eq!(cells(&copy), cells(&typed));
    assert_eq!((copy.done_count(), copy.warnings), (6, typed.warnings));
}
