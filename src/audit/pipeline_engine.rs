//! The real engine: the Fill pipeline on this machine's CPU or GPU.

use super::engine::{
    EngineError, EngineEvent, EngineHook, EngineInputs, Examination, Fill, FillEngine, FillJob,
    RunNeeds,
};
use crate::model::cell::{CellKey, Quant};
use crate::model::run::{
    AccelerationSeen, Environment, MatmulPath, ModelDocument, Timing, WeightsFile,
};
use crate::pipeline::{
    Acceleration, ComputeDevice, Conditioning, Draws, EmbeddingCache, FillEvent, FillInputs,
    FillParams, FillPipeline, HashCache, MemoryPlan, ModelFolder, PipelineError, PipelineOptions,
    PromptEmbedding, Severity, Stage, repository_of,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// How a [`PipelineEngine`] is set up.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The folder of weights.
    pub models_dir: PathBuf,
    /// `cpu`, `cuda`, `cuda:1`, `metal`.
    pub device: String,
    /// How weights are multiplied.
    pub matmul: MatmulPath,
    /// A small picture after every so many steps; `None` for none.
    pub preview_every: Option<usize>,
    /// Where embeddings of prompts are kept, so that T5 is not loaded again; `None` for nowhere.
    pub embeddings_dir: Option<PathBuf>,
    /// Where hashes of weights are kept; `None` for nowhere.
    pub hashes_file: Option<PathBuf>,
    /// Memory to plan with, in bytes, in place of what the system says is free.
    pub available_bytes: Option<u64>,
}

impl EngineOptions {
    /// The user's own caches, and no previews.
    pub fn new(models_dir: PathBuf, device: String, matmul: MatmulPath) -> Self {
        let cache = dirs::cache_dir().map(|dir| dir.join("fill-audit"));
        Self {
            models_dir,
            device,
            matmul,
            preview_every: None,
            embeddings_dir: cache.as_ref().map(|dir| dir.join("embeddings")),
            hashes_file: cache.map(|dir| dir.join("weights-sha256.json")),
            available_bytes: None,
        }
    }
}

/// Fills with the pipeline. Opens no weights until it is asked to.
pub struct PipelineEngine {
    pipeline: FillPipeline,
    environment: Environment,
    hashes: HashCache,
    embeddings: Option<EmbeddingCache>,
    loaded: Option<Quant>,
    prompts: Vec<PromptEmbedding>,
    conditionings: Vec<Conditioning>,
}

