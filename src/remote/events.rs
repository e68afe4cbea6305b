//! The bounded history of a run's events. A reader asks for what came after the last one that it saw;
//! what is no longer kept is told to it as missed, so that it reads the state anew.
//!
//! Only the newest step keeps its preview: an older picture is of no use to anybody.

use super::lock;
use super::wire::RunEvent;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// So many events are kept.
pub const KEPT: usize = 512;

/// Names an event across restarts: which worker process it is of, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// When the process began, in milliseconds since 1970.
    pub epoch: u64,
    /// Counted from 1 in each run.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.number)
    }
}

impl EventId {
    /// Reads what a client sends as `Last-Event-ID`; `None` if it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, number) = text.trim().split_once('-')?;
        Some(Self {
            epoch: epoch.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

/// What comes after an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// These, with their numbers; never empty.
    Events(Vec<(u64, Arc<RunEvent>)>),
    /// Events that are not kept any more. The state as it is now stands for all up to this number.
    Missed(u64),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will: the run has ended.
    Ended,
}

/// A run's events.
#[derive(Debug)]
pub struct EventLog {
    epoch: u64,
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// How many were dropped before the first that is kept.
    dropped: u64,
    events: VecDeque<Arc<RunEvent>>,
    has_ended: bool,
}

impl Inner {
    fn last(&self) -> u64 {
        self.dropped + self.events.len() as u64
    }

    fn keep(&mut self, count: usize) {
        while self.events.len() > count {
            self.events.pop_front();
            self.dropped += 1;
        }
    }
}

impl EventLog {
    /// An empty history of the worker process that began at `epoch`.
    pub fn new(epoch: u64) -> Self {
        Self {
            epoch,
            inner: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Adds an event and wakes the readers.
    pub fn push(&self, event: RunEvent) {
        let last = {
            let mut inner = lock(&self.inner);
            if matches!(event, RunEvent::Step { .. }) {
                drop_preview(inner.events.back_mut());
            }
            inner.has_ended = matches!(event, RunEvent::End { .. });
            inner.events.push_back(Arc::new(event));
            inner.keep(KEPT);
            inner.last()
        };
        self.changed.send_replace(last);
    }

    /// Forgets all but the last `count` events.
    pub fn keep(&self, count: usize) {
        lock(&self.inner).keep(count);
    }

    /// Tells when something is added.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The name of an event of this history.
    pub fn id(&self, number: u64) -> EventId {
        EventId {
            epoch: self.epoch,
            number,
        }
    }

    /// Where a reader stands: at the event that it saw last if that is of this process, otherwise
    /// nowhere.
    pub fn position(&self, seen: Option<EventId>) -> Option<u64> {
        let seen = seen.filter(|seen| seen.epoch == self.epoch)?;
        (seen.number <= lock(&self.inner).last()).then_some(seen.number)
    }

    /// What comes after an event; `None` for a reader that has seen nothing.
    pub fn after(&self, seen: Option<u64>) -> Next {
        let inner = lock(&self.inner);
        let last = inner.last();
        let Some(seen) = seen.filter(|seen| *seen >= inner.dropped) else {
            // The end is told as such, also to who comes after it.
            let end = u64::from(inner.has_ended);
            return Next::Missed(last.saturating_sub(end));
        };
        let events: Vec<_> = inner
            .events
            .iter()
            .zip(inner.dropped + 1..)
            .filter(|(_, number)| *number > seen)
            .map(|(event, number)| (number, Arc::clone(event)))
            .collect();
        match (events.is_empty(), inner.has_ended) {
            (false, _) => Next::Events(events),
            (true, true) => Next::Ended,
            (true, false) => Next::Nothing,
        }
    }
}

/// Takes the picture out of a step that is no longer the newest.
fn drop_preview(event: Option<&mut Arc<RunEvent>>) {
    if let Some(event) = event
        && let RunEvent::Step {
            cell,
            index,
            total,
            preview: Some(_),
        } = &**event
    {
        *event = Arc::new(RunEvent::Step {
            cell: cell.clone(),
            index: *index,
            total: *total,
            preview: None,
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::remote::wire::{CellCounts, RunState};

    fn step(index: usize) -> RunEvent {
        RunEvent::Step {
            cell: "Q4_0_gs2".to_owned(),
            index,
            total: 9999,
            preview: Some(format!("picture {index}")),
        }
    }

    fn end() -> RunEvent {
        RunEvent::End {
            state: RunState::Done,
            error: None,
            cells: CellCounts::default(),
        }
    }

    fn numbers(next: &Next) -> Vec<u64> {
        match next {
            Next::Events(events) => events.iter().map(|(number, _)| *number).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reader_gets_what_came_after_what_it_saw() {
        let log = EventLog::new(7);
        assert_eq!(log.after(Some(0)), Next::Nothing);
        for index in 1..=3 {
            log.push(step(index));
        }
        assert_eq!(numbers(&log.after(Some(1))), [2, 3]);
        assert_eq!(log.after(Some(3)), Next::Nothing);
        log.push(end());
        assert_eq!(numbers(&log.after(Some(3))), [4]);
        assert_eq!(log.after(Some(4)), Next::Ended);
    }

    #[test]
    fn who_is_new_or_was_away_too_long_is_told_so_and_goes_on_from_now() {
        let log = EventLog::new(7);
        assert_eq!(log.after(None), Next::Missed(0));
        for index in 1..=KEPT + 10 {
            log.push(step(index));
        }
        let last = (KEPT + 10) as u64;
        assert_eq!(log.after(Some(9)), Next::Missed(last));
        assert_eq!(numbers(&log.after(Some(10))).len(), KEPT);
        log.push(end());
        // The end itself is still to come.
        assert_eq!(log.after(None), Next::Missed(last));
        assert_eq!(numbers(&log.after(Some(last))), [last + 1]);
        log.keep(1);
        assert_eq!(log.after(Some(last - 1)), Next::Missed(last));
        assert_eq!(numbers(&log.after(Some(last))), [last + 1]);
    }

    #[test]
    fn only_the_newest_step_has_a_picture() {
        let log = EventLog::new(7);
        for index in 1..=3 {
            log.push(step(index));
        }
        let Next::Events(events) = log.after(Some(0)) else {
            panic!("three events")
        };
        let pictures: Vec<bool> = events
            .iter()
            .map(|(_, event)| {
                matches!(
                    &**event,
                    RunEvent::Step {
                        preview: Some(_),
                        ..
                    }
                )
            })
            .collect();
        assert_eq!(pictures, [false, false, true]);
    }

    #[test]
    fn an_id_of_another_process_or_of_nobody_is_no_position() {
        let log = EventLog::new(7);
        log.push(step(1));
        let id = log.id(1);
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        assert_eq!(log.position(Some(id)), Some(1));
        assert_eq!(log.position(EventId::parse("8-1")), None);
        assert_eq!(log.position(EventId::parse("7-2")), None);
        for text in ["", "x", "7", "7-", "-1", "7-x", "99999999999999999999-1"] {
            assert_eq!(EventId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_run_that_goes_on_has_not_ended() {
        let log = EventLog::new(7);
        log.push(end());
        let seen = log.after(Some(0));
        assert_eq!(numbers(&seen), [1]);
        log.push(step(1));
        assert_eq!(numbers(&log.after(Some(1))), [2]);
        assert_eq!(log.after(Some(2)), Next::Nothing);
        assert_eq!(*log.subscribe().borrow(), 2);
        assert!(EventId::parse("7-2").is_some());
    }

    #[test]
    fn a_reader_is_woken() {
        let log = EventLog::new(7);
        let mut reader = log.subscribe();
        assert!(!reader.has_changed().unwrap());
        log.push(step(1));
        assert!(reader.has_changed().unwrap());
        assert_eq!(*reader.borrow_and_update(), 1);
    }
}
