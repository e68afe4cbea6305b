//! One go at a run, on the thread that calls it: the engine is made, the run is started or gone on with,
//! and what `audit` tells becomes the events of the wire.

use super::EngineFactory;
use super::bucket::WorkerBucket;
use super::plan::{self, Places};
use super::record::RunRecord;
use super::wire::{self, RunEvent};
use crate::audit::bucket_run::{BucketRun, BucketRunError, Uploader};
use crate::audit::engine::EngineError;
use crate::audit::run_folder::{self, Verification};
use crate::audit::{self, AuditContext, AuditError, AuditEvent, Ending, OwnedRun, RunSummary};
use crate::imaging::codecs::encode_rgb_png;
use crate::model::cell::{CellDefaults, CellKey};
use crate::model::ids::RunId;
use crate::model::run::files;
use base64::Engine as _;
use image::RgbImage;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest side of a preview, in pixels.
const PREVIEW_PX: u32 = 256;
/// How long finished cells may take to the bucket when the worker stops. It has ten seconds in all.
const LAST_UPLOADS: Duration = Duration::from_secs(4);
/// How long is waited before what could not be sent is sent again; doubled each time, to half a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How often it is tried.
const SEND_ATTEMPTS: u32 = 6;

/// What a go needs.
pub(super) struct Go<'a> {
    /// The run.
    pub(super) record: &'a RunRecord,
    /// Where things are.
    pub(super) places: &'a Places,
    /// Where sessions come from and the run goes to, if there is such a place.
    pub(super) bucket: Option<&'a WorkerBucket>,
    /// Held while a session is put in the place of another.
    pub(super) exchange: &'a Mutex<()>,
    /// Makes the engine.
    pub(super) engines: &'a EngineFactory,
    /// The time now.
    pub(super) clock: &'a dyn Fn() -> jiff::Timestamp,
    /// Set to stop after the current block.
    pub(super) cancel: &'a AtomicBool,
    /// Called once the run's folder is there and is this run's.
    pub(super) has_folder: &'a dyn Fn(),
    /// Told every event. It must not wait.
    pub(super) tell: &'a dyn Fn(RunEvent),
}

impl Go<'_> {
    /// Makes what is missing of the run.
    ///
    /// # Errors
    /// [`AuditError`] if the run cannot be made or gone on with, or was cancelled before its folder was
    /// there.
    pub(super) fn perform(&self) -> Result<RunSummary, AuditError> {
        self.check_cancel()?;
        let mut engine = (self.engines)().map_err(engine_error)?;
        self.check_cancel()?;
        let in_bucket = match self.bucket {
            Some(bucket) => Some((bucket, self.place(bucket)?)),
            None => None,
        };
        let owned = self.own(in_bucket.as_ref(), &mut *engine)?;
        (self.has_folder)();
        let (defaults, max_cells) = self.rest(&owned.folder)?;
        let uploader = in_bucket
            .as_ref()
            .map(|(bucket, run)| Uploader::start(&bucket.runtime, run.clone()));
        let mut observer = |event: AuditEvent| {
            let has_new_files = matches!(
                event,
                AuditEvent::Started { .. } | AuditEvent::CellFinished { .. }
            );
            self.pass_on(event, Some(&defaults));
            if let Some(uploader) = uploader.as_ref().filter(|_| has_new_files) {
                uploader.nudge();
            }
        };
        let result = audit::execute(
            &owned,
            &mut *engine,
            max_cells,
            &mut self.context(&mut observer),
        );
        let was_stopped = match &result {
            Ok(summary) => summary.ending == Ending::Cancelled,
            Err(_) => true,
        };
        if let (Some((bucket, _)), Some(uploader)) = (&in_bucket, uploader) {
            bucket.runtime.block_on(uploader.finish(LAST_UPLOADS));
        }
        if let (Some((bucket, run)), false) = (&in_bucket, was_stopped) {
            self.send_all(bucket, run)?;
        }
        result
    }

    fn place(&self, bucket: &WorkerBucket) -> Result<BucketRun, AuditError> {
        bucket
            .run(&self.record.run_id, self.places)
            .map_err(|error| AuditError::Refused(error.to_string()))
    }

    /// The run's folder, made or taken up: as it is, from the bucket where it is gone or was never here, or
    /// anew.
    fn own(
        &self,
        in_bucket: Option<&(&WorkerBucket, BucketRun)>,
        engine: &mut dyn audit::engine::FillEngine,
    ) -> Result<OwnedRun, AuditError> {
        let folder = self.places.runs_dir.join(self.record.run_id.as_str());
        let is_here = match in_bucket {
            Some((_, run)) => run.is_here(),
            None => folder.join(files::RUN).is_file(),
        };
        if self.record.has_folder && is_here {
            return audit::resume(&folder);
        }
        let refused = |error: &dyn std::fmt::Display| AuditError::Refused(error.to_string());
        if let Some((bucket, run)) = in_bucket {
            let is_there = bucket.has_run(run).map_err(|error| refused(&error))?;
            if is_there {
                (self.tell)(RunEvent::Phase {
                    phase: "fetching what the bucket has of the run".to_owned(),
                });
                let never = WorkerBucket::never();
                let fetched = bucket.runtime.block_on(run.fetch(&never));
                fetched.map_err(|error| refused(&error))?;
            }
            if is_there && self.record.has_folder {
                return audit::resume(&folder);
            }
            bucket
                .bring_session(&self.record.request, self.places, self.exchange)
                .map_err(|error| refused(&error))?;
            if is_there {
                let request = self.request()?;
                audit::start::check_same(&folder, &request)?;
                return audit::resume(&folder);
            }
        }
        let request = self.request()?;
        let mut observer = |event: AuditEvent| self.pass_on(event, None);
        audit::start(&request, engine, &mut self.context(&mut observer))
    }

    fn request(&self) -> Result<audit::RunRequest, AuditError> {
        plan::run_request(&self.record.request, &self.record.run_id, self.places)
            .map_err(|refusal| AuditError::Refused(refusal.to_string()))
    }

    /// Sends what is not in the bucket yet, the report last, and does not give up at the first failure.
    fn send_all(&self, bucket: &WorkerBucket, run: &BucketRun) -> Result<(), AuditError> {
        (self.tell)(RunEvent::Phase {
            phase: "sending the report to the bucket".to_owned(),
        });
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let never = WorkerBucket::never();
            let error = match bucket.runtime.block_on(run.send_with_links(&never)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if attempt == SEND_ATTEMPTS || !error.is_retryable() {
                return Err(not_sent(&error));
            }
            (self.tell)(RunEvent::Warning {
                text: format!("the bucket does not take the run yet: {error}"),
            });
            let until = std::time::Instant::now() + pause;
            while std::time::Instant::now() < until {
                self.check_cancel()?;
                std::thread::sleep(Duration::from_millis(50));
            }
            pause = (pause * 2).min(Duration::from_secs(30));
        }
        Ok(())
    }

    fn context<'b>(&'b self, observer: &'b mut dyn FnMut(AuditEvent)) -> AuditContext<'b> {
        AuditContext {
            clock: self.clock,
            cancel: self.cancel,
            observer,
        }
    }

    fn check_cancel(&self) -> Result<(), AuditError> {
        if self.cancel.load(Ordering::Relaxed) {
            Err(AuditError::Cancelled)
        } else {
            Ok(())
        }
    }

    /// What cell names leave out, and how many cells may still be made. The limit is of the run, not of
    /// a go: cells that are there already count.
    fn rest(&self, folder: &Path) -> Result<(CellDefaults, Option<usize>), AuditError> {
        let refused = |error: run_folder::RunFolderError| AuditError::Refused(error.to_string());
        let Some(limit) = self.record.request.max_variations else {
            let run = run_folder::read_plan(folder).map_err(refused)?;
            return Ok((run.defaults, None));
        };
        let run = run_folder::open(folder, Verification::Quick).map_err(refused)?;
        let left = (limit.get() as usize).saturating_sub(run.done_count());
        Ok((run.defaults, Some(left)))
    }

    fn pass_on(&self, event: AuditEvent, defaults: Option<&CellDefaults>) {
        if let Some(event) = translate(event, defaults, &self.record.run_id) {
            (self.tell)(event);
        }
    }
}

