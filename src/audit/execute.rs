//! Fills the missing cells of a run, one quant after the other, and records each as it ends.

use super::context::{AuditContext, flow};
use super::engine::{EngineError, EngineEvent, EngineInputs, Fill, FillEngine, FillJob, RunNeeds};
use super::event::{AuditEvent, Ending, RunSummary};
use super::inputs::{self, PreparedMask, SessionInputs};
use super::run_folder::{self, Verification};
use super::start::{OwnedRun, engine_error};
use super::{AuditError, atomic, hash, peak_memory, preflight, report_file};
use crate::model::cell::{CellKey, Quant};
use crate::model::document;
use crate::model::run::{
    AccelerationSeen, CellDocument, CellOutcome, CellState, DoneCell, Environment, ModelDocument,
    Run, RunDocument, Timing, files,
};
use std::collections::BTreeSet;
use std::path::Path;

/// Which of a run's cells one go makes.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Only these, if some are named. The run's report is then left to whoever sees the whole run.
    pub only: Option<BTreeSet<CellKey>>,
    /// At most so many in this go.
    pub max_cells: Option<usize>,
}

/// Fills the cells that a run lacks, at most `max_cells` of them, and writes its report.
///
/// A cell that fails is recorded and the run goes on. A cell that failed before is tried again.
///
/// # Errors
/// [`AuditError`] if nothing more can be done: the disk is full, the inputs or the weights are not
/// those of the run, the pipeline cannot be prepared. What was finished stays.
pub fn execute(
    owned: &OwnedRun,
    engine: &mut dyn FillEngine,
    max_cells: Option<usize>,
    context: &mut AuditContext<'_>,
) -> Result<RunSummary, AuditError> {
    let part = Part {
        only: None,
        max_cells,
    };
    execute_part(owned, engine, &part, context)
}

/// As [`execute`], for a part of the run's cells.
///
/// # Errors
/// See [`execute`].
pub fn execute_part(
    owned: &OwnedRun,
    engine: &mut dyn FillEngine,
    part: &Part,
    context: &mut AuditContext<'_>,
) -> Result<RunSummary, AuditError> {
    let folder = owned.folder.as_path();
    let run = run_folder::open(folder, Verification::Full)
        .map_err(|error| AuditError::Refused(error.to_string()))?;
    let Some(document) = run.document().cloned() else {
        return Err(AuditError::Refused(format!(
            "the run has no run.ron: {}",
            folder.display()
        )));
    };
    let is_mine = |key: &CellKey| part.only.as_ref().is_none_or(|only| only.contains(key));
    let is_done = |key: &CellKey| matches!(run.cells.get(key), Some(CellState::Done(_)));
    let mut todo = planned_cells(&run);
    todo.retain(is_mine);
    let already_done = match &part.only {
        None => run.done_count(),
        Some(_) => todo.iter().filter(|key| is_done(key)).count(),
    };
    todo.retain(|key| !is_done(key));
    let planned = todo.len();
    if let Some(limit) = part.max_cells {
        todo.truncate(limit);
    }
    context.tell(AuditEvent::Started {
        run_id: run.run_id.clone(),
        folder: folder.to_owned(),
        already_done,
        todo: todo.clone(),
    });
    let mut summary = RunSummary {
        run_id: run.run_id.clone(),
        folder: folder.to_owned(),
        ending: Ending::Complete,
        already_done,
        made: 0,
        failed: 0,
        left: planned,
    };
    if !todo.is_empty() {
        let mut work = Work {
            folder,
            run: &run,
            document: &document,
            engine: &mut *engine,
            inputs: SessionInputs::of_run(folder, &document)?,
            masks: Vec::new(),
            prompts: Vec::new(),
        };
        match work.fill_all(&todo, context, &mut summary) {
            Ok(()) => {}
            Err(AuditError::Cancelled) => summary.ending = Ending::Cancelled,
            Err(error) => return Err(error),
        }
    }
    if summary.ending != Ending::Cancelled {
        if summary.left > summary.failed {
            summary.ending = Ending::CellLimit;
        }
        if part.only.is_none() {
            report_file::write(folder)?;
        }
    }
    context.tell(AuditEvent::Finished(summary.clone()));
    Ok(summary)
}

