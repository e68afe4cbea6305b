//! Makes a run's folder, or finds the one that the same request made before. A folder appears whole or
//! not at all: it is filled under another name and then renamed.

use super::context::AuditContext;
use super::engine::{EngineError, FillEngine, RunNeeds};
use super::inputs::{self, SessionInputs};
use super::lock::RunLock;
use super::preflight;
use super::request::{self, RunRequest};
use super::run_folder::{self, Verification};
use super::{AuditError, atomic, hash};
use crate::imaging::mask::BinaryMask;
use crate::model::cell::{CellDefaults, Quant};
use crate::model::document;
use crate::model::ids::RunId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
use crate::model::run::{CellState, ExtensionDocument, InputHashes, Plan, Run, RunDocument, files};
use crate::model::session::{Session, files as session_files};
use std::path::{Path, PathBuf};

/// Begins the name of a run's folder that is still being filled.
const UNFINISHED: &str = ".starting-";

/// A run that this process may write: its folder, and the lock on it.
#[derive(Debug)]
pub struct OwnedRun {
    /// The folder.
    pub folder: PathBuf,
    /// Whether it was there before.
    pub is_continued: bool,
    pub(super) _lock: RunLock,
}

/// A sweep that is added to a run: what differs from the run's plan.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtendRequest {
    /// The values of every axis; prompts are indices into `prompts`.
    pub matrix: Matrix,
    /// The mask recipe.
    pub recipe: MaskRecipe,
    /// The prompts that the matrix names.
    pub prompts: Vec<String>,
}

/// The session in a folder; without `session.ron` it is named after the folder.
///
/// # Errors
/// [`AuditError`] if its document cannot be understood or the folder's name is no id.
pub fn read_session(folder: &Path) -> Result<Session, AuditError> {
    let path = folder.join(session_files::DOCUMENT);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Session::parse(&text, &path.display().to_string())?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if !folder.is_dir() {
                return Err(AuditError::Refused(format!(
                    "there is no such session folder: {}",
                    folder.display()
                )));
            }
            let canonical = folder
                .canonicalize()
                .map_err(|source| AuditError::file("the session cannot be read", folder, source))?;
            let name = canonical.file_name().and_then(|name| name.to_str());
            let id = name.unwrap_or_default().parse().map_err(|error| {
                AuditError::Refused(format!(
                    "the session has no session.ron and its folder's name is no id: {error}: {}",
                    folder.display()
                ))
            })?;
            Ok(Session::unnamed(id))
        }
        Err(source) => Err(AuditError::file(
            "the session cannot be read",
            &path,
            source,
        )),
    }
}

