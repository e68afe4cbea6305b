//! The real engine: the Fill pipeline on this machine's CPU or GPU.

use super::engine::{
    EngineError, EngineEvent, EngineHook, EngineInputs, Fill, FillEngine, FillJob,
};
use super::weights::HashCache;
use crate::model::cell::Quant;
use crate::model::run::{Environment, MatmulPath, ModelDocument, Timing, WeightsFile};
use crate::pipeline::{
    ComputeDevice, Conditioning, Draws, FillEvent, FillInputs, FillParams, FillPipeline,
    ModelFolder, PipelineError, PipelineOptions, PromptEmbedding,
};
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
}

/// Fills with the pipeline. Opens no weights until it is asked to.
pub struct PipelineEngine {
    pipeline: FillPipeline,
    environment: Environment,
    hashes: HashCache,
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
        let pipeline = FillPipeline::new(folder, device, pipeline_options)?;
        Ok(Self {
            pipeline,
            environment: environment_of(device),
            hashes: HashCache::of_user(),
            prompts: Vec::new(),
            conditionings: Vec::new(),
        })
    }

    /// The quants whose transformers are in the folder.
    pub fn quants(&self) -> Vec<String> {
        self.pipeline.folder().quants()
    }

    /// Values in the folder's first transformer, by its size; 0 if there is none.
    pub fn parameters(&self) -> f64 {
        let first = self.pipeline.folder().transformers().first();
        first.map_or(0.0, |file| {
            let size_bytes = file.path.metadata().map_or(0, |metadata| metadata.len());
            Quant::new(file.quant.clone())
                .map_or(0.0, |quant| super::estimate::parameters(&quant, size_bytes))
        })
    }

    fn weights_file(
        &mut self,
        quant: Option<&Quant>,
        path: &Path,
    ) -> Result<WeightsFile, EngineError> {
        let (size_bytes, sha256) = self.hashes.hash(path).map_err(|error| {
            EngineError::Failed(format!(
                "the weights cannot be read ({error}): {}",
                path.display()
            ))
        })?;
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

/// The repository that a path in the Hugging Face cache belongs to, or the folder's own name.
fn repository(path: &Path) -> String {
    let in_cache = path.components().find_map(|part| {
        let name = part.as_os_str().to_str()?.strip_prefix("models--")?;
        Some(name.replace("--", "/"))
    });
    in_cache.unwrap_or_else(|| {
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        canonical.file_name().map_or_else(
            || "local folder".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    })
}

impl FillEngine for PipelineEngine {
    fn environment(&self) -> Environment {
        self.environment.clone()
    }

    fn max_sequence_length(&self) -> u32 {
        self.pipeline.t5_tokens() as u32
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
            repository_of_quants.get_or_insert_with(|| repository(parent));
            paths.push((Some(quant.clone()), path));
        }
        let mut files = Vec::with_capacity(paths.len());
        for (quant, path) in paths {
            if hook(EngineEvent::Poll).is_break() {
                return Err(EngineError::Cancelled);
            }
            files.push(self.weights_file(quant.as_ref(), &path)?);
        }
        let base = repository(folder.root());
        Ok(ModelDocument {
            repository: repository_of_quants.unwrap_or_else(|| base.clone()),
            base,
            files,
        })
    }

    fn prepare(&mut self, inputs: &EngineInputs, hook: EngineHook<'_>) -> Result<(), EngineError> {
        let mut hook = adapt(hook);
        self.prompts = self.pipeline.encode_prompts(&inputs.prompts, &mut hook)?;
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
        self.pipeline.load(&path, &mut adapt(hook))?;
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
            .fill(prompt, conditioning, &params, &mut adapt(hook))?;
        Ok(Fill {
            image: output.image,
            timing: Timing {
                wall_secs: Some(output.timing.total_secs),
                gpu_millis: output.timing.gpu_millis,
                step_secs: output.timing.step_secs,
                load_secs: None,
            },
        })
    }
}
