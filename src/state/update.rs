//! The one place that changes [`AppState`].

use super::command::Command;
use super::judging::Judging;
use super::lab::{self, LabMsg};
use super::look::{self, Channel, Compare, Overlay, Reference, ViewRequest};
use super::named_session;
use super::remote::Place;
use super::run_view::RunView;
use super::{
    AppState, Effect, Event, FolderFor, Msg, Page, approving, bucket, remote, running, seeing,
    update_judging,
};
use crate::imaging::difference::Metric;
use crate::model::ids::ReviewerId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::files;
use std::path::{Path, PathBuf};

/// Applies a message and says what is to be done outside.
pub fn update(state: &mut AppState, msg: Msg) -> Vec<Effect> {
    let mut effects = apply(state, msg);
    effects.extend(follow_reviewer(state));
    effects.extend(seeing::figures::ask(state));
    effects.extend(bucket::after_update(state));
    effects
}

fn apply(state: &mut AppState, msg: Msg) -> Vec<Effect> {
    match msg {
        Msg::Command(command) => on_command(state, command),
        Msg::Event(event) => on_event(state, event),
        Msg::Lab(msg) => lab::on_msg(state, msg),
        Msg::Select(key) => {
            if let Some(view) = &mut state.run {
                view.select(key);
            }
            Vec::new()
        }
        Msg::SetLook(look) => {
            if let Some(view) = &mut state.run {
                if look.dilate_px.is_none() {
                    // Each cell shows its own recipe again.
                    view.lab_recipe = None;
                }
                view.look = *look;
            }
            Vec::new()
        }
        Msg::SetPivot(pivot) => {
            if let Some(view) = &mut state.run {
                view.pivot = *pivot;
                view.pivot.settle_pages(&view.run);
                view.lay_out();
            }
            Vec::new()
        }
        Msg::SetCompose(form) => {
            state.compose = *form;
            let mut effects = remote::follow_form(state);
            effects.extend(check_form(state));
            effects
        }
        Msg::Remote(msg) => remote::on_msg(state, msg),
        Msg::Bucket(msg) => bucket::on_msg(state, msg),
        Msg::Open(dir) => open(state, dir),
        Msg::HoldReference(is_held) if state.page == Page::MaskLab => {
            lab::hold_other(state, is_held)
        }
        Msg::HoldReference(is_held) => {
            if let Some(view) = &mut state.run {
                view.is_reference_held = is_held;
            }
            Vec::new()
        }
        Msg::Approve(msg) => approving::on_msg(state, msg),
        Msg::See(msg) => seeing::on_msg(state, msg),
        Msg::Judge(msg) => update_judging::on_msg(state, msg),
        Msg::ChooseFolder(purpose) => vec![Effect::ChooseFolder(purpose)],
        Msg::SetSettings(settings) => {
            let settings = settings.sane();
            if settings.runs_dir != state.settings.runs_dir {
                state.compose.runs_dir.clone_from(&settings.runs_dir);
            }
            if settings.models_dir != state.settings.models_dir {
                state.compose.models_dir.clone_from(&settings.models_dir);
            }
            if let Some(view) = &mut state.run {
                view.judging.types.clone_from(&settings.failure_types);
            }
            state.settings = settings;
            Vec::new()
        }
        Msg::CloseRequested => close(state),
        Msg::CloseToast(id) => {
            state.toasts.retain(|toast| toast.id != id);
            Vec::new()
        }
    }
}

/// Closes the window; where verdicts wait for the disk only at the second request, after saying so.
fn close(state: &mut AppState) -> Vec<Effect> {
    let waiting: usize = state.unwritten.values().map(|(count, _)| *count).sum();
    if waiting > 0 && !state.was_close_refused {
        state.was_close_refused = true;
        let folders: Vec<String> = state
            .unwritten
            .keys()
            .map(|dir| dir.display().to_string())
            .collect();
        state.toast(
            format!(
                "{waiting} verdicts are in memory only; make room or rights in {}, or close again to lose them",
                folders.join(", ")
            ),
            true,
        );
        return Vec::new();
    }
    vec![Effect::Quit]
}

