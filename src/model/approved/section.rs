//! The report's "Recommended Settings for Phase 1", as approval fills it in.

use super::ApprovedSettings;
use std::fmt::Write as _;

/// What stands under the report's heading, without the heading; ends in a line break and has no heading
/// of its own.
pub fn recommended_section(settings: &ApprovedSettings) -> String {
    let ApprovedSettings {
        model,
        inference,
        approval,
        replaces,
        ..
    } = settings;
    let unknown = || "unknown".to_owned();
    let mut rows: Vec<(&str, String)> = vec![
        ("Quant", model.quant.to_string()),
        (
            "Weights",
            match (&model.repository, &model.file) {
                (Some(repository), Some(file)) => format!("`{}/{}`", code(repository), code(file)),
                _ => unknown(),
            },
        ),
        (
            "SHA-256",
            model.sha256.as_deref().map_or_else(unknown, |digits| format!("`{digits}`")),
        ),
        ("Guidance scale", inference.guidance_scale.to_string()),
        ("Steps", inference.num_inference_steps.to_string()),
        (
            "Prompt",
            match inference.prompt.as_deref() {
                None => unknown(),
                Some("") => "(empty)".to_owned(),
                Some(prompt) => format!("`{}`", code(prompt)),
            },
        ),
        (
            "Long side",
            inference.long_side_px.map_or_else(unknown, |px| match inference.crop_margin {
                None => format!("{px} px"),
                Some(margin) => format!("{px} px of the mask's box with a margin of {margin}"),
            }),
        ),
        ("Seed of the approved picture", inference.seed.map_or_else(unknown, |seed| seed.to_string())),
        (
            "Mask",
            settings.recipe().map_or_else(unknown, |recipe| {
                format!(
                    "threshold {}, drop under {} px, close {} px, open {} px, dilate {} px, at most {:.0} % of the picture, feather {} px",
                    recipe.threshold,
                    recipe.min_component_px,
                    recipe.close_px,
                    recipe.open_px,
                    recipe.dilate_px,
                    recipe.max_coverage * 100.0,
                    recipe.feather_sigma_px
                )
            }),
        ),
        ("GPU", approval.gpu.as_deref().map_or_else(unknown, plain)),
        (
            "Wall seconds",
            approval.wall_secs.map_or_else(unknown, |secs| format!("{secs:.1}")),
        ),
        ("Cells seen", format!("{} of {}", approval.cells_seen, approval.cells_total)),
    ];
    let votes = approval.blind_votes;
    rows.push((
        "Blind votes",
        format!(
            "{} won, {} lost, {} tied, {} all bad",
            votes.wins, votes.losses, votes.ties, votes.all_bad
        ),
    ));
    rows.push((
        "Replaces",
        format!(
            "{}, guidance {}, {} steps",
            replaces.quant, replaces.guidance_scale, replaces.num_inference_steps
        ),
    ));

    let mut text = String::new();
    let _ = writeln!(
        text,
        "`{}` of run `{}`, approved by {} on {}.\n",
        code(&approval.cell),
        approval.run,
        plain(&approval.approved_by),
        approval.approved_at.short()
    );
    text.push_str("| Setting | Value |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    if !approval.note.is_empty() {
        let _ = writeln!(text, "\nNote: {}", plain(&approval.note));
    }
    if !approval.overrides.is_empty() {
        text.push_str("\nApproved although it was held back:\n\n");
        for one in &approval.overrides {
            let _ = writeln!(text, "- `{}`: {}", one.reason, plain(&one.because));
        }
    }
    text
}

/// Text on one line of Markdown that cannot begin a heading, end a table's cell or open HTML.
fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '#' | '*' | '_' | '[' | ']' => {
                safe.push('\\');
                safe.push(c);
            }
            '<' => safe.push_str("&lt;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// Text within backticks in a table's cell.
fn code(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '`' => '\'',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect::<String>()
        .replace('|', "\\|")
}
