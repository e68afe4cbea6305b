//! What the votes of blind comparisons say of each cell, with how sure that is. Never a rank: wins,
//! losses and ties are shown as they are, in the order of the cells.

use super::blind::{BlindSession, Choice, SplitMix64};
use super::state::ReviewState;
use crate::model::cell::CellKey;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Under so many decided votes no interval is given.
pub const MIN_VOTES_FOR_INTERVAL: usize = 8;

/// How often the votes are drawn again for an interval.
const RESAMPLES: usize = 4_000;

/// What the votes say of one cell. A vote is one choice, among however many cells were shown: the
/// winner has one win and each other cell one loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CellTally {
    /// Votes that chose this cell.
    pub wins: usize,
    /// Votes that chose another one of those shown.
    pub losses: usize,
    /// Votes that found all equally good.
    pub ties: usize,
    /// Votes that found none good enough: kept apart and in no share.
    pub all_bad: usize,
}

impl CellTally {
    /// Votes with a winner or a tie.
    pub fn decided(&self) -> usize {
        self.wins + self.losses + self.ties
    }

    /// The share won, a tie counting half; `None` without a decided vote.
    pub fn share(&self) -> Option<f64> {
        let decided = self.decided();
        (decided > 0).then(|| (self.wins as f64 + self.ties as f64 / 2.0) / decided as f64)
    }

    fn add(&mut self, value: Vote) {
        match value {
            Vote::Won => self.wins += 1,
            Vote::Lost => self.losses += 1,
            Vote::Tied => self.ties += 1,
            Vote::AllBad => self.all_bad += 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vote {
    Won,
    Lost,
    Tied,
    AllBad,
}

/// The middle 95 % of shares when the votes are drawn again, with replacement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// 2.5th percentile, 0 to 1.
    pub low: f64,
    /// 97.5th percentile, 0 to 1.
    pub high: f64,
}

/// One line of a result.
#[derive(Debug, Clone, PartialEq)]
pub struct TallyRow {
    /// Which cell.
    pub cell: CellKey,
    /// Its votes.
    pub tally: CellTally,
    /// `None` under [`MIN_VOTES_FOR_INTERVAL`] decided votes.
    pub interval: Option<Interval>,
}

impl TallyRow {
    /// "9 wins, 2 losses, 1 tie: 79 % won (95 % interval 54 to 96 %)", and "all bad" apart.
    pub fn sentence(&self) -> String {
        let CellTally {
            wins,
            losses,
            ties,
            all_bad,
        } = self.tally;
        let mut text = format!(
            "{}, {}, {}",
            counted(wins, "win", "wins"),
            counted(losses, "loss", "losses"),
            counted(ties, "tie", "ties")
        );
        match (self.tally.share(), self.interval) {
            (Some(share), Some(Interval { low, high })) => {
                let _ = write!(
                    text,
                    ": {:.0} % won (95 % interval {:.0} to {:.0} %)",
                    share * 100.0,
                    low * 100.0,
                    high * 100.0
                );
            }
            (Some(_), None) => text.push_str(": too few votes for an interval"),
            (None, _) => {}
        }
        if all_bad > 0 {
            let _ = write!(text, "; all bad {}", counted(all_bad, "time", "times"));
        }
        text
    }
}

/// "1 win", "2 wins".
pub(super) fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// How often the reviewer answered a repeated round otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SelfAgreement {
    /// Repeated rounds of which both have a vote.
    pub repeated: usize,
    /// Of those, answered otherwise.
    pub disagreed: usize,
}

impl SelfAgreement {
    /// "disagreed with themselves on 1 of 2 repeated pairs".
    pub fn sentence(&self) -> String {
        if self.repeated == 0 {
            return "no repeated pair was voted on twice".to_owned();
        }
        format!(
            "disagreed with themselves on {} of {}",
            self.disagreed,
            counted(self.repeated, "repeated pair", "repeated pairs")
        )
    }
}

/// The result of one blind comparison, or of several together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BlindResult {
    /// One row a cell, in the order of the cells: not a rank.
    pub rows: Vec<TallyRow>,
    /// On the repeated rounds.
    pub self_agreement: SelfAgreement,
    /// Votes after the reveal: shown as such and counted nowhere.
    pub late_votes: usize,
    /// Votes that were counted, "all bad" included.
    pub votes: usize,
}

