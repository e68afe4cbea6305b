//! The grid: cells in rows and columns with labels that stay in view, all looked at through one view.

use super::canvas::{self, CellPaint, ImageStatus};
use super::grid_layout::GridLayout;
use super::{UiMemory, cell_look, theme, verdicts};
use crate::model::cell::{Baseline, CellKey};
use crate::model::run::CellState;
use crate::state::command::Command;
use crate::state::run_view::RunView;
use crate::state::{AppState, Msg};
use eframe::egui::{self, Align2, Color32, FontId, Rect, Stroke, StrokeKind, pos2, vec2};

struct Placed {
    key: CellKey,
    rect: Rect,
}

/// Draws the grid into what is left of the page.
pub fn grid_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let area = ui.available_rect_before_wrap();
    ui.painter().rect_filled(area, 0.0, theme::SURROUND);
    let grid = &view.grid;
    if grid.order().is_empty() {
        ui.painter().text(
            area.center(),
            Align2::CENTER_CENTER,
            "This run has no cells to show: every value is hidden, or the plan is empty.",
            FontId::proportional(14.0),
            theme::ON_SURROUND,
        );
        return;
    }
    let row_labels: Vec<String> = grid
        .rows
        .iter()
        .map(|value| value.label(&view.run.prompts))
        .collect();
    let widest = row_labels
        .iter()
        .map(|text| text.chars().count())
        .max()
        .unwrap_or(0) as f32
        * 7.5
        + 14.0;
    let strips: Vec<usize> = grid.strips.iter().map(|strip| strip.cells.len()).collect();
    let aspect = (memory.size_in_image[0] / memory.size_in_image[1].max(1.0)) as f32;
    let layout = GridLayout::new(
        area.size(),
        grid.columns.len(),
        grid.rows.len(),
        &strips,
        widest,
        aspect,
    );
    let viewport = Rect::from_min_max(
        area.min + vec2(layout.label_width, theme::COLUMN_LABEL_HEIGHT),
        area.max,
    );
    let mut viewport_ui = ui.new_child(egui::UiBuilder::new().max_rect(viewport).id_salt("cells"));
    let scroll = egui::ScrollArea::both()
        .id_salt("grid")
        .auto_shrink(false)
        .scroll_source(egui::scroll_area::ScrollSource {
            drag: egui::scroll_area::DragScroll::Never,
            ..Default::default()
        })
        .show_viewport(&mut viewport_ui, |ui, _| {
            let (content, _) = ui.allocate_exact_size(layout.content_size(), egui::Sense::hover());
            cells_ui(ui, content.min, &layout, state, view, memory, out);
        });
    let corner = viewport.min - scroll.state.clamped_offset();
    labels_ui(ui, area, viewport, corner, &layout, view, &row_labels);
}

fn place_all(corner: egui::Pos2, layout: &GridLayout, view: &RunView) -> Vec<Placed> {
    let mut placed = Vec::new();
    for row in 0..view.grid.rows.len() {
        for column in 0..view.grid.columns.len() {
            if let Some(key) = view.grid.at(row, column) {
                placed.push(Placed {
                    key: key.clone(),
                    rect: layout.cell_rect(corner, row, column),
                });
            }
        }
    }
    for (index, strip) in view.grid.strips.iter().enumerate() {
        for (column, key) in strip.cells.iter().enumerate() {
            placed.push(Placed {
                key: key.clone(),
                rect: layout.strip_rect(corner, index, column),
            });
        }
    }
    placed
}

