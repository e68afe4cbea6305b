//! From the run's state and the look that is chosen to what the canvas paints and says of a cell.

use super::canvas::{self, CellPaint, Mode, View};
use super::{UiMemory, verdicts};
use crate::model::cell::{Baseline, CellKey};
use crate::model::matrix::Axis;
use crate::model::run::CellState;
use crate::state::compose::duration_label;
use crate::state::lab::rerun;
use crate::state::look::{Channel, Compare, Metric, Overlay, Reference};
use crate::state::run_view::RunView;

/// What a screen reader says of a cell, and what tests find it by: its name, its state, its marks.
pub fn accessible_label(view: &RunView, key: &CellKey) -> String {
    let state = match view.run.cells.get(key).map_or("missing", CellState::word) {
        "missing" if view.lacks(key) => "arriving",
        word => word,
    };
    let mark = match view.run.baseline(key) {
        Some(Baseline::Exact) => ", baseline",
        Some(Baseline::OtherSteps) => ", baseline's quant and guidance",
        None => "",
    };
    let made_at = rerun::made_at(view, key).map_or(String::new(), |text| format!(", {text}"));
    format!(
        "{}, {state}{mark}{}{made_at}",
        view.run.cell_name(key),
        verdicts::accessible_verdict(view, key)
    )
}

/// What differs from the labels around a cell, and how long it took.
pub fn caption(view: &RunView, key: &CellKey) -> Option<String> {
    let mut parts = Vec::new();
    let in_strip = view.grid.strips.iter().find(|strip| {
        strip.cells.contains(key) && !view.grid.cells.iter().flatten().any(|cell| cell == key)
    });
    if let Some(strip) = in_strip {
        let value = strip.axis.value_of(key).label(&view.run.prompts);
        parts.push(match strip.axis {
            Axis::Steps => format!("{value} steps"),
            axis => format!("{} {value}", axis.label()),
        });
    }
    if let Some(secs) = view
        .run
        .cells
        .get(key)
        .and_then(CellState::timing)
        .and_then(|t| t.wall_secs)
    {
        parts.push(if secs < 100.0 {
            format!("{secs:.1} s")
        } else {
            duration_label(secs)
        });
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// One line that names a cell in full: `Q5_K_S · guidance 4 · 28 steps · seed 42`.
pub fn full_title(view: &RunView, key: &CellKey) -> String {
    let mut parts = vec![
        key.quant.to_string(),
        format!("guidance {}", key.guidance),
        format!("{} steps", key.steps),
    ];
    if let Some(seed) = key.seed {
        parts.push(format!("seed {seed}"));
    }
    if view.run.axis_values(Axis::Prompt).len() > 1 {
        parts.push(format!(
            "prompt {}",
            Axis::Prompt.value_of(key).label(&view.run.prompts)
        ));
    }
    if view.run.axis_values(Axis::Dilation).len() > 1 {
        parts.push(format!(
            "dilation {}",
            Axis::Dilation.value_of(key).label(&view.run.prompts)
        ));
    }
    parts.join(" · ")
}

/// What the canvas paints for a cell; `None` while there is no canvas.
pub fn paint(
    view: &RunView,
    key: &CellKey,
    shown: View,
    memory: &mut UiMemory,
) -> Option<CellPaint> {
    let image = memory.image_of(view, key)?;
    let reference = match &view.look.reference {
        Reference::Original => memory.original_of(view),
        Reference::Cell(other) => memory.image_of(view, other),
    };
    if view.is_reference_held
        && let Some(reference) = reference
    {
        let mut paint = CellPaint::new(reference, shown);
        paint.size_in_image = Some(memory.size_in_image);
        return Some(paint);
    }
    let mut paint = CellPaint::new(image, shown);
    paint.size_in_image = Some(memory.size_in_image);
    paint.reference = reference;
    paint.mask = memory.mask_field;
    paint.dilate_px = view.shown_dilation_px(key).unwrap_or(0.0);
    paint.exposure_stops = view.look.exposure_stops;
    paint.channel = match view.look.channel {
        Channel::All => canvas::Channel::Rgb,
        Channel::Red => canvas::Channel::Red,
        Channel::Green => canvas::Channel::Green,
        Channel::Blue => canvas::Channel::Blue,
        Channel::Luma => canvas::Channel::Luma,
    };
    paint.mode = match view.look.compare {
        Compare::Plain => Mode::Plain,
        Compare::Wipe => Mode::Wipe {
            split_in_image: f64::from(view.look.wipe) * memory.size_in_image[0],
        },
        Compare::Difference => Mode::Difference {
            metric: match view.look.metric {
                Metric::Signed => canvas::Metric::Signed,
                Metric::Absolute => canvas::Metric::Absolute,
                Metric::Luma => canvas::Metric::Luma,
                Metric::DeltaE2000 => canvas::Metric::DeltaE2000,
            },
            gain: view.look.gain,
            threshold: view.look.threshold,
        },
    };
    if paint.mode.needs_reference() && paint.reference.is_none() {
        paint.mode = Mode::Plain;
    }
    apply_overlay(&mut paint, view.look.overlay);
    Some(paint)
}

fn apply_overlay(paint: &mut CellPaint, overlay: Overlay) {
    if paint.mask.is_none() {
        return;
    }
    match overlay {
        Overlay::Off => {}
        Overlay::Outline => paint.overlay = canvas::Overlay::Outline,
        Overlay::Tint => paint.overlay = canvas::Overlay::Tint,
        Overlay::Ring => paint.overlay = canvas::Overlay::Ring,
        Overlay::Tokens => {
            paint.has_token_grid = true;
            paint.overlay = canvas::Overlay::Outline;
        }
        Overlay::Mask => paint.mode = Mode::Mask,
        Overlay::Masked => paint.mode = Mode::MaskedPicture,
    }
}
