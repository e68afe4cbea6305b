//! The values of all cells at one point: RGB as in the file, and ΔE2000 to the original.

use super::UiMemory;
use super::canvas::{CellPaint, ImageId, View};
use crate::imaging::delta_e::delta_e_2000_of_srgb;
use crate::model::run::CellState;
use crate::state::Msg;
use crate::state::command::Command;
use crate::state::run_view::RunView;
use eframe::egui::{self, Color32, RichText, Sense, Stroke, StrokeKind, vec2};

/// At most so many pictures are read: each one's pixels have to be in main memory.
const MOST: usize = 120;
/// Width of an entry, in points.
const ENTRY_WIDTH: f32 = 300.0;

struct Entry {
    name: String,
    rgba: Option<[u8; 4]>,
    delta_e: Option<f64>,
}

impl Entry {
    fn text(&self) -> String {
        let Some([r, g, b, _]) = self.rgba else {
            return format!("{}  …", self.name);
        };
        let delta_e = self
            .delta_e
            .map_or(String::new(), |delta_e| format!("  ΔE {delta_e:.1}"));
        format!("{}  {r:3} {g:3} {b:3}{delta_e}", self.name)
    }
}

/// The panel below the grid.
pub fn values_ui(ui: &mut egui::Ui, view: &RunView, memory: &mut UiMemory, out: &mut Vec<Msg>) {
    egui::Panel::bottom("values")
        .resizable(true)
        .default_size(136.0)
        .max_size(360.0)
        .show(ui, |ui| {
            ui.spacing_mut().interact_size.y = 16.0;
            let at = memory.values_point();
            let is_inside = (0..2).all(|i| at[i] >= 0.0 && at[i] < memory.size_in_image[i]);
            ui.horizontal(|ui| {
                ui.strong(format!(
                    "Values at ({:.0}, {:.0})",
                    at[0].floor(),
                    at[1].floor()
                ));
                ui.label(if view.has_session() {
                    "red, green, blue; ΔE2000 to the original: a difference, no quality"
                } else {
                    "red, green, blue; the original is unknown, so there is no ΔE"
                });
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    if ui.button("Close (V)").clicked() {
                        out.push(Msg::Command(Command::Values));
                    }
                });
            });
            if !is_inside {
                ui.label("The point lies outside the picture.");
                return;
            }
            let (entries, left_out) = entries(view, memory, at);
            let across = ((ui.available_width() / ENTRY_WIDTH) as usize).max(1);
            egui::ScrollArea::vertical()
                .auto_shrink([false, true])
                .show(ui, |ui| {
                    egui::Grid::new("values")
                        .num_columns(across)
                        .min_col_width(ENTRY_WIDTH - 12.0)
                        .spacing([8.0, 2.0])
                        .show(ui, |ui| {
                            for (index, entry) in entries.iter().enumerate() {
                                entry_ui(ui, entry);
                                if index % across == across - 1 {
                                    ui.end_row();
                                }
                            }
                        });
                    if left_out > 0 {
                        ui.weak(format!(
                            "{left_out} more cells: hide or filter some to read them"
                        ));
                    }
                });
        });
}

fn entry_ui(ui: &mut egui::Ui, entry: &Entry) {
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(vec2(16.0, 12.0), Sense::hover());
        if let Some([r, g, b, _]) = entry.rgba {
            ui.painter().rect(
                rect,
                0.0,
                Color32::from_rgb(r, g, b),
                Stroke::new(1.0, Color32::from_gray(0x80)),
                StrokeKind::Inside,
            );
        }
        ui.label(RichText::new(entry.text()).monospace().size(12.0));
    });
}

/// The original first, then the cells in the order of the grid, each with the second run's after it.
fn entries(view: &RunView, memory: &mut UiMemory, at: [f64; 2]) -> (Vec<Entry>, usize) {
    let original = memory
        .original_of(view)
        .map(|image| (image, value(memory, image, at)));
    let base = original.and_then(|(_, value)| value);
    let entry = |name: String, rgba: Option<[u8; 4]>| {
        let rgb = |[r, g, b, _]: [u8; 4]| [r, g, b];
        let delta_e = rgba
            .zip(base)
            .map(|(one, two)| delta_e_2000_of_srgb(rgb(one), rgb(two)));
        Entry {
            name,
            rgba,
            delta_e,
        }
    };
    let mut entries = Vec::new();
    if let Some((_, value)) = original {
        entries.push(Entry {
            delta_e: None,
            ..entry("original".to_owned(), value)
        });
    }
    let done = |key: &_| matches!(view.run.cells.get(key), Some(CellState::Done(_)));
    let cells: Vec<_> = view.grid.order().into_iter().filter(done).collect();
    let left_out = cells.len().saturating_sub(MOST);
    for key in cells.into_iter().take(MOST) {
        if let Some(image) = memory.image_of(view, &key) {
            let rgba = value(memory, image, at);
            entries.push(entry(view.run.cell_name(&key), rgba));
        }
        if let Some(other) = view.paired()
            && let Some(image) = memory.other_image_of(view, &key)
        {
            let rgba = value(memory, image, at);
            let name = other
                .beside(&key)
                .map_or(String::new(), |(theirs, _)| other.run.cell_name(theirs));
            entries.push(entry(format!("B {name}"), rgba));
        }
    }
    (entries, left_out)
}

fn value(memory: &mut UiMemory, image: ImageId, at: [f64; 2]) -> Option<[u8; 4]> {
    // Where one looks does not matter for a value.
    let shown = View {
        center_in_image: at,
        zoom: 1.0,
    };
    let mut paint = CellPaint::new(image, shown);
    paint.size_in_image = Some(memory.size_in_image);
    memory.canvas.as_mut()?.value_at(&paint, at)
}