fn cells_ui(
    ui: &mut egui::Ui,
    corner: egui::Pos2,
    layout: &GridLayout,
    state: &AppState,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let placed = place_all(corner, layout, view);
    let clip = ui.clip_rect();
    let Some(first) = placed.first() else { return };
    let cell_px = canvas::cell_px(first.rect, ui.pixels_per_point());
    memory.answer_view_request(view, cell_px);
    // Bring the selected cell into view when keys moved it.
    if memory.last_selected != view.selected {
        memory.last_selected.clone_from(&view.selected);
        if let Some(rect) = placed
            .iter()
            .find(|it| Some(&it.key) == view.selected.as_ref())
            .map(|it| it.rect)
        {
            ui.scroll_to_rect(rect, None);
        }
    }
    let mut hovered = None;
    for (index, it) in placed.iter().enumerate() {
        let is_selected = view.selected.as_ref() == Some(&it.key);
        let label = cell_look::accessible_label(view, &it.key);
        let status = match memory.image_of(view, &it.key) {
            Some(image) => memory
                .canvas
                .as_ref()
                .map_or(ImageStatus::Waiting, |c| c.status(image)),
            None => ImageStatus::Waiting,
        };
        let id = ui.scope_id().with(("cell", index));
        let response = canvas::cell_response(ui, id, it.rect, &label, is_selected, status);
        if response.clicked() && !is_selected {
            out.push(Msg::Select(it.key.clone()));
        }
        if response.double_clicked() {
            out.push(Msg::Select(it.key.clone()));
            out.push(Msg::Command(Command::FullScreen));
        }
        if let Some(pointer) = response.hover_pos() {
            hovered = Some((it.rect, pointer, it.key.clone()));
        }
        super::marking::mark_response(ui, &response, &it.key, view, memory, out);
        let wheel_zooms = !ui.input(|input| input.modifiers.shift);
        if memory.drawing.is_none() {
            canvas::navigate(
                &mut memory.framing,
                &response,
                memory.size_in_image,
                wheel_zooms,
            );
        }
    }
    if state.bucket.is_fetching(&view.dir) {
        let on_screen = placed.iter().filter(|it| clip.intersects(it.rect));
        memory.note_visible(on_screen.map(|it| it.key.clone()).collect(), out);
    }
    let shown = memory.framing.view(memory.size_in_image, cell_px);
    memory.set_status(
        shown,
        hovered.as_ref().map(|(rect, pointer, _)| {
            canvas::CellMap::new(*rect, ui.pixels_per_point(), &shown).to_image(*pointer)
        }),
    );
    for (index, strip) in view.grid.strips.iter().enumerate() {
        let pos = layout.strip_title_pos(corner, index);
        ui.painter().text(
            pos,
            Align2::LEFT_TOP,
            &strip.title,
            FontId::proportional(13.0),
            theme::ON_SURROUND,
        );
    }
    for it in placed.iter().filter(|it| clip.intersects(it.rect)) {
        cell_ui(ui, it, shown, state, view, memory);
        if view.selected.as_ref() == Some(&it.key) {
            memory.note_seen(view, &it.key, it.rect.width(), out);
        }
    }
    for row in 0..view.grid.rows.len() {
        for column in 0..view.grid.columns.len() {
            if view.grid.at(row, column).is_none() {
                let rect = layout.cell_rect(corner, row, column);
                dashed_cell(ui.painter(), rect, "not in this run");
            }
        }
    }
    if let (Some((rect, pointer, key)), true) = (hovered, view.look.has_loupe)
        && let Some(paint) = cell_look::paint(view, &key, shown, memory)
        && let Some(canvas) = memory.canvas.as_mut()
    {
        canvas::loupe_ui(ui.ctx(), rect, pointer, &paint, canvas);
    }
}

fn cell_ui(
    ui: &egui::Ui,
    it: &Placed,
    shown: canvas::View,
    state: &AppState,
    view: &RunView,
    memory: &mut UiMemory,
) {
    let painter = ui.painter();
    let is_selected = view.selected.as_ref() == Some(&it.key);
    match view.run.cells.get(&it.key) {
        Some(CellState::Done(_)) => {
            if let Some(paint) = cell_look::paint(view, &it.key, shown, memory) {
                paint_done(painter, it.rect, &paint, memory);
            }
        }
        Some(CellState::Failed { error, .. }) => message_cell(painter, it.rect, "failed", error),
        Some(CellState::Unreadable { reason }) => {
            message_cell(painter, it.rect, "cannot be read", reason);
        }
        Some(CellState::Missing) | None => match view
            .live
            .as_ref()
            .filter(|live| live.cell.as_ref() == Some(&it.key))
        {
            Some(live) => {
                dashed_cell(painter, it.rect, "");
                let fraction = live.step as f32 / live.steps.max(1) as f32;
                progress(
                    painter,
                    it.rect,
                    fraction,
                    &format!("step {} of {}", live.step, live.steps),
                );
            }
            None if view.live.is_some() => dashed_cell(painter, it.rect, "waiting"),
            None if view.lacks(&it.key) && state.bucket.is_fetching(&view.dir) => {
                dashed_cell(painter, it.rect, "arriving");
            }
            None if view.lacks(&it.key) => dashed_cell(painter, it.rect, "not fetched"),
            None => dashed_cell(painter, it.rect, "not run"),
        },
    }
    let map = canvas::CellMap::new(it.rect, ui.pixels_per_point(), &shown);
    verdicts::paint_verdict(painter, it.rect, &it.key, view);
    verdicts::paint_marks(painter, it.rect, &it.key, view, &map);
    badges(painter, it.rect, &it.key, state, view);
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
    if let Some(cursor) = memory.cursor_in_image {
        canvas::paint_cursor_mark(painter, it.rect, &shown, cursor);
    }
}

