//! A blind comparison: which cells are shown together, in which order, and what was chosen. It must
//! not know labels, timings or file names; what the votes say is [`super::tally`]'s.

use super::event::EventId;
use super::time::UtcTime;
use crate::model::cell::CellKey;
use crate::model::ids::ReviewerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most rounds that a plan may have.
pub const MAX_ROUNDS: usize = 10_000;

/// Up to so many rounds, every combination of three or four cells is shown; above it each cell is
/// shown equally often instead. Pairs are always all shown.
const ALL_COMBINATIONS_UP_TO: usize = 60;

/// A blind comparison that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlindError {
    /// Fewer cells than are shown together.
    #[error(
        "a blind comparison of {together} at a time needs at least {together} cells, but {cells} are selected"
    )]
    TooFewCells {
        /// Cells shown together.
        together: usize,
        /// Cells selected.
        cells: usize,
    },
    /// Not 2, 3 or 4.
    #[error("2 to 4 cells can be compared at a time, not {0}")]
    Together(usize),
    /// Too many rounds.
    #[error(
        "{cells} cells give {rounds} rounds and at most {MAX_ROUNDS} are allowed: select fewer"
    )]
    TooManyRounds {
        /// Cells selected.
        cells: usize,
        /// Rounds that they would give.
        rounds: usize,
    },
    /// A reveal before the end.
    #[error("the reveal comes at the end: {left} of {rounds} rounds have no vote yet")]
    NotAtTheEnd {
        /// Rounds without a vote.
        left: usize,
        /// All rounds.
        rounds: usize,
    },
}

