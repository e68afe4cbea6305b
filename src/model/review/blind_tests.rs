//! Blind comparisons: plans, votes, and what they say.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::blind::BlindError;
use super::sample::{Script, cell, run, who};
use super::tally::{BlindResult, CellTally, MIN_VOTES_FOR_INTERVAL};
use super::*;
use crate::model::cell::CellKey;
use std::collections::BTreeSet;

fn cells(n: usize) -> Vec<CellKey> {
    run().cells.into_keys().take(n).collect()
}

#[test]
fn every_pair_is_shown_once_and_one_in_five_again_on_swapped_sides() {
    for (n, pairs, repeats) in [(2, 1, 0), (3, 3, 1), (5, 10, 2), (6, 15, 3), (9, 36, 7)] {
        let plan = BlindPlan::new(&cells(n), 2, 42).unwrap();
        let firsts: Vec<&Round> = plan
            .rounds
            .iter()
            .filter(|round| round.repeats.is_none())
            .collect();
        assert_eq!(firsts.len(), pairs);
        let distinct: BTreeSet<BTreeSet<&CellKey>> = firsts
            .iter()
            .map(|round| round.cells.iter().collect())
            .collect();
        assert_eq!(distinct.len(), pairs);
        assert_eq!(plan.rounds.len() - pairs, repeats, "{n} cells");
        for (index, round) in plan.rounds.iter().enumerate() {
            let Some(first) = round.repeats else { continue };
            let mut swapped = plan.rounds[first].cells.clone();
            swapped.reverse();
            assert_eq!(round.cells, swapped);
            assert!(
                index > first + 1,
                "another round comes between a pair and its repeat"
            );
        }
    }
}

#[test]
fn the_seed_decides_order_and_sides_and_is_recorded() {
    let plan = BlindPlan::new(&cells(5), 2, 7).unwrap();
    assert_eq!(plan, BlindPlan::new(&cells(5), 2, 7).unwrap());
    assert_eq!(plan.seed, 7);
    let others: BTreeSet<String> = (0..20)
        .map(|seed| format!("{:?}", BlindPlan::new(&cells(5), 2, seed).unwrap().rounds))
        .collect();
    assert_eq!(others.len(), 20);
    // The side says nothing: over many seeds each cell is as often left as right.
    let left = (0..2000)
        .filter(|seed| {
            BlindPlan::new(&cells(2), 2, *seed).unwrap().rounds[0].cells[0] == cells(1)[0]
        })
        .count();
    assert!((900..1100).contains(&left), "{left} of 2000");
}

#[test]
fn three_and_four_at_a_time_show_every_cell_often_enough() {
    for (n, together) in [(4, 4), (5, 3), (9, 4), (9, 3)] {
        let plan = BlindPlan::new(&cells(n), together, 1).unwrap();
        assert_eq!(plan.together(), together);
        assert_eq!(plan.check(), Ok(()));
        for round in &plan.rounds {
            assert_eq!(round.cells.iter().collect::<BTreeSet<_>>().len(), together);
        }
        let shown = |key: &CellKey| {
            plan.rounds
                .iter()
                .filter(|round| round.repeats.is_none() && round.cells.contains(key))
                .count()
        };
        let counts: Vec<usize> = cells(n).iter().map(shown).collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(
            most - least <= 1,
            "{n} cells, {together} at a time: {counts:?}"
        );
    }
}

#[test]
fn too_few_cells_or_five_at_a_time_are_refused() {
    assert_eq!(
        BlindPlan::new(&cells(1), 2, 1),
        Err(BlindError::TooFewCells {
            together: 2,
            cells: 1
        })
    );
    assert_eq!(
        BlindPlan::new(&cells(9), 5, 1),
        Err(BlindError::Together(5))
    );
    let twice = [cells(1), cells(1)].concat();
    assert!(
        BlindPlan::new(&twice, 2, 1).is_err(),
        "a cell is not compared with itself"
    );
}

#[test]
fn a_plan_that_lies_about_its_repeats_is_refused() {
    let mut plan = BlindPlan::new(&cells(3), 2, 1).unwrap();
    plan.rounds[0].repeats = Some(2);
    assert!(plan.check().is_err());
    plan.rounds[0] = Round {
        cells: cells(1),
        repeats: None,
    };
    assert!(plan.check().is_err());
}

