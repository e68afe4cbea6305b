//! One cell of the grid as it is drawn: its picture or why there is none, badges, captions, and beside it
//! the second run's.

use super::canvas::{self, CellPaint};
use super::{UiMemory, cell_look, theme, time_tone, verdicts, wipe};
use crate::model::cell::{Baseline, CellKey};
use crate::model::run::CellState;
use crate::state::look::Reference;
use crate::state::run_view::RunView;
use crate::state::seeing::time_tone::TimeRange;
use eframe::egui::{self, Align2, Color32, FontId, Rect, Stroke, StrokeKind, pos2, vec2};

/// A cell and where it lies.
pub struct Placed<'a> {
    /// The cell of the open run.
    pub key: &'a CellKey,
    /// All of it.
    pub rect: Rect,
    /// Its picture.
    pub own: Rect,
    /// The second run's picture, where each cell is a pair.
    pub other: Option<Rect>,
    /// The strip that it stands in; `None` in the matrix.
    pub strip: Option<usize>,
}

/// Pictures and where they are to be painted, all together.
pub type Pictures = Vec<(Rect, CellPaint)>;

/// Adds a cell's picture, and the second run's beside it, to those that are to be painted; draws why there
/// is none.
pub fn picture_ui(
    painter: &egui::Painter,
    it: &Placed<'_>,
    shown: canvas::View,
    view: &RunView,
    memory: &mut UiMemory,
    pictures: &mut Pictures,
) {
    own_ui(painter, it, shown, view, memory, pictures);
    if let Some(rect) = it.other {
        other_ui(painter, rect, it.key, shown, view, memory, pictures);
    }
}

/// Paints the pictures of cells.
pub fn pictures_ui(painter: &egui::Painter, pictures: &Pictures, memory: &mut UiMemory) {
    match memory.canvas.as_mut() {
        Some(canvas) if canvas.has_gpu() => canvas::paint_cells(painter, pictures, canvas),
        _ => {
            for (rect, _) in pictures {
                let reason = "pictures need a Vulkan, Metal or GL driver";
                message_cell(painter, *rect, "no GPU", reason);
            }
        }
    }
}

/// Draws what lies over a cell's picture: its verdict, marks, badges and frame. `times` are the least and
/// the most of all, where cells are toned by time.
pub fn signs_ui(
    painter: &egui::Painter,
    it: &Placed<'_>,
    shown: canvas::View,
    times: Option<TimeRange>,
    view: &RunView,
    memory: &UiMemory,
) {
    let map = canvas::CellMap::new(it.own, painter.pixels_per_point(), &shown);
    verdicts::paint_verdict(painter, it.own, it.key, view);
    verdicts::paint_marks(painter, it.own, it.key, view, &map);
    badges(painter, it, view);
    if let Some(rect) = it.other {
        for (rect, letter) in [(it.own, "A"), (rect, "B")] {
            let at = rect.right_top() + vec2(-4.0, 3.0);
            theme::outlined_text(painter, at, Align2::RIGHT_TOP, letter, 12.0, Color32::WHITE);
        }
    }
    time_tone::strip_ui(painter, it, view, times);
    let is_selected = view.selected.as_ref() == Some(it.key);
    let (width, colour) = if is_selected {
        (2.5, theme::ACCENT)
    } else {
        (1.0, Color32::from_gray(0x38))
    };
    painter.rect_stroke(it.rect, 0.0, Stroke::new(width, colour), StrokeKind::Inside);
    if is_selected {
        painter.rect_stroke(
            it.rect.shrink(2.5),
            0.0,
            Stroke::new(1.0, Color32::from_black_alpha(160)),
            StrokeKind::Inside,
        );
    }
    let has_picture = matches!(view.run.cells.get(it.key), Some(CellState::Done(_)));
    for rect in std::iter::once(it.own).chain(it.other) {
        if !has_picture {
            continue;
        }
        wipe::grip_ui(painter, rect, &shown, view, memory);
        if let Some(point) = memory.marked_point(view) {
            canvas::paint_cursor_mark(painter, rect, &shown, point);
        }
    }
}

fn own_ui(
    painter: &egui::Painter,
    it: &Placed<'_>,
    shown: canvas::View,
    view: &RunView,
    memory: &mut UiMemory,
    pictures: &mut Pictures,
) {
    match view.run.cells.get(it.key) {
        Some(CellState::Done(_)) => {
            let paint = cell_look::paint(view, it.key, shown, memory);
            pictures.extend(paint.map(|paint| (it.own, paint)));
        }
        Some(CellState::Missing) | None => match view
            .live
            .as_ref()
            .filter(|live| live.cell.as_ref() == Some(it.key))
        {
            Some(live) => {
                let map = canvas::CellMap::new(it.own, painter.ctx().pixels_per_point(), &shown);
                memory.live_preview.paint(painter, it.own, &map, view, live);
                dashed_cell(painter, it.own, "");
                let fraction = live.step as f32 / live.steps.max(1) as f32;
                let text = format!("step {} of {}", live.step, live.steps);
                // Out of the picture's way, where there is one.
                let at = match live.preview {
                    Some(_) => it.own.with_min_y(it.own.bottom() - 44.0),
                    None => it.own,
                };
                progress(painter, at, fraction, &text);
            }
            None if view.live.is_some() => dashed_cell(painter, it.own, "waiting"),
            None => dashed_cell(painter, it.own, memory.missing_words(view, it.key)),
        },
        Some(state) => without_picture(painter, it.own, state),
    }
}

