//! A review as Markdown (for the report), CSV and JSON.

use super::event::Shape;
use super::failure::{FailureKey, FailureTypes};
use super::findings::Findings;
use super::state::{CellReview, ReviewState};
use super::tally::BlindResult;
use crate::model::ids::{ReviewerId, SessionId};
use crate::model::run::{CellState, Run};
use serde::Serialize;
use std::fmt::Write as _;

/// The schema number in the JSON export.
pub const JSON_SCHEMA: u32 = 1;

/// An export that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The CSV writer refused a record.
    #[error("the review cannot be written as CSV: {0}")]
    Csv(String),
    /// The JSON writer refused a value.
    #[error("the review cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The formats that a review is exported in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A section of the report.
    Markdown,
    /// One line for each cell and reviewer.
    Csv,
    /// Everything, for a program.
    Json,
}

impl Format {
    /// `md`, `csv` or `json`.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// Writes a review in a format.
///
/// # Errors
/// [`ExportError`] if a writer refuses a value.
pub fn write(
    format: Format,
    run: &Run,
    review: &ReviewState,
    types: &FailureTypes,
) -> Result<String, ExportError> {
    match format {
        Format::Markdown => Ok(markdown(run, review, types)),
        Format::Csv => csv(run, review),
        Format::Json => json(run, review),
    }
}

/// A cell of a Markdown table: no pipe, no line break, nothing that reads as HTML.
fn table_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => safe.push_str("\\|"),
            '\\' => safe.push_str("\\\\"),
            '<' => safe.push_str("&lt;"),
            '\n' | '\r' => safe.push(' '),
            _ => safe.push(c),
        }
    }
    safe
}

