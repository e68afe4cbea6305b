//! Which axis is rows, columns, pages: by menu, or by dragging its name; and which values are hidden.

use super::theme;
use crate::model::matrix::{Axis, AxisValue};
use crate::state::Msg;
use crate::state::pivot::Pivot;
use crate::state::run_view::RunView;
use crate::state::seeing::SeeMsg;
use eframe::egui::containers::menu::{MenuButton, MenuConfig};
use eframe::egui::{
    self, Align2, Color32, FontId, PopupCloseBehavior, Response, Sense, Stroke, StrokeKind, vec2,
};

/// Where an axis' name can be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// It becomes the rows.
    Rows,
    /// It becomes the columns.
    Columns,
    /// It becomes one of the pages.
    Pages,
}

impl Drop {
    const fn label(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Columns => "columns",
            Self::Pages => "pages",
        }
    }
}

/// Rows, columns, pages and what is hidden, in one line.
pub fn axes_ui(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    let mut pivot = view.pivot.clone();
    let (mut rows, mut columns) = (None, None);
    zone_ui(ui, Drop::Rows, view, out, |ui| {
        axis_menu(ui, "rows", pivot.rows, &mut rows);
    });
    let swap = ui.small_button("⇄").on_hover_text("Swap rows and columns");
    swap.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::Button, true, "Swap rows and columns")
    });
    if swap.clicked() {
        rows = Some(pivot.columns);
    }
    zone_ui(ui, Drop::Columns, view, out, |ui| {
        axis_menu(ui, "columns", pivot.columns, &mut columns);
    });
    if let Some(axis) = rows {
        pivot.set_rows(axis, &view.run);
    }
    if let Some(axis) = columns {
        pivot.set_columns(axis, &view.run);
    }
    zone_ui(ui, Drop::Pages, view, out, |ui| {
        ui.label("pages");
        if view.grid.pages.is_empty() {
            ui.weak("none");
        }
        for axis in &view.grid.pages {
            page_menu(ui, view, &mut pivot, *axis);
        }
    });
    hidden_menu(ui, view, &mut pivot);
    if pivot != view.pivot {
        out.push(Msg::SetPivot(Box::new(pivot)));
    }
    dragged_name_ui(ui.ctx());
}

/// A group onto which an axis' name can be dropped.
fn zone_ui(
    ui: &mut egui::Ui,
    drop: Drop,
    view: &RunView,
    out: &mut Vec<Msg>,
    add: impl FnOnce(&mut egui::Ui),
) {
    let inner = ui.horizontal(add);
    let id = ui.scope_id().with(("axis zone", drop.label()));
    let response = ui.interact(inner.response.rect, id, Sense::hover());
    drop_ui(ui, &response, drop, view, out);
}

/// Takes an axis' name that is let go over a place, and frames the place while one is held.
pub fn drop_ui(ui: &egui::Ui, response: &Response, drop: Drop, view: &RunView, out: &mut Vec<Msg>) {
    if egui::DragAndDrop::has_payload_of_type::<Axis>(ui.ctx()) {
        let is_over = response.dnd_hover_payload::<Axis>().is_some();
        let width = if is_over { 2.5 } else { 1.0 };
        let rect = response.rect.expand(1.0).intersect(ui.clip_rect());
        let stroke = Stroke::new(width, theme::ACCENT);
        ui.painter()
            .rect_stroke(rect, 2.0, stroke, StrokeKind::Inside);
    }
    let Some(axis) = response.dnd_release_payload::<Axis>() else {
        return;
    };
    if drop == Drop::Pages {
        out.push(Msg::See(SeeMsg::MakePages(*axis)));
        return;
    }
    let mut pivot = view.pivot.clone();
    if drop == Drop::Rows {
        pivot.set_rows(*axis, &view.run);
    } else {
        pivot.set_columns(*axis, &view.run);
    }
    out.push(Msg::SetPivot(Box::new(pivot)));
}

