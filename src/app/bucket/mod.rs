//! Performs what the window asks of the bucket, on a runtime of its own: the window never waits for it.
//!
//! | file | job |
//! |---|---|
//! | `services` | what of it tests replace |
//! | `connection` | settings, stores and cache, opened when first needed |
//! | `inbox` | the list of runs, small pictures, pasted addresses |
//! | `fetching` | a run that streams in |
//! | `sending` | a run that goes up, and what waits for the network |
//! | `words` | from storage's types to the window's |

mod connection;
mod fetching;
mod inbox;
mod sending;
mod services;
mod words;

pub use services::{OpenStore, StorageServices, open_gcs};

use super::effects::Outbox;
use crate::state::Event;
use crate::state::bucket::form::StorageForm;
use crate::state::bucket::{BucketEffect, BucketEvent};
use connection::Connection;
use fetching::Fetching;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// How long the end of the window waits for what is under way; it goes on from there next time.
const PATIENCE: Duration = Duration::from_secs(2);

/// A handle to the thread that owns the runtime. It starts with the first effect.
pub struct BucketThread {
    services: StorageServices,
    running: Option<Running>,
}

struct Running {
    jobs: UnboundedSender<BucketEffect>,
    thread: std::thread::JoinHandle<()>,
}

impl BucketThread {
    /// A handle; nothing is started yet.
    pub fn new(services: StorageServices) -> Self {
        Self {
            services,
            running: None,
        }
    }

    /// Hands an effect over. What comes of it is sent to `outbox`.
    pub fn send(&mut self, effect: BucketEffect, outbox: &Outbox) {
        if self.running.is_none() {
            match start(self.services.clone(), outbox.clone()) {
                Ok(running) => self.running = Some(running),
                Err(error) => {
                    let problem = format!("storage is off: no thread for the network: {error}");
                    outbox.send(Event::Problem(problem));
                    return;
                }
            }
        }
        if let Some(running) = &self.running
            && running.jobs.send(effect).is_err()
        {
            outbox.send(Event::Problem(
                "storage is off: its thread has ended; start the program anew".to_owned(),
            ));
        }
    }
}

impl Drop for BucketThread {
    fn drop(&mut self) {
        if let Some(Running { jobs, thread }) = self.running.take() {
            drop(jobs);
            let _ = thread.join();
        }
    }
}

fn start(services: StorageServices, outbox: Outbox) -> std::io::Result<Running> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("bucket")
        .enable_all()
        .build()?;
    let (jobs, inbox) = unbounded_channel();
    let thread = std::thread::Builder::new()
        .name("bucket jobs".to_owned())
        .spawn(move || {
            let mut worker = Worker::new(services, outbox);
            runtime.block_on(worker.run(inbox));
            runtime.shutdown_timeout(PATIENCE);
        })?;
    Ok(Running { jobs, thread })
}

/// Takes effects one after the other; what takes time goes on beside it.
struct Worker {
    connection: Arc<Connection>,
    outbox: BucketOutbox,
    fetching: Option<Fetching>,
    sending: Option<CancellationToken>,
    all: CancellationToken,
}

/// Sends events about the bucket.
#[derive(Clone)]
pub(super) struct BucketOutbox(Outbox);

impl BucketOutbox {
    pub(super) fn send(&self, event: BucketEvent) {
        self.0.send(Event::Bucket(event));
    }
}

impl Worker {
    fn new(services: StorageServices, outbox: Outbox) -> Self {
        Self {
            connection: Arc::new(Connection::new(services)),
            outbox: BucketOutbox(outbox),
            fetching: None,
            sending: None,
            all: CancellationToken::new(),
        }
    }

    async fn run(&mut self, mut inbox: UnboundedReceiver<BucketEffect>) {
        while let Some(effect) = inbox.recv().await {
            self.perform(effect);
        }
        self.all.cancel();
    }

    fn perform(&mut self, effect: BucketEffect) {
        let (connection, outbox) = (Arc::clone(&self.connection), self.outbox.clone());
        match effect {
            BucketEffect::ReadConfig => {
                outbox.send(BucketEvent::ConfigRead(connection.read_config()));
            }
            BucketEffect::SaveConfig(form) => {
                outbox.send(BucketEvent::ConfigSaved(connection.save_config(&form)));
            }
            BucketEffect::Check(job, form) => {
                tokio::spawn(async move { check(&connection, &outbox, job, &form).await });
            }
            BucketEffect::List {
                job,
                runs_dir,
                reviewer,
            } => {
                tokio::spawn(async move {
                    inbox::list(&connection, &outbox, job, &runs_dir, &reviewer).await;
                });
            }
            BucketEffect::Thumbnails(keys) => {
                tokio::spawn(async move { inbox::thumbnails(&connection, &outbox, keys).await });
            }
            BucketEffect::Resolve {
                address,
                sessions_dir,
            } => {
                tokio::spawn(async move {
                    let event = inbox::resolve(&connection, &address, &sessions_dir).await;
                    outbox.send(event);
                });
            }
            BucketEffect::Pull(request) => {
                let former = self.fetching.take();
                let cancel = self.all.child_token();
                self.fetching = Some(Fetching::start(connection, outbox, request, former, cancel));
            }
            BucketEffect::StopPull => {
                if let Some(fetching) = &self.fetching {
                    fetching.stop();
                }
            }
            BucketEffect::ShowFirst(files) => {
                if let Some(fetching) = &self.fetching {
                    fetching.show_first(files);
                }
            }
            BucketEffect::Push(request) => {
                let cancel = self.all.child_token();
                self.sending = Some(cancel.clone());
                let is_same = |fetching: &mut Fetching| fetching.dir() == request.dir;
                let former = self.fetching.take_if(is_same);
                tokio::spawn(async move {
                    if let Some(former) = former {
                        former.stop_and_wait().await;
                    }
                    sending::push(&connection, &outbox, request, cancel).await;
                });
            }
            BucketEffect::StopPush => {
                if let Some(cancel) = &self.sending {
                    cancel.cancel();
                }
            }
            BucketEffect::SendQueue => {
                let cancel = self.all.child_token();
                tokio::spawn(async move { sending::queue(&connection, &outbox, &cancel).await });
            }
            BucketEffect::ListQueue => outbox.send(BucketEvent::Queue(connection.queued())),
        }
    }
}

async fn check(connection: &Connection, outbox: &BucketOutbox, job: u64, form: &StorageForm) {
    let config = words::config_of(form);
    let services = &connection.services;
    let checks = match config.check("the settings page") {
        Ok(()) => {
            let limits = services.limits.clone();
            crate::storage::doctor::examine(&config, &services.environment, limits)
                .await
                .into_iter()
                .map(words::check_line)
                .collect()
        }
        Err(error) => vec![words::refused_settings(&error)],
    };
    outbox.send(BucketEvent::Checked(job, checks));
}
