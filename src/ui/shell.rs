//! What surrounds every page: tab bar with menus, status bar, messages.

use super::{theme, transfers};
use crate::state::command::{COMMANDS, Command, Menu};
use crate::state::lab::LabMsg;
use crate::state::lab::rerun::{self, RerunScope};
use crate::state::look::Channel;
use crate::state::run_view::RunView;
use crate::state::seeing;
use crate::state::{AppState, Msg, Page};
use eframe::egui;

fn page_title(state: &AppState, page: Page) -> String {
    match page {
        Page::Inbox => "Inbox".to_owned(),
        Page::Run => match &state.run {
            Some(view) => format!("Run {}", view.run.run_id),
            None => "Run".to_owned(),
        },
        Page::MaskLab => "Mask lab".to_owned(),
        Page::Compose => "Compose".to_owned(),
        Page::Settings => "Settings".to_owned(),
    }
}

/// Tabs on the left, menus on the right.
pub fn tab_bar_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    egui::Panel::top("tab bar").show(ui, |ui| {
        ui.horizontal(|ui| {
            ui.strong("fill-audit");
            for page in Page::ALL {
                let is_front = state.page == page;
                if ui
                    .selectable_label(is_front, page_title(state, page))
                    .clicked()
                    && !is_front
                {
                    out.push(Msg::Command(Command::GoTo(page)));
                }
            }
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                let help = ui.button("?").on_hover_text("All keys");
                help.widget_info(|| {
                    egui::WidgetInfo::labeled(egui::Role::Button, true, "All keys")
                });
                if help.clicked() {
                    out.push(Msg::Command(Command::Help));
                }
                for menu in Menu::ALL.into_iter().rev() {
                    menu_ui(ui, menu, state, out);
                }
            });
        });
    });
}

fn menu_ui(ui: &mut egui::Ui, menu: Menu, state: &AppState, out: &mut Vec<Msg>) {
    ui.menu_button(menu.title(), |ui| {
        egui::ScrollArea::vertical()
            .max_height(560.0)
            .show(ui, |ui| {
                for info in COMMANDS.iter().filter(|info| info.menu == menu) {
                    let keys = info
                        .keys
                        .first()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    let button = egui::Button::new(info.name).shortcut_text(keys);
                    let why_not = seeing::why_not(state, info.command);
                    let is_enabled = why_not.is_none();
                    let mut response = ui.add_enabled(is_enabled, button);
                    if let Some(reason) = why_not {
                        response = response.on_disabled_hover_text(reason);
                    }
                    response.widget_info(|| {
                        egui::WidgetInfo::labeled(egui::Role::Button, is_enabled, info.name)
                    });
                    if response.clicked() {
                        out.push(Msg::Command(info.command));
                        ui.close();
                    }
                }
            });
    });
}

/// Zoom, cursor, overlay and what is under way.
pub fn status_bar_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    zoom_and_cursor: &str,
    out: &mut Vec<Msg>,
) {
    egui::Panel::bottom("status bar").show(ui, |ui| {
        ui.horizontal(|ui| {
            if let (Page::Run, Some(view)) = (state.page, &state.run) {
                ui.monospace(zoom_and_cursor);
                ui.separator();
                ui.label(format!("overlay: {}", view.look.overlay.label()));
                theme::overlay_legend_ui(ui, view.look.overlay);
                dilation_ui(ui, view, !state.rerun_waits, out);
                if view.look.exposure_stops != 0.0 {
                    ui.colored_label(
                        theme::warning(ui),
                        format!(
                            "exposure {:+.1} stops, for looking only",
                            view.look.exposure_stops
                        ),
                    );
                }
                if view.look.channel != Channel::All {
                    let text = format!("{}, for looking only", view.look.channel.label());
                    ui.colored_label(theme::warning(ui), text);
                }
                if view.is_marking {
                    ui.colored_label(
                        theme::ACCENT,
                        "marking: click or drag on a picture (K ends it)",
                    );
                }
                let warnings = view.run.warnings.len();
                if warnings > 0 {
                    let text =
                        format!("{warnings} warning{}", if warnings == 1 { "" } else { "s" });
                    ui.colored_label(theme::warning(ui), text)
                        .on_hover_text(view.run.warnings.join("\n"));
                }
            }
            running_ui(ui, state, out);
            transfers::transfers_ui(ui, state, out);
            let is_read = |dir: &&std::path::PathBuf| !state.bucket.is_fetching(dir);
            if let Some(dir) = state.opening.as_ref().filter(is_read) {
                ui.spinner();
                ui.label(format!("reading {}", dir.display()));
            }
        });
    });
}

