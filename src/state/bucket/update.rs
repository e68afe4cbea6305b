//! What messages, commands and events about the bucket do to the state.

use super::choices::{Choices, ConflictRow, ConflictView, Direction};
use super::inbox::{BucketFreshness, Thumbnail};
use super::transfer::{
    Moved, PullOutcome, PullPhase, PullRequest, PullView, PushOutcome, PushRequest, PushView,
    files_of,
};
use super::{BucketEffect, BucketEvent, BucketMsg, ConfigRead, choices_of};
use crate::state::command::Command;
use crate::state::lab::{self, LabMsg};
use crate::state::{AppState, Effect, Event, Page, remote, update};
use std::path::{Path, PathBuf};

fn effect(effect: BucketEffect) -> Vec<Effect> {
    vec![Effect::Bucket(effect)]
}

/// Asks for the list of runs.
pub fn list(state: &mut AppState) -> Vec<Effect> {
    state.next_id += 1;
    let job = state.next_id;
    state.bucket.inbox.listing_job = Some(job);
    effect(BucketEffect::List {
        job,
        runs_dir: PathBuf::from(&state.settings.runs_dir),
        reviewer: state.settings.reviewer.clone(),
    })
}

/// Does what a command says, if it is about the bucket or the list; `None` if it is not.
pub fn on_command(state: &mut AppState, command: Command) -> Option<Vec<Effect>> {
    let is_inbox = state.page == Page::Inbox;
    Some(match command {
        Command::PushRun => push_open_run(state),
        Command::SendQueued => send_queue(state),
        Command::StopTransfer => {
            let mut effects = stop_pull(state);
            effects.extend(stop_push(state));
            effects
        }
        Command::Reload if state.page == Page::Run => return pull_again(state),
        Command::Up | Command::Down if is_inbox => {
            let by = if command == Command::Up { -1 } else { 1 };
            state.bucket.inbox.step(by);
            Vec::new()
        }
        Command::FullScreen if is_inbox => match state.bucket.inbox.selected.clone() {
            Some(run_id) => open_row(state, &run_id),
            None => Vec::new(),
        },
        // These act on the open run, which is not on screen.
        Command::Left | Command::Right if is_inbox => Vec::new(),
        _ => return None,
    })
}

/// Does what a panel says.
pub fn on_msg(state: &mut AppState, msg: BucketMsg) -> Vec<Effect> {
    let bucket = &mut state.bucket;
    match msg {
        BucketMsg::SetSearch(text) => bucket.inbox.search = text,
        BucketMsg::SortBy(sort) => bucket.inbox.sort_by(sort),
        BucketMsg::SetAddress(text) => bucket.inbox.address = text,
        BucketMsg::SelectRow(run_id) => bucket.inbox.selected = Some(run_id),
        BucketMsg::OpenRow(run_id) => return open_row(state, &run_id),
        BucketMsg::OpenAddress(text) => {
            let address = text.trim().to_owned();
            if address.is_empty() {
                return Vec::new();
            }
            bucket.inbox.address.clone_from(&address);
            bucket.inbox.resolving = Some(address.clone());
            return effect(BucketEffect::Resolve {
                address,
                sessions_dir: PathBuf::from(&state.settings.sessions_dir),
            });
        }
        BucketMsg::NeedThumbnails(keys) => {
            let thumbnails = &mut bucket.inbox.thumbnails;
            let new: Vec<String> = keys
                .into_iter()
                .filter(|key| !thumbnails.contains_key(key))
                .collect();
            for key in &new {
                thumbnails.insert(key.clone(), Thumbnail::Asked);
            }
            if !new.is_empty() {
                return effect(BucketEffect::Thumbnails(new));
            }
        }
        BucketMsg::Visible(cells) => {
            if let Some(pull) = &mut bucket.pull {
                pull.visible = cells;
            }
        }
        BucketMsg::StopPull => return stop_pull(state),
        BucketMsg::ResumePull => {
            let request = bucket.pull.as_ref().map(|pull| pull.request.clone());
            return request.map_or_else(Vec::new, |request| start_pull(state, request));
        }
        BucketMsg::StopPush => return stop_push(state),
        BucketMsg::Choose(file, choice) => {
            for row in conflict_rows(state) {
                if row.file == file {
                    row.choice = Some(choice);
                }
            }
        }
        BucketMsg::ChooseAll(choice) => {
            for row in conflict_rows(state) {
                row.choice = Some(choice);
            }
        }
        BucketMsg::Decide => return decide(state),
        BucketMsg::DecideLater => bucket.conflicts = None,
        BucketMsg::SetForm(form) => bucket.settings.form = *form,
        BucketMsg::RevertForm => {
            bucket.settings.form = bucket.settings.saved.clone();
            bucket.settings.problem = None;
        }
        BucketMsg::SaveForm => {
            let form = Box::new(bucket.settings.form.clone());
            return effect(BucketEffect::SaveConfig(form));
        }
        BucketMsg::Check => {
            state.next_id += 1;
            let job = state.next_id;
            bucket.settings.checking = Some(job);
            bucket.settings.checks.clear();
            let form = Box::new(bucket.settings.form.clone());
            return effect(BucketEffect::Check(job, form));
        }
    }
    Vec::new()
}

