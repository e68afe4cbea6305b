//! The approval: the settings as a difference against the current file, what holds it back, and the one
//! button that writes.

use super::{UiMemory, theme};
use crate::model::approved::Draft;
use crate::state::Msg;
use crate::state::approving::{ApproveMsg, ApproveView};
use crate::state::run_view::RunView;
use eframe::egui;

/// Draws the dialog over the window.
pub fn approve_ui(
    ctx: &egui::Context,
    view: &RunView,
    approving: &ApproveView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let modal = egui::Modal::new(egui::Id::unique("approve")).show(ctx, |ui| {
        let screen = ui.ctx().content_rect();
        ui.set_width((screen.width() - 80.0).min(760.0));
        ui.heading(format!("Approve {}", view.run.cell_name(&approving.cell)));
        ui.label(format!(
            "Writes {}. Nothing is deployed.",
            approving.path.display()
        ));
        ui.separator();
        match &approving.draft {
            Ok(draft) => draft_ui(ui, draft, approving, screen.height(), memory, out),
            Err(problem) => {
                ui.colored_label(theme::WARNING, problem);
                if ui.button("Close").clicked() {
                    out.push(Msg::Approve(ApproveMsg::Cancel));
                }
            }
        }
    });
    if modal.should_close() {
        out.push(Msg::Approve(ApproveMsg::Cancel));
    }
}

fn draft_ui(
    ui: &mut egui::Ui,
    draft: &Draft,
    approving: &ApproveView,
    height: f32,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    egui::ScrollArea::vertical()
        .max_height((height - 230.0).max(120.0))
        .show(ui, |ui| {
            let held_back = draft.held_back();
            if !held_back.is_empty() {
                ui.colored_label(
                    theme::WARNING,
                    "Held back. Each reason needs a typed answer, which is written into the file:",
                );
                for (index, reason) in held_back.iter().enumerate() {
                    let name = ui.label(format!("{} ({})", reason.sentence, reason.code));
                    let mut why = approving
                        .overrides
                        .get(&reason.code)
                        .cloned()
                        .unwrap_or_default();
                    let field = ui
                        .add(
                            egui::TextEdit::singleline(&mut why)
                                .hint_text("why it may be approved all the same")
                                .desired_width(f32::INFINITY),
                        )
                        .labelled_by(name.id);
                    if index == 0 && !memory.has_focused_approval {
                        // Whoever works by keys can type at once.
                        memory.has_focused_approval = true;
                        field.request_focus();
                    }
                    if field.changed() {
                        out.push(Msg::Approve(ApproveMsg::Override(reason.code, why)));
                    }
                    ui.add_space(2.0);
                }
                ui.separator();
            }
            let name = ui.label("Note");
            let mut note = approving.note.clone();
            if ui
                .add(egui::TextEdit::singleline(&mut note).desired_width(f32::INFINITY))
                .labelled_by(name.id)
                .changed()
            {
                out.push(Msg::Approve(ApproveMsg::Note(note)));
            }
            ui.separator();
            difference_ui(ui, draft, approving);
        });
    ui.separator();
    let left = draft.still_held_back(&approving.overrides).len();
    ui.horizontal(|ui| {
        let can_write = left == 0 && !approving.is_writing;
        let button = ui.add_enabled(can_write, egui::Button::new("Write settings"));
        let has_typed = ui.ctx().egui_wants_keyboard_input();
        let ctrl_enter =
            ui.input(|input| input.modifiers.command && input.key_pressed(egui::Key::Enter));
        if button.clicked() || (can_write && ctrl_enter) {
            out.push(Msg::Approve(ApproveMsg::Write));
        }
        if ui.button("Cancel").clicked() {
            out.push(Msg::Approve(ApproveMsg::Cancel));
        }
        if left > 0 {
            ui.colored_label(
                theme::WARNING,
                format!(
                    "{left} reason{} without an answer",
                    if left == 1 { "" } else { "s" }
                ),
            );
        } else if !has_typed {
            ui.weak("Ctrl+Enter writes.");
        }
    });
}

/// The text that would be written, line by line against the current file.
fn difference_ui(ui: &mut egui::Ui, draft: &Draft, approving: &ApproveView) {
    let text = draft.preview(&approving.overrides);
    let title = match draft.current() {
        Some(_) => "Against the current file, which is kept beside it:",
        None => "There is no such file yet. It will say:",
    };
    ui.label(title);
    let current = draft.current().unwrap_or_default();
    let difference = similar::TextDiff::from_lines(current, &text);
    for change in difference.iter_all_changes() {
        let (mark, colour) = match change.tag() {
            similar::ChangeTag::Delete => ("− ", Some(theme::REJECT)),
            similar::ChangeTag::Insert if draft.current().is_some() => ("+ ", Some(theme::PASS)),
            similar::ChangeTag::Insert | similar::ChangeTag::Equal => ("  ", None),
        };
        let line = format!("{mark}{}", change.value().trim_end_matches('\n'));
        let line = egui::RichText::new(line).monospace().size(11.5);
        ui.label(match colour {
            Some(colour) => line.color(colour),
            None => line,
        });
    }
}
