//! What the window shows and what may happen to it: state, messages, effects. No egui here.
//!
//! Views read [`AppState`] and send [`Msg`]s; [`update()`] is the one place that changes it, and what
//! it cannot do itself (files, threads, dialogs) it hands back as [`Effect`]s.

pub mod approving;
pub mod bucket;
pub mod command;
pub mod compose;
pub mod judging;
pub mod lab;
pub mod look;
pub mod named_session;
pub mod pivot;
pub mod remote;
pub mod run_masks;
pub mod run_view;
mod running;
pub mod seeing;
pub mod settings;
mod shortcut;
mod update;
mod update_judging;

pub use update::update;

use crate::model::approved::StagedApproval;
use crate::model::cell::CellKey;
use crate::model::ids::SessionId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::review::event::{Event as ReviewEvent, EventId, Mark};
use crate::model::review::export::Format;
use crate::model::review::select::{Filter, SortBy};
use crate::model::run::{CellState, Run, RunDocument};
use bucket::{BucketEffect, BucketEvent, BucketMsg, BucketView};
use command::Command;
use compose::{ComposeForm, Estimate, FieldProblem, RunRequest};
use judging::{EventSource, MarksShown, SystemSource};
use lab::mask_field::MaskField;
use lab::rerun::ExtendRun;
use lab::{LabEffect, LabEvent, LabMsg, LabView};
use look::Look;
use named_session::Named;
use pivot::Pivot;
use remote::{RemoteEffect, RemoteEvent, RemoteMsg, RemoteView};
use run_view::{LiveRun, RunView};
use seeing::{SeeEffect, SeeEvent, SeeMsg};
use settings::Settings;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The five pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Page {
    /// Runs to open.
    #[default]
    Inbox,
    /// The open run.
    Run,
    /// Mask tuning.
    MaskLab,
    /// Composing a run.
    Compose,
    /// Settings.
    Settings,
}

impl Page {
    /// All pages in the order of the tab bar.
    pub const ALL: [Self; 5] = [
        Self::Inbox,
        Self::Run,
        Self::MaskLab,
        Self::Compose,
        Self::Settings,
    ];
}

/// A message that stays until it is dealt with, or fades.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toast {
    /// What it says.
    pub text: String,
    /// Whether it is about something that was lost or failed; such a one stays until it is closed.
    pub is_error: bool,
    /// To tell two of the same text apart.
    pub id: u64,
}

/// A run that is being made.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its folder; `None` until it has one.
    pub dir: Option<PathBuf>,
    /// How far it is.
    pub live: LiveRun,
}

/// Everything that the window shows.
pub struct AppState {
    /// The page in front.
    pub page: Page,
    /// The open run.
    pub run: Option<RunView>,
    /// A run that is being read, by its folder.
    pub opening: Option<PathBuf>,
    /// The run that is being made, here or elsewhere, whichever is open.
    pub running: Option<Running>,
    /// What the disk refused and is kept in memory: by the run's folder, how many events and the message
    /// about them.
    pub unwritten: BTreeMap<PathBuf, (usize, u64)>,
    /// Whether the window was to be closed while something was unwritten.
    pub was_close_refused: bool,
    /// The list of runs, and everything about the bucket.
    pub bucket: BucketView,
    /// Everything about runs that are made elsewhere.
    pub remote: RemoteView,
    /// The session in the mask lab.
    pub lab: Option<LabView>,
    /// The session that is being read for the lab, by its opening.
    pub lab_opening: Option<u64>,
    /// Cells of the run under way that have ended, by its folder: what was read of it before does not know.
    pub ended_cells: Vec<(PathBuf, CellKey, CellState)>,
    /// Whether cells are to be run again once the run under way has ended.
    pub rerun_waits: bool,
    /// The form of a new run.
    pub compose: ComposeForm,
    /// What keeps the form from being a run.
    pub compose_problems: Vec<FieldProblem>,
    /// How long the composed run may take.
    pub estimate: Option<Estimate>,
    /// Devices that this machine has, by name: `cpu`, `cuda:0`.
    pub devices: Vec<String>,
    /// Messages.
    pub toasts: Vec<Toast>,
    /// Whether the help page is open.
    pub is_help_open: bool,
    /// Whether the palette is open.
    pub is_palette_open: bool,
    /// Whether the left panel is out.
    pub is_left_folded: bool,
    /// Whether the right panel is out.
    pub is_right_folded: bool,
    /// What is kept between sessions of the program.
    pub settings: Settings,
    /// Where event ids and times come from.
    pub source: Box<dyn EventSource>,
    next_id: u64,
}

