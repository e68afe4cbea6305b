//! A key with its modifiers, as the command table writes it and as it is shown.

/// A key, by what is printed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// A letter, digit or sign, in lower case.
    Char(char),
    /// Arrow to the left.
    Left,
    /// Arrow to the right.
    Right,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Space bar.
    Space,
    /// Function key.
    F(u8),
}

/// A key with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shortcut {
    /// Ctrl, or Command on a Mac.
    pub ctrl: bool,
    /// Shift.
    pub shift: bool,
    /// The key.
    pub key: Key,
}

/// The key alone.
pub(super) const fn key(key: Key) -> Shortcut {
    Shortcut {
        ctrl: false,
        shift: false,
        key,
    }
}

/// A letter, digit or sign alone.
pub(super) const fn letter(letter: char) -> Shortcut {
    key(Key::Char(letter))
}

/// With Shift.
pub(super) const fn shift(key: Key) -> Shortcut {
    Shortcut {
        ctrl: false,
        shift: true,
        key,
    }
}

/// With Ctrl.
pub(super) const fn ctrl_key(key: Key) -> Shortcut {
    Shortcut {
        ctrl: true,
        shift: false,
        key,
    }
}

/// A letter, digit or sign with Ctrl.
pub(super) const fn ctrl(letter: char) -> Shortcut {
    Shortcut {
        ctrl: true,
        shift: false,
        key: Key::Char(letter),
    }
}

/// A letter, digit or sign with Ctrl and Shift.
pub(super) const fn ctrl_shift(letter: char) -> Shortcut {
    Shortcut {
        ctrl: true,
        shift: true,
        key: Key::Char(letter),
    }
}

impl std::fmt::Display for Shortcut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.ctrl {
            f.write_str("Ctrl+")?;
        }
        if self.shift && self.key != Key::Char('?') {
            f.write_str("Shift+")?;
        }
        match self.key {
            Key::Char(c) => write!(f, "{}", c.to_ascii_uppercase()),
            Key::Left => f.write_str("←"),
            Key::Right => f.write_str("→"),
            Key::Up => f.write_str("↑"),
            Key::Down => f.write_str("↓"),
            Key::Enter => f.write_str("Enter"),
            Key::Escape => f.write_str("Esc"),
            Key::Space => f.write_str("Space"),
            Key::F(n) => write!(f, "F{n}"),
        }
    }
}
