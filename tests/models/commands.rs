//! Listing, checking and fetching, with what can go wrong on the way.

use crate::hub::{BASE, FakeHub};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home of its own, and the hub that it knows.
struct Home {
    dir: tempfile::TempDir,
    hub: FakeHub,
}

/// Of the embedded model; large, so that it is redirected.
const Q8: &str = "flux1-fill-tiny-Q8_0.gguf";

impl Home {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            hub: FakeHub::start(),
        }
    }

    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fill-audit"));
        command
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"))
            .env("HF_ENDPOINT", &self.hub.address)
            .env("NO_PROXY", "127.0.0.1");
        for name in [
            "HF_HOME",
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "HF_TOKEN_PATH",
            "FILL_AUDIT_MODELS",
            "http_proxy",
            "HTTP_PROXY",
            "ALL_PROXY",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        command
    }

    fn call(&self, args: &[&str]) -> Output {
        let quiet = self.program().stdin(Stdio::null()).args(args).output();
        quiet.unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, args: &[&str]) -> String {
        let output = self.call(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        error
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache/huggingface/hub")
    }

    /// Files of the cache that end so, wherever they are.
    fn cached(&self, ending: &str) -> Vec<PathBuf> {
        fn collect(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, ending, found);
                } else if path.to_string_lossy().ends_with(ending) {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        collect(&self.cache(), ending, &mut found);
        found
    }
}

const PULL: [&str; 5] = ["models", "pull", "--accept-licence", "--quant", "Q4_0,Q8_0"];