/// What may happen.
#[derive(Debug, Clone)]
pub enum Msg {
    /// A person asked for something.
    Command(Command),
    /// Something in the background ended.
    Event(Event),
    /// A cell was clicked.
    Select(CellKey),
    /// A panel changed how pictures are looked at.
    SetLook(Box<Look>),
    /// A panel changed rows, columns, pages or hidden values.
    SetPivot(Box<Pivot>),
    /// The form was changed.
    SetCompose(Box<ComposeForm>),
    /// A run is to be opened.
    Open(PathBuf),
    /// The reference key was pressed or let go.
    HoldReference(bool),
    /// A message was closed.
    CloseToast(u64),
    /// A folder is to be chosen.
    ChooseFolder(FolderFor),
    /// The settings were changed.
    SetSettings(Box<Settings>),
    /// Something about verdicts.
    Judge(JudgeMsg),
    /// Something in the mask lab.
    Lab(LabMsg),
    /// Something about the list of runs or the bucket.
    Bucket(BucketMsg),
    /// Something about runs that are made elsewhere.
    Remote(RemoteMsg),
    /// Something about the approval on screen.
    Approve(approving::ApproveMsg),
    /// Somebody wants to close the window.
    CloseRequested,
    /// Something about how the run is looked at.
    See(SeeMsg),
}

/// What a panel says about verdicts; keys are [`Command`]s.
#[derive(Debug, Clone)]
pub enum JudgeMsg {
    /// A cell was shown large enough to be judged.
    Seen(CellKey),
    /// The note on a cell was changed.
    Note(CellKey, String),
    /// A box or point was drawn.
    AddMark(CellKey, Mark),
    /// A box or point was taken away.
    RemoveMark(CellKey, EventId),
    /// Conditions on the cells that are shown.
    SetFilters(Vec<Filter>),
    /// What the cells are sorted by.
    SetSort(SortBy),
    /// Pictures at a time in the next blind comparison.
    SetBlindTogether(usize),
    /// Begin a blind comparison of these cells.
    BeginBlind(Vec<CellKey>),
    /// Show which picture was which.
    Reveal,
    /// Leave the blind comparison; its votes stay.
    CloseBlind,
    /// Which boxes and points are drawn over a cell.
    ShowMarks(MarksShown),
    /// Write the review to a file.
    Export(Format),
}

