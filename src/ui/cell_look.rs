//! From the run's state and the look that is chosen to what the canvas paints and says of a cell.

use super::canvas::{self, CellPaint, ImageId, Mode, View};
use super::{UiMemory, verdicts};
use crate::model::cell::{Baseline, CellKey};
use crate::model::matrix::Axis;
use crate::model::run::CellState;
use crate::state::lab::rerun;
use crate::state::look::{Channel, Compare, Overlay, Reference};
use crate::state::pivot::Strip;
use crate::state::run_view::RunView;
use crate::state::seeing::time_tone::{TimeTone, secs_label};

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

/// What a screen reader says of the second run's cell that stands beside one of the first.
pub fn other_label(view: &RunView, key: &CellKey) -> String {
    let Some(other) = &view.other else {
        return String::new();
    };
    let run_id = &other.run.run_id;
    match other.beside(key) {
        Some((theirs, state)) => format!(
            "{} in run {run_id}, {}",
            other.run.cell_name(theirs),
            state.word()
        ),
        None => format!("{} is not in run {run_id}", view.run.cell_name(key)),
    }
}

/// What a cell is compared with, in a few words: `the original`, `Q4_0_gs10`.
pub fn reference_label(view: &RunView) -> String {
    match (&view.look.reference, &view.other) {
        (Reference::Original, _) => "the original".to_owned(),
        (Reference::Cell(key), _) => view.run.cell_name(key),
        (Reference::OtherRun, Some(other)) => {
            format!("the same cell of run {}", other.run.run_id)
        }
        (Reference::OtherRun, None) => "no second run".to_owned(),
    }
}

/// What differs from the labels around a cell, and how long it took. In the matrix the labels say which cell it
/// is; in a strip its own axes are left to say.
pub fn caption(view: &RunView, key: &CellKey, strip: Option<&Strip>) -> Option<String> {
    let mut parts = Vec::new();
    parts.extend(strip.map_or_else(Vec::new, |strip| strip.says(key, &view.run.prompts)));
    // The time that the cells are toned by, or the wall's.
    let time = match view.look.tone {
        TimeTone::Gpu => TimeTone::Gpu,
        TimeTone::Off | TimeTone::Wall => TimeTone::Wall,
    };
    if let Some(secs) = time.secs_of(&view.run, key) {
        let unit = if time == TimeTone::Gpu { " GPU" } else { "" };
        parts.push(format!("{}{unit}", secs_label(secs)));
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
        Reference::OtherRun => memory.other_image_of(view, key),
    };
    let mut paint = looked_at(view, image, reference, shown, memory);
    if view.is_reference_held && reference.is_some() {
        return Some(paint);
    }
    if let Some((field, place)) = memory.mask_field_of(view, key) {
        paint.mask = Some(field);
        paint.mask_box = Some(place);
    }
    paint.dilate_px = view.shown_dilation_px(key).unwrap_or(0.0);
    apply_overlay(&mut paint, view.look.overlay);
    Some(paint)
}

/// What the canvas paints while the reference is held in a cell's place.
pub fn paint_reference(
    view: &RunView,
    key: &CellKey,
    shown: View,
    memory: &mut UiMemory,
) -> Option<CellPaint> {
    let reference = match &view.look.reference {
        Reference::Original => memory.original_of(view),
        Reference::Cell(other) => memory.image_of(view, other),
        Reference::OtherRun => memory.other_image_of(view, key),
    };
    let mut paint = CellPaint::new(reference?, shown);
    paint.size_in_image = Some(memory.size_in_image);
    Some(paint)
}

/// What the canvas paints for the second run's cell beside one of the first. Its mask is its own and is
/// not known here, so that no overlay lies over it.
pub fn paint_other(
    view: &RunView,
    key: &CellKey,
    shown: View,
    memory: &mut UiMemory,
) -> Option<CellPaint> {
    let image = memory.other_image_of(view, key)?;
    let reference = match &view.look.reference {
        Reference::Original => memory.original_of(view),
        Reference::Cell(other) => memory.image_of(view, other),
        // Each against the other: seen from here that is the first run's.
        Reference::OtherRun => memory.image_of(view, key),
    };
    Some(looked_at(view, image, reference, shown, memory))
}

/// A picture as the look says, without what is drawn of the mask.
fn looked_at(
    view: &RunView,
    image: ImageId,
    reference: Option<ImageId>,
    shown: View,
    memory: &UiMemory,
) -> CellPaint {
    let size_in_image = memory.size_in_image;
    if view.is_reference_held
        && let Some(reference) = reference
    {
        let mut paint = CellPaint::new(reference, shown);
        paint.size_in_image = Some(size_in_image);
        return paint;
    }
    let mut paint = CellPaint::new(image, shown);
    paint.size_in_image = Some(size_in_image);
    paint.reference = reference;
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
            split_in_image: f64::from(view.look.wipe) * size_in_image[0],
        },
        Compare::Difference => Mode::Difference {
            metric: view.look.metric,
            gain: view.look.gain,
            threshold: view.look.threshold,
        },
    };
    paint
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
        Overlay::Change => {
            paint.overlay = canvas::Overlay::Change;
            paint.overlay_strength = 0.65;
        }
        Overlay::Tokens => {
            paint.has_token_grid = true;
            paint.overlay = canvas::Overlay::Outline;
        }
        // Around what is inferred the model sees nothing.
        Overlay::Mask => {
            paint.mode = Mode::Mask;
            paint.shown_box = paint.mask_box;
        }
        Overlay::Masked => {
            paint.mode = Mode::MaskedPicture;
            paint.shown_box = paint.mask_box;
        }
    }
}
