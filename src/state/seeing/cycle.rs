//! Going on by itself along an axis: one cell alone through parameter space, or the grid through its
//! pages.

use crate::model::cell::CellKey;
use crate::model::matrix::{Axis, AxisValue};
use crate::model::run::CellState;
use crate::state::run_view::RunView;

/// The quickest that pictures change, in seconds.
pub const MIN_SECS: f32 = 0.1;
/// The slowest that pictures change, in seconds.
pub const MAX_SECS: f32 = 10.0;

/// How pictures change by themselves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cycle {
    /// Whether they do.
    pub is_on: bool,
    /// The axis that was chosen; without one it is the columns', or in the grid the pages'.
    pub axis: Option<Axis>,
    /// How long each is shown, in seconds, [`MIN_SECS`] to [`MAX_SECS`].
    pub secs: f32,
}

impl Default for Cycle {
    fn default() -> Self {
        Self {
            is_on: false,
            axis: None,
            secs: 0.7,
        }
    }
}

impl Cycle {
    /// The same with another time for each picture; what is out of range is brought into it.
    #[must_use]
    pub fn with_secs(self, secs: f32) -> Self {
        let secs = if secs.is_finite() { secs } else { self.secs };
        Self {
            secs: secs.clamp(MIN_SECS, MAX_SECS),
            ..self
        }
    }
}

impl RunView {
    /// The axes along which something would change: in the grid those of its pages, otherwise all on
    /// which there are other cells like the selected one.
    pub fn cycle_axes(&self) -> Vec<Axis> {
        if self.is_full_screen {
            let has_more = |axis: &Axis| self.along(*axis).len() > 1;
            Axis::ALL.into_iter().filter(has_more).collect()
        } else {
            let pages = self.pivot.page_axes(&self.run);
            let has_more = |axis: &Axis| self.pivot.page_values(*axis, &self.run).len() > 1;
            pages.into_iter().filter(has_more).collect()
        }
    }

    /// The axis along which pictures change now: the chosen one where it can be, or the first.
    pub fn cycle_axis(&self) -> Option<Axis> {
        let axes = self.cycle_axes();
        let wanted = self.cycle.axis.or(Some(self.pivot.columns));
        wanted
            .filter(|axis| axes.contains(axis))
            .or_else(|| axes.first().copied())
    }

    /// Begins or ends. A grid without pages has nothing to turn: there the selected cell is shown alone.
    pub fn toggle_cycle(&mut self) {
        self.cycle.is_on = !self.cycle.is_on;
        if self.cycle.is_on && !self.is_full_screen && self.cycle_axes().is_empty() {
            self.is_full_screen = self.selected.is_some();
        }
    }

    /// Goes on by one, from the last to the first.
    pub fn cycle_on(&mut self) {
        let Some(axis) = self.cycle_axis() else {
            return;
        };
        if self.is_full_screen {
            let cells = self.along(axis);
            let at = cells
                .iter()
                .position(|key| Some(key) == self.selected.as_ref())
                .map_or(0, |at| at + 1);
            if let Some(next) = cells.get(at % cells.len().max(1)) {
                self.select(next.clone());
            }
        } else {
            let values = self.pivot.page_values(axis, &self.run);
            let at = self
                .pivot
                .page
                .get(&axis)
                .and_then(|now| values.iter().position(|value| value == now))
                .map_or(0, |at| at + 1);
            if let Some(next) = values.get(at % values.len().max(1)) {
                self.show_page(axis, next.clone());
            }
        }
    }

    /// Turns to a page; the selection keeps its place in the grid where there is a cell.
    pub fn show_page(&mut self, axis: Axis, value: AxisValue) {
        self.pivot.page.insert(axis, value);
        self.select_same_place();
        self.lay_out();
    }

    /// Selects what stands on the new page where the selection stood on the old one.
    pub fn select_same_place(&mut self) {
        let at = self.selected.as_ref().and_then(|key| {
            let row = self.pivot.rows.value_of(key);
            let column = self.pivot.columns.value_of(key);
            let grid = self.pivot.grid(&self.run);
            let mut cells = grid.cells.into_iter().flatten();
            cells.find(|other| {
                self.pivot.rows.value_of(other) == row
                    && self.pivot.columns.value_of(other) == column
            })
        });
        self.selected = at.or(self.selected.take());
    }

    /// Cells with a picture that differ from the selected one along an axis only, in its order, the
    /// selected one among them; what is hidden or filtered out is left out.
    pub(in crate::state) fn along(&self, axis: Axis) -> Vec<CellKey> {
        let Some(from) = &self.selected else {
            return Vec::new();
        };
        let is_like = |key: &CellKey| {
            Axis::ALL
                .into_iter()
                .filter(|other| *other != axis)
                .all(|other| other.value_of(key) == other.value_of(from))
        };
        let is_shown = |key: &CellKey| {
            key == from
                || (!self.pivot.hides(key)
                    && self.judging.admits(key, &self.run)
                    && matches!(self.run.cells.get(key), Some(CellState::Done(_))))
        };
        let mut cells: Vec<CellKey> = self
            .run
            .cells
            .keys()
            .filter(|key| is_like(key) && is_shown(key))
            .cloned()
            .collect();
        cells.sort_by_key(|key| axis.value_of(key));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_stays_in_its_range() {
        let cycle = Cycle::default();
        assert_eq!(cycle.with_secs(0.0).secs, MIN_SECS);
        assert_eq!(cycle.with_secs(99.0).secs, MAX_SECS);
        assert_eq!(cycle.with_secs(f32::NAN).secs, cycle.secs);
    }
}
