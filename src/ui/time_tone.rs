//! A strip under each cell, toned by the time that it took, and the legend. One hue, darker for longer:
//! neither the colours of verdicts nor that of warnings.

use super::grid_cell::Placed;
use super::theme;
use crate::model::run::CellState;
use crate::state::run_view::RunView;
use crate::state::seeing::time_tone::{TimeRange, TimeTone, secs_label};
use eframe::egui::{self, Color32, Rect, Sense, Stroke, pos2, vec2};

/// Height of the strip, in points.
pub const STRIP_HEIGHT: f32 = 8.0;
/// The least time.
const LIGHT: Color32 = Color32::from_rgb(0xe6, 0xdc, 0xf5);
/// The most.
const DARK: Color32 = Color32::from_rgb(0x3d, 0x1f, 0x6b);
/// Steps of the legend.
const STEPS: u8 = 24;

/// Whether the cells have a strip.
pub fn is_on(view: &RunView) -> bool {
    view.look.tone != TimeTone::Off
}

fn tone(fraction: f32) -> Color32 {
    LIGHT.lerp_to_gamma(DARK, fraction)
}

/// The strip of one cell; where the time is unknown it is crossed out. `range` is all cells'.
pub fn strip_ui(
    painter: &egui::Painter,
    it: &Placed<'_>,
    view: &RunView,
    range: Option<TimeRange>,
) {
    if !is_on(view) {
        return;
    }
    let strip = it.rect.with_min_y(it.rect.bottom() - STRIP_HEIGHT);
    let secs = view.look.tone.secs_of(&view.run, it.key);
    let is_done = matches!(view.run.cells.get(it.key), Some(CellState::Done(_)));
    if let (Some(secs), Some(range)) = (secs, range) {
        painter.rect_filled(strip, 0.0, tone(range.fraction(secs)));
    } else if is_done {
        painter.rect_filled(strip, 0.0, theme::EMPTY_CELL);
        painter.line_segment(
            [strip.left_bottom(), strip.right_top()],
            Stroke::new(1.0, theme::ON_SURROUND),
        );
    }
}

/// What the tones mean.
pub fn legend_ui(ui: &mut egui::Ui, view: &RunView) {
    let time = view.look.tone;
    if time == TimeTone::Off {
        return;
    }
    let Some(range) = time.range(&view.run) else {
        ui.label(format!("{}: unknown for every cell", time.label()));
        return;
    };
    ui.label(format!("{}: {}", time.label(), secs_label(range.least)));
    let (rect, response) = ui.allocate_exact_size(vec2(96.0, 12.0), Sense::hover());
    let width = rect.width() / f32::from(STEPS);
    for step in 0..STEPS {
        let left = rect.left() + f32::from(step) * width;
        let part = Rect::from_min_max(
            pos2(left, rect.top()),
            pos2(left + width + 0.5, rect.bottom()),
        );
        ui.painter()
            .rect_filled(part, 0.0, tone(f32::from(step) / f32::from(STEPS - 1)));
    }
    let label = format!(
        "{} from {} to {}",
        time.label(),
        secs_label(range.least),
        secs_label(range.most)
    );
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &label));
    response.on_hover_text(
        "The strip under each cell. How long it took says nothing about how good it is.",
    );
    ui.label(secs_label(range.most));
}
