//! Colours and spacings, named in one place. Surroundings of pictures are neutral grey in both themes.

use crate::state::look::Overlay;
use eframe::egui::{self, Color32, Stroke};

/// The one accent: selection, progress, links.
pub const ACCENT: Color32 = Color32::from_rgb(0x4a, 0x9e, 0xff);
/// Warnings only.
pub const WARNING: Color32 = Color32::from_rgb(0xe8, 0x9b, 0x2c);
/// Warnings only, on a light panel.
const WARNING_ON_LIGHT: Color32 = Color32::from_rgb(0x9a, 0x52, 0x00);

/// What is said of a device that is not production's; why it matters stands under the pointer.
pub const NOT_PRODUCTION: &str = "⚠ not production's L4";

/// The colour of a warning that stands on a panel.
pub fn warning(ui: &egui::Ui) -> Color32 {
    if ui.visuals().dark_mode {
        WARNING
    } else {
        WARNING_ON_LIGHT
    }
}

/// What passed.
pub const PASS: Color32 = Color32::from_rgb(0x5c, 0xd0, 0x80);
/// What was rejected.
pub const REJECT: Color32 = Color32::from_rgb(0xff, 0x7b, 0x72);
/// Behind pictures, in both themes.
pub const SURROUND: Color32 = Color32::from_gray(0x60);
/// Where a picture is missing.
pub const EMPTY_CELL: Color32 = Color32::from_gray(0x55);
/// Text over [`SURROUND`] and [`EMPTY_CELL`].
pub const ON_SURROUND: Color32 = Color32::from_gray(0xf0);
/// Between cells, in points.
pub const CELL_GAP: f32 = 4.0;
/// Height of a column's label, in points.
pub const COLUMN_LABEL_HEIGHT: f32 = 28.0;
/// Least width of a row's label, in points.
pub const ROW_LABEL_WIDTH: f32 = 74.0;
/// Least side of a cell, in points.
pub const MIN_CELL: f32 = 72.0;
/// Width of the panels at the sides, in points.
pub const SIDE_PANEL_WIDTH: f32 = 210.0;

/// Applies the theme. Called when it changes, not every frame.
pub fn apply(ctx: &egui::Context, is_light: bool) {
    ctx.set_theme(if is_light {
        egui::Theme::Light
    } else {
        egui::Theme::Dark
    });
    ctx.all_styles_mut(|style| {
        style.spacing.item_spacing = egui::vec2(6.0, 4.0);
        style.spacing.button_padding = egui::vec2(6.0, 2.0);
        style.interaction.selectable_labels = false;
        let visuals = &mut style.visuals;
        visuals.selection.bg_fill = ACCENT.gamma_multiply(0.55);
        visuals.selection.stroke = Stroke::new(
            1.0,
            if visuals.dark_mode {
                Color32::WHITE
            } else {
                Color32::BLACK
            },
        );
        // Plain text is read all day: egui's own grey is too faint for it, and fainter text fainter still.
        let ink = Color32::from_gray(if visuals.dark_mode { 0xcc } else { 0x28 });
        visuals.widgets.noninteractive.fg_stroke.color = ink;
        visuals.weak_text_alpha = 0.75;
        visuals.hyperlink_color = ACCENT;
        visuals.warn_fg_color = WARNING;
        visuals.error_fg_color = WARNING;
        visuals.panel_fill = Color32::from_gray(if visuals.dark_mode { 0x2b } else { 0xec });
        visuals.window_fill = Color32::from_gray(if visuals.dark_mode { 0x30 } else { 0xf4 });
    });
}

/// Text that is legible on black and on white: light with a dark edge.
pub fn outlined_text(
    painter: &egui::Painter,
    pos_in_ui: egui::Pos2,
    anchor: egui::Align2,
    text: &str,
    size: f32,
    colour: Color32,
) -> egui::Rect {
    let font = egui::FontId::proportional(size);
    let galley = painter.layout_no_wrap(text.to_owned(), font, Color32::PLACEHOLDER);
    let rect = anchor.anchor_size(pos_in_ui, galley.size());
    paint_outlined(painter, rect.min, &galley, colour);
    rect
}

/// Draws text that was laid out in no colour of its own, with its edge: it is laid out once for all five.
fn paint_outlined(
    painter: &egui::Painter,
    at: egui::Pos2,
    galley: &std::sync::Arc<egui::Galley>,
    colour: Color32,
) {
    for (dx, dy) in [(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)] {
        let edge = Color32::from_black_alpha(200);
        painter.galley(at + egui::vec2(dx, dy), galley.clone(), edge);
    }
    painter.galley(at, galley.clone(), colour);
}

/// [`outlined_text`] to the right and below a point, cut off with an ellipsis at a width in points.
pub fn outlined_line(
    painter: &egui::Painter,
    pos_in_ui: egui::Pos2,
    text: &str,
    size: f32,
    colour: Color32,
    max_width: f32,
) {
    let font = egui::FontId::proportional(size);
    let colourless = Color32::PLACEHOLDER;
    let mut job = egui::text::LayoutJob::simple_singleline(text.to_owned(), font, colourless);
    job.wrap = egui::text::TextWrapping::truncate_at_width(max_width);
    paint_outlined(painter, pos_in_ui, &painter.layout_job(job), colour);
}

/// Colours of what clean-up and growing change of a mask; the same as in `canvas.wgsl`.
const CHANGES: [(&str, Color32); 3] = [
    ("gained", Color32::from_rgb(26, 217, 77)),
    ("lost", Color32::from_rgb(255, 77, 26)),
    ("specks", Color32::from_rgb(191, 102, 255)),
];

/// What an overlay's colours mean, where it has several.
pub fn overlay_legend_ui(ui: &mut egui::Ui, overlay: Overlay) {
    if overlay != Overlay::Change {
        return;
    }
    for (name, colour) in CHANGES {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(11.0, 11.0), egui::Sense::hover());
        ui.painter().rect_filled(rect, 1.0, colour);
        ui.label(name);
    }
}

/// Draws what egui's own font lacks: stars, arrows, check marks, other scripts. Licence beside the file.
const FALLBACK_FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");

/// Adds the fallback font. Called once, at start.
pub fn install_fonts(ctx: &egui::Context) {
    use egui::epaint::text::{FontInsert, FontPriority, InsertFontFamily};
    let families = [egui::FontFamily::Proportional, egui::FontFamily::Monospace].map(|family| {
        InsertFontFamily {
            family,
            priority: FontPriority::Lowest,
        }
    });
    ctx.add_font(FontInsert::new(
        "DejaVu Sans",
        egui::FontData::from_static(FALLBACK_FONT),
        families.to_vec(),
    ));
}
