//! The Run page: the open run, where one is in it, how it is looked at, and what is arriving.

use super::approving::ApproveView;
use super::compose::duration_label;
use super::judging::Judging;
use super::look::{Compare, Look, Reference, ViewRequest};
use super::named_session::NamedSession;
use super::pivot::{Grid, Pivot, Strip};
use super::run_masks::RunMasks;
use super::seeing::cycle::Cycle;
use super::seeing::figures::FiguresCache;
use super::seeing::two_runs::{Matching, OtherRun};
use crate::model::cell::CellKey;
use crate::model::ids::ReviewerId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Axis;
use crate::model::review::failure::FailureTypes;
use crate::model::review::select::{self, SortBy};
use crate::model::run::{CellState, Run, files};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// What is under way on this run.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveRun {
    /// What is being done, when it is not a cell: "loading `Q8_0`".
    pub phase: String,
    /// The cell that is being made.
    pub cell: Option<CellKey>,
    /// Steps done of it.
    pub step: usize,
    /// Steps of it in all.
    pub steps: usize,
    /// What it looks like so far, at an eighth of the size that the model works at.
    pub preview: Option<Arc<image::RgbImage>>,
    /// Cells finished in this go.
    pub finished: usize,
    /// Cells of this go in all.
    pub total: usize,
    /// Seconds since it was started.
    pub elapsed_secs: f64,
    /// Whether it was asked to stop.
    pub is_cancelling: bool,
    /// Who makes it, if that is not this machine: a worker's address.
    pub elsewhere: Option<String>,
    /// Why times made there do not compare with production's, in a sentence.
    pub caution: Option<String>,
    /// What keeps news from coming: `connection lost, trying again in 4 s`.
    pub trouble: Option<String>,
}

impl LiveRun {
    /// Nothing is known yet.
    pub fn starting(elsewhere: Option<String>) -> Self {
        Self {
            phase: "starting".to_owned(),
            cell: None,
            step: 0,
            steps: 0,
            preview: None,
            finished: 0,
            total: 0,
            elapsed_secs: 0.0,
            is_cancelling: false,
            elsewhere,
            caution: None,
            trouble: None,
        }
    }

    /// 0 to 1.
    pub fn fraction(&self) -> f32 {
        let of_cell = self.step as f32 / self.steps.max(1) as f32;
        (self.finished as f32 + of_cell) / self.total.max(1) as f32
    }

    /// How far it is, in a line.
    pub fn words(&self) -> String {
        let mut text = match (&self.trouble, self.is_cancelling) {
            (Some(trouble), false) => trouble.clone(),
            (Some(trouble), true) => format!("to be cancelled; {trouble}"),
            (None, true) => "cancelling after this block…".to_owned(),
            (None, false) => {
                let left = self.left_secs().map_or(String::new(), |secs| {
                    format!(", {} left", duration_label(secs))
                });
                format!(
                    "{} of {} cells{left} · {}",
                    self.finished, self.total, self.phase
                )
            }
        };
        if let Some(worker) = &self.elsewhere {
            text.push_str(&format!(" · on {worker}"));
        }
        text
    }

    /// Seconds that are left, from the pace so far; `None` before the first cell has ended.
    pub fn left_secs(&self) -> Option<f64> {
        let done = self.finished as f64
            + if self.steps > 0 {
                self.step as f64 / self.steps as f64
            } else {
                0.0
            };
        (self.finished > 0).then(|| self.elapsed_secs / done * (self.total as f64 - done).max(0.0))
    }
}

/// Cells in a row where they are listed by time.
const SORTED_PER_ROW: usize = 5;

/// A run that is open.
#[derive(Debug)]
pub struct RunView {
    /// Its folder.
    pub dir: PathBuf,
    /// What was read.
    pub run: Run,
    /// Which axes are rows, columns, pages.
    pub pivot: Pivot,
    /// The grid that run and pivot give; renewed with either.
    pub grid: Grid,
    /// The cell that keys act on.
    pub selected: Option<CellKey>,
    /// How pictures are looked at.
    pub look: Look,
    /// What the shared view is to do at the next frame, and a number that tells requests apart.
    pub view_request: (ViewRequest, u64),
    /// Whether the selected cell is shown alone.
    pub is_full_screen: bool,
    /// Whether the reference is shown while a key is held.
    pub is_reference_held: bool,
    /// How pages or cells change by themselves.
    pub cycle: Cycle,
    /// A second run, beside which this one is looked at.
    pub other: Option<OtherRun>,
    /// Whether a click or a drag on a picture marks it, as with Shift.
    pub is_marking: bool,
    /// Counts what was asked to be marked without a pointer.
    pub mark_requests: u64,
    /// How much the selected cell differs from what it is compared with.
    pub figures: FiguresCache,
    /// What is under way on it.
    pub live: Option<LiveRun>,
    /// What is said about it.
    pub judging: Judging,
    /// The approval on screen.
    pub approving: Option<ApproveView>,
    /// Counts how often the run was read; pictures of an older reading are dropped.
    pub generation: u64,
    /// Distances to the run's cleaned masks, once they are there; none without a session.
    pub masks: RunMasks,
    /// The session that a person named for a run of the Python service.
    pub named: Option<NamedSession>,
    /// A recipe that the lab handed over, for cells that are run again.
    pub lab_recipe: Option<MaskRecipe>,
    /// Files that are in the bucket and not here yet.
    pub lacking: BTreeSet<String>,
    /// How often a file was replaced since the run was opened; its picture is then read again.
    pub revisions: BTreeMap<String, u64>,
}

