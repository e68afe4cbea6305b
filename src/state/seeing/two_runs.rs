//! A second run beside the open one: which of its cells is the same as which of ours.
//!
//! Knows runs and keys, nothing of pictures. The second run is only looked at: verdicts are about the
//! first.

use crate::model::cell::CellKey;
use crate::model::run::{CellState, Run};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A run that is open for comparison.
#[derive(Debug)]
pub struct OtherRun {
    /// Its folder.
    pub dir: PathBuf,
    /// What was read.
    pub run: Run,
    /// Counts how often it was read; pictures of an older reading are dropped.
    pub revision: u64,
    /// Whether each cell is drawn as a pair.
    pub is_paired: bool,
    /// Which of its cells stands beside which of ours.
    pub matching: Matching,
}

impl OtherRun {
    /// A run that was read beside `first`.
    pub fn new(dir: PathBuf, run: Run, revision: u64, first: &Run) -> Self {
        let matching = Matching::of(first, &run);
        Self {
            dir,
            run,
            revision,
            is_paired: true,
            matching,
        }
    }

    /// What stands beside a cell of the first run, and what is known of it.
    pub fn beside(&self, key: &CellKey) -> Option<(&CellKey, &CellState)> {
        let theirs = self.matching.theirs(key)?;
        Some((theirs, self.run.cells.get(theirs)?))
    }

    /// The picture that stands beside a cell of the first run; none unless it is there.
    pub fn picture_beside(&self, key: &CellKey) -> Option<PathBuf> {
        match self.beside(key)? {
            (theirs, CellState::Done(_)) => Some(self.dir.join(self.run.picture_file(theirs))),
            _ => None,
        }
    }
}

/// Cells of two runs that were made with the same values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matching {
    pairs: BTreeMap<CellKey, CellKey>,
    /// Cells of the first run that the second has no counterpart of.
    pub only_first: Vec<CellKey>,
    /// Cells of the second run that the first has no counterpart of.
    pub only_second: Vec<CellKey>,
    /// What all cells of the one run have different from all cells of the other: `seed 42 ↔ 7`.
    pub differences: Vec<String>,
}

/// What cells are told apart by, in the order of [`values`].
const NAMES: [&str; 7] = [
    "quant",
    "guidance",
    "steps",
    "seed",
    "prompt",
    "dilation",
    "mask recipe",
];

/// A cell's values, comparable between runs: prompts by their text and recipes by their content. `None`
/// where the run does not say.
fn values(run: &Run, key: &CellKey) -> [Option<String>; 7] {
    [
        Some(key.quant.to_string()),
        Some(key.guidance.to_string()),
        Some(key.steps.to_string()),
        key.seed.map(|seed| seed.to_string()),
        run.prompt_of(key).map(|prompt| format!("“{prompt}”")),
        key.dilate_px.map(|px| format!("{px} px")),
        run.recipe_of(key).map(|recipe| recipe.hash8()),
    ]
}

impl Matching {
    /// Two cells are the same where they agree in everything that varies within either run. What is
    /// constant in both does not keep them apart: that is what the runs are compared for, and it is
    /// named in [`Self::differences`].
    pub fn of(first: &Run, second: &Run) -> Self {
        let all = |run: &Run| -> Vec<(CellKey, [Option<String>; 7])> {
            run.cells
                .keys()
                .map(|key| (key.clone(), values(run, key)))
                .collect()
        };
        let (ours, theirs) = (all(first), all(second));
        let distinct = |cells: &[(CellKey, [Option<String>; 7])], at: usize| {
            cells
                .iter()
                .map(|(_, values)| values[at].clone())
                .collect::<BTreeSet<_>>()
        };
        let mut varying = Vec::new();
        let mut differences = Vec::new();
        for (at, name) in NAMES.into_iter().enumerate() {
            let (here, there) = (distinct(&ours, at), distinct(&theirs, at));
            if here.len() > 1 || there.len() > 1 {
                varying.push(at);
            } else if let (Some(Some(here)), Some(Some(there))) = (here.first(), there.first())
                && here != there
            {
                differences.push(format!("{name} {here} ↔ {there}"));
            }
        }
        // What a run does not know equals nothing.
        let place = |values: &[Option<String>; 7]| -> Option<Vec<String>> {
            varying.iter().map(|at| values[*at].clone()).collect()
        };
        let mut by_place: BTreeMap<Vec<String>, CellKey> = BTreeMap::new();
        for (key, values) in &theirs {
            if let Some(place) = place(values) {
                by_place.entry(place).or_insert_with(|| key.clone());
            }
        }
        let mut matching = Self {
            differences,
            ..Self::default()
        };
        for (key, values) in &ours {
            match place(values).and_then(|place| by_place.get(&place)) {
                Some(other) => {
                    matching.pairs.insert(key.clone(), other.clone());
                }
                None => matching.only_first.push(key.clone()),
            }
        }
        let taken: BTreeSet<&CellKey> = matching.pairs.values().collect();
        matching.only_second = theirs
            .iter()
            .map(|(key, _)| key)
            .filter(|key| !taken.contains(key))
            .cloned()
            .collect();
        matching
    }