/// What one reviewer has seen is not what another has: a change of name opens the review anew.
fn follow_reviewer(state: &mut AppState) -> Vec<Effect> {
    let reviewer = ReviewerId::from_name(&state.settings.reviewer);
    let is_typing = state.page == Page::Settings;
    let Some(view) = state
        .run
        .as_mut()
        .filter(|view| view.judging.reviewer != reviewer)
    else {
        return Vec::new();
    };
    if is_typing {
        return Vec::new();
    }
    view.approving = None;
    view.judging = Judging::new(reviewer, state.settings.failure_types.clone());
    view.lay_out();
    vec![Effect::ReadJournals(view.dir.clone())]
}

pub(super) fn open(state: &mut AppState, dir: PathBuf) -> Vec<Effect> {
    let mut effects = bucket::stop_for(state, &dir);
    state.opening = Some(dir.clone());
    state.page = Page::Run;
    effects.push(Effect::OpenRun(dir));
    effects
}

fn name_session(state: &mut AppState) -> Vec<Effect> {
    let problem = match &state.run {
        None => "no run is open",
        Some(view) if view.run.document().is_some() => "this run has its session beside it",
        Some(view) => {
            return vec![Effect::ChooseFolder(FolderFor::OpenRun(view.generation))];
        }
    };
    state.toast(problem, true);
    Vec::new()
}

pub(super) fn check_form(state: &mut AppState) -> Vec<Effect> {
    match state.compose.request() {
        Ok(request) => {
            state.compose_problems.clear();
            if request.place != Place::ThisMachine {
                // What this machine takes says nothing about another.
                state.estimate = None;
                return Vec::new();
            }
            vec![Effect::EstimateRun(Box::new(request))]
        }
        Err(problems) => {
            state.compose_problems = problems;
            state.estimate = None;
            Vec::new()
        }
    }
}

fn on_command(state: &mut AppState, command: Command) -> Vec<Effect> {
    if let Some(reason) = seeing::why_not(state, command) {
        state.toast(reason, true);
        return Vec::new();
    }
    if state.page == Page::MaskLab
        && let Some(effects) = lab::on_command(state, command)
    {
        return effects;
    }
    if let Some(effects) = bucket::on_command(state, command) {
        return effects;
    }
    if let Some(reason) = seeing::why_not(state, command) {
        state.toast(reason, false);
        return Vec::new();
    }
    match command {
        Command::GoTo(page) => {
            state.page = page;
            match page {
                Page::Inbox => {
                    let mut effects = bucket::list(state);
                    effects.push(remote::list_waiting(state));
                    effects
                }
                Page::Compose => {
                    let mut effects = remote::follow_form(state);
                    effects.extend(check_form(state));
                    effects
                }
                Page::MaskLab if state.lab.is_none() && state.has_run_with_session() => {
                    lab::on_msg(state, LabMsg::OpenRun)
                }
                _ => Vec::new(),
            }
        }
        Command::OpenRunFolder => vec![Effect::ChooseFolder(FolderFor::Run)],
        Command::NameSession => name_session(state),
        Command::Reload => match &state.run {
            Some(view) if state.page == Page::Run => vec![Effect::OpenRun(view.dir.clone())],
            _ => bucket::list(state),
        },
        Command::Help => {
            state.is_help_open = !state.is_help_open;
            Vec::new()
        }
        Command::Palette => {
            state.is_palette_open = !state.is_palette_open;
            Vec::new()
        }
        Command::ToggleLeftPanel => {
            state.is_left_folded = !state.is_left_folded;
            Vec::new()
        }
        Command::ToggleRightPanel => {
            state.is_right_folded = !state.is_right_folded;
            Vec::new()
        }
        Command::ToggleTheme => {
            state.settings.is_light = !state.settings.is_light;
            Vec::new()
        }
        Command::LargerText => {
            state.settings.ui_scale = (state.settings.ui_scale + 0.1).min(3.0);
            Vec::new()
        }
        Command::SmallerText => {
            state.settings.ui_scale = (state.settings.ui_scale - 0.1).max(0.5);
            Vec::new()
        }
        Command::Quit => close(state),
        Command::Approve => approving::open(state),
        Command::StartRun => running::start(state),
        Command::CancelRun => running::cancel(state),
        Command::LeaveRun => running::leave(state),
        Command::ResumeRun if state.running.is_none() && remote::resume(state).is_some() => {
            remote::resume(state).unwrap_or_default()
        }
        Command::Back if close_what_is_open(state) => Vec::new(),
        _ if update_judging::is_about_judging(command) => {
            update_judging::on_command(state, command)
        }
        _ => match &mut state.run {
            Some(view) => on_run_command(view, command, &state.compose.models_dir),
            None => Vec::new(),
        },
    }
}

