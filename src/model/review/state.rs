//! The state of a review: the fold over all events that count, of all reviewers.

use super::blind::{BlindSession, Choice};
use super::event::{Action, Event, EventId, Judgement, MAX_SEQ, Mark};
use super::failure::FailureKey;
use super::history::{History, UndoStep};
use super::journal;
use super::time::UtcTime;
use crate::model::cell::CellKey;
use crate::model::ids::ReviewerId;
use std::collections::{BTreeMap, BTreeSet};

/// A box or point on a picture, with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedMark {
    /// The event that drew it.
    pub id: EventId,
    /// What was drawn.
    pub mark: Mark,
}

/// What one reviewer said of one cell.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CellReview {
    /// Whether the cell was looked at: shown large enough, or judged, noted or marked.
    pub seen: bool,
    /// Pass or reject; `None` is unreviewed or cleared.
    pub judgement: Option<Judgement>,
    /// Types that were named. On a pass these are only noted.
    pub types: BTreeSet<FailureKey>,
    /// The note; may be empty.
    pub note: String,
    /// Boxes and points, in the order in which they were drawn.
    pub marks: Vec<PlacedMark>,
    /// When the verdict was set; `None` without one.
    pub judged_at: Option<UtcTime>,
}

/// Where a cell stands with one reviewer, or with all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Standing {
    /// Nobody who is asked has a verdict.
    Unreviewed,
    /// All who judged it passed it.
    Passed,
    /// All who judged it rejected it.
    Rejected,
    /// Some passed it and some rejected it.
    Disputed,
}

impl Standing {
    /// `unreviewed`, `passed`, `rejected` or `disputed`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreviewed => "unreviewed",
            Self::Passed => "passed",
            Self::Rejected => "rejected",
            Self::Disputed => "disputed",
        }
    }
}

/// An approval that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// Which cell.
    pub cell: CellKey,
    /// Who.
    pub reviewer: ReviewerId,
    /// When.
    pub at: UtcTime,
    /// The settings file.
    pub file: String,
    /// SHA-256 of what was written.
    pub sha256: String,
    /// Codes of what held it back, with the typed reasons.
    pub overrides: Vec<(String, String)>,
}

type Order = (u64, UtcTime, EventId);

#[derive(Debug, Clone, PartialEq, Default)]
struct Derived {
    reviews: BTreeMap<ReviewerId, BTreeMap<CellKey, CellReview>>,
    blind: BTreeMap<EventId, BlindSession>,
    approvals: Vec<Approval>,
    history: History,
    ignored: BTreeMap<EventId, String>,
}

/// All events, in order, and what they amount to. Two states are equal if they hold the same events,
/// in whichever order those came in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReviewState {
    events: BTreeMap<Order, Event>,
    orders: BTreeMap<EventId, Order>,
    conflicts: BTreeSet<EventId>,
    derived: Derived,
}

impl ReviewState {
    /// The state of a journal or of several.
    pub fn replay(events: impl IntoIterator<Item = Event>) -> Self {
        let mut state = Self::default();
        for event in events {
            state.insert(event);
        }
        state.derive_anew();
        state
    }

    /// Takes in one event, wherever it belongs in the order. `false` if it was there already.
    pub fn apply(&mut self, event: Event) -> bool {
        let order = event.order();
        let is_last = self
            .events
            .last_key_value()
            .is_none_or(|(last, _)| *last < order);
        let is_new_id = !self.orders.contains_key(&event.id);
        if !self.insert(event) {
            return false;
        }
        let Self {
            events, derived, ..
        } = self;
        let added = events.get(&order).filter(|_| is_last && is_new_id);
        // Only an event at the end that takes nothing back can be folded in by itself.
        let is_folded = added.is_some_and(|event| {
            let changes_history = derived.push_history(event);
            if !changes_history {
                derived.apply(event);
            }
            !changes_history
        });
        if !is_folded {
            self.derive_anew();
        }
        true
    }

    /// Takes in many events, such as another window's, and folds once. How many were new.
    pub fn merge(&mut self, events: impl IntoIterator<Item = Event>) -> usize {
        let mut added = 0;
        for event in events {
            added += usize::from(self.insert(event));
        }
        if added > 0 {
            self.derive_anew();
        }
        added
    }

    /// Keeps an event without folding. Of two different events under one id (a copied line that was
    /// edited) the one whose line sorts first is kept, so that the order of reading decides nothing.
    fn insert(&mut self, event: Event) -> bool {
        if let Some(order) = self.orders.get(&event.id) {
            let Some(kept) = self.events.get(order) else {
                return false;
            };
            if *kept == event {
                return false;
            }
            let is_first_conflict = self.conflicts.insert(event.id.clone());
            if journal::sort_text(kept) <= journal::sort_text(&event) {
                return is_first_conflict;
            }
            let order = order.clone();
            self.events.remove(&order);
        }
        self.orders.insert(event.id.clone(), event.order());
        self.events.insert(event.order(), event);
        true
    }

