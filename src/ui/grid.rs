//! The grid: cells in rows and columns with labels that stay in view, all looked at through one view.

use super::canvas::{self, ImageStatus};
use super::grid_cell::{self, Placed};
use super::grid_labels::{self, LabelArea};
use super::grid_layout::{GridLayout, GridShape};
use super::{UiMemory, cell_look, cycle_bar, theme, time_tone, wipe};
use crate::model::cell::CellKey;
use crate::state::Msg;
use crate::state::command::Command;
use crate::state::run_view::RunView;
use eframe::egui::{self, Align2, FontId, Rect, vec2};

/// Draws the grid into what is left of the page.
pub fn grid_ui(ui: &mut egui::Ui, view: &RunView, memory: &mut UiMemory, out: &mut Vec<Msg>) {
    let area = ui.available_rect_before_wrap();
    ui.painter().rect_filled(area, 0.0, theme::SURROUND);
    let grid = &view.grid;
    if view.cycle.is_on {
        cycle_bar::tick(ui, view, memory, out);
    }
    if grid.is_empty() {
        ui.painter().text(
            area.center(),
            Align2::CENTER_CENTER,
            "No cells to show: every value is hidden, no cell passes the filter, or the plan is empty.",
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
        &GridShape {
            columns: grid.columns.len(),
            rows: grid.rows.len(),
            strips: &strips,
            label_width: widest,
            aspect,
            is_paired: view.paired().is_some(),
        },
    );
    let viewport = Rect::from_min_max(
        area.min + vec2(layout.label_width, theme::COLUMN_LABEL_HEIGHT),
        area.max,
    );
    let mut viewport_ui = ui.new_child(egui::UiBuilder::new().max_rect(viewport).id_salt("cells"));
    let from_labels = wheel_over_labels(ui, area, viewport);
    let scroll = egui::ScrollArea::both()
        .id_salt("grid")
        .auto_shrink(false)
        .scroll_source(egui::scroll_area::ScrollSource {
            drag: egui::scroll_area::DragScroll::Never,
            ..Default::default()
        })
        .show_viewport(&mut viewport_ui, |ui, _| {
            let (content, _) = ui.allocate_exact_size(layout.content_size(), egui::Sense::hover());
            // As it comes: the wheel is smooth already.
            let at_once = egui::style::ScrollAnimation::none();
            ui.scroll_with_delta_animation(from_labels, at_once);
            cells_ui(ui, content.min, &layout, view, memory, out);
        });
    let place = LabelArea {
        area,
        viewport,
        corner: viewport.min - scroll.state.clamped_offset(),
    };
    grid_labels::labels_ui(ui, &place, &layout, view, &row_labels, out);
}

/// How far the wheel was turned over the labels: there it scrolls the grid, over a cell it zooms.
fn wheel_over_labels(ui: &egui::Ui, area: Rect, viewport: Rect) -> egui::Vec2 {
    let pointer = ui.input(|input| input.pointer.hover_pos());
    let is_over_labels =
        pointer.is_some_and(|pointer| area.contains(pointer) && !viewport.contains(pointer));
    if !is_over_labels || !ui.rect_contains_pointer(area) {
        return egui::Vec2::ZERO;
    }
    ui.input_mut(|input| std::mem::take(&mut input.smooth_scroll_delta))
}

fn place_all<'a>(corner: egui::Pos2, layout: &GridLayout, view: &'a RunView) -> Vec<Placed<'a>> {
    let has_strip = time_tone::is_on(view);
    let place = |key: &'a CellKey, rect: Rect, strip: Option<usize>| {
        let picture = if has_strip {
            rect.with_max_y(rect.bottom() - time_tone::STRIP_HEIGHT)
        } else {
            rect
        };
        let (own, other) = layout.split.halves(picture);
        Placed {
            key,
            rect,
            own,
            other,
            strip,
        }
    };
    let mut placed = Vec::new();
    for row in 0..view.grid.rows.len() {
        for column in 0..view.grid.columns.len() {
            if let Some(key) = view.grid.at(row, column) {
                placed.push(place(key, layout.cell_rect(corner, row, column), None));
            }
        }
    }
    for (index, strip) in view.grid.strips.iter().enumerate() {
        for (column, key) in strip.cells.iter().enumerate() {
            placed.push(place(
                key,
                layout.strip_rect(corner, index, column),
                Some(index),
            ));
        }
    }
    placed
}

/// Where the pointer is.
struct Hovered {
    rect: Rect,
    pointer: egui::Pos2,
    key: CellKey,
    is_other: bool,
}

