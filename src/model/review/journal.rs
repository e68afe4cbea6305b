//! Events to lines and back. A line that cannot be read is skipped with a warning and never cut off:
//! another window may be writing it. Files are `audit::journal`'s.

use super::event::Event;
use crate::model::document::{self, DocumentError};
use crate::model::ids::ReviewerId;
use std::fmt;

/// `review-{reviewer}.ron`.
pub fn file_name(reviewer: &ReviewerId) -> String {
    format!("review-{reviewer}.ron")
}

/// Whose journal a file is by its name; `None` if it is no journal.
pub fn reviewer_of(file_name: &str) -> Option<ReviewerId> {
    let name = file_name.strip_prefix("review-")?.strip_suffix(".ron")?;
    ReviewerId::new(name).ok()
}

/// A line that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineWarning {
    /// What was expected and what stood there.
    pub problem: String,
    /// 1-based line.
    pub line: usize,
    /// The journal as the user knows it.
    pub path: String,
}

impl fmt::Display for LineWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a line of the journal is skipped: {}, line {}: {}",
            self.problem, self.line, self.path
        )
    }
}

/// What a journal, or a part of one, holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// Events in the order of their lines.
    pub events: Vec<Event>,
    /// Lines that were skipped.
    pub warnings: Vec<LineWarning>,
}

/// Writes an event as one line, without a line break.
///
/// # Errors
/// [`DocumentError::Value`] if it breaks a rule of [`Event::check`].
pub fn to_line(event: &Event, path: &str) -> Result<String, DocumentError> {
    let value_error = |problem: String| DocumentError::Value {
        problem,
        path: path.to_owned(),
    };
    event.check().map_err(value_error)?;
    let line = document::to_ron_line(event, path)?;
    if line.contains(['\n', '\r']) {
        return Err(value_error("an event does not fit on one line".to_owned()));
    }
    Ok(line)
}

/// What decides between two different events under one id.
pub(super) fn sort_text(event: &Event) -> String {
    document::to_ron_line(event, "").unwrap_or_default()
}

/// Reads one line.
///
/// # Errors
/// [`DocumentError`] with line 1; [`parse`] names the real line.
pub fn from_line(line: &str, path: &str) -> Result<Event, DocumentError> {
    let event: Event = document::from_ron(line, path)?;
    document::check_schema(event.schema, path)?;
    event.check().map_err(|problem| DocumentError::Value {
        problem,
        path: path.to_owned(),
    })?;
    Ok(event)
}

/// Reads a journal's bytes, or those from line `first_line` (from 1) on. Empty lines mean nothing.
pub fn parse(bytes: &[u8], first_line: usize, path: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let problem = match std::str::from_utf8(line) {
            Err(error) => error.to_string(),
            Ok(text) => match from_line(text, path) {
                Ok(event) => {
                    parsed.events.push(event);
                    continue;
                }
                Err(DocumentError::Syntax {
                    problem, column, ..
                }) => {
                    format!("{problem} at column {column}")
                }
                Err(DocumentError::Value { problem, .. }) => problem,
                Err(DocumentError::NewerSchema { found, newest, .. }) => format!(
                    "schema {found} is newer than this program understands ({newest}); update fill-audit"
                ),
            },
        };
        parsed.warnings.push(LineWarning {
            problem,
            line: first_line + index,
            path: path.to_owned(),
        });
    }
    parsed
}