/// The name that is being dragged, at the pointer.
fn dragged_name_ui(ctx: &egui::Context) {
    let Some(axis) = egui::DragAndDrop::payload::<Axis>(ctx) else {
        return;
    };
    ctx.set_cursor_icon(egui::CursorIcon::Grabbing);
    let Some(pointer) = ctx.pointer_interact_pos() else {
        return;
    };
    let layer = egui::LayerId::new(egui::Order::Tooltip, egui::Id::unique("dragged axis"));
    let painter = ctx.layer_painter(layer);
    let font = FontId::proportional(14.0);
    let galley = painter.layout_no_wrap(axis.label().to_owned(), font, Color32::WHITE);
    let rect = Align2::LEFT_TOP
        .anchor_size(pointer + vec2(12.0, 10.0), galley.size())
        .expand2(vec2(6.0, 3.0));
    painter.rect(
        rect,
        3.0,
        Color32::from_gray(0x28),
        Stroke::new(1.0, theme::ACCENT),
        StrokeKind::Outside,
    );
    painter.galley(rect.min + vec2(6.0, 3.0), galley, Color32::WHITE);
}

fn axis_menu(ui: &mut egui::Ui, label: &str, now: Axis, choose: &mut Option<Axis>) {
    ui.label(label);
    let combo = egui::ComboBox::from_id_salt(label)
        .selected_text(now.label())
        .show_ui(ui, |ui| {
            for axis in Axis::ALL {
                if ui.selectable_label(axis == now, axis.label()).clicked() {
                    *choose = Some(axis);
                }
            }
        });
    combo.response.widget_info(|| {
        egui::WidgetInfo::labeled(
            egui::Role::ComboBox,
            true,
            format!("{label}: {}", now.label()),
        )
    });
    combo
        .response
        .interact(Sense::click_and_drag())
        .on_hover_text("Drag the name onto rows, columns, pages or the grid's labels")
        .dnd_set_drag_payload(now);
}

fn page_menu(ui: &mut egui::Ui, view: &RunView, pivot: &mut Pivot, axis: Axis) {
    let Some(now) = pivot.page.get(&axis).cloned() else {
        return;
    };
    let name = egui::Label::new(axis.label())
        .selectable(false)
        .sense(Sense::drag());
    ui.add(name)
        .on_hover_text("Drag the name onto rows or columns")
        .dnd_set_drag_payload(axis);
    let combo = egui::ComboBox::from_id_salt(("page", axis))
        .selected_text(now.label(&view.run.prompts))
        .show_ui(ui, |ui| {
            for value in pivot.page_values(axis, &view.run) {
                let label = value.label(&view.run.prompts);
                if ui.selectable_label(value == now, label).clicked() {
                    pivot.page.insert(axis, value);
                }
            }
        });
    combo.response.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::ComboBox, true, format!("page {}", axis.label()))
    });
}

/// The values of every axis that has more than one, to show or to hide.
fn hidden_menu(ui: &mut egui::Ui, view: &RunView, pivot: &mut Pivot) {
    let title = if pivot.hidden.is_empty() {
        "Show".to_owned()
    } else {
        format!("Show ({} hidden)", pivot.hidden.len())
    };
    // Several values are hidden one after the other: the menu stays open.
    let stays = MenuConfig::new().close_behavior(PopupCloseBehavior::CloseOnClickOutside);
    MenuButton::new(title).config(stays).ui(ui, |ui| {
        egui::ScrollArea::vertical()
            .max_height(480.0)
            .show(ui, |ui| {
                for axis in Axis::ALL {
                    let values = view.run.axis_values(axis);
                    if values.len() < 2 {
                        continue;
                    }
                    ui.strong(axis.label());
                    for value in values {
                        let mut is_shown = !pivot.hidden.contains(&value);
                        let label = value.label(&view.run.prompts);
                        let checkbox = ui.checkbox(&mut is_shown, label.as_str());
                        checkbox.widget_info(|| {
                            let name = format!("{} {label}", axis.label());
                            let role = egui::Role::CheckBox;
                            egui::WidgetInfo::selected(role, true, is_shown, name)
                        });
                        if checkbox.changed() {
                            set_hidden(pivot, value, !is_shown);
                        }
                    }
                }
            });
        if ui.button("Show all").clicked() {
            pivot.hidden.clear();
        }
    });
}

fn set_hidden(pivot: &mut Pivot, value: AxisValue, is_hidden: bool) {
    if is_hidden {
        pivot.hidden.insert(value);
    } else {
        pivot.hidden.remove(&value);
    }
}