fn not_sent(error: &BucketRunError) -> AuditError {
    AuditError::Refused(format!(
        "the run is whole on the worker's disk but not in the bucket; ask for it again to send it: {error}"
    ))
}

fn engine_error(error: EngineError) -> AuditError {
    match error {
        EngineError::Cancelled => AuditError::Cancelled,
        EngineError::Failed(problem) => AuditError::Engine(problem),
    }
}

/// An event as it goes over the wire; `None` for the end, which is told when it is also recorded.
fn translate(
    event: AuditEvent,
    defaults: Option<&CellDefaults>,
    run_id: &RunId,
) -> Option<RunEvent> {
    let name = |key: &CellKey| defaults.map(|defaults| key.name(defaults));
    let phase = |phase: &str| RunEvent::Phase {
        phase: phase.to_owned(),
    };
    Some(match event {
        AuditEvent::Started {
            already_done, todo, ..
        } => RunEvent::Started {
            already_done,
            todo: todo.len(),
        },
        AuditEvent::CheckingWeights => phase("checking weights"),
        AuditEvent::Preparing => phase("encoding prompt and picture"),
        AuditEvent::Warning { text } => RunEvent::Warning { text },
        AuditEvent::Memory { lines } => RunEvent::Memory { lines },
        AuditEvent::Loading { quant } => RunEvent::Load { quant },
        AuditEvent::CellStarted { key } => RunEvent::CellStarted {
            cell: name(&key)?,
            steps: key.steps.value(),
        },
        AuditEvent::Step {
            key,
            index,
            total,
            preview,
        } => RunEvent::Step {
            cell: name(&key)?,
            index,
            total,
            preview: preview.as_ref().and_then(small_png),
        },
        AuditEvent::CellFinished { key, state } => {
            wire::cell_finished(run_id, &name(&key)?, &state)
        }
        AuditEvent::Finished(_) => return None,
    })
}

/// A picture as a small PNG in base64.
fn small_png(picture: &RgbImage) -> Option<String> {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    let png = if longest > PREVIEW_PX {
        let scaled = |side: u32| (side * PREVIEW_PX / longest).max(1);
        encode_rgb_png(&image::imageops::thumbnail(
            picture,
            scaled(width),
            scaled(height),
        ))
    } else {
        encode_rgb_png(picture)
    };
    match png {
        Ok(png) => Some(base64::engine::general_purpose::STANDARD.encode(png)),
        Err(error) => {
            tracing::warn!("a step goes without its preview: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_preview_is_small_and_keeps_its_shape() {
        for (size, expected) in [
            ((8, 6), (8, 6)),
            ((512, 384), (256, 192)),
            ((2000, 2), (256, 1)),
        ] {
            let text = small_png(&RgbImage::new(size.0, size.1)).unwrap();
            let png = base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap();
            let picture = image::load_from_memory(&png).unwrap();
            assert_eq!((picture.width(), picture.height()), expected);
        }
    }
}
