//! A child that appends verdicts is killed 200 times; whatever it reported is there.

use super::folder::{cell, document, who};
use fill_audit::audit::journal::{Journal, Sink as _, read_all};
use fill_audit::model::review::{Action, EventId, ReviewState, UtcTime, Verdict};
use fill_audit::model::run::Run;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

const DIR: &str = "FILL_AUDIT_CRASH_DIR";
const ROUND: &str = "FILL_AUDIT_CRASH_ROUND";
const ROUNDS: u64 = 200;

/// Not a test by itself: what the test below starts, in a process of its own.
#[test]
fn the_child_that_is_killed() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else {
        return;
    };
    let round: u64 = round.parse().unwrap();
    let run = Run::new(document(), Vec::new()).unwrap();
    let cells = ["Q4_0_gs4", "Q4_0_gs10", "Q8_0_gs4", "Q8_0_gs10"].map(|name| cell(&run, name));
    let mut state = ReviewState::replay(read_all(dir.as_ref()).unwrap().events);
    let mut journal = Journal::new(dir.as_ref(), &who("jane"));
    // More than the parent ever waits for.
    for n in 0..100_000u64 {
        let id = EventId::from_bits(u128::from(round) << 64 | u128::from(n));
        let at = cells[(n % 4) as usize].clone();
        let verdict = if n % 3 == 0 {
            Verdict::Clear
        } else {
            Verdict::Pass(BTreeSet::new())
        };
        let action = Action::Verdict { cell: at, verdict };
        let event = state.next_event(
            id,
            UtcTime::new(jiff::Timestamp::now()),
            &who("jane"),
            action,
        );
        journal.append(&event).unwrap();
        // Only now is it on the disk and may be shown.
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nreported {}", event.id).unwrap();
        out.flush().unwrap();
        drop(out);
        state.apply(event);
    }
}

#[test]
fn every_verdict_that_was_reported_before_a_kill_is_there_after_replay() {
    let dir = tempfile::tempdir().unwrap();
    let mut reported: BTreeSet<String> = BTreeSet::new();
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::the_child_that_is_killed", "--nocapture"])
            .env(DIR, dir.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // After some reports, and at any moment between two.
        let wanted = (random >> 60) as usize;
        let mut seen = 0;
        while seen < wanted {
            let Some(line) = lines.next() else { break };
            seen += note(&line.unwrap(), &mut reported);
        }
        std::thread::sleep(Duration::from_micros((random >> 40) % 3000));
        child.kill().unwrap();
        // What it reported before it died counts too.
        for line in lines.map_while(Result::ok) {
            note(&line, &mut reported);
        }
        child.wait().unwrap();
    }
    let journals = read_all(dir.path()).unwrap();
    let written: BTreeSet<String> = journals
        .events
        .iter()
        .map(|event| event.id.to_string())
        .collect();
    let lost: Vec<&String> = reported.difference(&written).collect();
    assert!(
        lost.is_empty(),
        "{} of {} are lost: {lost:?}",
        lost.len(),
        reported.len()
    );
    assert!(
        reported.len() as u64 > ROUNDS,
        "only {} verdicts were reported",
        reported.len()
    );
    // A kill tears at most the one line that was being written.
    assert!(
        journals.warnings.len() as u64 <= ROUNDS,
        "{:?}",
        journals.warnings
    );
    let state = ReviewState::replay(journals.events);
    assert_eq!(state.events().count(), written.len());
    #[expect(clippy::print_stdout, reason = "the figures of this run")]
    {
        println!(
            "{} reported, {} written, {} torn",
            reported.len(),
            written.len(),
            journals.warnings.len()
        );
    }
}

fn note(line: &str, reported: &mut BTreeSet<String>) -> usize {
    // A line that was cut by the kill is no report.
    match line.strip_prefix("reported ") {
        Some(id) if id.len() == 32 => usize::from(reported.insert(id.to_owned())),
        _ => 0,
    }
}
