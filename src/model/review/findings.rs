//! What the verdicts add up to: counts per value of every axis, and whether what fails at one quant
//! passes at another with all else equal. Counts only: no picture is scored here.

use super::failure::FailureKey;
use super::state::{ReviewState, Standing};
use super::tally::counted;
use crate::model::cell::{CellKey, Quant};
use crate::model::ids::ReviewerId;
use crate::model::matrix::{Axis, AxisValue};
use crate::model::run::{CellState, Run};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The verdicts on the cells that share a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Cells with a picture.
    pub cells: usize,
    /// Passed.
    pub passed: usize,
    /// Rejected.
    pub rejected: usize,
    /// Passed by one reviewer and rejected by another.
    pub disputed: usize,
    /// Without a verdict.
    pub unreviewed: usize,
    /// How many cells carry each type, those that are only noted included.
    pub by_type: BTreeMap<FailureKey, usize>,
}

/// The counts of one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisFindings {
    /// Which axis.
    pub axis: Axis,
    /// Its values in order.
    pub rows: Vec<(AxisValue, Counts)>,
}

/// How the cells of one quant compare with the same cells at another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantComparison {
    /// The quant whose failures are asked about.
    pub from: Quant,
    /// The quant that may cure them.
    pub to: Quant,
    /// Fail at `from`, pass at `to`.
    pub cured: Vec<CellKey>,
    /// Fail at both.
    pub still_failing: Vec<CellKey>,
    /// Fail at `from`; at `to` there is no picture or no agreed verdict.
    pub open: Vec<CellKey>,
    /// Pass at `from`, fail at `to`.
    pub worse: Vec<CellKey>,
    /// Cells of `from` that are rejected or passed.
    pub judged: usize,
}

/// Everything that the verdicts of one reviewer, or of all, add up to.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Over all cells.
    pub total: Counts,
    /// For each axis on which the run has a value.
    pub axes: Vec<AxisFindings>,
    /// Whether what fails at `Q4_0` passes at `Q8_0`.
    pub quants: QuantComparison,
    sentence: String,
}

impl Findings {
    /// Counts the verdicts of one reviewer, or of all (`None`), where a cell on which they disagree is
    /// counted as disputed and as neither passed nor rejected.
    pub fn of(run: &Run, review: &ReviewState, whose: Option<&ReviewerId>) -> Self {
        let mut total = Counts::default();
        let mut by_axis: BTreeMap<Axis, BTreeMap<AxisValue, Counts>> = BTreeMap::new();
        for (cell, state) in &run.cells {
            if !matches!(state, CellState::Done(_)) {
                continue;
            }
            total.add(review, whose, cell);
            for axis in Axis::ALL {
                by_axis
                    .entry(axis)
                    .or_default()
                    .entry(axis.value_of(cell))
                    .or_default()
                    .add(review, whose, cell);
            }
        }
        let axes = by_axis
            .into_iter()
            .map(|(axis, rows)| AxisFindings {
                axis,
                rows: rows.into_iter().collect(),
            })
            .collect();
        let audited = Quant::audited();
        let (from, to) = if let [first, .., last] = audited.as_slice() {
            (first.clone(), last.clone())
        } else {
            let (quant, _, _) = crate::model::run::production_baseline();
            (quant.clone(), quant)
        };
        let quants = QuantComparison::of(run, review, whose, from, to);
        let sentence = quants.sentence(run);
        Self {
            total,
            axes,
            quants,
            sentence,
        }
    }

    /// Whether what fails at `Q4_0` passes at `Q8_0` with all else equal, in a sentence or two.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }
}

impl Counts {
    fn add(&mut self, review: &ReviewState, whose: Option<&ReviewerId>, cell: &CellKey) {
        self.cells += 1;
        match review.standing(whose, cell) {
            Standing::Unreviewed => self.unreviewed += 1,
            Standing::Passed => self.passed += 1,
            Standing::Rejected => self.rejected += 1,
            Standing::Disputed => self.disputed += 1,
        }
        for key in review.types(whose, cell) {
            *self.by_type.entry(key).or_default() += 1;
        }
    }
}

