//! Results that come late, and what the lab asks for.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
use super::*;
use crate::imaging::GrayImage;
use crate::imaging::composite::Placement;
use crate::imaging::mask::process;
use crate::state::lab::result::{LabField, LabResult};
use crate::state::settings::Settings;
use crate::state::{Event, Msg, Page, update};
use std::sync::Arc;

fn opened(name: &str) -> (Box<Opened>, Painted) {
    let opened = Opened {
        source: LabSource::Session(PathBuf::from(name)),
        name: name.to_owned(),
        expected: String::new(),
        image: PathBuf::from(name).join("image.png"),
        placement: Placement::whole((64, 48), (64, 48)),
        session_dir: Some(PathBuf::from(name)),
        recipe: MaskRecipe::default(),
        saved_recipe: None,
        document_problem: None,
        has_subject: false,
        warnings: Vec::new(),
    };
    let painted = Painted {
        revision: 0,
        mask: Arc::new(GrayImage::new(64, 48)),
        changed: None,
        can_undo: false,
        can_redo: false,
        is_changed: false,
    };
    (Box::new(opened), painted)
}

fn lab_event(state: &mut AppState, event: LabEvent) -> Vec<Effect> {
    update(state, Msg::Event(Event::Lab(event)))
}

fn opening_of(effects: &[Effect]) -> u64 {
    match effects {
        [Effect::Lab(LabEffect::Open { opening, .. })] => *opening,
        other => panic!("one session is asked for: {other:?}"),
    }
}

fn state() -> (AppState, u64) {
    let mut state = AppState::new(Settings::default());
    state.page = Page::MaskLab;
    let asked = update(
        &mut state,
        Msg::Lab(LabMsg::OpenSession(PathBuf::from("a"))),
    );
    let opening = opening_of(&asked);
    lab_event(&mut state, LabEvent::Opened(opening, Ok(opened("a"))));
    (state, opening)
}

fn result(recipe: &MaskRecipe, generation: u64) -> Arc<LabResult> {
    Arc::new(LabResult {
        generation,
        recipe: recipe.clone(),
        mask_revision: 0,
        field: Arc::new(LabField {
            size: [0, 0],
            distance_px: Vec::new(),
            raw: Vec::new(),
        }),
        figures: process(&GrayImage::new(64, 48), recipe).figures(),
        gates: Vec::new(),
        speck_px: 0,
        specks: 0,
        uncovered_px: 0,
        masked_tokens: 0,
        field_computations: 1,
        clean_ups: 1,
    })
}

fn set_dilation(state: &mut AppState, dilate_px: f32) -> Vec<Effect> {
    let recipe = MaskRecipe {
        dilate_px,
        ..MaskRecipe::default()
    };
    update(
        state,
        Msg::Lab(LabMsg::SetRecipe {
            recipe: Box::new(recipe),
            is_settled: false,
        }),
    )
}

fn shown_generation(state: &AppState) -> Option<u64> {
    state.lab.as_ref().unwrap().results[0]
        .as_ref()
        .map(|result| result.generation)
}

#[test]
fn stale_mask_result_is_dropped() {
    let (mut state, opening) = state();
    let of = |dilate_px| MaskRecipe {
        dilate_px,
        ..MaskRecipe::default()
    };
    for dilate_px in [11.0, 12.0, 13.0] {
        set_dilation(&mut state, dilate_px);
    }
    lab_event(
        &mut state,
        LabEvent::Processed(opening, Slot::A, result(&of(13.0), 5)),
    );
    lab_event(
        &mut state,
        LabEvent::Processed(opening, Slot::A, result(&of(12.0), 4)),
    );
    assert_eq!(shown_generation(&state), Some(5));
    assert!(!state.lab.as_ref().unwrap().is_behind());
    lab_event(
        &mut state,
        LabEvent::Processed(opening + 7, Slot::A, result(&of(13.0), 9)),
    );
    assert_eq!(
        shown_generation(&state),
        Some(5),
        "it belongs to another session"
    );
}

#[test]
fn a_result_on_its_way_leaves_the_former_one_on_screen() {
    let (mut state, opening) = state();
    lab_event(
        &mut state,
        LabEvent::Processed(opening, Slot::A, result(&MaskRecipe::default(), 1)),
    );
    let asked = set_dilation(&mut state, 20.0);
    assert!(matches!(
        asked.as_slice(),
        [Effect::Lab(LabEffect::Process {
            slot: Slot::A,
            generation: 3,
            ..
        })]
    ));
    let view = state.lab.as_ref().unwrap();
    assert!(view.is_behind() && view.shown_result().is_some());
    assert!((view.shown_recipe().dilate_px - 20.0).abs() < 1e-6);
}

#[test]
fn a_session_that_was_superseded_while_it_was_read_is_dropped() {
    let (mut state, _) = state();
    let first = update(
        &mut state,
        Msg::Lab(LabMsg::OpenSession(PathBuf::from("b"))),
    );
    let second = update(
        &mut state,
        Msg::Lab(LabMsg::OpenSession(PathBuf::from("c"))),
    );
    lab_event(
        &mut state,
        LabEvent::Opened(opening_of(&first), Ok(opened("b"))),
    );
    assert_eq!(state.lab.as_ref().unwrap().opened.name, "a");
    lab_event(
        &mut state,
        LabEvent::Opened(opening_of(&second), Ok(opened("c"))),
    );
    assert_eq!(state.lab.as_ref().unwrap().opened.name, "c");
}

#[test]
fn a_recipe_that_is_not_allowed_is_not_taken() {
    let (mut state, _) = state();
    assert_eq!(set_dilation(&mut state, f32::NAN), []);
    assert_eq!(*state.lab.as_ref().unwrap().recipe(), MaskRecipe::default());
}

#[test]
fn a_document_that_cannot_be_read_is_not_saved_over() {
    let (mut state, _) = state();
    state.lab.as_mut().unwrap().opened.document_problem = Some("line 3".to_owned());
    assert_eq!(update(&mut state, Msg::Lab(LabMsg::Save)), []);
    assert!(
        state
            .toasts
            .iter()
            .any(|toast| toast.text.contains("nothing is overwritten"))
    );
}

#[test]
fn a_session_without_a_folder_asks_for_one() {
    let (mut state, _) = state();
    state.lab.as_mut().unwrap().opened.session_dir = None;
    let asked = update(&mut state, Msg::Lab(LabMsg::Save));
    assert_eq!(asked, [Effect::ChooseFolder(FolderFor::LabSession)]);
    let chosen = Event::FolderChosen(FolderFor::LabSession, PathBuf::from("sessions/a"));
    let asked = update(&mut state, Msg::Event(chosen));
    assert!(matches!(
        asked.as_slice(),
        [Effect::Lab(LabEffect::Save { dir, .. })] if dir.ends_with("sessions/a")
    ));
}
