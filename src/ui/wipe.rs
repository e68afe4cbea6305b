//! The wipe's line on the pictures: it can be taken with the pointer in every cell, at any zoom.

use super::UiMemory;
use super::canvas::{self, CellMap, View};
use crate::state::Msg;
use crate::state::look::{Compare, Look};
use crate::state::run_view::RunView;
use eframe::egui::{self, Align2, Color32, FontId, Rect, Response, Stroke, pos2};

/// The line is taken from this near, in points.
const REACH: f32 = 7.0;

fn line_in_image(view: &RunView, memory: &UiMemory) -> f64 {
    f64::from(view.look.wipe) * memory.size_in_image[0]
}

fn moved_to(pos_in_image: f64, view: &RunView, memory: &UiMemory, out: &mut Vec<Msg>) {
    let wipe = (pos_in_image / memory.size_in_image[0].max(1.0)).clamp(0.0, 1.0) as f32;
    if wipe != view.look.wipe {
        out.push(Msg::SetLook(Box::new(Look {
            wipe,
            ..view.look.clone()
        })));
    }
}

/// Where the wipe has just been switched on and its line lies outside of what the cells show, puts it into
/// their middle.
pub fn bring_into_view(
    rect: Rect,
    pixels_per_point: f32,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let is_wiping = view.look.compare == Compare::Wipe;
    if is_wiping && !memory.was_wiping {
        let cell_px = canvas::cell_px(rect, pixels_per_point);
        let shown = memory.framing.view(memory.size_in_image, cell_px);
        let visible = CellMap::new(rect, pixels_per_point, &shown).visible();
        let line = line_in_image(view, memory);
        if line <= visible.min[0] || line >= visible.max[0] {
            moved_to(shown.center_in_image[0], view, memory, out);
        }
    }
    memory.was_wiping = is_wiping;
}

/// Takes a drag that begins on the line; true while it lasts, so that nothing else takes it.
pub fn drag_response(
    ui: &egui::Ui,
    response: &Response,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) -> bool {
    if view.look.compare != Compare::Wipe || view.is_reference_held {
        memory.wipe_drag = None;
        return false;
    }
    let pixels_per_point = ui.pixels_per_point();
    let cell_px = canvas::cell_px(response.rect, pixels_per_point);
    let shown = memory.framing.view(memory.size_in_image, cell_px);
    let map = CellMap::new(response.rect, pixels_per_point, &shown);
    let line_in_ui = map.to_ui([line_in_image(view, memory), 0.0]).x;
    let is_on_line = |pos: egui::Pos2| (pos.x - line_in_ui).abs() <= REACH;
    let (press, has_shift) =
        ui.input(|input| (input.pointer.press_origin(), input.modifiers.shift));
    // Before egui calls it a drag, the pointer has moved some points: what counts is where it went down.
    if response.drag_started() && !has_shift && press.is_some_and(is_on_line) {
        memory.wipe_drag = Some(response.id);
    }
    let is_dragging = memory.wipe_drag == Some(response.id);
    if is_dragging || response.hover_pos().is_some_and(is_on_line) {
        ui.ctx().set_cursor_icon(egui::CursorIcon::ResizeHorizontal);
    }
    if is_dragging {
        if let Some(pointer) = response.interact_pointer_pos() {
            moved_to(map.to_image(pointer)[0], view, memory, out);
        }
        if !response.dragged() {
            memory.wipe_drag = None;
        }
    }
    is_dragging
}

/// A handle on the line, so that one sees that it can be taken.
pub fn grip_ui(
    painter: &egui::Painter,
    rect: Rect,
    shown: &View,
    view: &RunView,
    memory: &UiMemory,
) {
    if view.look.compare != Compare::Wipe || view.is_reference_held || rect.width() < 60.0 {
        return;
    }
    let map = CellMap::new(rect, painter.pixels_per_point(), shown);
    let x = map.to_ui([line_in_image(view, memory), 0.0]).x;
    if x < rect.left() || x > rect.right() {
        return;
    }
    let painter = painter.with_clip_rect(painter.clip_rect().intersect(rect));
    let at = pos2(x, rect.center().y);
    painter.circle(at, 8.0, Color32::WHITE, Stroke::new(1.5, Color32::BLACK));
    painter.text(
        at,
        Align2::CENTER_CENTER,
        "↔",
        FontId::proportional(12.0),
        Color32::BLACK,
    );
}
