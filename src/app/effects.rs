//! Performs effects: files and runs on threads of their own; what comes of them is sent as events.

use super::bucket::{BucketThread, StorageServices};
use super::dialogs::{FileDialogs, SystemDialogs};
use super::estimating;
use super::executor::Executor;
use super::figures_thread::FiguresThread;
use super::journal_thread::JournalThread;
use super::lab_effects::{self, LabThread};
use super::named_session;
use super::remote::{RemoteRunner, RemoteServices};
use super::runner::{EngineFactory, RunJob, Runner};
use crate::audit::run_folder::{self, Verification};
use crate::audit::{ExtendRequest, approval, hash};
use crate::model::cell::CellKey;
use crate::model::run::{CellState, Run};
use crate::state::lab::rerun::ExtendRun;
use crate::state::lab::{LabEffect, LabEvent};
use crate::state::remote::{Place, RemoteEffect};
use crate::state::seeing::{SeeEffect, SeeEvent};
use crate::state::settings::Settings;
use crate::state::{Effect, Event, FolderFor};
use crate::ui::canvas::{Ahead, Badge, DecodedImage, ImageSource};
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
    /// Where approved settings are written, in place of the stored path.
    pub phase1_path: Option<PathBuf>,
    /// Who reviews, in place of the stored name.
    pub reviewer: Option<String>,
    /// Makes the engine that fills cells.
    pub engines: Arc<EngineFactory>,
    /// Settings, bucket, cache and queue of storage.
    pub storage: StorageServices,
    /// Tokens of workers, and how long things may take there.
    pub remote: RemoteServices,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            dialogs: Arc::new(SystemDialogs),
            default_models_dir: None,
            default_session_dir: None,
            runs_dir: None,
            phase1_path: None,
            reviewer: None,
            engines: Arc::new(super::runner::pipeline_engine),
            storage: StorageServices::default(),
            remote: RemoteServices::default(),
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
        if let Some(path) = &self.phase1_path {
            settings.phase1_path = path.display().to_string();
        }
        if let Some(name) = &self.reviewer {
            settings.reviewer.clone_from(name);
        }
        if settings.reviewer.is_empty() {
            settings.reviewer = std::env::var("USER").unwrap_or_else(|_| "reviewer".to_owned());
        }
    }
}

/// Performs effects and sends events.
pub struct Performer {
    services: Services,
    outbox: Outbox,
    journal: JournalThread,
    runner: Runner,
    remote: RemoteRunner,
    /// Whether the run under way is made elsewhere.
    is_elsewhere: bool,
    lab: LabThread,
    figures: FiguresThread,
    bucket: BucketThread,
    ahead: Ahead,
    /// The run that was opened last: its pictures are known.
    opened: Option<PathBuf>,
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
    /// A performer and the events that it will send. `ahead` gets the pictures of a run that is opened.
    pub fn new(
        services: Services,
        wake: Arc<dyn Fn() + Send + Sync>,
        ahead: Ahead,
    ) -> (Self, Receiver<Event>) {
        let (sender, events) = channel();
        let outbox = Outbox { sender, wake };
        let journal = JournalThread::start(outbox.clone());
        let runner = Runner::start(outbox.clone(), Arc::clone(&services.engines));
        let elsewhere = RemoteServices {
            storage: services.storage.clone(),
            ..services.remote.clone()
        };
        let remote = RemoteRunner::new(elsewhere, outbox.clone());
        let lab = LabThread::default();
        let figures = FiguresThread::default();
        let bucket = BucketThread::new(services.storage.clone());
        (
            Self {
                services,
                outbox,
                journal,
                runner,
                remote,
                is_elsewhere: false,
                lab,
                figures,
                bucket,
                ahead,
                opened: None,
            },
            events,
        )
    }