struct Comparison {
    script: Script,
    session: EventId,
}

impl Comparison {
    fn begin(plan: BlindPlan) -> Self {
        let mut script = Script::default();
        let session = script.act("jane", Action::BlindBegin { plan });
        Self { script, session }
    }

    fn vote(&mut self, round: usize, choice: Choice) {
        self.script.act(
            "jane",
            Action::BlindVote {
                session: self.session.clone(),
                round,
                choice,
            },
        );
    }

    fn reveal(&mut self) {
        self.script.act(
            "jane",
            Action::BlindReveal {
                session: self.session.clone(),
            },
        );
    }

    fn session(&self) -> &BlindSession {
        self.script.state.blind_session(&self.session).unwrap()
    }

    fn result(&self) -> BlindResult {
        BlindResult::of([self.session()])
    }
}

fn rounds(n: usize, together: usize) -> BlindPlan {
    let round = Round {
        cells: cells(together),
        repeats: None,
    };
    BlindPlan {
        seed: 5,
        rounds: vec![round; n],
    }
}

#[test]
fn the_reveal_comes_at_the_end() {
    let mut comparison = Comparison::begin(rounds(2, 2));
    comparison.vote(0, Choice::Winner(0));
    assert_eq!(comparison.session().next_round(), Some(1));
    assert_eq!(
        comparison.session().may_reveal(),
        Err(BlindError::NotAtTheEnd { left: 1, rounds: 2 })
    );
    comparison.vote(1, Choice::Tie);
    assert_eq!(comparison.session().next_round(), None);
    assert_eq!(comparison.session().may_reveal(), Ok(()));
}

#[test]
fn a_vote_after_the_reveal_is_marked_and_not_counted() {
    let mut comparison = Comparison::begin(rounds(1, 2));
    comparison.vote(0, Choice::Winner(0));
    comparison.reveal();
    comparison.vote(0, Choice::Winner(1));
    assert_eq!(comparison.session().late_votes, [(0, Choice::Winner(1))]);
    let result = comparison.result();
    assert_eq!((result.votes, result.late_votes), (1, 1));
    assert_eq!(result.tally(&cells(1)[0]).wins, 1);
    assert_eq!(result.tally(&cells(2)[1]).wins, 0);
}

#[test]
fn a_vote_is_undone_before_the_reveal_and_never_after() {
    let mut comparison = Comparison::begin(rounds(1, 2));
    comparison.vote(0, Choice::Winner(0));
    let step = comparison.script.state.next_undo(&who("jane")).unwrap();
    assert_eq!(step.round, Some((comparison.session.clone(), 0)));
    comparison.script.undo("jane");
    assert!(comparison.session().votes.is_empty());
    comparison.script.redo("jane");
    let vote = comparison.script.state.events().nth(1).unwrap().id.clone();
    comparison.reveal();
    assert_eq!(comparison.script.state.next_undo(&who("jane")), None);
    comparison.script.act("jane", Action::Undo { of: vote });
    assert_eq!(comparison.session().votes.len(), 1);
}

#[test]
fn one_choice_among_four_is_one_vote() {
    let mut comparison = Comparison::begin(rounds(1, 4));
    comparison.vote(0, Choice::Winner(2));
    let result = comparison.result();
    assert_eq!(result.votes, 1);
    let wins: usize = result.rows.iter().map(|row| row.tally.wins).sum();
    assert_eq!(wins, 1);
    assert_eq!(
        result.tally(&cells(4)[2]),
        CellTally {
            wins: 1,
            ..CellTally::default()
        }
    );
    assert_eq!(
        result.tally(&cells(4)[0]),
        CellTally {
            losses: 1,
            ..CellTally::default()
        }
    );
}

#[test]
fn ties_are_half_and_all_bad_stands_apart() {
    let mut comparison = Comparison::begin(rounds(4, 2));
    comparison.vote(0, Choice::Winner(0));
    comparison.vote(1, Choice::Tie);
    comparison.vote(2, Choice::Winner(1));
    comparison.vote(3, Choice::AllBad);
    let tally = comparison.result().tally(&cells(1)[0]);
    assert_eq!(
        tally,
        CellTally {
            wins: 1,
            losses: 1,
            ties: 1,
            all_bad: 1
        }
    );
    assert_eq!(tally.share(), Some(0.5));
    assert_eq!(tally.decided(), 3);
}

