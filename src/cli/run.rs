//! `fill-audit run`: starts a run, goes on with one, or adds a sweep to one.

use super::bucket::BucketArgs;
use super::matrix_args::{AxisArgs, AxisDefaults, RecipeArgs};
use super::progress::{Progress, cancel_flag};
use super::uploading::Uploading;
use super::{EXIT_CANCELLED, EXIT_CELLS_FAILED, EXIT_OK, dry_run, run_folder_of, sharding};
use crate::audit::engine::FillEngine as _;
use crate::audit::pipeline_engine::{EngineOptions, PipelineEngine};
use crate::audit::run_folder;
use crate::audit::start::{defaults_of, read_session};
use crate::audit::{
    self, AuditContext, AuditError, AuditEvent, Ending, ExtendRequest, RunRequest, RunSummary,
};
use crate::model::cell::CellDefaults;
use crate::model::ids::RunId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::{Environment, InferenceSize, MatmulPath, Plan, Run};
use crate::model::shard::Shard;
use crate::pipeline::find_models;
use anyhow::{Context as _, bail};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Fill a session with every combination of settings.
///
/// Cells are written as they end, so the run can be stopped or killed at any moment: the same command
/// goes on with it and repeats no finished cell. Nothing is fetched from the network.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// The session's folder, with image.png and mask.png; or its address in a bucket (gs://…), or its id
    /// there with --user.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["resume", "extend"],
          conflicts_with_all = ["resume", "extend"])]
    pub session: Option<PathBuf>,
    /// The user whose session it is, in the configured bucket; --session is then its id.
    #[arg(long, value_name = "ID", requires = "session")]
    pub user: Option<String>,
    /// Send the run to the bucket: each cell as it is made, the report last, with links. The bucket and a
    /// link are tried before any weights are loaded. Without a network the run waits on disk for
    /// `fill-audit push --queued`.
    #[arg(long)]
    pub push: bool,
    /// The folder of weights: a published repository's layout, or a Hugging Face cache [default: the
    /// user's Hugging Face cache].
    #[arg(long, value_name = "DIR", env = "FILL_AUDIT_MODELS")]
    pub models: Option<PathBuf>,
    /// Where embeddings of prompts are kept, so that T5 is not loaded again for a prompt that it has seen;
    /// `off` for nowhere [default: the user's cache].
    #[arg(long, value_name = "DIR", env = "FILL_AUDIT_EMBEDDINGS")]
    pub embeddings: Option<PathBuf>,
    /// Memory to plan with, in gigabytes, in place of what the system says is free.
    #[arg(long, value_name = "GB", value_parser = gigabytes)]
    pub memory_gb: Option<f64>,
    /// Where runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// The run's name [default: the time].
    #[arg(long, value_name = "ID", conflicts_with_all = ["resume", "extend"])]
    pub run_id: Option<String>,
    /// Start another run even if the same one is there already.
    #[arg(long, conflicts_with_all = ["resume", "extend", "run_id"])]
    pub new: bool,
    /// Go on with a run, by its folder or its name.
    #[arg(long, value_name = "RUN", conflicts_with = "extend")]
    pub resume: Option<PathBuf>,
    /// Add a sweep to a run, by its folder or its name; an axis that is not given keeps the run's first
    /// value, quant and guidance all of the run's.
    #[arg(long, value_name = "RUN")]
    pub extend: Option<PathBuf>,
    /// Make only this share of the run's cells, such as 1/3: whole quants, divided further only where there are
    /// more shards than quants. All shards are given the same --run-id and meet in the bucket: each sends its
    /// cells as they end and makes none that is there, and the last one writes the report. In a Cloud Run job
    /// the share is the task's.
    #[arg(long, value_name = "I/N", conflicts_with = "extend")]
    pub shard: Option<Shard>,
    /// Make at most so many cells in this go.
    #[arg(long, value_name = "N")]
    pub max_cells: Option<usize>,
    /// Run with a mask that fails its quality gates, for this reason.
    #[arg(long, value_name = "REASON")]
    pub override_gates: Option<String>,
    /// Print what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print nothing but errors and the run's folder.
    #[arg(long, short)]
    pub quiet: bool,
    /// The values of every axis.
    #[command(flatten)]
    pub axes: AxisArgs,
    /// The mask recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// What the model is given, and how it computes.
    #[command(flatten)]
    pub inference: InferenceArgs,
    /// The bucket.
    #[command(flatten)]
    pub bucket: BucketArgs,
    /// Folder of queued uploads (default: the user's folder for program state).
    #[arg(long, env = "FILL_AUDIT_QUEUE", value_name = "DIR")]
    pub queue: Option<PathBuf>,
}

