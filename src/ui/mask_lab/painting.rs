//! Painting on the mask: the tools' row, and what the pointer does over the picture.

use super::super::canvas::{CellMap, View};
use super::memory::LabMemory;
use crate::state::Msg;
use crate::state::command::Command;
use crate::state::lab::painting::PaintOp;
use crate::state::lab::{LabMsg, LabView, Tool};
use eframe::egui::{self, Color32, PointerButton, Pos2, Rect, Response, Stroke};

/// Tools, size, undo, files.
pub fn tools_ui(ui: &mut egui::Ui, view: &LabView, out: &mut Vec<Msg>) {
    let mut brush = view.brush;
    for tool in Tool::ALL {
        ui.selectable_value(&mut brush.tool, tool, tool.label());
    }
    match brush.tool {
        Tool::Brush | Tool::Eraser => {
            let name = ui.label("radius");
            ui.add(
                egui::DragValue::new(&mut brush.radius_px)
                    .range(0.5..=500.0)
                    .speed(0.5)
                    .max_decimals(1)
                    .suffix(" px"),
            )
            .labelled_by(name.id)
            .on_hover_text("In pixels of the photo.");
        }
        Tool::Lasso | Tool::Fill => {
            ui.checkbox(&mut brush.is_erasing, "take away");
        }
    }
    if brush != view.brush {
        out.push(Msg::Lab(LabMsg::SetBrush(brush)));
    }
    ui.separator();
    for (name, command, is_possible) in [
        ("Undo", Command::Undo, view.painted.can_undo),
        ("Redo", Command::Redo, view.painted.can_redo),
    ] {
        if ui
            .add_enabled(is_possible, egui::Button::new(name))
            .clicked()
        {
            out.push(Msg::Command(command));
        }
    }
    if ui
        .button("Load a mask…")
        .on_hover_text("A file can also be dropped here, or a picture pasted.")
        .clicked()
    {
        out.push(Msg::Lab(LabMsg::ChooseMask));
    }
}

/// What the pointer paints. Answers whether it does, so that the picture is not dragged along.
pub fn paint_input(
    response: &Response,
    map: &CellMap,
    view: &LabView,
    memory: &mut LabMemory,
    out: &mut Vec<Msg>,
) -> bool {
    let brush = view.brush;
    let at = |pos: Pos2| map.to_image(pos).map(|along| along as f32);
    let Some(pointer) = response.interact_pointer_pos() else {
        // The pointer was let go outside of the window, or taken away.
        if std::mem::take(&mut memory.has_stroke) {
            out.push(Msg::Lab(LabMsg::Paint(PaintOp::End)));
        }
        return false;
    };
    let pos_in_image = at(pointer);
    let is_ours = response.dragged_by(PointerButton::Primary)
        || response.drag_stopped_by(PointerButton::Primary);
    match brush.tool {
        Tool::Brush | Tool::Eraser => {
            let is_white = brush.tool == Tool::Brush;
            let begin = |pos_in_image| PaintOp::Begin {
                pos_in_image,
                radius_px: brush.radius_px,
                is_white,
            };
            let mut ops = Vec::new();
            if response.clicked_by(PointerButton::Primary) {
                ops.extend([begin(pos_in_image), PaintOp::End]);
            }
            if response.drag_started_by(PointerButton::Primary) {
                let pressed = response.ctx.input(|input| input.pointer.press_origin());
                ops.push(begin(at(pressed.unwrap_or(pointer))));
                memory.has_stroke = true;
            }
            if is_ours && memory.has_stroke {
                ops.push(PaintOp::To { pos_in_image });
            }
            if response.drag_stopped_by(PointerButton::Primary) && memory.has_stroke {
                ops.push(PaintOp::End);
                memory.has_stroke = false;
            }
            out.extend(ops.into_iter().map(|op| Msg::Lab(LabMsg::Paint(op))));
        }
        Tool::Lasso => {
            if response.drag_started_by(PointerButton::Primary) {
                memory.lasso.clear();
            }
            if is_ours && memory.lasso.last() != Some(&pos_in_image) {
                memory.lasso.push(pos_in_image);
            }
            if response.drag_stopped_by(PointerButton::Primary) {
                let points_in_image = std::mem::take(&mut memory.lasso);
                if points_in_image.len() > 2 {
                    let is_white = !brush.is_erasing;
                    out.push(Msg::Lab(LabMsg::Paint(PaintOp::Lasso {
                        points_in_image,
                        is_white,
                    })));
                }
            }
        }
        Tool::Fill => {
            if response.clicked_by(PointerButton::Primary) {
                let is_white = !brush.is_erasing;
                out.push(Msg::Lab(LabMsg::Paint(PaintOp::Fill {
                    pos_in_image,
                    is_white,
                })));
            }
        }
    }
    is_ours
}

/// The brush's disc and the lasso's outline, legible on black and on white.
pub fn paint_marks(
    painter: &egui::Painter,
    rect: Rect,
    shown: &View,
    view: &LabView,
    memory: &LabMemory,
    hover: Option<Pos2>,
) {
    let painter = painter.with_clip_rect(painter.clip_rect().intersect(rect));
    let per_point = painter.pixels_per_point();
    let two_tones = [(3.0, Color32::from_black_alpha(160)), (1.0, Color32::WHITE)];
    if let (Some(pos), Tool::Brush | Tool::Eraser) = (hover, view.brush.tool) {
        let radius = view.brush.radius_px * shown.zoom as f32 / per_point;
        for (width, colour) in two_tones {
            painter.circle_stroke(pos, radius, Stroke::new(width, colour));
        }
    }
    let map = CellMap::new(rect, per_point, shown);
    let points: Vec<Pos2> = memory
        .lasso
        .iter()
        .map(|point| map.to_ui(point.map(f64::from)))
        .collect();
    for (width, colour) in two_tones {
        painter.add(egui::Shape::line(
            points.clone(),
            Stroke::new(width, colour),
        ));
    }
}
