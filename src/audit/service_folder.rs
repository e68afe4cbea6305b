//! Opens a folder that the Python service wrote: pictures, and a report whose table names them.

use super::picture_check;
use super::run_folder::{Listing, RunFolderError, Verification};
use crate::model::cell::{CellDefaults, CellKey};
use crate::model::ids::RunId;
use crate::model::run::{CellState, DoneCell, Origin, Run, Timing, files};
use crate::report::service::{ServiceReport, ServiceRow};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Pictures that may lie in a run's folder and are no cells.
const NOT_CELLS: [&str; 5] = [
    files::IMAGE,
    files::MASK,
    files::INFERENCE_IMAGE,
    files::INFERENCE_MASK,
    super::CONTACT_SHEET,
];

pub(super) fn open(listing: &Listing, verification: Verification) -> Result<Run, RunFolderError> {
    let mut warnings = Vec::new();
    let report = if listing.has(files::REPORT) {
        read_report(listing, &mut warnings)
    } else {
        None
    };
    let report_found = listing.has(files::REPORT);
    let defaults = CellDefaults::of_service_run();
    let pictures = pictures(listing, &defaults, report.as_ref(), &mut warnings);
    let not_a_run = || RunFolderError::NotARun {
        path: listing.folder.display().to_string(),
    };
    if !report_found && pictures.is_empty() {
        return Err(not_a_run());
    }
    let mut report = report.unwrap_or_default();
    warnings.append(&mut report.warnings);
    let rows = last_rows(std::mem::take(&mut report.rows), &defaults, &mut warnings);
    let claims = claim(&rows, &pictures, &defaults, &mut warnings);

    let mut run = Run {
        run_id: run_id(listing, &report).ok_or_else(not_a_run)?,
        session: report.session,
        expected: String::new(),
        origin: Origin::Service,
        extensions: Vec::new(),
        prompts: Vec::new(),
        environment: report.environment,
        warnings,
        cells: BTreeMap::new(),
        picture_names: BTreeMap::new(),
        reported_timings: BTreeMap::new(),
        defaults,
        acceleration_section: report.acceleration_section,
    };
    let states: Vec<_> = claims
        .into_par_iter()
        .map(|(key, file)| {
            let row = rows.get(&key);
            let state = cell_state(listing, file.as_deref(), row, verification);
            (key, file, state)
        })
        .collect();
    for (key, file, (state, warning)) in states {
        run.warnings
            .extend(warning.map(|problem| format!("{}: {problem}", run.cell_name(&key))));
        if let Some(row) = rows.get(&key).filter(|row| row.timing != Timing::default()) {
            run.reported_timings.insert(key.clone(), row.timing.clone());
        }
        if let Some(file) = file.filter(|file| *file != files::composite(&run.cell_name(&key))) {
            run.picture_names.insert(key.clone(), file);
        }
        run.cells.insert(key, state);
    }
    Ok(run)
}

fn read_report(listing: &Listing, warnings: &mut Vec<String>) -> Option<ServiceReport> {
    match read_bounded(&listing.path(files::REPORT)) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            if matches!(text, std::borrow::Cow::Owned(_)) {
                warnings.push(
                    "REPORT.md is not all UTF-8; what could not be read is shown as \u{fffd}"
                        .to_owned(),
                );
            }
            Some(ServiceReport::parse(&text))
        }
        Err(error) => {
            warnings.push(format!("REPORT.md cannot be read: {error}"));
            None
        }
    }
}

/// A report above this size is none: a thousand rows take a hundredth of it.
const MAX_REPORT_BYTES: u64 = 16 << 20;

fn read_bounded(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_REPORT_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_REPORT_BYTES {
        return Err(std::io::Error::other(format!(
            "it has more than {} MiB",
            MAX_REPORT_BYTES >> 20
        )));
    }
    Ok(bytes)
}

/// The title says the run's id; a folder's name stands in for it.
fn run_id(listing: &Listing, report: &ServiceReport) -> Option<RunId> {
    let folder = listing.folder.canonicalize().ok();
    let of_folder = folder
        .as_deref()
        .and_then(std::path::Path::file_name)
        .and_then(|name| name.to_str())
        .and_then(|name| RunId::new(name).ok());
    report
        .run_id
        .clone()
        .or(of_folder)
        .or_else(|| RunId::new("unnamed").ok())
}

/// The pictures that may be cells, each with the cell that its name says.
fn pictures(
    listing: &Listing,
    defaults: &CellDefaults,
    report: Option<&ServiceReport>,
    warnings: &mut Vec<String>,
) -> BTreeMap<String, Option<CellKey>> {
    let linked: BTreeSet<&str> = report
        .iter()
        .flat_map(|report| &report.rows)
        .filter_map(|row| row.picture.as_deref())
        .collect();
    let mut pictures = BTreeMap::new();
    for name in listing.sizes.keys() {
        let Some((stem, extension)) = name.rsplit_once('.') else {
            continue;
        };
        if !extension.eq_ignore_ascii_case("png")
            || NOT_CELLS.contains(&name.as_str())
            || stem.rsplit('.').next() == Some("fill")
            || name.starts_with('.')
            || name.starts_with("inference_")
        {
            continue;
        }
        let key = CellKey::parse(stem, defaults);
        if key.is_none() && !linked.contains(name.as_str()) {
            warnings.push(format!(
                "{name} is not named as a cell is and is left aside"
            ));
            continue;
        }
        pictures.insert(name.clone(), key);
    }
    pictures
}

