//! `fill-audit demo`: a small run with the embedded model, then the window on it.

use super::progress::Progress;
use super::run::{Job, exit_code, perform};
use super::{EXIT_CANCELLED, assets};
use crate::app::{WindowError, open_window};
use crate::audit::pipeline_engine::{EngineOptions, PipelineEngine};
use crate::audit::start::{defaults_of, read_session};
use crate::audit::{CONTACT_SHEET, Ending, RunRequest, contact_sheet};
use crate::model::cell::{Guidance, Quant, RadiusPx, Steps};
use crate::model::matrix::Matrix;
use crate::model::prompt;
use crate::model::run::{InferenceSize, MatmulPath, Plan};
use anyhow::Context as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Make a small run with the embedded model and open the window on it.
///
/// Three quantizations at guidance 2, 10 and 30, a few steps each, through the same pipeline as `run`. The embedded model is tiny: it shows how the program works, not how FLUX fills. A demo that is
/// there already is opened as it is.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Where runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Another model than the embedded one.
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Another session than the sample.
    #[arg(long, value_name = "DIR")]
    pub session: Option<PathBuf>,
    /// Denoising steps of each cell.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub steps: u32,
    /// Write the contact sheet instead of opening the window.
    #[arg(long)]
    pub no_window: bool,
}

/// The longest side of the demo's crop, in pixels.
const CROP_PX: u32 = 256;

fn request(args: &DemoArgs) -> anyhow::Result<RunRequest> {
    let session_dir = match &args.session {
        Some(dir) => dir.clone(),
        None => assets::sample_session()
            .context("the sample session is not beside the program; name one with --session DIR")?,
    };
    let recipe = read_session(&session_dir)?.recipe.unwrap_or_default();
    let matrix = Matrix {
        quants: Quant::audited(),
        guidances: [2.0, 10.0, 30.0]
            .into_iter()
            .map(Guidance::new)
            .collect::<Result<_, _>>()?,
        steps: vec![Steps::new(args.steps)?],
        seeds: vec![42],
        prompts: vec![0],
        dilations: vec![RadiusPx::new(f64::from(recipe.dilate_px))?],
    };
    Ok(RunRequest {
        session_dir,
        runs_dir: args.out.clone(),
        run_id: None,
        is_new: false,
        plan: Plan { matrix, recipe },
        prompts: vec![prompt::PRODUCTION.to_owned()],
        inference: InferenceSize::Crop {
            long_side_px: CROP_PX,
            margin: 0.25,
        },
        device: "cpu".to_owned(),
        matmul: MatmulPath::Exact,
        gates_override: None,
    })
}

/// Runs the command.
///
/// # Errors
/// If the model or the session is missing, or the run cannot be made.
pub fn run(args: &DemoArgs) -> anyhow::Result<u8> {
    let request = request(args)?;
    let models_dir = match &args.models {
        Some(dir) => dir.clone(),
        None => assets::embedded_model()
            .context("the embedded model is not beside the program; name one with --models DIR")?,
    };
    let options = EngineOptions::new(models_dir, request.device.clone(), request.matmul);
    let mut engine = PipelineEngine::open(&options)?;
    let mut progress = Progress::new(defaults_of(&request.plan), false);
    let job = Job::Start(Box::new(request));
    let Some(summary) = perform(&job, None, None, &mut engine, &mut progress, None)? else {
        return Ok(EXIT_CANCELLED);
    };
    drop(engine);
    if summary.ending == Ending::Cancelled {
        return Ok(EXIT_CANCELLED);
    }
    show(&summary.folder, args.no_window)?;
    Ok(exit_code(&summary))
}

/// Opens the window on a run, or writes its contact sheet where there is none.
fn show(folder: &Path, no_window: bool) -> anyhow::Result<()> {
    let why = if no_window {
        None
    } else {
        match open_window(Some(folder.to_owned()), assets::services()) {
            Ok(()) => return Ok(()),
            Err(error) => Some(error),
        }
    };
    let sheet = folder.join(CONTACT_SHEET);
    contact_sheet::write(folder, &sheet)?;
    let mut out = std::io::stdout().lock();
    match why {
        None => writeln!(out, "{}", sheet.display())?,
        Some(WindowError::NoDisplay) => writeln!(
            out,
            "There is no display to open a window on, so the contact sheet of the run is in {}.",
            sheet.display()
        )?,
        Some(error) => writeln!(
            out,
            "No window could be opened ({error}), so the contact sheet of the run is in {}.",
            sheet.display()
        )?,
    }
    Ok(())
}
