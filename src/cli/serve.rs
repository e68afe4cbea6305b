//! `fill-audit serve`: the HTTP worker on this machine.

use super::bucket::{self, BucketArgs};
use super::progress::next_signal;
use crate::audit::engine::{EngineError, FillEngine};
use crate::audit::pipeline_engine::{EngineOptions, PipelineEngine};
use crate::model::ids::RunId;
use crate::model::run::{Environment, MatmulPath};
use crate::pipeline::find_models;
use crate::remote::plan::Places;
use crate::remote::{
    EngineFactory, Limits, QueueOptions, ServeOptions, Server, Token, WorkerBucket, auth, wire,
};
use crate::storage::store::ListQuery;
use anyhow::Context as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Run audits that are asked for over HTTP, on this machine's GPU.
///
/// `POST /audit` with `{"user_id": …, "session_id": …}` starts one; assets/deploy/openapi.json describes
/// every address. One run is made at a time, others wait. Cells are written as they end: stopped or killed and
/// started again, the worker goes on where it was and repeats no finished cell.
///
/// With a bucket (--bucket, or the one of storage.toml) a session that does not lie below --sessions comes from
/// it, each cell goes there as it ends and the report last, and a run whose folder is gone is fetched from it.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// Where to listen; port 0 takes any that is free. It speaks plain HTTP: put something that speaks
    /// TLS in front of a worker that others reach.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The file, of mode 600, with the token that requests carry as `Authorization: Bearer TOKEN`
    /// [default: the variable `FILL_AUDIT_TOKEN`; without either, only this machine can be served].
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where runs are kept.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Where sessions lie, as `{user_id}/{session_id}` or `{session_id}`, each with image.png and mask.png.
    #[arg(long, value_name = "DIR", default_value = "sessions")]
    pub sessions: PathBuf,
    /// The folder of weights: a published repository's layout, or a Hugging Face cache [default: the
    /// user's Hugging Face cache].
    #[arg(long, value_name = "DIR", env = "FILL_AUDIT_MODELS")]
    pub models: Option<PathBuf>,
    /// cpu, cuda, cuda:1 or metal.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,
    /// How many runs may wait while one is made; beyond that a request is answered with 429.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub queue: usize,
    /// Send a small picture after every so many steps; 0 for none.
    #[arg(long, value_name = "STEPS", default_value_t = 4)]
    pub preview_every: usize,
    /// Keep the list of runs in the bucket under this name, so that a worker whose whole disk is gone goes on
    /// with them. No two workers of a bucket may share one [default on Cloud Run: the service's name].
    #[arg(long, value_name = "NAME", env = "K_SERVICE")]
    pub name: Option<String>,
    /// The bucket.
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// Runs the command until it is stopped.
///
/// # Errors
/// If the weights, the device, the token, the address or a folder cannot be used.
pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let token = token(args)?;
    // Before the weights are looked for: this is the mistake that costs most.
    auth::check_listen(args.listen, token.as_ref())?;
    let models_dir = match &args.models {
        Some(dir) => dir.clone(),
        None => find_models(&[])
            .first()
            .map(|folder| folder.root().to_owned())
            .context(
                "no folder of weights is given and the Hugging Face cache has no FLUX.1-Fill; give \
                 --models DIR, or fetch it: fill-audit models pull",
            )?,
    };
    let engine = EngineOptions {
        preview_every: (args.preview_every > 0).then_some(args.preview_every),
        ..EngineOptions::new(models_dir, args.device.clone(), MatmulPath::Exact)
    };
    // What is missing is said now, and not when the first request comes.
    let environment = PipelineEngine::open(&engine)?.environment();
    let engines: Arc<EngineFactory> =
        Arc::new(move || -> Result<Box<dyn FillEngine>, EngineError> {
            Ok(Box::new(PipelineEngine::open(&engine)?))
        });
    // Of its own, so that what is under way at the end is not torn off while the runs' thread waits for it.
    let transfers = bucket::runtime()?;
    let bucket = transfers.block_on(worker_bucket(args, transfers.handle().clone()))?;
    let options = ServeOptions {
        listen: args.listen,
        token,
        queue: QueueOptions {
            places: Places {
                runs_dir: args.runs.clone(),
                sessions_dir: args.sessions.clone(),
                device: args.device.clone(),
            },
            waiting: args.queue,
            bucket: bucket.clone(),
            clock: jiff::Timestamp::now,
        },
        environment: environment.clone(),
        limits: Limits::default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no network runtime can be started")?;
    let stopped = runtime.block_on(async {
        let server = Server::bind(options, engines).await?;
        greet(&server, &environment, bucket.as_ref())?;
        Ok::<bool, anyhow::Error>(server.serve(signalled()).await)
    });
    // A block that does not end in time must not keep the program: its cell is made again.
    runtime.shutdown_background();
    transfers.shutdown_background();
    let mut out = std::io::stdout().lock();
    if stopped? {
        writeln!(
            out,
            "stopped; what was not finished goes on at the next start"
        )?;
    } else {
        writeln!(
            out,
            "stopped in the middle of a cell, which is made again at the next start"
        )?;
    }
    Ok(())
}

