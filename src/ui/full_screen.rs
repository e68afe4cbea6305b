//! The selected cell alone: a flipbook through parameter space, the pixels in place.

use super::canvas::{self, ImageStatus};
use super::grid_layout::Split;
use super::{UiMemory, cell_look, cycle_bar, grid_cell, theme, verdicts, wipe};
use crate::model::cell::CellKey;
use crate::model::run::CellState;
use crate::state::Msg;
use crate::state::command::Command;
use crate::state::lab::rerun;
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
    let split = if view.paired().is_some() {
        let aspect = (memory.size_in_image[0] / memory.size_in_image[1].max(1.0)) as f32;
        Split::larger(rect.size(), aspect)
    } else {
        Split::One
    };
    let (own, other) = split.halves(rect);
    let pixels_per_point = ui.pixels_per_point();
    let cell_px = canvas::cell_px(own, pixels_per_point);
    memory.answer_view_request(view, cell_px);
    super::marking::mark_by_key(view, cell_px, memory, out);
    wipe::bring_into_view(own, pixels_per_point, view, memory, out);
    let response = place_ui(ui, own, key, false, view, memory, out);
    let other_response = other.map(|rect| place_ui(ui, rect, key, true, view, memory, out));
    let shown = memory.framing.view(memory.size_in_image, cell_px);
    let hovered = [Some(&response), other_response.as_ref()]
        .into_iter()
        .flatten()
        .find_map(|response| Some((response.rect, response.hover_pos()?)));
    memory.set_status(
        shown,
        hovered.map(|(rect, pointer)| {
            canvas::CellMap::new(rect, pixels_per_point, &shown).to_image(pointer)
        }),
    );
    own_ui(ui, own, key, shown, view, memory);
    if let Some(rect) = other {
        let (painter, mut pictures) = (ui.painter(), Vec::new());
        grid_cell::other_ui(painter, rect, key, shown, view, memory, &mut pictures);
        grid_cell::pictures_ui(painter, &pictures, memory);
    }
    for rect in std::iter::once(own).chain(other) {
        wipe::grip_ui(ui.painter(), rect, &shown, view, memory);
        let is_pair = other.is_some() || view.look.has_values;
        if let (Some(point), true) = (memory.marked_point(view), is_pair) {
            canvas::paint_cursor_mark(ui.painter(), rect, &shown, point);
        }
    }
    // Without a pointer over the pictures the loupe stands where the values are read.
    let looked_at = hovered.unwrap_or_else(|| {
        let map = canvas::CellMap::new(own, pixels_per_point, &shown);
        (own, map.to_ui(memory.values_point()))
    });
    if let ((at, pointer), true) = (looked_at, view.look.has_loupe) {
        let paint = if at == own {
            cell_look::paint(view, key, shown, memory)
        } else {
            cell_look::paint_other(view, key, shown, memory)
        };
        if let (Some(paint), Some(canvas)) = (paint, memory.canvas.as_mut()) {
            canvas::loupe_ui(ui.ctx(), at, pointer, &paint, canvas);
        }
    }
    memory.note_seen(view, key, own.width(), out);
    // What Space shows, and where an arrow, a page or the cycle leads, is loaded now, so that it stands there
    // in the very next frame.
    if let Some(paint) = cell_look::paint_reference(view, key, shown, memory)
        && let Some(canvas) = memory.canvas.as_mut()
    {
        canvas::preload_cell(pixels_per_point, own, &paint, canvas);
    }
    for neighbour in view.neighbours() {
        if let Some(paint) = cell_look::paint(view, &neighbour, shown, memory)
            && let Some(canvas) = memory.canvas.as_mut()
        {
            canvas::preload_cell(pixels_per_point, own, &paint, canvas);
        }
        if other.is_some()
            && let Some(paint) = cell_look::paint_other(view, &neighbour, shown, memory)
            && let Some(canvas) = memory.canvas.as_mut()
        {
            canvas::preload_cell(pixels_per_point, own, &paint, canvas);
        }
    }
    let title = if view.is_reference_held {
        "reference".to_owned()
    } else {
        let made_at = rerun::made_at(view, key).map_or(String::new(), |text| format!("  ({text})"));
        format!("{}{made_at}", cell_look::full_title(view, key))
    };
    theme::outlined_text(
        ui.painter(),
        rect.left_top() + vec2(10.0, 8.0),
        Align2::LEFT_TOP,
        &title,
        15.0,
        Color32::WHITE,
    );
    if let (Some(rect), Some(second)) = (other, &view.other) {
        for (rect, text) in [
            (own, format!("A  {}", view.run.run_id)),
            (rect, format!("B  {}", second.run.run_id)),
        ] {
            theme::outlined_text(
                ui.painter(),
                rect.right_top() + vec2(-10.0, 8.0),
                Align2::RIGHT_TOP,
                &text,
                13.0,
                Color32::WHITE,
            );
        }
    }
    if response.double_clicked() || other_response.is_some_and(|it| it.double_clicked()) {
        out.push(Msg::Command(Command::Back));
    }
    if view.cycle.is_on {
        cycle_bar::tick(ui, view, memory, out);
    }
}

/// Takes what is done with the pointer on one of the pictures.
fn place_ui(
    ui: &egui::Ui,
    rect: egui::Rect,
    key: &CellKey,
    is_other: bool,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) -> egui::Response {
    let image = if is_other {
        memory.other_image_of(view, key)
    } else {
        memory.image_of(view, key)
    };
    let status = match (image, &memory.canvas) {
        (Some(image), Some(canvas)) => canvas.status(image),
        _ => ImageStatus::Waiting,
    };
    let id = ui.scope_id().with(("full screen", is_other));
    let label = || {
        let label = if is_other {
            cell_look::other_label(view, key)
        } else {
            cell_look::accessible_label(view, key)
        };
        format!("full screen: {label}")
    };
    let response = canvas::cell_response(ui, id, rect, label, !is_other, status);
    if wipe::drag_response(ui, &response, view, memory, out) {
        return response;
    }
    if !is_other {
        super::marking::mark_response(ui, &response, key, view, memory, out);
    }
    if memory.drawing.is_none() {
        canvas::navigate(&mut memory.framing, &response, memory.size_in_image, true);
    }
    response
}

fn own_ui(
    ui: &egui::Ui,
    rect: egui::Rect,
    key: &CellKey,
    shown: canvas::View,
    view: &RunView,
    memory: &mut UiMemory,
) {
    match view.run.cells.get(key) {
        Some(CellState::Done(_)) => {
            if let Some(paint) = cell_look::paint(view, key, shown, memory)
                && let Some(canvas) = memory.canvas.as_mut()
            {
                canvas::paint_cell(ui.painter(), rect, &paint, canvas);
                let map = canvas::CellMap::new(rect, ui.pixels_per_point(), &shown);
                verdicts::paint_verdict_line(ui.painter(), rect, key, view);
                verdicts::paint_marks(ui.painter(), rect, key, view, &map);
            }
        }
        Some(CellState::Failed { error, .. }) => say(ui, rect, &format!("failed: {error}")),
        Some(CellState::Unreadable { reason }) => {
            say(ui, rect, &format!("cannot be read: {reason}"));
        }
        Some(CellState::Missing) | None => {
            say(ui, rect, memory.missing_words(view, key));
        }
    }
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
