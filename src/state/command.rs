//! Every command of the window in one table: its name, menu, keys and help. The key map, the menus, the
//! help page and the palette are all read from here.

use super::Page;
use super::shortcut::{ctrl, ctrl_key, ctrl_shift, key, letter, shift};
use Command as C;

pub use super::shortcut::{Key, Shortcut};

/// Something that a person can ask the window to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// Show a page.
    GoTo(Page),
    /// Choose a folder and open it as a run.
    OpenRunFolder,
    /// Say which session the open run was made of, where it has none beside it.
    NameSession,
    /// Read the open run again.
    Reload,
    /// Previous value of the column axis.
    Left,
    /// Next value of the column axis.
    Right,
    /// Previous value of the row axis.
    Up,
    /// Next value of the row axis.
    Down,
    /// Previous page.
    PreviousPage,
    /// Next page.
    NextPage,
    /// The selected cell alone.
    FullScreen,
    /// Leave the mode, close what is open.
    Back,
    /// Show the reference while the key is held.
    HoldReference,
    /// Make the selected cell the reference.
    SetReference,
    /// Compare against the original instead of a cell.
    ReferenceIsOriginal,
    /// Go through an axis by itself: cells in full screen, pages in the grid.
    AutoCycle,
    /// Less time for each.
    CycleFaster,
    /// More time for each.
    CycleSlower,
    /// Choose a second run to look at beside the open one.
    CompareWithRun,
    /// Close the second run.
    CloseOtherRun,
    /// Each cell as a pair of both runs, or this run alone.
    TogglePairs,
    /// Compare against the same cell of the second run.
    ReferenceIsOtherRun,
    /// Wipe between cell and reference.
    Wipe,
    /// The wipe's line to the right, in hundredths of the picture's width.
    WipeBy(i8),
    /// Difference between cell and reference.
    Difference,
    /// Next way of measuring the difference.
    NextMetric,
    /// More gain of the difference.
    MoreGain,
    /// Less gain of the difference.
    LessGain,
    /// Mask's box or whole image.
    ToggleMaskBox,
    /// Next mask overlay.
    CycleOverlay,
    /// One image pixel to one screen pixel at the cursor.
    ActualSize,
    /// The whole image.
    Fit,
    /// Closer, at the cursor.
    ZoomIn,
    /// Further away, at the cursor.
    ZoomOut,
    /// The view to the right and down, in tenths of a cell.
    PanBy(i8, i8),
    /// Magnifier at the cursor.
    Loupe,
    /// The values of all cells under the cursor.
    Values,
    /// Tone the cells by another time, or by none.
    NextTimeTone,
    /// Next single channel, luma, or all.
    CycleChannel,
    /// Brighter, by half a stop; for looking only.
    ExposureUp,
    /// Darker, by half a stop; for looking only.
    ExposureDown,
    /// Rows become columns.
    SwapAxes,
    /// Dilation by so many pixels at inference size.
    DilateBy(i8),
    /// The cell passes; on to the next.
    Pass,
    /// The cell is rejected without a type; on to the next.
    Reject,
    /// The cell is rejected with the nth failure type; on to the next.
    RejectAs(u8),
    /// The nth failure type is added; stay.
    AddFailure(u8),
    /// No verdict; stay.
    ClearVerdict,
    /// To the next cell without a verdict.
    NextUnreviewed,
    /// Let clicks and drags on pictures mark them, as with Shift.
    MarkTool,
    /// Mark what is on screen of the selected cell, without a pointer.
    MarkView,
    /// Take back.
    Undo,
    /// Do again.
    Redo,
    /// Start a blind comparison.
    Blind,
    /// In a blind comparison: the nth picture wins.
    BlindWinner(u8),
    /// In a blind comparison: a tie.
    BlindTie,
    /// In a blind comparison: all bad.
    BlindAllBad,
    /// At the end of a blind comparison: show which was which.
    BlindReveal,
    /// Stage the selected cell's settings.
    Approve,
    /// Write the current view as a picture.
    ExportView,
    /// Write the run's contact sheet.
    ExportSheet,
    /// Send the open run, its review and its settings to the bucket.
    PushRun,
    /// Send what waits for the network.
    SendQueued,
    /// Stop fetching and sending.
    StopTransfer,
    /// Start the composed run.
    StartRun,
    /// Cancel the run that is under way.
    CancelRun,
    /// Watch a run that is made elsewhere no longer; it goes on.
    LeaveRun,
    /// Run what is missing of the open run.
    ResumeRun,
    /// Fold the left panel away or out.
    ToggleLeftPanel,
    /// Fold the right panel away or out.
    ToggleRightPanel,
    /// Dark or light.
    ToggleTheme,
    /// Everything larger.
    LargerText,
    /// Everything smaller.
    SmallerText,
    /// All keys.
    Help,
    /// Find a command by its name.
    Palette,
    /// Close the program.
    Quit,
}

