//! What each acceleration gains on one denoising step of this machine, and how far it changes the output.
//!
//! A measurement, not a promise: one picture, one text, random numbers for both, so that no text encoder
//! is loaded. Each pair of settings differs in one acceleration only.

use super::acceleration::accelerations;
use super::device::{ComputeDevice, MatmulPath, Precision};
use super::error::{PipelineError, Result};
use super::fill::FillPipeline;
use super::folder::ModelFolder;
use super::noise::TorchGenerator;
use super::prepare::Conditioning;
use super::request::{Draws, FillInputs, FillParams, Hook, PipelineOptions, Trace};
use super::text::PromptEmbedding;
use image::{GrayImage, Rgb, RgbImage};
use std::path::Path;

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub struct MeasureRequest<'a> {
    /// The model.
    pub folder: &'a ModelFolder,
    /// Its transformer.
    pub quant_file: &'a Path,
    /// Where.
    pub device: ComputeDevice,
    /// Both sides of the picture in pixels, a multiple of 16.
    pub side_px: u32,
    /// Steps that are timed, at least 1; one more before them warms up.
    pub repeats: usize,
}

/// One acceleration, on and off.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Its name, as in a report.
    pub name: &'static str,
    /// What it is held against.
    pub against: &'static str,
    /// What came of it.
    pub outcome: MeasuredOutcome,
}

/// What came of measuring an acceleration.
#[derive(Debug, Clone, PartialEq)]
pub enum MeasuredOutcome {
    /// Both ran.
    Step {
        /// Median wall seconds of a step with it.
        with_secs: f64,
        /// Median wall seconds without it.
        without_secs: f64,
        /// Largest absolute difference of the transformer's output.
        max_difference: f64,
        /// Largest absolute value of the output without it, to judge the difference by.
        max_value: f64,
    },
    /// It was asked for, and its own counter says that it did not run.
    DidNotRun,
    /// It could not be tried, and why.
    NotTried(String),
}

const TILED: &str = "weights dequantized tile by tile";
const WHOLE: &str = "weights dequantized whole at each call";

/// Settings that differ in one acceleration, by its name and what it is held against.
fn pairs(device: ComputeDevice) -> Vec<(&'static str, &'static str, [PipelineOptions; 2])> {
    let mut plain = PipelineOptions::for_device(device);
    plain.dense_budget_bytes = 0;
    let with = |change: &dyn Fn(&mut PipelineOptions)| {
        let mut options = plain.clone();
        change(&mut options);
        options
    };
    let dense = with(&|options| options.dense_budget_bytes = u64::MAX);
    let integer = with(&|options| options.matmul = MatmulPath::Integer);
    let exact = if device == ComputeDevice::Cpu {
        TILED
    } else {
        WHOLE
    };
    let mut pairs = vec![
        ("weights dequantized at load", exact, [dense, plain.clone()]),
        ("integer kernels", exact, [integer, plain.clone()]),
    ];
    if device != ComputeDevice::Cpu {
        let float = with(&|options| options.precision = Precision::F32);
        pairs.push(("bfloat16", "float32", [plain, float]));
    }
    pairs
}

/// Measures every acceleration that can be switched on this device.
///
/// # Errors
/// If the plain path itself cannot run, or the hook cancels. An acceleration that cannot is data.
pub fn measure(request: &MeasureRequest<'_>, hook: Hook<'_>) -> Result<Vec<Measured>> {
    let MeasureRequest { device, .. } = *request;
    let pipeline = FillPipeline::new(
        request.folder.clone(),
        device,
        PipelineOptions::for_device(device),
    )?;
    let conditioning = pipeline.encode_image(&picture(request.side_px), hook)?;
    drop(pipeline);
    let mut measured = Vec::new();
    let mut plain: Option<(PipelineOptions, Steps)> = None;
    for (name, against, [with, without]) in pairs(device) {
        let known = plain.take().filter(|(options, _)| same(options, &without));
        let baseline = match known {
            Some((_, steps)) => steps,
            None => steps(request, &without, &conditioning, hook)?,
        };
        let outcome = match steps(request, &with, &conditioning, hook) {
            Ok(steps) => {
                let list = accelerations(device, &with, steps.counts);
                let ran = list.iter().any(|one| one.name == name && one.seen > 0);
                if ran {
                    compare(&steps, &baseline)
                } else {
                    MeasuredOutcome::DidNotRun
                }
            }
            Err(PipelineError::Cancelled) => return Err(PipelineError::Cancelled),
            Err(error) => MeasuredOutcome::NotTried(error.to_string()),
        };
        plain = Some((without, baseline));
        measured.push(Measured {
            name,
            against,
            outcome,
        });
    }
    Ok(measured)
}

fn same(a: &PipelineOptions, b: &PipelineOptions) -> bool {
    (a.precision, a.matmul, a.dense_budget_bytes) == (b.precision, b.matmul, b.dense_budget_bytes)
}

