//! One cell in the window: its place, its name, its picture, and how it is moved.
//!
//! Knows egui and the canvas, nothing of runs or reviews. Handle the input of all cells before painting
//! any ([`cell_response`], then [`paint_cell`]): otherwise the cells before the pointer lag a frame.

use eframe::{
    egui::{
        self, Align2, Color32, FontId, Id, Order, Painter, Pos2, Rect, Response, Sense, Stroke,
        StrokeKind, Ui, Vec2, pos2, vec2,
    },
    egui_wgpu,
};

use super::{
    Canvas, ImageStatus,
    gpu::{CellsCallback, Piece},
    paint::{CellPaint, Mode, pieces},
    texture_store::Priority,
    view::{CellMap, Framing, ImageBox, MAX_ZOOM, View},
};

/// What surrounds every picture, in both themes: colour is judged against neutral grey.
pub const SURROUND: Color32 = Color32::from_gray(64);
const TEXT: Color32 = Color32::from_gray(235);
const QUIET_TEXT: Color32 = Color32::from_gray(170);
const WARNING: Color32 = Color32::from_rgb(255, 190, 80);
const TEXT_POINTS: f32 = 12.0;
/// Side of the loupe, in points.
pub const LOUPE_POINTS: f32 = 180.0;

/// Places a cell, names it for assistive technology and for tests, and takes its clicks and drags. The
/// name is only asked for where somebody listens.
pub fn cell_response(
    ui: &Ui,
    id: Id,
    rect: Rect,
    label: impl Fn() -> String,
    is_selected: bool,
    status: ImageStatus<'_>,
) -> Response {
    let response = ui.interact(rect, id, Sense::click_and_drag());
    response.widget_info(|| {
        let label = match status {
            ImageStatus::Failed(reason) => format!("{}: {reason}", label()),
            ImageStatus::Waiting | ImageStatus::Shown => label(),
        };
        egui::WidgetInfo::selected(egui::Role::Button, true, is_selected, label)
    });
    response
}

/// Places, names and paints a cell in one go.
pub fn cell_ui(
    ui: &Ui,
    id: Id,
    rect: Rect,
    label: &str,
    paint: &CellPaint,
    canvas: &mut Canvas,
) -> Response {
    let response = cell_response(
        ui,
        id,
        rect,
        || label.to_owned(),
        false,
        canvas.status(paint.image),
    );
    paint_cell(ui.painter(), rect, paint, canvas);
    response
}

/// Paints what a cell shows into `rect`: the picture, or why there is none.
pub fn paint_cell(painter: &Painter, rect: Rect, paint: &CellPaint, canvas: &mut Canvas) {
    let painter = painter.with_clip_rect(painter.clip_rect().intersect(rect));
    paint_cells(&painter, &[(rect, paint.clone())], canvas);
}

/// Paints what many cells show, each into its own place. That is much cheaper than cell by cell: all
/// pictures are one entry of egui's list. What else is to lie on them is painted afterwards.
pub fn paint_cells(painter: &Painter, cells: &[(Rect, CellPaint)], canvas: &mut Canvas) {
    let mut pieces = Vec::with_capacity(cells.len());
    for (rect, paint) in cells {
        let of_cell = painter.with_clip_rect(painter.clip_rect().intersect(*rect));
        if of_cell.clip_rect().is_positive() {
            add_pieces(&of_cell, *rect, paint, canvas, &mut pieces);
        }
    }
    if !pieces.is_empty() {
        let callback = CellsCallback::new(pieces);
        let area = painter.clip_rect();
        painter.add(egui_wgpu::Callback::new_paint_callback(area, callback));
    }
    for (rect, paint) in cells {
        badge_ui(painter, *rect, paint, canvas);
    }
}

