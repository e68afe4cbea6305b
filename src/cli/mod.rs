//! The command line: one file per subcommand. Parsing records what was typed; checking comes after.

pub mod approve;
pub mod assets;
pub mod bucket;
pub mod check;
pub mod demo;
pub mod doctor;
mod dry_run;
mod examination;
pub mod job;
pub mod list;
pub mod log;
pub mod mask;
pub mod matrix_args;
pub mod models;
pub mod progress;
pub mod pull;
pub mod push;
pub mod report;
pub mod run;
pub mod serve;
pub mod sharding;
pub mod show;
pub mod uploading;
pub mod view;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The program ended as it should.
pub const EXIT_OK: u8 = 0;
/// Something went wrong; the message says what.
pub const EXIT_ERROR: u8 = 1;
/// The command line cannot be understood.
pub const EXIT_USAGE: u8 = 2;
/// The run came to its end, but cells of it failed.
pub const EXIT_CELLS_FAILED: u8 = 3;
/// Stopped by Ctrl-C; what was finished is kept.
pub const EXIT_CANCELLED: u8 = 130;

const AFTER_HELP: &str = "\
Without a subcommand the window opens: `fill-audit` on the inbox, `fill-audit RUN` on a run.

Examples:
  fill-audit demo                        a small run with the embedded model, then the window
  fill-audit models pull                 weights of FLUX.1-Fill-dev, into the Hugging Face cache
  fill-audit run --session sessions/leash-on-grass --models ~/models/flux-fill
  fill-audit run --extend runs/20261121-090000 --quant Q5_K_S --guidance 4 --steps 20,28,50
  fill-audit show runs/20261121-090000   what became of each cell
  fill-audit approve runs/20261121-090000 Q5_K_S_gs4 --reviewer me
  fill-audit pull gs://PROJECT.firebasestorage.app/audit/20261121-090000/
  fill-audit run --session gs://PROJECT.firebasestorage.app/users/U/sessions/S --push
  fill-audit job plan --session gs://PROJECT.firebasestorage.app/users/U/sessions/S

Exit codes:
  0  done        1  an error        2  wrong usage
  3  the run ended but cells failed        130  stopped by Ctrl-C, what was finished is kept";

/// See, judge and settle how a photo service should run FLUX.1-Fill-dev.
///
/// fill-audit fills one photograph with every combination of quantization, guidance scale and steps,
/// shows the results side by side, and writes down the settings that a person approves.
#[derive(Debug, Parser)]
#[command(
    name = "fill-audit",
    version,
    after_help = AFTER_HELP,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to view, without a subcommand.
    #[command(flatten)]
    pub view: view::ViewArgs,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Open the window on a run, or on the inbox (default).
    View(view::ViewArgs),
    /// Make a small run with the embedded model and open the window on it.
    Demo(demo::DemoArgs),
    /// Fill a session with every combination of settings; killed or stopped, the same command goes on.
    Run(Box<run::RunArgs>),
    /// Print what became of each cell of a run.
    Show(show::ShowArgs),
    /// Write a run's REPORT.md again, or its contact sheet.
    Report(report::ReportArgs),
    /// Write the settings of one cell to phase1.toml.
    Approve(approve::ApproveArgs),
    /// Verify a settings file, also against its run and its weights.
    Check(check::CheckArgs),
    /// Clean up and grow mask files, and print what that does to them.
    Mask(mask::MaskArgs),
    /// List, check and fetch weights.
    Models(models::ModelsArgs),
    /// List the runs in the bucket and on disk.
    List(Box<list::ListArgs>),
    /// Fetch a run or a session from the bucket; run again to resume.
    Pull(Box<pull::PullArgs>),
    /// Send a run, its review and its settings to the bucket; run again to resume.
    Push(Box<push::PushArgs>),
    /// Run audits that are asked for over HTTP, on this machine's GPU.
    Serve(serve::ServeArgs),
    /// Make runs as a Cloud Run job on L4s: plan, start, follow, cancel; and deploy the job.
    Job(Box<job::JobArgs>),
    /// Check devices, weights, credentials, bucket, permissions and clock; measure accelerations.
    Doctor(Box<doctor::DoctorArgs>),
}

/// Runs a command.
///
/// # Errors
/// Whatever kept it from being done.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    match cli.command.unwrap_or(Command::View(cli.view)) {
        Command::View(args) => view::run(&args).map(|()| EXIT_OK),
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Show(args) => show::run(&args).map(|()| EXIT_OK),
        Command::Report(args) => report::run(&args).map(|()| EXIT_OK),
        Command::Approve(args) => approve::run(&args).map(|()| EXIT_OK),
        Command::Check(args) => check::run(&args).map(|()| EXIT_OK),
        Command::Mask(args) => mask::run(&args).map(|()| EXIT_OK),
        Command::Models(args) => models::run(&args).map(|()| EXIT_OK),
        Command::List(args) => list::run(*args),
        Command::Pull(args) => pull::run(*args),
        Command::Push(args) => push::run(*args),
        Command::Serve(args) => serve::run(&args).map(|()| EXIT_OK),
        Command::Job(args) => job::run(*args),
        Command::Doctor(args) => doctor::run(*args).map(|()| EXIT_OK),
    }
}

/// Parses the command line, runs it, and prints an error with its causes.
pub fn main() -> ExitCode {
    log::start();
    match run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        // A reader that has seen enough is no failure.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(EXIT_OK),
        Err(error) => {
            print_error(&error);
            ExitCode::from(EXIT_ERROR)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[expect(clippy::print_stderr, reason = "this is where errors are shown")]
fn print_error(error: &anyhow::Error) {
    eprintln!("error: {error}");
    let mut shown = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Some messages hold their cause already.
        if !shown.contains(&text) {
            eprintln!("  because: {text}");
        }
        shown = text;
    }
}

/// The folder of a run that is given as a path, or as a name below the folder of runs.
pub fn run_folder_of(given: &Path, runs_dir: &Path) -> PathBuf {
    let below = runs_dir.join(given);
    if !given.exists() && given.components().count() == 1 && below.is_dir() {
        below
    } else {
        given.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_subcommand_the_window_opens() {
        let cli = Cli::try_parse_from(["fill-audit"]).map_err(|error| error.to_string());
        assert!(cli.is_ok_and(|cli| cli.command.is_none() && cli.view.run.is_none()));
        let cli = Cli::try_parse_from(["fill-audit", "runs/x"]).map_err(|error| error.to_string());
        assert!(cli.is_ok_and(|cli| cli.view.run == Some(PathBuf::from("runs/x"))));
    }
}