fn paint_done(painter: &egui::Painter, rect: Rect, paint: &CellPaint, memory: &mut UiMemory) {
    match memory.canvas.as_mut() {
        Some(canvas) if canvas.has_gpu() => canvas::paint_cell(painter, rect, paint, canvas),
        _ => message_cell(
            painter,
            rect,
            "no GPU",
            "pictures need a Vulkan, Metal or GL driver",
        ),
    }
}

fn badges(painter: &egui::Painter, rect: Rect, key: &CellKey, _state: &AppState, view: &RunView) {
    let mut text = String::new();
    match view.run.baseline(key) {
        Some(Baseline::Exact) => text.push('★'),
        Some(Baseline::OtherSteps) => text.push('☆'),
        None => {}
    }
    if view.look.reference == crate::state::look::Reference::Cell(key.clone()) {
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
    if let Some(caption) = cell_look::caption(view, key)
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

fn dashed_cell(painter: &egui::Painter, rect: Rect, text: &str) {
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
    painter.text(
        rect.center(),
        Align2::CENTER_CENTER,
        text,
        FontId::proportional(12.0),
        theme::ON_SURROUND,
    );
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
    painter.text(
        rect.center(),
        Align2::CENTER_BOTTOM,
        text,
        FontId::proportional(12.0),
        theme::ON_SURROUND,
    );
}

/// Labels beside and above the cells: they follow the scrolling but stay in view.
fn labels_ui(
    ui: &egui::Ui,
    area: Rect,
    viewport: Rect,
    corner: egui::Pos2,
    layout: &GridLayout,
    view: &RunView,
    row_labels: &[String],
) {
    let font = FontId::proportional(13.0);
    let top = Rect::from_min_max(
        pos2(viewport.left(), area.top()),
        pos2(viewport.right(), viewport.top()),
    );
    let painter = ui.painter_at(top);
    for (column, value) in view.grid.columns.iter().enumerate() {
        let rect = layout.cell_rect(corner, 0, column);
        let text = value.label(&view.run.prompts);
        painter.text(
            pos2(rect.center().x, top.center().y),
            Align2::CENTER_CENTER,
            text,
            font.clone(),
            theme::ON_SURROUND,
        );
    }
    let left = Rect::from_min_max(
        pos2(area.left(), viewport.top()),
        pos2(viewport.left(), area.bottom()),
    );
    let painter = ui.painter_at(left);
    for (row, text) in row_labels.iter().enumerate() {
        let rect = layout.cell_rect(corner, row, 0);
        let galley = painter.layout(
            text.clone(),
            font.clone(),
            theme::ON_SURROUND,
            layout.label_width - 8.0,
        );
        let at = pos2(left.left() + 6.0, rect.center().y - galley.size().y / 2.0);
        painter.galley(at, galley, theme::ON_SURROUND);
    }
    let names = format!(
        "{} →
{} ↓",
        view.pivot.columns.label(),
        view.pivot.rows.label()
    );
    ui.painter_at(Rect::from_min_max(
        area.min,
        pos2(viewport.left(), viewport.top()),
    ))
    .text(
        area.min + vec2(6.0, 2.0),
        Align2::LEFT_TOP,
        names,
        FontId::proportional(10.0),
        theme::ON_SURROUND,
    );
}
