//! `approve` and `check` on a folder.

use super::folder::{Script, at, cell, weights_bytes, who, write, write_cell};
use super::window_state::bytes_of_the_window;
use fill_audit::audit::approval::{self, ApprovalError};
use fill_audit::audit::journal::{Journal, Sink as _, read_all};
use fill_audit::cli::approve::{self, ApproveArgs, Surroundings};
use fill_audit::cli::check::{self, CheckArgs};
use fill_audit::model::approved::staging::Overrides;
use fill_audit::model::approved::{ApprovedSettings, ReasonCode, Request, draft};
use fill_audit::model::review::{Action, EventId, ReviewState};
use fill_audit::model::run::Run;
use std::io::BufRead;
use std::path::{Path, PathBuf};

struct Place {
    dir: tempfile::TempDir,
    run: Run,
}

impl Place {
    /// A finished run of which Jane has seen everything and passed `Q8_0_gs4`.
    fn reviewed() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("run")).unwrap();
        let run = write(&dir.path().join("run"));
        let place = Self { dir, run };
        let mut script = Script::default();
        let keys: Vec<_> = place.run.cells.keys().cloned().collect();
        for cell in keys {
            place.append(&script.act("jane", Action::Seen { cell }));
        }
        place.append(&script.pass("jane", cell(&place.run, "Q8_0_gs4")));
        place
    }

    fn append(&self, event: &fill_audit::model::review::Event) {
        Journal::new(&self.run_dir(), &event.reviewer)
            .append(event)
            .unwrap();
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("phase1.toml")
    }

    fn args(&self) -> ApproveArgs {
        ApproveArgs {
            run: self.run_dir(),
            cell: "Q8_0_gs4".to_owned(),
            reviewer: "jane".to_owned(),
            note: Some("leaves continue".to_owned()),
            overrides: Vec::new(),
            dilate_px: None,
            out: self.out(),
            yes: true,
        }
    }

    fn approve(&self, args: &ApproveArgs) -> (anyhow::Result<()>, String) {
        self.approve_with(args, 100, None)
    }

    #[expect(clippy::unused_self, reason = "reads as something done in a place")]
    fn approve_with(
        &self,
        args: &ApproveArgs,
        second: i64,
        answers: Option<&mut dyn BufRead>,
    ) -> (anyhow::Result<()>, String) {
        let surroundings = Surroundings {
            now: at(second),
            event_id: EventId::from_bits(1_000 + second as u128),
            answers,
        };
        let mut out = Vec::new();
        let result = approve::run_with(args, surroundings, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    fn check(&self, run: bool, models: Option<&Path>) -> (anyhow::Result<()>, String) {
        let args = CheckArgs {
            file: self.out(),
            run: run.then(|| self.run_dir()),
            models: models.map(Path::to_owned),
        };
        let mut out = Vec::new();
        let result = check::run_with(&args, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for dir in [self.dir.path().to_owned(), self.run_dir()] {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    found.push((path.clone(), std::fs::read(path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }
}

#[test]
fn an_approval_is_written_recorded_reported_and_checks_out() {
    let place = Place::reviewed();
    let (result, out) = place.approve(&place.args());
    result.unwrap();
    assert!(out.contains("+quant = \"Q8_0\""), "{out}");
    assert!(out.contains("is written"), "{out}");

    let text = std::fs::read_to_string(place.out()).unwrap();
    let settings = ApprovedSettings::parse(&text, "phase1.toml").unwrap();
    assert_eq!(settings.approval.cell, "Q8_0_gs4");
    assert_eq!(
        (settings.approval.cells_seen, settings.approval.cells_total),
        (4, 4)
    );
    assert_eq!(settings.approval.note, "leaves continue");

    let state = ReviewState::replay(read_all(&place.run_dir()).unwrap().events);
    let approval = state.approvals().last().unwrap();
    assert_eq!(
        approval.sha256,
        fill_audit::audit::hash::sha256(text.as_bytes())
    );
    assert_eq!(approval.cell, cell(&place.run, "Q8_0_gs4"));

    let report = std::fs::read_to_string(place.run_dir().join("REPORT.md")).unwrap();
    assert!(
        report.starts_with("# Audit\n\n## Results\n\nfour cells\n\n## Recommended"),
        "{report}"
    );
    assert!(report.contains("| Quant | Q8_0 |"), "{report}");
    assert!(!report.contains("User fills this in"), "{report}");

    let models = place.dir.path().join("models/snapshots/abc");
    std::fs::create_dir_all(&models).unwrap();
    std::fs::write(
        models.join("flux1-fill-dev-Q8_0.gguf"),
        weights_bytes("Q8_0"),
    )
    .unwrap();
    let (result, out) = place.check(true, Some(&place.dir.path().join("models")));
    result.unwrap();
    for line in [
        "every value agrees with the run",
        "is the approved picture",
        "are the approved weights",
    ] {
        assert!(out.contains(line), "{out}");
    }
}

#[test]
fn the_command_writes_the_bytes_that_the_window_stages() {
    let place = Place::reviewed();
    place.approve(&place.args()).0.unwrap();
    let written = std::fs::read_to_string(place.out()).unwrap();
    let settings = place.dir.path().join("no-file-yet.toml");
    let of_the_window = bytes_of_the_window(&place.run_dir(), &settings, 100);
    assert_eq!(of_the_window, written);
}

#[test]
fn the_former_file_is_kept_with_its_time_and_replaced_values_are_named() {
    let place = Place::reviewed();
    place.approve(&place.args()).0.unwrap();
    let former = std::fs::read(place.out()).unwrap();
    let args = ApproveArgs {
        cell: "Q8_0_gs10".to_owned(),
        note: None,
        ..place.args()
    };
    let (result, out) = place.approve_with(&args, 200, None);
    result.unwrap();
    let kept = place.dir.path().join("phase1.20261121T100140Z.toml");
    assert!(out.contains("phase1.20261121T100140Z.toml"), "{out}");
    assert!(
        out.contains("-guidance_scale = 4.0") && out.contains("+guidance_scale = 10.0"),
        "{out}"
    );
    assert_eq!(std::fs::read(&kept).unwrap(), former);
    let text = std::fs::read_to_string(place.out()).unwrap();
    let settings = ApprovedSettings::parse(&text, "phase1.toml").unwrap();
    assert_eq!(settings.replaces.quant.as_str(), "Q8_0");
    assert_eq!(settings.replaces.guidance_scale.to_string(), "4");
}

#[test]
fn held_back_means_that_no_byte_changes() {
    let place = Place::reviewed();
    let key = cell(&place.run, "Q8_0_gs4");
    write_cell(&place.run_dir(), &place.run, &key, 2, "NVIDIA A100");
    let mut script = Script::after(500);
    script.act("max", Action::Seen { cell: key.clone() });
    place.append(&script.reject("max", key, &["residue"]));
    let before = place.files();
    let (result, out) = place.approve(&place.args());
    let error = result.unwrap_err().to_string();
    assert!(error.contains("held back"), "{error}");
    assert!(out.contains("--override failure_on_cell=\"why\""), "{out}");
    assert!(
        out.contains("--override gpu_not_production=\"why\""),
        "{out}"
    );
    assert!(out.contains("made on NVIDIA A100 (sm_89)"), "{out}");
    assert_eq!(place.files(), before);

    // One answered of two is not enough; both are.
    let one = vec![(ReasonCode::GpuNotProduction, "a trial".to_owned())];
    let args = ApproveArgs {
        overrides: one.clone(),
        ..place.args()
    };
    assert!(place.approve(&args).0.is_err());
    assert_eq!(place.files(), before);
    let both = [
        one,
        vec![(
            ReasonCode::FailureOnCell,
            "max looked at the old one".to_owned(),
        )],
    ]
    .concat();
    let (result, _) = place.approve(&ApproveArgs {
        overrides: both,
        ..place.args()
    });
    result.unwrap();
    let text = std::fs::read_to_string(place.out()).unwrap();
    let settings = ApprovedSettings::parse(&text, "x").unwrap();
    let written: Vec<&str> = settings
        .approval
        .overrides
        .iter()
        .map(|one| one.because.as_str())
        .collect();
    assert_eq!(written, ["max looked at the old one", "a trial"]);
}

#[test]
fn nothing_is_written_without_a_yes() {
    let place = Place::reviewed();
    let before = place.files();
    let args = ApproveArgs {
        yes: false,
        ..place.args()
    };
    let (result, out) = place.approve_with(&args, 100, Some(&mut &b"n\n"[..]));
    assert!(result.unwrap_err().to_string().contains("not confirmed"));
    assert!(out.contains("[y/N]"), "{out}");
    let (result, _) = place.approve_with(&args, 100, None);
    assert!(result.unwrap_err().to_string().contains("--yes"));
    assert_eq!(place.files(), before);
    place
        .approve_with(&args, 100, Some(&mut &b"y\n"[..]))
        .0
        .unwrap();
    assert!(place.out().exists());
}

#[test]
fn a_settings_file_that_cannot_be_read_is_never_overwritten() {
    let place = Place::reviewed();
    for broken in ["schema = 1\n[model", "schema = 9\n", ""] {
        std::fs::write(place.out(), broken).unwrap();
        let before = place.files();
        let (result, _) = place.approve(&place.args());
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains("not overwritten") && error.contains("phase1.toml"),
            "{error}"
        );
        assert_eq!(place.files(), before);
    }
}

#[test]
fn a_file_that_changed_since_it_was_shown_is_not_overwritten() {
    let place = Place::reviewed();
    let review = ReviewState::replay(read_all(&place.run_dir()).unwrap().events);
    let (key, jane) = (cell(&place.run, "Q8_0_gs4"), who("jane"));
    let request = Request {
        run: &place.run,
        cell: &key,
        review: &review,
        reviewer: &jane,
        approved_by: "jane",
        at: at(100),
        note: None,
        recipe: None,
        image_sha256: None,
        current: None,
    };
    let staged = draft(request).unwrap().stage(&Overrides::new()).unwrap();
    std::fs::write(place.out(), "someone else's").unwrap();
    let error = approval::write_settings(&place.out(), &staged).unwrap_err();
    assert!(matches!(error, ApprovalError::Changed { .. }), "{error}");
    assert_eq!(
        std::fs::read_to_string(place.out()).unwrap(),
        "someone else's"
    );
    std::fs::remove_file(place.out()).unwrap();
    assert_eq!(
        approval::write_settings(&place.out(), &staged).unwrap(),
        None
    );
    assert_eq!(std::fs::read_to_string(place.out()).unwrap(), staged.text());
}

#[cfg(unix)]
#[test]
fn a_linked_settings_file_stays_a_link() {
    let place = Place::reviewed();
    let elsewhere = place.dir.path().join("run/settings-elsewhere.toml");
    place.approve(&place.args()).0.unwrap();
    std::fs::rename(place.out(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.out()).unwrap();
    let args = ApproveArgs {
        cell: "Q8_0_gs10".to_owned(),
        ..place.args()
    };
    place.approve_with(&args, 300, None).0.unwrap();
    assert!(place.out().is_symlink());
    let text = std::fs::read_to_string(&elsewhere).unwrap();
    assert!(text.contains("cell = \"Q8_0_gs10\""), "{text}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named_and_the_journal_stays_as_it_was() {
    let place = Place::reviewed();
    let before = place.files();
    let out = place.dir.path().join("gone/phase1.toml");
    let (result, _) = place.approve(&ApproveArgs {
        out,
        ..place.args()
    });
    let error = result.unwrap_err().to_string();
    assert!(error.contains("gone/phase1.toml"), "{error}");
    assert_eq!(place.files(), before);
}

#[test]
fn an_unknown_cell_is_answered_with_those_there_are() {
    let place = Place::reviewed();
    let (result, _) = place.approve(&ApproveArgs {
        cell: "Q5_K_S_gs4".to_owned(),
        ..place.args()
    });
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains("Q5_K_S_gs4") && error.contains("Q8_0_gs10"),
        "{error}"
    );
}

#[test]
fn another_dilation_than_the_cells_needs_a_reason() {
    let place = Place::reviewed();
    let args = ApproveArgs {
        dilate_px: Some(12.0),
        ..place.args()
    };
    let (result, out) = place.approve(&args);
    assert!(result.is_err());
    assert!(
        out.contains("made at a dilation of 10 px, but 12 px is staged"),
        "{out}"
    );
}

#[test]
fn check_finds_what_was_changed_since() {
    let place = Place::reviewed();
    place.approve(&place.args()).0.unwrap();
    let good = std::fs::read_to_string(place.out()).unwrap();
    std::fs::write(place.out(), good.replace("seed = 42", "seed = 41")).unwrap();
    let (result, out) = place.check(true, None);
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("2 values do not agree")
    );
    assert!(
        out.contains("inference.seed is 41 in the file but 42 in the run"),
        "{out}"
    );
    assert!(out.contains("no journal of the run records"), "{out}");

    // A value that no run knows is still not what was approved.
    let text = good.replace("\nnote = \"", "\nnote = \"better: ");
    assert_ne!(text, good);
    std::fs::write(place.out(), text).unwrap();
    let (result, out) = place.check(true, None);
    assert!(result.is_err());
    assert!(out.contains("ok: every value agrees with the run"), "{out}");
    assert!(out.contains("no journal of the run records"), "{out}");

    std::fs::write(place.out(), &good).unwrap();
    let picture = place.run_dir().join("Q8_0_gs4.png");
    std::fs::copy(place.run_dir().join("Q4_0_gs4.png"), &picture).unwrap();
    let (result, out) = place.check(true, None);
    assert!(result.is_err());
    assert!(out.contains("the picture's SHA-256 is"), "{out}");

    let models = place.dir.path().join("models");
    std::fs::create_dir(&models).unwrap();
    let (result, out) = place.check(false, Some(&models));
    assert!(result.is_err());
    assert!(out.contains("flux1-fill-dev-Q8_0.gguf is not in"), "{out}");
    std::fs::write(models.join("flux1-fill-dev-Q8_0.gguf"), "other weights").unwrap();
    let (result, out) = place.check(false, Some(&models));
    assert!(result.is_err());
    assert!(out.contains("the weights' SHA-256 is"), "{out}");

    std::fs::write(place.out(), good.replace("[model]", "[modle]")).unwrap();
    let error = format!("{:#}", place.check(false, None).0.unwrap_err());
    assert!(
        error.contains("modle") && error.contains("line 4"),
        "{error}"
    );
}
