//! `fill-audit job`: a run as a Cloud Run job on L4s.

use super::bucket::{self, BucketArgs};
use super::matrix_args::{AxisArgs, AxisDefaults, RecipeArgs};
use super::run::with_first_dilation;
use super::{EXIT_CANCELLED, EXIT_CELLS_FAILED, EXIT_ERROR, EXIT_OK, pull};
use crate::audit::RunRequest;
use crate::audit::start::read_session;
use crate::model::ids::RunId;
use crate::model::run::{InferenceSize, MatmulPath, Plan};
use crate::remote::job::wire::State;
use crate::remote::job::{
    CellsThere, JobControl, JobPlace, JobRecord, JobStatus, Prepared, Price, Wanted, launch,
    prepare_rest, template,
};
use crate::storage::{StorageConfig, session};
use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Make runs as a Cloud Run job on NVIDIA L4s.
///
/// A run is divided into tasks of at most fifty minutes, as a rule one for each quantization. Each task sends
/// its cells to the bucket as they end, so that one that is killed goes on where it was, and the last to finish
/// writes the report. assets/deploy/README.md leads from nothing to a finished audit.
#[derive(Debug, Clone, clap::Args)]
pub struct JobArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: JobCommand,
}

/// What can be done.
#[derive(Debug, Clone, Subcommand)]
pub enum JobCommand {
    /// Print the job's YAML and the commands that deploy it. Nothing is deployed.
    Deploy(Box<DeployArgs>),
    /// Show how a run would be divided, how long it may take and what it may cost. Nothing is started.
    Plan(Box<PlanArgs>),
    /// Show the plan and, with --yes, start it.
    Start(Box<StartArgs>),
    /// Show how far a run is.
    Status(StatusArgs),
    /// Stop a run; what is in the bucket stays.
    Cancel(CancelArgs),
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Printed {
    /// The job's YAML, and the commands as comments below it.
    Job,
    /// The service's YAML.
    Service,
    /// The commands.
    Commands,
}

/// Options of `job deploy`.
#[derive(Debug, Clone, clap::Args)]
pub struct DeployArgs {
    /// Print the YAML of the job (or of the service, or the commands alone) with what is given put in; what is
    /// not given stays as ${NAME}.
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true,
          default_missing_value = "job", required = true)]
    pub print: Printed,
    /// The project's id.
    #[arg(long, value_name = "ID", env = "GOOGLE_CLOUD_PROJECT")]
    pub project: Option<String>,
    /// A region with L4s, such as europe-west4.
    #[arg(long, value_name = "REGION", env = "CLOUDSDK_RUN_REGION")]
    pub region: Option<String>,
    /// The job's name.
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// The service's name.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// The bucket with sessions and runs.
    #[arg(long, value_name = "NAME", env = "FILL_AUDIT_BUCKET")]
    pub bucket: Option<String>,
    /// The bucket with the weights.
    #[arg(long, value_name = "NAME")]
    pub models_bucket: Option<String>,
    /// The image's address.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// The service account that the tasks run as.
    #[arg(long, value_name = "EMAIL")]
    pub account: Option<String>,
}

/// Which job.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Job")]
pub struct PlaceArgs {
    /// The project's id.
    #[arg(long, value_name = "ID", env = "GOOGLE_CLOUD_PROJECT")]
    pub project: Option<String>,
    /// The job's region.
    #[arg(long, value_name = "REGION", env = "CLOUDSDK_RUN_REGION")]
    pub region: Option<String>,
    /// The job's name.
    #[arg(long, value_name = "NAME", default_value = "fill-audit")]
    pub job: String,
}

