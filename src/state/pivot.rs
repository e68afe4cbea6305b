//! Axes are data: which axis gives rows, which columns, which pages, and what a cell's place is.

use crate::model::cell::CellKey;
use crate::model::matrix::{Axis, AxisValue};
use crate::model::run::Run;
use std::collections::{BTreeMap, BTreeSet};

/// Which axes are rows and columns, which values of the others are shown, and what is hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pivot {
    /// The axis whose values are rows.
    pub rows: Axis,
    /// The axis whose values are columns.
    pub columns: Axis,
    /// The value shown of each other axis.
    pub page: BTreeMap<Axis, AxisValue>,
    /// Values that are not shown.
    pub hidden: BTreeSet<AxisValue>,
}

/// Cells that only an extension asked for: one line of cells that differ along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// The axes along which they differ, which their captions name.
    pub axes: Vec<Axis>,
    /// What they share, as a title: `steps at Q5_K_S · guidance 4`.
    pub title: String,
    /// The cells, in the order of the axis; a cell of the matrix that fits in the row is in it too.
    pub cells: Vec<CellKey>,
}

impl Strip {
    /// What tells one of its cells from the others, in words: `20 steps`.
    pub fn says(&self, key: &CellKey, prompts: &[String]) -> Vec<String> {
        let word = |axis: &Axis| {
            let value = axis.value_of(key).label(prompts);
            match axis {
                Axis::Quant => value,
                Axis::Guidance => format!("gs {value}"),
                Axis::Steps if value == "1" => "1 step".to_owned(),
                Axis::Steps => format!("{value} steps"),
                axis => format!("{} {value}", axis.label()),
            }
        };
        self.axes.iter().map(word).collect()
    }
}

/// The grid that a pivot gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// Values of the rows.
    pub rows: Vec<AxisValue>,
    /// Values of the columns.
    pub columns: Vec<AxisValue>,
    /// Row by row; `None` where the run has no such cell, or it is left out.
    pub cells: Vec<Option<CellKey>>,
    /// Indices into `cells` of those that a filter left out.
    pub left_out: BTreeSet<usize>,
    /// Sweeps beside the matrix.
    pub strips: Vec<Strip>,
    /// The axes that are neither rows nor columns and have more than one value.
    pub pages: Vec<Axis>,
}

impl Grid {
    /// The cell at a row and a column.
    pub fn at(&self, row: usize, column: usize) -> Option<&CellKey> {
        if column >= self.columns.len() {
            return None;
        }
        self.cells.get(row * self.columns.len() + column)?.as_ref()
    }

    /// Whether a filter left out the cell at a row and a column.
    pub fn is_left_out(&self, row: usize, column: usize) -> bool {
        self.left_out.contains(&(row * self.columns.len() + column))
    }

    /// Whether it shows no cell at all.
    pub fn is_empty(&self) -> bool {
        self.cells.iter().all(Option::is_none)
            && self.strips.iter().all(|strip| strip.cells.is_empty())
    }

    /// All cells in reading order, strips last, none twice.
    pub fn order(&self) -> Vec<CellKey> {
        let mut seen = BTreeSet::new();
        let strips = self.strips.iter().flat_map(|strip| strip.cells.iter());
        self.cells
            .iter()
            .flatten()
            .chain(strips)
            .filter(|key| seen.insert((*key).clone()))
            .cloned()
            .collect()
    }

    fn place(&self, key: &CellKey) -> Option<Place> {
        if let Some(index) = self
            .cells
            .iter()
            .position(|cell| cell.as_ref() == Some(key))
        {
            return Some(Place {
                row: index / self.columns.len(),
                column: index % self.columns.len(),
            });
        }
        self.strips.iter().enumerate().find_map(|(strip, it)| {
            let column = it.cells.iter().position(|cell| cell == key)?;
            Some(Place {
                row: self.rows.len() + strip,
                column,
            })
        })
    }

    fn at_place(&self, place: Place) -> Option<&CellKey> {
        match place.row.checked_sub(self.rows.len()) {
            None => self.at(place.row, place.column),
            Some(strip) => self.strips.get(strip)?.cells.get(place.column),
        }
    }

