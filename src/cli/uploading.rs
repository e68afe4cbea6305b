//! `run --push`: the bucket and a link are tried before any GPU time, cells go up as they are made, and the
//! report goes last, with links.

use super::bucket::{self, BucketArgs};
use super::push as push_command;
use crate::audit::bucket_run::BucketRun;
use crate::audit::report_file::{self, ReportLinks};
use crate::audit::report_links;
use crate::audit::run_folder::{self, Verification};
use crate::storage::links;
use crate::storage::push::{Push, PushOptions};
use crate::storage::queue::UploadQueue;
use crate::storage::store::{LinkKind, ListQuery};
use crate::storage::{ObjectName, StorageConfig, StorageError, Store};
use anyhow::Context as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

/// A run that goes up while it is made.
pub struct Uploading {
    runtime: tokio::runtime::Runtime,
    store: Arc<dyn Store>,
    config: StorageConfig,
    args: BucketArgs,
    queue: UploadQueue,
    /// Tells the background that a cell has ended; the run's folder, once it is known.
    cells: Option<UnboundedSender<PathBuf>>,
    background: Option<tokio::task::JoinHandle<()>>,
    cancel: CancellationToken,
}

impl Uploading {
    /// Opens the bucket, looks into it and makes a link for real. What it found is written to standard
    /// error, unless `is_quiet`.
    ///
    /// # Errors
    /// No bucket, or credentials that it does not take: nothing could be sent at the end. Without a network
    /// the run goes on, and waits on disk afterwards; without leave to sign, the report has no links.
    pub fn prepare(
        args: &BucketArgs,
        queue: Option<PathBuf>,
        is_quiet: bool,
    ) -> anyhow::Result<Self> {
        let runtime = bucket::runtime()?;
        let config = args.config()?;
        let queue = queue.or_else(UploadQueue::default_dir);
        let queue = queue.context("no folder for queued uploads is known: give --queue DIR")?;
        let (store, words) = runtime.block_on(async {
            let store = bucket::open(&config).await?;
            let words = try_link(&*store, config.runs_root()).await?;
            anyhow::Ok((store, words))
        })?;
        if !is_quiet {
            writeln!(std::io::stderr(), "{words}")?;
        }
        Ok(Self {
            runtime,
            store,
            args: args.clone(),
            config,
            queue: UploadQueue::new(queue),
            cells: None,
            background: None,
            cancel: CancellationToken::new(),
        })
    }

    /// A cell of the run in `folder` has ended: it goes up beside the next one.
    pub fn cell_ended(&mut self, folder: &Path) {
        if self.cells.is_none() {
            let (sender, receiver) = unbounded_channel();
            let Ok(push) = self.push_of(folder) else {
                return;
            };
            self.background = Some(self.runtime.spawn(send_cells(push, receiver)));
            self.cells = Some(sender);
        }
        if let Some(cells) = &self.cells {
            // Where the background has ended, the last push sends everything.
            let _ = cells.send(folder.to_owned());
        }
    }

    /// Writes the report with links and sends what is not there yet, the report last.
    ///
    /// # Errors
    /// What was not sent, and how to go on. Without a network the run is queued, which is no error.
    pub fn finish(mut self, folder: &Path, is_quiet: bool) -> anyhow::Result<()> {
        self.cells = None;
        if let Some(background) = self.background.take() {
            self.runtime.block_on(background)?;
        }
        let mut push = self.push_of(folder)?;
        let folder_words = folder.display().to_string();
        let done = self.runtime.block_on(async {
            push.cancel = bucket::cancelled_by_ctrl_c();
            match links_to_pictures(&*self.store, &push.prefix, folder).await {
                Ok(links) => report_file::write_with(folder, Some(&links))?,
                Err(error) => {
                    let text = format!("the report goes without links: {error:#}");
                    writeln!(std::io::stderr(), "{text}")?;
                }
            }
            push_command::send(&push, &self.queue, is_quiet).await
        });
        done.with_context(|| {
            format!("the run is whole on disk, and `fill-audit push {folder_words}` goes on")
        })
    }

