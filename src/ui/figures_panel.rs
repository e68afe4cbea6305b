//! The figures of the three zones for the selected cell. Differences, never quality.

use super::{cell_look, theme};
use crate::imaging::zones::{ZoneFigures, ZoneReport};
use crate::state::run_view::RunView;
use crate::state::seeing::figures;
use eframe::egui;

const OUTSIDE: &str =
    "Where the composite's weight is 0: there nothing may differ from the original.";
const RING: &str = "The seam: where the weight is above 0, within 8 pixels at inference size of the grown \
                    mask's edge.";
const INSIDE: &str = "The rest of what was filled.";

/// The section of the right panel.
pub fn figures_ui(ui: &mut egui::Ui, view: &RunView) {
    ui.strong(format!(
        "Difference from {}",
        cell_look::reference_label(view)
    ));
    let key = match figures::subject(view) {
        Ok(key) => key,
        Err(reason) => {
            ui.add(egui::Label::new(egui::RichText::new(reason).weak()).wrap());
            return;
        }
    };
    match view.figures.of(&key) {
        None => {
            ui.weak(if view.cycle.is_on {
                "not while cells change by themselves"
            } else {
                "computing…"
            });
        }
        Some(Err(problem)) => {
            let text = egui::RichText::new(problem).color(theme::warning(ui));
            ui.add(egui::Label::new(text).wrap().selectable(true));
        }
        Some(Ok(report)) => report_ui(ui, view, report),
    }
}

fn report_ui(ui: &mut egui::Ui, view: &RunView, report: &ZoneReport) {
    egui::Grid::new("figures")
        .num_columns(4)
        .spacing([8.0, 2.0])
        .show(ui, |ui| {
            for title in ["", "changed", "mean ΔE", "95 %"] {
                ui.weak(title);
            }
            ui.end_row();
            for (name, meaning, figures) in [
                ("outside", OUTSIDE, &report.outside),
                ("ring", RING, &report.ring),
                ("inside", INSIDE, &report.inside),
            ] {
                row_ui(ui, name, meaning, figures);
            }
        });
    let outside_px = report.outside.changed_px;
    if outside_px > 0 {
        let text = if figures::has_other_mask(view) {
            format!(
                "⚠ {} px differ outside this cell's mask; the reference was made with another mask",
                grouped(outside_px)
            )
        } else {
            format!(
                "⚠ {} px differ outside the mask, where nothing may",
                grouped(outside_px)
            )
        };
        let text = egui::RichText::new(text).color(theme::warning(ui));
        ui.add(egui::Label::new(text).wrap());
    }
    ui.weak("ΔE2000: how much colours differ, not how good the fill is.");
}

fn row_ui(ui: &mut egui::Ui, name: &str, meaning: &str, figures: &ZoneFigures) {
    let delta_e =
        |value: Option<f32>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
    let (mean, p95) = (delta_e(figures.mean_delta_e), delta_e(figures.p95_delta_e));
    let label = format!(
        "{name}: {} of {} px changed, mean ΔE {mean}, 95 % within {p95}",
        grouped(figures.changed_px),
        grouped(figures.pixels)
    );
    let response = ui.label(name);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &label));
    response.on_hover_text(format!("{meaning}\n{label}"));
    ui.label(format!("{} px", grouped(figures.changed_px)));
    ui.label(&mean);
    ui.label(&p95);
    ui.end_row();
}

/// Digits in groups of three: `1 234 567`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            // Narrow, and never broken over two lines.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_in_groups_of_three() {
        let shown = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(
            shown,
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
    }
}