/// Closes help or palette, whichever is in front; `false` if neither is open.
fn close_what_is_open(state: &mut AppState) -> bool {
    let was_open = state.is_palette_open || state.is_help_open;
    if state.is_palette_open {
        state.is_palette_open = false;
    } else {
        state.is_help_open = false;
    }
    was_open
}

fn on_run_command(view: &mut RunView, command: Command, models_dir: &str) -> Vec<Effect> {
    if let Some(effects) = seeing::on_command(view, command) {
        return effects;
    }
    match command {
        Command::Left => view.step(-1, 0),
        Command::Right => view.step(1, 0),
        Command::Up => view.step(0, -1),
        Command::Down => view.step(0, 1),
        Command::PreviousPage | Command::NextPage => {
            let by = if command == Command::NextPage { 1 } else { -1 };
            view.pivot.turn_page(&view.run, by);
            view.select_same_place();
            view.lay_out();
        }
        Command::FullScreen => {
            view.is_full_screen = !view.is_full_screen && view.selected.is_some();
        }
        Command::Back if view.judging.blind.is_some() => view.judging.blind = None,
        Command::Back => {
            if view.look.compare != Compare::Plain && !view.is_full_screen {
                view.look.compare = Compare::Plain;
            }
            view.is_full_screen = false;
            view.cycle.is_on = false;
        }
        Command::HoldReference => view.is_reference_held = !view.is_reference_held,
        Command::MarkTool => view.is_marking = !view.is_marking,
        Command::MarkView => view.mark_requests += 1,
        Command::SetReference => {
            if let Some(key) = &view.selected {
                view.look.reference = Reference::Cell(key.clone());
            }
        }
        Command::ReferenceIsOriginal => view.look.reference = Reference::Original,
        Command::Wipe => view.toggle_compare(Compare::Wipe),
        Command::Difference => view.toggle_compare(Compare::Difference),
        Command::NextMetric => view.look.metric = look::next_in(&Metric::ALL, view.look.metric),
        Command::MoreGain => view.look.gain = (view.look.gain * 2.0).min(64.0),
        Command::LessGain => view.look.gain = (view.look.gain / 2.0).max(1.0),
        Command::ToggleMaskBox => view.ask(ViewRequest::ToggleMaskBox),
        Command::Fit => view.ask(ViewRequest::Fit),
        Command::ActualSize => view.ask(ViewRequest::ActualSize),
        Command::ZoomIn => view.ask(ViewRequest::ZoomBy(1.25)),
        Command::ZoomOut => view.ask(ViewRequest::ZoomBy(0.8)),
        Command::CycleOverlay => {
            view.look.overlay = look::next_in(&Overlay::ALL, view.look.overlay);
        }
        Command::CycleChannel => {
            view.look.channel = look::next_in(&Channel::ALL, view.look.channel);
        }
        Command::Loupe => view.look.has_loupe = !view.look.has_loupe,
        Command::ExposureUp => view.look.exposure_stops = (view.look.exposure_stops + 0.5).min(8.0),
        Command::ExposureDown => {
            view.look.exposure_stops = (view.look.exposure_stops - 0.5).max(-8.0);
        }
        Command::SwapAxes => {
            let rows = view.pivot.columns;
            view.pivot.set_rows(rows, &view.run);
            view.lay_out();
        }
        Command::DilateBy(px) => {
            let Some(key) = &view.selected else {
                return Vec::new();
            };
            if let Some(now) = view.shown_dilation_px(key) {
                view.look.dilate_px = Some((now + f32::from(px)).clamp(0.0, 64.0));
            }
        }
        Command::ResumeRun if view.live.is_none() => {
            return vec![Effect::ResumeRun {
                dir: view.dir.clone(),
                models_dir: PathBuf::from(models_dir),
            }];
        }
        Command::ExportView => return vec![Effect::ExportView],
        Command::ExportSheet => return vec![Effect::ExportSheet(view.dir.clone())],
        _ => {}
    }
    Vec::new()
}