fn row_key(row: &ServiceRow, defaults: &CellDefaults) -> CellKey {
    CellKey {
        quant: row.quant.clone(),
        guidance: row.guidance,
        steps: row.steps,
        seed: defaults.seed,
        prompt: defaults.prompt,
        dilate_px: defaults.dilate_px,
        recipe: None,
    }
}

/// One row a cell: of two for the same cell the later one counts.
fn last_rows(
    rows: Vec<ServiceRow>,
    defaults: &CellDefaults,
    warnings: &mut Vec<String>,
) -> BTreeMap<CellKey, ServiceRow> {
    let mut by_key = BTreeMap::new();
    for row in rows {
        let key = row_key(&row, defaults);
        let line = row.line;
        if let Some(earlier) = by_key.insert(key.clone(), row) {
            warnings.push(format!(
                "REPORT.md names {} twice, in lines {} and {line}; the later one counts",
                key.name(defaults),
                earlier.line
            ));
        }
    }
    by_key
}

/// Every cell with its picture's file, if there is one. A row's own link comes first, then the cell's
/// name, then the service's name, which rounds guidance and leaves out the steps.
fn claim(
    rows: &BTreeMap<CellKey, ServiceRow>,
    pictures: &BTreeMap<String, Option<CellKey>>,
    defaults: &CellDefaults,
    warnings: &mut Vec<String>,
) -> BTreeMap<CellKey, Option<String>> {
    let mut claimed: BTreeMap<String, CellKey> = BTreeMap::new();
    let mut cells: BTreeMap<CellKey, Option<String>> = BTreeMap::new();
    // A picture whose name says exactly this cell is this cell's, whoever else links it.
    for (file, key) in pictures {
        if let Some(key) = key.as_ref().filter(|key| rows.contains_key(key)) {
            let own = rows
                .get(key)
                .is_some_and(|row| row.picture.as_ref().is_none_or(|link| link == file));
            if own && !cells.contains_key(key) {
                claimed.insert(file.clone(), key.clone());
                cells.insert(key.clone(), Some(file.clone()));
            }
        }
    }
    for (key, row) in rows {
        if cells.contains_key(key) {
            continue;
        }
        let service_name = format!("{}_gs{:.0}.png", key.quant, key.guidance.value());
        let candidates = [
            row.picture.clone(),
            Some(files::composite(&key.name(defaults))),
            // A failed cell has left no picture; what is named so is another's.
            row.error.is_none().then_some(service_name),
        ];
        let found = candidates
            .into_iter()
            .flatten()
            .find(|name| pictures.contains_key(name));
        match found {
            Some(file) => match claimed.get(&file) {
                None => {
                    claimed.insert(file.clone(), key.clone());
                    cells.insert(key.clone(), Some(file));
                }
                Some(owner) => {
                    warnings.push(format!(
                        "REPORT.md line {}: {file} is the picture of {} too; whose it is cannot be known",
                        row.line,
                        owner.name(defaults)
                    ));
                    cells.insert(key.clone(), None);
                }
            },
            None => {
                cells.insert(key.clone(), None);
            }
        }
    }
    for (file, key) in pictures {
        if claimed.contains_key(file) {
            continue;
        }
        match key {
            Some(key) if !cells.contains_key(key) => {
                if !rows.is_empty() {
                    warnings.push(format!(
                        "{file} has no row in REPORT.md; its times are unknown"
                    ));
                }
                cells.insert(key.clone(), Some(file.clone()));
            }
            Some(key) => warnings.push(format!(
                "{file} is left aside: another file is the picture of {}",
                key.name(defaults)
            )),
            None => {}
        }
    }
    cells
}

fn cell_state(
    listing: &Listing,
    file: Option<&str>,
    row: Option<&ServiceRow>,
    verification: Verification,
) -> (CellState, Option<String>) {
    if let Some((row, error)) = row.and_then(|row| Some((row, row.error.clone()?))) {
        let warning = file.map(|file| {
            format!(
                "REPORT.md line {} says that it failed, but {file} is there",
                row.line
            )
        });
        let document = None;
        return (CellState::Failed { error, document }, warning);
    }
    let Some(file) = file else {
        let warning = row
            .and_then(|row| row.picture.as_ref())
            .map(|name| format!("its picture {name} is missing"));
        return (CellState::Missing, warning);
    };
    let path = listing.path(file);
    let checked = match verification {
        Verification::Quick => picture_check::quick(&path),
        Verification::Full => picture_check::full(&path),
    };
    match checked {
        Ok(()) => {
            let timing = row.map(|row| row.timing.clone()).unwrap_or_default();
            let document = None;
            (
                CellState::Done(Box::new(DoneCell { timing, document })),
                None,
            )
        }
        Err(problem) => {
            let reason = format!("{file} {problem}");
            let warning = Some(reason.clone());
            (CellState::Unreadable { reason }, warning)
        }
    }
}
