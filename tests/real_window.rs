//! The real program in a real window under Xvfb, by keys alone: reject two, pass two, compare blind,
//! approve with overrides, and find the settings file.

use fill_audit::audit::journal::read_all;
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::model::approved::disagreements;
use fill_audit::model::review::ReviewState;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process that ends with the test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has(program: &str) -> bool {
    Command::new("which")
        .arg(program)
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn wait_until(what: &str, mut is_met: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(120);
    while !is_met() {
        assert!(Instant::now() < limit, "not within 120 s: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Starts Xvfb on a display of its own choice, and says which.
fn start_display(folder: &Path) -> (Guard, String) {
    let number_file = folder.join("display");
    let out = std::fs::File::create(&number_file).expect("made");
    let server = Command::new("Xvfb")
        .args([
            "-displayfd",
            "1",
            "-screen",
            "0",
            "1280x800x24",
            "-nolisten",
            "tcp",
        ])
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .expect("Xvfb starts");
    let guard = Guard(server);
    let mut number = String::new();
    wait_until("Xvfb names its display", || {
        number = std::fs::read_to_string(&number_file).unwrap_or_default();
        number.ends_with('\n')
    });
    (guard, format!(":{}", number.trim()))
}

struct Desk {
    folder: tempfile::TempDir,
    run: PathBuf,
    display: String,
    _server: Guard,
    _manager: Guard,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = folder.path().join("runs/20260222-025304");
        std::fs::create_dir_all(&run).expect("made");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/service-run/audit/20260222-025304");
        for entry in std::fs::read_dir(fixture).expect("the fixture").flatten() {
            std::fs::copy(entry.path(), run.join(entry.file_name())).expect("copied");
        }
        let (server, display) = start_display(folder.path());
        let manager = Command::new("openbox")
            .env("DISPLAY", &display)
            .env("HOME", folder.path())
            .stderr(Stdio::null())
            .spawn()
            .expect("openbox starts");
        Self {
            folder,
            run,
            display,
            _server: server,
            _manager: Guard(manager),
        }
    }

    fn open_window(&self) -> Guard {
        let runtime = self.folder.path().join("runtime");
        std::fs::create_dir_all(&runtime).expect("made");
        let program = Command::new(env!("CARGO_BIN_EXE_fill-audit"))
            .arg("view")
            .arg(&self.run)
            .arg("--phase1")
            .arg(self.phase1())
            .args(["--reviewer", "ada"])
            .env("DISPLAY", &self.display)
            .env_remove("WAYLAND_DISPLAY")
            .env("XDG_DATA_HOME", self.folder.path().join("data"))
            .env("XDG_RUNTIME_DIR", runtime)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let guard = Guard(program);
        wait_until("the window is there", || {
            self.xdotool(&["search", "--onlyvisible", "--name", "^fill-audit$"])
                .is_some_and(|out| !out.trim().is_empty())
        });
        // Keys go to the window that has the focus; the first "seen" in the journal says that it draws.
        let _ = self.xdotool(&[
            "search",
            "--sync",
            "--onlyvisible",
            "--name",
            "^fill-audit$",
            "windowactivate",
            "--sync",
        ]);
        wait_until("the baseline was seen", || self.journal().contains("Seen"));
        guard
    }

    fn xdotool(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("xdotool")
            .args(arguments)
            .env("DISPLAY", &self.display)
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn key(&self, key: &str) {
        let _ = self.xdotool(&["key", "--clearmodifiers", key]);
    }

    /// Presses a key until the journal holds as many lines with a word as are expected.
    fn say(&self, key: &str, word: &str, expected: usize) {
        self.key(key);
        wait_until(
            &format!("{key} is in the journal as {word} number {expected}"),
            || {
                self.journal()
                    .lines()
                    .filter(|line| line.contains(word))
                    .count()
                    >= expected
            },
        );
    }

    fn phase1(&self) -> PathBuf {
        self.folder.path().join("phase1.toml")
    }

    fn journal(&self) -> String {
        std::fs::read_to_string(self.run.join("review-ada.ron")).unwrap_or_default()
    }

    fn keep_picture(&self, name: &str) {
        if let Some(folder) = std::env::var_os("FILL_AUDIT_PICTURES") {
            let path = PathBuf::from(folder).join(name);
            let _ = Command::new("import")
                .args(["-window", "root"])
                .arg(path)
                .env("DISPLAY", &self.display)
                .status();
        }
    }
}

#[test]
fn keys_alone_reject_pass_compare_blind_and_approve() {
    let missing: Vec<&str> = ["Xvfb", "xdotool", "openbox"]
        .into_iter()
        .filter(|it| !has(it))
        .collect();
    if !missing.is_empty() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{missing:?} should have been installed by tests/run"
        );
        #[expect(clippy::print_stdout, reason = "says what was skipped")]
        {
            println!("skipped: {missing:?} not installed; tests/run installs them");
        }
        return;
    }
    let desk = Desk::new();
    let window = desk.open_window();
    desk.say("1", "Reject", 1);
    desk.say("x", "Reject", 2);
    desk.say("p", "Pass", 1);
    desk.say("p", "Pass", 2);
    desk.keep_picture("real_judged.png");
    desk.say("b", "BlindBegin", 1);
    desk.say("1", "BlindVote", 1);
    desk.keep_picture("real_blind.png");
    wait_until("the last round has a vote and the names are shown", || {
        // One pair, perhaps shown again with sides swapped: a tie for whatever is left, then reveal.
        desk.key("0");
        desk.key("Return");
        desk.journal().contains("BlindReveal")
    });
    desk.key("Escape");
    desk.say("ctrl+z", "Undo", 1);
    desk.say("ctrl+shift+z", "Redo", 1);
    // Approve the cell that is selected now: each reason is typed, Tab goes to the next.
    desk.key("a");
    desk.keep_picture("real_approve.png");
    wait_until(
        "every reason is answered and phase1.toml is written",
        || {
            let _ = desk.xdotool(&["type", "--delay", "20", "known from the pipeline team"]);
            desk.key("Tab");
            desk.key("ctrl+Return");
            desk.phase1().exists()
        },
    );
    desk.keep_picture("real_approved.png");
    let text = std::fs::read_to_string(desk.phase1()).expect("read");
    let settings = fill_audit::model::approved::ApprovedSettings::parse(&text, "phase1.toml")
        .expect("a settings file");
    assert_eq!(settings.approval.approved_by, "ada");
    assert!(!settings.approval.overrides.is_empty());
    wait_until("the approval is in the journal", || {
        desk.journal().contains("Approved")
    });
    // The file says what the run says, and the journal recorded these very bytes.
    let run = run_folder::open(&desk.run, Verification::Full).expect("the run");
    assert_eq!(disagreements(&settings, &run), Vec::<String>::new());
    let digits = fill_audit::audit::hash::sha256(text.as_bytes());
    assert!(desk.journal().contains(&digits), "{digits}");
    let review = ReviewState::replay(read_all(&desk.run).expect("journals").events);
    let approval = review.approvals().last().expect("an approval");
    assert_eq!(settings.approval.cell, run.cell_name(&approval.cell));
    assert!(settings.approval.cells_seen >= 4, "{text}");
    drop(window);
}