/// What a cell's picture is drawn with, at the end of `all`; without a picture it is said why.
fn add_pieces(
    painter: &Painter,
    rect: Rect,
    paint: &CellPaint,
    canvas: &mut Canvas,
    all: &mut Vec<Piece>,
) {
    let say = |text: &str, color| {
        painter.rect_filled(rect, 0.0, SURROUND);
        message_ui(painter, rect, text, color);
    };
    if let ImageStatus::Failed(reason) = canvas.status(paint.image) {
        say(reason, WARNING);
        return;
    }
    if let Some(missing) = paint.missing_input() {
        say(missing, TEXT);
        return;
    }
    let reference = paint.reference.filter(|_| paint.mode.needs_reference());
    if let Some(reference) = reference
        && let ImageStatus::Failed(reason) = canvas.status(reference)
    {
        say(&format!("the reference cannot be shown: {reason}"), WARNING);
        return;
    }
    let size_in_image = canvas.size_in_image(paint);
    let map = CellMap::new(rect, painter.pixels_per_point(), &paint.view);
    let whole = ImageBox::whole(size_in_image);
    let store = &mut canvas.store;
    let place = paint.image_box.unwrap_or(whole);
    let mut base = store.patches_in(paint.image, &place, &map, Priority::Visible);
    let mut second = reference
        .map(|id| store.patches(id, size_in_image, &map, Priority::Visible))
        .unwrap_or_default();
    if let (Mode::Difference { .. }, Some(reference), [one], [two]) =
        (paint.mode, reference, base.as_slice(), second.as_slice())
        && one.is_final != two.is_final
        && let Some(one) = store.thumbnail(paint.image, size_in_image)
        && let Some(two) = store.thumbnail(reference, size_in_image)
    {
        (base, second) = (vec![one], vec![two]);
    }
    let field = paint
        .mask
        .and_then(|id| store.field(id))
        .map(|field| (field, paint.mask_box.unwrap_or(whole)));
    if base.is_empty() || (reference.is_some() && second.is_empty()) {
        say("…", QUIET_TEXT);
        return;
    }
    if paint.mode.needs_mask() && field.is_none() {
        say("the mask is not there yet", QUIET_TEXT);
        return;
    }
    let pieces = pieces(paint, &map, &base, &second, field);
    if pieces.len() != 1 || paint.image_box.is_some() {
        // One piece alone fills the cell by itself: a shape less to draw.
        painter.rect_filled(rect, 0.0, SURROUND);
    }
    all.extend(pieces);
}

/// What was made of the picture's colours, where that is worth a word.
fn badge_ui(painter: &Painter, rect: Rect, paint: &CellPaint, canvas: &Canvas) {
    // A mask alone shows nothing of the picture's colours.
    if let Some(badge) = canvas.store.badge(paint.image)
        && paint.has_badge
        && rect.width() > 90.0
        && paint.mode != Mode::Mask
    {
        let painter = painter.with_clip_rect(painter.clip_rect().intersect(rect));
        let at = rect.right_bottom() - vec2(4.0, 3.0);
        outlined_text(&painter, at, Align2::RIGHT_BOTTOM, &badge.label, 10.0);
    }
}

/// Loads what a cell would show without painting it, such as the next neighbours of a flipbook.
pub fn preload_cell(pixels_per_point: f32, rect: Rect, paint: &CellPaint, canvas: &mut Canvas) {
    let size_in_image = canvas.size_in_image(paint);
    let map = CellMap::new(rect, pixels_per_point, &paint.view);
    let reference = paint.reference.filter(|_| paint.mode.needs_reference());
    let whole = ImageBox::whole(size_in_image);
    let store = &mut canvas.store;
    let place = paint.image_box.unwrap_or(whole);
    store.patches_in(paint.image, &place, &map, Priority::Preload);
    if let Some(id) = reference {
        store.patches(id, size_in_image, &map, Priority::Preload);
    }
}

/// Pans with a drag and zooms with a pinch or Ctrl and the wheel, in all cells alike; with
/// `wheel_zooms` also with the wheel alone, which then scrolls nothing around the cell. True if the view
/// has changed.
pub fn navigate(
    framing: &mut Framing,
    response: &Response,
    size_in_image: [f64; 2],
    wheel_zooms: bool,
) -> bool {
    let pixels_per_point = response.ctx.pixels_per_point();
    let cell_px = cell_px(response.rect, pixels_per_point);
    let before = framing.view(size_in_image, cell_px);
    let mut view = before;
    let delta = response.drag_delta();
    if response.dragged() && delta != Vec2::ZERO {
        view = view.panned([delta.x, delta.y].map(|d| f64::from(d * pixels_per_point)));
    }
    if let Some(pointer) = response.hover_pos() {
        let factor = response.ctx.input_mut(|input| {
            let wheel = if wheel_zooms {
                std::mem::take(&mut input.smooth_scroll_delta.y)
            } else {
                0.0
            };
            f64::from(input.zoom_delta()) * f64::from(wheel * 0.005).exp()
        });
        if (factor - 1.0).abs() > 1e-6 {
            let pos_in_image =
                CellMap::new(response.rect, pixels_per_point, &view).to_image(pointer);
            view = view.zoomed_about(pos_in_image, view.zoom * factor);
        }
    }
    if view == before {
        return false;
    }
    *framing = Framing::Free(view.clamped(size_in_image));
    true
}

/// Physical size of a cell, in pixels, as [`CellMap`] rounds it.
pub fn cell_px(rect: Rect, pixels_per_point: f32) -> [f64; 2] {
    let view = View {
        center_in_image: [0.0; 2],
        zoom: 1.0,
    };
    CellMap::new(rect, pixels_per_point, &view).cell_px()
}