/// The bucket, if one is named or configured. It is listed once: what keeps it from being used is said now.
async fn worker_bucket(
    args: &ServeArgs,
    runtime: tokio::runtime::Handle,
) -> anyhow::Result<Option<WorkerBucket>> {
    let config = args.bucket.config()?;
    if config.bucket.is_empty() {
        return Ok(None);
    }
    let name = args
        .name
        .clone()
        .filter(|name| !name.is_empty())
        .map(RunId::new)
        .transpose()
        .context("--name cannot be used")?;
    let store = bucket::open(&config).await?;
    let query = ListQuery {
        prefix: config.runs_root().to_owned(),
        page_size: 1,
        ..ListQuery::default()
    };
    store
        .list(&query)
        .await
        .context("the worker's bucket cannot be used")?;
    Ok(Some(WorkerBucket {
        store,
        cache: args.bucket.cache(&config)?,
        config,
        name,
        runtime,
    }))
}

/// The token, if there is one.
fn token(args: &ServeArgs) -> anyhow::Result<Option<Token>> {
    if let Some(path) = &args.token_file {
        return Ok(Some(Token::from_file(path)?));
    }
    match std::env::var(auth::VARIABLE) {
        Ok(text) => Ok(Some(Token::new(&text, auth::VARIABLE)?)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            anyhow::bail!(
                "the token has characters other than visible ASCII ones: {}",
                auth::VARIABLE
            )
        }
    }
}

fn greet(
    server: &Server,
    environment: &Environment,
    bucket: Option<&WorkerBucket>,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on http://{}", server.address())?;
    if let Some(bucket) = bucket {
        let (place, root) = (bucket.store.place(), bucket.config.runs_root());
        writeln!(out, "runs go to {place}/{root}")?;
    }
    writeln!(out, "computing on {}", environment.description())?;
    if let Some(warning) = wire::gpu_warning(environment) {
        writeln!(out, "warning: {warning}")?;
    }
    out.flush()?;
    Ok(())
}

/// Ends when the program is asked to stop.
async fn signalled() {
    if !next_signal().await {
        // Without signals it is stopped by being killed, which loses no finished cell either.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gpu_is_described_with_what_is_known_of_it() {
        let l4 = Environment {
            device: "NVIDIA L4".to_owned(),
            compute_capability: Some("8.9".to_owned()),
            memory_bytes: Some(23_034 << 20),
            driver: Some("535.129.03".to_owned()),
            program: None,
        };
        let described = l4.description();
        assert_eq!(described, "NVIDIA L4 (sm_89), 22.5 GiB, driver 535.129.03");
        assert_eq!(wire::gpu_warning(&l4), None);
        let t4 = Environment {
            device: "Tesla T4".to_owned(),
            memory_bytes: None,
            driver: None,
            ..l4
        };
        assert_eq!(t4.description(), "Tesla T4 (sm_89)");
        assert!(wire::gpu_warning(&t4).is_some_and(|text| text.contains("Tesla T4")));
    }
}