/// What the model is given, and how it computes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Inference")]
pub struct InferenceArgs {
    /// The whole picture, with this longest side in pixels, a multiple of 16 [default: 1024].
    #[arg(long, value_name = "PX", conflicts_with_all = ["crop", "resume", "extend"])]
    pub size: Option<u32>,
    /// Only the mask's box with a margin, at this longest side in pixels, a multiple of 16.
    #[arg(long, value_name = "PX", conflicts_with_all = ["resume", "extend"])]
    pub crop: Option<u32>,
    /// Margin on each side, as a fraction of the box's longer side.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.25)]
    pub margin: f32,
    /// cpu, cuda, cuda:1 or metal [default: cpu, or the run's].
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Multiply by integer kernels, which also quantize activations; stamped on every cell.
    #[arg(long, conflicts_with_all = ["resume", "extend"])]
    pub integer_kernels: bool,
}

fn gigabytes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..1e6).contains(&value) => Ok(value),
        _ => Err("expected a number of gigabytes from 0".to_owned()),
    }
}

impl InferenceArgs {
    fn inference(&self) -> InferenceSize {
        match (self.crop, self.size) {
            (Some(long_side_px), _) => InferenceSize::Crop {
                long_side_px,
                margin: self.margin,
            },
            (None, Some(long_side_px)) => InferenceSize::Whole { long_side_px },
            (None, None) => InferenceSize::PRODUCTION,
        }
    }
}

/// What a go at a run is about, once the command line is checked.
#[derive(Debug, Clone)]
pub enum Job {
    /// A new run, or the same one again.
    Start(Box<RunRequest>),
    /// A run that is there.
    Resume(PathBuf),
    /// A sweep for a run that is there.
    Extend(PathBuf, Box<ExtendRequest>),
}

/// Runs the command.
///
/// # Errors
/// Whatever keeps the run from being started or gone on with.
pub fn run(args: &RunArgs) -> anyhow::Result<u8> {
    let models = match &args.models {
        Some(dir) => dir.clone(),
        None => find_models(&[])
            .first()
            .map(|folder| folder.root().to_owned())
            .context(
                "no folder of weights is given and the Hugging Face cache has no FLUX.1-Fill; give \
                 --models DIR, or fetch it: fill-audit models pull",
            )?,
    };
    if args.max_cells == Some(0) {
        bail!("--max-cells must be at least 1");
    }
    // Both before any GPU time: the session, and whether the run can go up at its end.
    let fetched = fetch_session(args)?;
    let shard = sharding::shard(args.shard)?;
    let with_folder = fetched.as_ref().map(|(_, folder)| RunArgs {
        session: Some(folder.clone()),
        ..args.clone()
    });
    let args = with_folder.as_ref().unwrap_or(args);
    let prepare = || Uploading::prepare(&args.bucket, args.queue.clone(), args.quiet);
    let mut uploading = match shard {
        Some(_) if !args.dry_run => {
            let folder = sharding::folder_of(args)?;
            let uploading = prepare()?;
            if args.resume.is_some() {
                sharding::bring(&uploading, &folder)?;
            }
            Some(uploading)
        }
        _ => None,
    };
    let (job, engine, defaults) = job(args, models)?;
    if args.dry_run {
        return dry_run::dry_run(args, &job, &engine, shard).map(|()| EXIT_OK);
    }
    if args.push && uploading.is_none() {
        uploading = Some(prepare()?);
    }
    let mut engine = PipelineEngine::open(&engine)?;
    let mut progress = Progress::new(defaults, args.quiet);
    tell_device(&progress, &engine.environment());
    if let (Some(shard), Some(uploading)) = (shard, &uploading) {
        return sharding::run(args, shard, &job, &mut engine, &mut progress, uploading);
    }
    let summary = perform(
        &job,
        args.override_gates.as_deref(),
        args.max_cells,
        &mut engine,
        &mut progress,
        uploading.as_mut(),
    )?;
    let Some(summary) = summary else {
        return Ok(EXIT_CANCELLED);
    };
    print_summary(&summary, args.quiet)?;
    match uploading {
        Some(_) if summary.ending == Ending::Cancelled => {
            let folder = summary.folder.display();
            writeln!(
                std::io::stderr(),
                "`fill-audit push {folder}` sends what is finished"
            )?;
        }
        Some(uploading) => uploading.finish(&summary.folder, args.quiet)?,
        None => {}
    }
    Ok(exit_code(&summary))
}

/// What the run is made on, first of all: its times mean something on production's GPU only. Said once.
fn tell_device(progress: &Progress, environment: &Environment) {
    progress.line(&format!("computing on {}", environment.description()));
    match environment.production_warning() {
        Some(warning) if environment.compute_capability.is_some() => {
            progress.line(&format!("warning: {warning}"));
        }
        Some(warning) => progress.line(&warning),
        None => {}
    }
}