/// Options of `job plan`.
#[derive(Debug, Clone, clap::Args)]
pub struct PlanArgs {
    /// The session's address in the bucket (gs://…), or its id there with --user.
    #[arg(long, value_name = "SESSION")]
    pub session: String,
    /// The user whose session it is; --session is then its id.
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// The run's name; with the name of a run that was begun, what is missing of it is made [default: the time].
    #[arg(long, value_name = "ID")]
    pub run_id: Option<String>,
    /// Exactly so many tasks [default: one for each quant, more where a task would take over 50 minutes].
    #[arg(long, value_name = "N")]
    pub tasks: Option<usize>,
    /// Price of a GPU's second in US dollars, in place of the list price.
    #[arg(long, value_name = "USD")]
    pub gpu_price: Option<f64>,
    /// Runs that were made on an L4, from whose cells times are taken; without any the plan is a guess.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub measured: PathBuf,
    /// Run with a mask that fails its quality gates, for this reason.
    #[arg(long, value_name = "REASON")]
    pub override_gates: Option<String>,
    /// The whole picture, with this longest side in pixels, a multiple of 16 [default: 1024].
    #[arg(long, value_name = "PX", conflicts_with = "crop")]
    pub size: Option<u32>,
    /// Only the mask's box with a margin, at this longest side in pixels, a multiple of 16.
    #[arg(long, value_name = "PX")]
    pub crop: Option<u32>,
    /// Margin on each side, as a fraction of the box's longer side.
    #[arg(long, value_name = "FRACTION", default_value_t = 0.25)]
    pub margin: f32,
    /// Multiply by integer kernels, which also quantize activations; stamped on every cell.
    #[arg(long)]
    pub integer_kernels: bool,
    /// The values of every axis.
    #[command(flatten)]
    pub axes: AxisArgs,
    /// The mask recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// The bucket.
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// Options of `job start`.
#[derive(Debug, Clone, clap::Args)]
pub struct StartArgs {
    /// Start what is shown.
    #[arg(long)]
    pub yes: bool,
    /// What is run.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Which job.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Options of `job status`.
#[derive(Debug, Clone, clap::Args)]
pub struct StatusArgs {
    /// The run.
    pub run_id: String,
    /// Look again every so many seconds until it has ended. The exit code then says how: 0 if the run is whole, 3
    /// if cells of it failed, 130 if it was cancelled, 1 otherwise.
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "20")]
    pub follow: Option<u64>,
    /// Print JSON, one line each time.
    #[arg(long)]
    pub json: bool,
    /// The bucket.
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// Options of `job cancel`.
#[derive(Debug, Clone, clap::Args)]
pub struct CancelArgs {
    /// The run.
    pub run_id: String,
    /// The bucket.
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// Runs the command.
///
/// # Errors
/// Whatever keeps it from being done.
pub fn run(args: JobArgs) -> anyhow::Result<u8> {
    let how = "nothing was stopped in Google Cloud; `fill-audit job cancel` does that";
    match args.command {
        JobCommand::Deploy(args) => deploy(*args).map(|()| EXIT_OK),
        JobCommand::Plan(args) => bucket::run_until_ctrl_c(how, |cancel| async move {
            bucket::or_stopped(&cancel, async {
                let planned = Planned::new(&args).await?;
                planned.show()
            })
            .await
        }),
        JobCommand::Start(args) => bucket::run_until_ctrl_c(how, |cancel| async move {
            bucket::or_stopped(&cancel, start(&args)).await
        }),
        JobCommand::Status(args) => {
            let mut code = EXIT_OK;
            let told = &mut code;
            let ended = bucket::run_until_ctrl_c(how, |cancel| async move {
                *told = bucket::or_stopped(&cancel, status(&args)).await?;
                Ok(())
            })?;
            Ok(if ended == EXIT_OK { code } else { ended })
        }
        JobCommand::Cancel(args) => bucket::run_until_ctrl_c(how, |cancel| async move {
            bucket::or_stopped(&cancel, stop(&args)).await
        }),
    }
}

fn deploy(args: DeployArgs) -> anyhow::Result<()> {
    let bare = |name: Option<String>| {
        name.filter(|name| !name.is_empty())
            .map(|name| name.trim_start_matches("gs://").to_owned())
    };
    let values = template::Values {
        project: bare(args.project),
        region: bare(args.region),
        job: bare(args.job),
        service: bare(args.service),
        bucket: bare(args.bucket),
        models_bucket: bare(args.models_bucket),
        image: bare(args.image),
        account: bare(args.account),
    };
    values.check()?;
    let mut out = std::io::stdout().lock();
    match args.print {
        Printed::Service => write!(out, "{}", values.fill(template::SERVICE))?,
        Printed::Commands => write!(out, "{}", values.fill(template::COMMANDS))?,
        Printed::Job => {
            writeln!(out, "{}", values.fill(template::JOB))?;
            for line in values.fill(template::COMMANDS).lines() {
                writeln!(out, "{}", format!("# {line}").trim_end())?;
            }
        }
    }
    Ok(())
}

/// A run that is planned, and what its tasks would be told.
struct Planned {
    prepared: Prepared,
    config: StorageConfig,
}

impl Planned {
    /// Fetches the session, looks at its mask, and plans the tasks.
    async fn new(args: &PlanArgs) -> anyhow::Result<Self> {
        let mut config = args.bucket.config()?;
        if config.run_prefix != StorageConfig::default().run_prefix {
            bail!(
                "the job's tasks have no storage.toml and send runs to {}, not to {:?}; take run_prefix out of \
                 storage.toml",
                StorageConfig::default().run_prefix,
                config.run_prefix
            );
        }
        let address = address(args, &mut config)?;
        let scratch =
            tempfile::tempdir().context("there is no temporary folder for the session")?;
        let named = BucketArgs {
            bucket: Some(config.bucket.clone()),
            ..args.bucket.clone()
        };
        let (_, folder) = pull::fetch_session(&named, &address, None, scratch.path()).await?;
        let session = read_session(&folder)?;
        let base = args.recipe.on(&session.recipe.unwrap_or_default());
        let (matrix, prompts) = args.axes.matrix(&AxisDefaults::audit(&base)?)?;
        let run_id = match &args.run_id {
            Some(run_id) => RunId::new(run_id.clone())?,
            None => RunId::new(jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string())?,
        };
        let request = RunRequest {
            session_dir: folder.clone(),
            runs_dir: PathBuf::from("/tmp/runs"),
            run_id: Some(run_id.clone()),
            is_new: false,
            plan: Plan {
                recipe: with_first_dilation(&base, &matrix),
                matrix,
            },
            prompts,
            inference: match (args.crop, args.size) {
                (Some(long_side_px), _) => InferenceSize::Crop {
                    long_side_px,
                    margin: args.margin,
                },
                (None, Some(long_side_px)) => InferenceSize::Whole { long_side_px },
                (None, None) => InferenceSize::PRODUCTION,
            },
            device: launch::DEVICE.to_owned(),
            matmul: if args.integer_kernels {
                MatmulPath::Integer
            } else {
                MatmulPath::Exact
            },
            gates_override: args.override_gates.clone(),
        };
        let price = match args.gpu_price {
            Some(usd) => Price::with_gpu(usd)?,
            None => Price::default(),
        };
        let wanted = Wanted {
            run_id: &run_id,
            session: &address,
            bucket: &config.bucket,
            measured: &args.measured,
            price,
            tasks: args.tasks,
        };
        // A name of one's own may be that of a run that was begun.
        let made = match &args.run_id {
            Some(_) => {
                let store = bucket::open(&config).await?;
                CellsThere::read(&*store, &config, &run_id).await?.done
            }
            None => BTreeSet::new(),
        };
        let prepared = prepare_rest(&request, &wanted, &made)?;
        Ok(Self { prepared, config })
    }

