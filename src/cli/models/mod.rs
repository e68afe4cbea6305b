//! `fill-audit models`: which weights are on this machine, whether they are well, and fetching them.

mod check;
mod list;
mod pull;

use crate::cli::assets;
use std::path::PathBuf;

/// List, check and fetch weights.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ModelsCommand,
}

/// What can be done with weights.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ModelsCommand {
    /// List every model that is found: in the Hugging Face cache, in `FILL_AUDIT_MODELS`, beside the program.
    List(list::ListArgs),
    /// Look at every file of a model: present, whole, of FLUX.1-Fill, with its input embedders.
    Check(check::CheckArgs),
    /// Fetch FLUX.1-Fill-dev and its quantizations into the Hugging Face cache; run again to resume.
    Pull(pull::PullArgs),
}

/// Runs the command.
///
/// # Errors
/// What kept it from being done; for `check` also what is wrong with the model.
pub fn run(args: &ModelsArgs) -> anyhow::Result<()> {
    match &args.command {
        ModelsCommand::List(args) => list::run(args),
        ModelsCommand::Check(args) => check::run(args),
        ModelsCommand::Pull(args) => pull::run(args),
    }
}

/// Folders that may hold models, beside the Hugging Face cache.
pub(super) fn named_folders() -> Vec<PathBuf> {
    std::env::var_os("FILL_AUDIT_MODELS")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .into_iter()
        .chain(assets::embedded_model())
        .collect()
}

/// `6.81 GB`, `3.6 MB`.
pub(super) fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        bytes => format!("{:.1} MB", bytes / 1e6),
    }
}