/// Starts the run that is asked for, or goes on with it if it was started before.
///
/// # Errors
/// [`AuditError`] if the request, the session, the mask or the weights do not allow it.
pub fn start(
    request: &RunRequest,
    engine: &mut dyn FillEngine,
    context: &mut AuditContext<'_>,
) -> Result<OwnedRun, AuditError> {
    request.check()?;
    let session = read_session(&request.session_dir)?;
    let widest = widest(&request.plan);
    let inputs = SessionInputs::read(&request.session_dir, request.inference, &widest)?;
    let subject = inputs::read_subject(&request.session_dir, &inputs)?;
    let overridden = check_gates(
        &request.plan,
        &inputs,
        subject.as_ref().map(|subject| &subject.mask),
        request.gates_override.as_deref(),
    )?;
    let examined = preflight::examine(
        engine,
        &RunNeeds {
            quants: &request.plan.matrix.quants,
            prompts: &request.prompts,
            size_px: inputs.inference_image.dimensions(),
        },
        context,
    )?;
    let model = engine
        .weights(&request.plan.matrix.quants, &mut context.poll())
        .map_err(engine_error)?;
    let first = inputs.mask(&request.plan.recipe);
    let inference_image = inputs::encode_rgb(&inputs.inference_image)?;
    let inference_mask = inputs::encode_mask(&first.mask.grown)?;
    let now = context.now();
    let document = RunDocument {
        schema: document::SCHEMA,
        run_id: match &request.run_id {
            Some(id) => id.clone(),
            None => free_id(&request.runs_dir, now)?,
        },
        session: session.id.clone(),
        expected: session.expected.clone(),
        created_at: context.timestamp(),
        program: super::PROGRAM.to_owned(),
        plan: request.plan.clone(),
        prompts: request.prompts.clone(),
        inference: request.inference,
        inference_box: inputs.inference_box(),
        inference_size_px: inputs.inference_image.dimensions(),
        max_sequence_length: engine.max_sequence_length(),
        matmul: request.matmul,
        device: request.device.clone(),
        model,
        inputs: InputHashes {
            image: hash::sha256(&inputs.image_file),
            mask: hash::sha256(&inputs.mask_file),
            inference_image: hash::sha256(&inference_image),
            inference_mask: hash::sha256(&inference_mask),
        },
        gates_overridden: overridden,
        weights_warnings: examined.warnings,
    };

    if let Some(folder) = existing(request, &document)? {
        return own(folder, true);
    }
    let (staged, lock) = stage(&request.runs_dir, &document.run_id)?;
    let write = |name: &str, bytes: &[u8]| {
        let path = staged.join(name);
        atomic::write(&path, bytes)
            .map_err(|source| AuditError::file("the file cannot be written", &path, source))
    };
    write(files::IMAGE, &inputs.image_file)?;
    write(files::MASK, &inputs.mask_file)?;
    if let Some(subject) = &subject {
        // For the gates of what is added later.
        write(files::SUBJECT, &subject.file)?;
    }
    write(files::INFERENCE_IMAGE, &inference_image)?;
    write(files::INFERENCE_MASK, &inference_mask)?;
    let text = document::to_ron(&document, files::RUN)?;
    write(files::RUN, text.as_bytes())?;
    let folder = request.runs_dir.join(document.run_id.as_str());
    std::fs::rename(&staged, &folder).map_err(|source| {
        AuditError::file(
            "the run's folder cannot be made, is another one there?",
            &folder,
            source,
        )
    })?;
    // The lock is on the file, wherever its folder is now.
    Ok(OwnedRun {
        folder,
        is_continued: false,
        _lock: lock,
    })
}

/// Goes on with a run, whoever started it.
///
/// # Errors
/// [`AuditError`] if there is no `run.ron` that can be understood, or another process writes it.
pub fn resume(folder: &Path) -> Result<OwnedRun, AuditError> {
    read_own_plan(folder)?;
    own(folder.to_owned(), true)
}

/// Checks that the run in a folder is the one that is asked for. It looks at no weights: those are held
/// against the run's before cells are made of them.
///
/// # Errors
/// [`AuditError`] if the run or the session cannot be read, or was started with something else, which is
/// named.
pub fn check_same(folder: &Path, request: &RunRequest) -> Result<(), AuditError> {
    request.check()?;
    let run = read_own_plan(folder)?;
    let Some(found) = run.document() else {
        return Err(not_ours(folder));
    };
    let session = read_session(&request.session_dir)?;
    let inputs = SessionInputs::read(
        &request.session_dir,
        request.inference,
        &widest(&request.plan),
    )?;
    let wanted = RunDocument {
        session: session.id,
        plan: request.plan.clone(),
        prompts: request.prompts.clone(),
        inference: request.inference,
        matmul: request.matmul,
        device: request.device.clone(),
        inputs: InputHashes {
            image: hash::sha256(&inputs.image_file),
            mask: hash::sha256(&inputs.mask_file),
            ..found.inputs.clone()
        },
        ..found.clone()
    };
    match difference(found, &wanted) {
        None => Ok(()),
        Some(what) => Err(other_run(&found.run_id, what, folder)),
    }
}