fn cells_ui(
    ui: &mut egui::Ui,
    corner: egui::Pos2,
    layout: &GridLayout,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let placed = place_all(corner, layout, view);
    let clip = ui.clip_rect();
    let Some(first) = placed.first() else { return };
    let pixels_per_point = ui.pixels_per_point();
    let cell_px = canvas::cell_px(first.own, pixels_per_point);
    memory.answer_view_request(view, cell_px);
    super::marking::mark_by_key(view, cell_px, memory, out);
    wipe::bring_into_view(first.own, pixels_per_point, view, memory, out);
    // Bring the selected cell into view when keys moved it.
    if memory.last_selected != view.selected {
        memory.last_selected.clone_from(&view.selected);
        if let Some(rect) = placed
            .iter()
            .find(|it| Some(it.key) == view.selected.as_ref())
            .map(|it| it.rect)
        {
            ui.scroll_to_rect(rect, None);
        }
    }
    let mut hovered = None;
    for (index, it) in placed.iter().enumerate() {
        let own = own_input(ui, index, it, view, memory, out);
        let other = it
            .other
            .and_then(|rect| other_input(ui, index, it, rect, view, memory, out));
        hovered = own.or(other).or(hovered);
    }
    if memory.is_fetching {
        let on_screen = placed.iter().filter(|it| clip.intersects(it.rect));
        memory.note_visible(on_screen.map(|it| it.key.clone()).collect(), out);
    }
    let shown = memory.framing.view(memory.size_in_image, cell_px);
    memory.set_status(
        shown,
        hovered
            .as_ref()
            .map(|at| canvas::CellMap::new(at.rect, pixels_per_point, &shown).to_image(at.pointer)),
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
    let times = view.look.tone.range(&view.run);
    let in_view = || placed.iter().filter(|it| clip.intersects(it.rect));
    // All pictures before all that lies on them: pictures are draw calls of their own, and what comes
    // between two of them would be one too.
    let mut pictures = Vec::new();
    for it in in_view() {
        grid_cell::picture_ui(ui.painter(), it, shown, view, memory, &mut pictures);
    }
    grid_cell::pictures_ui(ui.painter(), &pictures, memory);
    for it in in_view() {
        grid_cell::signs_ui(ui.painter(), it, shown, times, view, memory);
        if view.selected.as_ref() == Some(it.key) {
            memory.note_seen(view, it.key, it.own.width(), out);
        }
    }
    for row in 0..view.grid.rows.len() {
        for column in 0..view.grid.columns.len() {
            if view.grid.at(row, column).is_none() {
                let rect = layout.cell_rect(corner, row, column);
                let why = if view.grid.is_left_out(row, column) {
                    "left out by the filter"
                } else {
                    "not in this run"
                };
                grid_cell::dashed_cell(ui.painter(), rect, why);
            }
        }
    }
    if view.look.has_loupe
        && let Some(at) = hovered.or_else(|| {
            // Without a pointer over the cells the loupe stands where the values are read.
            let selected = |it: &&Placed<'_>| Some(it.key) == view.selected.as_ref();
            let it = placed.iter().find(selected)?;
            let map = canvas::CellMap::new(it.own, pixels_per_point, &shown);
            Some(Hovered {
                rect: it.own,
                pointer: map.to_ui(memory.values_point()),
                key: it.key.clone(),
                is_other: false,
            })
        })
    {
        let paint = if at.is_other {
            cell_look::paint_other(view, &at.key, shown, memory)
        } else {
            cell_look::paint(view, &at.key, shown, memory)
        };
        if let (Some(paint), Some(canvas)) = (paint, memory.canvas.as_mut()) {
            canvas::loupe_ui(ui.ctx(), at.rect, at.pointer, &paint, canvas);
        }
    }
}

fn own_input(
    ui: &egui::Ui,
    index: usize,
    it: &Placed<'_>,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) -> Option<Hovered> {
    let status = match memory.image_of(view, it.key) {
        Some(image) => memory
            .canvas
            .as_ref()
            .map_or(ImageStatus::Waiting, |c| c.status(image)),
        None => ImageStatus::Waiting,
    };
    let is_selected = view.selected.as_ref() == Some(it.key);
    let id = ui.scope_id().with(("cell", index));
    let label = || cell_look::accessible_label(view, it.key);
    let response = canvas::cell_response(ui, id, it.own, label, is_selected, status);
    choose(&response, it.key, view, out);
    if !wipe::drag_response(ui, &response, view, memory, out) {
        super::marking::mark_response(ui, &response, it.key, view, memory, out);
        navigate(ui, &response, memory);
    }
    hovered(&response, it, false)
}

fn other_input(
    ui: &egui::Ui,
    index: usize,
    it: &Placed<'_>,
    rect: Rect,
    view: &RunView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) -> Option<Hovered> {
    let status = match memory.other_image_of(view, it.key) {
        Some(image) => memory
            .canvas
            .as_ref()
            .map_or(ImageStatus::Waiting, |c| c.status(image)),
        None => ImageStatus::Waiting,
    };
    let id = ui.scope_id().with(("other cell", index));
    let label = || cell_look::other_label(view, it.key);
    let response = canvas::cell_response(ui, id, rect, label, false, status);
    choose(&response, it.key, view, out);
    if !wipe::drag_response(ui, &response, view, memory, out) {
        navigate(ui, &response, memory);
    }
    hovered(&response, it, true)
}

fn hovered(response: &egui::Response, it: &Placed<'_>, is_other: bool) -> Option<Hovered> {
    Some(Hovered {
        rect: response.rect,
        pointer: response.hover_pos()?,
        key: it.key.clone(),
        is_other,
    })
}

fn choose(response: &egui::Response, key: &CellKey, view: &RunView, out: &mut Vec<Msg>) {
    if response.clicked() && view.selected.as_ref() != Some(key) {
        out.push(Msg::Select(key.clone()));
    }
    if response.double_clicked() {
        out.push(Msg::Select(key.clone()));
        out.push(Msg::Command(Command::FullScreen));
    }
}

fn navigate(ui: &egui::Ui, response: &egui::Response, memory: &mut UiMemory) {
    let wheel_zooms = !ui.input(|input| input.modifiers.shift);
    if memory.drawing.is_none() {
        canvas::navigate(
            &mut memory.framing,
            response,
            memory.size_in_image,
            wheel_zooms,
        );
    }
}
