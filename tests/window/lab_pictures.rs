//! Pictures of the mask lab on real sessions, whole and cropped, for a person to look at; each is only kept
//! where `FILL_AUDIT_PICTURES` says so.

use super::harness::{Desk, keep_picture, settle, step_until};
use super::lab_runs::{matrix, run_again, run_in};
use super::mask_lab::{Window, is_settled, lab, open_session, send, set_recipe, settle_lab};
use eframe::egui::{Vec2, vec2};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::run::{InferenceSize, Plan};
use fill_audit::state::command::Command;
use fill_audit::state::lab::{LabMsg, LabTab};
use fill_audit::state::{Msg, Page};
use std::path::{Path, PathBuf};

const SESSIONS: [&str; 2] = ["leash-on-grass", "hand-on-paving-edge"];

const SIZES: [(&str, Vec2); 2] = [
    ("1280", vec2(1280.0, 800.0)),
    ("3840", vec2(3840.0, 2160.0)),
];

/// One of the repository's own sessions: what a reviewer sees.
fn real_session(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("sessions")
        .join(name)
}

fn show(harness: &mut Window, name: &str) {
    settle_lab(harness);
    settle(harness);
    keep_picture(harness, name);
}

fn tune(harness: &mut Window, recipe: MaskRecipe) {
    set_recipe(harness, |now| *now = recipe);
}

#[test]
fn pictures_of_real_sessions_before_and_after() {
    for (size_name, size) in SIZES {
        for name in SESSIONS {
            let desk = Desk::new();
            let mut harness = desk.rendered(size);
            open_session(&mut harness, real_session(name));
            tune(&mut harness, MaskRecipe::none());
            show(&mut harness, &format!("lab_{name}_before_{size_name}"));
            tune(&mut harness, MaskRecipe::default());
            harness
                .state_mut()
                .send(Msg::Command(Command::ToggleMaskBox));
            show(&mut harness, &format!("lab_{name}_after_{size_name}"));
            harness.state_mut().send(Msg::Command(Command::ActualSize));
            show(&mut harness, &format!("lab_{name}_full_size_{size_name}"));
            // A software driver takes seconds for each picture of the large window.
            if size_name == "1280" || name == SESSIONS[0] {
                for tab in [LabTab::Model, LabTab::Paint] {
                    send(&mut harness, LabMsg::SetTab(tab));
                    show(
                        &mut harness,
                        &format!("lab_{name}_{}_{size_name}", tab.label()),
                    );
                }
            }
        }
    }
}

#[test]
fn pictures_of_a_crop() {
    for (size_name, size) in SIZES {
        let desk = Desk::new();
        let plan = Plan {
            matrix: matrix(&[10.0]),
            recipe: MaskRecipe::default(),
        };
        let crop = InferenceSize::Crop {
            long_side_px: 512,
            margin: 0.05,
        };
        let run = run_in(&desk, real_session("leash-on-grass"), plan, crop);
        run_again(
            &run,
            &MaskRecipe {
                dilate_px: 16.0,
                feather_sigma_px: 2.0,
                ..MaskRecipe::default()
            },
        );
        let mut harness = desk.rendered(size);
        harness.state_mut().send(Msg::Open(run));
        settle(&mut harness);
        let go = Msg::Command(Command::GoTo(Page::MaskLab));
        harness.state_mut().send(go);
        step_until(&mut harness, "the run's copies are open", |harness| {
            is_settled(harness)
        });
        show(&mut harness, &format!("lab_crop_mask_{size_name}"));
        send(&mut harness, LabMsg::SetTab(LabTab::Model));
        show(&mut harness, &format!("lab_crop_model_{size_name}"));
        set_recipe(&mut harness, |recipe| recipe.dilate_px = 14.0);
        send(&mut harness, LabMsg::SetTab(LabTab::Composite));
        step_until(&mut harness, "it is exact", |harness| {
            lab(harness).exact_composite().is_some()
        });
        show(&mut harness, &format!("lab_crop_composite_{size_name}"));
        harness.state_mut().send(Msg::Command(Command::Fit));
        harness.run_steps(2);
        send(&mut harness, LabMsg::SetTab(LabTab::Mask));
        show(&mut harness, &format!("lab_crop_whole_{size_name}"));
        send(&mut harness, LabMsg::UseInOpenRun);
        settle(&mut harness);
        keep_picture(&mut harness, &format!("lab_crop_badges_{size_name}"));
    }
}
