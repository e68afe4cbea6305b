//! One event of a review: who said what, and when. Which events count is [`super::history`]'s.

use super::blind::{BlindPlan, Choice};
use super::failure::FailureKey;
use super::time::UtcTime;
use crate::model::cell::CellKey;
use crate::model::document;
use crate::model::ids::ReviewerId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The highest counter that an event may carry; far above any review, far below overflow.
pub const MAX_SEQ: u64 = 1 << 48;

/// The longest note, in bytes.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// An event's name: 32 hexadecimal digits, drawn at random by whoever writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EventId(String);

impl EventId {
    /// The id of 128 random bits.
    pub fn from_bits(bits: u128) -> Self {
        Self(format!("{bits:032x}"))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for EventId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text))
        } else {
            Err(format!(
                "an event's id is 32 lower-case hex digits, but is {text:?}"
            ))
        }
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.0
    }
}

/// Good enough or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Judgement {
    /// Good enough.
    Pass,
    /// Not good enough.
    Reject,
}

/// What a reviewer says of a cell, whole: it replaces what they said before.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Good enough, with what was noted without being a failure (a seam).
    Pass(#[serde(default)] BTreeSet<FailureKey>),
    /// Not good enough, with the types that were named; none is a reject without a type.
    Reject(#[serde(default)] BTreeSet<FailureKey>),
    /// Nothing any more.
    Clear,
}

impl Verdict {
    /// Pass or reject, if either.
    pub fn judgement(&self) -> Option<Judgement> {
        match self {
            Self::Pass(_) => Some(Judgement::Pass),
            Self::Reject(_) => Some(Judgement::Reject),
            Self::Clear => None,
        }
    }
}

/// What is drawn on a picture, in pixels of the original image: x to the right, y down, the upper left
/// corner at 0, 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Shape {
    /// A spot.
    Point {
        /// To the right.
        x: f32,
        /// Down.
        y: f32,
    },
    /// A box.
    Box {
        /// Left edge.
        x: f32,
        /// Upper edge.
        y: f32,
        /// Width, above 0.
        width: f32,
        /// Height, above 0.
        height: f32,
    },
}

impl Shape {
    /// The box between two corners given in any order.
    pub fn between(a: (f32, f32), b: (f32, f32)) -> Self {
        Self::Box {
            x: a.0.min(b.0),
            y: a.1.min(b.1),
            width: (a.0 - b.0).abs(),
            height: (a.1 - b.1).abs(),
        }
    }

    fn is_legal(self) -> bool {
        // 65535 px is the longest side that any of the codecs reads.
        let near = |v: f32| (-65_536.0..=65_536.0).contains(&v);
        match self {
            Self::Point { x, y } => near(x) && near(y),
            Self::Box {
                x,
                y,
                width,
                height,
            } => near(x) && near(y) && near(width) && near(height) && width > 0.0 && height > 0.0,
        }
    }
}

/// A box or a point with what it points at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Where.
    pub shape: Shape,
    /// The type of failure that it shows, if one was named.
    #[serde(default)]
    pub failure: Option<FailureKey>,
    /// A word on it; may be empty.
    #[serde(default)]
    pub text: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// The cell was shown large enough to be judged.
    Seen {
        /// Which cell.
        cell: CellKey,
    },
    /// A verdict was set or cleared.
    Verdict {
        /// Which cell.
        cell: CellKey,
        /// All that is said of it from now on.
        verdict: Verdict,
    },
    /// The note on a cell was replaced; empty removes it.
    Note {
        /// Which cell.
        cell: CellKey,
        /// The whole note.
        text: String,
    },
    /// A box or point was drawn. Its name from now on is this event's id.
    AddMark {
        /// On which cell's picture.
        cell: CellKey,
        /// What was drawn.
        mark: Mark,
    },
    /// A box or point was taken away.
    RemoveMark {
        /// On which cell's picture.
        cell: CellKey,
        /// The id of the event that drew it.
        mark: EventId,
    },
    /// A blind comparison began. Its name from now on is this event's id.
    BlindBegin {
        /// The seed and the rounds in the order in which they are shown.
        plan: BlindPlan,
    },
    /// A choice in a blind comparison.
    BlindVote {
        /// The event that began the comparison.
        session: EventId,
        /// The round, from 0.
        round: usize,
        /// What was chosen.
        choice: Choice,
    },
    /// The labels of a blind comparison were shown. Votes after it do not count.
    BlindReveal {
        /// The event that began the comparison.
        session: EventId,
    },
    /// A cell was approved and the settings file written.
    Approved {
        /// Which cell.
        cell: CellKey,
        /// The settings file, as the reviewer named it.
        file: String,
        /// SHA-256 of the bytes that were written.
        sha256: String,
        /// What held it back and why that was overridden: code and typed reason.
        #[serde(default)]
        overrides: Vec<(String, String)>,
    },
    /// An event was taken back.
    Undo {
        /// Which.
        of: EventId,
    },
    /// An event that was taken back counts again.
    Redo {
        /// Which.
        of: EventId,
    },
}