/// A session that lies in a bucket, fetched into a temporary folder: the run keeps copies of its own.
fn fetch_session(args: &RunArgs) -> anyhow::Result<Option<(tempfile::TempDir, PathBuf)>> {
    let named = args.session.as_ref().and_then(|session| session.to_str());
    let Some(named) = named.filter(|named| named.contains("://") || args.user.is_some()) else {
        return Ok(None);
    };
    let scratch = tempfile::tempdir().context("there is no temporary folder for the session")?;
    let fetching =
        super::pull::fetch_session(&args.bucket, named, args.user.as_deref(), scratch.path());
    let (_, folder) = super::bucket::runtime()?.block_on(fetching)?;
    Ok(Some((scratch, folder)))
}

/// The job that the command line asks for, how the engine is set up for it, and what cell names leave
/// out.
fn job(args: &RunArgs, models_dir: PathBuf) -> anyhow::Result<(Job, EngineOptions, CellDefaults)> {
    let device = args.inference.device.clone();
    let device = device.unwrap_or_else(|| "cpu".to_owned());
    let mut engine = EngineOptions::new(models_dir, device, MatmulPath::Exact);
    match args.embeddings.as_deref() {
        None => {}
        Some(dir) if dir == Path::new("off") => engine.embeddings_dir = None,
        Some(dir) => engine.embeddings_dir = Some(dir.to_owned()),
    }
    engine.available_bytes = args.memory_gb.map(|gigabytes| (gigabytes * 1e9) as u64);
    let existing = args.resume.as_ref().or(args.extend.as_ref());
    if let Some(given) = existing {
        let folder = run_folder_of(given, &args.out);
        let run = run_folder::read_plan(&folder)?;
        let document = run.document().context("the run has no run.ron")?;
        engine.matmul = document.matmul;
        if args.inference.device.is_none() {
            engine.device.clone_from(&document.device);
        }
        let defaults = run.defaults.clone();
        if args.extend.is_none() {
            refuse_axes(args)?;
            return Ok((Job::Resume(folder), engine, defaults));
        }
        let request = extension(args, &run)?;
        return Ok((Job::Extend(folder, Box::new(request)), engine, defaults));
    }
    let request = request(args)?;
    engine.matmul = request.matmul;
    let defaults = defaults_of(&request.plan);
    Ok((Job::Start(Box::new(request)), engine, defaults))
}

