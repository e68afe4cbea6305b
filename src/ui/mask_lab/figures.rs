//! Figures of the mask before and after, gates and warnings.

use super::super::theme;
use crate::state::lab::LabView;
use crate::state::lab::result::LabResult;
use crate::state::{AppState, Msg};
use eframe::egui;

/// The right panel.
pub fn figures_ui(ui: &mut egui::Ui, state: &AppState, view: &LabView, out: &mut Vec<Msg>) {
    let Some(result) = view.shown_result() else {
        ui.spinner();
        ui.label("computing");
        return;
    };
    gates_ui(ui, view, result);
    ui.separator();
    ui.horizontal(|ui| {
        ui.strong("Figures at inference size");
        if view.is_behind() {
            ui.spinner();
        }
    });
    numbers_ui(ui, view, result);
    ui.separator();
    legend_ui(ui);
    super::composite::made_at_ui(ui, state, view, out);
}

fn warning(ui: &mut egui::Ui, text: impl Into<String>) {
    let text = egui::RichText::new(text).color(theme::warning(ui));
    ui.add(egui::Label::new(text).wrap());
}

fn gates_ui(ui: &mut egui::Ui, view: &LabView, result: &LabResult) {
    if result.gates.is_empty() {
        ui.colored_label(theme::PASS, "✓ passes every gate");
    } else {
        ui.strong("A run refuses this mask:");
        for gate in &result.gates {
            warning(ui, format!("✕ {gate}"));
        }
    }
    if !view.opened.has_subject {
        ui.weak("no subject.png: nothing is held back for touching it")
            .on_hover_text("A second mask in the session, white on what must not be touched.");
    }
    if result.uncovered_px > 0 {
        warning(
            ui,
            format!(
                "{} px of the object stay uncovered: a sliver of what is removed comes back there",
                result.uncovered_px
            ),
        );
    }
    if !(5.0..=15.0).contains(&result.recipe.dilate_px) {
        ui.weak("5 to 15 px of dilation are usual");
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}

fn numbers_ui(ui: &mut egui::Ui, view: &LabView, result: &LabResult) {
    let figures = &result.figures;
    let placement = &view.opened.placement;
    let total_tokens = u64::from(figures.width / 16) * u64::from(figures.height / 16);
    let bounds = figures.bounds.map_or("none".to_owned(), |found| {
        format!(
            "{} × {} at ({}, {})",
            found.width, found.height, found.x, found.y
        )
    });
    let margin = figures.margin_to_frame_px.map_or("none".to_owned(), |px| {
        let original = f64::from(px) * placement.original_px_per_inference_px();
        format!("{px} px ({original:.0} of the photo)")
    });
    let rows = [
        (
            "coverage",
            format!(
                "{} → {}",
                percent(figures.coverage_before),
                percent(figures.coverage_after_recipe)
            ),
        ),
        (
            "components",
            format!(
                "{} → {}",
                figures.components_before, figures.components_after
            ),
        ),
        ("largest", format!("{} px", figures.largest_component_px)),
        ("gained", format!("{} px", figures.added_px)),
        ("lost", format!("{} px", figures.removed_px)),
        (
            "specks dropped",
            format!("{} ({} px)", result.specks, result.speck_px),
        ),
        ("uncovered", format!("{} px", result.uncovered_px)),
        ("box", bounds),
        ("to the frame", margin),
        (
            "tokens",
            format!("{} of {total_tokens}", result.masked_tokens),
        ),
    ];
    egui::Grid::new("mask figures")
        .num_columns(2)
        .striped(true)
        .show(ui, |ui| {
            for (name, value) in rows {
                ui.label(name);
                let shown = ui.label(&value);
                shown.widget_info(|| {
                    egui::WidgetInfo::labeled(egui::Role::Label, true, format!("{name}: {value}"))
                });
                ui.end_row();
            }
        });
}

/// What the styles over the photograph mean.
fn legend_ui(ui: &mut egui::Ui) {
    ui.strong("Over the photo");
    for (colour, text) in [
        (egui::Color32::WHITE, "solid: outline before growing"),
        (
            egui::Color32::from_rgb(255, 209, 0),
            "dashed: grown outline",
        ),
        (
            egui::Color32::from_rgb(0, 191, 255),
            "stripes: the ring that growing adds",
        ),
        (
            egui::Color32::from_rgb(191, 102, 255),
            "stripes: specks that are dropped",
        ),
        (
            egui::Color32::from_rgb(255, 77, 26),
            "stripes: uncovered, comes back",
        ),
        (
            egui::Color32::from_rgb(26, 217, 77),
            "gained, in “what changed”",
        ),
    ] {
        ui.horizontal(|ui| {
            let (rect, _) = ui.allocate_exact_size(egui::vec2(14.0, 10.0), egui::Sense::hover());
            ui.painter().rect_filled(rect, 1.0, colour);
            ui.painter().rect_stroke(
                rect,
                1.0,
                egui::Stroke::new(1.0, egui::Color32::BLACK),
                egui::StrokeKind::Outside,
            );
            ui.weak(text);
        });
    }
}