fn row(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn head(text: &mut String, cells: &[String]) {
    row(text, cells);
    let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
}

/// `**pass**: seam` or `reject: colour mismatch`.
fn verdict_text(said: &CellReview, types: &FailureTypes) -> String {
    let mut text = match said.judgement {
        None if said.seen => "seen".to_owned(),
        None => String::new(),
        Some(super::Judgement::Pass) => "pass".to_owned(),
        Some(super::Judgement::Reject) => "reject".to_owned(),
    };
    if !said.types.is_empty() {
        let labels: Vec<String> = said.types.iter().map(|key| types.label(key)).collect();
        let _ = write!(text, ": {}", labels.join(", "));
    }
    text
}

/// The review as a section of the report: findings, verdicts of every reviewer side by side, and
/// the blind comparisons whose labels were shown.
pub fn markdown(run: &Run, review: &ReviewState, types: &FailureTypes) -> String {
    let reviewers: Vec<&ReviewerId> = review.reviewers().collect();
    let findings = Findings::of(run, review, None);
    let mut text = format!("## Review\n\n{}\n\n", findings.sentence());
    findings_tables(&mut text, run, &findings, types);

    text.push_str("### Verdicts\n\n");
    let mut names = vec!["Cell".to_owned()];
    names.extend(
        reviewers
            .iter()
            .map(|reviewer| table_text(reviewer.as_str())),
    );
    names.push("Notes and marks".to_owned());
    head(&mut text, &names);
    for (cell, state) in &run.cells {
        let mut columns = vec![table_text(&run.cell_name(cell))];
        let mut notes = Vec::new();
        for reviewer in &reviewers {
            let said = review.review(reviewer, cell);
            columns.push(match said {
                Some(said) => table_text(&verdict_text(said, types)),
                None => String::new(),
            });
            let Some(said) = said else { continue };
            let prefix = if reviewers.len() > 1 {
                format!("{reviewer}: ")
            } else {
                String::new()
            };
            if !said.note.is_empty() {
                notes.push(table_text(&format!("{prefix}{}", said.note)));
            }
            for placed in &said.marks {
                let what = placed.mark.failure.as_ref().map(|key| types.label(key));
                let words: Vec<String> = what
                    .into_iter()
                    .chain((!placed.mark.text.is_empty()).then(|| placed.mark.text.clone()))
                    .chain([place_text(placed.mark.shape)])
                    .collect();
                notes.push(table_text(&format!("{prefix}{}", words.join(" "))));
            }
        }
        if !matches!(state, CellState::Done(_)) {
            notes.push(format!("no picture ({})", state.word()));
        }
        columns.push(notes.join("; "));
        row(&mut text, &columns);
    }
    text.push('\n');
    blind_section(&mut text, run, review);
    text
}

fn place_text(shape: Shape) -> String {
    match shape {
        Shape::Point { x, y } => format!("at ({x:.0}, {y:.0})"),
        Shape::Box {
            x,
            y,
            width,
            height,
        } => {
            format!("in {width:.0}x{height:.0} at ({x:.0}, {y:.0})")
        }
    }
}

fn findings_tables(text: &mut String, run: &Run, findings: &Findings, types: &FailureTypes) {
    let keys: Vec<_> = findings.total.by_type.keys().collect();
    for axis in &findings.axes {
        // An axis along which nothing varies says what the total says; the quant is always shown.
        if axis.rows.len() < 2 && axis.axis != crate::model::matrix::Axis::Quant {
            continue;
        }
        let mut names = vec![capitalised(axis.axis.label())];
        names.extend(["Cells", "Passed", "Rejected", "Disputed", "Unreviewed"].map(str::to_owned));
        names.extend(
            keys.iter()
                .map(|key| table_text(&capitalised(&types.label(key)))),
        );
        let _ = writeln!(text, "### By {}\n", axis.axis.label());
        head(text, &names);
        for (value, counts) in &axis.rows {
            let mut columns = vec![table_text(&value.label(&run.prompts))];
            columns.extend(
                [
                    counts.cells,
                    counts.passed,
                    counts.rejected,
                    counts.disputed,
                    counts.unreviewed,
                ]
                .map(|count| count.to_string()),
            );
            columns.extend(
                keys.iter()
                    .map(|key| counts.by_type.get(*key).copied().unwrap_or(0).to_string()),
            );
            row(text, &columns);
        }
        text.push('\n');
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

fn blind_section(text: &mut String, run: &Run, review: &ReviewState) {
    let revealed: Vec<_> = review
        .blind_sessions()
        .into_iter()
        .filter(|session| session.revealed_at.is_some())
        .collect();
    if revealed.is_empty() {
        return;
    }
    text.push_str("### Blind comparison\n\n");
    let result = BlindResult::of(revealed.iter().copied());
    head(
        text,
        &[
            "Cell",
            "Wins",
            "Losses",
            "Ties",
            "All bad",
            "Won",
            "95 % interval",
        ]
        .map(str::to_owned),
    );
    for one in &result.rows {
        let tally = one.tally;
        let share = tally.share().filter(|_| one.interval.is_some());
        row(
            text,
            &[
                table_text(&run.cell_name(&one.cell)),
                tally.wins.to_string(),
                tally.losses.to_string(),
                tally.ties.to_string(),
                tally.all_bad.to_string(),
                share.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0)),
                one.interval.map_or_else(
                    || "too few votes".to_owned(),
                    |interval| {
                        format!(
                            "{:.0} to {:.0} %",
                            interval.low * 100.0,
                            interval.high * 100.0
                        )
                    },
                ),
            ],
        );
    }
    text.push('\n');
    for session in &revealed {
        let one = BlindResult::of([*session]);
        let _ = write!(
            text,
            "{} of {} votes by {} (seed {}, {} at a time); {} {}.",
            one.votes,
            session
                .plan
                .rounds
                .iter()
                .filter(|round| round.repeats.is_none())
                .count(),
            session.reviewer,
            session.plan.seed,
            session.plan.together(),
            session.reviewer,
            one.self_agreement.sentence()
        );
        if one.late_votes > 0 {
            let _ = write!(
                text,
                " Votes after the reveal, not counted: {}.",
                one.late_votes
            );
        }
        text.push_str("\n\n");
    }
}

/// One line for each cell and reviewer; a cell about which nobody said anything has one without a
/// reviewer. Columns: `cell, quant, guidance, steps, seed, prompt, dilate_px, recipe, state, wall_secs,
/// gpu_millis, reviewer, seen, verdict, types, note, marks, judged_at`; an unknown value is empty,
/// types are separated by spaces.
///
/// # Errors
/// [`ExportError::Csv`] if the writer refuses a record.
pub fn csv(run: &Run, review: &ReviewState) -> Result<String, ExportError> {
    let refused = |error: csv::Error| ExportError::Csv(error.to_string());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record([
            "cell",
            "quant",
            "guidance",
            "steps",
            "seed",
            "prompt",
            "dilate_px",
            "recipe",
            "state",
            "wall_secs",
            "gpu_millis",
            "reviewer",
            "seen",
            "verdict",
            "types",
            "note",
            "marks",
            "judged_at",
        ])
        .map_err(refused)?;
    let nothing = CellReview::default();
    for (cell, state) in &run.cells {
        let timing = run.timing_of(cell);
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let fixed = [
            run.cell_name(cell),
            cell.quant.to_string(),
            cell.guidance.to_string(),
            cell.steps.to_string(),
            cell.seed.map_or_else(String::new, |seed| seed.to_string()),
            run.prompt_of(cell).unwrap_or_default().to_owned(),
            cell.dilate_px.map_or_else(String::new, |px| px.to_string()),
            cell.recipe
                .as_ref()
                .map_or_else(String::new, |hash| hash.as_str().to_owned()),
            state.word().to_owned(),
            number(timing.and_then(|timing| timing.wall_secs)),
            number(timing.and_then(|timing| timing.gpu_millis)),
        ];
        let said = review.side_by_side(cell);
        let lines: Vec<(String, &CellReview)> = if said.is_empty() {
            vec![(String::new(), &nothing)]
        } else {
            said.into_iter()
                .map(|(reviewer, said)| (reviewer.to_string(), said))
                .collect()
        };
        for (reviewer, said) in lines {
            let types: Vec<&str> = said.types.iter().map(FailureKey::as_str).collect();
            let own = [
                reviewer,
                said.seen.to_string(),
                verdict_word(said).to_owned(),
                types.join(" "),
                said.note.clone(),
                said.marks.len().to_string(),
                said.judged_at.map_or_else(String::new, |at| at.to_string()),
            ];
            writer
                .write_record(fixed.iter().chain(&own))
                .map_err(refused)?;
        }
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| ExportError::Csv(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| ExportError::Csv(error.to_string()))
}

fn verdict_word(said: &CellReview) -> &'static str {
    match said.judgement {
        None => "",
        Some(super::Judgement::Pass) => "pass",
        Some(super::Judgement::Reject) => "reject",
    }
}

#[derive(Serialize)]
struct JsonReview<'a> {
    schema: u32,
    run: &'a str,
    session: Option<&'a str>,
    reviewers: Vec<&'a str>,
    finding: &'a str,
    cells: Vec<JsonCell<'a>>,
    blind: Vec<JsonBlind<'a>>,
    approvals: Vec<JsonApproval<'a>>,
}

