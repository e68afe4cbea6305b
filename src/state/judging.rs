//! Judging the open run: keys become events, events are drawn once they are on disk, blind comparisons.

use crate::model::cell::CellKey;
use crate::model::ids::ReviewerId;
use crate::model::review::blind::{BlindError, BlindPlan, BlindSession, Choice, Round};
use crate::model::review::event::{Action, Event, EventId};
use crate::model::review::failure::FailureTypes;
use crate::model::review::keys::{Pressed, VerdictKey, press};
use crate::model::review::select::{self, Filter, Progress, SortBy};
use crate::model::review::state::ReviewState;
use crate::model::review::time::UtcTime;
use crate::model::run::{CellState, Run};

/// Where event ids and times come from; tests give their own.
pub trait EventSource: Send {
    /// The time now.
    fn now(&self) -> UtcTime;
    /// 128 fresh bits.
    fn fresh_bits(&mut self) -> u128;
}

/// The system's clock and random numbers.
#[derive(Debug, Default)]
pub struct SystemSource;

impl EventSource for SystemSource {
    fn now(&self) -> UtcTime {
        UtcTime::new(jiff::Timestamp::now())
    }

    fn fresh_bits(&mut self) -> u128 {
        let mut bytes = [0; 16];
        if getrandom::fill(&mut bytes).is_err() {
            // Without the system's random numbers the clock still tells events of one window apart.
            bytes = jiff::Timestamp::now().as_nanosecond().to_le_bytes();
        }
        u128::from_le_bytes(bytes)
    }
}

/// Which boxes and points are drawn over a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MarksShown {
    /// None.
    Off,
    /// Those on the cell itself.
    #[default]
    Own,
    /// Those on the selected cell, at the same place in every cell: does the failure show there, too?
    OfSelected,
}

impl MarksShown {
    /// All choices in their order.
    pub const ALL: [Self; 3] = [Self::Own, Self::OfSelected, Self::Off];

    /// The name that is shown.
    pub fn label(self) -> &'static str {
        match self {
            Self::Off => "hidden",
            Self::Own => "on their own cell",
            Self::OfSelected => "of this cell in every cell",
        }
    }
}

/// A blind comparison that is on screen.
#[derive(Debug, Clone, PartialEq)]
pub struct BlindView {
    /// The event that began it.
    pub session: EventId,
    /// The round that is shown; past the last one the result is.
    pub round: usize,
    /// Its rounds.
    pub plan: BlindPlan,
}

impl BlindView {
    /// The pictures that are shown, from left to right; `None` once all rounds are done.
    pub fn shown(&self) -> Option<&Round> {
        self.plan.rounds.get(self.round)
    }
}

/// What is said about the open run, and by whom.
pub struct Judging {
    /// Who judges in this window.
    pub reviewer: ReviewerId,
    /// The failure types on the keys.
    pub types: FailureTypes,
    /// What is on disk. This, and nothing else, is drawn.
    pub review: ReviewState,
    /// With what is on its way to the disk: this decides what the next key does.
    ahead: ReviewState,
    /// Events that could not be written and are kept in memory.
    pub unwritten: usize,
    /// Conditions on the cells that are shown.
    pub filters: Vec<Filter>,
    /// What the cells are sorted by where they are listed.
    pub sort: SortBy,
    /// The blind comparison on screen.
    pub blind: Option<BlindView>,
    /// Pictures shown at a time in the next blind comparison, 2 to 4.
    pub blind_together: usize,
    /// Which boxes and points are drawn over a cell.
    pub marks: MarksShown,
}

/// What follows from a key.
#[derive(Debug, Default)]
pub struct Judged {
    /// Events to append to the journal, in this order.
    pub events: Vec<Event>,
    /// The cell to show now.
    pub go_to: Option<CellKey>,
}

impl Judging {
    /// Nothing said yet.
    pub fn new(reviewer: ReviewerId, types: FailureTypes) -> Self {
        Self {
            reviewer,
            types,
            review: ReviewState::default(),
            ahead: ReviewState::default(),
            unwritten: 0,
            filters: Vec::new(),
            sort: SortBy::Key,
            blind: None,
            blind_together: 2,
            marks: MarksShown::Own,
        }
    }

    /// Takes in events that are on disk: from the journal, or just appended.
    pub fn take_in(&mut self, events: impl IntoIterator<Item = Event> + Clone) {
        self.ahead.merge(events.clone());
        self.review.merge(events);
    }

    fn say(&mut self, source: &mut dyn EventSource, action: Action) -> Event {
        let id = EventId::from_bits(source.fresh_bits());
        let event = self
            .ahead
            .next_event(id, source.now(), &self.reviewer, action);
        self.ahead.apply(event.clone());
        event
    }

    /// A verdict key on a cell. `order` is the order in which cells are displayed.
    pub fn verdict_key(
        &mut self,
        source: &mut dyn EventSource,
        key: VerdictKey,
        cell: &CellKey,
        run: &Run,
        order: &[CellKey],
    ) -> Judged {
        let current = self.ahead.review(&self.reviewer, cell);
        let Pressed { verdict, goes_on } = press(key, current, &self.types);
        let events: Vec<Event> = verdict
            .map(|verdict| {
                self.say(
                    source,
                    Action::Verdict {
                        cell: cell.clone(),
                        verdict,
                    },
                )
            })
            .into_iter()
            .collect();
        let go_to = goes_on
            .then(|| select::next_unreviewed(order, Some(cell), run, &self.ahead, &self.reviewer))
            .flatten()
            .cloned();
        Judged { events, go_to }
    }

