//! Killed at any moment and started again: nothing is lost, repeated, or believed half-written.

use crate::{Place, files, quick, words};
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::model::run::CellState;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How often the program is killed.
const KILLS: usize = 32;

/// A sequence that is the same each time (Knuth's MMIX generator): 0 to 1.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }
}

/// The documents of the cells that a reader believes to be done.
fn believed(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(run) = run_folder::open(folder, Verification::Full) else {
        // Killed before the folder was there: it appears whole or not at all.
        assert!(
            !folder.exists(),
            "{} is there and does not open",
            folder.display()
        );
        return BTreeMap::new();
    };
    assert_eq!(run.warnings, Vec::<String>::new());
    let documents = files(folder, ".ron");
    let mut done = BTreeMap::new();
    for (key, state) in &run.cells {
        let name = format!("{}.ron", run.cell_name(key));
        match state {
            CellState::Done(_) => {
                done.insert(name.clone(), documents[&name].clone());
            }
            CellState::Missing => {
                assert!(!documents.contains_key(&name), "{name} counts for nothing");
            }
            other => panic!("{name} after a kill: {other:?}"),
        }
    }
    done
}

#[test]
fn thirty_two_kills_lose_nothing_repeat_nothing_and_change_no_pixel() {
    let place = Place::new();
    let start = Instant::now();
    place.ok(&words(&quick("whole")));
    let whole = start.elapsed();
    // The contact sheet shows times, which are never the same twice.
    let pictures = |id: &str| {
        let mut found = files(&place.path("runs").join(id), ".png");
        found.remove("contact_sheet.png");
        found
    };
    let expected = pictures("whole");
    // Six cells with two pictures each, and the four inputs.
    assert_eq!(expected.len(), 6 * 2 + 4);

    let mut sequence = Sequence(2026);
    let (mut kills, mut rounds, mut between_cells) = (0, 0, 0);
    while kills < KILLS {
        rounds += 1;
        let id = format!("killed-{rounds}");
        let folder = place.path("runs").join(&id);
        let mut done: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        loop {
            let mut child = place
                .program()
                .args(quick(&id))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // Long enough for a cell now and then, so that a round comes to its end.
            let fraction = if kills < KILLS {
                0.75 * sequence.next()
            } else {
                20.0
            };
            let deadline = Instant::now() + whole.mul_f64(fraction);
            let ended = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break Some(status);
                }
                if Instant::now() >= deadline {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    break None;
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            if let Some(status) = ended {
                assert!(status.success(), "round {rounds} ended with {status}");
                break;
            }
            kills += 1;
            let now = believed(&folder);
            for (name, document) in &done {
                assert_eq!(
                    now.get(name),
                    Some(document),
                    "{name} was lost or made again"
                );
            }
            between_cells += usize::from(now.len() > done.len());
            done = now;
        }
        let end = believed(&folder);
        for (name, document) in &done {
            assert_eq!(
                end.get(name),
                Some(document),
                "{name} was lost or made again"
            );
        }
        assert_eq!(end.len(), 6);
        let pictures = pictures(&id);
        assert_eq!(
            pictures.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>()
        );
        for (name, bytes) in &pictures {
            assert!(
                *bytes == expected[name],
                "{name} differs from the unkilled run's"
            );
        }
        assert!(folder.join("REPORT.md").exists());
        let left: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.') && name != ".lock")
            .collect();
        assert_eq!(
            left,
            Vec::<String>::new(),
            "half-written files are cleared away"
        );
    }
    assert!(
        between_cells > 0,
        "no kill came after a finished cell: the test shows nothing"
    );
}