/// Keeps count of what the disk refused, folder by folder, and the message that stays until it is there.
fn note_unwritten(state: &mut AppState, dir: &Path, waiting: usize, problem: Option<&str>) {
    if let Some((_, toast)) = state.unwritten.remove(dir) {
        state.toasts.retain(|one| one.id != toast);
    }
    let Some(problem) = problem else {
        if waiting == 0 {
            state.was_close_refused &= !state.unwritten.is_empty();
            return;
        }
        return note_unwritten(state, dir, waiting, Some("the disk refused some of them"));
    };
    if waiting == 0 {
        state.toast(format!("a verdict cannot be kept: {problem}"), true);
        return;
    }
    let text = format!(
        "verdicts are kept in memory ({waiting}), and tried again until it works: {problem}"
    );
    state.toast(text, true);
    if let Some(toast) = state.toasts.last() {
        state.unwritten.insert(dir.to_owned(), (waiting, toast.id));
    }
}

/// Asks for the masks of the open run that were not read yet.
pub(super) fn load_masks(state: &mut AppState) -> Vec<Effect> {
    let is_here = |view: &&mut RunView| {
        !view.lacking.contains(files::MASK) && !view.lacking.contains(files::IMAGE)
    };
    let Some(view) = state.run.as_mut().filter(is_here) else {
        return Vec::new();
    };
    let recipes = view.mask_recipes();
    if view.run.document().is_some() {
        view.masks.keep_only(&recipes);
    }
    let new = view.masks.ask(recipes);
    let Some(document) = view.run.document() else {
        return Vec::new();
    };
    let load = |recipe: MaskRecipe| Effect::LoadRunMask {
        dir: view.dir.clone(),
        generation: view.generation,
        document: Box::new(document.clone()),
        recipe: Box::new(recipe),
    };
    new.into_iter().map(load).collect()
}