    /// The nearest cell in a direction (columns to the right, rows down); holes are jumped over, and
    /// strips follow the last row. Stays where it is at the edge.
    pub fn neighbour(&self, from: &CellKey, columns: i32, rows: i32) -> CellKey {
        let Some(start) = self.place(from) else {
            return from.clone();
        };
        let row_count = self.rows.len() + self.strips.len();
        let mut place = start;
        loop {
            let row = place.row as i64 + i64::from(rows);
            let column = place.column as i64 + i64::from(columns);
            if row < 0 || column < 0 || row >= row_count as i64 {
                return from.clone();
            }
            let width = self.row_len(row as usize);
            // Into a shorter row: keep to its last cell.
            let column = if rows == 0 {
                column
            } else {
                column.min(width as i64 - 1)
            };
            if column < 0 || column >= width as i64 {
                return from.clone();
            }
            place = Place {
                row: row as usize,
                column: column as usize,
            };
            if let Some(key) = self.at_place(place) {
                return key.clone();
            }
        }
    }

    fn row_len(&self, row: usize) -> usize {
        match row.checked_sub(self.rows.len()) {
            None => self.columns.len(),
            Some(strip) => self.strips.get(strip).map_or(0, |it| it.cells.len()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    row: usize,
    column: usize,
}

impl Pivot {
    /// Quant as rows and guidance as columns where those vary; otherwise what varies most.
    pub fn new(run: &Run) -> Self {
        let main = run.main_cells();
        let counts: Vec<(Axis, usize)> = Axis::ALL
            .into_iter()
            .map(|axis| (axis, values(&main, axis).len()))
            .collect();
        let varying: Vec<Axis> = counts
            .iter()
            .filter(|(_, n)| *n > 1)
            .map(|(axis, _)| *axis)
            .collect();
        let rows = varying
            .first()
            .copied()
            .filter(|_| varying.len() > 1)
            .unwrap_or(Axis::Quant);
        let columns = match varying.as_slice() {
            [] => Axis::Guidance,
            [only] if *only == Axis::Quant => Axis::Guidance,
            [only] => *only,
            [_, second, ..] => *second,
        };
        let mut pivot = Self {
            rows,
            columns,
            page: BTreeMap::new(),
            hidden: BTreeSet::new(),
        };
        pivot.settle_pages(run);
        pivot
    }

    /// The axes that are neither rows nor columns and have more than one value: the pages.
    pub fn page_axes(&self, run: &Run) -> Vec<Axis> {
        self.pages_of(&run.main_cells())
    }

    fn pages_of(&self, main: &BTreeSet<CellKey>) -> Vec<Axis> {
        Axis::ALL
            .into_iter()
            .filter(|axis| *axis != self.rows && *axis != self.columns)
            .filter(|axis| values(main, *axis).len() > 1)
            .collect()
    }

    /// The values of an axis of the matrix that are not hidden.
    pub fn page_values(&self, axis: Axis, run: &Run) -> Vec<AxisValue> {
        values(&run.main_cells(), axis)
            .into_iter()
            .filter(|value| !self.hidden.contains(value))
            .collect()
    }

    /// Whether a value of this cell is hidden.
    pub fn hides(&self, key: &CellKey) -> bool {
        !self.hidden.is_empty()
            && Axis::ALL
                .into_iter()
                .any(|axis| self.hidden.contains(&axis.value_of(key)))
    }

    /// Makes an axis one of the pages. Rows or columns that it leaves go to the first of the pages, or
    /// to an axis with a single value if there are none.
    pub fn set_pages(&mut self, axis: Axis, run: &Run) {
        if axis != self.rows && axis != self.columns {
            return;
        }
        let free = |other: &Axis| *other != self.rows && *other != self.columns;
        let next = self
            .page_axes(run)
            .into_iter()
            .next()
            .or_else(|| Axis::ALL.into_iter().find(free));
        let Some(next) = next else { return };
        if axis == self.rows {
            self.rows = next;
        } else {
            self.columns = next;
        }
        self.settle_pages(run);
    }

    /// Gives each other axis a value that exists and is not hidden, keeping what is set.
    pub fn settle_pages(&mut self, run: &Run) {
        let main = run.main_cells();
        for axis in Axis::ALL {
            if axis == self.rows || axis == self.columns {
                self.page.remove(&axis);
                continue;
            }
            let values = values(&main, axis);
            let is_shown =
                |value: &AxisValue| values.contains(value) && !self.hidden.contains(value);
            if !self.page.get(&axis).is_some_and(is_shown) {
                // Where all are hidden the page is an empty one.
                let first = values.iter().find(|value| is_shown(value));
                if let Some(first) = first.or(values.first()).cloned() {
                    self.page.insert(axis, first);
                }
            }
        }
    }

    /// Makes an axis the rows; if it was the columns, the two are swapped.
    pub fn set_rows(&mut self, axis: Axis, run: &Run) {
        if axis == self.columns {
            self.columns = self.rows;
        }
        self.rows = axis;
        self.settle_pages(run);
    }

    /// Makes an axis the columns; if it was the rows, the two are swapped.
    pub fn set_columns(&mut self, axis: Axis, run: &Run) {
        if axis == self.rows {
            self.rows = self.columns;
        }
        self.columns = axis;
        self.settle_pages(run);
    }

    /// Turns to the page on which a cell of the matrix is; a cell of a strip is on every page.
    pub fn show(&mut self, key: &CellKey, run: &Run) {
        if run.main_cells().contains(key) {
            for (axis, value) in &mut self.page {
                *value = axis.value_of(key);
            }
        }
    }

    /// Moves the first page axis by one value; stays at the ends.
    pub fn turn_page(&mut self, run: &Run, by: i32) {
        let Some(axis) = self.page_axes(run).into_iter().next() else {
            return;
        };
        let values = self.page_values(axis, run);
        let Some(now) = self
            .page
            .get(&axis)
            .and_then(|value| values.iter().position(|v| v == value))
        else {
            return;
        };
        let next = (now as i64 + i64::from(by)).clamp(0, values.len() as i64 - 1) as usize;
        if let Some(value) = values.get(next) {
            self.page.insert(axis, value.clone());
        }
    }

    /// Lays the run out.
    pub fn grid(&self, run: &Run) -> Grid {
        let main = run.main_cells();
        let shown = |axis: Axis| -> Vec<AxisValue> {
            values(&main, axis)
                .into_iter()
                .filter(|value| !self.hidden.contains(value))
                .collect()
        };
        let (rows, columns) = (shown(self.rows), shown(self.columns));
        let mut by_place: BTreeMap<(AxisValue, AxisValue), CellKey> = BTreeMap::new();
        for key in &main {
            if !self.hides(key)
                && self
                    .page
                    .iter()
                    .all(|(axis, value)| axis.value_of(key) == *value)
            {
                by_place.insert(
                    (self.rows.value_of(key), self.columns.value_of(key)),
                    key.clone(),
                );
            }
        }
        let cells = rows
            .iter()
            .flat_map(|row| columns.iter().map(|column| (row.clone(), column.clone())))
            .map(|place| by_place.get(&place).cloned())
            .collect();
        let mut strips = strips(run, &main);
        for strip in &mut strips {
            strip.cells.retain(|key| !self.hides(key));
        }
        strips.retain(|strip| !strip.cells.is_empty());
        Grid {
            rows,
            columns,
            cells,
            left_out: BTreeSet::new(),
            strips,
            pages: self.pages_of(&main),
        }
    }
}

fn values(cells: &BTreeSet<CellKey>, axis: Axis) -> BTreeSet<AxisValue> {
    cells.iter().map(|key| axis.value_of(key)).collect()
}

/// Sweeps: cells outside the matrix, grouped by what they share on all axes but one.
fn strips(run: &Run, main: &BTreeSet<CellKey>) -> Vec<Strip> {
    let extra: Vec<&CellKey> = run
        .cells
        .keys()
        .filter(|key| !main.contains(*key))
        .collect();
    let mut left: BTreeSet<&CellKey> = extra.iter().copied().collect();
    let mut strips = Vec::new();
    while let Some(first) = left.first().copied() {
        // The axis along which most of the left-over cells line up with this one.
        let lines = Axis::ALL.map(|axis| {
            let line: Vec<&CellKey> = left
                .iter()
                .copied()
                .filter(|key| differ_only_in(first, key, axis))
                .collect();
            (axis, line)
        });
        // At equal length steps first: that is what a bonus sweep varies.
        let Some((axis, line)) = lines.into_iter().max_by_key(|(axis, line)| {
            (line.len(), *axis == Axis::Steps, std::cmp::Reverse(*axis))
        }) else {
            break;
        };
        for key in &line {
            left.remove(*key);
        }
        let mut cells: Vec<CellKey> = line.into_iter().cloned().collect();
        cells.extend(
            main.iter()
                .filter(|key| differ_only_in(first, key, axis))
                .cloned(),
        );
        cells.sort_by_key(|key| axis.value_of(key));
        strips.push(Strip {
            axes: vec![axis],
            title: strip_title(run, main, first, axis),
            cells,
        });
    }
    strips
}

fn differ_only_in(a: &CellKey, b: &CellKey, axis: Axis) -> bool {
    Axis::ALL
        .into_iter()
        .filter(|other| *other != axis)
        .all(|other| other.value_of(a) == other.value_of(b))
}

fn strip_title(run: &Run, main: &BTreeSet<CellKey>, key: &CellKey, axis: Axis) -> String {
    let mut shared = Vec::new();
    for other in Axis::ALL.into_iter().filter(|other| *other != axis) {
        let value = other.value_of(key);
        let varies = values(main, other).len() > 1 || !values(main, other).contains(&value);
        if varies {
            let label = value.label(&run.prompts);
            shared.push(match other {
                Axis::Quant => label,
                _ => format!("{} {label}", other.label()),
            });
        }
    }
    if shared.is_empty() {
        axis.label().to_owned()
    } else {
        format!("{} at {}", axis.label(), shared.join(" · "))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::model::cell::CellDefaults;
    use crate::model::ids::RunId;
    use crate::model::run::{CellState, Origin};

    fn run(names: &[&str]) -> Run {
        let defaults = CellDefaults::of_service_run();
        Run {
            run_id: RunId::new("r").unwrap(),
            session: None,
            expected: String::new(),
            origin: Origin::Service,
            extensions: Vec::new(),
            prompts: Vec::new(),
            environment: None,
            warnings: Vec::new(),
            cells: names
                .iter()
                .map(|name| (CellKey::parse(name, &defaults).unwrap(), CellState::Missing))
                .collect(),
            defaults,
            picture_names: BTreeMap::new(),
            reported_timings: BTreeMap::new(),
            acceleration_section: None,
        }
    }

    fn key(name: &str) -> CellKey {
        CellKey::parse(name, &CellDefaults::of_service_run()).unwrap()
    }

    const MATRIX: [&str; 6] = [
        "Q4_0_gs2",
        "Q4_0_gs10",
        "Q4_0_gs30",
        "Q8_0_gs2",
        "Q8_0_gs10",
        "Q8_0_gs30",
    ];

    #[test]
    fn a_run_opens_with_quants_as_rows_and_guidance_as_columns() {
        let run = run(&MATRIX);
        let pivot = Pivot::new(&run);
        assert_eq!((pivot.rows, pivot.columns), (Axis::Quant, Axis::Guidance));
        let grid = pivot.grid(&run);
        assert_eq!((grid.rows.len(), grid.columns.len()), (2, 3));
        assert_eq!(grid.at(1, 2), Some(&key("Q8_0_gs30")));
        assert_eq!(grid.order().len(), 6);
    }

    #[test]
    fn a_sweep_is_a_strip_of_its_own_and_never_pads_the_matrix() {
        let mut names = MATRIX.to_vec();
        names.extend(["Q8_0_gs2_s20", "Q8_0_gs2_s50"]);
        let run = run(&names);
        let grid = Pivot::new(&run).grid(&run);
        assert_eq!((grid.rows.len(), grid.columns.len()), (2, 3));
        assert_eq!(grid.strips.len(), 1);
        let strip = &grid.strips[0];
        assert_eq!(strip.axes, [Axis::Steps]);
        // A cell of the matrix that stands in the strip too says its value there.
        let says = |key: &CellKey| strip.says(key, &[]).join(", ");
        assert!(strip.cells.iter().all(|key| says(key).ends_with(" steps")));
        assert_eq!(strip.title, "steps at Q8_0 · guidance 2");
        let names: Vec<String> = strip.cells.iter().map(|k| k.name(&run.defaults)).collect();
        assert_eq!(names, ["Q8_0_gs2_s20", "Q8_0_gs2", "Q8_0_gs2_s50"]);
    }

    #[test]
    fn making_the_columns_axis_the_rows_swaps_them() {
        let run = run(&MATRIX);
        let mut pivot = Pivot::new(&run);
        pivot.set_rows(Axis::Guidance, &run);
        assert_eq!((pivot.rows, pivot.columns), (Axis::Guidance, Axis::Quant));
        assert_eq!(pivot.grid(&run).rows.len(), 3);
    }

    #[test]
    fn hidden_values_leave_the_grid() {
        let run = run(&MATRIX);
        let mut pivot = Pivot::new(&run);
        pivot.hidden.insert(Axis::Quant.value_of(&key("Q4_0_gs2")));
        let grid = pivot.grid(&run);
        assert_eq!((grid.rows.len(), grid.cells.len()), (1, 3));
    }

    #[test]
    fn a_hidden_value_of_the_pages_is_no_page_and_in_no_strip() {
        let run = run(&[
            "Q4_0_gs2",
            "Q4_0_gs10",
            "Q8_0_gs2",
            "Q8_0_gs10",
            "Q8_0_gs2_s50",
        ]);
        let mut pivot = Pivot::new(&run);
        pivot.set_rows(Axis::Steps, &run);
        assert_eq!(pivot.page_axes(&run), [Axis::Quant]);
        assert_eq!(pivot.grid(&run).order()[0], key("Q4_0_gs2"));
        pivot.hidden.insert(Axis::Quant.value_of(&key("Q4_0_gs2")));
        pivot.settle_pages(&run);
        assert_eq!(pivot.grid(&run).order()[0], key("Q8_0_gs2"));
        pivot.turn_page(&run, -1);
        assert_eq!(
            pivot.grid(&run).order()[0],
            key("Q8_0_gs2"),
            "no page is left to turn to"
        );
        pivot.hidden.insert(Axis::Quant.value_of(&key("Q8_0_gs2")));
        pivot.settle_pages(&run);
        assert!(pivot.grid(&run).order().is_empty());
    }

    #[test]
    fn rows_that_become_pages_make_room_for_what_was_a_page() {
        let run = run(&MATRIX);
        let mut pivot = Pivot::new(&run);
        pivot.set_pages(Axis::Quant, &run);
        assert_eq!((pivot.rows, pivot.columns), (Axis::Steps, Axis::Guidance));
        assert_eq!(pivot.page_axes(&run), [Axis::Quant]);
        pivot.set_pages(Axis::Guidance, &run);
        assert_eq!((pivot.rows, pivot.columns), (Axis::Steps, Axis::Quant));
        assert_eq!(pivot.page_axes(&run), [Axis::Guidance]);
    }

    #[test]
    fn arrows_jump_over_holes_and_stop_at_the_edge() {
        let run = run(&[
            "Q4_0_gs2",
            "Q4_0_gs30",
            "Q8_0_gs2",
            "Q8_0_gs10",
            "Q8_0_gs30",
        ]);
        let grid = Pivot::new(&run).grid(&run);
        assert_eq!(grid.neighbour(&key("Q4_0_gs2"), 1, 0), key("Q4_0_gs30"));
        assert_eq!(grid.neighbour(&key("Q4_0_gs30"), 1, 0), key("Q4_0_gs30"));
        assert_eq!(grid.neighbour(&key("Q8_0_gs10"), 0, -1), key("Q8_0_gs10"));
        assert_eq!(grid.neighbour(&key("Q4_0_gs2"), 0, 1), key("Q8_0_gs2"));
    }

    #[test]
    fn arrows_go_on_into_the_strip() {
        let mut names = MATRIX.to_vec();
        names.extend(["Q8_0_gs2_s50"]);
        let run = run(&names);
        let grid = Pivot::new(&run).grid(&run);
        let below = grid.neighbour(&key("Q8_0_gs30"), 0, 1);
        assert_eq!(below.name(&run.defaults), "Q8_0_gs2_s50");
    }
}