fn conflict_rows(state: &mut AppState) -> &mut [ConflictRow] {
    state
        .bucket
        .conflicts
        .as_mut()
        .map_or(&mut [], |conflicts| &mut conflicts.rows)
}

/// Takes what comes back from the background.
pub fn on_event(state: &mut AppState, event: BucketEvent) -> Vec<Effect> {
    let bucket = &mut state.bucket;
    match event {
        BucketEvent::ConfigRead(Ok(read)) => take_config(state, read),
        BucketEvent::ConfigRead(Err(problem)) => {
            bucket.settings.problem = Some(problem.clone());
            state.toast(format!("storage is off: {problem}"), true);
        }
        BucketEvent::ConfigSaved(Ok(read)) => {
            take_config(state, read);
            state.toast("the settings of storage are saved", false);
            return list(state);
        }
        BucketEvent::ConfigSaved(Err(problem)) => bucket.settings.problem = Some(problem),
        BucketEvent::Checked(job, lines) => {
            if bucket.settings.checking == Some(job) {
                bucket.settings.checking = None;
                bucket.settings.checks = lines;
            }
        }
        BucketEvent::Listed(job, listing) => {
            if bucket.inbox.listing_job != Some(job) {
                return Vec::new();
            }
            if !listing.is_partial {
                bucket.inbox.listing_job = None;
            }
            let is_online = matches!(listing.freshness, BucketFreshness::Live(_));
            bucket.inbox.take(*listing);
            if is_online && !bucket.queue.is_empty() && !bucket.is_sending_queue {
                // The network is back.
                return send_queue(state);
            }
        }
        BucketEvent::Thumbnail(key, result) => {
            let thumbnail = match result {
                Ok(path) => Thumbnail::Ready(path),
                Err(problem) => Thumbnail::Failed(problem),
            };
            bucket.inbox.thumbnails.insert(key, thumbnail);
        }
        BucketEvent::AddressIsRun { bucket, run_id } => {
            address_done(state, true);
            return open_from_bucket(state, bucket, run_id);
        }
        BucketEvent::AddressIsFolder(dir) => {
            address_done(state, true);
            return update::open(state, dir);
        }
        BucketEvent::SessionFetched(dir) => {
            address_done(state, true);
            state.page = Page::MaskLab;
            return lab::on_msg(state, LabMsg::OpenSession(dir));
        }
        BucketEvent::AddressRefused(problem) => {
            address_done(state, false);
            state.toast(problem, true);
        }
        BucketEvent::PullListed {
            job,
            files,
            offline,
            is_in_progress,
        } => {
            if let Some(pull) = pull_of(state, job) {
                // Files that were here before the list came have been told of already or will be.
                let known: Vec<String> = files.into_iter().map(|(file, _)| file).collect();
                pull.expect(known);
                pull.offline = offline;
                pull.is_in_progress = is_in_progress;
            }
            note_lacking(state);
        }
        BucketEvent::PullMoved(job, moved) => {
            take_moved(state, job, *moved);
            note_lacking(state);
        }
        BucketEvent::PullRead { job, dir, run } => {
            let is_wanted = pull_of(state, job).is_some()
                && (state.opening.as_ref() == Some(&dir)
                    || state.run.as_ref().is_some_and(|view| view.dir == dir));
            if !is_wanted {
                return Vec::new();
            }
            // Before the run is taken: what is not here yet is not asked for.
            note_lacking(state);
            let opened = Event::RunOpened {
                dir,
                result: Ok(run),
            };
            let effects = update::on_event(state, opened);
            note_lacking(state);
            return effects;
        }
        BucketEvent::PullEnded(job, result) => return pull_ended(state, job, result),
        BucketEvent::PushMoved(job, moved) => {
            if let Some(push) = bucket.push.as_mut().filter(|push| push.request.job == job) {
                push.progress = moved.progress;
            }
        }
        BucketEvent::PushEnded(job, result) => return push_ended(state, job, result),
        BucketEvent::Queue(rows) => bucket.queue = rows,
        BucketEvent::QueueSent(results) => {
            bucket.is_sending_queue = false;
            for (sentence, is_sent) in results {
                state.toast(sentence, !is_sent);
            }
            return effect(BucketEffect::ListQueue);
        }
    }
    Vec::new()
}