/// Numbers that follow from a seed: `SplitMix64` (Steele, Lea and Flood 2014). It is here, and not from
/// a crate, because a recorded seed must give the same order in every later version.
#[derive(Debug, Clone)]
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`, which is at least 1. The bias of the multiplication is below
    /// `bound / 2^64`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound.max(1) as u128) >> 64) as usize
    }

    /// Fisher and Yates.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

/// Cells that are shown together, from left to right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// 2 to 4 cells.
    pub cells: Vec<CellKey>,
    /// The earlier round with the same cells on other sides, if this repeats one. Its vote only shows
    /// whether the reviewer agrees with themselves; it is not counted again.
    #[serde(default)]
    pub repeats: Option<usize>,
}

/// The rounds of a blind comparison in the order in which they are shown, and the seed that gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlindPlan {
    /// What order and sides were shuffled by.
    pub seed: u64,
    /// The rounds.
    pub rounds: Vec<Round>,
}

impl BlindPlan {
    /// Plans every pair of `cells` once (or every three or four; where that is over 60 rounds, each
    /// cell equally often), in shuffled order and on shuffled sides, with one round in five repeated
    /// later on swapped sides: at least one where there are two rounds or more.
    ///
    /// # Errors
    /// [`BlindError`] for too few cells, too many rounds, or other than 2 to 4 at a time.
    pub fn new(cells: &[CellKey], together: usize, seed: u64) -> Result<Self, BlindError> {
        if !(2..=4).contains(&together) {
            return Err(BlindError::Together(together));
        }
        let mut cells = cells.to_vec();
        cells.sort();
        cells.dedup();
        if cells.len() < together {
            return Err(BlindError::TooFewCells {
                together,
                cells: cells.len(),
            });
        }
        let count = combinations_count(cells.len(), together);
        let mut random = SplitMix64::new(seed);
        let mut groups = if together == 2 || count <= ALL_COMBINATIONS_UP_TO {
            if count > MAX_ROUNDS / 2 {
                return Err(BlindError::TooManyRounds {
                    cells: cells.len(),
                    rounds: count,
                });
            }
            combinations(&cells, together)
        } else {
            balanced(&cells, together, &mut random)
        };
        random.shuffle(&mut groups);
        for group in &mut groups {
            random.shuffle(group);
        }
        Ok(Self {
            seed,
            rounds: with_repeats(&groups, &mut random),
        })
    }

    /// Cells shown at a time, at most.
    pub fn together(&self) -> usize {
        self.rounds
            .iter()
            .map(|round| round.cells.len())
            .max()
            .unwrap_or(0)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.rounds.len() > MAX_ROUNDS {
            return Err(format!(
                "a blind plan has {} rounds; at most {MAX_ROUNDS} are allowed",
                self.rounds.len()
            ));
        }
        for (index, round) in self.rounds.iter().enumerate() {
            if !(2..=4).contains(&round.cells.len()) {
                return Err(format!(
                    "blind round {index} shows {} cells; 2 to 4 are allowed",
                    round.cells.len()
                ));
            }
            let distinct: std::collections::BTreeSet<_> = round.cells.iter().collect();
            if distinct.len() < round.cells.len() {
                return Err(format!("blind round {index} shows the same cell twice"));
            }
            let Some(first) = round.repeats else { continue };
            let mut same = self.rounds.get(first).map(|other| other.cells.clone());
            let mut own = round.cells.clone();
            own.sort();
            if let Some(cells) = &mut same {
                cells.sort();
            }
            if first >= index || same != Some(own) {
                return Err(format!(
                    "blind round {index} says that it repeats round {first}, which has other cells or comes later"
                ));
            }
        }
        Ok(())
    }
}

fn combinations_count(n: usize, k: usize) -> usize {
    (0..k).fold(1usize, |count, i| count.saturating_mul(n - i) / (i + 1))
}

fn combinations(cells: &[CellKey], k: usize) -> Vec<Vec<CellKey>> {
    if k == 0 {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for (index, first) in cells.iter().enumerate() {
        for mut rest in combinations(&cells[index + 1..], k - 1) {
            rest.insert(0, first.clone());
            found.push(rest);
        }
    }
    found
}

/// Groups in which every cell appears four times or more, by dealing shuffled decks; a group that would
/// be cut at a deck's end is filled from the next deck with cells that it does not have yet.
fn balanced(cells: &[CellKey], together: usize, random: &mut SplitMix64) -> Vec<Vec<CellKey>> {
    let mut groups = Vec::new();
    let mut left: Vec<CellKey> = Vec::new();
    let wanted = cells.len() * 4 / together;
    while groups.len() < wanted {
        let mut group: Vec<CellKey> = Vec::new();
        while group.len() < together {
            if let Some(at) = left.iter().position(|cell| !group.contains(cell)) {
                group.push(left.remove(at));
            } else {
                let mut deck = cells.to_vec();
                random.shuffle(&mut deck);
                left.extend(deck);
            }
        }
        groups.push(group);
    }
    groups
}

fn with_repeats(groups: &[Vec<CellKey>], random: &mut SplitMix64) -> Vec<Round> {
    let count = groups.len();
    let repeats = if count < 2 {
        0
    } else {
        ((count + 2) / 5).max(1)
    };
    // Only of the first half, so that others always come between a pair and its repeat.
    let mut sources: Vec<usize> = (0..count.div_ceil(2)).collect();
    random.shuffle(&mut sources);
    sources.truncate(repeats);
    sources.sort_unstable();
    // (group, whether it is the repeat)
    let mut order: Vec<(usize, bool)> = (0..count).map(|group| (group, false)).collect();
    for source in sources {
        let at = order
            .iter()
            .position(|entry| *entry == (source, false))
            .unwrap_or(0);
        let earliest = (at + 2).min(order.len());
        let place = earliest + random.below(order.len() - earliest + 1);
        order.insert(place, (source, true));
    }
    let first_of = |group: usize| order.iter().position(|entry| *entry == (group, false));
    order
        .iter()
        .filter_map(|(group, is_repeat)| {
            let mut cells = groups.get(*group)?.clone();
            if *is_repeat {
                cells.reverse();
            }
            Some(Round {
                cells,
                repeats: if *is_repeat { first_of(*group) } else { None },
            })
        })
        .collect()
}

/// What was chosen in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Choice {
    /// The picture at this place wins, from 0 at the left.
    Winner(usize),
    /// All are equally good.
    Tie,
    /// None is good enough.
    AllBad,
}

/// A blind comparison as far as it got.
#[derive(Debug, Clone, PartialEq)]
pub struct BlindSession {
    /// The event that began it.
    pub id: EventId,
    /// Whose it is.
    pub reviewer: ReviewerId,
    /// When it began.
    pub began_at: UtcTime,
    /// Its rounds.
    pub plan: BlindPlan,
    /// The choice of each round, from 0; the last one before the reveal.
    pub votes: BTreeMap<usize, Choice>,
    /// Choices after the reveal, in order: shown as such and never counted.
    pub late_votes: Vec<(usize, Choice)>,
    /// When its labels were shown.
    pub revealed_at: Option<UtcTime>,
}

impl BlindSession {
    /// The first round without a vote; `None` at the end.
    pub fn next_round(&self) -> Option<usize> {
        (0..self.plan.rounds.len()).find(|round| !self.votes.contains_key(round))
    }

    /// Whether labels may be shown now: every round has a vote, or they already were.
    ///
    /// # Errors
    /// [`BlindError::NotAtTheEnd`] with the number of rounds left.
    pub fn may_reveal(&self) -> Result<(), BlindError> {
        let rounds = self.plan.rounds.len();
        let left = rounds.saturating_sub(self.votes.len());
        if left == 0 || self.revealed_at.is_some() {
            Ok(())
        } else {
            Err(BlindError::NotAtTheEnd { left, rounds })
        }
    }
}