    /// Notes that a cell was shown large enough to be judged; nothing if that is known.
    pub fn seen(&mut self, source: &mut dyn EventSource, cell: &CellKey) -> Option<Event> {
        if self.ahead.is_seen(Some(&self.reviewer), cell) {
            return None;
        }
        Some(self.say(source, Action::Seen { cell: cell.clone() }))
    }

    /// Replaces the note on a cell; nothing if it says that already.
    pub fn note(
        &mut self,
        source: &mut dyn EventSource,
        cell: &CellKey,
        text: &str,
    ) -> Option<Event> {
        let now = self
            .ahead
            .review(&self.reviewer, cell)
            .map_or("", |said| said.note.as_str());
        if now == text {
            return None;
        }
        Some(self.say(
            source,
            Action::Note {
                cell: cell.clone(),
                text: text.to_owned(),
            },
        ))
    }

    /// Any other event.
    pub fn act(&mut self, source: &mut dyn EventSource, action: Action) -> Event {
        self.say(source, action)
    }

    /// Takes back the last thing this reviewer said, or says it again; with the cell to show.
    pub fn undo_or_redo(&mut self, source: &mut dyn EventSource, is_redo: bool) -> Option<Judged> {
        let step = if is_redo {
            self.ahead.next_redo(&self.reviewer)
        } else {
            self.ahead.next_undo(&self.reviewer)
        }?;
        let event = self.say(source, step.action);
        if let (Some((session, round)), Some(blind)) = (&step.round, &mut self.blind)
            && blind.session == *session
        {
            blind.round = *round;
        }
        Some(Judged {
            events: vec![event],
            go_to: step.cell,
        })
    }

    /// The next cell without a verdict, round and round.
    pub fn next_unreviewed(
        &self,
        cell: Option<&CellKey>,
        run: &Run,
        order: &[CellKey],
    ) -> Option<CellKey> {
        select::next_unreviewed_around(order, cell, run, &self.ahead, &self.reviewer).cloned()
    }

    /// How far this reviewer is.
    pub fn progress(&self, run: &Run) -> Progress {
        Progress::of(run, &self.review, &self.reviewer)
    }

    /// Whether the filters admit a cell.
    pub fn admits(&self, cell: &CellKey, run: &Run) -> bool {
        self.filters
            .iter()
            .all(|filter| filter.admits(cell, run, &self.review, &self.reviewer))
    }

    /// Goes on with this reviewer's last blind comparison, if it was left before it was revealed.
    /// `false` if there is none.
    pub fn resume_blind(&mut self) -> bool {
        let own = |session: &&&BlindSession| {
            session.reviewer == self.reviewer && session.revealed_at.is_none()
        };
        let sessions = self.ahead.blind_sessions();
        let Some(session) = sessions.iter().rfind(own) else {
            return false;
        };
        self.blind = Some(BlindView {
            session: session.id.clone(),
            round: session.next_round().unwrap_or(session.plan.rounds.len()),
            plan: session.plan.clone(),
        });
        true
    }

    /// Begins a blind comparison of these cells.
    ///
    /// # Errors
    /// [`BlindError`] for too few cells, or too many rounds.
    pub fn begin_blind(
        &mut self,
        source: &mut dyn EventSource,
        cells: &[CellKey],
    ) -> Result<Event, BlindError> {
        let seed = source.fresh_bits() as u64;
        let plan = BlindPlan::new(cells, self.blind_together, seed)?;
        let event = self.say(source, Action::BlindBegin { plan: plan.clone() });
        self.blind = Some(BlindView {
            session: event.id.clone(),
            round: 0,
            plan,
        });
        Ok(event)
    }

    /// A choice in the round on screen; goes on to the next round, and reveals after the last.
    pub fn vote(&mut self, source: &mut dyn EventSource, choice: Choice) -> Vec<Event> {
        let Some(blind) = self.blind.clone() else {
            return Vec::new();
        };
        let Some(round) = blind.shown() else {
            return Vec::new();
        };
        if let Choice::Winner(place) = choice
            && place >= round.cells.len()
        {
            return Vec::new();
        }
        let vote = Action::BlindVote {
            session: blind.session.clone(),
            round: blind.round,
            choice,
        };
        let events = vec![self.say(source, vote)];
        let next = self
            .ahead
            .blind_session(&blind.session)
            .and_then(BlindSession::next_round)
            .unwrap_or(blind.plan.rounds.len());
        if let Some(view) = &mut self.blind {
            view.round = next;
        }
        events
    }

    /// Shows which picture was which, once every round has a vote.
    ///
    /// # Errors
    /// [`BlindError::NotAtTheEnd`] with the number of rounds left.
    pub fn reveal(&mut self, source: &mut dyn EventSource) -> Result<Option<Event>, BlindError> {
        let Some(blind) = self.blind.clone() else {
            return Ok(None);
        };
        let Some(session) = self.ahead.blind_session(&blind.session) else {
            return Ok(None);
        };
        session.may_reveal()?;
        if session.revealed_at.is_some() {
            return Ok(None);
        }
        Ok(Some(self.say(
            source,
            Action::BlindReveal {
                session: blind.session,
            },
        )))
    }

    /// The cells that a blind comparison starts from: those that passed.
    pub fn passed(&self, run: &Run) -> Vec<CellKey> {
        run.cells
            .iter()
            .filter(|(_, state)| matches!(state, CellState::Done(_)))
            .map(|(cell, _)| cell)
            .filter(|cell| Filter::Passed.admits(cell, run, &self.ahead, &self.reviewer))
            .cloned()
            .collect()
    }
}

impl std::fmt::Debug for Judging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judging")
            .field("reviewer", &self.reviewer)
            .field("unwritten", &self.unwritten)
            .field("blind", &self.blind)
            .finish_non_exhaustive()
    }
}
