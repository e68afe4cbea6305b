//! From egui's key events to the shortcuts of the command table.

use crate::state::command::{self, Command, Key, Shortcut};
use crate::state::{AppState, Msg};
use eframe::egui;

fn key_of(key: egui::Key) -> Option<Key> {
    use egui::Key as E;
    Some(match key {
        E::ArrowLeft => Key::Left,
        E::ArrowRight => Key::Right,
        E::ArrowUp => Key::Up,
        E::ArrowDown => Key::Down,
        E::Enter => Key::Enter,
        E::Escape => Key::Escape,
        E::Space => Key::Space,
        E::F1 => Key::F(1),
        E::F5 => Key::F(5),
        E::Comma => Key::Char(','),
        E::Period => Key::Char('.'),
        E::Minus => Key::Char('-'),
        E::Plus => Key::Char('+'),
        E::Equals => Key::Char('='),
        E::OpenBracket | E::OpenCurlyBracket => Key::Char('['),
        E::CloseBracket | E::CloseCurlyBracket => Key::Char(']'),
        E::Questionmark => Key::Char('?'),
        other => {
            let name = other.name();
            let mut chars = name.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) if c.is_ascii_alphanumeric() => Key::Char(c.to_ascii_lowercase()),
                _ => return None,
            }
        }
    })
}

/// The digit that a shifted key sends on keyboards where Shift makes signs of digits.
fn digit_of(physical: Option<egui::Key>) -> Option<Key> {
    let name = physical?.name();
    let digit = name
        .chars()
        .next()
        .filter(|c| name.len() == 1 && c.is_ascii_digit())?;
    Some(Key::Char(digit))
}

fn shortcut(
    key: egui::Key,
    physical: Option<egui::Key>,
    modifiers: egui::Modifiers,
) -> Option<Shortcut> {
    if modifiers.alt {
        return None;
    }
    let ctrl = modifiers.command || modifiers.ctrl;
    let shift = modifiers.shift;
    let key = match (shift && !ctrl).then(|| digit_of(physical)).flatten() {
        Some(digit) => digit,
        None => key_of(key)?,
    };
    // The sign itself says that Shift was held: `+` and `?` need none of their own.
    let shift = match key {
        Key::Char('+') => false,
        Key::Char('?') => true,
        _ => shift,
    };
    Some(Shortcut { ctrl, shift, key })
}

/// Turns this frame's key events into messages. Letters and digits act only while no text field has
/// the focus; with Ctrl they act also then, unless the field needs them.
pub fn collect(ctx: &egui::Context, state: &AppState, is_blind: bool, out: &mut Vec<Msg>) {
    let is_typing = ctx.egui_wants_keyboard_input();
    let events = ctx.input(|input| input.events.clone());
    for event in events {
        let egui::Event::Key {
            key,
            physical_key,
            pressed,
            repeat,
            modifiers,
        } = event
        else {
            continue;
        };
        let Some(shortcut) = shortcut(key, physical_key, modifiers) else {
            continue;
        };
        if shortcut.key == Key::Space
            && !shortcut.shift
            && !shortcut.ctrl
            && (!is_typing || !pressed)
        {
            if !repeat {
                out.push(Msg::HoldReference(pressed && !is_blind));
            }
            continue;
        }
        if !pressed {
            continue;
        }
        let Some(command) = command::command_for(shortcut, is_blind) else {
            continue;
        };
        let acts_while_typing = matches!(
            command,
            Command::Help | Command::Palette | Command::Quit | Command::GoTo(_) | Command::StartRun
        ) && (shortcut.ctrl || matches!(shortcut.key, Key::F(_)))
            || command == Command::Back;
        if is_typing && !acts_while_typing {
            continue;
        }
        let is_approving = state
            .run
            .as_ref()
            .is_some_and(|view| view.approving.is_some());
        let is_deciding = state.bucket.conflicts.is_some();
        let is_modal = state.is_palette_open || state.is_help_open || is_approving || is_deciding;
        if is_modal
            && !matches!(
                command,
                Command::Back | Command::Help | Command::Palette | Command::Quit
            )
        {
            continue;
        }
        let repeats = matches!(
            command,
            Command::Left
                | Command::Right
                | Command::Up
                | Command::Down
                | Command::DilateBy(_)
                | Command::PanBy(..)
                | Command::WipeBy(_)
                | Command::ZoomIn
                | Command::ZoomOut
        );
        if !repeat || repeats {
            out.push(Msg::Command(command));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::{Key as E, Modifiers};

    #[test]
    fn shifted_digits_are_known_by_their_place() {
        let exclamation = shortcut(E::Exclamationmark, Some(E::Num1), Modifiers::SHIFT);
        assert_eq!(
            exclamation,
            Some(Shortcut {
                ctrl: false,
                shift: true,
                key: Key::Char('1')
            })
        );
    }

    #[test]
    fn every_key_of_the_table_can_be_typed() {
        for info in command::COMMANDS {
            for wanted in info.keys {
                let found = E::ALL.iter().any(|key| {
                    [
                        Modifiers::NONE,
                        Modifiers::SHIFT,
                        Modifiers::COMMAND,
                        Modifiers::COMMAND | Modifiers::SHIFT,
                    ]
                    .into_iter()
                    .any(|modifiers| shortcut(*key, Some(*key), modifiers) == Some(*wanted))
                });
                assert!(found, "{} of {}", wanted, info.name);
            }
        }
    }
}
