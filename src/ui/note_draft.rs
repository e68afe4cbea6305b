//! The note that is being typed: what was sent of it already, and when the last key was.

use crate::model::cell::CellKey;
use crate::state::{JudgeMsg, Msg};

/// A note in its field, on its way to the journal.
#[derive(Debug, Clone)]
pub struct NoteDraft {
    /// The cell that it is about.
    pub cell: CellKey,
    /// What stands in the field.
    pub text: String,
    /// What of it was handed on.
    pub kept: String,
    /// What the review said when the field was filled from it.
    pub base: String,
    /// When a key changed it last, in seconds of the window's clock.
    pub changed_at: f64,
    /// Whether the field was drawn in this frame.
    pub is_drawn: bool,
}

impl NoteDraft {
    /// The field as the review has it.
    pub fn new(cell: CellKey, text: &str) -> Self {
        Self {
            cell,
            text: text.to_owned(),
            kept: text.to_owned(),
            base: text.to_owned(),
            changed_at: 0.0,
            is_drawn: true,
        }
    }

    /// What is to be handed on now; nothing if all was.
    pub fn take_message(&mut self) -> Option<Msg> {
        if self.text == self.kept {
            return None;
        }
        self.kept.clone_from(&self.text);
        Some(Msg::Judge(JudgeMsg::Note(
            self.cell.clone(),
            self.text.clone(),
        )))
    }
}
