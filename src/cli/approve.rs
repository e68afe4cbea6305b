//! `fill-audit approve`: stages a cell's settings, shows the difference, and writes them, with the same
//! bytes as the window.

use crate::audit::journal::{self, Journal, Sink as _};
use crate::audit::run_folder::{self, Verification};
use crate::audit::{approval, hash};
use crate::model::approved::staging::Overrides;
use crate::model::approved::{ReasonCode, Request, draft};
use crate::model::cell::CellKey;
use crate::model::ids::ReviewerId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::review::{EventId, ReviewState, UtcTime};
use anyhow::{Context as _, bail};
use std::io::{BufRead, IsTerminal as _, Write};
use std::path::PathBuf;

/// Write the settings of one cell to phase1.toml.
#[derive(Debug, Clone, clap::Args)]
pub struct ApproveArgs {
    /// The run's folder.
    pub run: PathBuf,
    /// The cell's name, such as `Q5_K_S_gs4`.
    pub cell: String,
    /// Who approves; their journal says what was seen.
    #[arg(long, env = "FILL_AUDIT_REVIEWER")]
    pub reviewer: String,
    /// A note for whoever reads the settings [default: the reviewer's note on the cell].
    #[arg(long)]
    pub note: Option<String>,
    /// Why a reason that holds the approval back does not count, as `code=why`; once for each reason.
    #[arg(long = "override", value_name = "CODE=WHY", value_parser = parse_override)]
    pub overrides: Vec<(ReasonCode, String)>,
    /// Write another dilation than the cell was made with, in pixels at inference size.
    #[arg(long, value_name = "PX")]
    pub dilate_px: Option<f32>,
    /// The settings file.
    #[arg(long, value_name = "FILE", default_value = "phase1.toml")]
    pub out: PathBuf,
    /// Write without asking.
    #[arg(long, short)]
    pub yes: bool,
}

fn parse_override(text: &str) -> Result<(ReasonCode, String), String> {
    let (code, why) = text
        .split_once('=')
        .ok_or_else(|| format!("an override is written code=why, but is {text:?}"))?;
    let code: ReasonCode = code.trim().parse().map_err(|error| format!("{error}"))?;
    if why.trim().is_empty() {
        return Err(format!(
            "the override of {code} needs a reason after the equals sign"
        ));
    }
    Ok((code, why.trim().to_owned()))
}

/// What the command takes from outside besides files: tests give their own.
pub struct Surroundings<'a> {
    /// The time that is written.
    pub now: UtcTime,
    /// The name of the journal's event.
    pub event_id: EventId,
    /// Answers "Write it?"; `None` where nobody can be asked.
    pub answers: Option<&'a mut dyn BufRead>,
}

/// Runs the command with the real clock and terminal.
///
/// # Errors
/// Whatever kept the settings from being written, held-back reasons included.
pub fn run(args: &ApproveArgs) -> anyhow::Result<()> {
    let mut bits = [0u8; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    let stdin = std::io::stdin();
    let mut lock = stdin.lock();
    let surroundings = Surroundings {
        now: UtcTime::new(jiff::Timestamp::now()),
        event_id: EventId::from_bits(u128::from_le_bytes(bits)),
        answers: if stdin.is_terminal() {
            Some(&mut lock)
        } else {
            None
        },
    };
    run_with(args, surroundings, &mut std::io::stdout())
}

/// Runs the command in the given surroundings.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    args: &ApproveArgs,
    surroundings: Surroundings<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let run = run_folder::open(&args.run, Verification::Full)?;
    let cell = CellKey::parse(&args.cell, &run.defaults)
        .filter(|key| run.cells.contains_key(key))
        .with_context(|| {
            let names: Vec<String> = run.cells.keys().map(|key| run.cell_name(key)).collect();
            format!(
                "run {} has no cell {:?}; it has {}",
                run.run_id,
                args.cell,
                names.join(", ")
            )
        })?;
    let journals = journal::read_all(&args.run)?;
    for warning in run.warnings.iter().chain(&journals.warnings) {
        writeln!(out, "warning: {warning}")?;
    }
    let review = ReviewState::replay(journals.events);
    let reviewer = ReviewerId::from_name(&args.reviewer);
    let path = args.out.display().to_string();
    let current = approval::read_current(&args.out)?;
    let picture = args.run.join(run.picture_file(&cell));
    let recipe: Option<MaskRecipe> = match (args.dilate_px, run.recipe_of(&cell)) {
        (Some(dilate_px), Some(made_with)) => Some(MaskRecipe {
            dilate_px,
            ..made_with
        }),
        (Some(_), None) => bail!(
            "--dilate-px changes the recipe that the cell was made with, which this run does not say"
        ),
        (None, _) => None,
    };
    let image_sha256 = match hash::sha256_file(&picture) {
        Ok(digits) => Some(digits),
        // A cell without a picture is refused below, by name.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", picture.display()));
        }
    };
    let draft = draft(Request {
        run: &run,
        cell: &cell,
        review: &review,
        reviewer: &reviewer,
        approved_by: &args.reviewer,
        at: surroundings.now,
        note: args.note.as_deref(),
        recipe: recipe.as_ref(),
        image_sha256: image_sha256.as_deref(),
        current: current.as_deref().map(|text| (text, path.as_str())),
    })?;

    let mut overrides = Overrides::new();
    for (code, why) in &args.overrides {
        if overrides.insert(*code, why.clone()).is_some() {
            bail!("{code} is overridden twice; give one reason for it");
        }
    }
    let left = draft.still_held_back(&overrides);
    if !left.is_empty() {
        write!(
            out,
            "{}",
            crate::model::approved::unified(draft.current(), &draft.preview(&overrides), &path)
        )?;
        writeln!(out, "\nHeld back:")?;
        for reason in &left {
            writeln!(
                out,
                "  {}\n    to approve all the same: --override {}=\"why\"",
                reason.sentence, reason.code
            )?;
        }
    }
    // Refuses while anything is left, and for an override of nothing.
    let staged = draft.stage(&overrides)?;
    write!(out, "{}", staged.unified(&path))?;
    if !args.yes {
        confirm(surroundings.answers, &path, out)?;
    }

    let kept = approval::write_settings(&args.out, &staged)?;
    writeln!(out, "{path} is written.")?;
    if let Some(kept) = kept {
        writeln!(out, "The former file is kept as {}.", kept.display())?;
    }
    let event = review.next_event(
        surroundings.event_id,
        surroundings.now,
        &reviewer,
        staged.action(&path),
    );
    // Both are tried, whatever becomes of the other.
    let recorded = Journal::new(&args.run, &reviewer).append(&event);
    let filled = approval::fill_report(&args.run, staged.settings());
    match &filled {
        Ok(true) => writeln!(out, "The report's recommended settings are filled in.")?,
        Ok(false) => writeln!(out, "The run has no REPORT.md yet, so none was filled in.")?,
        Err(_) => {}
    }
    recorded
        .with_context(|| format!("{path} is written but its approval is not in the journal"))?;
    filled.with_context(|| format!("{path} is written but the report is not filled in"))?;
    Ok(())
}

fn confirm(
    answers: Option<&mut dyn BufRead>,
    path: &str,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Some(answers) = answers else {
        bail!("nobody is there to confirm; add --yes to write {path} without asking");
    };
    write!(out, "Write {path}? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        bail!("nothing is written: not confirmed")
    }
}