/// What keeps two documents from being of the same request; when each was written does not count.
pub(super) fn check_same_documents(
    found: &RunDocument,
    wanted: &RunDocument,
    folder: &Path,
) -> Result<(), AuditError> {
    match difference(found, wanted) {
        None if found.inputs == wanted.inputs => Ok(()),
        None => Err(other_run(&found.run_id, "kind of preparation", folder)),
        Some(what) => Err(other_run(&found.run_id, what, folder)),
    }
}

fn other_run(id: &RunId, what: &str, folder: &Path) -> AuditError {
    AuditError::Refused(format!(
        "run {id} was started with another {what}; choose another id, or give --resume to go on with it \
         as it is: {}",
        folder.display()
    ))
}

/// Adds a sweep to a run, or finds that it was added before.
///
/// # Errors
/// [`AuditError`] if the run cannot be read, the sweep is not allowed, or the weights are missing.
pub fn extend(
    folder: &Path,
    request: &ExtendRequest,
    gates_override: Option<&str>,
    engine: &mut dyn FillEngine,
    context: &mut AuditContext<'_>,
) -> Result<OwnedRun, AuditError> {
    let owned = own(folder.to_owned(), true)?;
    let run = read_own_plan(folder)?;
    let Some(document) = run.document() else {
        return Err(not_ours(folder));
    };
    if let Some(problem) = run.warnings.first() {
        return Err(AuditError::Refused(format!(
            "the run's plans cannot all be read, so none is added: {problem}"
        )));
    }
    let given = Plan {
        matrix: request.matrix.clone(),
        recipe: request.recipe.clone(),
    };
    request::check_plan(&given, &request.prompts)?;
    let inputs = SessionInputs::of_run(folder, document)?;
    let subject = inputs::read_subject(folder, &inputs)?;
    let overridden = check_gates(
        &given,
        &inputs,
        subject.as_ref().map(|subject| &subject.mask),
        gates_override,
    )?;

    let mut extension = extension_of(&run, document, request);
    extension.gates_overridden = overridden;
    extension.created_at = context.timestamp();
    let added_before = run
        .extensions
        .iter()
        .any(|known| known.plan == extension.plan && extension.new_prompts.is_empty());
    let first_plan = document.plan == extension.plan;
    if added_before || first_plan {
        return Ok(owned);
    }
    let unknown: Vec<Quant> = extension
        .plan
        .matrix
        .quants
        .iter()
        .filter(|quant| run.transformer(quant).is_none())
        .cloned()
        .collect();
    if !unknown.is_empty() {
        let needs = RunNeeds {
            quants: &unknown,
            prompts: &request.prompts,
            size_px: document.inference_size_px,
        };
        extension.weights_warnings = preflight::examine(engine, &needs, context)?.warnings;
        let model = engine
            .weights(&unknown, &mut context.poll())
            .map_err(engine_error)?;
        extension.new_files = model
            .files
            .into_iter()
            .filter(|file| file.quant.is_some())
            .collect();
    }
    let number = run.extensions.len() + 1;
    let mut extensions = run.extensions.clone();
    extensions.push(extension.clone());
    Run::new(document.clone(), extensions).map_err(AuditError::Refused)?;
    let path = folder.join(files::plan(number));
    if path.exists() {
        return Err(AuditError::Refused(format!(
            "a plan of that number is there already: {}",
            path.display()
        )));
    }
    let text = document::to_ron(&extension, &path.display().to_string())?;
    atomic::write(&path, text.as_bytes())
        .map_err(|source| AuditError::file("the plan cannot be written", &path, source))?;
    Ok(owned)
}

