//! What reviewers said about a run: events, their journal's lines, the state that they replay to, and
//! what follows from it. No file, clock or random number here: whoever calls gives them.
//!
//! | file | job |
//! |---|---|
//! | [`event`] | one event: who, when, what |
//! | [`time`] | a moment in UTC, as documents write it |
//! | [`failure`] | the configurable types of failure |
//! | [`journal`] | events to lines and back; a line that cannot be read is skipped with a warning |
//! | [`state`] | replay, merge, what each reviewer said of each cell |
//! | [`history`] | which events count: undo and redo |
//! | [`keys`] | what a key does to a verdict, and whether it goes on |
//! | [`select`] | next unreviewed, filters, order, progress |
//! | [`blind`] | the plan of a blind comparison, and its votes |
//! | [`tally`] | what the votes say, with how sure that is |
//! | [`findings`] | counts per axis value, and whether `Q8_0` cures `Q4_0` |
//! | [`export`] | Markdown, CSV and JSON |
//!
//! # Order and merging
//!
//! Each event has a random id, a counter one above the highest that its writer had seen (Lamport's
//! clock), and a time. The order is (counter, time, id): any two copies of any journals merge to the
//! same order whoever reads them first, a wrong clock on one machine moves nothing that was answered
//! to, and the same event met twice counts once.
//!
//! # Undo and redo
//!
//! Undo and redo are events too, each naming the event that it takes back or brings back; nothing is
//! ever cut from a journal. The state is the fold, in order, over the events that are not taken back,
//! so a later verdict stays when an earlier one is undone. Undoable are verdicts, notes, marks, and
//! blind votes until their reveal. What was seen, revealed or approved cannot be unseen, hidden again
//! or unwritten.

pub mod blind;
pub mod event;
pub mod export;
pub mod failure;
pub mod findings;
pub mod history;
pub mod journal;
pub mod keys;
pub mod select;
pub mod state;
pub mod tally;
pub mod time;

pub use blind::{BlindPlan, BlindSession, Choice, Round};
pub use event::{Action, Event, EventId, Judgement, Mark, Shape, Verdict};
pub use failure::{FailureKey, FailureType, FailureTypes};
pub use keys::{VerdictKey, press};
pub use select::{Filter, Progress, SortBy};
pub use state::{CellReview, PlacedMark, ReviewState, Standing};
pub use time::UtcTime;

#[cfg(test)]
mod blind_tests;
#[cfg(test)]
mod findings_tests;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod state_tests;
