//! Labels beside and above the cells, which stay in view while the grid scrolls. An axis' name dragged onto
//! them makes it the rows or the columns.

use super::axes_bar::{self, Drop};
use super::grid_layout::GridLayout;
use super::theme;
use crate::state::Msg;
use crate::state::run_view::RunView;
use eframe::egui::{self, Align2, FontId, Pos2, Rect, Sense, pos2, vec2};

/// Where the labels of a grid go.
pub struct LabelArea {
    /// All of the grid with its labels.
    pub area: Rect,
    /// Where the cells are seen.
    pub viewport: Rect,
    /// Where the first cell's corner lies, scrolled.
    pub corner: Pos2,
}

/// Draws the labels.
pub fn labels_ui(
    ui: &mut egui::Ui,
    place: &LabelArea,
    layout: &GridLayout,
    view: &RunView,
    row_labels: &[String],
    out: &mut Vec<Msg>,
) {
    let LabelArea {
        area,
        viewport,
        corner,
    } = *place;
    let font = FontId::proportional(13.0);
    let top = Rect::from_min_max(
        pos2(viewport.left(), area.top()),
        pos2(viewport.right(), viewport.top()),
    );
    let left = Rect::from_min_max(
        pos2(area.left(), viewport.top()),
        pos2(viewport.left(), area.bottom()),
    );
    // Where cells are listed by time there are neither rows nor columns.
    if !view.grid.rows.is_empty() {
        for (rect, name, drop) in [
            (top, "column labels", Drop::Columns),
            (left, "row labels", Drop::Rows),
        ] {
            let response = ui.interact(rect, ui.scope_id().with(name), Sense::hover());
            axes_bar::drop_ui(ui, &response, drop, view, out);
        }
    }
    let painter = ui.painter_at(top);
    for (column, value) in view.grid.columns.iter().enumerate() {
        let rect = layout.cell_rect(corner, 0, column);
        let galley = painter.layout(
            value.label(&view.run.prompts),
            font.clone(),
            theme::ON_SURROUND,
            (rect.width() - 4.0).max(20.0),
        );
        let at = pos2(rect.center().x, top.center().y) - galley.size() / 2.0;
        let own = Rect::from_min_size(at, galley.size()).intersect(top);
        named(ui, own, ("column label", column), galley.text());
        painter.galley(at, galley, theme::ON_SURROUND);
    }
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
        let own = Rect::from_min_size(at, galley.size()).intersect(left);
        named(ui, own, ("row label", row), galley.text());
        painter.galley(at, galley, theme::ON_SURROUND);
    }
    let names = format!(
        "{} →\n{} ↓",
        view.pivot.columns.label(),
        view.pivot.rows.label()
    );
    let head = Rect::from_min_max(area.min, pos2(viewport.left(), viewport.top()));
    ui.painter_at(head).text(
        area.min + vec2(6.0, 2.0),
        Align2::LEFT_TOP,
        names,
        FontId::proportional(10.0),
        theme::ON_SURROUND,
    );
}

/// Gives a painted label its accessible name, where anything of it is in view.
fn named(ui: &egui::Ui, rect: Rect, id: (&str, usize), text: &str) {
    if rect.is_positive() {
        let response = ui.interact(rect, ui.scope_id().with(id), Sense::hover());
        let name = format!("{}: {text}", id.0);
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &name));
    }
}
