//! What is fetched and sent: the part of the status bar, and the dialog about files that both sides changed.

use super::theme;
use crate::state::bucket::BucketMsg;
use crate::state::bucket::choices::{Choice, ConflictRow, ConflictView, Direction};
use crate::state::bucket::inbox::date_words;
use crate::state::bucket::transfer::{PullPhase, PullView};
use crate::state::command::Command;
use crate::state::{AppState, Msg};
use eframe::egui;

/// Width of the progress bars, in points.
const BAR_WIDTH: f32 = 110.0;

/// Progress and speed of what is under way, with a way to stop it.
pub fn transfers_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    if let Some(pull) = &state.bucket.pull {
        pull_ui(ui, pull, out);
    }
    if let Some(push) = &state.bucket.push {
        ui.separator();
        bar_ui(ui, push.progress.fraction());
        if push.is_stopping {
            ui.label("stopping…");
        } else {
            ui.label(if push.progress.files_total == 0 {
                "sending: comparing with the bucket".to_owned()
            } else {
                format!("sending {}", push.progress.words())
            });
            if ui.button("Stop sending").clicked() {
                out.push(Msg::Bucket(BucketMsg::StopPush));
            }
        }
    }
    let waiting = state.bucket.queue.len();
    if waiting > 0 {
        ui.separator();
        let text = if waiting == 1 {
            "1 run waits for the network".to_owned()
        } else {
            format!("{waiting} runs wait for the network")
        };
        ui.colored_label(theme::warning(ui), text);
        if state.bucket.is_sending_queue {
            ui.spinner();
        } else if ui.small_button("Try now").clicked() {
            out.push(Msg::Command(Command::SendQueued));
        }
    }
}

fn bar_ui(ui: &mut egui::Ui, fraction: f32) {
    ui.add(
        egui::ProgressBar::new(fraction.clamp(0.0, 1.0))
            .desired_width(BAR_WIDTH)
            .fill(theme::ACCENT),
    );
}

fn pull_ui(ui: &mut egui::Ui, pull: &PullView, out: &mut Vec<Msg>) {
    let Some(words) = pull.words() else { return };
    ui.separator();
    let has_bar = pull.is_running() && !pull.pending.is_empty();
    if has_bar {
        bar_ui(ui, pull.progress.fraction());
    }
    if pull.offline.is_some() || pull.is_unfinished() {
        let reasons: Vec<String> = pull
            .failed
            .iter()
            .take(10)
            .map(|(file, reason)| format!("{file}: {reason}"))
            .collect();
        let label = ui.colored_label(theme::warning(ui), words);
        if !reasons.is_empty() {
            label.on_hover_text(reasons.join("\n"));
        }
    } else {
        ui.label(words);
    }
    match pull.phase {
        PullPhase::Running => {
            if ui.button("Stop fetching").clicked() {
                out.push(Msg::Bucket(BucketMsg::StopPull));
            }
        }
        PullPhase::Stopping => {}
        PullPhase::Ended => {
            if (pull.is_unfinished() || pull.offline.is_some())
                && ui.button("Fetch the rest").clicked()
            {
                out.push(Msg::Bucket(BucketMsg::ResumePull));
            }
        }
    }
}

/// Files that both sides changed: nothing is replaced before a person has said which stays.
pub fn conflicts_ui(ctx: &egui::Context, conflicts: &ConflictView, out: &mut Vec<Msg>) {
    let modal = egui::Modal::new(egui::Id::unique("conflicts")).show(ctx, |ui| {
        let screen = ui.ctx().content_rect();
        ui.set_width((screen.width() - 80.0).min(820.0));
        let count = conflicts.rows.len();
        ui.heading(if count == 1 {
            "A file was changed here and in the bucket".to_owned()
        } else {
            format!("{count} files were changed here and in the bucket")
        });
        ui.label(match conflicts.direction {
            Direction::Push => "Everything else was sent. Nothing of these is replaced until you say which stays.",
            Direction::Pull => "Everything else was fetched. Nothing of these is replaced until you say which stays.",
        });
        ui.separator();
        if count > 1 {
            ui.horizontal(|ui| {
                ui.label("All of them:");
                for choice in Choice::ALL {
                    let button = ui.button(choice.label()).on_hover_text(choice.explanation());
                    button.widget_info(|| {
                        let name = format!("{} for all", choice.label());
                        egui::WidgetInfo::labeled(egui::Role::Button, true, name)
                    });
                    if button.clicked() {
                        out.push(Msg::Bucket(BucketMsg::ChooseAll(choice)));
                    }
                }
            });
            ui.separator();
        }
        egui::ScrollArea::vertical()
            .max_height((screen.height() - 260.0).max(120.0))
            .show(ui, |ui| {
                for row in &conflicts.rows {
                    conflict_ui(ui, row, out);
                }
            });
        ui.separator();
        ui.horizontal(|ui| {
            let undecided = conflicts.undecided();
            let go_on = match conflicts.direction {
                Direction::Push => "Go on sending",
                Direction::Pull => "Go on fetching",
            };
            if ui.add_enabled(undecided == 0, egui::Button::new(go_on)).clicked() {
                out.push(Msg::Bucket(BucketMsg::Decide));
            }
            if ui.button("Decide later").clicked() {
                out.push(Msg::Bucket(BucketMsg::DecideLater));
            }
            if undecided > 0 {
                ui.weak(format!("{undecided} without a decision"));
            }
        });
    });
    if modal.should_close() {
        out.push(Msg::Bucket(BucketMsg::DecideLater));
    }
}

fn conflict_ui(ui: &mut egui::Ui, row: &ConflictRow, out: &mut Vec<Msg>) {
    ui.strong(&row.file);
    egui::Grid::new(("conflict", &row.file))
        .num_columns(3)
        .spacing([16.0, 2.0])
        .show(ui, |ui| {
            for (whose, bytes, secs) in [
                ("here", row.my_bytes, row.my_secs),
                ("in the bucket", row.their_bytes, row.their_secs),
            ] {
                let is_later =
                    secs == row.my_secs.max(row.their_secs) && row.my_secs != row.their_secs;
                ui.label(whose);
                ui.label(format!("{} bytes", grouped(bytes)));
                let later = if is_later { ", the later one" } else { "" };
                ui.label(format!("{} UTC{later}", date_words(secs)));
                ui.end_row();
            }
        });
    ui.horizontal(|ui| {
        for choice in Choice::ALL {
            let is_chosen = row.choice == Some(choice);
            let button = ui
                .radio(is_chosen, choice.label())
                .on_hover_text(choice.explanation());
            button.widget_info(|| {
                let name = format!("{}: {}", choice.label(), row.file);
                egui::WidgetInfo::selected(egui::Role::RadioButton, true, is_chosen, name)
            });
            if button.clicked() {
                out.push(Msg::Bucket(BucketMsg::Choose(row.file.clone(), choice)));
            }
        }
    });
    if let Some(choice) = row.choice {
        ui.weak(choice.explanation());
    }
    ui.add_space(8.0);
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