fn take_config(state: &mut AppState, read: ConfigRead) {
    let settings = &mut state.bucket.settings;
    settings.form = read.form.clone();
    settings.saved = read.form;
    settings.path = read.path;
    settings.credentials_words = read.credentials_words;
    settings.bucket_override = read.bucket_override;
    settings.has_bucket = read.has_bucket;
    settings.problem = None;
}

fn address_done(state: &mut AppState, is_understood: bool) {
    state.bucket.inbox.resolving = None;
    if is_understood {
        state.bucket.inbox.address.clear();
    }
}

fn open_row(state: &mut AppState, run_id: &str) -> Vec<Effect> {
    let Some(row) = state.bucket.inbox.row(run_id).cloned() else {
        return Vec::new();
    };
    state.bucket.inbox.selected = Some(run_id.to_owned());
    match row.dir {
        Some(dir) if !row.is_in_bucket => update::open(state, dir),
        _ => open_from_bucket(state, None, row.run_id),
    }
}

/// Opens what is on disk at once, and fetches the rest.
fn open_from_bucket(state: &mut AppState, bucket: Option<String>, run_id: String) -> Vec<Effect> {
    let on_disk = state
        .bucket
        .inbox
        .row(&run_id)
        .and_then(|row| row.dir.clone());
    let is_on_disk = on_disk.is_some();
    let dir = on_disk.unwrap_or_else(|| Path::new(&state.settings.runs_dir).join(&run_id));
    let mut effects = Vec::new();
    if is_on_disk {
        effects.extend(update::open(state, dir.clone()));
    } else {
        state.page = Page::Run;
        state.opening = Some(dir.clone());
        if !state.is_running() && state.run.as_ref().is_some_and(|view| view.dir != dir) {
            // The page waits for the new one and does not show another's pictures meanwhile.
            state.run = None;
        }
    }
    let request = PullRequest {
        job: 0,
        bucket,
        run_id,
        dir,
        choices: Choices::new(),
    };
    effects.extend(start_pull(state, request));
    effects
}

/// Fetches a run beside whatever is on screen.
pub fn pull_run(state: &mut AppState, run_id: String) -> Vec<Effect> {
    let dir = Path::new(&state.settings.runs_dir).join(&run_id);
    let request = PullRequest {
        job: 0,
        bucket: None,
        run_id,
        dir,
        choices: Choices::new(),
    };
    start_pull(state, request)
}

