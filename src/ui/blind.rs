//! A blind comparison: pictures without labels, timings, file names, badges, overlays or figures; then the
//! result.

use super::canvas::{self, CellPaint, ImageStatus};
use super::{UiMemory, theme};
use crate::model::review::blind::Round;
use crate::model::review::tally::BlindResult;
use crate::state::command::Command;
use crate::state::judging::BlindView;
use crate::state::run_view::RunView;
use crate::state::{JudgeMsg, Msg};
use eframe::egui::{self, Align2, Color32, Rect, pos2, vec2};

/// Draws the comparison over the whole page.
pub fn blind_ui(
    ui: &mut egui::Ui,
    view: &RunView,
    blind: &BlindView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    egui::Panel::bottom("blind choices").show(ui, |ui| choices_ui(ui, blind, out));
    match blind.shown() {
        Some(round) => {
            let panel = egui::CentralPanel::default().frame(egui::Frame::NONE);
            panel.show(ui, |ui| round_ui(ui, view, round, memory, out));
        }
        None => {
            egui::CentralPanel::default().show(ui, |ui| result_ui(ui, view, blind, out));
        }
    }
}

fn choices_ui(ui: &mut egui::Ui, blind: &BlindView, out: &mut Vec<Msg>) {
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        if let Some(round) = blind.shown() {
            ui.strong(format!(
                "{} of {}",
                blind.round + 1,
                blind.plan.rounds.len()
            ));
            for place in 0..round.cells.len() {
                if ui.button(format!("{} wins", place + 1)).clicked() {
                    out.push(Msg::Command(Command::BlindWinner(place as u8 + 1)));
                }
            }
            if ui.button("Tie (0)").clicked() {
                out.push(Msg::Command(Command::BlindTie));
            }
            if ui.button("All bad (-)").clicked() {
                out.push(Msg::Command(Command::BlindAllBad));
            }
        }
        if ui.button("Leave (B)").clicked() {
            out.push(Msg::Judge(JudgeMsg::CloseBlind));
        }
    });
    ui.add_space(4.0);
}

fn round_ui(
    ui: &mut egui::Ui,
    view: &RunView,
    round: &Round,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let area = ui.available_rect_before_wrap();
    ui.painter().rect_filled(area, 0.0, theme::SURROUND);
    let count = round.cells.len();
    let (columns, rows) = if count <= 3 { (count, 1) } else { (2, 2) };
    let pitch = vec2(area.width() / columns as f32, area.height() / rows as f32);
    let place = |index: usize| {
        let at = area.min
            + vec2(
                (index % columns) as f32 * pitch.x,
                (index / columns) as f32 * pitch.y,
            );
        Rect::from_min_size(at, pitch).shrink(3.0)
    };
    let pixels_per_point = ui.pixels_per_point();
    let cell_px = canvas::cell_px(place(0), pixels_per_point);
    memory.answer_view_request(view, cell_px);
    let images: Vec<_> = round
        .cells
        .iter()
        .map(|key| memory.image_of(view, key))
        .collect();
    for (index, image) in images.iter().enumerate() {
        let status = match (image, memory.canvas.as_ref()) {
            (Some(image), Some(canvas)) => canvas.status(*image),
            _ => ImageStatus::Waiting,
        };
        let id = ui.scope_id().with(("blind", index));
        // A failed picture's reason would name its file.
        let status = if matches!(status, ImageStatus::Failed(_)) {
            ImageStatus::Waiting
        } else {
            status
        };
        let response = canvas::cell_response(
            ui,
            id,
            place(index),
            || format!("picture {}", index + 1),
            false,
            status,
        );
        if response.double_clicked() {
            out.push(Msg::Command(Command::BlindWinner(index as u8 + 1)));
        }
        canvas::navigate(&mut memory.framing, &response, memory.size_in_image, true);
    }
    let shown = memory.framing.view(memory.size_in_image, cell_px);
    memory.set_status(shown, None);
    for (index, image) in images.into_iter().enumerate() {
        let rect = place(index);
        if let (Some(image), Some(canvas)) = (image, memory.canvas.as_mut()) {
            if matches!(canvas.status(image), ImageStatus::Failed(_)) {
                ui.painter().text(
                    rect.center(),
                    Align2::CENTER_CENTER,
                    "cannot be shown",
                    egui::FontId::proportional(14.0),
                    theme::ON_SURROUND,
                );
            } else if canvas.has_gpu() {
                let mut paint = CellPaint::new(image, shown);
                paint.size_in_image = Some(memory.size_in_image);
                // Not even a colour profile's badge may tell files apart.
                paint.has_badge = false;
                canvas::paint_cell(ui.painter(), rect, &paint, canvas);
            }
        }
        let number = (index + 1).to_string();
        theme::outlined_text(
            ui.painter(),
            pos2(rect.left() + 8.0, rect.top() + 6.0),
            Align2::LEFT_TOP,
            &number,
            20.0,
            Color32::WHITE,
        );
    }
}

fn result_ui(ui: &mut egui::Ui, view: &RunView, blind: &BlindView, out: &mut Vec<Msg>) {
    let session = view.judging.review.blind_session(&blind.session);
    egui::ScrollArea::vertical().show(ui, |ui| {
        ui.add_space(12.0);
        ui.horizontal(|ui| {
            ui.add_space(16.0);
            ui.vertical(|ui| {
                ui.heading("Every round has a vote.");
                let is_revealed = session.is_some_and(|session| session.revealed_at.is_some());
                if !is_revealed {
                    ui.label("What was which is still hidden. Votes after the reveal are marked and not counted.");
                    if ui.button("Reveal (Enter)").clicked() {
                        out.push(Msg::Judge(JudgeMsg::Reveal));
                    }
                    return;
                }
                let result = BlindResult::of(session);
                for row in &result.rows {
                    ui.strong(view.run.cell_name(&row.cell));
                    ui.label(row.sentence());
                    ui.add_space(4.0);
                }
                ui.label(result.self_agreement.sentence());
                if result.late_votes > 0 {
                    ui.colored_label(theme::WARNING, format!("{} votes after the reveal, not counted", result.late_votes));
                }
            });
        });
    });
}