    fn derive_anew(&mut self) {
        let mut derived = Derived::default();
        for event in self.events.values() {
            derived.push_history(event);
        }
        for event in self.events.values() {
            if !derived.history.is_taken_back(&event.id) {
                derived.apply(event);
            }
        }
        self.derived = derived;
    }

    /// All events in order, those that were taken back included.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    /// The event of `reviewer` that comes after everything that is known here. Append it to the
    /// journal, then [`ReviewState::apply`] it.
    pub fn next_event(
        &self,
        id: EventId,
        at: UtcTime,
        reviewer: &ReviewerId,
        action: Action,
    ) -> Event {
        let highest = self
            .events
            .last_key_value()
            .map_or(0, |((seq, _, _), _)| *seq);
        Event::new(id, (highest + 1).min(MAX_SEQ), at, reviewer.clone(), action)
    }

    /// Everyone who said something of a cell, in order.
    pub fn reviewers(&self) -> impl Iterator<Item = &ReviewerId> {
        self.derived.reviews.keys()
    }

    /// What one reviewer said of a cell; `None` if nothing.
    pub fn review(&self, reviewer: &ReviewerId, cell: &CellKey) -> Option<&CellReview> {
        self.derived.reviews.get(reviewer)?.get(cell)
    }

    /// What each reviewer said of a cell, side by side, in order of their names.
    pub fn side_by_side(&self, cell: &CellKey) -> Vec<(&ReviewerId, &CellReview)> {
        self.derived
            .reviews
            .iter()
            .filter_map(|(reviewer, cells)| Some((reviewer, cells.get(cell)?)))
            .collect()
    }

    /// Where a cell stands with one reviewer, or with all (`None`).
    pub fn standing(&self, whose: Option<&ReviewerId>, cell: &CellKey) -> Standing {
        let mut passed = false;
        let mut rejected = false;
        for (reviewer, review) in self.side_by_side(cell) {
            if whose.is_none_or(|one| one == reviewer) {
                passed |= review.judgement == Some(Judgement::Pass);
                rejected |= review.judgement == Some(Judgement::Reject);
            }
        }
        match (passed, rejected) {
            (false, false) => Standing::Unreviewed,
            (true, false) => Standing::Passed,
            (false, true) => Standing::Rejected,
            (true, true) => Standing::Disputed,
        }
    }

    /// The types that one reviewer or any (`None`) named on a cell.
    pub fn types(&self, whose: Option<&ReviewerId>, cell: &CellKey) -> BTreeSet<FailureKey> {
        self.side_by_side(cell)
            .into_iter()
            .filter(|(reviewer, _)| whose.is_none_or(|one| one == *reviewer))
            .flat_map(|(_, review)| review.types.iter().cloned())
            .collect()
    }

    /// Whether one reviewer or any (`None`) has looked at a cell.
    pub fn is_seen(&self, whose: Option<&ReviewerId>, cell: &CellKey) -> bool {
        self.side_by_side(cell)
            .into_iter()
            .any(|(reviewer, review)| review.seen && whose.is_none_or(|one| one == reviewer))
    }

    /// Whether reviewers disagree on a cell: some passed it and some rejected it.
    pub fn is_disputed(&self, cell: &CellKey) -> bool {
        self.standing(None, cell) == Standing::Disputed
    }

    /// Blind comparisons, in the order in which they began.
    pub fn blind_sessions(&self) -> Vec<&BlindSession> {
        self.events
            .values()
            .filter_map(|event| self.derived.blind.get(&event.id))
            .collect()
    }

    /// A blind comparison by the event that began it.
    pub fn blind_session(&self, id: &EventId) -> Option<&BlindSession> {
        self.derived.blind.get(id)
    }

    /// Approvals, in order.
    pub fn approvals(&self) -> &[Approval] {
        &self.derived.approvals
    }

    /// What undo takes back next for this reviewer.
    pub fn next_undo(&self, reviewer: &ReviewerId) -> Option<UndoStep> {
        let of = self.derived.history.next_undo(reviewer)?.clone();
        self.step(Action::Undo { of: of.clone() }, &of)
    }

    /// What redo brings back next for this reviewer.
    pub fn next_redo(&self, reviewer: &ReviewerId) -> Option<UndoStep> {
        let of = self.derived.history.next_redo(reviewer)?.clone();
        self.step(Action::Redo { of: of.clone() }, &of)
    }

    fn step(&self, action: Action, of: &EventId) -> Option<UndoStep> {
        let event = self.events.get(self.orders.get(of)?)?;
        let round = match &event.action {
            Action::BlindVote { session, round, .. } => Some((session.clone(), *round)),
            _ => None,
        };
        Some(UndoStep {
            action,
            cell: event.action.cell().cloned(),
            round,
            word: event.action.word(),
        })
    }