    fn show(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let Prepared {
            plan,
            launch,
            remarks,
        } = &self.prepared;
        let (bucket, run_id) = (&self.config.bucket, &launch.run_id);
        writeln!(out, "run {run_id}, to gs://{bucket}/audit/{run_id}/")?;
        for line in plan.lines() {
            writeln!(out, "{line}")?;
        }
        for remark in remarks {
            writeln!(out, "mask gate: {remark}")?;
        }
        Ok(())
    }
}

/// The session's whole address; the bucket that it names goes before the configured one.
fn address(args: &PlanArgs, config: &mut StorageConfig) -> anyhow::Result<String> {
    if args.session.contains("://") {
        let location = session::prefix_of_address(&args.session)?;
        let named = args.bucket.named();
        if named.is_some_and(|named| named.trim_start_matches("gs://") != location.bucket) {
            bail!(
                "the session lies in gs://{} and runs would go to another bucket; leave --bucket out",
                location.bucket
            );
        }
        config.bucket.clone_from(&location.bucket);
        return Ok(format!("gs://{}/{}", location.bucket, location.name));
    }
    let Some(user) = &args.user else {
        bail!(
            "whose session {:?} is, is not known: give --user ID, or its gs:// address",
            args.session
        );
    };
    if config.bucket.is_empty() {
        bail!("no bucket is configured: give --bucket PROJECT.firebasestorage.app");
    }
    let prefix = config.prefix_of_session(user, &args.session)?;
    Ok(format!("gs://{}/{prefix}", config.bucket))
}

/// Cloud Run as this account sees it, and the bucket.
async fn control(config: StorageConfig, place: JobPlace) -> anyhow::Result<JobControl> {
    let store = bucket::open(&config).await?;
    Ok(JobControl::open(place, store, config).await?)
}

async fn start(args: &StartArgs) -> anyhow::Result<()> {
    let place = JobPlace::new(
        args.place.project.as_deref().unwrap_or_default(),
        args.place.region.as_deref().unwrap_or_default(),
        &args.place.job,
    )?;
    let planned = Planned::new(&args.plan).await?;
    planned.show()?;
    let mut out = std::io::stdout();
    if !args.yes {
        writeln!(out, "nothing was started; --yes starts it")?;
        return Ok(());
    }
    let control = control(planned.config.clone(), place).await?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    let record = control
        .start(&planned.prepared.launch, &now.to_string())
        .await?;
    writeln!(out, "started: {}", record.execution)?;
    writeln!(
        out,
        "`fill-audit job status {} --bucket {}` shows how far it is",
        record.run_id, planned.config.bucket
    )?;
    Ok(())
}

/// The control of the job that makes a run.
async fn control_of(args: &BucketArgs, run_id: &str) -> anyhow::Result<(JobControl, RunId)> {
    let mut config = args.config()?;
    let run_id = RunId::new(bucket::run_id_of(run_id, &mut config)?)?;
    let store = bucket::open(&config).await?;
    let record = JobRecord::read(&*store, &config, &run_id).await?;
    Ok((control(config, record.place).await?, run_id))
}

/// How a run that was followed to its end went, for scripts.
fn exit_code(status: &JobStatus) -> u8 {
    match status.state {
        State::Cancelled => EXIT_CANCELLED,
        _ if !status.is_whole() => EXIT_ERROR,
        _ if status.cells.failed > 0 => EXIT_CELLS_FAILED,
        _ => EXIT_OK,
    }
}

async fn status(args: &StatusArgs) -> anyhow::Result<u8> {
    let (control, run_id) = control_of(&args.bucket, &args.run_id).await?;
    loop {
        let status = control.status(&run_id).await?;
        let mut out = std::io::stdout();
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&status)?)?;
        } else {
            for line in status.lines() {
                writeln!(out, "{line}")?;
            }
        }
        match args.follow {
            Some(secs) if !status.state.has_ended() => {
                tokio::time::sleep(Duration::from_secs(secs.max(1))).await;
            }
            Some(_) => return Ok(exit_code(&status)),
            None => return Ok(EXIT_OK),
        }
    }
}

async fn stop(args: &CancelArgs) -> anyhow::Result<()> {
    let (control, run_id) = control_of(&args.bucket, &args.run_id).await?;
    let status = control.cancel(&run_id).await?;
    let mut out = std::io::stdout();
    if !status.state.has_ended() {
        writeln!(out, "asked to stop, which takes a while:")?;
    }
    for line in status.lines() {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
