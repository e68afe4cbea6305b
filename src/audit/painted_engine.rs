//! An engine that paints instead of computing: the same key gives the same picture, at once. For tests
//! of what runs a matrix and of what shows it; the command line never uses it.

use super::engine::{
    EngineError, EngineEvent, EngineHook, EngineInputs, Examination, Fill, FillEngine, FillJob,
    RunNeeds,
};
use super::hash;
use crate::model::cell::{Guidance, Quant};
use crate::model::run::{Environment, ModelDocument, Timing, WeightsFile};
use image::{Rgb, RgbImage};
use std::time::Duration;

/// Paints each cell in a colour and pattern of its own.
#[derive(Debug, Default)]
pub struct PaintedEngine {
    /// How long each step takes.
    pub step: Duration,
    /// Quants that fail to load.
    pub broken_quants: Vec<Quant>,
    /// A cell at this guidance and quant fails.
    pub failing: Option<(Quant, Guidance)>,
    /// What it says of every run before it is made.
    pub examination: Examination,
    /// Whether each step shows what there is so far.
    pub has_previews: bool,
    /// Where it says that it paints; a device of its own if there is none.
    pub environment: Option<Environment>,
    /// Every call, in order: `load Q4_0`, `fill Q4_0 gs10`.
    pub calls: Vec<String>,
    inputs: Option<EngineInputs>,
    loaded: Option<Quant>,
}

/// An eighth of the picture, greyer step by step.
fn preview(inputs: &EngineInputs, index: usize, total: usize) -> RgbImage {
    let (width, height) = inputs.image.dimensions();
    let grey = (index * 255 / total.max(1)) as u8;
    RgbImage::from_pixel((width / 8).max(1), (height / 8).max(1), Rgb([grey; 3]))
}

impl FillEngine for PaintedEngine {
    fn environment(&self) -> Environment {
        self.environment.clone().unwrap_or_else(|| Environment {
            device: "a painter".to_owned(),
            compute_capability: None,
            memory_bytes: None,
            driver: None,
            program: Some(super::PROGRAM.to_owned()),
        })
    }

    fn max_sequence_length(&self) -> u32 {
        512
    }

    fn examine(
        &mut self,
        _needs: &RunNeeds<'_>,
        _hook: EngineHook<'_>,
    ) -> Result<Examination, EngineError> {
        Ok(self.examination.clone())
    }

    fn weights(
        &mut self,
        quants: &[Quant],
        _hook: EngineHook<'_>,
    ) -> Result<ModelDocument, EngineError> {
        let file = |quant: Option<&Quant>, file: String| WeightsFile {
            sha256: hash::sha256(file.as_bytes()),
            size_bytes: 1000,
            quant: quant.cloned(),
            file,
        };
        let mut files = vec![file(None, "ae.safetensors".to_owned())];
        files.extend(
            quants
                .iter()
                .map(|quant| file(Some(quant), format!("paint-{quant}.gguf"))),
        );
        Ok(ModelDocument {
            repository: "paint".to_owned(),
            base: "paint".to_owned(),
            files,
        })
    }

    fn prepare(&mut self, inputs: &EngineInputs, _hook: EngineHook<'_>) -> Result<(), EngineError> {
        self.calls.push(format!(
            "prepare {} prompts, {} masks",
            inputs.prompts.len(),
            inputs.masks.len()
        ));
        self.inputs = Some(inputs.clone());
        Ok(())
    }

    fn load(&mut self, quant: &Quant, _hook: EngineHook<'_>) -> Result<(), EngineError> {
        self.calls.push(format!("load {quant}"));
        self.loaded = None;
        if self.broken_quants.contains(quant) {
            return Err(EngineError::Failed(format!("{quant} cannot be loaded")));
        }
        self.loaded = Some(quant.clone());
        Ok(())
    }

    fn fill(&mut self, job: &FillJob, hook: EngineHook<'_>) -> Result<Fill, EngineError> {
        let failed = |text: &str| EngineError::Failed(text.to_owned());
        let quant = self
            .loaded
            .clone()
            .ok_or_else(|| failed("no transformer is loaded"))?;
        self.calls.push(format!("fill {quant} gs{}", job.guidance));
        let inputs = self
            .inputs
            .as_ref()
            .ok_or_else(|| failed("nothing is prepared"))?;
        let prompt = inputs
            .prompts
            .get(job.prompt)
            .ok_or_else(|| failed("no such prompt"))?;
        inputs
            .masks
            .get(job.mask)
            .ok_or_else(|| failed("no such mask"))?;
        let total = job.steps.value() as usize;
        for index in 1..=total {
            std::thread::sleep(self.step);
            let event = EngineEvent::Step {
                index,
                total,
                preview: self.has_previews.then(|| preview(inputs, index, total)),
            };
            if hook(event).is_break() {
                return Err(EngineError::Cancelled);
            }
        }
        if let Some((failing, guidance)) = &self.failing
            && *failing == quant
            && *guidance == job.guidance
        {
            return Err(failed("a latent is not finite at step 1"));
        }
        let name = format!(
            "{quant} {} {} {} {prompt} {}",
            job.guidance, job.steps, job.seed, job.mask
        );
        let digest = hash::sha256(name.as_bytes());
        let channel = |at: usize| {
            digest
                .get(at..at + 2)
                .and_then(|hex| u8::from_str_radix(hex, 16).ok())
                .unwrap_or(0)
        };
        let colour = [channel(0), channel(2), channel(4)];
        let period = u32::from(channel(6) % 13) + 4;
        let (width, height) = inputs.image.dimensions();
        let image = RgbImage::from_fn(width, height, |x, y| {
            let shade = if (x / period + y / period) % 2 == 0 {
                0
            } else {
                24
            };
            Rgb(colour.map(|c| c.saturating_add(shade)))
        });
        Ok(Fill {
            image,
            timing: Timing {
                wall_secs: Some(total as f64 * 0.5),
                gpu_millis: None,
                step_secs: vec![0.5; total],
                ..Timing::default()
            },
            accelerations: Vec::new(),
        })
    }
}
