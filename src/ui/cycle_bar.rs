//! While pages or cells change by themselves: along which axis, how quickly, and the end of it.

use super::UiMemory;
use crate::model::matrix::Axis;
use crate::state::Msg;
use crate::state::command::Command;
use crate::state::run_view::RunView;
use crate::state::seeing::SeeMsg;
use crate::state::seeing::cycle::{MAX_SECS, MIN_SECS};
use eframe::egui;

/// Goes on when the time has come, and asks to be called again by then.
pub fn tick(ui: &egui::Ui, view: &RunView, memory: &mut UiMemory, out: &mut Vec<Msg>) {
    let now = ui.input(|input| input.time);
    let secs = f64::from(view.cycle.secs);
    if memory.cycled_at == 0.0 {
        // It has just begun: what is on screen has its time first.
        memory.cycled_at = now;
    }
    if now - memory.cycled_at >= secs {
        memory.cycled_at = now;
        out.push(Msg::See(SeeMsg::CycleOn));
    }
    let left = (memory.cycled_at + secs - now).max(0.0);
    ui.ctx()
        .request_repaint_after(std::time::Duration::from_secs_f64(left));
}

/// Axis, speed and end.
pub fn cycle_ui(ui: &mut egui::Ui, view: &RunView, out: &mut Vec<Msg>) {
    ui.horizontal_wrapped(|ui| {
        ui.strong(if view.is_full_screen {
            "Cycling through cells along"
        } else {
            "Cycling through pages along"
        });
        let axes = view.cycle_axes();
        let Some(now) = view.cycle_axis() else {
            ui.label("nothing: there is only one to show");
            stop_ui(ui, out);
            return;
        };
        let combo = egui::ComboBox::from_id_salt("cycle")
            .selected_text(now.label())
            .show_ui(ui, |ui| {
                for axis in axes {
                    axis_ui(ui, axis, now, out);
                }
            });
        combo.response.widget_info(|| {
            let label = format!("cycle along: {}", now.label());
            egui::WidgetInfo::labeled(egui::Role::ComboBox, true, label)
        });
        let mut secs = view.cycle.secs;
        let name = ui.label("a picture every");
        let slider = egui::Slider::new(&mut secs, MIN_SECS..=MAX_SECS)
            .logarithmic(true)
            .fixed_decimals(2)
            .suffix(" s");
        if ui.add(slider).labelled_by(name.id).changed() {
            out.push(Msg::See(SeeMsg::CycleSecs(secs)));
        }
        for (text, command) in [
            ("Slower", Command::CycleSlower),
            ("Faster", Command::CycleFaster),
        ] {
            if ui.button(text).clicked() {
                out.push(Msg::Command(command));
            }
        }
        stop_ui(ui, out);
    });
}

fn axis_ui(ui: &mut egui::Ui, axis: Axis, now: Axis, out: &mut Vec<Msg>) {
    if ui.selectable_label(axis == now, axis.label()).clicked() {
        out.push(Msg::See(SeeMsg::CycleAxis(axis)));
    }
}

fn stop_ui(ui: &mut egui::Ui, out: &mut Vec<Msg>) {
    if ui.button("Stop (C)").clicked() {
        out.push(Msg::Command(Command::AutoCycle));
    }
}