impl QuantComparison {
    /// Compares every cell of `from` with the cell that differs from it in the quant alone.
    pub fn of(
        run: &Run,
        review: &ReviewState,
        whose: Option<&ReviewerId>,
        from: Quant,
        to: Quant,
    ) -> Self {
        let mut found = Self {
            from,
            to,
            cured: Vec::new(),
            still_failing: Vec::new(),
            open: Vec::new(),
            worse: Vec::new(),
            judged: 0,
        };
        let has_picture = |cell: &CellKey| matches!(run.cells.get(cell), Some(CellState::Done(_)));
        let cells = run.cells.keys().filter(|cell| has_picture(cell));
        for cell in cells.filter(|cell| cell.quant == found.from) {
            let other = CellKey {
                quant: found.to.clone(),
                ..cell.clone()
            };
            let here = review.standing(whose, cell);
            let there = has_picture(&other).then(|| review.standing(whose, &other));
            found.judged += usize::from(matches!(here, Standing::Passed | Standing::Rejected));
            match (here, there) {
                (Standing::Rejected, Some(Standing::Passed)) => found.cured.push(cell.clone()),
                (Standing::Rejected, Some(Standing::Rejected)) => {
                    found.still_failing.push(cell.clone());
                }
                (Standing::Rejected, _) => found.open.push(cell.clone()),
                (Standing::Passed, Some(Standing::Rejected)) => found.worse.push(cell.clone()),
                _ => {}
            }
        }
        found
    }

    /// The answer in a sentence or two, naming the cells.
    pub fn sentence(&self, run: &Run) -> String {
        let Self { from, to, .. } = self;
        let failing = self.cured.len() + self.still_failing.len() + self.open.len();
        let names = |cells: &[CellKey]| {
            let names: Vec<String> = cells.iter().map(|cell| run.cell_name(cell)).collect();
            names.join(", ")
        };
        let mut text = if self.judged == 0 {
            format!(
                "Whether what fails at {from} passes at {to} is open: no cell at {from} has a verdict."
            )
        } else if failing == 0 {
            format!(
                "No cell fails at {from} among the {} judged there.",
                self.judged
            )
        } else {
            let mut parts = Vec::new();
            if !self.cured.is_empty() {
                let verb = if self.cured.len() == 1 {
                    "passes"
                } else {
                    "pass"
                };
                parts.push(format!(
                    "{} {verb} at {to} ({})",
                    self.cured.len(),
                    names(&self.cured)
                ));
            }
            if !self.still_failing.is_empty() {
                let verb = if self.still_failing.len() == 1 {
                    "fails"
                } else {
                    "fail"
                };
                parts.push(format!(
                    "{} {verb} there too ({})",
                    self.still_failing.len(),
                    names(&self.still_failing)
                ));
            }
            if !self.open.is_empty() {
                let verb = if self.open.len() == 1 { "has" } else { "have" };
                parts.push(format!(
                    "{} {verb} no agreed verdict at {to} ({})",
                    self.open.len(),
                    names(&self.open)
                ));
            }
            let answer = match (self.cured.len(), self.still_failing.len(), self.open.len()) {
                (_, 0, 0) => format!("What fails at {from} passes at {to} with all else equal"),
                (0, _, 0) => format!("What fails at {from} fails at {to} too with all else equal"),
                (0, 0, _) => format!("Whether what fails at {from} passes at {to} is open"),
                _ => format!("Some of what fails at {from} passes at {to} with all else equal"),
            };
            format!(
                "{answer}: of {} at {from}, {}.",
                counted(failing, "failing cell", "failing cells"),
                parts.join(", ")
            )
        };
        if !self.worse.is_empty() {
            let cells = counted(self.worse.len(), "cell that passes", "cells that pass");
            let verb = if self.worse.len() == 1 {
                "fails"
            } else {
                "fail"
            };
            let _ = write!(
                text,
                " {cells} at {from} {verb} at {to} ({}).",
                names(&self.worse)
            );
        }
        text
    }
}
