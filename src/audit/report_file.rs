//! Writes a run's `REPORT.md` and the contact sheet that it shows: last when a run ends, again when it grows
//! or is approved.

use super::run_folder::{self, Verification};
use super::{AuditError, CONTACT_SHEET, atomic, contact_sheet, journal};
use crate::model::cell::CellKey;
use crate::model::review::{FailureTypes, ReviewState, export};
use crate::model::run::{Run, files};
use crate::report::markdown::{self, ReportParts};
use crate::report::service;
use std::collections::BTreeMap;
use std::path::Path;

/// Addresses of a run's pictures, for its report.
#[derive(Debug, Clone, Default)]
pub struct ReportLinks {
    /// By cell. What is not in here is named by its file beside the report.
    pub by_cell: BTreeMap<CellKey, String>,
    /// Which kind of links they are, and until when they work.
    pub sentence: String,
}

/// Writes the report of a run of this program, and before it the contact sheet that it embeds; without one
/// where it cannot be drawn. What an approval put into the last section stays.
///
/// # Errors
/// [`AuditError`] if the run cannot be opened, was written by the Python service, or the file cannot be
/// written.
pub fn write(folder: &Path) -> Result<(), AuditError> {
    write_with(folder, None)
}

/// As [`write()`], with addresses for its pictures in place of the files beside it.
///
/// # Errors
/// See [`write()`].
pub fn write_with(folder: &Path, links: Option<&ReportLinks>) -> Result<(), AuditError> {
    let run = run_folder::open(folder, Verification::Quick)
        .map_err(|error| AuditError::Refused(error.to_string()))?;
    if run.document().is_none() {
        return Err(AuditError::Refused(format!(
            "this run was written by the Python service; its report is left as it is: {}",
            folder.display()
        )));
    }
    if run.done_count() > 0
        && let Err(error) = contact_sheet::write(folder, &folder.join(CONTACT_SHEET))
    {
        tracing::warn!("the report goes without a new contact sheet: {error}");
    }
    let text = text(folder, &run, None, links);
    let path = folder.join(files::REPORT);
    atomic::write(&path, text.as_bytes())
        .map_err(|source| AuditError::file("the report cannot be written", &path, source))
}

/// The report's text, with the contact sheet that lies in the folder. Without `recommended`, the last section
/// is kept as an existing report has it.
pub fn text(
    folder: &Path,
    run: &Run,
    recommended: Option<&str>,
    links: Option<&ReportLinks>,
) -> String {
    let before = std::fs::read_to_string(folder.join(files::REPORT)).ok();
    let kept = before
        .as_deref()
        .and_then(|text| service::section(text, &["recommended settings"]))
        .filter(|section| !section.is_empty());
    let review = match journal::read_all(folder) {
        Ok(journals) if !journals.events.is_empty() => {
            let review = ReviewState::replay(journals.events);
            Some(export::markdown(run, &review, &FailureTypes::default()))
        }
        Ok(_) => None,
        Err(error) => {
            tracing::warn!("the report goes without the review: {error}");
            None
        }
    };
    let parts = ReportParts {
        contact_sheet: folder
            .join(CONTACT_SHEET)
            .is_file()
            .then_some(CONTACT_SHEET),
        review: review.as_deref(),
        recommended: recommended.or(kept.as_deref()),
        links: links.map(|links| links.by_cell.clone()).unwrap_or_default(),
        links_note: links.map(|links| links.sentence.as_str()),
    };
    markdown::render(run, &parts)
}