/// How far the run under way is: on its own page, and everywhere while it has no page yet.
fn running_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    let of_view = state.run.as_ref().and_then(|view| view.live.as_ref());
    let elsewhere = state.running.as_ref().map(|running| &running.live);
    let Some(live) = of_view.or(elsewhere.filter(|live| live.elsewhere.is_some())) else {
        return;
    };
    ui.separator();
    ui.add(
        egui::ProgressBar::new(live.fraction())
            .desired_width(120.0)
            .fill(theme::ACCENT),
    );
    match live.trouble {
        Some(_) => ui.colored_label(theme::warning(ui), live.words()),
        None => ui.label(live.words()),
    };
    if let Some(caution) = &live.caution {
        ui.colored_label(theme::warning(ui), theme::NOT_PRODUCTION)
            .on_hover_text(caution);
    }
    // On the compose page it stands beside the button that starts a run.
    if !live.is_cancelling && state.page != Page::Compose && ui.button("Cancel run").clicked() {
        out.push(Msg::Command(Command::CancelRun));
    }
    if live.elsewhere.is_some()
        && ui
            .button("Leave it")
            .on_hover_text("The run goes on; it is picked up again when it is opened")
            .clicked()
    {
        out.push(Msg::Command(Command::LeaveRun));
    }
}

/// What the selected cell was made at, while the overlay shows another dilation; and the way to have it.
fn dilation_ui(ui: &mut egui::Ui, view: &RunView, can_rerun: bool, out: &mut Vec<Msg>) {
    let Some(made_at) = view
        .selected
        .as_ref()
        .and_then(|key| rerun::made_at(view, key))
    else {
        return;
    };
    let shown_px = view.look.dilate_px.unwrap_or_default();
    ui.colored_label(
        theme::warning(ui),
        format!("showing {shown_px} px, {made_at}"),
    );
    for (name, scope) in [
        ("Re-run this cell", RerunScope::Selected),
        ("Re-run these cells", RerunScope::Shown),
    ] {
        if ui
            .add_enabled(can_rerun, egui::Button::new(name).small())
            .clicked()
        {
            out.push(Msg::Lab(LabMsg::Rerun(scope)));
        }
    }
    if ui
        .small_button("as made")
        .on_hover_text("Show each cell's own dilation again")
        .clicked()
    {
        let look = crate::state::look::Look {
            dilate_px: None,
            ..view.look.clone()
        };
        out.push(Msg::SetLook(Box::new(look)));
    }
}

/// How long a message stays that tells of no failure, in seconds.
const SUCCESS_SECS: f64 = 8.0;

/// Messages above the status bar; those about something lost or failed stay until they are closed.
pub fn toasts_ui(ctx: &egui::Context, state: &AppState, out: &mut Vec<Msg>) {
    if state.toasts.is_empty() {
        return;
    }
    egui::Area::new(egui::Id::unique("messages"))
        .anchor(egui::Align2::RIGHT_BOTTOM, [-12.0, -34.0])
        .order(egui::Order::Foreground)
        .show(ctx, |ui| {
            let now = ui.input(|input| input.time);
            for toast in &state.toasts {
                if !toast.is_error {
                    // What went well need not be closed by hand.
                    let id = egui::Id::unique(("message", toast.id));
                    let since: f64 = ui.data_mut(|data| *data.get_temp_mut_or(id, now));
                    if now - since > SUCCESS_SECS {
                        out.push(Msg::CloseToast(toast.id));
                    }
                    ui.ctx().request_repaint_after_secs(1.0);
                }
                let stroke = egui::Stroke::new(
                    1.0,
                    if toast.is_error {
                        theme::WARNING
                    } else {
                        theme::ACCENT
                    },
                );
                egui::Frame::popup(ui.style())
                    .stroke(stroke)
                    .show(ui, |ui| {
                        ui.set_max_width(460.0);
                        ui.horizontal_top(|ui| {
                            ui.add(egui::Label::new(&toast.text).wrap().selectable(true));
                            let close = ui.small_button("✕");
                            close.widget_info(|| {
                                egui::WidgetInfo::labeled(egui::Role::Button, true, "Close message")
                            });
                            if close.clicked() {
                                out.push(Msg::CloseToast(toast.id));
                            }
                        });
                    });
                ui.add_space(4.0);
            }
        });
}