struct Steps {
    secs: Vec<f64>,
    output: Vec<f32>,
    counts: super::linear::MatmulCounts,
}

/// A step as often as it is asked for, after one that warms up.
fn steps(
    request: &MeasureRequest<'_>,
    options: &PipelineOptions,
    conditioning: &Conditioning,
    hook: Hook<'_>,
) -> Result<Steps> {
    let mut pipeline = FillPipeline::new(request.folder.clone(), request.device, options.clone())?;
    if options.dense_budget_bytes == u64::MAX
        && let Some(available) = pipeline.available_bytes()
    {
        let side = request.side_px;
        let plan = pipeline.memory_plan(request.quant_file, side, side)?;
        plan.without(super::request::Stage::EncodePrompts)
            .check(available)?;
    }
    pipeline.load(request.quant_file, hook)?;
    let prompt = pipeline.random_prompt()?;
    let values = (request.side_px / 8) as usize;
    let params = FillParams {
        guidance: 30.0,
        steps: 1,
        draws: Draws::Given {
            noise: TorchGenerator::new(2).randn_f32(16 * values * values),
            posterior: None,
        },
    };
    let before = pipeline.matmuls();
    let mut secs = Vec::new();
    let mut trace = Trace::default();
    for _ in 0..=request.repeats.max(1) {
        let mut kept = Some(&mut trace);
        pipeline.denoise(&prompt, conditioning, &params, hook, &mut kept, &mut secs)?;
    }
    secs.remove(0);
    Ok(Steps {
        secs,
        output: trace.values.remove("noise_pred/0").unwrap_or_default(),
        counts: pipeline.matmuls().since(before),
    })
}

fn median(secs: &[f64]) -> f64 {
    let mut sorted = secs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn compare(with: &Steps, without: &Steps) -> MeasuredOutcome {
    let largest = |values: &mut dyn Iterator<Item = f32>| {
        values.fold(0.0_f64, |max, value| max.max(f64::from(value.abs())))
    };
    let pairs = with.output.iter().zip(&without.output);
    MeasuredOutcome::Step {
        with_secs: median(&with.secs),
        without_secs: median(&without.secs),
        max_difference: largest(&mut pairs.map(|(a, b)| a - b)),
        max_value: largest(&mut without.output.iter().copied()),
    }
}

/// A gradient with its left half to be filled.
fn picture(side_px: u32) -> FillInputs {
    let shade = |at: u32| (at * 255 / side_px.max(1)) as u8;
    FillInputs {
        image: RgbImage::from_fn(side_px, side_px, |x, y| Rgb([shade(x), shade(y), 128])),
        mask: GrayImage::from_fn(side_px, side_px, |x, _| {
            image::Luma([if x < side_px / 2 { 255 } else { 0 }])
        }),
    }
}

impl FillPipeline {
    /// An embedding of random numbers in the widths of the loaded transformer.
    fn random_prompt(&self) -> Result<PromptEmbedding> {
        let transformer = self.transformer.as_ref();
        let dims = transformer
            .ok_or(PipelineError::NoTransformer)?
            .dimensions();
        let tokens = self.t5_tokens();
        let mut generator = TorchGenerator::new(1);
        PromptEmbedding::from_values(
            "",
            Vec::new(),
            vec![0; tokens],
            generator.randn_f32(tokens * dims.context),
            generator.randn_f32(dims.pooled),
        )
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    fn measured(quant_file: &str) -> Vec<Measured> {
        let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-fill/bundle");
        let folder = ModelFolder::open(&bundle).unwrap();
        let request = MeasureRequest {
            folder: &folder,
            quant_file: &bundle.join(quant_file),
            device: ComputeDevice::Cpu,
            side_px: 32,
            repeats: 2,
        };
        measure(&request, &mut |_| ControlFlow::Continue(())).unwrap()
    }

    #[test]
    fn an_exact_path_changes_nothing_and_an_integer_one_a_little() {
        let found = measured("flux1-fill-tiny-Q8_0.gguf");
        let names: Vec<&str> = found.iter().map(|one| one.name).collect();
        assert_eq!(names, ["weights dequantized at load", "integer kernels"]);
        let differences: Vec<f64> = found
            .iter()
            .map(|one| match one.outcome {
                MeasuredOutcome::Step {
                    with_secs,
                    without_secs,
                    max_difference,
                    max_value,
                } => {
                    assert!(with_secs > 0.0 && without_secs > 0.0);
                    max_difference / max_value
                }
                ref other => panic!("{other:?}"),
            })
            .collect();
        assert!(differences[0] <= 1e-4, "{differences:?}");
        assert!(
            differences[1] > 1e-6 && differences[1] <= 3e-2,
            "{differences:?}"
        );
    }

    #[test]
    fn an_acceleration_that_did_not_run_has_no_gain() {
        let found = measured("flux1-fill-tiny.safetensors");
        assert_eq!(found[1].outcome, MeasuredOutcome::DidNotRun, "{found:?}");
    }
}