#[test]
fn what_is_pulled_is_found_checked_and_runs_without_naming_a_folder() {
    let home = Home::new();
    let printed = home.ok(&PULL);
    for part in [
        "flux-1-dev-non-commercial-license",
        "to be accepted on the hub too",
        "MB to fetch into",
        "flux1-fill-tiny-Q4_0.gguf",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    // Not asked for: the base repository's transformer, another quantization, pictures.
    for absent in ["Q5_K_S.gguf", "flux1-fill-tiny.safetensors", ".jpg"] {
        assert_eq!(home.cached(absent), Vec::<PathBuf>::new());
    }
    let listed = home.ok(&["models", "list"]);
    for part in [
        BASE,
        "3 of autoencoder, CLIP, T5",
        "Q4_0",
        "Q8_0",
        "in the file",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
    let cache = home.cache().display().to_string();
    let checked = home.ok(&["models", "check", &cache]);
    assert!(!checked.contains("ERROR"), "{checked}");

    let session = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/service-run");
    let session = session.display().to_string();
    let mut run = vec!["run", "--session", &session, "--quiet"];
    run.extend(
        "--quant Q8_0 --guidance 2 --steps 1 --size 64 --despeck 2 --open 0 --dilate 2 --feather 1"
            .split(' '),
    );
    let folder = home.ok(&run);
    let document = std::fs::read_to_string(home.dir.path().join(folder.trim()).join("run.ron"));
    assert!(document.unwrap().contains(BASE));

    // The second time everything is there, and nothing is asked for but the descriptions.
    let before = home.hub.asked.lock().unwrap().len();
    let again = home.ok(&["models", "pull", "--quant", "Q4_0,Q8_0"]);
    assert!(again.contains("0.0 MB to fetch"), "{again}");
    assert_eq!(home.hub.asked.lock().unwrap().len(), before);
}

#[test]
fn nothing_is_fetched_before_the_licences_are_accepted() {
    let home = Home::new();
    let error = home.fails(&["models", "pull"]);
    assert!(error.contains("--accept-licence"), "{error}");
    assert!(home.hub.asked.lock().unwrap().is_empty());
    let mut child = home
        .program()
        .args(["models", "pull", "--quant", "Q4_0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"yes\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(home.cached("Q4_0.gguf").len(), 1);
}

#[test]
fn a_broken_connection_is_taken_up_where_it_stopped() {
    let home = Home::new();
    home.hub.mood.lock().unwrap().cuts.insert(Q8.to_owned(), 2);
    home.ok(&PULL);
    let starts = home.hub.starts_of(Q8);
    assert_eq!(starts.len(), 3, "{starts:?}");
    assert!(
        starts[0] == 0 && starts[1] > 0 && starts[2] > starts[1],
        "{starts:?}"
    );
    assert_eq!(home.cached(".part"), Vec::<PathBuf>::new());
}

#[test]
fn a_fetch_that_gave_up_leaves_its_part_to_the_next_call() {
    let home = Home::new();
    home.hub.mood.lock().unwrap().cuts.insert(Q8.to_owned(), 5);
    let error = home.fails(&PULL);
    assert!(
        error.contains(Q8) && error.contains("goes on where it stopped"),
        "{error}"
    );
    let parts = home.cached(".part");
    assert_eq!(parts.len(), 1, "{parts:?}");
    let begun = parts[0].metadata().unwrap().len();
    let asked = home.hub.starts_of(Q8).len();
    home.ok(&PULL);
    assert_eq!(home.hub.starts_of(Q8)[asked..], [begun]);
    let cache = home.cache().display().to_string();
    home.ok(&["models", "check", &cache]);
}

#[test]
fn what_does_not_have_the_announced_hash_is_removed() {
    let home = Home::new();
    home.hub.mood.lock().unwrap().damaged = Some(Q8.to_owned());
    let error = home.fails(&PULL);
    assert!(
        error.contains(Q8) && error.contains("SHA-256") && error.contains("removed"),
        "{error}"
    );
    assert_eq!(home.cached("Q8_0.gguf"), Vec::<PathBuf>::new());
    home.hub.mood.lock().unwrap().damaged = None;
    home.ok(&PULL);
    assert_eq!(home.cached("Q8_0.gguf").len(), 1);
}

#[test]
fn a_file_that_changed_on_disk_is_fetched_again() {
    let home = Home::new();
    home.ok(&PULL);
    let path = home.cached("Q8_0.gguf").pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    home.ok(&PULL);
    bytes[middle] ^= 1;
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_gated_repository_says_what_to_do() {
    let home = Home::new();
    home.hub.mood.lock().unwrap().token = Some("hf_right".to_owned());
    let error = home.fails(&PULL);
    for part in ["401", "accept the licence on", BASE, "HF_TOKEN"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let with = |token: &str| {
        let mut command = home.program();
        let output = command.env("HF_TOKEN", token).args(PULL).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!error.contains(token), "the token is shown: {error}");
        (output.status.success(), error)
    };
    let (_, error) = with("hf_wrong");
    assert!(error.contains("does not know the token"), "{error}");
    home.hub.mood.lock().unwrap().has_no_access = true;
    let (_, error) = with("hf_right");
    assert!(
        error.contains("403") && error.contains("that account"),
        "{error}"
    );
    home.hub.mood.lock().unwrap().has_no_access = false;
    let (is_well, error) = with("hf_right");
    assert!(is_well, "{error}");
}

#[test]
fn what_the_hub_does_not_have_is_named() {
    let home = Home::new();
    let error = home.fails(&["models", "pull", "--base", "nobody/nothing"]);
    assert!(
        error.contains("nobody/nothing") && error.contains("404"),
        "{error}"
    );
    let error = home.fails(&["models", "pull", "--quant", "Q5_K_M"]);
    assert!(
        error.contains("no quantization Q5_K_M") && error.contains("Q5_K_S.gguf"),
        "{error}"
    );
    let mut offline = home.program();
    offline.env("HF_ENDPOINT", "http://127.0.0.1:9");
    let output = offline.args(PULL).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("cannot be reached") && error.contains("HF_ENDPOINT"),
        "{error}"
    );
}

#[test]
fn a_model_with_faults_is_checked_with_an_error_for_each() {
    let home = Home::new();
    let folder = home.dir.path().join("model");
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-fill");
    std::fs::create_dir(&folder).unwrap();
    for name in ["ae.safetensors", Q8] {
        std::fs::copy(assets.join(name), folder.join(name)).unwrap();
    }
    let bytes = std::fs::read(folder.join(Q8)).unwrap();
    std::fs::write(folder.join(Q8), &bytes[..bytes.len() / 2]).unwrap();
    let folder = folder.display().to_string();
    let output = home.call(&["models", "check", &folder]);
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "text_encoder",
        "T5's tokenizer",
        "truncated",
        "fetch it again",
        "ok ",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let error = home.fails(&["models", "check", &home.cache().display().to_string()]);
    assert!(error.contains("ae.safetensors"), "{error}");
    // The embedded model is always there; the user's cache may be empty.
    let listed = home.ok(&["models", "list"]);
    assert!(listed.contains("tiny-fill"), "{listed}");
}
