//! Opens a run's folder: what was planned, and what of it can be believed. It never writes.

use super::{hash, picture_check, service_folder};
use crate::model::cell::CellKey;
use crate::model::document::DocumentError;
use crate::model::run::{
    CellDocument, CellOutcome, CellState, DoneCell, Environment, ExtensionDocument, Run,
    RunDocument, files,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How closely pictures are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// That they are there and look whole at both ends. Whoever decodes them sees the rest.
    Quick,
    /// All of it: hashes where they are known, decoding where they are not.
    Full,
}

/// A folder that cannot be opened as a run at all.
#[derive(Debug, thiserror::Error)]
pub enum RunFolderError {
    /// There is nothing of that name.
    #[error("there is no such folder: {path}")]
    NotFound {
        /// The folder.
        path: String,
    },
    /// It is there but has no run in it.
    #[error(
        "this folder holds no run: neither run.ron, nor REPORT.md, nor a cell's picture: {path}"
    )]
    NotARun {
        /// The folder.
        path: String,
    },
    /// It could not be read.
    #[error("{problem} ({source}): {path}")]
    Read {
        /// What was tried.
        problem: &'static str,
        /// The file or folder.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// `run.ron` could not be understood, so that nothing is known of what was planned.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Documents above this size are refused unread: a cell's is below 10 kB.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;

/// The files of a folder with their sizes in bytes.
pub(super) struct Listing {
    pub(super) folder: PathBuf,
    pub(super) sizes: BTreeMap<String, u64>,
    pub(super) warnings: Vec<String>,
}

impl Listing {
    fn read(folder: &Path) -> Result<Self, RunFolderError> {
        let read_error = |source: std::io::Error| {
            let path = folder.display().to_string();
            match source.kind() {
                std::io::ErrorKind::NotFound => RunFolderError::NotFound { path },
                std::io::ErrorKind::NotADirectory => RunFolderError::NotARun { path },
                _ => RunFolderError::Read {
                    problem: "the folder cannot be read",
                    path,
                    source,
                },
            }
        };
        let mut listing = Self {
            folder: folder.to_owned(),
            sizes: BTreeMap::new(),
            warnings: Vec::new(),
        };
        for entry in std::fs::read_dir(folder).map_err(read_error)? {
            let entry = entry.map_err(read_error)?;
            let Ok(name) = entry.file_name().into_string() else {
                listing.warnings.push(format!(
                    "{} has a name that is not UTF-8 and is left aside",
                    entry.path().display()
                ));
                continue;
            };
            // Follows links, so that a run may be made of links into a cache.
            match std::fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => {
                    listing.sizes.insert(name, metadata.len());
                }
                Ok(_) => {}
                Err(error) => listing
                    .warnings
                    .push(format!("{name} cannot be read: {error}")),
            }
        }
        Ok(listing)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.sizes.contains_key(name)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A document's text; what is wrong with it otherwise.
    fn text(&self, name: &str) -> Result<String, DocumentError> {
        let path = self.path(name);
        let value_error = |problem: String| DocumentError::Value {
            problem,
            path: path.display().to_string(),
        };
        match self.sizes.get(name) {
            Some(size) if *size > MAX_DOCUMENT_BYTES => Err(value_error(format!(
                "the document has {size} bytes; at most {MAX_DOCUMENT_BYTES} are read"
            ))),
            _ => std::fs::read_to_string(&path)
                .map_err(|error| value_error(format!("the document cannot be read ({error})"))),
        }
    }
}

/// Opens a run of this program or of the Python service.
///
/// Pieces that cannot be read become warnings of the run or unreadable cells.
///
/// # Errors
/// [`RunFolderError`] if there is no run, or if its `run.ron` cannot be understood.
pub fn open(folder: &Path, verification: Verification) -> Result<Run, RunFolderError> {
    let mut listing = Listing::read(folder)?;
    let warnings = std::mem::take(&mut listing.warnings);
    let mut run = if listing.has(files::RUN) {
        open_own(&listing, verification)?
    } else {
        service_folder::open(&listing, verification)?
    };
    run.warnings.extend(warnings);
    Ok(run)
}

/// Reads `run.ron` and the extensions; every cell is missing. What cannot be read of the extensions
/// becomes warnings.
///
/// # Errors
/// [`RunFolderError`] if `run.ron` is not there or cannot be understood.
pub fn read_plan(folder: &Path) -> Result<Run, RunFolderError> {
    plan_of(&Listing::read(folder)?)
}

fn plan_of(listing: &Listing) -> Result<Run, RunFolderError> {
    let path = listing.path(files::RUN).display().to_string();
    let document = RunDocument::parse(&listing.text(files::RUN)?, &path)?;
    let value_error = |problem: String| DocumentError::Value {
        problem,
        path: path.clone(),
    };
    let mut run = Run::new(document.clone(), Vec::new()).map_err(value_error)?;
    for n in 1.. {
        let name = files::plan(n);
        if !listing.has(&name) {
            break;
        }
        let path = listing.path(&name).display().to_string();
        let extension = listing
            .text(&name)
            .and_then(|text| ExtensionDocument::parse(&text, &path))
            .map_err(|error| error.to_string());
        let extended = extension.and_then(|extension| {
            let mut extensions = run.extensions.clone();
            extensions.push(extension);
            Run::new(document.clone(), extensions)
        });
        match extended {
            Ok(extended) => run = extended,
            Err(problem) => {
                // Later extensions count on this one's prompts.
                run.warnings
                    .push(format!("{problem}; {name} and later plans are left aside"));
                break;
            }
        }
    }
    Ok(run)
}

fn open_own(listing: &Listing, verification: Verification) -> Result<Run, RunFolderError> {
    let mut run = plan_of(listing)?;
    let mut keys: Vec<CellKey> = run.cells.keys().cloned().collect();
    for name in listing.sizes.keys() {
        let Some(stem) = name.strip_suffix(".ron") else {
            continue;
        };
        // Hidden ones are storage's: what was last seen in the bucket, what a decision replaced.
        if stem == "run"
            || stem.starts_with("plan-")
            || stem.starts_with("review-")
            || stem.starts_with('.')
        {
            continue;
        }
        match CellKey::parse(stem, &run.defaults) {
            Some(key) if run.cells.contains_key(&key) => {}
            Some(key) => keys.push(key),
            None => run.warnings.push(format!(
                "{name} is not a document of a run and is left aside"
            )),
        }
    }
    let states: Vec<_> = keys
        .into_par_iter()
        .map(|key| {
            let (state, warning) = read_cell(listing, &run, &key, verification);
            (key, state, warning)
        })
        .collect();
    let mut environments: Vec<Environment> = Vec::new();
    for (key, state, warning) in states {
        run.warnings.extend(warning);
        if let CellState::Unreadable { reason } = &state {
            run.warnings.push(reason.clone());
        }
        let document = match &state {
            CellState::Done(done) => done.document.as_ref(),
            CellState::Failed { document, .. } => document.as_deref(),
            _ => None,
        };
        if let Some(document) = document
            && !environments.contains(&document.environment)
        {
            environments.push(document.environment.clone());
        }
        run.cells.insert(key, state);
    }
    check_inputs(listing, verification, &mut run);
    let of_weights: Vec<String> = weights_warnings(&run);
    run.warnings.extend(of_weights);
    let fallbacks = fallbacks(&run);
    run.warnings.extend(fallbacks);
    let mut devices: Vec<String> = environments.iter().map(Environment::label).collect();
    devices.dedup();
    if devices.len() > 1 {
        run.warnings.push(format!(
            "the cells were made on different devices, so their times do not compare: {}",
            devices.join(", ")
        ));
    }
    run.environment = environments.into_iter().next();
    Ok(run)
}

/// What was odd about the weights when a plan was made, each once.
fn weights_warnings(run: &Run) -> Vec<String> {
    let of_run = run.document().into_iter().flat_map(|d| &d.weights_warnings);
    let of_plans = run.extensions.iter().flat_map(|e| &e.weights_warnings);
    let mut warnings: Vec<String> = Vec::new();
    for warning in of_run.chain(of_plans) {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    warnings
}

/// A sentence for each acceleration that was asked for and did not run.
fn fallbacks(run: &Run) -> Vec<String> {
    let mut cells: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (key, state) in &run.cells {
        let CellState::Done(done) = state else {
            continue;
        };
        for one in done.document.iter().flat_map(|d| &d.accelerations) {
            if one.fell_back() {
                cells.entry(&one.name).or_default().push(run.cell_name(key));
            }
        }
    }
    cells
        .into_iter()
        .map(|(name, cells)| format!("{name}: asked for, and did not run in {}", cells.join(", ")))
        .collect()
}

/// Holds the copies of the inputs against the hashes in `run.ron`.
fn check_inputs(listing: &Listing, verification: Verification, run: &mut Run) {
    let Some(document) = run.document() else {
        return;
    };
    let inputs = document.inputs.clone();
    let checked: Vec<Option<String>> = [
        (files::IMAGE, inputs.image),
        (files::MASK, inputs.mask),
        (files::INFERENCE_IMAGE, inputs.inference_image),
        (files::INFERENCE_MASK, inputs.inference_mask),
    ]
    .into_par_iter()
    .map(|(name, expected)| {
        if !listing.has(name) {
            return Some(format!("{name} is missing from the run"));
        }
        if verification == Verification::Quick {
            return None;
        }
        match hash::sha256_file(&listing.path(name)) {
            Ok(found) if found == expected => None,
            Ok(_) => Some(format!("{name} is not the file that the run was made from")),
            Err(error) => Some(format!("{name} cannot be read: {error}")),
        }
    })
    .collect();
    run.warnings.extend(checked.into_iter().flatten());
}

fn unreadable(reason: String) -> (CellState, Option<String>) {
    (CellState::Unreadable { reason }, None)
}

/// One cell's state, and a warning where something is odd about a cell that is merely missing.
fn read_cell(
    listing: &Listing,
    run: &Run,
    key: &CellKey,
    verification: Verification,
) -> (CellState, Option<String>) {
    let name = run.cell_name(key);
    let document_name = files::cell(&name);
    if !listing.has(&document_name) {
        // Pictures without their document are of a cell that was interrupted.
        return (CellState::Missing, None);
    }
    let path = listing.path(&document_name).display().to_string();
    let document = match listing
        .text(&document_name)
        .and_then(|text| CellDocument::parse(&text, &path))
    {
        Ok(document) => document,
        Err(error) => return unreadable(error.to_string()),
    };
    if document.key != *key {
        return unreadable(format!(
            "{document_name} is the document of another cell, {}",
            run.cell_name(&document.key)
        ));
    }
    match hash::of_cell_inputs(run, key) {
        Some(expected) if expected == document.inputs_sha256 => {}
        Some(_) => {
            return unreadable(format!(
                "{document_name} was made from other inputs than the run's documents name"
            ));
        }
        None => {
            return unreadable(format!(
                "{document_name} cannot be checked: no plan that could be read asks for it"
            ));
        }
    }
    let (fill_sha256, composite_sha256) = match &document.outcome {
        CellOutcome::Failed { error } => {
            return (
                CellState::Failed {
                    error: error.clone(),
                    document: Some(Box::new(document)),
                },
                None,
            );
        }
        CellOutcome::Done {
            fill_sha256,
            composite_sha256,
        } => (fill_sha256, composite_sha256),
    };
    for (file, expected) in [
        (files::fill(&name), fill_sha256),
        (files::composite(&name), composite_sha256),
    ] {
        if !listing.has(&file) {
            let warning =
                format!("{file} is missing although {document_name} says that it is done");
            return (CellState::Missing, Some(warning));
        }
        let checked = match verification {
            Verification::Quick => picture_check::quick(&listing.path(&file)),
            Verification::Full => match hash::sha256_file(&listing.path(&file)) {
                Ok(found) if found == *expected => Ok(()),
                Ok(_) => Err(format!("is not the picture that {document_name} describes")),
                Err(error) => Err(format!("cannot be read: {error}")),
            },
        };
        if let Err(problem) = checked {
            return unreadable(format!("{file} {problem}"));
        }
    }
    let done = DoneCell {
        timing: document.timing.clone(),
        document: Some(document),
    };
    (CellState::Done(Box::new(done)), None)
}