pub(super) fn on_event(state: &mut AppState, event: Event) -> Vec<Effect> {
    match event {
        Event::RunOpened { dir, result } => {
            if state.opening.as_ref() == Some(&dir) {
                state.opening = None;
            }
            let mut effects = Vec::new();
            let read = dir.clone();
            match (result, &mut state.run) {
                (Ok(run), Some(view)) if view.dir == dir => {
                    view.refresh(*run);
                    effects.extend(named_session::name(state, None));
                }
                (Ok(run), slot) => {
                    state.next_id += 1;
                    let reviewer = ReviewerId::from_name(&state.settings.reviewer);
                    let mut fresh = RunView::new(
                        dir.clone(),
                        *run,
                        reviewer,
                        state.settings.failure_types.clone(),
                        state.next_id,
                    );
                    fresh.lacking = state.bucket.lacking_of(&dir);
                    if let Some(former) = slot.as_ref() {
                        // How one looks is kept when runs change.
                        fresh.look = super::look::Look {
                            reference: Reference::Original,
                            dilate_px: None,
                            ..former.look.clone()
                        };
                    }
                    *slot = Some(fresh);
                    state.page = Page::Run;
                    state.show_running();
                    effects.extend(remote::after_opening(state, &dir));
                    effects.push(Effect::ReadJournals(dir));
                    effects.extend(named_session::name(state, None));
                }
                (Err(problem), _) => state.toast(problem, true),
            }
            running::take_in_ended(state, &read);
            approving::stage_again(state);
            effects.extend(load_masks(state));
            effects
        }
        Event::RunMask {
            dir,
            generation,
            recipe,
            result,
        } => {
            let asked = |view: &&mut RunView| view.dir == dir && view.generation == generation;
            if let Some(view) = state.run.as_mut().filter(asked) {
                match result {
                    Ok(field) => view.masks.take(*recipe, field),
                    Err(problem) => {
                        view.masks.give_up(&recipe);
                        state.toast(format!("mask views are off: {problem}"), true);
                    }
                }
            }
            Vec::new()
        }
        Event::SessionNamed {
            run,
            generation,
            result,
        } => {
            let result = result.map(|named| named.map(|named| *named));
            named_session::named(state, &run, generation, result);
            Vec::new()
        }
        Event::Lab(event) => lab::on_event(state, event),
        Event::See(event) => seeing::on_event(state, event),
        Event::Bucket(event) => bucket::on_event(state, event),
        Event::Remote(event) => remote::on_event(state, event),
        Event::FolderChosen(purpose, dir) => {
            let text = dir.display().to_string();
            match purpose {
                FolderFor::Run => return open(state, dir),
                FolderFor::OpenRun(generation) => {
                    return named_session::chosen(state, generation, dir);
                }
                FolderFor::OtherRun => return seeing::open_other(state, dir),
                FolderFor::Lab => return lab::on_msg(state, LabMsg::OpenSession(dir)),
                FolderFor::LabSession => return lab::save_in(state, dir),
                FolderFor::Session => {
                    let name = dir.file_name().and_then(|name| name.to_str());
                    if state.compose.session_id.is_empty()
                        && let Some(name) = name
                    {
                        name.clone_into(&mut state.compose.session_id);
                    }
                    state.compose.session_dir = text;
                }
                FolderFor::Models => state.compose.models_dir = text,
                FolderFor::Runs => state.compose.runs_dir = text,
            }
            check_form(state)
        }
        event @ (Event::RunStarted { .. }
        | Event::RunProgress { .. }
        | Event::CellEnded { .. }
        | Event::RunEnded { .. }) => running::on_event(state, event),
        Event::JournalsRead {
            dir,
            events,
            warnings,
        } => {
            if let Some(view) = state.run.as_mut().filter(|view| view.dir == dir) {
                view.judging.take_in(events);
                for warning in warnings {
                    if !view.run.warnings.contains(&warning) {
                        view.run.warnings.push(warning);
                    }
                }
                view.lay_out();
            }
            approving::stage_again(state);
            Vec::new()
        }
        Event::EventsWritten {
            dir,
            events,
            waiting,
        } => {
            if let Some(view) = state.run.as_mut().filter(|view| view.dir == dir) {
                view.judging.take_in(events);
                view.judging.unwritten = waiting;
                view.lay_out();
            }
            note_unwritten(state, &dir, waiting, None);
            approving::stage_again(state);
            Vec::new()
        }
        Event::EventsNotWritten {
            dir,
            events,
            problem,
            waiting,
        } => {
            // What breaks a rule of the journal is not kept, and not drawn as if it were.
            let open = state.run.as_mut().filter(|view| view.dir == dir);
            if let Some(view) = open.filter(|_| waiting > 0) {
                view.judging.take_in(events);
                view.judging.unwritten = waiting;
                view.lay_out();
            }
            note_unwritten(state, &dir, waiting, Some(&problem));
            Vec::new()
        }
        event @ (Event::ApprovalRead { .. } | Event::ApprovalWritten { .. }) => {
            approving::on_event(state, event)
        }
        Event::Estimated { request, estimate } => {
            if state.compose.request().is_ok_and(|now| now == *request) {
                state.estimate = estimate;
            }
            Vec::new()
        }
        Event::Note(text) => {
            state.toast(text, false);
            Vec::new()
        }
        Event::Problem(text) => {
            state.toast(text, true);
            Vec::new()
        }
    }
}