/// Marks a point of the picture, legible on black and on white.
pub fn paint_cursor_mark(painter: &Painter, rect: Rect, view: &View, pos_in_image: [f64; 2]) {
    let at = CellMap::new(rect, painter.pixels_per_point(), view).to_ui(pos_in_image);
    if !rect.contains(at) {
        return;
    }
    let painter = painter.with_clip_rect(painter.clip_rect().intersect(rect));
    for (width, color) in [(3.0, Color32::BLACK), (1.0, Color32::WHITE)] {
        for arm in [
            vec2(1.0, 0.0),
            vec2(-1.0, 0.0),
            vec2(0.0, 1.0),
            vec2(0.0, -1.0),
        ] {
            painter.line_segment([at + arm * 3.0, at + arm * 9.0], Stroke::new(width, color));
        }
    }
}

/// A magnified inset beside the pointer with the value under it, drawn over everything else.
pub fn loupe_ui(
    ctx: &egui::Context,
    cell: Rect,
    pointer: Pos2,
    paint: &CellPaint,
    canvas: &mut Canvas,
) {
    let pixels_per_point = ctx.pixels_per_point();
    let pos_in_image = CellMap::new(cell, pixels_per_point, &paint.view).to_image(pointer);
    let zoom = (paint.view.zoom * 6.0).clamp(8.0, MAX_ZOOM).round();
    // The pixel under the pointer comes to stand in the middle.
    let center_in_image = pos_in_image.map(|v| v.floor() + 0.5);
    let loupe = CellPaint {
        view: View {
            center_in_image,
            zoom,
        },
        ..paint.clone()
    };
    let rect = loupe_rect(ctx.content_rect(), pointer);
    let painter = ctx.layer_painter(egui::LayerId::new(Order::Foreground, Id::unique("loupe")));
    painter.rect_stroke(
        rect,
        0.0,
        Stroke::new(2.0, Color32::BLACK),
        StrokeKind::Outside,
    );
    painter.rect_stroke(
        rect,
        0.0,
        Stroke::new(1.0, Color32::WHITE),
        StrokeKind::Outside,
    );
    paint_cell(&painter, rect, &loupe, canvas);
    let half = (zoom / f64::from(pixels_per_point) / 2.0) as f32;
    let middle = CellMap::new(rect, pixels_per_point, &loupe.view).to_ui(center_in_image);
    let pixel = Rect::from_center_size(middle, Vec2::splat(2.0 * half));
    painter.rect_stroke(
        pixel,
        0.0,
        Stroke::new(1.0, Color32::WHITE),
        StrokeKind::Outside,
    );
    painter.rect_stroke(
        pixel.expand(1.0),
        0.0,
        Stroke::new(1.0, Color32::BLACK),
        StrokeKind::Outside,
    );
    let text = canvas.readout_text(paint, pos_in_image);
    let at = rect.left_bottom() + vec2(6.0, -5.0);
    outlined_text(&painter, at, Align2::LEFT_BOTTOM, &text, TEXT_POINTS);
}

/// Beside the pointer and inside the window: right below it where there is room.
fn loupe_rect(window: Rect, pointer: Pos2) -> Rect {
    let away = 24.0;
    let place = |at: f32, end: f32| {
        if at + away + LOUPE_POINTS <= end {
            at + away
        } else {
            at - away - LOUPE_POINTS
        }
    };
    let min = pos2(
        place(pointer.x, window.right()),
        place(pointer.y, window.bottom()),
    );
    Rect::from_min_size(min.max(window.min), Vec2::splat(LOUPE_POINTS))
}

/// Text with a dark edge, legible on black and on white.
pub fn outlined_text(painter: &Painter, at: Pos2, anchor: Align2, text: &str, points: f32) {
    let font = FontId::proportional(points);
    for shift in [
        vec2(1.0, 0.0),
        vec2(-1.0, 0.0),
        vec2(0.0, 1.0),
        vec2(0.0, -1.0),
    ] {
        painter.text(at + shift, anchor, text, font.clone(), Color32::BLACK);
    }
    painter.text(at, anchor, text, font, Color32::WHITE);
}

fn message_ui(painter: &Painter, rect: Rect, text: &str, color: Color32) {
    let inside = rect.shrink(6.0_f32.min(rect.width() / 8.0));
    let font = FontId::proportional(TEXT_POINTS);
    let galley = painter.layout(text.to_owned(), font, color, inside.width().max(1.0));
    let free = (inside.size() - galley.size()).max(Vec2::ZERO);
    painter.galley(inside.min + free / 2.0, galley, color);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loupe_stays_in_the_window() {
        let window = Rect::from_min_size(Pos2::ZERO, vec2(800.0, 600.0));
        for pointer in [
            pos2(5.0, 5.0),
            pos2(795.0, 5.0),
            pos2(795.0, 595.0),
            pos2(400.0, 300.0),
        ] {
            let rect = loupe_rect(window, pointer);
            assert!(window.contains_rect(rect), "{rect:?}");
            assert!(!rect.contains(pointer), "{rect:?} hides {pointer:?}");
        }
    }
}
