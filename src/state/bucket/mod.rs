//! Runs in the bucket as the window knows them: the inbox, what is being fetched and sent, what both sides
//! changed, what waits for the network, and the settings of storage. No network and no files here: all of
//! it is asked for by [`BucketEffect`]s.
//!
//! | file | job |
//! |---|---|
//! | [`inbox`] | the list of runs: rows, order, search, age |
//! | [`transfer`] | a run that is fetched or sent |
//! | [`choices`] | files that both sides changed, and what a person decides |
//! | [`form`] | the settings of storage as they are typed |

pub mod choices;
pub mod form;
pub mod inbox;
pub mod transfer;
mod update;

pub(super) use update::{after_update, list, on_command, on_event, on_msg, pull_run, stop_for};

use crate::model::cell::CellKey;
use crate::model::run::Run;
use choices::{Choice, Choices, ConflictRow, ConflictView};
use form::{CheckLine, StorageForm, StorageView};
use inbox::{InboxListing, InboxSort, InboxView};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use transfer::{Moved, PullOutcome, PullRequest, PullView, PushOutcome, PushRequest, PushView};

/// Everything about the bucket that the window shows.
#[derive(Debug, Default)]
pub struct BucketView {
    /// The list of runs.
    pub inbox: InboxView,
    /// The run that is being fetched, or was last.
    pub pull: Option<PullView>,
    /// The run that is being sent.
    pub push: Option<PushView>,
    /// Files that wait for a decision, on screen.
    pub conflicts: Option<ConflictView>,
    /// Runs that wait on disk for the network.
    pub queue: Vec<QueuedRow>,
    /// Whether they are being sent.
    pub is_sending_queue: bool,
    /// The settings.
    pub settings: StorageView,
}

impl BucketView {
    /// The files of a run's folder that are in the bucket and not here yet.
    pub fn lacking_of(&self, dir: &Path) -> BTreeSet<String> {
        match &self.pull {
            Some(pull) if pull.request.dir == dir => pull.pending.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// Whether the run in this folder is being fetched.
    pub fn is_fetching(&self, dir: &Path) -> bool {
        let pull = self.pull.as_ref();
        pull.is_some_and(|pull| pull.is_running() && pull.request.dir == dir)
    }
}

/// A run that waits on disk until there is a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRow {
    /// Its folder.
    pub dir: PathBuf,
    /// Where it goes: `gs://bucket/audit/run/`.
    pub place: String,
    /// Since when, in seconds since 1970.
    pub queued_secs: i64,
}

/// What a panel says.
#[derive(Debug, Clone)]
pub enum BucketMsg {
    /// The inbox' search was changed.
    SetSearch(String),
    /// A column's head was clicked: sort by it, or the other way round.
    SortBy(InboxSort),
    /// What is typed into the address field.
    SetAddress(String),
    /// Open what an address names: a run, a session, or a folder.
    OpenAddress(String),
    /// Open a run of the list by its id.
    OpenRow(String),
    /// A row was marked.
    SelectRow(String),
    /// Pictures of these keys are on screen and not there yet.
    NeedThumbnails(Vec<String>),
    /// These cells of the open run are on screen.
    Visible(Vec<CellKey>),
    /// Stop fetching; what has arrived stays.
    StopPull,
    /// Fetch the rest.
    ResumePull,
    /// Stop sending; what was sent stays.
    StopPush,
    /// Decide about a file.
    Choose(String, Choice),
    /// Decide the same about all files on screen.
    ChooseAll(Choice),
    /// Carry the decisions out.
    Decide,
    /// Leave everything as it is for now.
    DecideLater,
    /// The form was changed.
    SetForm(Box<StorageForm>),
    /// Write the form to its file.
    SaveForm,
    /// Take back what was typed.
    RevertForm,
    /// Check credentials, bucket, permissions and clock with the form's values.
    Check,
}

/// What comes back from the background.
#[derive(Debug, Clone)]
pub enum BucketEvent {
    /// The settings were read, or why not.
    ConfigRead(Result<ConfigRead, String>),
    /// The settings were written, or why not.
    ConfigSaved(Result<ConfigRead, String>),
    /// What the doctor found.
    Checked(u64, Vec<CheckLine>),
    /// Runs were listed.
    Listed(u64, Box<InboxListing>),
    /// A small picture is there, by its key, or why not.
    Thumbnail(String, Result<PathBuf, String>),
    /// An address names a run.
    AddressIsRun {
        /// The bucket, if it is not the configured one.
        bucket: Option<String>,
        /// The run.
        run_id: String,
    },
    /// An address names a folder on this machine.
    AddressIsFolder(PathBuf),
    /// An address named a session, which was fetched into this folder.
    SessionFetched(PathBuf),
    /// An address could not be used.
    AddressRefused(String),
    /// The files of a run are known.
    PullListed {
        /// Which pull.
        job: u64,
        /// File names with their sizes in bytes.
        files: Vec<(String, u64)>,
        /// That the list is an old one, and how old.
        offline: Option<String>,
        /// The run has no report yet.
        is_in_progress: bool,
    },
    /// Files have arrived.
    PullMoved(u64, Box<Moved>),
    /// The folder that is being filled was read.
    PullRead {
        /// Which pull.
        job: u64,
        /// The folder.
        dir: PathBuf,
        /// What is there so far.
        run: Box<Run>,
    },
    /// A pull has ended.
    PullEnded(u64, Result<PullOutcome, String>),
    /// Files were sent.
    PushMoved(u64, Box<Moved>),
    /// A push has ended.
    PushEnded(u64, Result<PushOutcome, String>),
    /// What waits for the network.
    Queue(Vec<QueuedRow>),
    /// Waiting runs were sent: a sentence for each, and whether it went up.
    QueueSent(Vec<(String, bool)>),
}

/// The settings of storage as they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigRead {
    /// The values.
    pub form: StorageForm,
    /// The file that they stand in; `None` where nothing is kept.
    pub path: Option<PathBuf>,
    /// Which credentials would be used, by kind; never a secret.
    pub credentials_words: String,
    /// The bucket that the command line names in place of the file's.
    pub bucket_override: Option<String>,
    /// Whether a bucket is configured at all.
    pub has_bucket: bool,
}

/// What the window cannot do itself.
#[derive(Debug, Clone, PartialEq)]
pub enum BucketEffect {
    /// Read the settings.
    ReadConfig,
    /// Write the settings.
    SaveConfig(Box<StorageForm>),
    /// Check everything with these settings.
    Check(u64, Box<StorageForm>),
    /// List runs on disk and in the bucket.
    List {
        /// Comes back with the list.
        job: u64,
        /// Where runs are kept on disk.
        runs_dir: PathBuf,
        /// Whose verdicts count.
        reviewer: String,
    },
    /// Make small pictures.
    Thumbnails(Vec<String>),
    /// Find out what an address names.
    Resolve {
        /// What was typed or pasted.
        address: String,
        /// Where a session is put.
        sessions_dir: PathBuf,
    },
    /// Fetch a run.
    Pull(PullRequest),
    /// Stop fetching.
    StopPull,
    /// Fetch these files first, in this order.
    ShowFirst(Vec<String>),
    /// Send a run.
    Push(PushRequest),
    /// Stop sending.
    StopPush,
    /// Send what waits for the network.
    SendQueue,
    /// Look what waits for the network.
    ListQueue,
}

/// Decisions as they go back to the background, with the generations that they were made about.
pub(super) fn choices_of(rows: &[ConflictRow]) -> Choices {
    rows.iter()
        .filter_map(|row| Some((row.file.clone(), (row.choice?, row.their_generation))))
        .collect()
}
