//! The gates: each is said plainly in the lab, the mask can be saved all the same, and a run refuses it
//! unless a reason is given.

use super::harness::{Desk, step_until, view};
use super::mask_lab::{lab, open_session, result, session, set_recipe};
use egui_kittest::kittest::Queryable as _;
use fill_audit::model::mask_recipe::{MaskGate, MaskRecipe};
use fill_audit::state::command::Command;
use fill_audit::state::{Msg, Page};
use image::{GrayImage, Luma};
use std::path::Path;

fn write(path: &Path, is_white: impl Fn(u32, u32) -> bool) {
    GrayImage::from_fn(512, 384, |x, y| {
        Luma([if is_white(x, y) { 255 } else { 0 }])
    })
    .save(path)
    .expect("written");
}

/// A session whose mask fails one gate, and what is said about it.
struct Failing {
    name: &'static str,
    said: &'static str,
    prepare: fn(&Path),
    recipe: MaskRecipe,
    is_gate: fn(&MaskGate) -> bool,
}

fn failing() -> [Failing; 4] {
    let default = MaskRecipe::default;
    [
        Failing {
            name: "over 40 %",
            said: "% of the picture; at most 40 % is allowed",
            prepare: |dir| write(&dir.join("mask.png"), |x, y| x < 400 && y < 300),
            recipe: default(),
            is_gate: |gate| matches!(gate, MaskGate::CoversTooMuch { .. }),
        },
        Failing {
            name: "no component of 50 px",
            said: "the raw mask has no component of 50 px; its largest has 49",
            prepare: |dir| {
                write(&dir.join("mask.png"), |x, y| {
                    x % 60 < 7 && y % 60 < 7 && x > 60 && y > 60
                });
            },
            recipe: MaskRecipe {
                min_component_px: 0,
                open_px: 0.0,
                ..default()
            },
            is_gate: |gate| matches!(gate, MaskGate::NoLargeComponent { .. }),
        },
        Failing {
            name: "empty",
            said: "the processed mask is empty: nothing would be repainted",
            prepare: |dir| {
                // A thread that opening takes away.
                write(&dir.join("mask.png"), |x, y| {
                    (100..400).contains(&x) && y == 200
                });
            },
            recipe: default(),
            is_gate: |gate| matches!(gate, MaskGate::Empty),
        },
        Failing {
            name: "touches the subject",
            said: "px of the subject",
            prepare: |dir| {
                write(&dir.join("subject.png"), |x, y| {
                    (100..112).contains(&x) && (100..300).contains(&y)
                });
            },
            recipe: default(),
            is_gate: |gate| matches!(gate, MaskGate::TouchesSubject { .. }),
        },
    ]
}

#[test]
fn each_gate_is_said_and_saving_still_writes() {
    for failing in failing() {
        let desk = Desk::new();
        let dir = session(&desk);
        (failing.prepare)(&dir);
        let mut harness = desk.plain();
        open_session(&mut harness, dir.clone());
        set_recipe(&mut harness, |recipe| *recipe = failing.recipe.clone());
        let gates = &result(&harness).gates;
        assert!(
            gates.iter().any(failing.is_gate),
            "{}: {gates:?}",
            failing.name
        );
        for said in [
            "A run refuses this mask:",
            failing.said,
            "A run refuses this mask unless overridden; it can be saved.",
        ] {
            assert!(
                harness.query_by_label_contains(said).is_some(),
                "{}: {said}",
                failing.name
            );
        }
        assert!(harness.query_by_label("✓ passes every gate").is_none());
        harness.get_by_label("Save to the session").click();
        step_until(&mut harness, "it is saved", |harness| {
            lab(harness).saved_recipe.is_some()
        });
        assert!(dir.join("session.ron").is_file(), "{}", failing.name);
    }
}

#[test]
fn a_run_refuses_each_of_them_until_a_reason_is_typed() {
    for failing in failing() {
        let desk = Desk::new();
        let dir = session(&desk);
        (failing.prepare)(&dir);
        let mut harness = desk.plain();
        open_session(&mut harness, dir);
        set_recipe(&mut harness, |recipe| *recipe = failing.recipe.clone());
        harness.get_by_label("Use in a new run").click();
        harness.run_steps(2);
        assert_eq!(harness.state().state().page, Page::Compose);
        let mut form = harness.state().state().compose.clone();
        "painted".clone_into(&mut form.models_dir);
        "Q4_0".clone_into(&mut form.quants);
        "10".clone_into(&mut form.guidances);
        "1".clone_into(&mut form.steps);
        harness
            .state_mut()
            .send(Msg::SetCompose(Box::new(form.clone())));
        harness.state_mut().send(Msg::Command(Command::StartRun));
        step_until(&mut harness, failing.name, |harness| {
            let toasts = &harness.state().state().toasts;
            toasts.iter().any(|toast| {
                toast.is_error
                    && toast.text.contains(failing.said)
                    && toast.text.contains("Override mask gates")
            })
        });
        let runs = |desk: &Desk| {
            let folder = std::fs::read_dir(desk.folder.path().join("runs")).expect("there");
            folder.count()
        };
        assert_eq!(runs(&desk), 1, "{}: nothing was started", failing.name);

        "the leash is like that".clone_into(&mut form.gates_override);
        harness.state_mut().send(Msg::SetCompose(Box::new(form)));
        harness.state_mut().send(Msg::Command(Command::StartRun));
        step_until(&mut harness, "it runs all the same", |harness| {
            let run = harness.state().state().run.as_ref();
            run.is_some_and(|view| {
                view.run.document().is_some() && view.run.done_count() == 1 && view.live.is_none()
            })
        });
        let overridden = &view(&harness)
            .run
            .document()
            .expect("a document")
            .gates_overridden;
        assert!(
            overridden
                .iter()
                .any(|text| text.contains(failing.said) && text.contains("the leash is like that")),
            "{}: {overridden:?}",
            failing.name
        );
    }
}
