//! Every key, and the command palette: both from the command table.

use super::UiMemory;
use crate::state::command::{COMMANDS, Command, CommandInfo, Menu};
use crate::state::{AppState, Msg};
use eframe::egui;

fn keys_text(info: &CommandInfo) -> String {
    info.keys
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("  or  ")
}

/// All keys on one page.
pub fn help_ui(ctx: &egui::Context, state: &AppState, out: &mut Vec<Msg>) {
    if !state.is_help_open {
        return;
    }
    let modal = egui::Modal::new(egui::Id::unique("help")).show(ctx, |ui| {
        ui.set_width((ui.ctx().content_rect().width() - 80.0).min(1000.0));
        ui.horizontal(|ui| {
            ui.heading("All keys");
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if ui.button("Close").clicked() {
                    out.push(Msg::Command(Command::Help));
                }
            });
        });
        ui.label("Letters and digits act while no text field has the focus.");
        let height = ui.ctx().content_rect().height() - 160.0;
        egui::ScrollArea::vertical()
            .max_height(height)
            .show(ui, |ui| {
                ui.columns(2, |columns| {
                    for (index, menu) in Menu::ALL.into_iter().enumerate() {
                        let Some(ui) = columns.get_mut(usize::from(index > 2)) else {
                            continue;
                        };
                        ui.add_space(6.0);
                        ui.strong(menu.title());
                        egui::Grid::new(menu.title())
                            .num_columns(2)
                            .spacing([14.0, 2.0])
                            .show(ui, |ui| {
                                for info in COMMANDS
                                    .iter()
                                    .filter(|info| info.menu == menu && !info.keys.is_empty())
                                {
                                    ui.monospace(keys_text(info));
                                    ui.label(info.name);
                                    ui.end_row();
                                }
                            });
                    }
                });
            });
    });
    if modal.should_close() {
        out.push(Msg::Command(Command::Back));
    }
}

/// Commands whose names match what is typed, best first.
pub fn matching(pattern: &str) -> Vec<&'static CommandInfo> {
    use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
    use nucleo_matcher::{Config, Matcher, Utf32Str};
    if pattern.trim().is_empty() {
        return COMMANDS.iter().collect();
    }
    let mut matcher = Matcher::new(Config::DEFAULT);
    let pattern = Pattern::parse(pattern, CaseMatching::Ignore, Normalization::Smart);
    let mut found: Vec<(u32, usize, &CommandInfo)> = COMMANDS
        .iter()
        .enumerate()
        .filter_map(|(index, info)| {
            let mut buffer = Vec::new();
            let text = format!("{} {}", info.name, info.menu.title());
            let score = pattern.score(Utf32Str::new(&text, &mut buffer), &mut matcher)?;
            Some((score, index, info))
        })
        .collect();
    found.sort_by_key(|(score, index, _)| (std::cmp::Reverse(*score), *index));
    found.into_iter().map(|(_, _, info)| info).collect()
}

/// The command palette.
pub fn palette_ui(
    ctx: &egui::Context,
    state: &AppState,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    if !state.is_palette_open {
        memory.palette_text.clear();
        memory.palette_index = 0;
        return;
    }
    let modal = egui::Modal::new(egui::Id::unique("palette")).show(ctx, |ui| {
        ui.set_width(460.0);
        let label = ui.label("Find a command");
        let field = ui
            .add(egui::TextEdit::singleline(&mut memory.palette_text).desired_width(f32::INFINITY))
            .labelled_by(label.id);
        field.request_focus();
        if field.changed() {
            memory.palette_index = 0;
        }
        let found = matching(&memory.palette_text);
        let (down, up, enter) = ui.input(|input| {
            (
                input.key_pressed(egui::Key::ArrowDown),
                input.key_pressed(egui::Key::ArrowUp),
                input.key_pressed(egui::Key::Enter),
            )
        });
        if down {
            memory.palette_index = (memory.palette_index + 1).min(found.len().saturating_sub(1));
        }
        if up {
            memory.palette_index = memory.palette_index.saturating_sub(1);
        }
        let mut chosen = None;
        egui::ScrollArea::vertical()
            .max_height(320.0)
            .show(ui, |ui| {
                for (index, info) in found.iter().enumerate() {
                    let is_at = index == memory.palette_index;
                    let text = format!("{}    {}", info.name, keys_text(info));
                    let response = ui.selectable_label(is_at, text);
                    if is_at && (down || up) {
                        response.scroll_to_me(None);
                    }
                    if response.clicked() || (is_at && enter) {
                        chosen = Some(info.command);
                    }
                }
                if found.is_empty() {
                    ui.label("No command has these letters.");
                }
            });
        chosen
    });
    if let Some(command) = modal.inner {
        out.push(Msg::Command(Command::Palette));
        out.push(Msg::Command(command));
    } else if modal.should_close() {
        out.push(Msg::Command(Command::Back));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_letters_find_a_command() {
        assert_eq!(
            matching("conta sheet").first().map(|info| info.command),
            Some(Command::ExportSheet)
        );
        assert_eq!(
            matching("undo").first().map(|info| info.command),
            Some(Command::Undo)
        );
        assert!(matching("zzzz").is_empty());
        assert_eq!(matching("").len(), COMMANDS.len());
    }
}
