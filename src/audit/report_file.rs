//! Writes a run's `REPORT.md` and the contact sheet that it shows: last when a run ends, again when it grows
//! or is approved.

use super::hash;
use super::run_folder::{self, Verification};
use super::{AuditError, CONTACT_SHEET, atomic, contact_sheet, journal};
use crate::model::approved::{ApprovedSettings, recommended_section};
use crate::model::cell::CellKey;
use crate::model::review::state::Approval;
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
        .filter(|section| !section.is_empty() && section.trim() != markdown::NOT_YET);
    let mut approved = None;
    let review = match journal::read_all(folder) {
        Ok(journals) if !journals.events.is_empty() => {
            let review = ReviewState::replay(journals.events);
            approved = review.approvals().last().map(approved_section);
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
        recommended: recommended.or(kept.as_deref()).or(approved.as_deref()),
        links: links.map(|links| links.by_cell.clone()).unwrap_or_default(),
        links_note: links.map(|links| links.sentence.as_str()),
    };
    markdown::render(run, &parts)
}

/// The section on an approval that a journal records: the settings where they still lie, or what is known.
fn approved_section(approval: &Approval) -> String {
    let settings = std::fs::read_to_string(&approval.file)
        .ok()
        .filter(|text| hash::sha256(text.as_bytes()) == approval.sha256)
        .and_then(|text| ApprovedSettings::parse(&text, &approval.file).ok());
    match settings {
        Some(settings) => recommended_section(&settings),
        None => format!(
            "Approved by {} on {}. The settings were written to `{}` (SHA-256 `{}`), which is not there or \
             was changed since.",
            approval.reviewer,
            approval.at.short(),
            approval.file,
            approval.sha256
        ),
    }
}

/// Brings the section on the review up to date with the journals and leaves every other line as it is.
/// `false` where there is nothing to do: the run has no report yet, or another program wrote it.
///
/// # Errors
/// [`AuditError`] if the run cannot be opened, or the report cannot be written.
pub fn refresh_review(folder: &Path) -> Result<bool, AuditError> {
    let path = folder.join(files::REPORT);
    let Ok(report) = std::fs::read_to_string(&path) else {
        return Ok(false);
    };
    let run = run_folder::open(folder, Verification::Quick)
        .map_err(|error| AuditError::Refused(error.to_string()))?;
    let events = journal::read_all(folder)?.events;
    if run.document().is_none() || events.is_empty() {
        return Ok(false);
    }
    let review = ReviewState::replay(events);
    let section = export::markdown(&run, &review, &FailureTypes::default());
    let renewed = with_review(&report, &section);
    if renewed == report {
        return Ok(false);
    }
    atomic::write(&path, renewed.as_bytes())
        .map_err(|source| AuditError::file("the report cannot be written", &path, source))?;
    Ok(true)
}

/// The report with the section in the place of the former one, or before the recommended settings.
fn with_review(report: &str, section: &str) -> String {
    let heading = section.trim().lines().next().unwrap_or_default();
    let mut is_code = false;
    let mut from = None;
    let mut end = None;
    let mut at = 0;
    for line in report.split_inclusive('\n') {
        is_code ^= line.trim_start().starts_with("```");
        let is_heading = !is_code && (line.starts_with("## ") || line.starts_with("# "));
        if is_heading && from.is_some() && end.is_none() {
            end = Some(at);
        }
        if is_heading && from.is_none() && line.trim() == heading {
            from = Some(at);
        }
        at += line.len();
    }
    let place = report
        .find(&format!("\n## {}", markdown::RECOMMENDED))
        .map_or(report.len(), |at| at + 1);
    let (from, end) = from.map_or((place, place), |from| (from, end.unwrap_or(report.len())));
    let (before, after) = (&report[..from], &report[end..]);
    let gap = if before.is_empty() || before.ends_with("\n\n") {
        ""
    } else if before.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    };
    format!("{before}{gap}{}\n\n{after}", section.trim())
}

#[cfg(test)]
mod tests {
    use super::with_review;

    const REPORT: &str = "# R\n\n## Results\n\nx\n\n## Recommended Settings for Phase 1\n\ny\n";

    #[test]
    fn the_review_stands_before_the_recommended_settings() {
        assert_eq!(
            with_review(REPORT, "## Review\n\nfirst\n### By quant\n"),
            "# R\n\n## Results\n\nx\n\n## Review\n\nfirst\n### By quant\n\n## Recommended Settings for Phase 1\n\ny\n"
        );
    }

    #[test]
    fn a_review_takes_the_place_of_the_former_one_and_twice_is_once() {
        let once = with_review(REPORT, "## Review\n\nfirst\n### By quant\n");
        let twice = with_review(&once, "## Review\n\nsecond\n");
        assert_eq!(twice, with_review(REPORT, "## Review\n\nsecond\n"));
        assert_eq!(with_review(&twice, "## Review\n\nsecond\n"), twice);
    }
}
