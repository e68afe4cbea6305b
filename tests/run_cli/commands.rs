//! The subcommands with the real binary: what they print, write and end with.

use crate::{Place, files, quick, words};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn show(place: &Place, run: &str) -> Value {
    serde_json::from_str(&place.ok(&["show", run, "--json"])).unwrap()
}

fn states(shown: &Value) -> Vec<(&str, &str)> {
    let cells = shown["cells"].as_array().unwrap();
    cells
        .iter()
        .map(|cell| {
            (
                cell["file"].as_str().unwrap(),
                cell["state"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_partial_run_goes_on_grows_and_is_shown() {
    let place = Place::new();
    let mut limited = quick("mine");
    limited.extend(["--max-cells".to_owned(), "2".to_owned()]);
    let printed = place.ok(&words(&limited));
    assert!(printed.contains("2 made; 4 left"), "{printed}");
    let shown = show(&place, "runs/mine");
    assert_eq!(
        states(&shown),
        [
            ("Q4_0_gs2.png", "done"),
            ("Q4_0_gs10.png", "done"),
            ("Q4_0_gs30.png", "missing"),
            ("Q8_0_gs2.png", "missing"),
            ("Q8_0_gs10.png", "missing"),
            ("Q8_0_gs30.png", "missing"),
        ]
    );
    let first = &shown["cells"][0];
    assert_eq!(first["key"]["seed"], 42);
    assert_eq!(first["key"]["dilate_px"], 2.0);
    assert!(
        first["key"]["prompt"]
            .as_str()
            .unwrap()
            .starts_with("empty ground")
    );
    assert!(first["wall_secs"].as_f64().unwrap() > 0.0);
    assert_eq!(first["gpu_millis"], Value::Null);
    assert_eq!(shown["cells"][1]["baseline"], "other_steps");

    let printed = place.ok(&["run", "--resume", "mine"]);
    assert!(printed.contains("4 made; the run is complete"), "{printed}");
    let sweep = "run --extend mine --quant Q8_0 --guidance 10 --steps 1,3 --prompt grass";
    let planned: Vec<&str> = sweep.split(' ').collect();
    let mut dry = planned.clone();
    dry.push("--dry-run");
    let printed = place.ok(&dry);
    assert!(printed.contains("Q8_0_gs10_s3_p1"), "{printed}");
    assert!(!place.path("runs/mine/plan-1.ron").exists());
    place.ok(&planned);
    place.ok(&planned);
    assert!(!place.path("runs/mine/plan-2.ron").exists());
    let shown = show(&place, "mine");
    assert_eq!(states(&shown).len(), 8);
    assert!(states(&shown).contains(&("Q8_0_gs10_s3_p1.png", "done")));
    let table = place.ok(&["show", "mine"]);
    assert!(
        table.contains("8 of 8 done") && table.contains("★"),
        "{table}"
    );

    let report = std::fs::read_to_string(place.path("runs/mine/REPORT.md")).unwrap();
    for expected in [
        "| Q4_0 ★ | 10 | 2 |",
        "[view](Q8_0_gs10_s1_p1.png)",
        "## Recommended Settings for Phase 1",
    ] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    place.ok(&["report", "mine", "--contact-sheet"]);
    assert!(place.path("runs/mine/contact_sheet.png").exists());
}

#[test]
fn a_dry_run_says_how_long_it_may_take_and_how_it_knows() {
    let place = Place::new();
    let mut made = quick("mine");
    made.extend(["--max-cells".to_owned(), "2".to_owned()]);
    let mut dry = quick("mine");
    dry.push("--dry-run".to_owned());
    let time = || {
        let printed = place.ok(&words(&dry));
        let line = printed
            .lines()
            .find(|line| line.starts_with("time: about "));
        line.unwrap_or_else(|| panic!("no time: {printed}"))
            .to_owned()
    };
    let guess = time();
    assert!(
        guess.contains(" (a guess: nothing was measured on ") && guess.ends_with(" yet)"),
        "{guess}"
    );
    place.ok(&words(&made));
    let known = time();
    assert!(known.contains(" (from 2 earlier cells on "), "{known}");
}

#[test]
fn the_same_command_without_a_name_finds_its_run() {
    let place = Place::new();
    let mut args = quick("x");
    args.truncate(args.len() - 2);
    args.extend(["--max-cells".to_owned(), "5".to_owned()]);
    place.ok(&words(&args));
    place.ok(&words(&args));
    let printed = place.ok(&words(&args));
    assert!(
        printed.contains("all 6 cells are there already"),
        "{printed}"
    );
    assert_eq!(std::fs::read_dir(place.path("runs")).unwrap().count(), 1);
}

#[test]
fn ctrl_c_keeps_what_is_finished_and_says_so_in_the_exit_code() {
    let place = Place::new();
    let mut args = quick("stopped");
    // Hundreds of steps: it does not end by itself.
    let steps = args.iter().position(|arg| arg == "--steps").unwrap();
    args[steps + 1] = "1,900".to_owned();
    let mut child = place
        .program()
        .args(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let first = place.path("runs/stopped/Q4_0_gs2.ron");
    let deadline = Instant::now() + Duration::from_mins(2);
    while !first.exists() {
        assert!(Instant::now() < deadline, "no cell was finished");
        std::thread::sleep(Duration::from_millis(10));
    }
    // While it runs, no other process may write the same run.
    let error = place.fails(&words(&args), 1);
    assert!(
        error.contains("another fill-audit is writing this run"),
        "{error}"
    );
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let shown = show(&place, "stopped");
    assert_eq!(states(&shown)[0], ("Q4_0_gs2.png", "done"));
    assert!(
        states(&shown)
            .iter()
            .all(|(_, state)| matches!(*state, "done" | "missing"))
    );
    assert!(!place.path("runs/stopped/REPORT.md").exists());
}

#[test]
fn a_cell_that_fails_is_recorded_and_the_exit_code_says_so() {
    let place = Place::new();
    // A model folder whose Q8_0 is cut off.
    let folder = place.path("models");
    copy(&crate::models(), &folder);
    let q8 = files(&folder, "Q8_0.gguf").into_keys().next().unwrap();
    let bytes = std::fs::read(folder.join(&q8)).unwrap();
    std::fs::write(folder.join(&q8), &bytes[..bytes.len() / 2]).unwrap();
    let mut args = quick("partly");
    args.extend(["--models".to_owned(), folder.display().to_string()]);
    // What can be seen beforehand is refused as a whole, and named.
    let error = place.fails(&words(&args), 1);
    assert!(
        error.contains("truncated") && error.contains(&q8),
        "{error}"
    );
    assert!(!place.path("runs").exists());
    let mut dry = args.clone();
    dry.push("--dry-run".to_owned());
    let printed = place.ok(&words(&dry));
    assert!(
        printed.contains("would be refused: ") && printed.contains("truncated"),
        "{printed}"
    );
    // Values that are no numbers cannot be seen in headers: the file ends in them.
    let mut broken = bytes.clone();
    let end = broken.len();
    broken[end - 2048..].fill(0xff);
    std::fs::write(folder.join(&q8), &broken).unwrap();
    let error = place.fails(&words(&args), 3);
    assert!(error.contains("Q8_0_gs2  failed:"), "{error}");
    let shown = show(&place, "partly");
    let failed: Vec<&Value> = shown["cells"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|cell| cell["state"] == "failed")
        .collect();
    assert_eq!(failed.len(), 3);
    assert!(
        failed[0]["error"].as_str().unwrap().contains("not finite"),
        "{}",
        failed[0]
    );
}

#[test]
fn memory_is_planned_before_anything_is_loaded() {
    let place = Place::new();
    let mut args = quick("planned");
    args.push("--dry-run".to_owned());
    let printed = place.ok(&words(&args));
    for part in [
        "memory:",
        "embedding the prompts: ",
        "Q4_0 denoising: ",
        "Q8_0 decoding the picture: ",
        " GB are free",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    args.extend(["--memory-gb".to_owned(), "0.001".to_owned()]);
    let printed = place.ok(&words(&args));
    assert!(
        printed.contains("would be refused: Q4_0: out of memory"),
        "{printed}"
    );
    args.retain(|arg| arg != "--dry-run");
    let error = place.fails(&words(&args), 1);
    for part in [
        "Q4_0",
        "Q8_0",
        " needs ",
        "1.0 MB are free",
        "another device",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!place.path("runs").exists());
    // A run tells it too.
    let mut args = quick("planned");
    args.extend(["--max-cells".to_owned(), "1".to_owned()]);
    let output = place.call(&words(&args));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("memory: Q4_0 denoising: "), "{told}");
    // What it is made on comes first, and that its times mean nothing for production comes once.
    let first = told.lines().next().unwrap_or_default();
    assert!(first.starts_with("computing on "), "{told}");
    assert_eq!(told.matches("NVIDIA L4").count(), 1, "{told}");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // Not `fs::copy`: the fixtures may be read-only.
            std::fs::write(target, std::fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    let place = Place::new();
    let session = quick("x");
    let at = session.iter().position(|arg| arg == "--session").unwrap();
    let session = session[at + 1].as_str();
    for (args, code, expected) in [
        (vec!["run"], 2, "--session"),
        (
            vec!["run", "--session", "nowhere"],
            1,
            "no such session folder: nowhere",
        ),
        (
            vec!["run", "--session", session, "--guidance", "x"],
            1,
            "--guidance \"x\"",
        ),
        (
            vec!["run", "--session", session, "--steps", "0"],
            1,
            "--steps \"0\"",
        ),
        (
            vec!["run", "--session", session, "--size", "100"],
            1,
            "multiple of 16",
        ),
        (
            vec!["run", "--session", session, "--device", "abacus"],
            1,
            "abacus",
        ),
        (
            vec!["run", "--session", session, "--models", "nowhere"],
            1,
            "ae.safetensors",
        ),
        (
            vec![
                "run",
                "--session",
                session,
                "--quant",
                "Q2_K",
                "--size",
                "64",
                "--open",
                "0",
                "--dilate",
                "2",
            ],
            1,
            "Q2_K",
        ),
        (
            vec!["run", "--session", session, "--size", "64"],
            1,
            "--override-gates",
        ),
        (vec!["run", "--resume", "nowhere"], 1, "no such folder"),
        (
            vec!["run", "--resume", "x", "--extend", "y"],
            2,
            "cannot be used with",
        ),
        (
            vec!["run", "--session", session, "--max-cells", "0"],
            1,
            "at least 1",
        ),
        (vec!["view", "nowhere"], 1, "no such run"),
        (vec!["fly"], 1, "--help lists the subcommands"),
        (vec!["show", "--fly"], 2, "unexpected argument"),
    ] {
        let error = place.fails(&args, code);
        assert!(error.contains(expected), "{args:?}: {error}");
    }
    assert!(
        !place.path("runs").exists(),
        "nothing was left by what was refused"
    );
}

#[test]
fn a_hostile_run_document_is_refused_by_line_and_left_as_it_is() {
    let place = Place::new();
    let mut limited = quick("mine");
    limited.extend(["--max-cells".to_owned(), "1".to_owned()]);
    place.ok(&words(&limited));
    let path = place.path("runs/mine/run.ron");
    let good = std::fs::read_to_string(&path).unwrap();
    for (bad, expected) in [
        (good.replace("schema: 1", "schema: 7"), "newer"),
        (good.replace("quants: [", "quants: [\"../x\", "), "line"),
        (
            good.replace("guidances: [", "guidances: [NaN, "),
            "guidance",
        ),
        (good.replace("matmul:", "matmull:"), "matmull"),
        (good[..good.len() / 2].to_owned(), "line"),
        ("(".repeat(100_000), "run.ron"),
    ] {
        std::fs::write(&path, &bad).unwrap();
        for args in [
            vec!["show", "mine"],
            vec!["run", "--resume", "mine"],
            words(&limited),
        ] {
            let error = place.fails(&args, 1);
            assert!(
                error.contains(expected) && error.contains("run.ron"),
                "{args:?}: {error}"
            );
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
    }
}

#[test]
fn the_demo_without_a_display_leaves_a_contact_sheet_and_one_sentence() {
    let place = Place::new();
    let session = crate::root().join("tests/fixtures/service-run");
    let models = crate::models();
    let printed = place.ok(&[
        "demo",
        "--session",
        session.to_str().unwrap(),
        "--models",
        models.to_str().unwrap(),
        "--steps",
        "1",
    ]);
    assert!(printed.contains("There is no display"), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let run = std::fs::read_dir(place.path("runs"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    for name in ["contact_sheet.png", "REPORT.md", "run.ron"] {
        assert!(run.join(name).exists(), "{name}");
    }
    let shown = show(&place, run.to_str().unwrap());
    assert_eq!(states(&shown).len(), 9);
    assert!(states(&shown).iter().all(|(_, state)| *state == "done"));
}

#[test]
fn the_demo_as_it_is_documented_fills_nine_cells_of_the_sample_session() {
    let place = Place::new();
    // Nothing but the word: the sample session, the embedded model, its steps and its crop.
    let output = place
        .program()
        .env_remove("FILL_AUDIT_MODELS")
        .arg("demo")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let runs = std::fs::read_dir(place.path("runs")).unwrap();
    let runs: Vec<PathBuf> = runs.map(|entry| entry.unwrap().path()).collect();
    let [run] = runs.as_slice() else {
        panic!("one run: {runs:?}");
    };
    let sheet = Path::new("runs")
        .join(run.file_name().unwrap())
        .join("contact_sheet.png");
    let sentence = format!(
        "There is no display to open a window on, so the contact sheet of the run is in {}.\n",
        sheet.display()
    );
    assert_eq!(printed, sentence);
    let shown = show(&place, run.to_str().unwrap());
    let cells = |guidance: &str| {
        ["Q4_0", "Q5_K_S", "Q8_0"].map(|quant| format!("{quant}_gs{guidance}.png"))
    };
    let mut expected: Vec<String> = ["2", "10", "30"].iter().flat_map(|g| cells(g)).collect();
    expected.sort();
    let mut made: Vec<&str> = states(&shown).iter().map(|(file, _)| *file).collect();
    made.sort_unstable();
    assert_eq!(made, expected);
    assert!(states(&shown).iter().all(|(_, state)| *state == "done"));
    assert_eq!(shown["session"], "leash-on-grass");
    // Each is a picture of its own, of the photograph's size.
    let original = std::fs::read(run.join("image.png")).unwrap();
    let size = |png: &[u8]| png[16..24].to_vec();
    let pictures: BTreeSet<Vec<u8>> = expected
        .iter()
        .map(|file| std::fs::read(run.join(file)).unwrap())
        .collect();
    assert_eq!(pictures.len(), 9);
    assert!(pictures.iter().all(|png| size(png) == size(&original)));
    for name in ["contact_sheet.png", "REPORT.md", "run.ron"] {
        assert!(run.join(name).exists(), "{name}");
    }
}

#[test]
fn help_names_every_subcommand_and_the_exit_codes() {
    let place = Place::new();
    let help = place.ok(&["--help"]);
    for word in [
        "view",
        "demo",
        "run",
        "show",
        "report",
        "approve",
        "check",
        "mask",
        "list",
        "models",
        "pull",
        "push",
        "serve",
        "job",
        "doctor",
        "Exit codes",
        "130",
    ] {
        assert!(help.contains(word), "{word}");
    }
    assert!(place.ok(&["--version"]).starts_with("fill-audit "));
}

#[test]
fn the_doctor_names_this_machines_accelerations_and_measures_them() {
    let place = Place::new();
    // Without a bucket it fails in the end, but says what it can.
    let output = place.call(&["doctor"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "ok       cpu ",
        "there        integer kernels: ",
        "absent       flash attention: ",
        "ok       weights      bundle: ",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let models = crate::models();
    let mut args = vec!["doctor", "--measure", "--models", models.to_str().unwrap()];
    args.extend("--quant Q8_0 --size 32 --repeats 2".split(' '));
    let printed = place.ok(&args);
    for part in [
        "measured: one step at 32 x 32 px with Q8_0",
        "median of 2",
        "weights dequantized at load: ",
        "integer kernels: ",
        "times as fast; largest difference",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let error = place.fails(&["doctor", "--measure", "--size", "33"], 1);
    assert!(error.contains("multiple of 16"), "{error}");
}
