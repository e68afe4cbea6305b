//! Files that both sides changed, and what a person decides about them. Nothing is decided by itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to do about a file that both sides changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// The file here stays and replaces the bucket's, if that is still the one that was shown.
    Mine,
    /// The bucket's file replaces the one here, which is kept hidden beside it.
    Theirs,
    /// The bucket's file takes the name, and the one here is kept beside it under another.
    Both,
}

impl Choice {
    /// All choices in their order.
    pub const ALL: [Self; 3] = [Self::Mine, Self::Theirs, Self::Both];

    /// The name of the choice.
    pub fn label(self) -> &'static str {
        match self {
            Self::Mine => "Keep mine",
            Self::Theirs => "Take theirs",
            Self::Both => "Keep both",
        }
    }

    /// What it does.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Mine => {
                "The file here stays, and sending replaces the bucket's, unless someone has changed it again."
            }
            Self::Theirs => {
                "The bucket's file takes the place of the one here, which is kept hidden beside it."
            }
            Self::Both => {
                "The bucket's file keeps the name; the one here stays beside it under a name of its own, here \
                 and in the bucket."
            }
        }
    }
}

/// Decisions by file, each with the generation of theirs that it was made about.
pub type Choices = BTreeMap<String, (Choice, i64)>;

/// One file that both sides changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictRow {
    /// Its name in the run.
    pub file: String,
    /// Length of the file here, in bytes.
    pub my_bytes: u64,
    /// When the file here was written, in seconds since 1970.
    pub my_secs: i64,
    /// Length of the bucket's, in bytes.
    pub their_bytes: u64,
    /// When the bucket's was written, in seconds since 1970.
    pub their_secs: i64,
    /// Which one of the bucket's this is about.
    pub their_generation: i64,
    /// What was decided.
    pub choice: Option<Choice>,
}

/// What was under way when both sides turned out to have changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Fetching.
    Pull,
    /// Sending.
    Push,
}

/// The decisions on screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictView {
    /// What is to go on after them.
    pub direction: Direction,
    /// The run's folder.
    pub dir: PathBuf,
    /// The files.
    pub rows: Vec<ConflictRow>,
}

impl ConflictView {
    /// Files without a decision.
    pub fn undecided(&self) -> usize {
        self.rows.iter().filter(|row| row.choice.is_none()).count()
    }
}