impl From<PipelineError> for EngineError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Cancelled => Self::Cancelled,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Hands a pipeline's events on as an engine's.
fn adapt(hook: EngineHook<'_>) -> impl FnMut(FillEvent) -> ControlFlow<()> + '_ {
    move |event| match event {
        FillEvent::Step {
            index,
            total,
            preview,
            ..
        } => hook(EngineEvent::Step {
            index,
            total,
            preview,
        }),
        FillEvent::Stage(_) | FillEvent::Poll => hook(EngineEvent::Poll),
    }
}

impl PipelineEngine {
    /// Opens the model's folder and the device.
    ///
    /// # Errors
    /// [`EngineError::Failed`] naming what is missing.
    pub fn open(options: &EngineOptions) -> Result<Self, EngineError> {
        let device: ComputeDevice = options.device.parse()?;
        let folder = ModelFolder::open(&options.models_dir)?;
        let mut pipeline_options = PipelineOptions::for_device(device);
        pipeline_options.matmul = match options.matmul {
            MatmulPath::Exact => crate::pipeline::MatmulPath::Exact,
            MatmulPath::Integer => crate::pipeline::MatmulPath::Integer,
        };
        pipeline_options.preview_every = options.preview_every;
        pipeline_options.available_bytes = options.available_bytes;
        let pipeline = FillPipeline::new(folder, device, pipeline_options)?;
        Ok(Self {
            pipeline,
            environment: environment_of(device),
            hashes: match &options.hashes_file {
                Some(file) => HashCache::at(file),
                None => HashCache::in_memory(),
            },
            embeddings: options.embeddings_dir.as_deref().map(EmbeddingCache::at),
            loaded: None,
            prompts: Vec::new(),
            conditionings: Vec::new(),
        })
    }

    /// Values in the transformer of each quant that the cells ask for.
    pub fn parameters(&self, keys: &[CellKey]) -> BTreeMap<Quant, f64> {
        parameters_in(self.pipeline.folder(), keys)
    }

    fn weights_file(
        &mut self,
        quant: Option<&Quant>,
        path: &Path,
        hook: EngineHook<'_>,
    ) -> Result<WeightsFile, EngineError> {
        let sha256 = self.hashes.sha256(path, &mut adapt(hook))?;
        let metadata = path.metadata().map_err(|error| {
            EngineError::Failed(format!(
                "the weights cannot be read ({error}): {}",
                path.display()
            ))
        })?;
        let size_bytes = metadata.len();
        let root = self.pipeline.folder().root();
        let file = path.strip_prefix(root).unwrap_or(path);
        let name = if file.is_absolute() {
            file.file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        } else {
            file.to_string_lossy().replace('\\', "/")
        };
        Ok(WeightsFile {
            quant: quant.cloned(),
            file: name,
            sha256,
            size_bytes,
        })
    }
}

fn seen(one: Acceleration) -> AccelerationSeen {
    AccelerationSeen {
        name: one.name.to_owned(),
        available: one.available,
        asked: one.asked,
        seen: one.seen,
        remark: one.remark,
    }
}

/// What a device says of itself, as documents keep it.
pub fn environment_of(device: ComputeDevice) -> Environment {
    let identity = device.describe();
    Environment {
        device: identity.name,
        compute_capability: identity.compute_capability,
        memory_bytes: identity.memory_bytes,
        driver: identity.driver,
        program: Some(super::PROGRAM.to_owned()),
    }
}

/// Values in the transformer of each quant that cells ask for, by its file's size. A quant that the folder
/// has not, or has twice, is left out.
pub fn parameters_in(folder: &ModelFolder, keys: &[CellKey]) -> BTreeMap<Quant, f64> {
    let quants: BTreeSet<&Quant> = keys.iter().map(|key| &key.quant).collect();
    let values = |quant: &Quant| {
        let path = folder.transformer(quant.as_str()).ok()?;
        let size_bytes = path.metadata().ok()?.len();
        Some((
            quant.clone(),
            super::estimate::parameters(quant, size_bytes),
        ))
    };
    quants.into_iter().filter_map(values).collect()
}

impl PipelineEngine {
    /// The plan of a quant at a size; `None` if a file keeps it from being made, which is found elsewhere.
    fn plan(&self, quant: &Quant, (width, height): (u32, u32)) -> Option<MemoryPlan> {
        let path = self.pipeline.folder().transformer(quant.as_str()).ok()?;
        self.pipeline.memory_plan(&path, width, height).ok()
    }

    fn examine_memory(
        &mut self,
        needs: &RunNeeds<'_>,
        found: &mut Examination,
        hook: EngineHook<'_>,
    ) -> Result<(), EngineError> {
        let available = self.pipeline.available_bytes();
        for quant in needs.quants {
            let Some(mut plan) = self.plan(quant, needs.size_px) else {
                continue;
            };
            if let Some(free) = available
                && plan.check(free).is_err()
                && let Some(cache) = &self.embeddings
                && self.pipeline.knows_prompts(
                    needs.prompts,
                    cache,
                    &mut self.hashes,
                    &mut adapt(&mut *hook),
                )?
            {
                plan = plan.without(Stage::EncodePrompts);
            }
            for need in &plan.stages {
                let of_quant = matches!(need.stage, Stage::Denoise | Stage::Decode);
                let line = if of_quant {
                    format!("{quant} {need}")
                } else {
                    need.to_string()
                };
                if !found.memory.contains(&line) {
                    found.memory.push(line);
                }
            }
            let Some(free) = available else { continue };
            if let Err(error) = plan.check(free) {
                found.errors.push(format!("{quant}: {error}"));
            }
            let slow = plan.disk_warning(free);
            found
                .warnings
                .extend(slow.map(|text| format!("{quant}: {text}")));
        }
        found.memory.push(available.map_or_else(
            || "what is free is not known on this device".to_owned(),
            |free| format!("{:.2} GB are free", free as f64 / 1e9),
        ));
        Ok(())
    }

    /// Want of memory with what was planned; other errors as they are.
    pub(super) fn with_figures(&self, quant: Option<&Quant>, error: PipelineError) -> EngineError {
        let size = self.conditionings.first().map(|c| (c.width(), c.height()));
        match (error, quant, size) {
            (PipelineError::OutOfMemory(text), Some(quant), Some(size)) => {
                let planned = self.plan(quant, size).map_or_else(String::new, |plan| {
                    let needs = plan.without(Stage::EncodePrompts);
                    let lines: Vec<String> = needs.stages.iter().map(ToString::to_string).collect();
                    format!(" (planned: {})", lines.join("; "))
                });
                EngineError::Failed(format!("out of memory: {text}{planned}"))
            }
            (other, _, _) => other.into(),
        }
    }
}

impl FillEngine for PipelineEngine {
    fn environment(&self) -> Environment {
        self.environment.clone()
    }

    fn max_sequence_length(&self) -> u32 {
        self.pipeline.t5_tokens() as u32
    }

    fn examine(
        &mut self,
        needs: &RunNeeds<'_>,
        hook: EngineHook<'_>,
    ) -> Result<Examination, EngineError> {
        let mut found = Examination::default();
        let quants: Vec<&str> = needs.quants.iter().map(Quant::as_str).collect();
        for finding in self.pipeline.folder().check_for(&quants) {
            let list = match finding.severity {
                Severity::Error => &mut found.errors,
                Severity::Warning => &mut found.warnings,
                Severity::Note => continue,
            };
            let file = finding.file.display().to_string();
            list.push(if finding.message.contains(&file) {
                finding.message
            } else {
                format!("{}: {file}", finding.message)
            });
        }
        self.examine_memory(needs, &mut found, hook)?;
        Ok(found)
    }

    fn weights(
        &mut self,
        quants: &[Quant],
        hook: EngineHook<'_>,
    ) -> Result<ModelDocument, EngineError> {
        let folder = self.pipeline.folder().clone();
        let mut paths: Vec<(Option<Quant>, PathBuf)> = vec![(None, folder.vae_file())];
        for encoder in [folder.clip_dir(), folder.t5_dir()] {
            for path in folder.encoder_files(&encoder)? {
                paths.push((None, path));
            }
        }
        let mut repository_of_quants = None;
        for quant in quants {
            let path = folder.transformer(quant.as_str())?;
            let parent = path.parent().unwrap_or(&path);
            repository_of_quants.get_or_insert_with(|| repository_of(parent));
            paths.push((Some(quant.clone()), path));
        }
        let mut files = Vec::with_capacity(paths.len());
        for (quant, path) in paths {
            if hook(EngineEvent::Poll).is_break() {
                return Err(EngineError::Cancelled);
            }
            files.push(self.weights_file(quant.as_ref(), &path, &mut *hook)?);
        }
        let base = repository_of(folder.root());
        Ok(ModelDocument {
            repository: repository_of_quants.unwrap_or_else(|| base.clone()),
            base,
            files,
        })
    }

    fn prepare(&mut self, inputs: &EngineInputs, hook: EngineHook<'_>) -> Result<(), EngineError> {
        let mut hook = adapt(hook);
        self.prompts = match &self.embeddings {
            Some(cache) => self.pipeline.encode_prompts_cached(
                &inputs.prompts,
                cache,
                &mut self.hashes,
                &mut hook,
            )?,
            None => self.pipeline.encode_prompts(&inputs.prompts, &mut hook)?,
        };
        self.conditionings.clear();
        for mask in &inputs.masks {
            let inputs = FillInputs {
                image: inputs.image.clone(),
                mask: mask.clone(),
            };
            let conditioning = self.pipeline.encode_image(&inputs, &mut hook)?;
            self.conditionings.push(conditioning);
        }
        Ok(())
    }

    fn load(&mut self, quant: &Quant, hook: EngineHook<'_>) -> Result<(), EngineError> {
        let path = self.pipeline.folder().transformer(quant.as_str())?;
        self.loaded = None;
        self.pipeline
            .load(&path, &mut adapt(hook))
            .map_err(|error| self.with_figures(Some(quant), error))?;
        self.loaded = Some(quant.clone());
        Ok(())
    }

    fn fill(&mut self, job: &FillJob, hook: EngineHook<'_>) -> Result<Fill, EngineError> {
        let missing = || EngineError::Failed("the cell's inputs were not prepared".to_owned());
        let prompt = self.prompts.get(job.prompt).ok_or_else(missing)?;
        let conditioning = self.conditionings.get(job.mask).ok_or_else(missing)?;
        let params = FillParams {
            guidance: job.guidance.value(),
            steps: job.steps.value() as usize,
            draws: Draws::Seed(job.seed),
        };
        let output = self
            .pipeline
            .fill(prompt, conditioning, &params, &mut adapt(hook))
            .map_err(|error| self.with_figures(self.loaded.as_ref(), error))?;
        let accelerations = self.pipeline.accelerations(output.matmuls);
        Ok(Fill {
            image: output.image,
            timing: Timing {
                wall_secs: Some(output.timing.total_secs),
                gpu_millis: output.timing.gpu_millis,
                step_secs: output.timing.step_secs,
                load_secs: None,
                decode_secs: Some(output.timing.decode_secs),
            },
            accelerations: accelerations.into_iter().map(seen).collect(),
        })
    }
}