impl Action {
    /// The cell that it is about, if it is about one.
    pub fn cell(&self) -> Option<&CellKey> {
        match self {
            Self::Seen { cell }
            | Self::Verdict { cell, .. }
            | Self::Note { cell, .. }
            | Self::AddMark { cell, .. }
            | Self::RemoveMark { cell, .. }
            | Self::Approved { cell, .. } => Some(cell),
            _ => None,
        }
    }

    /// What it is called in an undo menu: "verdict", "note", …
    pub fn word(&self) -> &'static str {
        match self {
            Self::Seen { .. } => "seen",
            Self::Verdict { .. } => "verdict",
            Self::Note { .. } => "note",
            Self::AddMark { .. } => "mark",
            Self::RemoveMark { .. } => "removal of a mark",
            Self::BlindBegin { .. } => "blind comparison",
            Self::BlindVote { .. } => "blind vote",
            Self::BlindReveal { .. } => "reveal",
            Self::Approved { .. } => "approval",
            Self::Undo { .. } => "undo",
            Self::Redo { .. } => "redo",
        }
    }
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Schema of the line.
    pub schema: u32,
    /// Its name.
    pub id: EventId,
    /// One above the highest that its writer had seen; 1 to [`MAX_SEQ`].
    pub seq: u64,
    /// When, by the writer's clock.
    pub at: UtcTime,
    /// Who.
    pub reviewer: ReviewerId,
    /// What.
    pub action: Action,
}

impl Event {
    /// An event of this program's schema. [`super::ReviewState::next_event`] gives the counter too.
    pub fn new(id: EventId, seq: u64, at: UtcTime, reviewer: ReviewerId, action: Action) -> Self {
        Self {
            schema: document::SCHEMA,
            id,
            seq,
            at,
            reviewer,
            action,
        }
    }

    /// What events are sorted by.
    pub fn order(&self) -> (u64, UtcTime, EventId) {
        (self.seq, self.at, self.id.clone())
    }

    /// Checks what its types cannot hold: the counter's range, shapes, lengths, blind plans.
    ///
    /// # Errors
    /// A sentence naming the offending value.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=MAX_SEQ).contains(&self.seq) {
            return Err(format!(
                "seq must be from 1 to {MAX_SEQ}, but is {}",
                self.seq
            ));
        }
        match &self.action {
            Action::Note { text, .. } => check_text("a note", text),
            Action::AddMark { mark, .. } => {
                if !mark.shape.is_legal() {
                    return Err(format!(
                        "a mark must lie within 65536 px and a box must not be empty, but is {:?}",
                        mark.shape
                    ));
                }
                check_text("a mark's text", &mark.text)
            }
            Action::BlindBegin { plan } => plan.check(),
            _ => Ok(()),
        }
    }
}

fn check_text(what: &str, text: &str) -> Result<(), String> {
    if text.len() <= MAX_TEXT_BYTES {
        Ok(())
    } else {
        Err(format!(
            "{what} may have {MAX_TEXT_BYTES} bytes, but has {}",
            text.len()
        ))
    }
}
