//! Moving the shared view by hand, found by accessible name; nothing is rendered here.

use std::sync::Arc;

use eframe::egui::{self, Event, Modifiers, MouseWheelUnit, Rect, pos2, vec2};
use egui_kittest::{
    Harness,
    kittest::{NodeT as _, Queryable as _},
};
use fill_audit::ui::canvas::{
    Canvas, CanvasOptions, CellMap, CellPaint, Framing, ImageId, ImageStatus, cell_px,
    cell_response, navigate, paint_cell,
};

use super::page::{Picture, decode};

const SIZE: [f64; 2] = [400.0, 300.0];

struct Pair {
    canvas: Canvas,
    images: [ImageId; 2],
    framing: Framing,
    wheel_zooms: bool,
}

fn place(i: usize) -> Rect {
    Rect::from_min_size(pos2(10.0 + 210.0 * i as f32, 10.0), vec2(200.0, 150.0))
}

impl eframe::App for Pair {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.canvas.begin_frame();
        for (i, image) in self.images.into_iter().enumerate() {
            let (id, label) = (egui::Id::unique(("cell", i)), format!("cell {i}"));
            let status = self.canvas.status(image);
            let response = cell_response(ui, id, place(i), || label.clone(), i == 1, status);
            navigate(&mut self.framing, &response, SIZE, self.wheel_zooms);
        }
        let view = self
            .framing
            .view(SIZE, cell_px(place(0), ui.pixels_per_point()));
        for (i, image) in self.images.into_iter().enumerate() {
            paint_cell(
                ui.painter(),
                place(i),
                &CellPaint::new(image, view),
                &mut self.canvas,
            );
        }
        self.canvas.end_frame(ui.ctx());
    }
}

fn pair() -> Harness<'static, Pair> {
    let mut harness = Harness::builder()
        .with_size(vec2(440.0, 170.0))
        .build_eframe(|cc| {
            let options = CanvasOptions {
                threads: 1,
                ..CanvasOptions::default()
            };
            let decode: Arc<fill_audit::ui::canvas::Decode> = Arc::new(decode);
            let mut canvas = Canvas::new(&cc.egui_ctx, None, &decode, &options);
            let source = |i: u32| Picture::noise(400, 300, i).source(&format!("{i}"));
            let images = [1, 2].map(|i| canvas.image(&source(i)));
            Pair {
                canvas,
                images,
                framing: Framing::Whole,
                wheel_zooms: false,
            }
        });
    harness.step();
    harness
}

fn map(harness: &Harness<'_, Pair>, i: usize) -> CellMap {
    let view = harness.state().framing.view(SIZE, cell_px(place(i), 1.0));
    CellMap::new(place(i), 1.0, &view)
}

fn wheel(harness: &mut Harness<'_, Pair>, delta: f32, modifiers: Modifiers) {
    harness.event_modifiers(
        Event::MouseWheel {
            unit: MouseWheelUnit::Point,
            delta: vec2(0.0, delta),
            phase: egui::TouchPhase::Move,
            source: egui::MouseWheelSource::Wheel,
            modifiers,
        },
        modifiers,
    );
    harness.run_steps(12);
}

#[test]
fn dragging_one_cell_pans_all() {
    let mut harness = pair();
    let before = map(&harness, 0).to_image(place(0).center());
    let from = harness.get_by_label("cell 1").rect().center();
    harness.drag_at(from);
    harness.step();
    harness.hover_at(from + vec2(30.0, -12.0));
    harness.step();
    harness.drop_at(from + vec2(30.0, -12.0));
    harness.step();
    let after = map(&harness, 0).to_image(place(0).center());
    // At half size, a screen pixel is two image pixels.
    assert!(
        (before[0] - after[0] - 60.0).abs() < 1e-6,
        "{before:?} {after:?}"
    );
    assert!(
        (after[1] - before[1] - 24.0).abs() < 1e-6,
        "{before:?} {after:?}"
    );
}

#[test]
fn ctrl_and_wheel_zoom_at_the_cursor_in_all_cells() {
    let mut harness = pair();
    let cursor = place(1).min + vec2(150.0, 40.0);
    harness.hover_at(cursor);
    harness.step();
    let before = map(&harness, 1).to_image(cursor);
    let zoom_before = map(&harness, 0).zoom();
    wheel(&mut harness, 100.0, Modifiers::COMMAND);
    let zoom_after = map(&harness, 0).zoom();
    assert!(zoom_after > zoom_before * 1.2, "{zoom_before} {zoom_after}");
    let after = map(&harness, 1).to_image(cursor);
    let moved_px = [0, 1].map(|i| ((after[i] - before[i]) * zoom_after).abs());
    assert!(
        moved_px[0] <= 0.51 && moved_px[1] <= 0.51,
        "moved by {moved_px:?} screen pixels"
    );
}

#[test]
fn the_plain_wheel_zooms_only_where_it_does_not_scroll() {
    let mut harness = pair();
    harness.hover_at(place(0).center());
    harness.step();
    wheel(&mut harness, 100.0, Modifiers::NONE);
    assert_eq!(harness.state().framing, Framing::Whole);
    harness.state_mut().wheel_zooms = true;
    wheel(&mut harness, 100.0, Modifiers::NONE);
    assert!(matches!(harness.state().framing, Framing::Free(_)));
}

#[test]
fn without_a_gpu_cells_still_have_their_names_and_states() {
    let mut harness = pair();
    let started = std::time::Instant::now();
    while harness.state().canvas.is_busy() {
        harness.step();
        assert!(
            started.elapsed() < super::page::PATIENCE,
            "the pictures never came"
        );
        std::thread::yield_now();
    }
    harness.step();
    let pair = harness.state();
    assert!(!pair.canvas.has_gpu());
    assert_eq!(pair.canvas.status(pair.images[0]), ImageStatus::Shown);
    assert_eq!(pair.canvas.image_size(pair.images[0]), Some([400, 300]));
    let selected = harness.get_by_label("cell 1");
    assert!(format!("{:?}", selected.accesskit_node().toggled()).contains("True"));
}