/// Under which menu and heading a command is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Menu {
    /// Runs and files.
    File,
    /// Moving between cells.
    Go,
    /// How pictures are shown.
    View,
    /// Cell against reference.
    Compare,
    /// Verdicts and approval.
    Review,
    /// Making runs.
    Run,
    /// Help.
    Help,
}

impl Menu {
    /// All menus in their order.
    pub const ALL: [Self; 7] = [
        Self::File,
        Self::Go,
        Self::View,
        Self::Compare,
        Self::Review,
        Self::Run,
        Self::Help,
    ];

    /// The menu's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::File => "File",
            Self::Go => "Go",
            Self::View => "View",
            Self::Compare => "Compare",
            Self::Review => "Review",
            Self::Run => "Run",
            Self::Help => "Help",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct CommandInfo {
    /// What it does.
    pub command: Command,
    /// Its name in menus and palette; also its accessible name.
    pub name: &'static str,
    /// Where it is found.
    pub menu: Menu,
    /// Its keys.
    pub keys: &'static [Shortcut],
}

const fn row(
    command: Command,
    menu: Menu,
    name: &'static str,
    keys: &'static [Shortcut],
) -> CommandInfo {
    CommandInfo {
        command,
        name,
        menu,
        keys,
    }
}

/// The table. Blind digits share keys with verdicts: [`command_for`] asks which mode is on.
pub const COMMANDS: &[CommandInfo] = &[
    row(C::GoTo(Page::Inbox), Menu::File, "Inbox", &[ctrl('1')]),
    row(C::GoTo(Page::Run), Menu::File, "Run", &[ctrl('2')]),
    row(C::GoTo(Page::MaskLab), Menu::File, "Mask lab", &[ctrl('3')]),
    row(
        C::GoTo(Page::Compose),
        Menu::File,
        "Compose a run",
        &[ctrl('4')],
    ),
    row(
        C::GoTo(Page::Settings),
        Menu::File,
        "Settings",
        &[ctrl('5')],
    ),
    row(
        C::OpenRunFolder,
        Menu::File,
        "Open a run's folder…",
        &[ctrl('o')],
    ),
    row(C::NameSession, Menu::File, "Name the run's session…", &[]),
    row(
        C::Reload,
        Menu::File,
        "Read the run or the list again",
        &[ctrl('r'), key(Key::F(5))],
    ),
    row(
        C::ExportView,
        Menu::File,
        "Export this view as PNG",
        &[ctrl('e')],
    ),
    row(
        C::ExportSheet,
        Menu::File,
        "Export a contact sheet",
        &[ctrl_shift('e')],
    ),
    row(
        C::PushRun,
        Menu::File,
        "Send the run to the bucket",
        &[ctrl('u')],
    ),
    row(
        C::SendQueued,
        Menu::File,
        "Send waiting runs",
        &[ctrl_shift('u')],
    ),
    row(
        C::StopTransfer,
        Menu::File,
        "Stop fetching and sending",
        &[],
    ),
    row(C::Quit, Menu::File, "Quit", &[ctrl('q')]),
    row(C::Left, Menu::Go, "Previous column", &[key(Key::Left)]),
    row(C::Right, Menu::Go, "Next column", &[key(Key::Right)]),
    row(C::Up, Menu::Go, "Previous row", &[key(Key::Up)]),
    row(C::Down, Menu::Go, "Next row", &[key(Key::Down)]),
    row(C::PreviousPage, Menu::Go, "Previous page", &[letter(',')]),
    row(C::NextPage, Menu::Go, "Next page", &[letter('.')]),
    row(
        C::NextUnreviewed,
        Menu::Go,
        "Next unreviewed cell",
        &[letter('n')],
    ),
    row(C::FullScreen, Menu::Go, "Full screen", &[key(Key::Enter)]),
    row(C::Back, Menu::Go, "Back", &[key(Key::Escape)]),
    row(
        C::AutoCycle,
        Menu::Go,
        "Cycle along an axis",
        &[letter('c')],
    ),
    row(C::CycleFaster, Menu::Go, "Cycle faster", &[]),
    row(C::CycleSlower, Menu::Go, "Cycle slower", &[]),
    row(
        C::ToggleMaskBox,
        Menu::View,
        "Mask's box or whole image",
        &[letter('m')],
    ),
    row(C::Fit, Menu::View, "Fit the whole image", &[letter('f')]),
    row(
        C::ActualSize,
        Menu::View,
        "100 % at the cursor",
        &[letter('z')],
    ),
    row(
        C::ZoomIn,
        Menu::View,
        "Zoom in",
        &[letter('+'), letter('=')],
    ),
    row(C::ZoomOut, Menu::View, "Zoom out", &[shift(Key::Char('-'))]),
    row(
        C::CycleOverlay,
        Menu::View,
        "Next mask overlay",
        &[letter('o')],
    ),
    row(
        C::PanBy(-3, 0),
        Menu::View,
        "Move the view left",
        &[shift(Key::Left)],
    ),
    row(
        C::PanBy(3, 0),
        Menu::View,
        "Move the view right",
        &[shift(Key::Right)],
    ),
    row(
        C::PanBy(0, -3),
        Menu::View,
        "Move the view up",
        &[shift(Key::Up)],
    ),
    row(
        C::PanBy(0, 3),
        Menu::View,
        "Move the view down",
        &[shift(Key::Down)],
    ),
    row(C::Loupe, Menu::View, "Loupe", &[letter('l')]),
    row(
        C::Values,
        Menu::View,
        "Values under the cursor",
        &[letter('v')],
    ),
    row(
        C::NextTimeTone,
        Menu::View,
        "Tone cells by time",
        &[letter('t')],
    ),
    row(C::CycleChannel, Menu::View, "Next channel", &[letter('h')]),
    row(
        C::ExposureUp,
        Menu::View,
        "Exposure up half a stop",
        &[letter('e')],
    ),
    row(
        C::ExposureDown,
        Menu::View,
        "Exposure down half a stop",
        &[shift(Key::Char('e'))],
    ),
    row(
        C::SwapAxes,
        Menu::View,
        "Swap rows and columns",
        &[letter('s')],
    ),
    row(C::ToggleLeftPanel, Menu::View, "Left panel", &[ctrl('b')]),
    row(C::ToggleRightPanel, Menu::View, "Right panel", &[ctrl('i')]),
    row(
        C::ToggleTheme,
        Menu::View,
        "Dark or light theme",
        &[ctrl('t')],
    ),
    row(
        C::LargerText,
        Menu::View,
        "Larger interface",
        &[ctrl('+'), ctrl('=')],
    ),
    row(
        C::SmallerText,
        Menu::View,
        "Smaller interface",
        &[ctrl('-')],
    ),
    row(
        C::HoldReference,
        Menu::Compare,
        "Show the reference (hold)",
        &[key(Key::Space)],
    ),
    row(
        C::SetReference,
        Menu::Compare,
        "Make this the reference",
        &[shift(Key::Space)],
    ),
    row(
        C::ReferenceIsOriginal,
        Menu::Compare,
        "Compare with the original",
        &[letter('r')],
    ),
    row(
        C::CompareWithRun,
        Menu::Compare,
        "Compare with another run…",
        &[ctrl_shift('o')],
    ),
    row(
        C::ReferenceIsOtherRun,
        Menu::Compare,
        "Compare with the same cell of the second run",
        &[shift(Key::Char('r'))],
    ),
    row(
        C::TogglePairs,
        Menu::Compare,
        "Pairs of both runs, or this run alone",
        &[letter('y')],
    ),
    row(C::CloseOtherRun, Menu::Compare, "Close the second run", &[]),
    row(C::Wipe, Menu::Compare, "Wipe", &[letter('w')]),
    row(
        C::WipeBy(-1),
        Menu::Compare,
        "Wipe's line to the left",
        &[ctrl_key(Key::Left)],
    ),
    row(
        C::WipeBy(1),
        Menu::Compare,
        "Wipe's line to the right",
        &[ctrl_key(Key::Right)],
    ),
    row(C::Difference, Menu::Compare, "Difference", &[letter('d')]),
    row(
        C::NextMetric,
        Menu::Compare,
        "Next difference metric",
        &[shift(Key::Char('d'))],
    ),
    row(C::MoreGain, Menu::Compare, "More gain", &[letter('g')]),
    row(
        C::LessGain,
        Menu::Compare,
        "Less gain",
        &[shift(Key::Char('g'))],
    ),
    row(C::Pass, Menu::Review, "Pass", &[letter('p')]),
    row(
        C::Reject,
        Menu::Review,
        "Reject without a type",
        &[letter('x')],
    ),
    row(
        C::RejectAs(1),
        Menu::Review,
        "Reject as failure type 1",
        &[letter('1')],
    ),
    row(
        C::RejectAs(2),
        Menu::Review,
        "Reject as failure type 2",
        &[letter('2')],
    ),
    row(
        C::RejectAs(3),
        Menu::Review,
        "Reject as failure type 3",
        &[letter('3')],
    ),
    row(
        C::RejectAs(4),
        Menu::Review,
        "Reject as failure type 4",
        &[letter('4')],
    ),
    row(
        C::RejectAs(5),
        Menu::Review,
        "Reject as failure type 5",
        &[letter('5')],
    ),
    row(
        C::RejectAs(6),
        Menu::Review,
        "Reject as failure type 6",
        &[letter('6')],
    ),
    row(
        C::RejectAs(7),
        Menu::Review,
        "Reject as failure type 7",
        &[letter('7')],
    ),
    row(
        C::RejectAs(8),
        Menu::Review,
        "Reject as failure type 8",
        &[letter('8')],
    ),
    row(
        C::RejectAs(9),
        Menu::Review,
        "Reject as failure type 9",
        &[letter('9')],
    ),
    row(
        C::AddFailure(1),
        Menu::Review,
        "Add failure type 1, stay",
        &[shift(Key::Char('1'))],
    ),
    row(
        C::AddFailure(2),
        Menu::Review,
        "Add failure type 2, stay",
        &[shift(Key::Char('2'))],
    ),
    row(
        C::AddFailure(3),
        Menu::Review,
        "Add failure type 3, stay",
        &[shift(Key::Char('3'))],
    ),
    row(
        C::AddFailure(4),
        Menu::Review,
        "Add failure type 4, stay",
        &[shift(Key::Char('4'))],
    ),
    row(
        C::AddFailure(5),
        Menu::Review,
        "Add failure type 5, stay",
        &[shift(Key::Char('5'))],
    ),
    row(
        C::AddFailure(6),
        Menu::Review,
        "Add failure type 6, stay",
        &[shift(Key::Char('6'))],
    ),
    row(
        C::AddFailure(7),
        Menu::Review,
        "Add failure type 7, stay",
        &[shift(Key::Char('7'))],
    ),
    row(
        C::AddFailure(8),
        Menu::Review,
        "Add failure type 8, stay",
        &[shift(Key::Char('8'))],
    ),
    row(
        C::AddFailure(9),
        Menu::Review,
        "Add failure type 9, stay",
        &[shift(Key::Char('9'))],
    ),
    row(
        C::ClearVerdict,
        Menu::Review,
        "Clear the verdict",
        &[letter('u')],
    ),
    row(
        C::MarkTool,
        Menu::Review,
        "Draw boxes and points",
        &[letter('k')],
    ),
    row(
        C::MarkView,
        Menu::Review,
        "Mark the part that is on screen",
        &[shift(Key::Char('k'))],
    ),
    row(C::Undo, Menu::Review, "Undo", &[ctrl('z')]),
    row(C::Redo, Menu::Review, "Redo", &[ctrl_shift('z'), ctrl('y')]),
    row(C::Blind, Menu::Review, "Blind comparison", &[letter('b')]),
    row(
        C::BlindWinner(1),
        Menu::Review,
        "Blind: the first wins",
        &[letter('1')],
    ),
    row(
        C::BlindWinner(2),
        Menu::Review,
        "Blind: the second wins",
        &[letter('2')],
    ),
    row(
        C::BlindWinner(3),
        Menu::Review,
        "Blind: the third wins",
        &[letter('3')],
    ),
    row(
        C::BlindWinner(4),
        Menu::Review,
        "Blind: the fourth wins",
        &[letter('4')],
    ),
    row(C::BlindTie, Menu::Review, "Blind: a tie", &[letter('0')]),
    row(
        C::BlindAllBad,
        Menu::Review,
        "Blind: all bad",
        &[letter('-')],
    ),
    row(
        C::BlindReveal,
        Menu::Review,
        "Blind: reveal",
        &[key(Key::Enter)],
    ),
    row(C::Approve, Menu::Review, "Approve…", &[letter('a')]),
    row(
        C::StartRun,
        Menu::Run,
        "Start the composed run",
        &[Shortcut {
            ctrl: true,
            shift: false,
            key: Key::Enter,
        }],
    ),
    row(C::CancelRun, Menu::Run, "Cancel the run", &[ctrl('.')]),
    row(
        C::LeaveRun,
        Menu::Run,
        "Let the worker's run go on alone",
        &[],
    ),
    row(
        C::ResumeRun,
        Menu::Run,
        "Resume the run",
        &[ctrl_shift('r')],
    ),
    row(C::DilateBy(-1), Menu::Run, "Dilation −1 px", &[letter('[')]),
    row(C::DilateBy(1), Menu::Run, "Dilation +1 px", &[letter(']')]),
    row(
        C::DilateBy(-8),
        Menu::Run,
        "Dilation −8 px",
        &[shift(Key::Char('['))],
    ),
    row(
        C::DilateBy(8),
        Menu::Run,
        "Dilation +8 px",
        &[shift(Key::Char(']'))],
    ),
    row(
        C::Help,
        Menu::Help,
        "All keys",
        &[
            Shortcut {
                ctrl: false,
                shift: true,
                key: Key::Char('?'),
            },
            key(Key::F(1)),
        ],
    ),
    row(
        C::Palette,
        Menu::Help,
        "Find a command…",
        &[ctrl_shift('p')],
    ),
];

/// Whether a command belongs to blind comparisons only.
pub fn is_blind_only(command: Command) -> bool {
    matches!(
        command,
        C::BlindWinner(_) | C::BlindTie | C::BlindAllBad | C::BlindReveal
    )
}

/// The command that a shortcut means. In a blind comparison its own digits come first, and what
/// would reveal or judge single cells is off.
pub fn command_for(shortcut: Shortcut, is_blind: bool) -> Option<Command> {
    COMMANDS
        .iter()
        .filter(|info| info.keys.contains(&shortcut))
        .map(|info| info.command)
        .find(|command| {
            if is_blind {
                is_allowed_in_blind(*command)
            } else {
                !is_blind_only(*command)
            }
        })
}

/// Whether a command may be used while a blind comparison hides labels.
pub fn is_allowed_in_blind(command: Command) -> bool {
    !matches!(
        command,
        C::RejectAs(_)
            | C::AddFailure(_)
            | C::Pass
            | C::Reject
            | C::ClearVerdict
            | C::NextUnreviewed
            | C::Wipe
            | C::Difference
            | C::NextMetric
            | C::CycleOverlay
            | C::SetReference
            | C::HoldReference
            | C::MarkTool
            | C::MarkView
            | C::ReferenceIsOriginal
            | C::AutoCycle
            | C::CycleFaster
            | C::CycleSlower
            | C::CompareWithRun
            | C::CloseOtherRun
            | C::TogglePairs
            | C::ReferenceIsOtherRun
            | C::WipeBy(_)
            | C::Values
            | C::NextTimeTone
            | C::FullScreen
            | C::Approve
            | C::ExportView
            | C::ExportSheet
    )
}

/// The table's row of a command.
pub fn info(command: Command) -> Option<&'static CommandInfo> {
    COMMANDS.iter().find(|info| info.command == command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_mode() {
        for is_blind in [false, true] {
            for info in COMMANDS {
                for shortcut in info.keys {
                    let meant: Vec<Command> = COMMANDS
                        .iter()
                        .filter(|other| other.keys.contains(shortcut))
                        .map(|other| other.command)
                        .filter(|c| {
                            if is_blind {
                                is_allowed_in_blind(*c)
                            } else {
                                !is_blind_only(*c)
                            }
                        })
                        .collect();
                    assert!(meant.len() <= 1, "{shortcut}: {meant:?}");
                }
            }
        }
    }

    #[test]
    fn every_command_stands_once_in_the_table() {
        for (index, info) in COMMANDS.iter().enumerate() {
            assert!(
                COMMANDS[..index]
                    .iter()
                    .all(|other| other.command != info.command),
                "{}",
                info.name
            );
            assert!(
                COMMANDS[..index]
                    .iter()
                    .all(|other| other.name != info.name),
                "{}",
                info.name
            );
        }
    }

    #[test]
    fn digits_vote_in_a_blind_comparison_and_reject_elsewhere() {
        let one = letter('1');
        assert_eq!(command_for(one, false), Some(C::RejectAs(1)));
        assert_eq!(command_for(one, true), Some(C::BlindWinner(1)));
        assert_eq!(command_for(letter('0'), false), None);
        assert_eq!(command_for(letter('x'), true), None);
    }
}