    /// The runtime of its transfers.
    pub fn runtime(&self) -> &tokio::runtime::Runtime {
        &self.runtime
    }

    /// The place of a run that several processes make.
    ///
    /// # Errors
    /// A folder whose name is no run's, or a cache folder that cannot be made.
    pub fn bucket_run(&self, folder: &Path) -> anyhow::Result<BucketRun> {
        let run_id = bucket::run_id_of_folder(folder)?;
        Ok(BucketRun {
            store: Arc::clone(&self.store),
            cache: self.args.cache(&self.config)?,
            prefix: self.config.prefix_of_run(&run_id)?,
            folder: folder.to_owned(),
        })
    }

    fn push_of(&self, folder: &Path) -> anyhow::Result<Push> {
        let run_id = bucket::run_id_of_folder(folder)?;
        Ok(Push {
            store: Arc::clone(&self.store),
            prefix: self.config.prefix_of_run(&run_id)?,
            dir: folder.to_owned(),
            options: PushOptions {
                extra: push_command::settings_of(folder, None),
                ..PushOptions::default()
            },
            events: None,
            cancel: self.cancel.clone(),
        })
    }
}

/// Sends what is in the folder each time that a cell has ended. A failure is only noted: the push at the end
/// sends everything and says what it cannot.
async fn send_cells(push: Push, mut cells: UnboundedReceiver<PathBuf>) {
    while cells.recv().await.is_some() {
        // Several that have ended meanwhile go together.
        while cells.try_recv().is_ok() {}
        if let Err(error) = push.run().await {
            tracing::info!(%error, "cells are not sent yet");
        }
    }
}

/// What kind of link this bucket gives, in a sentence.
async fn try_link(store: &dyn Store, runs_root: &str) -> anyhow::Result<String> {
    let place = store.place();
    let query = ListQuery {
        prefix: runs_root.to_owned(),
        page_size: 5,
        ..ListQuery::default()
    };
    let first = match store.list(&query).await {
        Ok(page) => page
            .objects
            .into_iter()
            .map(|object| object.name)
            .find(|name| !name.is_folder_marker()),
        Err(error) if error.is_retryable() => {
            return Ok(format!(
                "{place} cannot be reached, so the run will wait on disk: {error}"
            ));
        }
        Err(error @ StorageError::Forbidden { .. }) => {
            tracing::warn!(%error, "the bucket cannot be listed");
            None
        }
        Err(error) => return Err(error.into()),
    };
    // Where there is no object yet, its name is enough to sign.
    let probe = match first {
        Some(name) => name,
        None => ObjectName::new(format!("{runs_root}link-probe"))?,
    };
    let link = match links::try_signing(store, &probe).await {
        Ok(link) => link,
        Err(error) if error.is_retryable() => {
            return Ok(format!("no link could be tried: {error}"));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(match link.kind {
        LinkKind::OwnKey => {
            format!("{place}: links will be signed with the account's own key, for 72 hours")
        }
        LinkKind::SignBlob => format!("{place}: links will be signed by signBlob, for 12 hours"),
        LinkKind::Public => format!("{place}: links cannot be signed, but its objects are public"),
        LinkKind::LocalPath => format!(
            "{place}: links cannot be signed and objects are not public, so the report will name files"
        ),
    })
}

/// Links to the pictures of a run at `prefix`.
///
/// # Errors
/// If the run cannot be opened, or the network fails.
pub async fn links_to_pictures(
    store: &dyn Store,
    prefix: &str,
    folder: &Path,
) -> anyhow::Result<ReportLinks> {
    let run = run_folder::open(folder, Verification::Quick)?;
    Ok(report_links::of_run(store, prefix, folder, &run).await?)
}