    /// Whether the event was taken back.
    pub fn is_taken_back(&self, id: &EventId) -> bool {
        self.derived.history.is_taken_back(id)
    }

    /// Events that could not have their effect, each as a sentence; they stay in the journal.
    pub fn ignored(&self) -> Vec<String> {
        let conflicts = self
            .conflicts
            .iter()
            .map(|id| format!("two different events carry the id {id}; one of them is used"));
        self.derived
            .ignored
            .values()
            .cloned()
            .chain(conflicts)
            .collect()
    }

    /// What counts, for comparing two states whose events differ: not part of what is drawn.
    #[cfg(test)]
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        self.derived.reviews == other.derived.reviews
            && self.derived.blind == other.derived.blind
            && self.derived.approvals == other.derived.approvals
    }
}

impl Derived {
    /// Whether which earlier events count has changed.
    fn push_history(&mut self, event: &Event) -> bool {
        match self.history.push(event) {
            Ok(changed) => changed,
            Err(problem) => {
                self.ignored.insert(event.id.clone(), problem);
                false
            }
        }
    }

    fn cell(&mut self, event: &Event, cell: &CellKey) -> &mut CellReview {
        self.reviews
            .entry(event.reviewer.clone())
            .or_default()
            .entry(cell.clone())
            .or_default()
    }

    fn apply(&mut self, event: &Event) {
        match &event.action {
            Action::Seen { cell } => self.cell(event, cell).seen = true,
            Action::Verdict { cell, verdict } => {
                let review = self.cell(event, cell);
                review.seen = true;
                review.judgement = verdict.judgement();
                review.judged_at = review.judgement.map(|_| event.at);
                review.types = match verdict {
                    super::Verdict::Pass(types) | super::Verdict::Reject(types) => types.clone(),
                    super::Verdict::Clear => BTreeSet::new(),
                };
            }
            Action::Note { cell, text } => {
                let review = self.cell(event, cell);
                review.seen = true;
                review.note.clone_from(text);
            }
            Action::AddMark { cell, mark } => {
                let review = self.cell(event, cell);
                review.seen = true;
                review.marks.push(PlacedMark {
                    id: event.id.clone(),
                    mark: mark.clone(),
                });
            }
            Action::RemoveMark { cell, mark } => {
                // Already gone is fine: two windows may have removed it.
                self.cell(event, cell)
                    .marks
                    .retain(|placed| placed.id != *mark);
            }
            Action::BlindBegin { plan } => {
                self.blind.insert(
                    event.id.clone(),
                    BlindSession {
                        id: event.id.clone(),
                        reviewer: event.reviewer.clone(),
                        began_at: event.at,
                        plan: plan.clone(),
                        votes: BTreeMap::new(),
                        late_votes: Vec::new(),
                        revealed_at: None,
                    },
                );
            }
            Action::BlindVote {
                session,
                round,
                choice,
            } => {
                self.vote(event, session, *round, *choice);
            }
            Action::BlindReveal { session } => self.reveal(event, session),
            Action::Approved {
                cell,
                file,
                sha256,
                overrides,
            } => self.approvals.push(Approval {
                cell: cell.clone(),
                reviewer: event.reviewer.clone(),
                at: event.at,
                file: file.clone(),
                sha256: sha256.clone(),
                overrides: overrides.clone(),
            }),
            // Their effect is in the history.
            Action::Undo { .. } | Action::Redo { .. } => {}
        }
    }

    fn vote(&mut self, event: &Event, session: &EventId, round: usize, choice: Choice) {
        let problem = match self.blind.get_mut(session) {
            None => format!("a blind vote names a comparison that is not there: {session}"),
            Some(blind) if blind.reviewer != event.reviewer => format!(
                "{} voted in a blind comparison of {}",
                event.reviewer, blind.reviewer
            ),
            Some(blind) => {
                let shown = blind
                    .plan
                    .rounds
                    .get(round)
                    .map_or(0, |round| round.cells.len());
                let fits = match choice {
                    Choice::Winner(place) => place < shown,
                    Choice::Tie | Choice::AllBad => shown > 0,
                };
                if !fits {
                    format!("a blind vote names round {round} and {choice:?}, which is not there")
                } else if blind.revealed_at.is_some() {
                    blind.late_votes.push((round, choice));
                    return;
                } else {
                    blind.votes.insert(round, choice);
                    return;
                }
            }
        };
        self.ignored.insert(event.id.clone(), problem);
    }

    fn reveal(&mut self, event: &Event, session: &EventId) {
        let problem = match self.blind.get_mut(session) {
            Some(blind) if blind.reviewer == event.reviewer => {
                blind.revealed_at.get_or_insert(event.at);
                return;
            }
            Some(blind) => format!(
                "{} revealed a blind comparison of {}",
                event.reviewer, blind.reviewer
            ),
            None => format!("a reveal names a blind comparison that is not there: {session}"),
        };
        self.ignored.insert(event.id.clone(), problem);
    }
}