impl RunView {
    /// Opens a run at its mask's box, the baseline selected.
    pub fn new(
        dir: PathBuf,
        run: Run,
        reviewer: ReviewerId,
        types: FailureTypes,
        generation: u64,
    ) -> Self {
        let mut pivot = Pivot::new(&run);
        let grid = pivot.grid(&run);
        let first_done = grid
            .order()
            .into_iter()
            .find(|key| matches!(run.cells.get(key), Some(CellState::Done(_))));
        let selected = run
            .baseline_key()
            .cloned()
            .or(first_done)
            .or_else(|| grid.order().into_iter().next());
        // The page that it is on, which need not be the first.
        if let Some(key) = &selected {
            pivot.show(key, &run);
        }
        let grid = pivot.grid(&run);
        Self {
            dir,
            run,
            pivot,
            grid,
            selected,
            look: Look::default(),
            view_request: (ViewRequest::MaskBox, 0),
            is_full_screen: false,
            is_reference_held: false,
            cycle: Cycle::default(),
            other: None,
            is_marking: false,
            mark_requests: 0,
            figures: FiguresCache::default(),
            live: None,
            judging: Judging::new(reviewer, types),
            approving: None,
            generation,
            masks: RunMasks::default(),
            named: None,
            lab_recipe: None,
            lacking: BTreeSet::new(),
            revisions: BTreeMap::new(),
        }
    }

    /// Asks something of the shared view.
    pub fn ask(&mut self, request: ViewRequest) {
        self.view_request = (request, self.view_request.1 + 1);
    }

    /// Takes a new reading of the same run; where one is and how one looks stays.
    pub fn refresh(&mut self, run: Run) {
        self.run = run;
        self.figures.forget();
        if let Some(other) = &mut self.other {
            other.matching = Matching::of(&self.run, &other.run);
        }
        self.pivot.settle_pages(&self.run);
        self.lay_out();
    }

    /// Closes the second run; what was compared with it is compared with the original again.
    pub fn close_other(&mut self) {
        self.other = None;
        if self.look.reference == Reference::OtherRun {
            self.look.reference = Reference::Original;
        }
    }

    /// The second run where each cell is drawn as a pair.
    pub fn paired(&self) -> Option<&OtherRun> {
        self.other.as_ref().filter(|other| other.is_paired)
    }

    /// Renews the grid, and keeps the selection on something that exists.
    pub fn lay_out(&mut self) {
        self.grid = self.shown_grid();
        let exists = self
            .selected
            .as_ref()
            .is_some_and(|key| self.run.cells.contains_key(key));
        if !exists {
            self.selected = self.grid.order().into_iter().next();
        }
        if let Reference::Cell(key) = &self.look.reference
            && !self.run.cells.contains_key(key)
        {
            self.look.reference = Reference::Original;
        }
    }

    /// The pivot's grid without what filters leave out; or, sorted, one list of what they admit.
    fn shown_grid(&self) -> Grid {
        let judging = &self.judging;
        if judging.sort != SortBy::Key {
            let sorted = select::select(
                &self.run,
                &judging.review,
                &judging.reviewer,
                &judging.filters,
                judging.sort,
            );
            let title = if judging.sort == SortBy::WallTime {
                "by wall time, quickest first"
            } else {
                "by GPU time, quickest first"
            };
            let varies = |axis: &Axis| self.run.axis_values(*axis).len() > 1;
            let varied: Vec<Axis> = Axis::ALL.into_iter().filter(varies).collect();
            let strips = sorted
                .chunks(SORTED_PER_ROW)
                .enumerate()
                .map(|(index, cells)| Strip {
                    axes: varied.clone(),
                    title: if index == 0 {
                        title.to_owned()
                    } else {
                        String::new()
                    },
                    cells: cells.to_vec(),
                });
            return Grid {
                rows: Vec::new(),
                columns: Vec::new(),
                cells: Vec::new(),
                left_out: BTreeSet::new(),
                strips: strips.collect(),
                pages: self.pivot.page_axes(&self.run),
            };
        }
        let mut grid = self.pivot.grid(&self.run);
        if !judging.filters.is_empty() {
            for (index, cell) in grid.cells.iter_mut().enumerate() {
                if cell
                    .as_ref()
                    .is_some_and(|key| !judging.admits(key, &self.run))
                {
                    *cell = None;
                    grid.left_out.insert(index);
                }
            }
            for strip in &mut grid.strips {
                strip.cells.retain(|key| judging.admits(key, &self.run));
            }
            grid.strips.retain(|strip| !strip.cells.is_empty());
        }
        grid
    }