    /// The second run's cell that is the same as one of the first's.
    pub fn theirs(&self, ours: &CellKey) -> Option<&CellKey> {
        self.pairs.get(ours)
    }

    /// How many cells stand beside each other.
    pub fn count(&self) -> usize {
        self.pairs.len()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::model::cell::CellDefaults;
    use crate::model::ids::RunId;
    use crate::model::run::Origin;

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

    fn names(keys: &[CellKey]) -> Vec<String> {
        let defaults = CellDefaults::of_service_run();
        keys.iter().map(|key| key.name(&defaults)).collect()
    }

    fn seeded(mut run: Run, seed: u64) -> Run {
        run.cells = run
            .cells
            .into_iter()
            .map(|(mut key, state)| {
                key.seed = Some(seed);
                (key, state)
            })
            .collect();
        run
    }

    #[test]
    fn cells_of_the_same_values_stand_beside_each_other_and_the_rest_is_named() {
        let first = run(&["Q4_0_gs2", "Q4_0_gs10", "Q8_0_gs2"]);
        let second = run(&["Q4_0_gs10", "Q8_0_gs2", "Q8_0_gs30"]);
        let matching = Matching::of(&first, &second);
        assert_eq!(matching.count(), 2);
        assert_eq!(names(&matching.only_first), ["Q4_0_gs2"]);
        assert_eq!(names(&matching.only_second), ["Q8_0_gs30"]);
        assert!(matching.differences.is_empty());
    }

    #[test]
    fn what_is_constant_in_both_runs_does_not_keep_cells_apart() {
        let first = seeded(run(&["Q4_0_gs2", "Q4_0_gs10"]), 42);
        let second = seeded(run(&["Q8_0_gs2", "Q8_0_gs10"]), 7);
        let matching = Matching::of(&first, &second);
        assert_eq!(matching.count(), 2);
        assert_eq!(matching.differences, ["quant Q4_0 ↔ Q8_0", "seed 42 ↔ 7"]);
        let one = first.cells.keys().next().unwrap();
        assert_eq!(matching.theirs(one).unwrap().guidance, one.guidance);
    }

    #[test]
    fn what_varies_in_one_run_and_is_unknown_in_the_other_matches_nothing() {
        let mut first = seeded(run(&["Q4_0_gs2"]), 42);
        first.cells.extend(seeded(run(&["Q4_0_gs2"]), 43).cells);
        let matching = Matching::of(&first, &run(&["Q4_0_gs2"]));
        assert_eq!(matching.count(), 0);
        assert_eq!(
            (matching.only_first.len(), matching.only_second.len()),
            (2, 1)
        );
    }

    #[test]
    fn steps_of_a_sweep_are_compared_with_the_same_steps() {
        let first = run(&["Q4_0_gs2", "Q4_0_gs2_s50"]);
        let second = run(&["Q4_0_gs2"]);
        let matching = Matching::of(&first, &second);
        assert_eq!(matching.count(), 1);
        assert_eq!(names(&matching.only_first), ["Q4_0_gs2_s50"]);
    }
}