fn start_pull(state: &mut AppState, mut request: PullRequest) -> Vec<Effect> {
    state.next_id += 1;
    request.job = state.next_id;
    let mut pull = PullView::new(request.clone());
    if let Some(former) = &mut state.bucket.pull
        && former.request.dir == request.dir
    {
        pull.visible = std::mem::take(&mut former.visible);
    }
    state.bucket.pull = Some(pull);
    effect(BucketEffect::Pull(request))
}

/// F5 on a run of the bucket: what is on disk is read, and the bucket is looked at.
fn pull_again(state: &mut AppState) -> Option<Vec<Effect>> {
    let dir = state.run.as_ref()?.dir.clone();
    let pull = state.bucket.pull.as_ref()?;
    if pull.request.dir != dir || pull.is_running() {
        return None;
    }
    let mut request = pull.request.clone();
    request.choices.clear();
    let mut effects = vec![Effect::OpenRun(dir)];
    effects.extend(start_pull(state, request));
    Some(effects)
}

/// Stops a pull that fills another folder than the one that is opened.
pub fn stop_for(state: &mut AppState, dir: &Path) -> Vec<Effect> {
    match &state.bucket.pull {
        Some(pull) if pull.is_running() && pull.request.dir != dir => stop_pull(state),
        _ => Vec::new(),
    }
}

fn stop_pull(state: &mut AppState) -> Vec<Effect> {
    match &mut state.bucket.pull {
        Some(pull) if pull.phase == PullPhase::Running => {
            pull.phase = PullPhase::Stopping;
            effect(BucketEffect::StopPull)
        }
        _ => Vec::new(),
    }
}

fn stop_push(state: &mut AppState) -> Vec<Effect> {
    match &mut state.bucket.push {
        Some(push) if !push.is_stopping => {
            push.is_stopping = true;
            effect(BucketEffect::StopPush)
        }
        _ => Vec::new(),
    }
}

fn pull_of(state: &mut AppState, job: u64) -> Option<&mut PullView> {
    state
        .bucket
        .pull
        .as_mut()
        .filter(|pull| pull.request.job == job)
}

fn take_moved(state: &mut AppState, job: u64, moved: Moved) {
    let Some(pull) = pull_of(state, job) else {
        return;
    };
    pull.progress = moved.progress;
    for (file, _) in &moved.arrived {
        pull.pending.remove(file);
        pull.here.insert(file.clone());
        pull.failed.retain(|(other, _)| other != file);
    }
    pull.failed.extend(moved.failed);
    let dir = pull.request.dir.clone();
    if let Some(view) = state.run.as_mut().filter(|view| view.dir == dir) {
        for (file, _) in moved.arrived.into_iter().filter(|(_, is_new)| *is_new) {
            *view.revisions.entry(file).or_default() += 1;
        }
    }
}

/// Tells the open run which of its files are still on their way.
fn note_lacking(state: &mut AppState) {
    if let (Some(pull), Some(view)) = (&state.bucket.pull, &mut state.run)
        && pull.request.dir == view.dir
        && view.lacking != pull.pending
    {
        view.lacking.clone_from(&pull.pending);
    }
}