#[derive(Serialize)]
struct JsonCell<'a> {
    cell: String,
    key: &'a crate::model::cell::CellKey,
    state: &'static str,
    wall_secs: Option<f64>,
    gpu_millis: Option<f64>,
    standing: &'static str,
    reviews: Vec<JsonCellReview<'a>>,
}

#[derive(Serialize)]
struct JsonCellReview<'a> {
    reviewer: &'a str,
    seen: bool,
    verdict: Option<&'static str>,
    types: Vec<&'a str>,
    note: &'a str,
    marks: Vec<&'a super::Mark>,
    judged_at: Option<String>,
}

#[derive(Serialize)]
struct JsonBlind<'a> {
    id: &'a str,
    reviewer: &'a str,
    seed: u64,
    began_at: String,
    revealed_at: Option<String>,
    rounds: usize,
    votes: usize,
    late_votes: usize,
    repeated: usize,
    disagreed: usize,
    results: Vec<JsonTally>,
}

#[derive(Serialize)]
struct JsonTally {
    cell: String,
    wins: usize,
    losses: usize,
    ties: usize,
    all_bad: usize,
    share: Option<f64>,
    interval: Option<(f64, f64)>,
}

#[derive(Serialize)]
struct JsonApproval<'a> {
    cell: String,
    reviewer: &'a str,
    at: String,
    file: &'a str,
    sha256: &'a str,
    overrides: &'a [(String, String)],
}