impl BlindResult {
    /// The result of these comparisons together. Intervals follow from the first one's seed, so the
    /// same votes always give the same figures.
    pub fn of<'a>(sessions: impl IntoIterator<Item = &'a BlindSession>) -> Self {
        let mut votes: BTreeMap<CellKey, Vec<Vote>> = BTreeMap::new();
        let mut result = Self::default();
        let mut seed = None;
        for session in sessions {
            seed.get_or_insert(session.plan.seed);
            result.late_votes += session.late_votes.len();
            for round in &session.plan.rounds {
                for cell in &round.cells {
                    votes.entry(cell.clone()).or_default();
                }
            }
            for (index, choice) in &session.votes {
                let Some(round) = session.plan.rounds.get(*index) else {
                    continue;
                };
                if let Some(first) = round.repeats {
                    if let Some(before) = session.votes.get(&first) {
                        result.self_agreement.repeated += 1;
                        let same =
                            chosen(session, first, *before) == chosen(session, *index, *choice);
                        result.self_agreement.disagreed += usize::from(!same);
                    }
                    continue;
                }
                result.votes += 1;
                for (place, cell) in round.cells.iter().enumerate() {
                    votes.entry(cell.clone()).or_default().push(match choice {
                        Choice::Winner(winner) if *winner == place => Vote::Won,
                        Choice::Winner(_) => Vote::Lost,
                        Choice::Tie => Vote::Tied,
                        Choice::AllBad => Vote::AllBad,
                    });
                }
            }
        }
        result.rows = votes
            .into_iter()
            .enumerate()
            .map(|(index, (cell, votes))| {
                let mut tally = CellTally::default();
                for vote in &votes {
                    tally.add(*vote);
                }
                let interval = interval(&votes, seed.unwrap_or(0).wrapping_add(index as u64));
                TallyRow {
                    cell,
                    tally,
                    interval,
                }
            })
            .collect();
        result
    }

    /// The result of every comparison of a review whose labels were shown. One that is not at its end
    /// stays out: its figures would say which cell is which.
    pub fn of_revealed(review: &ReviewState) -> Self {
        Self::of(
            review
                .blind_sessions()
                .into_iter()
                .filter(|session| session.revealed_at.is_some()),
        )
    }

    /// What the votes say of one cell; nothing if it took no part.
    pub fn tally(&self, cell: &CellKey) -> CellTally {
        self.rows
            .iter()
            .find(|row| row.cell == *cell)
            .map(|row| row.tally)
            .unwrap_or_default()
    }
}

/// What a choice means whichever side the cells are on.
#[derive(PartialEq)]
enum Meaning<'a> {
    Cell(Option<&'a CellKey>),
    Tie,
    AllBad,
}

fn chosen(session: &BlindSession, round: usize, choice: Choice) -> Meaning<'_> {
    match choice {
        Choice::Winner(place) => Meaning::Cell(
            session
                .plan
                .rounds
                .get(round)
                .and_then(|round| round.cells.get(place)),
        ),
        Choice::Tie => Meaning::Tie,
        Choice::AllBad => Meaning::AllBad,
    }
}

/// Percentile bootstrap (Efron 1979) over the decided votes on one cell.
fn interval(votes: &[Vote], seed: u64) -> Option<Interval> {
    let values: Vec<f64> = votes
        .iter()
        .filter_map(|vote| match vote {
            Vote::Won => Some(1.0),
            Vote::Tied => Some(0.5),
            Vote::Lost => Some(0.0),
            Vote::AllBad => None,
        })
        .collect();
    if values.len() < MIN_VOTES_FOR_INTERVAL {
        return None;
    }
    let mut random = SplitMix64::new(seed);
    let mut shares: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sum: f64 = (0..values.len())
                .filter_map(|_| values.get(random.below(values.len())))
                .sum();
            sum / values.len() as f64
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    let at = |part: f64| {
        shares
            .get(((RESAMPLES - 1) as f64 * part).round() as usize)
            .copied()
    };
    Some(Interval {
        low: at(0.025)?,
        high: at(0.975)?,
    })
}

/// Cells that took part in any comparison.
pub fn compared_cells(review: &ReviewState) -> BTreeSet<CellKey> {
    review
        .blind_sessions()
        .into_iter()
        .flat_map(|session| session.plan.rounds.iter())
        .flat_map(|round| round.cells.iter().cloned())
        .collect()
}
