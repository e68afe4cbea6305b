//! Everything that draws: panels, grid, comparison canvas and its shader, mask lab, review, approval.
//!
//! A view reads [`AppState`], keeps only what drawing needs in [`UiMemory`], and pushes messages.

mod approve;
mod axes_bar;
mod blind;
pub mod canvas;
mod cell_look;
mod compose_page;
mod cycle_bar;
mod figures_panel;
mod full_screen;
mod grid;
mod grid_cell;
mod grid_labels;
mod grid_layout;
pub mod help;
mod inbox_page;
mod keys;
mod live_preview;
mod marking;
pub mod mask_lab;
mod memory;
mod note_draft;
mod place_picker;
mod run_page;
mod settings_page;
mod shell;
mod side_panels;
mod storage_settings;
pub mod theme;
mod time_tone;
mod transfers;
mod two_runs_bar;
mod values_panel;
mod verdicts;
mod wipe;

pub use memory::UiMemory;
use note_draft::NoteDraft;

use crate::state::command::Command;
use crate::state::{AppState, Msg, Page};
use eframe::egui;

/// Draws one frame of the whole window.
pub fn window_ui(ui: &mut egui::Ui, state: &AppState, memory: &mut UiMemory, out: &mut Vec<Msg>) {
    let ctx = ui.ctx().clone();
    let is_blind = state.page == Page::Run
        && state
            .run
            .as_ref()
            .is_some_and(|view| view.judging.blind.is_some());
    keys::collect(&ctx, state, is_blind, out);
    memory.begin_frame(&ctx, state);
    shell::tab_bar_ui(ui, state, out);
    let status = memory.status_text.clone();
    shell::status_bar_ui(ui, state, &status, out);
    match state.page {
        Page::Inbox => inbox_page::inbox_page_ui(ui, state, memory, out),
        Page::Run => run_page::run_page_ui(ui, state, memory, out),
        Page::Compose => compose_page::compose_page_ui(ui, state, &state.devices, out),
        Page::Settings => settings_page::settings_page_ui(ui, state, out),
        Page::MaskLab => mask_lab::mask_lab_ui(ui, state, memory, out),
    }
    if let (Page::Run, Some(view)) = (state.page, &state.run)
        && let Some(approving) = &view.approving
    {
        approve::approve_ui(&ctx, view, approving, memory, out);
    } else {
        memory.has_focused_approval = false;
    }
    if let Some(conflicts) = &state.bucket.conflicts {
        transfers::conflicts_ui(&ctx, conflicts, out);
    }
    shell::toasts_ui(&ctx, state, out);
    help::help_ui(&ctx, state, out);
    help::palette_ui(&ctx, state, memory, out);
    memory.keep_hidden_note(out);
    if memory.status_text != status {
        // The bar was drawn before the page that its text is about.
        ctx.request_repaint();
    }
    if out
        .iter()
        .any(|msg| matches!(msg, Msg::Command(Command::Quit)))
    {
        // Before the window closes, not after.
        out.splice(0..0, memory.take_note());
    }
    memory.end_frame(&ctx);
}