/// Everything, for a program. The results of a blind comparison are left out until its reveal.
///
/// # Errors
/// [`ExportError::Json`] if the writer refuses a value.
pub fn json(run: &Run, review: &ReviewState) -> Result<String, ExportError> {
    let findings = Findings::of(run, review, None);
    let cells = run
        .cells
        .iter()
        .map(|(cell, state)| JsonCell {
            cell: run.cell_name(cell),
            key: cell,
            state: state.word(),
            wall_secs: run.timing_of(cell).and_then(|timing| timing.wall_secs),
            gpu_millis: run.timing_of(cell).and_then(|timing| timing.gpu_millis),
            standing: review.standing(None, cell).word(),
            reviews: review
                .side_by_side(cell)
                .into_iter()
                .map(|(reviewer, said)| JsonCellReview {
                    reviewer: reviewer.as_str(),
                    seen: said.seen,
                    verdict: said.judgement.map(|_| verdict_word(said)),
                    types: said.types.iter().map(FailureKey::as_str).collect(),
                    note: &said.note,
                    marks: said.marks.iter().map(|placed| &placed.mark).collect(),
                    judged_at: said.judged_at.map(|at| at.to_string()),
                })
                .collect(),
        })
        .collect();
    let blind = review
        .blind_sessions()
        .into_iter()
        .map(|session| {
            let result = BlindResult::of([session]);
            let rows = if session.revealed_at.is_some() {
                result.rows
            } else {
                Vec::new()
            };
            JsonBlind {
                id: session.id.as_str(),
                reviewer: session.reviewer.as_str(),
                seed: session.plan.seed,
                began_at: session.began_at.to_string(),
                revealed_at: session.revealed_at.map(|at| at.to_string()),
                rounds: session.plan.rounds.len(),
                votes: session.votes.len(),
                late_votes: session.late_votes.len(),
                repeated: result.self_agreement.repeated,
                disagreed: result.self_agreement.disagreed,
                results: rows
                    .into_iter()
                    .map(|row| JsonTally {
                        cell: run.cell_name(&row.cell),
                        wins: row.tally.wins,
                        losses: row.tally.losses,
                        ties: row.tally.ties,
                        all_bad: row.tally.all_bad,
                        share: row.tally.share(),
                        interval: row.interval.map(|interval| (interval.low, interval.high)),
                    })
                    .collect(),
            }
        })
        .collect();
    let whole = JsonReview {
        schema: JSON_SCHEMA,
        run: run.run_id.as_str(),
        session: run.session.as_ref().map(SessionId::as_str),
        reviewers: review.reviewers().map(ReviewerId::as_str).collect(),
        finding: findings.sentence(),
        cells,
        blind,
        approvals: review
            .approvals()
            .iter()
            .map(|approval| JsonApproval {
                cell: run.cell_name(&approval.cell),
                reviewer: approval.reviewer.as_str(),
                at: approval.at.to_string(),
                file: &approval.file,
                sha256: &approval.sha256,
                overrides: &approval.overrides,
            })
            .collect(),
    };
    let mut text = serde_json::to_string_pretty(&whole)?;
    text.push('\n');
    Ok(text)
}