    fn outbox(&self) -> Outbox {
        self.outbox.clone()
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
            Effect::OpenRun(dir) => {
                let is_new = self.opened.replace(dir.clone()).as_ref() != Some(&dir);
                let ahead = is_new.then(|| self.ahead.clone());
                spawn(&outbox.clone(), "open a run", move || {
                    let result = run_folder::open(&dir, Verification::Quick)
                        .map(Box::new)
                        .map_err(|error| error.to_string());
                    if let (Ok(run), Some(ahead)) = (&result, ahead) {
                        ahead.start(pictures_of(run, &dir));
                    }
                    outbox.send(Event::RunOpened { dir, result });
                });
            }
            Effect::LoadRunMask {
                dir,
                generation,
                document,
                recipe,
            } => {
                spawn(&outbox.clone(), "read a mask", move || {
                    let result = lab_effects::run_mask(&dir, &document, &recipe).map(Arc::new);
                    outbox.send(Event::RunMask {
                        dir,
                        generation,
                        recipe,
                        result,
                    });
                });
            }
            Effect::NameSession {
                run,
                generation,
                picture,
                reported,
                session,
            } => spawn(&outbox.clone(), "read a session", move || {
                let asked = named_session::Asked {
                    run: &run,
                    picture: picture.as_deref(),
                    reported: reported.as_ref(),
                };
                let result = named_session::name(&asked, session);
                outbox.send(Event::SessionNamed {
                    run,
                    generation,
                    result: result.map(|named| named.map(Box::new)),
                });
            }),
            Effect::Bucket(effect) => self.bucket.send(effect, &outbox),
            Effect::Remote(effect) => {
                self.is_elsewhere |=
                    matches!(effect, RemoteEffect::PickUp(_) | RemoteEffect::Resume(_));
                self.remote.perform(effect);
            }
            Effect::ChooseFolder(purpose) => {
                let dialogs = Arc::clone(&self.services.dialogs);
                spawn(&outbox.clone(), "ask for a folder", move || {
                    let title = match purpose {
                        FolderFor::Run => "Open a run",
                        FolderFor::OtherRun => "A second run to look at beside this one",
                        FolderFor::Session => "The session to fill",
                        FolderFor::OpenRun(_) => "The session that this run was made of",
                        FolderFor::Models => "The folder of weights",
                        FolderFor::Runs => "Where runs are kept",
                        FolderFor::Lab => "Open a session in the mask lab",
                        FolderFor::LabSession => "Where to save the session",
                    };
                    if let Some(problem) = dialogs.problem() {
                        outbox.send(Event::Problem(problem));
                    } else if let Some(dir) = dialogs.pick_folder(title) {
                        outbox.send(Event::FolderChosen(purpose, dir));
                    }
                });
            }
            Effect::EstimateRun(request) => spawn(&outbox.clone(), "estimate a run", move || {
                let estimate = estimating::estimate(&request);
                outbox.send(Event::Estimated { request, estimate });
            }),
            Effect::StartRun(request) => {
                let is_elsewhere = request.place != Place::ThisMachine;
                self.submit(RunJob::Start(request), is_elsewhere);
            }
            Effect::ResumeRun { dir, models_dir } => {
                self.submit(RunJob::Resume { dir, models_dir }, false);
            }
            Effect::ExtendRun(extension) => {
                let ExtendRun {
                    dir,
                    models_dir,
                    matrix,
                    recipe,
                    prompts,
                    gates_override,
                } = *extension;
                let request = Box::new(ExtendRequest {
                    matrix,
                    recipe,
                    prompts,
                });
                let job = RunJob::Extend {
                    dir,
                    models_dir,
                    request,
                    gates_override,
                };
                self.submit(job, false);
            }
            Effect::Lab(LabEffect::ChooseMask) => {
                let dialogs = Arc::clone(&self.services.dialogs);
                spawn(&outbox.clone(), "ask for a mask", move || {
                    if let Some(problem) = dialogs.problem() {
                        outbox.send(Event::Problem(problem));
                    } else if let Some(path) = dialogs.pick_picture("A mask's file") {
                        outbox.send(Event::Lab(LabEvent::MaskChosen(path)));
                    }
                });
            }
            Effect::Lab(effect) => self.lab.send(effect, &outbox),
            Effect::See(SeeEffect::Figures(job)) => self.figures.send(*job, &outbox),
            Effect::See(SeeEffect::OpenOther { dir, generation }) => {
                spawn(&outbox.clone(), "open a second run", move || {
                    let result = run_folder::open(&dir, Verification::Quick)
                        .map(Box::new)
                        .map_err(|error| error.to_string());
                    outbox.send(Event::See(SeeEvent::OtherOpened {
                        dir,
                        generation,
                        result,
                    }));
                });
            }
            Effect::CancelRun => self.executor().cancel(),
            Effect::AppendEvents { dir, events } => {
                let count = events.len();
                if !self.journal.append(dir.clone(), events.clone()) {
                    let problem = "the thread that writes journals has ended".to_owned();
                    outbox.send(Event::EventsNotWritten {
                        dir,
                        events,
                        problem,
                        waiting: count,
                    });
                }
            }
            Effect::ReadJournals(dir) => self.journal.watch(dir),
            Effect::ReadForApproval { dir, cell, path } => {
                spawn(&outbox.clone(), "read the settings", move || {
                    outbox.send(read_for_approval(dir, cell, path).unwrap_or_else(Event::Problem));
                });
            }
            Effect::WriteApproval { dir, path, staged } => {
                spawn(&outbox.clone(), "write the settings", move || {
                    let result = write_approval(&dir, &path, &staged);
                    outbox.send(Event::ApprovalWritten {
                        dir,
                        path,
                        staged,
                        result,
                    });
                });
            }
            Effect::ExportSheet(dir) => {
                let dialogs = Arc::clone(&self.services.dialogs);
                spawn(&outbox.clone(), "write the contact sheet", move || {
                    let Some(path) =
                        dialogs.save_file("Export a contact sheet", "contact_sheet.png")
                    else {
                        return;
                    };
                    outbox.send(match crate::audit::contact_sheet::write(&dir, &path) {
                        Ok(()) => Event::Note(format!("written: {}", path.display())),
                        Err(error) => Event::Problem(error.to_string()),
                    });
                });
            }
            Effect::ExportReview { name, text } => {
                let dialogs = Arc::clone(&self.services.dialogs);
                spawn(&outbox.clone(), "write the review", move || {
                    let Some(path) = dialogs.save_file("Export the review", &name) else {
                        return;
                    };
                    outbox.send(match crate::audit::atomic::write(&path, text.as_bytes()) {
                        Ok(()) => Event::Note(format!("written: {}", path.display())),
                        Err(error) => Event::Problem(format!(
                            "review not written ({error}): {}",
                            path.display()
                        )),
                    });
                });
            }
            Effect::ExportView | Effect::Quit => {}
        }
    }

    /// What makes the run under way, or made the last one.
    fn executor(&mut self) -> &mut dyn Executor {
        if self.is_elsewhere {
            &mut self.remote
        } else {
            &mut self.runner
        }
    }

    fn submit(&mut self, job: RunJob, is_elsewhere: bool) {
        self.is_elsewhere = is_elsewhere;
        if let Err(problem) = self.executor().submit(job) {
            self.outbox.send(Event::Problem(problem));
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
                    .flat_map(eframe::egui::Color32::to_array)
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

/// Reads what an approval rests on: the run with every picture held against its hash, the picture itself, and
/// the current settings.
fn read_for_approval(dir: PathBuf, cell: CellKey, path: PathBuf) -> Result<Event, String> {
    let run = run_folder::open(&dir, Verification::Full).map_err(|error| error.to_string())?;
    let current = approval::read_current(&path).map_err(|error| error.to_string())?;
    let picture = dir.join(run.picture_file(&cell));
    let image_sha256 = match hash::sha256_file(&picture) {
        Ok(digits) => Some(digits),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(format!(
                "the picture cannot be read ({error}): {}",
                picture.display()
            ));
        }
    };
    Ok(Event::ApprovalRead {
        dir,
        run: Box::new(run),
        cell,
        path,
        current,
        image_sha256,
    })
}

fn write_approval(
    dir: &Path,
    path: &Path,
    staged: &crate::model::approved::StagedApproval,
) -> Result<String, String> {
    let kept = approval::write_settings(path, staged).map_err(|error| error.to_string())?;
    let mut sentence = format!("written: {}", path.display());
    if let Some(kept) = kept {
        sentence.push_str(&format!("; the former file is kept as {}", kept.display()));
    }
    match approval::fill_report(dir, staged.settings()) {
        Ok(true) => sentence.push_str("; the report's recommended settings are filled in"),
        Ok(false) => sentence.push_str("; the run has no report yet"),
        Err(error) => sentence.push_str(&format!("; the report is not filled in: {error}")),
    }
    Ok(sentence)
}

/// The pictures of a run's cells, in the order of the matrix.
fn pictures_of(run: &Run, dir: &Path) -> Vec<PathBuf> {
    let is_done = |state: &CellState| matches!(state, CellState::Done(_));
    let done = run.cells.iter().filter(|(_, state)| is_done(state));
    done.map(|(key, _)| dir.join(run.picture_file(key)))
        .collect()
}

/// Turns a source into pixels for the canvas. Called on the canvas' own threads.
///
/// # Errors
/// Why the picture cannot be shown, naming it.
pub fn decode(source: &ImageSource) -> Result<DecodedImage, String> {
    use crate::imaging::codecs;
    let decoded = match source {
        ImageSource::File { path, .. } => codecs::decode(path),
        ImageSource::Memory { name, bytes, .. } => codecs::decode_bytes(bytes, name),
    };
    let decoded = decoded.map_err(|error| error.to_string())?;
    let badge = decoded.colour.is_guess().then(|| Badge {
        label: match &decoded.colour {
            codecs::ColourSource::Untagged => "no profile".to_owned(),
            _ => "colours guessed".to_owned(),
        },
        explanation: decoded.colour.to_string(),
    });
    let (width, height) = decoded.size();
    let image = match decoded.pixels {
        codecs::Pixels::Rgb(rgb8) => DecodedImage::opaque(width, height, rgb8.into_raw()),
        codecs::Pixels::Rgba(rgba8) => DecodedImage::new(width, height, rgba8.into_raw()),
    };
    Ok(image?.with_badge(badge))
}