fn pull_ended(state: &mut AppState, job: u64, result: Result<PullOutcome, String>) -> Vec<Effect> {
    let Some(pull) = pull_of(state, job) else {
        return Vec::new();
    };
    pull.phase = PullPhase::Ended;
    let dir = pull.request.dir.clone();
    let run_id = pull.request.run_id.clone();
    let goes_on = pull.goes_on_after_push;
    let was_stopped = result.as_ref().is_ok_and(|outcome| outcome.was_stopped);
    if let Ok(outcome) = &result
        && !outcome.was_stopped
    {
        pull.failed.clone_from(&outcome.failed);
        pull.offline.clone_from(&outcome.offline);
        pull.is_in_progress = outcome.is_in_progress;
    }
    let next = if goes_on {
        None
    } else {
        remote::last_look_after(state, &run_id, was_stopped)
    };
    if next.as_ref() == Some(&run_id) {
        // More has come since this one was listed: what it lacks counts after that.
        return pull_run(state, run_id);
    }
    if result.is_err() && remote::look_in_bucket_failed(state, &run_id) {
        // Its first cell is still being made.
        return next.map_or_else(Vec::new, |run_id| pull_run(state, run_id));
    }
    if state.opening.as_ref() == Some(&dir) {
        // Nothing of it could be shown.
        state.opening = None;
        state.page = Page::Inbox;
    }
    let was_sending = state.bucket.push.is_some();
    match result {
        Err(problem) => state.toast(problem, true),
        Ok(outcome) => {
            if let Some((file, reason)) = outcome.failed.first() {
                let count = counted(outcome.failed.len(), "file");
                state.toast(
                    format!("{count} of {run_id} not fetched; {file}: {reason}"),
                    true,
                );
            }
            if let Some(first) = outcome.skipped.first() {
                let count = counted(outcome.skipped.len(), "object");
                state.toast(format!("{count} left aside: {first}"), false);
            }
            if !outcome.kept_mine.is_empty() {
                let files = outcome.kept_mine.join(", ");
                state.toast(
                    format!("changed only here: {files}; sending the run takes it to the bucket"),
                    false,
                );
            }
            if !was_sending {
                ask_about(state, Direction::Pull, dir, outcome.conflicts);
            }
        }
    }
    next.map_or_else(Vec::new, |run_id| pull_run(state, run_id))
}

fn ask_about(state: &mut AppState, direction: Direction, dir: PathBuf, rows: Vec<ConflictRow>) {
    if !rows.is_empty() {
        state.bucket.conflicts = Some(ConflictView {
            direction,
            dir,
            rows,
        });
    }
}

fn push_open_run(state: &mut AppState) -> Vec<Effect> {
    let Some(dir) = state.run.as_ref().map(|view| view.dir.clone()) else {
        state.toast("open a run first: it is the open run that is sent", true);
        return Vec::new();
    };
    start_push(state, dir, Choices::new())
}

fn start_push(state: &mut AppState, dir: PathBuf, choices: Choices) -> Vec<Effect> {
    if state.bucket.push.is_some() {
        state.toast("a run is being sent already", true);
        return Vec::new();
    }
    state.next_id += 1;
    let request = PushRequest {
        job: state.next_id,
        phase1_path: PathBuf::from(&state.settings.phase1_path),
        choices,
        dir,
    };
    if let Some(pull) = &mut state.bucket.pull {
        // One at a time works in a folder: the background stops the pull first.
        pull.goes_on_after_push = pull.is_running() && pull.request.dir == request.dir;
    }
    state.bucket.push = Some(PushView {
        request: request.clone(),
        progress: super::transfer::TransferProgress::default(),
        is_stopping: false,
    });
    effect(BucketEffect::Push(request))
}

fn push_ended(state: &mut AppState, job: u64, result: Result<PushOutcome, String>) -> Vec<Effect> {
    let is_current = state
        .bucket
        .push
        .as_ref()
        .is_some_and(|push| push.request.job == job);
    if !is_current {
        return Vec::new();
    }
    let Some(push) = state.bucket.push.take() else {
        return Vec::new();
    };
    let mut effects = effect(BucketEffect::ListQueue);
    let mut has_news = false;
    match result {
        Err(problem) => state.toast(format!("not sent: {problem}"), true),
        Ok(outcome) => {
            has_news = !outcome.newer_there.is_empty();
            let (sentence, is_error) = push_sentence(&outcome);
            state.toast(sentence, is_error);
            ask_about(
                state,
                Direction::Push,
                push.request.dir.clone(),
                outcome.conflicts,
            );
        }
    }
    let dir = push.request.dir;
    if let Some(pull) = &mut state.bucket.pull
        && pull.request.dir == dir
        && std::mem::take(&mut pull.goes_on_after_push)
        && state.bucket.conflicts.is_none()
    {
        let request = pull.request.clone();
        effects.extend(start_pull(state, request));
    } else if has_news && state.bucket.conflicts.is_none() {
        // Only the bucket has changed these: fetching takes nothing away.
        let run_id = dir.file_name().unwrap_or_default().to_string_lossy();
        let request = PullRequest {
            job: 0,
            bucket: None,
            run_id: run_id.into_owned(),
            dir,
            choices: Choices::new(),
        };
        effects.extend(start_pull(state, request));
    }
    effects
}