/// The cells that are planned, done or not, quant by quant, in the order of the plans. None for a run of the
/// Python service.
pub fn planned_cells(run: &Run) -> Vec<CellKey> {
    let Some(document) = run.document() else {
        return Vec::new();
    };
    let mut planned = document.plan.matrix.cells(None);
    for extension in &run.extensions {
        let tag = crate::model::run::recipe_tag(&document.plan.recipe, &extension.plan.recipe);
        for key in extension.plan.matrix.cells(tag.as_ref()) {
            if !planned.contains(&key) {
                planned.push(key);
            }
        }
    }
    let mut quants: Vec<Quant> = Vec::new();
    for key in &planned {
        if !quants.contains(&key.quant) {
            quants.push(key.quant.clone());
        }
    }
    planned.sort_by_key(|key| quants.iter().position(|quant| *quant == key.quant));
    planned
}

struct Work<'a> {
    folder: &'a Path,
    run: &'a Run,
    document: &'a RunDocument,
    engine: &'a mut dyn FillEngine,
    inputs: SessionInputs,
    /// Each mask that is needed, by the name of its file.
    masks: Vec<(String, PreparedMask)>,
    prompts: Vec<String>,
}

impl Work<'_> {
    fn fill_all(
        &mut self,
        todo: &[CellKey],
        context: &mut AuditContext<'_>,
        summary: &mut RunSummary,
    ) -> Result<(), AuditError> {
        self.examine(todo, context)?;
        self.check_weights(todo, context)?;
        self.prepare(todo, context)?;
        let environment = self.engine.environment();
        let mut loaded: Option<(Quant, Result<(), EngineError>)> = None;
        for key in todo {
            if context.is_cancelled() {
                return Err(AuditError::Cancelled);
            }
            let mut load_secs = None;
            peak_memory::begin();
            if loaded.as_ref().is_none_or(|(quant, _)| *quant != key.quant) {
                context.tell(AuditEvent::Loading {
                    quant: key.quant.clone(),
                });
                let start = std::time::Instant::now();
                let result = self.engine.load(&key.quant, &mut context.poll());
                load_secs = Some(start.elapsed().as_secs_f64());
                loaded = Some((key.quant.clone(), result));
            }
            context.tell(AuditEvent::CellStarted { key: key.clone() });
            let filled = match &loaded {
                Some((_, Err(error))) => Err(error.clone()),
                _ => self.fill(key, context),
            };
            let tried = match filled {
                Ok(mut fill) => {
                    fill.timing.load_secs = load_secs;
                    Tried {
                        outcome: self.store(key, &fill)?,
                        timing: fill.timing,
                        accelerations: fill.accelerations,
                    }
                }
                Err(EngineError::Cancelled) => return Err(AuditError::Cancelled),
                Err(EngineError::Failed(error)) => Tried {
                    outcome: CellOutcome::Failed { error },
                    timing: Timing::default(),
                    accelerations: Vec::new(),
                },
            };
            let state = self.record(key, tried, &environment, context)?;
            match &state {
                CellState::Done(_) => {
                    summary.made += 1;
                    summary.left -= 1;
                }
                _ => summary.failed += 1,
            }
            context.tell(AuditEvent::CellFinished {
                key: key.clone(),
                state,
            });
        }
        Ok(())
    }

    /// Refuses what cannot be made with the files and the memory that are there now, and tells what it
    /// will need.
    fn examine(
        &mut self,
        todo: &[CellKey],
        context: &mut AuditContext<'_>,
    ) -> Result<(), AuditError> {
        let mut prompts: Vec<String> = Vec::new();
        for prompt in todo.iter().filter_map(|key| self.run.prompt_of(key)) {
            if !prompts.iter().any(|known| known == prompt) {
                prompts.push(prompt.to_owned());
            }
        }
        let needs = RunNeeds {
            quants: &quants_of(todo),
            prompts: &prompts,
            size_px: self.inputs.inference_image.dimensions(),
        };
        preflight::announce(self.engine, &needs, context)
    }

    /// Refuses weights that are not those of the run: what is recorded must be what went in.
    fn check_weights(
        &mut self,
        todo: &[CellKey],
        context: &mut AuditContext<'_>,
    ) -> Result<(), AuditError> {
        let found: ModelDocument = self
            .engine
            .weights(&quants_of(todo), &mut context.poll())
            .map_err(engine_error)?;
        for file in &found.files {
            let wanted = match &file.quant {
                Some(quant) => self.run.transformer(quant),
                None => self
                    .document
                    .model
                    .files
                    .iter()
                    .find(|wanted| wanted.quant.is_none() && wanted.file == file.file),
            };
            match wanted {
                Some(wanted) if wanted.sha256 == file.sha256 => {}
                Some(wanted) => {
                    return Err(AuditError::Refused(format!(
                        "the weights are not those of the run: {} has SHA-256 {}, the run was started \
                         with {}",
                        file.file, file.sha256, wanted.sha256
                    )));
                }
                None => {
                    return Err(AuditError::Refused(format!(
                        "the weights are not those of the run: it knows no {}",
                        file.file
                    )));
                }
            }
        }
        Ok(())
    }

    /// Makes the masks and has the engine encode what all cells share.
    fn prepare(
        &mut self,
        todo: &[CellKey],
        context: &mut AuditContext<'_>,
    ) -> Result<(), AuditError> {
        context.tell(AuditEvent::Preparing);
        for key in todo {
            if let Some(prompt) = self.run.prompt_of(key)
                && !self.prompts.iter().any(|known| known == prompt)
            {
                self.prompts.push(prompt.to_owned());
            }
            let name = self.run.inference_mask_file(key);
            if self.masks.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let recipe = self.run.recipe_of(key).ok_or_else(|| {
                AuditError::Refused(format!(
                    "the mask recipe of {} is not known",
                    self.run.cell_name(key)
                ))
            })?;
            let mask = self.inputs.mask(&recipe);
            let path = self.folder.join(&name);
            if path.exists() {
                inputs::check_kept_mask(&path, &mask)?;
            } else {
                // What the model sees is kept with the run.
                write(&path, &inputs::encode_mask(&mask.mask.grown)?)?;
            }
            self.masks.push((name, mask));
        }
        let engine_inputs = EngineInputs {
            prompts: self.prompts.clone(),
            image: self.inputs.inference_image.clone(),
            masks: self
                .masks
                .iter()
                .map(|(_, prepared)| prepared.mask.grown.to_grey())
                .collect(),
        };
        self.engine
            .prepare(&engine_inputs, &mut context.poll())
            .map_err(engine_error)
    }

    fn fill(&mut self, key: &CellKey, context: &mut AuditContext<'_>) -> Result<Fill, EngineError> {
        let unknown = |what: &str| EngineError::Failed(format!("the cell's {what} is not known"));
        let prompt = self.run.prompt_of(key).ok_or_else(|| unknown("prompt"))?;
        let job = FillJob {
            prompt: self
                .prompts
                .iter()
                .position(|known| known == prompt)
                .ok_or_else(|| unknown("prompt"))?,
            mask: self.mask_index(key).ok_or_else(|| unknown("mask"))?,
            guidance: key.guidance,
            steps: key.steps,
            seed: key.seed.ok_or_else(|| unknown("seed"))?,
        };
        let cancel = context.cancel;
        let observer = &mut *context.observer;
        let mut hook = |event: EngineEvent| {
            if let EngineEvent::Step {
                index,
                total,
                preview,
            } = event
            {
                observer(AuditEvent::Step {
                    key: key.clone(),
                    index,
                    total,
                    preview,
                });
            }
            flow(cancel)
        };
        self.engine.fill(&job, &mut hook)
    }

    fn mask_index(&self, key: &CellKey) -> Option<usize> {
        let name = self.run.inference_mask_file(key);
        self.masks.iter().position(|(known, _)| *known == name)
    }

    /// Writes both pictures of a cell.
    fn store(&self, key: &CellKey, fill: &Fill) -> Result<CellOutcome, AuditError> {
        let name = self.run.cell_name(key);
        let size = self.inputs.inference_image.dimensions();
        if fill.image.dimensions() != size {
            return Ok(CellOutcome::Failed {
                error: format!(
                    "the fill is {:?} pixels but the inference size is {size:?}",
                    fill.image.dimensions()
                ),
            });
        }
        let mask = self.mask_index(key).and_then(|index| self.masks.get(index));
        let Some((_, mask)) = mask else {
            return Err(AuditError::Refused(format!("no mask was made for {name}")));
        };
        let composite = self.inputs.composite(&fill.image, mask)?;
        let fill_png = inputs::encode_rgb(&fill.image)?;
        let composite_png = inputs::encode_rgb(&composite)?;
        write(&self.folder.join(files::fill(&name)), &fill_png)?;
        write(&self.folder.join(files::composite(&name)), &composite_png)?;
        Ok(CellOutcome::Done {
            fill_sha256: hash::sha256(&fill_png),
            composite_sha256: hash::sha256(&composite_png),
        })
    }

    /// Writes a cell's document, which makes it count.
    fn record(
        &self,
        key: &CellKey,
        tried: Tried,
        environment: &Environment,
        context: &AuditContext<'_>,
    ) -> Result<CellState, AuditError> {
        let name = self.run.cell_name(key);
        let inputs_sha256 = hash::of_cell_inputs(self.run, key).ok_or_else(|| {
            AuditError::Refused(format!("what goes into {name} is not all known"))
        })?;
        let document = CellDocument {
            schema: document::SCHEMA,
            key: key.clone(),
            outcome: tried.outcome,
            timing: tried.timing,
            environment: environment.clone(),
            matmul: self.document.matmul,
            inputs_sha256,
            finished_at: context.timestamp(),
            peak_memory_bytes: peak_memory::read(),
            accelerations: tried.accelerations,
        };
        let path = self.folder.join(files::cell(&name));
        keep_unreadable(&path)?;
        let text = document::to_ron(&document, &path.display().to_string())?;
        write(&path, text.as_bytes())?;
        Ok(match document.outcome.clone() {
            CellOutcome::Done { .. } => CellState::Done(Box::new(DoneCell {
                timing: document.timing.clone(),
                document: Some(document),
            })),
            CellOutcome::Failed { error } => CellState::Failed {
                error,
                document: Some(Box::new(document)),
            },
        })
    }
}

