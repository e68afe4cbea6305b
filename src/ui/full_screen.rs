//! The selected cell alone: a flipbook through parameter space, the pixels in place.

use super::canvas::{self, ImageStatus};
use super::{UiMemory, cell_look, theme, verdicts};
use crate::model::run::CellState;
use crate::state::Msg;
use crate::state::command::Command;
use crate::state::run_view::RunView;
use eframe::egui::{self, Align2, Color32, vec2};

/// Draws the selected cell over the whole of what is left.
pub fn full_screen_ui(
    ui: &mut egui::Ui,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let rect = ui.available_rect_before_wrap();
    ui.painter().rect_filled(rect, 0.0, theme::SURROUND);
    let Some(key) = &view.selected else { return };
    let status = match memory.image_of(view, key) {
        Some(image) => memory
            .canvas
            .as_ref()
            .map_or(ImageStatus::Waiting, |c| c.status(image)),
        None => ImageStatus::Waiting,
    };
    let label = format!("full screen: {}", cell_look::accessible_label(view, key));
    let response = canvas::cell_response(
        ui,
        ui.scope_id().with("full screen"),
        rect,
        &label,
        true,
        status,
    );
    let pixels_per_point = ui.pixels_per_point();
    let cell_px = canvas::cell_px(rect, pixels_per_point);
    memory.answer_view_request(view, cell_px);
    super::marking::mark_response(ui, &response, key, view, memory, out);
    if memory.drawing.is_none() {
        canvas::navigate(&mut memory.framing, &response, memory.size_in_image, true);
    }
    let shown = memory.framing.view(memory.size_in_image, cell_px);
    let cursor = response
        .hover_pos()
        .map(|pointer| canvas::CellMap::new(rect, pixels_per_point, &shown).to_image(pointer));
    memory.set_status(shown, cursor);
    match view.run.cells.get(key) {
        Some(CellState::Done(_)) => {
            if let Some(paint) = cell_look::paint(view, key, shown, memory)
                && let Some(canvas) = memory.canvas.as_mut()
            {
                canvas::paint_cell(ui.painter(), rect, &paint, canvas);
                let map = canvas::CellMap::new(rect, pixels_per_point, &shown);
                verdicts::paint_verdict_line(ui.painter(), rect, key, view);
                verdicts::paint_marks(ui.painter(), rect, key, view, &map);
                if let (Some(pointer), true) = (response.hover_pos(), view.look.has_loupe) {
                    canvas::loupe_ui(ui.ctx(), rect, pointer, &paint, canvas);
                }
            }
        }
        Some(CellState::Failed { error, .. }) => say(ui, rect, &format!("failed: {error}")),
        Some(CellState::Unreadable { reason }) => {
            say(ui, rect, &format!("cannot be read: {reason}"));
        }
        Some(CellState::Missing) | None => say(ui, rect, "not run"),
    }
    memory.note_seen(view, key, rect.width(), out);
    // Where an arrow leads is loaded now, so that it stands there in the very next frame.
    for neighbour in view.neighbours() {
        if let Some(paint) = cell_look::paint(view, &neighbour, shown, memory)
            && let Some(canvas) = memory.canvas.as_mut()
        {
            canvas::preload_cell(pixels_per_point, rect, &paint, canvas);
        }
    }
    let title = if view.is_reference_held {
        "reference".to_owned()
    } else {
        cell_look::full_title(view, key)
    };
    theme::outlined_text(
        ui.painter(),
        rect.left_top() + vec2(10.0, 8.0),
        Align2::LEFT_TOP,
        &title,
        15.0,
        Color32::WHITE,
    );
    if response.double_clicked() {
        out.push(Msg::Command(Command::Back));
    }
    if view.is_cycling {
        cycle(ui, memory, out, view);
    }
}

/// Goes on to the next column every 0.7 seconds, and from the last back to the first.
fn cycle(ui: &egui::Ui, memory: &mut UiMemory, out: &mut Vec<Msg>, view: &RunView) {
    const SECS_PER_CELL: f64 = 0.7;
    let now = ui.input(|input| input.time);
    if now - memory.cycled_at >= SECS_PER_CELL {
        memory.cycled_at = now;
        if let Some(next) = view.next_in_cycle() {
            out.push(Msg::Select(next));
        }
    }
    ui.ctx()
        .request_repaint_after(std::time::Duration::from_millis(100));
}

fn say(ui: &egui::Ui, rect: egui::Rect, text: &str) {
    let galley = ui.painter().layout(
        text.to_owned(),
        egui::FontId::proportional(15.0),
        theme::ON_SURROUND,
        rect.width() * 0.7,
    );
    ui.painter().galley(
        rect.center() - galley.size() / 2.0,
        galley,
        theme::ON_SURROUND,
    );
}
