//! A run's progress on the terminal: one bar of steps with the cell's name, or a line a cell where there
//! is no terminal. Also what Ctrl-C does.

use crate::audit::AuditEvent;
use crate::audit::estimate::duration;
use crate::model::cell::{CellDefaults, CellKey};
use crate::model::run::CellState;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shows events on standard error.
pub struct Progress {
    bar: ProgressBar,
    is_terminal: bool,
    is_quiet: bool,
    defaults: CellDefaults,
    cells: usize,
    finished: usize,
}

impl Progress {
    /// Progress of a run whose cell names leave `defaults` out.
    pub fn new(defaults: CellDefaults, is_quiet: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal && !is_quiet {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {eta} left")
        {
            bar.set_style(style);
        }
        Self {
            bar,
            is_terminal,
            is_quiet,
            defaults,
            cells: 0,
            finished: 0,
        }
    }

    /// Prints a line above the bar.
    pub fn line(&self, text: &str) {
        if self.is_quiet {
            return;
        }
        if self.is_terminal {
            self.bar.suspend(|| {
                let _ = writeln!(std::io::stderr(), "{text}");
            });
        } else {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    fn name(&self, key: &CellKey) -> String {
        key.name(&self.defaults)
    }

    fn say(&self, what: &str) {
        self.bar.set_message(format!(
            "{what} · cell {} of {}",
            self.finished + 1,
            self.cells
        ));
    }

    /// Shows one event.
    pub fn show(&mut self, event: &AuditEvent) {
        match event {
            AuditEvent::Started {
                folder,
                already_done,
                todo,
                ..
            } => {
                self.cells = todo.len();
                let steps: u64 = todo.iter().map(|key| u64::from(key.steps.value())).sum();
                self.bar.set_length(steps);
                let there = match already_done {
                    0 => String::new(),
                    n => format!(", {n} done before"),
                };
                let cells = if todo.len() == 1 { "cell" } else { "cells" };
                self.line(&format!(
                    "{}: {} {cells} to make{there}",
                    folder.display(),
                    todo.len()
                ));
            }
            AuditEvent::CheckingWeights => self.bar.set_message("checking the weights"),
            AuditEvent::Warning { text } => self.line(&format!("warning: {text}")),
            AuditEvent::Memory { lines } => {
                for line in lines {
                    self.line(&format!("memory: {line}"));
                }
            }
            AuditEvent::Preparing => self.bar.set_message("encoding prompts and picture"),
            AuditEvent::Loading { quant } => self.say(&format!("loading {quant}")),
            AuditEvent::CellStarted { key } => {
                let name = self.name(key);
                self.say(&name);
            }
            AuditEvent::Step { .. } => self.bar.inc(1),
            AuditEvent::CellFinished { key, state } => {
                self.finished += 1;
                let became = match state {
                    CellState::Failed { error, .. } => format!("failed: {error}"),
                    other => {
                        let secs = other.timing().and_then(|timing| timing.wall_secs);
                        secs.map_or_else(|| other.word().to_owned(), duration)
                    }
                };
                self.line(&format!(
                    "[{}/{}] {}  {became}",
                    self.finished,
                    self.cells,
                    self.name(key)
                ));
            }
            AuditEvent::Finished(_) => self.bar.finish_and_clear(),
        }
    }
}

/// A flag that Ctrl-C and a polite kill set; the run then ends after the current block. A second one
/// ends the program at once.
pub fn cancel_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let spawned = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            while runtime.block_on(next_signal()) {
                if set.swap(true, Ordering::Relaxed) {
                    std::process::exit(super::EXIT_CANCELLED.into());
                }
                let _ = writeln!(
                    std::io::stderr(),
                    "stopping after the current block; finished cells are kept (again to stop at once)"
                );
            }
        });
    if let Err(error) = spawned {
        tracing::warn!("Ctrl-C will stop the program at once: {error}");
    }
    flag
}

/// Waits for Ctrl-C or a polite kill; `false` if they cannot be heard.
#[cfg(unix)]
pub(super) async fn next_signal() -> bool {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return false;
    };
    tokio::select! {
        got = interrupt.recv() => got.is_some(),
        got = terminate.recv() => got.is_some(),
    }
}

/// Waits for Ctrl-C; `false` if it cannot be heard.
#[cfg(not(unix))]
pub(super) async fn next_signal() -> bool {
    tokio::signal::ctrl_c().await.is_ok()
}