/// The second run's cell; nothing is judged here.
pub fn other_ui(
    painter: &egui::Painter,
    rect: Rect,
    key: &CellKey,
    shown: canvas::View,
    view: &RunView,
    memory: &mut UiMemory,
    pictures: &mut Pictures,
) {
    let Some(other) = &view.other else { return };
    match other.beside(key) {
        Some((_, CellState::Done(_))) => {
            let paint = cell_look::paint_other(view, key, shown, memory);
            pictures.extend(paint.map(|paint| (rect, paint)));
        }
        Some((_, state)) => without_picture(painter, rect, state),
        None => dashed_cell(painter, rect, &format!("not in run {}", other.run.run_id)),
    }
}

fn without_picture(painter: &egui::Painter, rect: Rect, state: &CellState) {
    match state {
        CellState::Failed { error, .. } => message_cell(painter, rect, "failed", error),
        CellState::Unreadable { reason } => message_cell(painter, rect, "cannot be read", reason),
        CellState::Missing | CellState::Done(_) => dashed_cell(painter, rect, "not run"),
    }
}

fn badges(painter: &egui::Painter, it: &Placed<'_>, view: &RunView) {
    let (rect, key) = (it.own, it.key);
    let mut text = String::new();
    match view.run.baseline(key) {
        Some(Baseline::Exact) => text.push('★'),
        Some(Baseline::OtherSteps) => text.push('☆'),
        None => {}
    }
    if view.look.reference == Reference::Cell(key.clone()) {
        text.push_str(" ref");
    }
    if !text.is_empty() {
        theme::outlined_text(
            painter,
            rect.right_bottom() + vec2(-4.0, -18.0),
            Align2::RIGHT_BOTTOM,
            text.trim(),
            14.0,
            Color32::WHITE,
        );
    }
    let outline = |pos, anchor, text: &str, colour| {
        theme::outlined_text(painter, pos, anchor, text, 11.0, colour);
    };
    if let Some(text) = crate::state::lab::rerun::made_at(view, key)
        && rect.width() > 90.0
    {
        let pos = rect.right_bottom() + vec2(-4.0, -3.0);
        outline(pos, Align2::RIGHT_BOTTOM, &text, theme::WARNING);
    }
    if let Some(caption) =
        cell_look::caption(view, key, it.strip.and_then(|at| view.grid.strips.get(at)))
        && rect.width() > 90.0
    {
        outline(
            rect.left_bottom() + vec2(4.0, -3.0),
            Align2::LEFT_BOTTOM,
            &caption,
            Color32::WHITE,
        );
    }
}

/// A cell without a picture, and why.
fn message_cell(painter: &egui::Painter, rect: Rect, title: &str, reason: &str) {
    let painter = painter.with_clip_rect(painter.clip_rect().intersect(rect));
    painter.rect_filled(rect, 0.0, theme::EMPTY_CELL);
    for offset in (0..((rect.width() + rect.height()) as i32)).step_by(14) {
        let x = rect.left() + offset as f32;
        painter.line_segment(
            [pos2(x, rect.top()), pos2(x - rect.height(), rect.bottom())],
            Stroke::new(1.0, Color32::from_white_alpha(14)),
        );
    }
    let text = format!("✕ {title}\n{reason}");
    let galley = painter.layout(
        text,
        FontId::proportional(12.0),
        theme::ON_SURROUND,
        (rect.width() - 12.0).max(10.0),
    );
    painter.galley(rect.min + vec2(6.0, 6.0), galley, theme::ON_SURROUND);
}

/// A place without a cell, and why.
pub fn dashed_cell(painter: &egui::Painter, rect: Rect, text: &str) {
    let painter = painter.with_clip_rect(painter.clip_rect().intersect(rect.expand(1.0)));
    let inner = rect.shrink(1.5);
    let corners = [
        inner.left_top(),
        inner.right_top(),
        inner.right_bottom(),
        inner.left_bottom(),
        inner.left_top(),
    ];
    painter.extend(egui::Shape::dashed_line(
        &corners,
        Stroke::new(1.0, Color32::from_gray(0xb0)),
        6.0,
        5.0,
    ));
    let galley = painter.layout(
        text.to_owned(),
        FontId::proportional(12.0),
        theme::ON_SURROUND,
        (rect.width() - 12.0).max(10.0),
    );
    let at = rect.center() - galley.size() / 2.0;
    painter.galley(at, galley, theme::ON_SURROUND);
}

fn progress(painter: &egui::Painter, rect: Rect, fraction: f32, text: &str) {
    let bar = Rect::from_min_size(
        pos2(rect.left() + 8.0, rect.center().y + 12.0),
        vec2((rect.width() - 16.0).max(4.0), 5.0),
    );
    painter.rect_filled(bar, 2.0, Color32::from_gray(0x38));
    let done = Rect::from_min_size(
        bar.min,
        vec2(bar.width() * fraction.clamp(0.0, 1.0), bar.height()),
    );
    painter.rect_filled(done, 2.0, theme::ACCENT);
    theme::outlined_text(
        painter,
        rect.center(),
        Align2::CENTER_BOTTOM,
        text,
        12.0,
        Color32::WHITE,
    );
}
