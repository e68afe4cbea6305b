//! The thread that owns the pipeline: it is handed runs one at a time, looks at a cancel flag between
//! transformer blocks, and tells the window how far it is.

use super::effects::Outbox;
use super::executor::Executor;
use crate::audit::engine::FillEngine;
use crate::audit::{self, AuditContext, AuditEvent, Ending, ExtendRequest, RunRequest, RunSummary};
use crate::model::run::{MatmulPath, RunDocument, files};
use crate::state::Event;
use crate::state::compose;
use crate::state::run_view::LiveRun;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Steps from one preview to the next; one takes milliseconds, a step much longer.
const PREVIEW_EVERY: usize = 1;

/// Makes an engine from the folder of weights, the device and the way of multiplying.
pub type EngineFactory =
    dyn Fn(&Path, &str, MatmulPath) -> Result<Box<dyn FillEngine>, String> + Send + Sync;

/// What is to be run.
#[derive(Debug, Clone)]
pub enum RunJob {
    /// A new run, or the same one again.
    Start(Box<compose::RunRequest>),
    /// What is missing of a run.
    Resume {
        /// The run's folder.
        dir: PathBuf,
        /// The folder of weights.
        models_dir: PathBuf,
    },
    /// A sweep beside a finished run.
    Extend {
        /// The run's folder.
        dir: PathBuf,
        /// The folder of weights.
        models_dir: PathBuf,
        /// What differs from the run's plan.
        request: Box<ExtendRequest>,
        /// Why the mask's gates are overridden.
        gates_override: Option<String>,
    },
}

/// A handle to the thread.
pub struct Runner {
    jobs: Option<SyncSender<RunJob>>,
    cancel: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Runner {
    /// Starts the thread; it waits for jobs.
    pub fn start(outbox: Outbox, engines: Arc<EngineFactory>) -> Self {
        let (jobs, inbox) = sync_channel(1);
        let cancel = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&cancel);
        let thread = std::thread::Builder::new()
            .name("pipeline".to_owned())
            .spawn(move || run_jobs(&inbox, &outbox, &*engines, &seen))
            .ok();
        Self {
            jobs: thread.is_some().then_some(jobs),
            cancel,
            thread,
        }
    }

    fn stop(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }
}

impl Executor for Runner {
    fn submit(&mut self, job: RunJob) -> Result<(), String> {
        let jobs = self.jobs.as_ref();
        if jobs.is_some_and(|jobs| jobs.try_send(job).is_ok()) {
            return Ok(());
        }
        Err("a run is under way and another one waits; let it end first".to_owned())
    }

    /// After the current block.
    fn cancel(&self) {
        self.stop();
    }

    /// This machine makes it: nobody else would go on.
    fn leave(&self) {}
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run_jobs(
    inbox: &Receiver<RunJob>,
    outbox: &Outbox,
    engines: &EngineFactory,
    cancel: &AtomicBool,
) {
    while let Ok(job) = inbox.recv() {
        cancel.store(false, Ordering::Relaxed);
        let dir = match &job {
            RunJob::Start(_) => None,
            RunJob::Resume { dir, .. } | RunJob::Extend { dir, .. } => Some(dir.clone()),
        };
        let result = run_job(job, outbox, engines, cancel);
        let (dir, result) = match result {
            Ok(summary) => (Some(summary.folder.clone()), Ok(sentence(&summary))),
            Err(problem) => (dir, Err(problem)),
        };
        outbox.send(Event::RunEnded { dir, result });
    }
}

fn run_job(
    job: RunJob,
    outbox: &Outbox,
    engines: &EngineFactory,
    cancel: &AtomicBool,
) -> Result<RunSummary, String> {
    let mut teller = Teller::new(outbox.clone());
    if let RunJob::Resume { dir, .. } | RunJob::Extend { dir, .. } = &job {
        teller.dir = Some(dir.clone());
    }
    let mut observer = |event: AuditEvent| teller.tell(event);
    let mut context = AuditContext {
        clock: &jiff::Timestamp::now,
        cancel,
        observer: &mut observer,
    };
    let text = |error: audit::AuditError| error.to_string();
    match job {
        RunJob::Start(request) => {
            let mut engine = engines(&request.models_dir, &request.device, request.matmul)?;
            let max_cells = request.max_cells;
            let owned =
                audit::start(&to_audit(*request), &mut *engine, &mut context).map_err(text)?;
            audit::execute(&owned, &mut *engine, max_cells, &mut context).map_err(text)
        }
        RunJob::Resume { dir, models_dir } => {
            let document = read_document(&dir)?;
            let mut engine = engines(&models_dir, &document.device, document.matmul)?;
            let owned = audit::resume(&dir).map_err(text)?;
            audit::execute(&owned, &mut *engine, None, &mut context).map_err(text)
        }
        RunJob::Extend {
            dir,
            models_dir,
            request,
            gates_override,
        } => {
            let document = read_document(&dir)?;
            let mut engine = engines(&models_dir, &document.device, document.matmul)?;
            let owned = audit::extend(
                &dir,
                &request,
                gates_override.as_deref(),
                &mut *engine,
                &mut context,
            )
            .map_err(text)?;
            audit::execute(&owned, &mut *engine, None, &mut context).map_err(text)
        }
    }
}

fn read_document(dir: &Path) -> Result<RunDocument, String> {
    let path = dir.join(files::RUN);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "the run's plan cannot be read ({error}): {}",
            path.display()
        )
    })?;
    RunDocument::parse(&text, &path.display().to_string()).map_err(|error| error.to_string())
}