#[test]
fn no_interval_under_eight_votes_and_the_same_one_every_time() {
    let result_of = |votes: usize| {
        let mut comparison = Comparison::begin(rounds(votes + 1, 2));
        for round in 0..votes {
            comparison.vote(
                round,
                if round % 4 == 3 {
                    Choice::Winner(1)
                } else {
                    Choice::Winner(0)
                },
            );
        }
        // "All bad" is no vote for either and does not make eight of seven.
        comparison.vote(votes, Choice::AllBad);
        comparison.result()
    };
    let seven = result_of(MIN_VOTES_FOR_INTERVAL - 1);
    assert!(seven.rows.iter().all(|row| row.interval.is_none()));
    assert!(
        seven.rows[0].sentence().contains("too few votes"),
        "{}",
        seven.rows[0].sentence()
    );
    let eight = result_of(MIN_VOTES_FOR_INTERVAL);
    assert_eq!(eight, result_of(MIN_VOTES_FOR_INTERVAL));
    let interval = eight.rows[0].interval.unwrap();
    // Six of eight: the binomial's own 2.5 % and 97.5 % points are 3.5/8 and 8/8 or a vote beside.
    assert!((0.3..=0.5).contains(&interval.low), "{interval:?}");
    assert!((0.9..=1.0).contains(&interval.high), "{interval:?}");
    let other = eight.rows[1].interval.unwrap();
    assert!(
        other.low <= 0.1 && (0.5..=0.7).contains(&other.high),
        "{other:?}"
    );
}

#[test]
fn a_repeat_shows_self_disagreement_and_is_not_counted_again() {
    let mut swapped = cells(2);
    swapped.reverse();
    let plan = BlindPlan {
        seed: 1,
        rounds: vec![
            Round {
                cells: cells(2),
                repeats: None,
            },
            Round {
                cells: swapped,
                repeats: Some(0),
            },
        ],
    };
    let answered = |first, second| {
        let mut comparison = Comparison::begin(plan.clone());
        comparison.vote(0, first);
        comparison.vote(1, second);
        comparison.result()
    };
    let same_cell = answered(Choice::Winner(0), Choice::Winner(1));
    assert_eq!(
        (
            same_cell.self_agreement.repeated,
            same_cell.self_agreement.disagreed
        ),
        (1, 0)
    );
    assert_eq!(same_cell.votes, 1);
    let same_side = answered(Choice::Winner(0), Choice::Winner(0));
    assert_eq!(same_side.self_agreement.disagreed, 1);
    assert_eq!(
        answered(Choice::Tie, Choice::Tie).self_agreement.disagreed,
        0
    );
    assert_eq!(
        same_side.self_agreement.sentence(),
        "disagreed with themselves on 1 of 1 repeated pair"
    );
}

#[test]
fn votes_of_others_and_votes_off_the_plan_are_ignored() {
    let mut comparison = Comparison::begin(rounds(1, 2));
    let session = comparison.session.clone();
    comparison.vote(0, Choice::Winner(2));
    comparison.vote(7, Choice::Tie);
    comparison.script.act(
        "max",
        Action::BlindVote {
            session: session.clone(),
            round: 0,
            choice: Choice::Tie,
        },
    );
    comparison
        .script
        .act("max", Action::BlindReveal { session });
    assert!(comparison.session().votes.is_empty());
    assert_eq!(comparison.session().revealed_at, None);
    assert_eq!(comparison.script.state.ignored().len(), 4);
}

#[test]
fn what_is_not_revealed_says_nothing() {
    let mut comparison = Comparison::begin(rounds(1, 2));
    comparison.vote(0, Choice::Winner(0));
    assert!(
        BlindResult::of_revealed(&comparison.script.state)
            .rows
            .is_empty()
    );
    comparison.reveal();
    assert_eq!(
        BlindResult::of_revealed(&comparison.script.state)
            .tally(&cell("Q4_0_gs4"))
            .wins,
        1
    );
}
