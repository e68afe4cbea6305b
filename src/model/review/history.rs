//! Which events count: undo and redo, which are events themselves. The rules stand in [`super`].

use super::event::{Action, Event, EventId};
use crate::model::cell::CellKey;
use crate::model::ids::ReviewerId;
use std::collections::{BTreeMap, BTreeSet};

/// What pressing undo or redo does next.
#[derive(Debug, Clone, PartialEq)]
pub struct UndoStep {
    /// The event to append.
    pub action: Action,
    /// The cell to bring back on screen.
    pub cell: Option<CellKey>,
    /// The blind comparison and its round to go back to.
    pub round: Option<(EventId, usize)>,
    /// What is undone or redone: "verdict", "note", …
    pub word: &'static str,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Stacks {
    done: Vec<EventId>,
    undone: Vec<EventId>,
}

/// Each reviewer's undo and redo stack, and what is taken back.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct History {
    stacks: BTreeMap<ReviewerId, Stacks>,
    taken_back: BTreeSet<EventId>,
    owners: BTreeMap<EventId, ReviewerId>,
    revealed: BTreeSet<EventId>,
    votes: BTreeMap<EventId, EventId>,
}

impl History {
    /// Takes in the next event in order. `Ok(true)` if it changed which earlier events count.
    ///
    /// # Errors
    /// A sentence if the event cannot have its effect and is ignored.
    pub(super) fn push(&mut self, event: &Event) -> Result<bool, String> {
        let own = self.stacks.entry(event.reviewer.clone()).or_default();
        match &event.action {
            Action::Verdict { .. }
            | Action::Note { .. }
            | Action::AddMark { .. }
            | Action::RemoveMark { .. } => own.push_done(&event.id),
            Action::BlindVote { session, .. } => {
                if !self.revealed.contains(session) {
                    self.votes.insert(event.id.clone(), session.clone());
                    own.push_done(&event.id);
                }
            }
            Action::BlindBegin { .. } => {
                self.owners.insert(event.id.clone(), event.reviewer.clone());
            }
            Action::BlindReveal { session } => {
                if self.owners.get(session) == Some(&event.reviewer) {
                    // What has been shown cannot be voted on again: its votes leave both stacks.
                    let votes = &self.votes;
                    let stays = |id: &EventId| votes.get(id) != Some(session);
                    own.done.retain(stays);
                    own.undone.retain(stays);
                    self.revealed.insert(session.clone());
                }
            }
            Action::Undo { of } => {
                let Some(at) = own.done.iter().rposition(|id| id == of) else {
                    return Err(format!(
                        "nothing of {} to undo under id {of}",
                        event.reviewer
                    ));
                };
                let id = own.done.remove(at);
                own.undone.push(id.clone());
                self.taken_back.insert(id);
                return Ok(true);
            }
            Action::Redo { of } => {
                let Some(at) = own.undone.iter().rposition(|id| id == of) else {
                    return Err(format!(
                        "nothing of {} to redo under id {of}",
                        event.reviewer
                    ));
                };
                let id = own.undone.remove(at);
                own.done.push(id.clone());
                self.taken_back.remove(&id);
                return Ok(true);
            }
            Action::Seen { .. } | Action::Approved { .. } => {}
        }
        Ok(false)
    }

    pub(super) fn is_taken_back(&self, id: &EventId) -> bool {
        self.taken_back.contains(id)
    }

    pub(super) fn next_undo(&self, reviewer: &ReviewerId) -> Option<&EventId> {
        self.stacks.get(reviewer)?.done.last()
    }

    pub(super) fn next_redo(&self, reviewer: &ReviewerId) -> Option<&EventId> {
        self.stacks.get(reviewer)?.undone.last()
    }
}

impl Stacks {
    fn push_done(&mut self, id: &EventId) {
        self.done.push(id.clone());
        // As in every editor: something new ends what could be redone.
        self.undone.clear();
    }
}
