//! Counts per axis, and the sentence on quants.

use super::findings::Findings;
use super::sample::{Script, done_run, who};
use crate::model::matrix::Axis;
use crate::model::review::ReviewState;

fn sentence(script: &Script) -> String {
    Findings::of(&done_run(), &script.state, None)
        .sentence()
        .to_owned()
}

#[test]
fn counts_are_kept_for_every_value_of_every_axis() {
    let mut script = Script::default();
    script.reject("jane", "Q4_0_gs10", &["residue", "seam"]);
    script.reject("jane", "Q4_0_gs30", &["residue"]);
    script.pass("jane", "Q8_0_gs10");
    let findings = Findings::of(&done_run(), &script.state, Some(&who("jane")));
    let axes: Vec<Axis> = findings.axes.iter().map(|axis| axis.axis).collect();
    assert_eq!(axes, Axis::ALL);
    let quants: Vec<(usize, usize, usize)> = findings.axes[0]
        .rows
        .iter()
        .map(|(_, counts)| (counts.passed, counts.rejected, counts.unreviewed))
        .collect();
    assert_eq!(quants, [(0, 2, 1), (0, 0, 3), (1, 0, 2)]);
    let guidances: Vec<(usize, usize)> = findings.axes[1]
        .rows
        .iter()
        .map(|(_, counts)| (counts.passed, counts.rejected))
        .collect();
    assert_eq!(guidances, [(0, 0), (1, 1), (0, 1)]);
    let by_type: Vec<(String, usize)> = findings
        .total
        .by_type
        .iter()
        .map(|(key, n)| (key.to_string(), *n))
        .collect();
    assert_eq!(by_type, [("residue".to_owned(), 2), ("seam".to_owned(), 1)]);
}

#[test]
fn what_fails_at_q4_and_passes_at_q8_is_said_so() {
    let mut script = Script::default();
    script.reject("jane", "Q4_0_gs10", &[]);
    script.reject("jane", "Q4_0_gs30", &[]);
    script.pass("jane", "Q8_0_gs10");
    script.pass("jane", "Q8_0_gs30");
    assert_eq!(
        sentence(&script),
        "What fails at Q4_0 passes at Q8_0 with all else equal: of 2 failing cells at Q4_0, 2 pass at Q8_0 (Q4_0_gs10, Q4_0_gs30)."
    );
}

#[test]
fn a_mixed_answer_names_each_part() {
    let mut script = Script::default();
    for name in ["Q4_0_gs4", "Q4_0_gs10", "Q4_0_gs30", "Q8_0_gs10"] {
        script.reject("jane", name, &[]);
    }
    script.pass("jane", "Q8_0_gs4");
    assert_eq!(
        sentence(&script),
        "Some of what fails at Q4_0 passes at Q8_0 with all else equal: of 3 failing cells at Q4_0, 1 passes at Q8_0 (Q4_0_gs4), 1 fails there too (Q4_0_gs10), 1 has no agreed verdict at Q8_0 (Q4_0_gs30)."
    );
}

#[test]
fn nothing_judged_and_nothing_failing_are_different_answers() {
    let mut script = Script::default();
    assert!(sentence(&script).contains("is open: no cell at Q4_0 has a verdict"));
    script.pass("jane", "Q4_0_gs10");
    assert_eq!(
        sentence(&script),
        "No cell fails at Q4_0 among the 1 judged there."
    );
    script.reject("jane", "Q8_0_gs10", &[]);
    assert!(
        sentence(&script).ends_with("1 cell that passes at Q4_0 fails at Q8_0 (Q4_0_gs10)."),
        "{}",
        sentence(&script)
    );
}

#[test]
fn what_reviewers_disagree_on_is_neither_passed_nor_failed() {
    let mut script = Script::default();
    script.reject("jane", "Q4_0_gs10", &[]);
    script.pass("jane", "Q8_0_gs10");
    script.reject("max", "Q8_0_gs10", &[]);
    let findings = Findings::of(&done_run(), &script.state, None);
    assert_eq!(findings.total.disputed, 1);
    assert_eq!(findings.quants.open.len(), 1);
    let jane = Findings::of(&done_run(), &script.state, Some(&who("jane")));
    assert_eq!(jane.quants.cured.len(), 1);
}

#[test]
fn cells_without_a_picture_are_not_counted() {
    let findings = Findings::of(&super::sample::run(), &ReviewState::default(), None);
    assert_eq!(findings.total.cells, 0);
}