fn to_audit(request: compose::RunRequest) -> RunRequest {
    RunRequest {
        session_dir: request.session_dir,
        runs_dir: request.runs_dir,
        run_id: None,
        is_new: false,
        plan: request.plan,
        prompts: request.prompts,
        inference: request.inference,
        device: request.device,
        matmul: request.matmul,
        gates_override: request.gates_override,
    }
}

fn sentence(summary: &RunSummary) -> String {
    let made = format!("{} cells made, {} failed", summary.made, summary.failed);
    match summary.ending {
        Ending::Complete => format!("run {} is complete: {made}", summary.run_id),
        Ending::CellLimit => format!("run {}: {made}, {} left", summary.run_id, summary.left),
        Ending::Cancelled => {
            format!(
                "run {} was cancelled: {made}, {} left",
                summary.run_id, summary.left
            )
        }
    }
}

/// Turns the audit's events into the window's.
struct Teller {
    outbox: Outbox,
    started: Instant,
    dir: Option<PathBuf>,
    live: LiveRun,
    last_step: Option<Instant>,
}

impl Teller {
    fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            started: Instant::now(),
            dir: None,
            live: LiveRun::starting(None),
            last_step: None,
        }
    }

    fn tell(&mut self, event: AuditEvent) {
        match event {
            AuditEvent::Started { folder, todo, .. } => {
                self.dir = Some(folder.clone());
                self.live.total = todo.len();
                self.outbox.send(Event::RunStarted {
                    dir: folder,
                    total: todo.len(),
                });
            }
            AuditEvent::CheckingWeights => "checking weights".clone_into(&mut self.live.phase),
            AuditEvent::Preparing => "encoding prompt and picture".clone_into(&mut self.live.phase),
            AuditEvent::Loading { quant } => self.live.phase = format!("loading {quant}"),
            AuditEvent::CellStarted { key } => {
                self.live.phase = format!("{} at guidance {}", key.quant, key.guidance);
                self.live.steps = key.steps.value() as usize;
                self.live.step = 0;
                self.live.preview = None;
                self.live.cell = Some(key);
            }
            AuditEvent::Step {
                index,
                total,
                preview,
                ..
            } => {
                (self.live.step, self.live.steps) = (index, total);
                if let Some(preview) = preview {
                    self.live.preview = Some(Arc::new(preview));
                }
                // A tiny model steps faster than anybody can read.
                let now = Instant::now();
                if self
                    .last_step
                    .is_some_and(|last| now - last < Duration::from_millis(60))
                {
                    return;
                }
                self.last_step = Some(now);
            }
            AuditEvent::CellFinished { key, state } => {
                self.live.finished += 1;
                self.live.step = 0;
                self.live.preview = None;
                self.live.cell = None;
                if let Some(dir) = self.dir.clone() {
                    self.outbox.send(Event::CellEnded {
                        dir,
                        key,
                        state: Box::new(state),
                    });
                }
            }
            // The run keeps its warnings, and the log has both.
            AuditEvent::Finished(_) | AuditEvent::Warning { .. } | AuditEvent::Memory { .. } => {
                return;
            }
        }
        self.live.elapsed_secs = self.started.elapsed().as_secs_f64();
        self.outbox.send(Event::RunProgress {
            dir: self.dir.clone(),
            live: Box::new(self.live.clone()),
        });
    }
}

/// The real engine: the pipeline on this machine.
///
/// # Errors
/// What is missing in the folder of weights, or of the device.
pub fn pipeline_engine(
    models_dir: &Path,
    device: &str,
    matmul: MatmulPath,
) -> Result<Box<dyn FillEngine>, String> {
    use crate::audit::pipeline_engine::{EngineOptions, PipelineEngine};
    let options = EngineOptions {
        preview_every: Some(PREVIEW_EVERY),
        ..EngineOptions::new(models_dir.to_owned(), device.to_owned(), matmul)
    };
    let engine = PipelineEngine::open(&options).map_err(|error| error.to_string())?;
    Ok(Box::new(engine))
}