    /// All cells in the order in which keys go through them: those on screen first.
    pub fn order(&self) -> Vec<CellKey> {
        let mut order = self.grid.order();
        let rest: Vec<CellKey> = self
            .run
            .cells
            .keys()
            .filter(|key| !order.contains(key) && self.judging.admits(key, &self.run))
            .cloned()
            .collect();
        order.extend(rest);
        order
    }

    /// Selects a cell and turns to its page.
    pub fn select(&mut self, key: CellKey) {
        self.pivot.show(&key, &self.run);
        self.grid = self.shown_grid();
        self.selected = Some(key);
    }

    /// Moves the selection in the grid.
    pub fn step(&mut self, columns: i32, rows: i32) {
        if let Some(from) = &self.selected {
            let next = self.grid.neighbour(from, columns, rows);
            self.selected = Some(next);
        }
    }

    /// The cells that arrows lead to from the selected one: these are loaded ahead.
    pub fn neighbours(&self) -> Vec<CellKey> {
        let Some(from) = &self.selected else {
            return Vec::new();
        };
        let mut all: Vec<CellKey> = [(1, 0), (-1, 0), (0, 1), (0, -1)]
            .into_iter()
            .map(|(columns, rows)| self.grid.neighbour(from, columns, rows))
            .collect();
        // The next page on either side, and where it goes by itself.
        for axis in self.pivot.page.keys().copied().chain(self.cycle.axis) {
            let line = self.along(axis);
            let at = line.iter().position(|key| key == from).unwrap_or(0);
            let count = line.len().max(1);
            for next in [at + 1, at + count - 1] {
                all.extend(line.get(next % count).cloned());
            }
        }
        let mut seen = BTreeSet::from([from.clone()]);
        all.retain(|key| seen.insert(key.clone()));
        all
    }

    /// Whether a cell has pictures in the bucket that are not here yet.
    pub fn lacks(&self, key: &CellKey) -> bool {
        !self.lacking.is_empty()
            && (self.lacking.contains(&self.run.picture_file(key))
                || self
                    .lacking
                    .contains(&files::fill(&self.run.cell_name(key))))
    }

    /// Whether a cell is done: only then is there something to judge.
    pub fn has_picture(&self, key: &CellKey) -> bool {
        matches!(self.run.cells.get(key), Some(CellState::Done(_)))
    }

    /// The selected cell's state.
    pub fn selected_state(&self) -> Option<&CellState> {
        self.run.cells.get(self.selected.as_ref()?)
    }

    /// Switches a way of comparing on, or off if it is on.
    pub fn toggle_compare(&mut self, compare: Compare) {
        self.look.compare = if self.look.compare == compare {
            Compare::Plain
        } else {
            compare
        };
    }

    /// The dilation that the overlay shows, in pixels at inference size; `None` if it is unknown.
    pub fn shown_dilation_px(&self, key: &CellKey) -> Option<f32> {
        self.look
            .dilate_px
            .or_else(|| key.dilate_px.map(|px| px.value() as f32))
    }

    /// The recipe that is on screen for a cell, and that an approval would write: the lab's where it was
    /// handed over, else the cell's own, at the dilation that the overlay shows. `None` while each cell
    /// shows its own, or where that is unknown.
    pub fn shown_recipe(&self, key: &CellKey) -> Option<MaskRecipe> {
        let dilate_px = self.look.dilate_px?;
        let own = self.run.recipe_of(key)?;
        let recipe = self.lab_recipe.clone().unwrap_or(own);
        Some(MaskRecipe {
            dilate_px,
            ..recipe
        })
    }

    /// Cells that are not there yet and could be run.
    pub fn missing_count(&self) -> usize {
        self.run
            .cells
            .values()
            .filter(|state| !matches!(state, CellState::Done(_)))
            .count()
    }
}
