//! Where log lines go: to standard error as `FILL_AUDIT_LOG` says, and all of them into a folder where
//! `FILL_AUDIT_LOG_DIR` names one.

use std::path::Path;
use std::sync::Arc;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// The folder of log files, one for each process.
const FOLDER: &str = "FILL_AUDIT_LOG_DIR";

/// Crates that draw: they log every call at their lowest levels, and nothing of storage.
const DRAWING: [&str; 6] = ["egui", "epaint", "naga", "wgpu", "wgpu_core", "wgpu_hal"];

/// Starts logging for the program. A folder that cannot be written is named on standard error.
pub fn start() {
    let filter =
        EnvFilter::try_from_env("FILL_AUDIT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let terminal = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .without_time()
        .with_filter(filter);
    let (folder, problem) = match in_folder() {
        Ok(layer) => (layer, None),
        Err(problem) => (None, Some(problem)),
    };
    // Whoever has started it before goes on with what was started.
    let _ = tracing_subscriber::registry()
        .with(folder)
        .with(terminal)
        .try_init();
    if let Some(problem) = problem {
        tracing::warn!("no log is written: {problem}");
    }
}

/// Starts logging into the folder only; nothing is started where none is named, or a second time.
pub fn start_in_folder() {
    if let Ok(Some(layer)) = in_folder() {
        let _ = tracing_subscriber::registry().with(layer).try_init();
    }
}

/// Lines of every level into a file of this process, where a folder is named.
fn in_folder<S: tracing::Subscriber + for<'a> LookupSpan<'a>>()
-> Result<Option<impl Layer<S>>, String> {
    let Some(folder) = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()) else {
        return Ok(None);
    };
    let folder = Path::new(&folder);
    let path = folder.join(format!("fill-audit-{}.log", std::process::id()));
    let file = std::fs::create_dir_all(folder)
        .and_then(|()| {
            std::fs::File::options()
                .create(true)
                .append(true)
                .open(&path)
        })
        .map_err(|error| format!("{} ({FOLDER}): {error}", path.display()))?;
    let all = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(DRAWING.map(|name| (name, LevelFilter::INFO)));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(Arc::new(file))
        .with_ansi(false)
        .with_filter(all);
    Ok(Some(layer))
}