/// `--resume` goes on with what was planned; other values would be ignored silently.
fn refuse_axes(args: &RunArgs) -> anyhow::Result<()> {
    let axes = &args.axes;
    let recipe = &args.recipe;
    let given = [
        ("--quant", !axes.quant.is_empty()),
        ("--guidance", !axes.guidance.is_empty()),
        ("--steps", !axes.steps.is_empty()),
        ("--seed", !axes.seed.is_empty()),
        ("--prompt", !axes.prompt.is_empty()),
        ("--dilate", !axes.dilate.is_empty()),
        ("--threshold", recipe.threshold.is_some()),
        ("--despeck", recipe.despeck.is_some()),
        ("--close", recipe.close.is_some()),
        ("--open", recipe.open.is_some()),
        ("--feather", recipe.feather.is_some()),
        ("--max-coverage", recipe.max_coverage.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => {
            bail!(
                "{option} does not go with --resume, which makes what was planned; --extend adds cells"
            )
        }
        None => Ok(()),
    }
}

/// The request for a new run.
///
/// # Errors
/// Naming the option that cannot be used.
pub fn request(args: &RunArgs) -> anyhow::Result<RunRequest> {
    let session_dir = args.session.clone().context("--session DIR is missing")?;
    let session = read_session(&session_dir)?;
    let base = args.recipe.on(&session.recipe.unwrap_or_default());
    let (matrix, prompts) = args.axes.matrix(&AxisDefaults::audit(&base)?)?;
    let request = RunRequest {
        session_dir,
        runs_dir: args.out.clone(),
        run_id: args.run_id.clone().map(RunId::new).transpose()?,
        is_new: args.new,
        plan: Plan {
            recipe: with_first_dilation(&base, &matrix),
            matrix,
        },
        prompts,
        inference: args.inference.inference(),
        device: args
            .inference
            .device
            .clone()
            .unwrap_or_else(|| "cpu".to_owned()),
        matmul: if args.inference.integer_kernels {
            MatmulPath::Integer
        } else {
            MatmulPath::Exact
        },
        gates_override: args.override_gates.clone(),
    };
    request.check()?;
    Ok(request)
}

/// The recipe with the matrix's first dilation, as a plan has it.
pub(super) fn with_first_dilation(
    recipe: &MaskRecipe,
    matrix: &crate::model::matrix::Matrix,
) -> MaskRecipe {
    MaskRecipe {
        dilate_px: matrix
            .dilations
            .first()
            .map_or(recipe.dilate_px, |first| first.value() as f32),
        ..recipe.clone()
    }
}

fn extension(args: &RunArgs, run: &Run) -> anyhow::Result<ExtendRequest> {
    let document = run.document().context("the run has no run.ron")?;
    let planned = &document.plan.matrix;
    let first_prompt = planned
        .prompts
        .first()
        .and_then(|index| run.prompts.get(*index));
    let defaults = AxisDefaults {
        quants: planned.quants.clone(),
        guidances: planned.guidances.clone(),
        steps: planned.steps.iter().take(1).copied().collect(),
        seeds: planned.seeds.iter().take(1).copied().collect(),
        prompts: first_prompt.cloned().into_iter().collect(),
        dilations: planned.dilations.iter().take(1).copied().collect(),
    };
    let (matrix, prompts) = args.axes.matrix(&defaults)?;
    let recipe = args.recipe.on(&document.plan.recipe);
    Ok(ExtendRequest {
        recipe: with_first_dilation(&recipe, &matrix),
        matrix,
        prompts,
    })
}

/// Does a job with a progress bar. `None` if it was cancelled before a folder was there.
///
/// # Errors
/// Whatever keeps the run from being started or gone on with.
pub fn perform(
    job: &Job,
    gates_override: Option<&str>,
    max_cells: Option<usize>,
    engine: &mut PipelineEngine,
    progress: &mut Progress,
    mut uploading: Option<&mut Uploading>,
) -> anyhow::Result<Option<RunSummary>> {
    let cancel = cancel_flag();
    let mut run_dir = PathBuf::new();
    let mut observer = |event: audit::AuditEvent| {
        progress.show(&event);
        match (&event, &mut uploading) {
            (AuditEvent::Started { folder, .. }, _) => run_dir.clone_from(folder),
            (AuditEvent::CellFinished { .. }, Some(uploading)) => uploading.cell_ended(&run_dir),
            _ => {}
        }
    };
    let mut context = AuditContext {
        clock: &jiff::Timestamp::now,
        cancel: &cancel,
        observer: &mut observer,
    };
    let done = match job {
        Job::Start(request) => audit::start(request, engine, &mut context),
        Job::Resume(folder) => audit::resume(folder),
        Job::Extend(folder, request) => {
            audit::extend(folder, request, gates_override, engine, &mut context)
        }
    }
    .and_then(|owned| audit::execute(&owned, engine, max_cells, &mut context));
    match done {
        Ok(summary) => Ok(Some(summary)),
        Err(AuditError::Cancelled) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes a part of a run with a progress bar, and tells `cell_ended` of the folder each time that it has
/// something new.
///
/// # Errors
/// See [`audit::execute()`].
pub fn run_part(
    owned: &audit::OwnedRun,
    part: &audit::Part,
    engine: &mut PipelineEngine,
    progress: &mut Progress,
    cancel: &std::sync::atomic::AtomicBool,
    cell_ended: &mut dyn FnMut(&Path),
) -> Result<RunSummary, AuditError> {
    let mut observer = |event: AuditEvent| {
        progress.show(&event);
        if matches!(
            event,
            AuditEvent::Started { .. } | AuditEvent::CellFinished { .. }
        ) {
            cell_ended(&owned.folder);
        }
    };
    let mut context = AuditContext {
        clock: &jiff::Timestamp::now,
        cancel,
        observer: &mut observer,
    };
    audit::execute_part(owned, engine, part, &mut context)
}

/// What the program ends with after a run.
pub fn exit_code(summary: &RunSummary) -> u8 {
    match summary.ending {
        Ending::Cancelled => EXIT_CANCELLED,
        _ if summary.failed > 0 => EXIT_CELLS_FAILED,
        Ending::Complete | Ending::CellLimit => EXIT_OK,
    }
}

fn print_summary(summary: &RunSummary, is_quiet: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let folder = summary.folder.display();
    if is_quiet {
        writeln!(out, "{folder}")?;
        return Ok(());
    }
    let failed = match summary.failed {
        0 => String::new(),
        n => format!(", {n} failed"),
    };
    let made = summary.made;
    match summary.ending {
        Ending::Complete if made == 0 && summary.failed == 0 => {
            writeln!(
                out,
                "{folder}: all {} cells are there already",
                summary.already_done
            )?;
        }
        Ending::Complete => writeln!(out, "{folder}: {made} made{failed}; the run is complete")?,
        Ending::CellLimit => writeln!(
            out,
            "{folder}: {made} made{failed}; {} left, the same command goes on",
            summary.left
        )?,
        Ending::Cancelled => writeln!(
            out,
            "{folder}: stopped; {made} made{failed}, {} left, the same command goes on",
            summary.left
        )?,
    }
    Ok(())
}
