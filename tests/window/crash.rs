//! Killing the program at any moment loses nothing that was on screen: a child that draws reports each
//! verdict from the frame that showed it, and is killed at random moments of a scripted review.

use super::harness::{Desk, step_until, view};
use eframe::egui::Key;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use fill_audit::audit::journal;
use fill_audit::model::cell::{CellDefaults, CellKey};
use fill_audit::model::ids::ReviewerId;
use fill_audit::model::review::ReviewState;
use fill_audit::model::review::event::Judgement;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const CHILD: &str = "FILL_AUDIT_CRASH_CHILD";
const KILLS: usize = 200;

/// A run of four cells of 8 by 8 pixels, as the Python service leaves one: quick to open.
fn small_run(folder: &Path) -> PathBuf {
    let run = folder.join("runs").join("small");
    std::fs::create_dir_all(&run).expect("made");
    for name in ["Q4_0_gs2", "Q4_0_gs10", "Q8_0_gs2", "Q8_0_gs10"] {
        let picture = image::RgbImage::from_pixel(8, 8, image::Rgb([90, 120, 60]));
        picture
            .save(run.join(format!("{name}.png")))
            .expect("written");
    }
    run
}

/// What is drawn of each cell's verdict, by its accessible name.
fn drawn(
    harness: &egui_kittest::Harness<'static, fill_audit::app::FillAuditApp>,
) -> BTreeMap<String, char> {
    let names = ["Q4_0_gs2", "Q4_0_gs10", "Q8_0_gs2", "Q8_0_gs10"];
    let mut found = BTreeMap::new();
    for name in names {
        for node in harness.query_all_by_label_contains(&format!("{name}, done")) {
            let label = node.accesskit_node().label().unwrap_or_default();
            let verdict = if label.contains("passed") {
                'P'
            } else if label.contains("rejected") {
                'R'
            } else {
                '-'
            };
            found.insert(name.to_owned(), verdict);
        }
    }
    found
}

/// What a state says of the four cells, in the form that the child prints.
fn says(review: &ReviewState, reviewer: &ReviewerId) -> String {
    let defaults = CellDefaults::of_service_run();
    ["Q4_0_gs10", "Q4_0_gs2", "Q8_0_gs10", "Q8_0_gs2"]
        .into_iter()
        .filter_map(|name| Some((name, CellKey::parse(name, &defaults)?)))
        .map(|(name, key)| {
            match review
                .review(reviewer, &key)
                .and_then(|said| said.judgement)
            {
                Some(Judgement::Pass) => format!("{name}=P;"),
                Some(Judgement::Reject) => format!("{name}=R;"),
                None => format!("{name}=-;"),
            }
        })
        .collect()
}

/// The child: judges for ever, and prints the verdicts of each frame after it was drawn.
#[test]
fn crash_child() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let desk = Desk::at(PathBuf::from(folder), "small");
    let mut harness = desk.plain();
    if !desk.journal().trim().is_empty() {
        step_until(&mut harness, "the journal is read", |harness| {
            view(harness).judging.review.events().next().is_some()
        });
    }
    let mut out = std::io::stdout();
    let keys = [
        Key::P,
        Key::X,
        Key::Num1,
        Key::P,
        Key::U,
        Key::ArrowRight,
        Key::X,
        Key::ArrowDown,
        Key::ArrowLeft,
        Key::P,
        Key::ArrowUp,
    ];
    let mut said = String::new();
    for key in keys.iter().cycle() {
        harness.key_press(*key);
        for _ in 0..3 {
            harness.step();
            let mut line = String::new();
            for (name, verdict) in drawn(&harness) {
                line.push_str(&format!("{name}={verdict};"));
            }
            if line != said {
                said.clone_from(&line);
                let _ = writeln!(out, "\nSHOWN {line}");
                let _ = out.flush();
            }
        }
    }
}

#[test]
fn two_hundred_kills_lose_no_verdict_that_was_drawn() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = small_run(folder.path());
    let ada = ReviewerId::from_name("ada");
    let mut state = 0x9e37_79b9_u64;
    let mut shown_in_all = 0;
    let (mut known, mut taken) = (ReviewState::default(), 0);
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args([
                "--exact",
                "window::crash::crash_child",
                "--nocapture",
                "--test-threads",
                "1",
            ])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the child starts");
        let stdout = child.stdout.take().expect("piped");
        // The clock starts with the first frame that showed a cell, so that kills fall into the review.
        let (sender, lines) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut shown: Vec<String> = Vec::new();
        while shown.is_empty() {
            let line = lines
                .recv_timeout(Duration::from_secs(60))
                .expect("the child draws");
            shown.extend(line.strip_prefix("SHOWN ").map(str::to_owned));
        }
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis((state >> 33) % 120));
        child.kill().expect("killed");
        let _ = child.wait();
        let _ = reader.join();
        shown.extend(
            lines
                .try_iter()
                .filter_map(|line| line.strip_prefix("SHOWN ").map(str::to_owned)),
        );
        // A report that was cut by the kill ends without its last separator.
        let complete: Vec<&String> = shown
            .iter()
            .filter(|line| line.matches(';').count() == 4)
            .collect();
        shown_in_all += complete.len();
        let journals = journal::read_all(&run).expect("the journals");
        let events: Vec<_> = ReviewState::replay(journals.events)
            .events()
            .cloned()
            .collect();
        for line in complete {
            // What is on disk must have said just this at some moment, and moments only go forward.
            while says(&known, &ada) != **line {
                let event = events.get(taken).unwrap_or_else(|| {
                    panic!(
                        "kill {kill}: drawn but not on disk: {line}; on disk at last: {}",
                        says(&known, &ada)
                    )
                });
                known.apply(event.clone());
                taken += 1;
            }
        }
    }
    assert!(
        shown_in_all > KILLS,
        "only {shown_in_all} frames were reported in {KILLS} kills"
    );
}

#[test]
fn what_the_child_prints_is_what_is_drawn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    small_run(folder.path());
    let desk = Desk::at(folder.path().to_owned(), "small");
    let mut harness = desk.plain();
    harness.key_press(Key::X);
    step_until(&mut harness, "the verdict is drawn", |harness| {
        drawn(harness).values().any(|v| *v == 'R')
    });
    assert_eq!(drawn(&harness).len(), 4);
}