/// The document of a sweep, with its prompts as indices of the run's, new ones added at the end. It
/// names no weights and no time yet.
pub fn extension_of(
    run: &Run,
    document: &RunDocument,
    request: &ExtendRequest,
) -> ExtensionDocument {
    let mut prompts = run.prompts.clone();
    let mut new_prompts = Vec::new();
    let mut matrix = request.matrix.clone();
    let asked = matrix
        .prompts
        .iter()
        .filter_map(|index| request.prompts.get(*index));
    matrix.prompts = asked
        .map(|prompt| {
            let known = prompts.iter().position(|known| known == prompt);
            known.unwrap_or_else(|| {
                prompts.push(prompt.clone());
                new_prompts.push(prompt.clone());
                prompts.len() - 1
            })
        })
        .collect();
    ExtensionDocument {
        schema: document::SCHEMA,
        run_id: document.run_id.clone(),
        created_at: String::new(),
        plan: Plan {
            matrix,
            recipe: request.recipe.clone(),
        },
        new_prompts,
        new_files: Vec::new(),
        weights_warnings: Vec::new(),
        gates_overridden: Vec::new(),
    }
}

fn own(folder: PathBuf, is_continued: bool) -> Result<OwnedRun, AuditError> {
    let lock = RunLock::take(&folder)?;
    atomic::remove_leftovers(&folder);
    Ok(OwnedRun {
        folder,
        is_continued,
        _lock: lock,
    })
}

fn read_own_plan(folder: &Path) -> Result<Run, AuditError> {
    use run_folder::RunFolderError;
    if folder.is_dir() && !folder.join(files::RUN).exists() {
        return Err(not_ours(folder));
    }
    run_folder::read_plan(folder).map_err(|error| match error {
        RunFolderError::Document(error) => AuditError::Document(error),
        other => AuditError::Refused(other.to_string()),
    })
}

fn not_ours(folder: &Path) -> AuditError {
    AuditError::Refused(format!(
        "this folder has no run.ron, so it cannot be gone on with; start a run of your own: {}",
        folder.display()
    ))
}

pub(super) fn engine_error(error: EngineError) -> AuditError {
    match error {
        EngineError::Cancelled => AuditError::Cancelled,
        EngineError::Failed(problem) => AuditError::Engine(problem),
    }
}

/// The plan's recipe at its largest dilation: a crop must have room for every mask.
pub fn widest(plan: &Plan) -> MaskRecipe {
    let mut recipe = plan.recipe.clone();
    if let Some(largest) = plan.matrix.dilations.iter().max() {
        recipe.dilate_px = largest.value() as f32;
    }
    recipe
}