/// What ended in the background.
#[derive(Debug, Clone)]
pub enum Event {
    /// A run was read.
    RunOpened {
        /// Its folder.
        dir: PathBuf,
        /// The run, or why it could not be read.
        result: Result<Box<Run>, String>,
    },
    /// The mask of an open run was read and measured.
    RunMask {
        /// The run's folder.
        dir: PathBuf,
        /// The opening that asked for it, [`RunView::generation`].
        generation: u64,
        /// What cleaned it.
        recipe: Box<MaskRecipe>,
        /// The field, or why there is none.
        result: Result<Arc<MaskField>, String>,
    },
    /// The session of a run without one of its own was read.
    SessionNamed {
        /// The run's folder.
        run: PathBuf,
        /// The opening that asked for it, [`RunView::generation`].
        generation: u64,
        /// The session; `None` if nobody named one yet; or why it cannot be used.
        result: Result<Option<Box<Named>>, String>,
    },
    /// Something of the mask lab ended.
    Lab(LabEvent),
    /// A second run or figures came.
    See(SeeEvent),
    /// Something about the list of runs or the bucket ended.
    Bucket(BucketEvent),
    /// Something about runs that are made elsewhere.
    Remote(RemoteEvent),
    /// A folder was chosen.
    FolderChosen(FolderFor, PathBuf),
    /// A run made its folder and begins.
    RunStarted {
        /// Its folder.
        dir: PathBuf,
        /// Cells of this go.
        total: usize,
    },
    /// How far the run is.
    RunProgress {
        /// Its folder; `None` until it has one.
        dir: Option<PathBuf>,
        /// How far.
        live: Box<LiveRun>,
    },
    /// A cell has ended.
    CellEnded {
        /// The run's folder.
        dir: PathBuf,
        /// The cell.
        key: CellKey,
        /// What became of it.
        state: Box<CellState>,
    },
    /// The run has ended.
    RunEnded {
        /// Its folder; `None` if it never had one.
        dir: Option<PathBuf>,
        /// A sentence, or what went wrong.
        result: Result<String, String>,
    },
    /// Journals of a run were read, at its opening or because they have grown.
    JournalsRead {
        /// The run's folder.
        dir: PathBuf,
        /// What stands in them.
        events: Vec<ReviewEvent>,
        /// Lines that could not be read.
        warnings: Vec<String>,
    },
    /// Events are on disk, and may be drawn.
    EventsWritten {
        /// The run's folder.
        dir: PathBuf,
        /// The events.
        events: Vec<ReviewEvent>,
        /// Events that still wait for the disk.
        waiting: usize,
    },
    /// Events could not be written; they are kept in memory and tried again.
    EventsNotWritten {
        /// The run's folder.
        dir: PathBuf,
        /// The events.
        events: Vec<ReviewEvent>,
        /// Why.
        problem: String,
        /// Events that wait for the disk, these included.
        waiting: usize,
    },
    /// What an approval needs was read.
    ApprovalRead {
        /// The run's folder.
        dir: PathBuf,
        /// The run as it lies there, every picture held against its hash.
        run: Box<Run>,
        /// The picked cell.
        cell: CellKey,
        /// Where the settings are to be written.
        path: PathBuf,
        /// The current file, if there is one.
        current: Option<String>,
        /// SHA-256 of the picture.
        image_sha256: Option<String>,
    },
    /// The approved settings were written, or were not.
    ApprovalWritten {
        /// The run's folder.
        dir: PathBuf,
        /// Where they were to be written.
        path: PathBuf,
        /// What was to be written.
        staged: Box<StagedApproval>,
        /// A sentence, or what went wrong.
        result: Result<String, String>,
    },
    /// How long the composed run may take.
    Estimated {
        /// What was asked for: the form may ask for something else by now.
        request: Box<RunRequest>,
        /// How long it may take; `None` if that cannot be said.
        estimate: Option<Estimate>,
    },
    /// Something worked, and is worth saying.
    Note(String),
    /// Something was lost or failed.
    Problem(String),
}

/// What a chosen folder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderFor {
    /// Open it as a run.
    Run,
    /// Open it as a second run beside the open one.
    OtherRun,
    /// The session that the open run was made of; with that opening, [`RunView::generation`].
    OpenRun(u64),
    /// The form's session.
    Session,
    /// The form's weights.
    Models,
    /// Where runs are kept.
    Runs,
    /// The session to open in the lab.
    Lab,
    /// Where to save the lab's session.
    LabSession,
}

