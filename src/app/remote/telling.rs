//! From what is told of a run elsewhere to the window's events: the same that a run on this machine tells.

use crate::app::effects::Outbox;
use crate::audit::run_folder;
use crate::model::cell::{CellDefaults, CellKey};
use crate::remote::client::{FollowEvent, Kind, RemoteNote};
use crate::remote::wire::{CellCounts, RunEvent, RunState, Status};
use crate::state::Event;
use crate::state::run_view::LiveRun;
use base64::Engine as _;
use image::RgbImage;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Steps that follow each other more quickly are not all shown.
const STEP_EVERY: Duration = Duration::from_millis(60);
/// The longest preview: a few tens of kilobytes are usual.
const MAX_PREVIEW_BYTES: usize = 4 << 20;

/// Tells the window of one run.
pub(super) struct Teller {
    outbox: Outbox,
    inner: Mutex<Inner>,
}

struct Inner {
    live: LiveRun,
    dir: Option<PathBuf>,
    defaults: Option<CellDefaults>,
    /// Cells that were tried before this go, once that is known.
    before: Option<usize>,
    /// The cell under way, by name: what the name means may only be known later.
    cell: Option<String>,
    started: Instant,
    last_step: Option<Instant>,
}

impl Teller {
    pub(super) fn new(outbox: Outbox, note: &RemoteNote) -> Self {
        let inner = Inner {
            live: LiveRun::starting(Some(short_name(note))),
            dir: None,
            defaults: None,
            before: None,
            cell: None,
            started: Instant::now(),
            last_step: None,
        };
        Self {
            outbox,
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each field is replaced whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Tells how far it is now.
    pub(super) fn tell_now(&self) {
        let event = {
            let mut inner = self.lock();
            inner.live.elapsed_secs = inner.started.elapsed().as_secs_f64();
            Event::RunProgress {
                dir: inner.dir.clone(),
                live: Box::new(inner.live.clone()),
            }
        };
        self.outbox.send(event);
    }

    /// Tells why times made there do not compare with production's.
    pub(super) fn caution(&self, sentence: String) {
        self.lock().live.caution = Some(sentence);
        self.tell_now();
    }

    /// The folder that the run is fetched into, by somebody else.
    pub(super) fn in_folder(&self, dir: PathBuf) {
        self.lock().dir = Some(dir);
    }

    /// Tells what keeps news from coming, or that nothing does any more.
    pub(super) fn trouble(&self, trouble: Option<String>) {
        self.lock().live.trouble = trouble;
        self.tell_now();
    }

    /// Tells how many cells there are.
    pub(super) fn counted(&self, phase: String, finished: usize, total: usize) {
        {
            let mut inner = self.lock();
            inner.live.phase = phase;
            (inner.live.finished, inner.live.total) = (finished, total);
        }
        self.tell_now();
    }

    /// Tells what is being done, in words.
    pub(super) fn phase(&self, phase: String) {
        self.lock().live.phase = phase;
        self.tell_now();
    }

    /// Tells an event.
    pub(super) fn tell(&self, event: FollowEvent) {
        match event {
            FollowEvent::Taken => "asked for".clone_into(&mut self.lock().live.phase),
            FollowEvent::Status(status) => self.lock().take_status(&status),
            FollowEvent::Planned { dir } => {
                self.planned(&dir);
                return;
            }
            FollowEvent::Cell { key, state } => {
                let dir = self.lock().dir.clone();
                if let Some(dir) = dir {
                    self.outbox.send(Event::CellEnded { dir, key, state });
                }
                return;
            }
            FollowEvent::Run(event) => {
                if !self.lock().take_event(event) {
                    return;
                }
            }
            FollowEvent::Waiting { why, for_secs } => {
                let trouble = format!("{why}, trying again in {for_secs} s");
                self.lock().live.trouble = Some(trouble);
            }
            FollowEvent::Connected => self.lock().live.trouble = None,
        }
        self.tell_now();
    }

    /// The run has a folder: it is opened, and its cells' names mean something.
    fn planned(&self, dir: &Path) {
        let plan = run_folder::read_plan(dir);
        let total = {
            let mut inner = self.lock();
            inner.dir = Some(dir.to_owned());
            inner.defaults = plan.ok().map(|run| run.defaults);
            inner.name_cell();
            inner.live.total
        };
        // Before it is opened, so that it is shown as the one under way.
        self.tell_now();
        self.outbox.send(Event::RunStarted {
            dir: dir.to_owned(),
            total,
        });
    }
}

impl Inner {
    fn take_status(&mut self, status: &Status) {
        let CellCounts {
            planned,
            done,
            failed,
            ..
        } = status.cells;
        let tried = done + failed;
        let before = *self.before.get_or_insert(tried);
        let wanted = status
            .max_variations
            .map_or(planned, |most| planned.min(most.get() as usize));
        self.live.finished = tried.saturating_sub(before);
        self.live.total = wanted.saturating_sub(before);
        self.live.is_cancelling = status.is_cancelling;
        self.live.phase = match (status.state, status.queue_position) {
            (RunState::Queued, Some(place)) => format!("waiting there, place {place}"),
            (RunState::Queued, None) => "waiting there".to_owned(),
            _ => status
                .phase
                .clone()
                .unwrap_or_else(|| "fetching its files".to_owned()),
        };
        let cell = status.cell.as_ref();
        (self.live.step, self.live.steps) = cell.map_or((0, 0), |cell| (cell.step, cell.steps));
        self.set_cell(cell.map(|cell| cell.name.clone()));
    }

    fn set_cell(&mut self, name: Option<String>) {
        if self.cell != name {
            self.live.preview = None;
        }
        self.cell = name;
        self.name_cell();
    }

    fn name_cell(&mut self) {
        self.live.cell = match (&self.cell, &self.defaults) {
            (Some(name), Some(defaults)) => CellKey::parse(name, defaults),
            _ => None,
        };
    }

    /// `false` if it is not worth showing.
    fn take_event(&mut self, event: RunEvent) -> bool {
        match event {
            RunEvent::Started { already_done, todo } => {
                self.before = Some(already_done);
                self.started = Instant::now();
                self.live.finished = 0;
                self.live.total = todo;
            }
            RunEvent::Phase { phase } => self.live.phase = phase,
            RunEvent::Load { quant } => self.live.phase = format!("loading {quant}"),
            RunEvent::CellStarted { cell, steps } => {
                self.live.phase = format!("filling {cell}");
                (self.live.step, self.live.steps) = (0, steps as usize);
                self.set_cell(Some(cell));
            }
            RunEvent::Step {
                cell,
                index,
                total,
                preview,
            } => {
                (self.live.step, self.live.steps) = (index, total);
                self.set_cell(Some(cell));
                if let Some(preview) = preview.as_deref().and_then(picture) {
                    self.live.preview = Some(Arc::new(preview));
                }
                let now = Instant::now();
                if self.last_step.is_some_and(|last| now - last < STEP_EVERY) {
                    return false;
                }
                self.last_step = Some(now);
            }
            RunEvent::CellFinished { .. } => {
                self.live.finished += 1;
                self.live.step = 0;
                self.set_cell(None);
            }
            // The cells keep their warnings; a snapshot comes as a status, and the end by itself.
            RunEvent::Warning { .. }
            | RunEvent::Memory { .. }
            | RunEvent::Snapshot(_)
            | RunEvent::End { .. } => return false,
        }
        true
    }
}

/// Who makes a run, short enough for a line: an address, or a job without where it is.
fn short_name(note: &RemoteNote) -> String {
    match (note.kind, note.worker.rsplit('/').next()) {
        (Kind::Job, Some(job)) => format!("job {job}"),
        _ => note.worker.clone(),
    }
}

/// A preview's pixels; `None` if they cannot be read.
fn picture(base64: &str) -> Option<RgbImage> {
    if base64.len() > MAX_PREVIEW_BYTES {
        return None;
    }
    let png = base64::engine::general_purpose::STANDARD
        .decode(base64)
        .ok()?;
    let picture = image::load_from_memory_with_format(&png, image::ImageFormat::Png).ok()?;
    Some(picture.into_rgb8())
}
