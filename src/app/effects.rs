//! Performs effects: files and runs on threads of their own; what comes of them is sent as events.

use super::dialogs::{FileDialogs, SystemDialogs};
use super::lab_effects;
use crate::audit::run_folder::{self, Verification};
use crate::model::run::{CellState, Run};
use crate::state::settings::Settings;
use crate::state::{Effect, Event, FolderFor, InboxEntry};
use crate::ui::canvas::{DecodedImage, ImageSource};
use eframe::egui;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What the application needs from outside; tests give their own.
pub struct Services {
    /// Asks for folders and files.
    pub dialogs: Arc<dyn FileDialogs>,
    /// Weights to use where the settings name none.
    pub default_models_dir: Option<PathBuf>,
    /// Session that a new form starts with.
    pub default_session_dir: Option<PathBuf>,
    /// Overrides of the stored settings, such as the command line's.
    pub runs_dir: Option<PathBuf>,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            dialogs: Arc::new(SystemDialogs),
            default_models_dir: None,
            default_session_dir: None,
            runs_dir: None,
        }
    }
}

impl Services {
    /// Fills what the settings leave open.
    pub fn fill_in(&self, settings: &mut Settings) {
        if settings.models_dir.is_empty()
            && let Some(dir) = &self.default_models_dir
        {
            settings.models_dir = dir.display().to_string();
        }
        if let Some(dir) = &self.runs_dir {
            settings.runs_dir = dir.display().to_string();
        }
        if settings.reviewer.is_empty() {
            settings.reviewer = std::env::var("USER").unwrap_or_else(|_| "reviewer".to_owned());
        }
    }
}

/// Performs effects and sends events.
pub struct Performer {
    services: Services,
    sender: Sender<Event>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// Sends an event, then asks for a repaint, in this order.
#[derive(Clone)]
pub struct Outbox {
    sender: Sender<Event>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Outbox {
    /// Sends an event to the window.
    pub fn send(&self, event: Event) {
        // A closed window needs no event.
        let _ = self.sender.send(event);
        (self.wake)();
    }
}

impl Performer {
    /// A performer and the events that it will send.
    pub fn new(services: Services, wake: Arc<dyn Fn() + Send + Sync>) -> (Self, Receiver<Event>) {
        let (sender, events) = channel();
        (
            Self {
                services,
                sender,
                wake,
            },
            events,
        )
    }

    fn outbox(&self) -> Outbox {
        Outbox {
            sender: self.sender.clone(),
            wake: Arc::clone(&self.wake),
        }
    }

    /// Names of the devices of this machine.
    pub fn devices(&self) -> Vec<String> {
        vec!["cpu".to_owned()]
    }

    /// Does what an effect says; never waits.
    pub fn perform(&mut self, effect: Effect, settings: &Settings) {
        let _ = settings;
        let outbox = self.outbox();
        match effect {
            Effect::OpenRun(dir) => spawn(&outbox.clone(), "open a run", move || {
                let result = run_folder::open(&dir, Verification::Quick)
                    .map(Box::new)
                    .map_err(|error| error.to_string());
                outbox.send(Event::RunOpened { dir, result });
            }),
            Effect::LoadRunMask {
                dir,
                generation,
                document,
            } => {
                spawn(&outbox.clone(), "read a mask", move || {
                    let result = lab_effects::run_mask(&dir, &document).map(Arc::new);
                    outbox.send(Event::RunMask {
                        dir,
                        generation,
                        result,
                    });
                });
            }
            Effect::ListInbox(dir) => spawn(&outbox.clone(), "list runs", move || {
                outbox.send(Event::InboxListed(list_runs(&dir)));
            }),
            Effect::ChooseFolder(purpose) => {
                let dialogs = Arc::clone(&self.services.dialogs);
                spawn(&outbox.clone(), "ask for a folder", move || {
                    let title = match purpose {
                        FolderFor::Run => "Open a run",
                        FolderFor::Session => "The session to fill",
                        FolderFor::Models => "The folder of weights",
                        FolderFor::Runs => "Where runs are kept",
                    };
                    if let Some(dir) = dialogs.pick_folder(title) {
                        outbox.send(Event::FolderChosen(purpose, dir));
                    }
                });
            }
            Effect::EstimateRun(_)
            | Effect::StartRun(_)
            | Effect::ResumeRun { .. }
            | Effect::CancelRun
            | Effect::ExportSheet(_)
            | Effect::AppendEvents { .. }
            | Effect::ReadJournals(_)
            | Effect::ExportReview { .. }
            | Effect::ExportView
            | Effect::Quit => {}
        }
    }

    /// What asks where to, and writes the window's picture there.
    pub fn view_saver(&self, name: &str) -> impl FnOnce(Arc<egui::ColorImage>) + Send + 'static {
        let outbox = self.outbox();
        let dialogs = Arc::clone(&self.services.dialogs);
        let suggested = format!("{name}.png");
        move |picture| {
            spawn(&outbox.clone(), "save the view", move || {
                let Some(path) = dialogs.save_file("Export this view", &suggested) else {
                    return;
                };
                let [width, height] = picture.size.map(|side| side as u32);
                let bytes: Vec<u8> = picture
                    .pixels
                    .iter()
                    .flat_map(|pixel| pixel.to_array())
                    .collect();
                let saved = image::RgbaImage::from_raw(width, height, bytes)
                    .ok_or_else(|| "the picture has no pixels".to_owned())
                    .and_then(|picture| picture.save(&path).map_err(|error| error.to_string()));
                outbox.send(match saved {
                    Ok(()) => Event::Note(format!("written: {}", path.display())),
                    Err(problem) => {
                        Event::Problem(format!("view not written: {problem}: {}", path.display()))
                    }
                });
            });
        }
    }
}

/// Runs a job on a thread of its own, or says that it could not.
fn spawn(outbox: &Outbox, name: &str, job: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(job) {
        outbox.send(Event::Problem(format!("no thread to {name}: {error}")));
    }
}

/// The runs in a folder, newest first. Folders that hold no run are passed over.
pub fn list_runs(dir: &Path) -> Vec<InboxEntry> {
    let Ok(folders) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut entries: Vec<InboxEntry> = folders
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .filter_map(|path| {
            let run = run_folder::open(&path, Verification::Quick).ok()?;
            Some(inbox_entry(path, &run))
        })
        .collect();
    entries.sort_by(|a, b| b.run_id.cmp(&a.run_id));
    entries
}

fn inbox_entry(dir: PathBuf, run: &Run) -> InboxEntry {
    use crate::model::run::files;
    let failed = run
        .cells
        .values()
        .filter(|state| matches!(state, CellState::Failed { .. }))
        .count();
    let first_done = run
        .cells
        .iter()
        .find(|(_, state)| matches!(state, CellState::Done(_)));
    InboxEntry {
        run_id: run.run_id.to_string(),
        session: run.session.as_ref().map(ToString::to_string),
        done: run.done_count(),
        total: run.cells.len(),
        failed,
        unreviewed: run.done_count(),
        is_finished: dir.join(files::REPORT).is_file(),
        thumbnail: first_done.map(|(key, _)| dir.join(files::composite(&run.cell_name(key)))),
        dir,
    }
}

/// Turns a source into pixels for the canvas. Called on the canvas' own threads.
///
/// # Errors
/// Why the picture cannot be shown, naming it.
pub fn decode(source: &ImageSource) -> Result<DecodedImage, String> {
    crate::ui::canvas::decode_with_image_crate(source)
}