/// What [`update()`] cannot do itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Read a run.
    OpenRun(PathBuf),
    /// Read and measure the mask of an open run.
    LoadRunMask {
        /// The run's folder.
        dir: PathBuf,
        /// Comes back with the result.
        generation: u64,
        /// Where the mask lies.
        document: Box<RunDocument>,
        /// What it is cleaned by.
        recipe: Box<MaskRecipe>,
    },
    /// Read the session of a run that has none of its own: as it was named before, or is named now.
    NameSession {
        /// The run's folder.
        run: PathBuf,
        /// Comes back with the result.
        generation: u64,
        /// One of the run's pictures, to tell the session of another photograph.
        picture: Option<PathBuf>,
        /// The session that the run's report names, if it does.
        reported: Option<SessionId>,
        /// The session's folder if it is named now.
        session: Option<PathBuf>,
    },
    /// Something for the mask lab.
    Lab(LabEffect),
    /// A second run, or figures.
    See(SeeEffect),
    /// Run cells of a run again with another recipe.
    ExtendRun(Box<ExtendRun>),
    /// Something for the list of runs or the bucket.
    Bucket(BucketEffect),
    /// Something for runs that are made elsewhere.
    Remote(RemoteEffect),
    /// Ask for a folder.
    ChooseFolder(FolderFor),
    /// Estimate a run's time.
    EstimateRun(Box<RunRequest>),
    /// Start a run.
    StartRun(Box<RunRequest>),
    /// Run what is missing of a run.
    ResumeRun {
        /// The run's folder.
        dir: PathBuf,
        /// The folder of weights.
        models_dir: PathBuf,
    },
    /// Ask the run under way to stop.
    CancelRun,
    /// Append events to the reviewer's journal, in this order.
    AppendEvents {
        /// The run's folder.
        dir: PathBuf,
        /// The events.
        events: Vec<ReviewEvent>,
    },
    /// Read what an approval needs: the current settings, the picture's hash.
    ReadForApproval {
        /// The run's folder.
        dir: PathBuf,
        /// The picked cell.
        cell: CellKey,
        /// Where the settings are to be written.
        path: PathBuf,
    },
    /// Write approved settings and fill in the report.
    WriteApproval {
        /// The run's folder.
        dir: PathBuf,
        /// Where.
        path: PathBuf,
        /// What.
        staged: Box<StagedApproval>,
    },
    /// Read a run's journals, and again when they grow.
    ReadJournals(PathBuf),
    /// Write the review to a file.
    ExportReview {
        /// The suggested file name.
        name: String,
        /// The whole text.
        text: String,
    },
    /// Write the window's picture to a file.
    ExportView,
    /// Write the run's contact sheet.
    ExportSheet(PathBuf),
    /// Close the window.
    Quit,
}

impl AppState {
    /// The state at start.
    pub fn new(settings: Settings) -> Self {
        let settings = settings.sane();
        let compose = ComposeForm {
            runs_dir: settings.runs_dir.clone(),
            models_dir: settings.models_dir.clone(),
            place: settings.place,
            worker: settings.worker.clone(),
            user: settings.worker_user.clone(),
            job_project: settings.job_project.clone(),
            job_region: settings.job_region.clone(),
            job_name: settings.job_name.clone(),
            ..ComposeForm::default()
        };
        Self {
            page: Page::Inbox,
            run: None,
            opening: None,
            bucket: BucketView::default(),
            remote: RemoteView::default(),
            lab: None,
            lab_opening: None,
            running: None,
            unwritten: BTreeMap::new(),
            was_close_refused: false,
            ended_cells: Vec::new(),
            rerun_waits: false,
            compose,
            compose_problems: Vec::new(),
            estimate: None,
            devices: vec!["cpu".to_owned()],
            toasts: Vec::new(),
            is_help_open: false,
            is_palette_open: false,
            is_left_folded: false,
            is_right_folded: false,
            settings,
            source: Box::new(SystemSource),
            next_id: 0,
        }
    }

    /// Adds a message.
    pub fn toast(&mut self, text: impl Into<String>, is_error: bool) {
        self.next_id += 1;
        let text = text.into();
        self.toasts.retain(|toast| toast.text != text);
        self.toasts.push(Toast {
            text,
            is_error,
            id: self.next_id,
        });
    }

    /// Whether a run is open whose session is known: its own, or one that was named.
    pub fn has_run_with_session(&self) -> bool {
        self.run.as_ref().is_some_and(RunView::has_session)
    }

    /// Whether a run of this program is open.
    pub fn has_own_run(&self) -> bool {
        self.run
            .as_ref()
            .is_some_and(|view| view.run.document().is_some())
    }

    /// Whether closing the window now would lose verdicts without anybody having said so.
    pub fn would_lose_verdicts(&self) -> bool {
        !self.unwritten.is_empty() && !self.was_close_refused
    }

    /// Shows how far the run is, if it is the open one.
    pub(super) fn show_running(&mut self) {
        let Some(view) = &mut self.run else { return };
        let running = self.running.as_ref();
        let own = running.filter(|running| running.dir.as_ref() == Some(&view.dir));
        view.live = own.map(|running| running.live.clone());
    }

    /// Whether a run is being made.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }
}
