//! The text of `phase1.toml`, in the layout of the schema, with a comment on each value. Written by
//! hand rather than by a serializer: the comments are half of what the file is for.

use super::ApprovedSettings;
use std::fmt::Write as _;

/// Where comments begin.
const COMMENT_COLUMN: usize = 46;

fn line(text: &mut String, body: &str, comment: &str) {
    let pad = COMMENT_COLUMN.saturating_sub(body.chars().count()).max(2);
    let _ = writeln!(text, "{body}{:pad$}# {comment}", "");
}

fn known(text: &mut String, key: &str, value: Option<String>, comment: &str) {
    if let Some(value) = value {
        line(text, &format!("{key} = {value}"), comment);
    }
}

/// A TOML basic string on one line.
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// The shortest decimal that reads back, with a point.
fn decimal(value: impl Into<f64> + std::fmt::Debug) -> String {
    // Debug writes `10.0` and `2.5`, and never an exponent within the ranges of these documents.
    format!("{:?}", value.into())
}

fn single(value: f32) -> String {
    format!("{value:?}")
}

/// Seeds above TOML's integers are written as text.
fn seed_text(seed: u64) -> String {
    if i64::try_from(seed).is_ok() {
        seed.to_string()
    } else {
        quoted(&seed.to_string())
    }
}

/// A whole number of milliseconds without a point, any other with.
fn millis(value: f64) -> String {
    if value.fract() == 0.0 && value < 1e15 {
        format!("{value:.0}")
    } else {
        decimal(value)
    }
}

/// Two digits where they say it all: `0.40`.
fn coverage(value: f32) -> String {
    let two = format!("{value:.2}");
    if two.parse() == Ok(value) {
        two
    } else {
        single(value)
    }
}

pub(super) fn write(settings: &ApprovedSettings) -> String {
    let mut text = String::from(
        "# Approved settings for Phase 1, written by fill-audit. `fill-audit check` verifies this file.\n",
    );
    let out = &mut text;
    let text_of = |value: &Option<String>| value.as_deref().map(quoted);
    line(
        out,
        &format!("schema = {}", settings.schema),
        "layout of this file; a newer one is refused",
    );

    let model = &settings.model;
    out.push_str("\n[model]\n");
    known(
        out,
        "repository",
        text_of(&model.repository),
        "of the transformer",
    );
    known(out, "file", text_of(&model.file), "the transformer there");
    known(out, "sha256", text_of(&model.sha256), "of that file");
    line(
        out,
        &format!("quant = {}", quoted(model.quant.as_str())),
        "quantization of the transformer",
    );
    known(
        out,
        "base",
        text_of(&model.base),
        "VAE, text encoders, scheduler",
    );

    let inference = &settings.inference;
    out.push_str("\n[inference]\n");
    line(
        out,
        &format!(
            "guidance_scale = {}",
            decimal(inference.guidance_scale.value())
        ),
        "as it is fed to the guidance embedding",
    );
    line(
        out,
        &format!("num_inference_steps = {}", inference.num_inference_steps),
        "denoising steps",
    );
    known(
        out,
        "prompt",
        text_of(&inference.prompt),
        "the whole prompt; may be empty",
    );
    known(
        out,
        "max_sequence_length",
        inference.max_sequence_length.map(|n| n.to_string()),
        "tokens of the T5 encoder",
    );
    known(
        out,
        "long_side_px",
        inference.long_side_px.map(|n| n.to_string()),
        "at most; both sides down to multiples of 16",
    );
    known(
        out,
        "crop_margin",
        inference.crop_margin.map(single),
        "cropped to the mask's box; part of its longer side",
    );
    known(
        out,
        "seed",
        inference.seed.map(seed_text),
        "of the approved picture; production draws its own",
    );

    if let (Some(mask), Some(composite)) = (&settings.mask, &settings.composite) {
        out.push('\n');
        line(
            out,
            "[mask]",
            "radii in pixels at inference size, in this order",
        );
        line(
            out,
            &format!("threshold = {}", mask.threshold),
            "white where grey is at least this, 1 to 255",
        );
        line(
            out,
            &format!("min_component_px = {}", mask.min_component_px),
            "smaller components are dropped",
        );
        line(
            out,
            &format!("close_px = {}", single(mask.close_px)),
            "closes gaps",
        );
        line(
            out,
            &format!("open_px = {}", single(mask.open_px)),
            "drops thin parts; small components go again",
        );
        line(
            out,
            &format!("dilate_px = {}", single(mask.dilate_px)),
            "grown last; the model is given this mask",
        );
        line(
            out,
            &format!("max_coverage = {}", coverage(mask.max_coverage)),
            "a mask that covers more is refused",
        );
        out.push_str("\n[composite]\n");
        line(
            out,
            &format!("feather_sigma_px = {}", single(composite.feather_sigma_px)),
            "blended after inference, outside stays untouched",
        );
    }

    let approval = &settings.approval;
    out.push_str("\n[approval]\n");
    line(
        out,
        &format!("approved_by = {}", quoted(&approval.approved_by)),
        "the reviewer",
    );
    line(
        out,
        &format!("approved_at = {}", approval.approved_at.whole_seconds()),
        "UTC",
    );
    line(
        out,
        &format!("run = {}", quoted(approval.run.as_str())),
        "that the picture is from",
    );
    known(
        out,
        "session",
        approval.session.as_ref().map(|id| quoted(id.as_str())),
        "that was filled",
    );
    line(
        out,
        &format!("cell = {}", quoted(&approval.cell)),
        "its name in that run",
    );
    known(
        out,
        "image_sha256",
        text_of(&approval.image_sha256),
        "of the cell's picture",
    );
    known(out, "gpu", text_of(&approval.gpu), "that made the picture");
    known(
        out,
        "wall_secs",
        approval.wall_secs.map(decimal),
        "of that cell",
    );
    known(
        out,
        "gpu_millis",
        approval.gpu_millis.map(millis),
        "of that cell, by the GPU's own events",
    );
    line(
        out,
        &format!("cells_seen = {}", approval.cells_seen),
        "by the reviewer",
    );
    line(
        out,
        &format!("cells_total = {}", approval.cells_total),
        "planned in the run",
    );
    let votes = approval.blind_votes;
    line(
        out,
        &format!(
            "blind_votes = {{ wins = {}, losses = {}, ties = {}, all_bad = {} }}",
            votes.wins, votes.losses, votes.ties, votes.all_bad
        ),
        "on this cell",
    );
    line(
        out,
        &format!("note = {}", quoted(&approval.note)),
        "the reviewer's",
    );
    for one in &approval.overrides {
        out.push('\n');
        line(
            out,
            "[[approval.override]]",
            "one for each reason that held it back",
        );
        line(
            out,
            &format!("reason = {}", quoted(one.reason.code())),
            "what held it back",
        );
        line(
            out,
            &format!("because = {}", quoted(&one.because)),
            "why it was approved all the same",
        );
    }

    let replaces = &settings.replaces;
    out.push('\n');
    line(
        out,
        "[replaces]",
        "what this file said before, or production's baseline",
    );
    line(
        out,
        &format!("quant = {}", quoted(replaces.quant.as_str())),
        "of the transformer",
    );
    line(
        out,
        &format!(
            "guidance_scale = {}",
            decimal(replaces.guidance_scale.value())
        ),
        "as above",
    );
    line(
        out,
        &format!("num_inference_steps = {}", replaces.num_inference_steps),
        "as above",
    );
    text
}
