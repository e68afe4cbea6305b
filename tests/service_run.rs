//! A run as the Python service leaves it, in the shapes that it may have: `fill-audit show --json`.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/service-run/audit/20260222-025304")
}

/// A copy of the fixture that may be changed.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixture()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn report(&self) -> String {
        std::fs::read_to_string(self.path("REPORT.md")).unwrap()
    }

    fn write_report(&self, text: &str) {
        std::fs::write(self.path("REPORT.md"), text).unwrap();
    }

    fn show(&self) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_fill-audit"))
            .arg("show")
            .arg(self.0.path())
            .arg("--json")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn cell<'a>(shown: &'a Value, quant: &str, guidance: f64) -> &'a Value {
    shown["cells"]
        .as_array()
        .unwrap()
        .iter()
        .find(|cell| cell["key"]["quant"] == quant && cell["key"]["guidance"] == guidance)
        .unwrap_or_else(|| panic!("no cell {quant} {guidance} in {shown}"))
}

fn warnings(shown: &Value) -> String {
    let list = shown["warnings"].as_array().unwrap();
    list.iter()
        .map(|text| text.as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_services_run_opens_whole_and_what_it_does_not_say_is_null() {
    let shown = Folder::new().show();
    assert_eq!(shown["run_id"], "20260222-025304");
    assert_eq!(shown["session"], "D1A406F5");
    assert_eq!(shown["environment"]["device"], "NVIDIA L4");
    assert_eq!(shown["environment"]["compute_capability"], "8.9");
    assert_eq!(shown["warnings"], serde_json::json!([]));
    assert_eq!(shown["cells"].as_array().unwrap().len(), 15);
    let shown = cell(&shown, "Q4_0", 10.0);
    assert_eq!(
        *shown,
        serde_json::json!({
            "key": {"quant": "Q4_0", "guidance": 10.0, "steps": 28, "seed": null, "prompt": null,
                    "dilate_px": null},
            "file": "Q4_0_gs10.png",
            "state": "done",
            "wall_secs": 45.0,
            "gpu_millis": 44100.0,
            "error": null,
            "baseline": "exact",
        })
    );
}

#[test]
fn missing_and_damaged_pictures_are_told_apart_and_keep_their_times() {
    let folder = Folder::new();
    std::fs::remove_file(folder.path("Q8_0_gs30.png")).unwrap();
    let bytes = std::fs::read(folder.path("Q8_0_gs20.png")).unwrap();
    std::fs::write(folder.path("Q8_0_gs20.png"), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(folder.path("Q8_0_gs10.png"), "").unwrap();
    std::fs::write(folder.path("Q8_0_gs4.png"), "not a picture").unwrap();
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    std::fs::write(folder.path("Q8_0_gs2.png"), damaged).unwrap();
    let shown = folder.show();
    let missing = cell(&shown, "Q8_0", 30.0);
    assert_eq!(
        (&missing["state"], &missing["wall_secs"]),
        (&"missing".into(), &49.8.into())
    );
    for guidance in [20.0, 10.0, 4.0, 2.0] {
        let cell = cell(&shown, "Q8_0", guidance);
        assert_eq!(cell["state"], "unreadable", "{guidance}");
        assert!(cell["error"].as_str().unwrap().contains("png"), "{cell}");
        assert!(cell["gpu_millis"].is_number());
    }
    let warnings = warnings(&shown);
    for name in [
        "Q8_0_gs30",
        "Q8_0_gs20.png",
        "Q8_0_gs10.png",
        "Q8_0_gs4.png",
        "Q8_0_gs2.png",
    ] {
        assert!(warnings.contains(name), "{name} in {warnings}");
    }
}

#[test]
fn numbers_come_in_the_forms_that_people_write() {
    let folder = Folder::new();
    let report = folder.report().replace(
        "| Q4_0 | 10 | 28 | 45.0 | 44100 |",
        "| Q4_0 | 10.0 | 28 | 45.2s | 44,100 |",
    );
    folder.write_report(&report);
    let shown = folder.show();
    let cell = cell(&shown, "Q4_0", 10.0);
    assert_eq!(
        (&cell["wall_secs"], &cell["gpu_millis"]),
        (&45.2.into(), &44100.0.into())
    );
    assert_eq!(shown["warnings"], serde_json::json!([]));
    assert_eq!(shown["cells"].as_array().unwrap().len(), 15);
}

#[test]
fn crlf_other_columns_and_escaped_pipes_change_nothing() {
    let plain = Folder::new().show();
    let folder = Folder::new();
    let mut text = String::new();
    for line in folder.report().lines() {
        // Image first, an extra column with an escaped pipe in the middle, and Quant last.
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let line = match cells.as_slice() {
            ["", quant, guidance, steps, wall, gpu, image, ""] => {
                let note = if quant.starts_with("Quant") {
                    "Notes"
                } else if quant.starts_with('-') {
                    "---"
                } else {
                    r"left \| right"
                };
                format!("| {image} | {gpu} | {note} | {steps} | {wall} | {guidance} | {quant} |")
            }
            _ => line.to_owned(),
        };
        text.push_str(&line);
        text.push_str("\r\n");
    }
    assert!(text.contains(r"| left \| right |"));
    folder.write_report(&text);
    assert_eq!(folder.show(), plain);
}

#[test]
fn failed_rows_unknown_quants_and_unreadable_rows_are_kept_apart() {
    let folder = Folder::new();
    std::fs::rename(folder.path("Q8_0_gs30.png"), folder.path("Q9_XL_gs30.png")).unwrap();
    let report = folder
        .report()
        .lines()
        .map(|line| {
            if line.starts_with("| Q8_0 | 30 |") {
                line.replace("Q8_0", "Q9_XL")
            } else if line.starts_with("| Q8_0 | 20 |") {
                r"| Q8_0 | 20 | 28 | FAILED | - | CUDA error: out \| of memory |".to_owned()
            } else if line.starts_with("| Q8_0 | 10 |") {
                line.replace("| 10 |", "| ten |")
            } else {
                line.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("\n");
    folder.write_report(&report);
    std::fs::remove_file(folder.path("Q8_0_gs20.png")).unwrap();
    let shown = folder.show();
    let unknown = cell(&shown, "Q9_XL", 30.0);
    assert_eq!(
        (&unknown["state"], &unknown["wall_secs"]),
        (&"done".into(), &49.8.into())
    );
    let failed = cell(&shown, "Q8_0", 20.0);
    assert_eq!(failed["state"], "failed");
    assert_eq!(failed["error"], "CUDA error: out | of memory");
    assert_eq!(failed["wall_secs"], Value::Null);
    let lost = cell(&shown, "Q8_0", 10.0);
    assert_eq!(
        (&lost["state"], &lost["wall_secs"]),
        (&"done".into(), &Value::Null)
    );
    assert!(warnings(&shown).contains("\"ten\""), "{}", warnings(&shown));
}

#[test]
fn rounded_names_and_other_steps_find_their_pictures() {
    let folder = Folder::new();
    std::fs::rename(folder.path("Q8_0_gs2.png"), folder.path("Q8_0_gs10.0.png")).unwrap();
    std::fs::remove_file(folder.path("Q8_0_gs10.png")).unwrap();
    std::fs::copy(
        folder.path("Q8_0_gs4.png"),
        folder.path("Q8_0_gs10_s50.png"),
    )
    .unwrap();
    let extra = "| Q8_0 | 10 | 50 | 88.0 | 87000 | [view](x/Q8_0_gs10_s50.png?y) |\n";
    let report = folder
        .report()
        .lines()
        .filter(|line| !line.starts_with("| Q8_0 | 2 |"))
        .map(|line| line.replace("Q8_0_gs10.png", "Q8_0_gs10.0.png") + "\n")
        .collect::<String>()
        .replace("\n## torch", &format!("\n## Bonus\n\n| Quant | Guidance | Steps | Wall-clock (s) | GPU time (ms) | Image |\n|---|---|---|---|---|---|\n{extra}\n## torch"));
    folder.write_report(&report);
    // A row at 4.5, which the service names gs4, beside no row at 4.
    let report = folder.report().replace("| Q4_0 | 4 |", "| Q4_0 | 4.5 |");
    folder.write_report(&report);
    let shown = folder.show();
    assert_eq!(cell(&shown, "Q4_0", 4.5)["state"], "done");
    assert_eq!(cell(&shown, "Q4_0", 4.5)["file"], "Q4_0_gs4.png");
    let cells = shown["cells"].as_array().unwrap();
    let at = |steps: u32| {
        cells
            .iter()
            .find(|cell| {
                cell["key"]["quant"] == "Q8_0"
                    && cell["key"]["guidance"] == 10.0
                    && cell["key"]["steps"] == steps
            })
            .unwrap()
    };
    assert_eq!(
        (&at(28)["state"], &at(28)["file"]),
        (&"done".into(), &"Q8_0_gs10.0.png".into())
    );
    assert_eq!(
        (&at(50)["state"], &at(50)["wall_secs"]),
        (&"done".into(), &88.0.into())
    );
}

#[test]
fn pictures_alone_are_a_run_at_28_steps_with_nothing_known() {
    let folder = Folder::new();
    std::fs::remove_file(folder.path("REPORT.md")).unwrap();
    let shown = folder.show();
    assert_eq!(
        (&shown["session"], &shown["environment"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(shown["cells"].as_array().unwrap().len(), 15);
    let cell = cell(&shown, "Q5_K_S", 4.0);
    assert_eq!(
        (&cell["state"], &cell["key"]["steps"]),
        (&"done".into(), &28.into())
    );
    assert_eq!(
        (&cell["wall_secs"], &cell["key"]["seed"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn a_report_alone_and_strange_bytes_open_too() {
    let folder = Folder::new();
    for entry in std::fs::read_dir(folder.0.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "png") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut bytes = folder.report().into_bytes();
    bytes.extend([0xff, 0xfe, b'\n']);
    std::fs::write(folder.path("REPORT.md"), bytes).unwrap();
    std::fs::write(folder.path("holiday.png"), "x").unwrap();
    let shown = folder.show();
    let states: Vec<&Value> = shown["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["state"])
        .collect();
    assert!(states.len() == 15 && states.iter().all(|state| **state == "missing"));
    let warnings = warnings(&shown);
    assert!(
        warnings.contains("UTF-8") && warnings.contains("holiday.png"),
        "{warnings}"
    );
}

#[test]
fn a_folder_without_a_run_says_what_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    for (path, expected) in [
        (dir.path().to_owned(), "neither run.ron, nor REPORT.md"),
        (dir.path().join("nowhere"), "there is no such folder"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_fill-audit"))
            .arg("show")
            .arg(&path)
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            error.contains(expected) && error.contains(path.to_str().unwrap()),
            "{error}"
        );
    }
}
