//! Boxes and points on a picture, in pixels of the original image: drawn with the mouse, with Shift or while
//! the tool is on, or by a key for what is on screen.

use super::UiMemory;
use super::canvas::CellMap;
use crate::model::cell::CellKey;
use crate::model::review::event::{Mark, Shape};
use crate::state::run_view::RunView;
use crate::state::{JudgeMsg, Msg};
use eframe::egui;

/// A drag shorter than this, in points, is a click.
const LEAST_DRAG: f32 = 4.0;

/// Takes the clicks and drags with Shift on a cell, and turns them into marks.
pub fn mark_response(
    ui: &egui::Ui,
    response: &egui::Response,
    key: &CellKey,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let has_shift = view.is_marking || ui.input(|input| input.modifiers.shift);
    let is_mine = memory.drawing.as_ref().is_some_and(|(cell, _)| cell == key);
    if !has_shift && !is_mine {
        return;
    }
    let pixels_per_point = ui.pixels_per_point();
    let shown = memory.framing.view(
        memory.size_in_image,
        super::canvas::cell_px(response.rect, pixels_per_point),
    );
    let map = CellMap::new(response.rect, pixels_per_point, &shown);
    let Some(pointer) = response.interact_pointer_pos() else {
        if is_mine {
            memory.drawing = None;
        }
        return;
    };
    let at = map.to_image(pointer);
    if response.clicked() && has_shift {
        memory.drawing = None;
        let shape = Shape::Point {
            x: at[0] as f32,
            y: at[1] as f32,
        };
        out.push(add(key, shape, view));
    } else if response.drag_started() && has_shift {
        // A drag is known as one only some points after the press: the box begins at the press.
        let pressed = ui
            .input(|input| input.pointer.press_origin())
            .unwrap_or(pointer);
        memory.drawing = Some((key.clone(), map.to_image(pressed)));
    } else if response.drag_stopped() && is_mine {
        if let Some((_, from)) = memory.drawing.take() {
            let from_in_ui = map.to_ui(from);
            let shape = if from_in_ui.distance(pointer) < LEAST_DRAG {
                Shape::Point {
                    x: at[0] as f32,
                    y: at[1] as f32,
                }
            } else {
                Shape::between(
                    (from[0] as f32, from[1] as f32),
                    (at[0] as f32, at[1] as f32),
                )
            };
            out.push(add(key, shape, view));
        }
    } else if response.dragged()
        && is_mine
        && let Some((_, from)) = &memory.drawing
    {
        let rect = egui::Rect::from_two_pos(map.to_ui(*from), pointer);
        let painter = ui.ctx().layer_painter(egui::LayerId::new(
            egui::Order::Foreground,
            egui::Id::unique("drawing"),
        ));
        let stroke = |width, colour| egui::Stroke::new(width, colour);
        painter.rect_stroke(
            rect,
            0.0,
            stroke(3.0, egui::Color32::BLACK),
            egui::StrokeKind::Outside,
        );
        painter.rect_stroke(
            rect,
            0.0,
            stroke(1.5, egui::Color32::YELLOW),
            egui::StrokeKind::Outside,
        );
    }
}

/// A new mark carries the cell's failure type where there is just one.
/// Marks what is on screen of the selected cell, where that was asked for by a key.
pub fn mark_by_key(view: &RunView, cell_px: [f64; 2], memory: &mut UiMemory, out: &mut Vec<Msg>) {
    let part = memory.take_mark_request(view, cell_px);
    if let (Some(part), Some(key)) = (part, &view.selected) {
        let corner = |at: [f64; 2]| (at[0] as f32, at[1] as f32);
        let shape = Shape::between(corner(part.min), corner(part.max));
        out.push(add(key, shape, view));
    }
}

fn add(key: &CellKey, shape: Shape, view: &RunView) -> Msg {
    let types = view.judging.review.types(Some(&view.judging.reviewer), key);
    let failure = if types.len() == 1 {
        types.into_iter().next()
    } else {
        None
    };
    Msg::Judge(JudgeMsg::AddMark(
        key.clone(),
        Mark {
            shape,
            failure,
            text: String::new(),
        },
    ))
}
