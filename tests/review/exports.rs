//! A review as Markdown, CSV and JSON.

use super::folder::{Script, cell, golden, write};
use fill_audit::model::review::export::{Format, write as export};
use fill_audit::model::review::{
    Action, BlindPlan, Choice, FailureTypes, Mark, ReviewState, Round, Shape,
};
use fill_audit::model::run::Run;

fn reviewed(run: &Run) -> ReviewState {
    let mut script = Script::default();
    let (a, b, c, d) = (
        cell(run, "Q4_0_gs4"),
        cell(run, "Q4_0_gs10"),
        cell(run, "Q8_0_gs4"),
        cell(run, "Q8_0_gs10"),
    );
    script.reject("jane", a.clone(), &["hallucinated_object", "seam"]);
    script.act(
        "jane",
        Action::Note {
            cell: a.clone(),
            text: "a | b, \"quoted\"\n<b>next</b> line".to_owned(),
        },
    );
    let shape = Shape::Box {
        x: 3.0,
        y: 4.0,
        width: 5.0,
        height: 6.0,
    };
    let mark = Mark {
        shape,
        failure: None,
        text: "ball".to_owned(),
    };
    script.act(
        "jane",
        Action::AddMark {
            cell: a.clone(),
            mark,
        },
    );
    script.reject("jane", b, &[]);
    script.pass("jane", c.clone());
    script.reject("max", c.clone(), &["colour_mismatch"]);
    script.pass("max", d.clone());
    script.act("jane", Action::Seen { cell: d.clone() });
    let round = |x: &_, y: &_| Round {
        cells: vec![Clone::clone(x), Clone::clone(y)],
        repeats: None,
    };
    let mut rounds: Vec<Round> = (0..9).map(|_| round(&c, &d)).collect();
    rounds.push(Round {
        cells: vec![d.clone(), c.clone()],
        repeats: Some(0),
    });
    let plan = BlindPlan { seed: 7, rounds };
    let session = script.act("jane", Action::BlindBegin { plan }).id;
    for index in 0..10usize {
        let choice = match index {
            0..6 => Choice::Winner(1),
            6 => Choice::Tie,
            7 => Choice::AllBad,
            _ => Choice::Winner(0),
        };
        script.act(
            "jane",
            Action::BlindVote {
                session: session.clone(),
                round: index,
                choice,
            },
        );
    }
    script.act(
        "jane",
        Action::BlindReveal {
            session: session.clone(),
        },
    );
    script.act(
        "jane",
        Action::BlindVote {
            session,
            round: 0,
            choice: Choice::Tie,
        },
    );
    script.state
}

#[test]
fn the_review_is_exported_in_three_formats() {
    let dir = tempfile::tempdir().unwrap();
    let run = write(dir.path());
    let review = reviewed(&run);
    for format in [Format::Markdown, Format::Csv, Format::Json] {
        let text = export(format, &run, &review, &FailureTypes::default()).unwrap();
        golden(&format!("review.{}", format.extension()), &text);
    }
}

#[test]
fn the_exports_read_back_in_their_formats() {
    let dir = tempfile::tempdir().unwrap();
    let run = write(dir.path());
    let review = reviewed(&run);
    let text = export(Format::Csv, &run, &review, &FailureTypes::default()).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers().unwrap().len();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    // Two cells with two reviewers each.
    assert_eq!((records.len(), columns), (6, 18));
    assert_eq!(&records[0][15], "a | b, \"quoted\"\n<b>next</b> line");
    let text = export(Format::Json, &run, &review, &FailureTypes::default()).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["cells"][0]["reviews"][0]["verdict"], "reject");
    let text = export(Format::Markdown, &run, &review, &FailureTypes::default()).unwrap();
    // A note with pipes and line breaks stays within its cell of the table.
    let widths: Vec<usize> = text
        .lines()
        .filter(|line| line.starts_with("| Q4\\_0") || line.starts_with("| Q4_0_gs4 |"))
        .map(|line| line.replace("\\|", "").matches('|').count())
        .collect();
    assert!(
        !widths.is_empty() && widths.iter().all(|width| *width == 5),
        "{widths:?}\n{text}"
    );
}

#[test]
fn the_export_of_an_untouched_run_says_that_nothing_was_judged() {
    let dir = tempfile::tempdir().unwrap();
    let run = write(dir.path());
    let nothing = ReviewState::default();
    let text = export(Format::Markdown, &run, &nothing, &FailureTypes::default()).unwrap();
    assert!(text.contains("no cell at Q4_0 has a verdict"), "{text}");
    assert!(!text.contains("Blind"), "{text}");
    let text = export(Format::Csv, &run, &nothing, &FailureTypes::default()).unwrap();
    assert_eq!(text.lines().count(), 5);
}