/// The gates that the masks of a plan do not pass, each with the reason why it is overridden.
///
/// # Errors
/// [`AuditError::Gates`] if there are some and no reason is given.
pub fn check_gates(
    plan: &Plan,
    inputs: &SessionInputs,
    subject: Option<&BinaryMask>,
    gates_override: Option<&str>,
) -> Result<Vec<String>, AuditError> {
    let mut problems: Vec<String> = Vec::new();
    for dilate_px in &plan.matrix.dilations {
        let mut recipe = plan.recipe.clone();
        recipe.dilate_px = dilate_px.value() as f32;
        for problem in inputs.gates(&recipe, subject)? {
            let problem = if plan.matrix.dilations.len() > 1 {
                format!("at {dilate_px} px: {problem}")
            } else {
                problem
            };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    match gates_override.map(str::trim) {
        _ if problems.is_empty() => Ok(Vec::new()),
        Some(reason) if !reason.is_empty() => Ok(problems
            .into_iter()
            .map(|problem| format!("{problem} (overridden: {reason})"))
            .collect()),
        _ => Err(AuditError::Gates { problems }),
    }
}

/// The folder of the same request, if it was started before: by its id, or the newest one that asks for
/// the same, unfinished ones first.
fn existing(request: &RunRequest, wanted: &RunDocument) -> Result<Option<PathBuf>, AuditError> {
    if let Some(id) = &request.run_id {
        let folder = request.runs_dir.join(id.as_str());
        if !folder.exists() || is_empty(&folder) {
            return Ok(None);
        }
        let run = read_own_plan(&folder)?;
        let Some(found) = run.document() else {
            return Err(not_ours(&folder));
        };
        return match difference(found, wanted) {
            None => Ok(Some(folder)),
            Some(what) => Err(other_run(id, what, &folder)),
        };
    }
    if request.is_new {
        return Ok(None);
    }
    let mut same = Vec::new();
    for folder in run_folders(&request.runs_dir) {
        let Ok(run) = run_folder::read_plan(&folder) else {
            continue;
        };
        if run
            .document()
            .is_some_and(|found| difference(found, wanted).is_none())
        {
            same.push(folder);
        }
    }
    same.sort();
    let unfinished = same.iter().rev().find(|folder| {
        !folder.join(files::REPORT).exists()
            || run_folder::open(folder, Verification::Quick).is_ok_and(|run| {
                run.cells
                    .values()
                    .any(|state| !matches!(state, CellState::Done(_)))
            })
    });
    Ok(unfinished.or(same.last()).cloned())
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// The folders below one that hold a `run.ron`, in the order of their names.
pub fn run_folders(runs_dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(runs_dir) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .filter(|path| path.join(files::RUN).is_file())
        .collect();
    folders.sort();
    folders
}

/// What keeps two documents from being of the same request.
fn difference(found: &RunDocument, wanted: &RunDocument) -> Option<&'static str> {
    let facts = [
        ("session", found.session == wanted.session),
        ("photograph", found.inputs.image == wanted.inputs.image),
        ("mask", found.inputs.mask == wanted.inputs.mask),
        ("matrix", found.plan.matrix == wanted.plan.matrix),
        ("mask recipe", found.plan.recipe == wanted.plan.recipe),
        ("set of prompts", found.prompts == wanted.prompts),
        ("inference size", found.inference == wanted.inference),
        ("kind of multiplication", found.matmul == wanted.matmul),
        ("device", found.device == wanted.device),
        ("set of weights", found.model == wanted.model),
        (
            "T5 length",
            found.max_sequence_length == wanted.max_sequence_length,
        ),
    ];
    facts.iter().find(|(_, same)| !same).map(|(what, _)| *what)
}

/// A run id by the clock that no folder has yet.
fn free_id(runs_dir: &Path, now: jiff::Timestamp) -> Result<RunId, AuditError> {
    let base = now.strftime("%Y%m%d-%H%M%S").to_string();
    (1..1000)
        .map(|n| match n {
            1 => base.clone(),
            n => format!("{base}-{n}"),
        })
        .find(|name| !runs_dir.join(name).exists())
        .and_then(|name| RunId::new(name).ok())
        .ok_or_else(|| {
            AuditError::Refused(format!("no free run id was found: {}", runs_dir.display()))
        })
}

/// An empty folder beside the runs, under a name that no reader takes for a run, and the lock on it: whoever
/// starts a run of the same name at the same time is told so.
fn stage(runs_dir: &Path, run_id: &RunId) -> Result<(PathBuf, RunLock), AuditError> {
    let staged = runs_dir.join(format!("{UNFINISHED}{run_id}"));
    std::fs::create_dir_all(&staged)
        .map_err(|source| AuditError::file("the run's folder cannot be made", &staged, source))?;
    let lock = RunLock::take(&staged)?;
    // What a killed process left; nobody else writes here while the lock is held.
    let left = |source| AuditError::file("a half-made run cannot be removed", &staged, source);
    for entry in std::fs::read_dir(&staged).map_err(left)? {
        let path = entry.map_err(left)?.path();
        if path
            .file_name()
            .is_some_and(|name| name == super::lock::FILE)
        {
            continue;
        }
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.map_err(left)?;
    }
    Ok((staged, lock))
}

/// What cell names of a plan leave out, before there is a run.
pub fn defaults_of(plan: &Plan) -> CellDefaults {
    let matrix = &plan.matrix;
    CellDefaults {
        steps: matrix
            .steps
            .first()
            .copied()
            .unwrap_or(crate::model::cell::Steps::PRODUCTION),
        seed: matrix.seeds.first().copied(),
        prompt: matrix.prompts.first().copied(),
        dilate_px: matrix.dilations.first().copied(),
    }
}