/// What a push did, and whether something is wrong.
fn push_sentence(outcome: &PushOutcome) -> (String, bool) {
    let place = &outcome.place;
    if let Some(why) = &outcome.queued {
        return (
            format!("it waits on disk until there is a network, then goes to {place}: {why}"),
            false,
        );
    }
    let mut text = format!(
        "{} sent to {place}, {} unchanged",
        counted(outcome.sent, "file"),
        outcome.unchanged
    );
    if outcome.merged > 0 {
        let reviews = counted(outcome.merged, "review");
        text.push_str(&format!(", {reviews} merged"));
    }
    if outcome.was_stopped {
        text.push_str("; stopped, sending again goes on");
    }
    if !outcome.newer_there.is_empty() {
        text.push_str(&format!(
            "; newer in the bucket: {}",
            outcome.newer_there.join(", ")
        ));
    }
    if let Some((file, reason)) = outcome.failed.first() {
        text.push_str(&format!(
            "; {} not sent, {file}: {reason}",
            outcome.failed.len()
        ));
    }
    if outcome.is_report_held_back {
        text.push_str("; REPORT.md is held back, since it says that the run is whole");
    }
    if !outcome.conflicts.is_empty() {
        text.push_str(&format!(
            "; {} wait for a decision",
            outcome.conflicts.len()
        ));
    }
    (text, !outcome.failed.is_empty())
}

/// `1 file`, `2 files`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn send_queue(state: &mut AppState) -> Vec<Effect> {
    if state.bucket.queue.is_empty() {
        state.toast("nothing waits to be sent", false);
        return Vec::new();
    }
    if state.bucket.is_sending_queue {
        return Vec::new();
    }
    state.bucket.is_sending_queue = true;
    effect(BucketEffect::SendQueue)
}

fn decide(state: &mut AppState) -> Vec<Effect> {
    let Some(conflicts) = state.bucket.conflicts.take() else {
        return Vec::new();
    };
    if conflicts.undecided() > 0 {
        state.bucket.conflicts = Some(conflicts);
        return Vec::new();
    }
    let choices = choices_of(&conflicts.rows);
    match conflicts.direction {
        Direction::Push => start_push(state, conflicts.dir, choices),
        Direction::Pull => {
            let pull = state.bucket.pull.as_ref();
            let Some(pull) = pull.filter(|pull| pull.request.dir == conflicts.dir) else {
                return Vec::new();
            };
            let mut request = pull.request.clone();
            request.choices = choices;
            start_pull(state, request)
        }
    }
}

/// After any message: which cells are to come first, when that has changed.
pub fn after_update(state: &mut AppState) -> Vec<Effect> {
    let (Some(pull), Some(view)) = (&mut state.bucket.pull, &state.run) else {
        return Vec::new();
    };
    if pull.phase != PullPhase::Running || pull.request.dir != view.dir || pull.pending.is_empty() {
        return Vec::new();
    }
    let mut cells: Vec<_> = view.selected.iter().cloned().collect();
    cells.extend(pull.visible.iter().cloned());
    cells.extend(view.order());
    let mut seen = std::collections::BTreeSet::new();
    cells.retain(|key| seen.insert(key.clone()));
    let wanted = files_of(view, &cells);
    if wanted == pull.shown_first {
        return Vec::new();
    }
    pull.shown_first.clone_from(&wanted);
    effect(BucketEffect::ShowFirst(wanted))
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