/// What came of trying a cell.
struct Tried {
    outcome: CellOutcome,
    timing: Timing,
    accelerations: Vec<AccelerationSeen>,
}

/// The quants of cells that are sorted by quant.
fn quants_of(todo: &[CellKey]) -> Vec<Quant> {
    let mut quants: Vec<Quant> = todo.iter().map(|key| key.quant.clone()).collect();
    quants.dedup();
    quants
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), AuditError> {
    atomic::write(path, bytes)
        .map_err(|source| AuditError::file("the file cannot be written", path, source))
}

/// Moves a document that cannot be understood aside: it is never overwritten.
fn keep_unreadable(path: &Path) -> Result<(), AuditError> {
    let shown = path.display().to_string();
    let readable = match std::fs::read_to_string(path) {
        Ok(text) => CellDocument::parse(&text, &shown).is_ok(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(_) => false,
    };
    if readable {
        return Ok(());
    }
    let kept = (1..1000)
        .map(|n| path.with_extension(format!("ron.unreadable-{n}")))
        .find(|candidate| !candidate.exists());
    let Some(kept) = kept else {
        return Err(AuditError::Refused(format!(
            "a document that cannot be read is in the way; move it aside: {shown}"
        )));
    };
    tracing::warn!(
        "a document that cannot be read is kept as {}",
        kept.display()
    );
    std::fs::rename(path, &kept)
        .map_err(|source| AuditError::file("the file cannot be moved aside", path, source))
}
