//! What can go wrong with a run as a whole. A cell's failure is data, not one of these.

use crate::model::document::DocumentError;
use std::path::Path;

/// A run that cannot be started, gone on with, or written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Another process writes this run.
    #[error("another fill-audit is writing this run; wait for it or stop it: {path}")]
    Busy {
        /// The run's folder.
        path: String,
    },
    /// A file or folder could not be read or written.
    #[error("{problem} ({source}): {path}")]
    File {
        /// What was tried.
        problem: String,
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A document could not be understood.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// What was asked for cannot be run; the message names it and the remedy.
    #[error("{0}")]
    Refused(String),
    /// The mask does not pass its quality gates.
    #[error("the mask is refused: {}; give a reason to run it all the same: --override-gates, or “Override mask gates” where a run is composed", .problems.join("; "))]
    Gates {
        /// Each gate that it does not pass.
        problems: Vec<String>,
    },
    /// Files that the run needs are missing or wrong, or memory does not suffice.
    #[error("the run cannot be made: {}", .problems.join("\n  and: "))]
    Unfit {
        /// Everything that was found, each with its file and remedy.
        problems: Vec<String>,
    },
    /// Pixels could not be read or written.
    #[error("{problem}: {path}")]
    Picture {
        /// What is wrong.
        problem: String,
        /// The file.
        path: String,
    },
    /// The pipeline could not be prepared; no cell was tried.
    #[error("the pipeline cannot be prepared: {0}")]
    Engine(String),
    /// Someone asked to stop. What was finished is kept.
    #[error("cancelled")]
    Cancelled,
}

impl AuditError {
    /// A failure of the file system.
    pub fn file(problem: &str, path: &Path, source: std::io::Error) -> Self {
        Self::File {
            problem: problem.to_owned(),
            path: path.display().to_string(),
            source,
        }
    }
}
