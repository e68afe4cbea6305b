//! What drawing keeps between frames and nobody else needs: textures, the shared view, typed text.

use super::canvas::{
    Canvas, DistanceField, FieldId, Framing, ImageBox, ImageId, ImageSource, ImageStatus, RawMask,
    View,
};
use super::note_draft::NoteDraft;
use super::theme;
use crate::model::cell::CellKey;
use crate::model::ids::SessionId;
use crate::model::run::{CellState, PixelBox};
use crate::state::bucket::BucketMsg;
use crate::state::lab::mask_field::MaskField;
use crate::state::lab::result::RawPixel;
use crate::state::look::ViewRequest;
use crate::state::run_view::RunView;
use crate::state::{AppState, JudgeMsg, Msg};
use eframe::egui;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The first field id of the open run's masks; those of the lab come before it.
const RUN_MASKS: u64 = 100;

/// A selected cell counts as seen from this width on, in points: less does not show a hallucination.
pub const MIN_SEEN_POINTS: f32 = 110.0;

/// What drawing keeps between frames.
#[derive(Default)]
pub struct UiMemory {
    /// Pictures and the GPU; `None` in tests without a renderer.
    pub canvas: Option<Canvas>,
    /// Where all cells look.
    pub framing: Framing,
    /// Size of the session's picture in pixels: the image space that all cells share.
    pub size_in_image: [f64; 2],
    /// The mask's box in that space.
    pub mask_box: Option<ImageBox>,
    /// The point under the cursor, which all cells mark.
    pub cursor_in_image: Option<[f64; 2]>,
    /// Whether pictures of the open run are on their way from the bucket.
    pub is_fetching: bool,
    /// The point whose values were listed last; kept while the cursor is elsewhere.
    pub values_at: Option<[f64; 2]>,
    /// The cell in which the wipe's line is being dragged.
    pub wipe_drag: Option<egui::Id>,
    /// Whether the wipe was on at the last frame.
    pub was_wiping: bool,
    /// Zoom and cursor for the status bar.
    pub status_text: String,
    /// The selection at the last frame, to tell when keys moved it.
    pub last_selected: Option<CellKey>,
    /// What is typed into the palette.
    pub palette_text: String,
    /// Where one is in the palette.
    pub palette_index: usize,
    /// When a page or cell was last turned by itself, in egui's seconds; 0 while nothing turns.
    pub cycled_at: f64,
    /// Whether the list of runs to compare with was asked for since its menu was opened.
    pub has_listed_runs: bool,
    /// Size of a cell of the grid, in physical pixels.
    pub last_cell_px: Option<[f64; 2]>,
    /// Whether the approval's first field has had the focus since it was opened.
    pub has_focused_approval: bool,
    /// The note that is being typed, and on which cell.
    pub note: Option<NoteDraft>,
    /// The filter's limit, in seconds.
    pub fast_enough_secs: f64,
    /// The inbox' mark at the last frame, to tell when keys moved it.
    pub inbox_marked: Option<String>,
    /// Where a box is being drawn: the cell and its first corner in the image.
    pub drawing: Option<(CellKey, [f64; 2])>,
    seen: BTreeSet<CellKey>,
    visible: Vec<CellKey>,
    /// The picture of the cell that is being made.
    pub live_preview: super::live_preview::LivePreview,
    /// What the mask lab keeps.
    pub lab: super::mask_lab::LabMemory,
    request_seen: Option<u64>,
    mark_requests_seen: (u64, u64),
    applied_theme: Option<(bool, f32)>,
    run_generation: u64,
    /// The pictures of the open run's cells, so that no file's name is put together in every frame.
    cell_images: HashMap<CellKey, ImageId>,
    cell_revisions: BTreeMap<String, u64>,
    /// The session's photograph and at which revision.
    original: Option<(u64, ImageId)>,
    run_session: Option<SessionId>,
    uploaded_masks: Vec<Arc<MaskField>>,
}

impl UiMemory {
    /// A memory that draws pictures on `canvas`.
    pub fn new(canvas: Canvas) -> Self {
        Self {
            canvas: Some(canvas),
            fast_enough_secs: 60.0,
            ..Self::default()
        }
    }

    /// Call before anything is drawn.
    pub fn begin_frame(&mut self, ctx: &egui::Context, state: &AppState) {
        let theme = (state.settings.is_light, state.settings.ui_scale);
        if self.applied_theme != Some(theme) {
            self.applied_theme = Some(theme);
            theme::apply(ctx, theme.0);
            ctx.set_zoom_factor(theme.1);
        }
        if let Some(canvas) = &mut self.canvas {
            canvas.set_budget_bytes(u64::from(state.settings.picture_budget_mib) << 20);
            canvas.begin_frame();
        }
        if self.size_in_image[0] < 1.0 {
            self.size_in_image = [1024.0, 1024.0];
        }
        if state.run.as_ref().is_none_or(|view| !view.cycle.is_on) {
            self.cycled_at = 0.0;
        }
        let generation = state.run.as_ref().map_or(0, |view| view.generation);
        if generation != self.run_generation {
            self.run_generation = generation;
            self.take_run(state.run.as_ref());
            self.cell_images.clear();
            self.original = None;
            self.seen.clear();
            self.visible.clear();
            self.mask_box = None;
            self.give_back_masks();
            self.values_at = None;
            self.was_wiping = false;
            // What was typed about the former run was handed on when its field was left.
            self.note = None;
        }
        if let Some(view) = &state.run {
            if self.cell_revisions != view.revisions {
                self.cell_revisions.clone_from(&view.revisions);
                self.cell_images.clear();
            }
            self.take_masks(view);
        }
        if let Some(view) = &state.run
            && let Some(size) = self.known_size(view)
        {
            self.size_in_image = size;
        }
    }

    /// Another run is open. Where somebody has zoomed by hand and the session is the same, the view stays;
    /// otherwise it is the run's own.
    fn take_run(&mut self, view: Option<&RunView>) {
        let session = view.and_then(|view| view.run.session.clone());
        let is_same = session.is_some() && session == self.run_session;
        let was_open = self.run_session.is_some();
        self.run_session = session;
        if was_open && is_same && !matches!(self.framing, Framing::Box(_)) {
            self.request_seen = view.map(|view| view.view_request.1);
        } else {
            self.framing = Framing::Whole;
            self.request_seen = None;
        }
    }

    /// What was typed into the note and not handed on yet.
    pub fn take_note(&mut self) -> Option<Msg> {
        self.note.as_mut().and_then(NoteDraft::take_message)
    }

    /// Hands on a note whose field went away while it was typed: its page was left.
    pub fn keep_hidden_note(&mut self, out: &mut Vec<Msg>) {
        if let Some(note) = &mut self.note {
            if note.is_drawn {
                note.is_drawn = false;
            } else {
                out.extend(note.take_message());
                self.note = None;
            }
        }
    }

    /// Says once that a cell was shown large enough to be judged: its picture is there, and it is at
    /// least `MIN_SEEN_POINTS` wide.
    pub fn note_seen(
        &mut self,
        view: &RunView,
        key: &CellKey,
        width_points: f32,
        out: &mut Vec<Msg>,
    ) {
        if width_points < MIN_SEEN_POINTS
            || self.seen.contains(key)
            || view
                .judging
                .review
                .is_seen(Some(&view.judging.reviewer), key)
        {
            return;
        }
        let is_there = self.image_of(view, key).is_some_and(|image| {
            self.canvas.as_ref().is_some_and(|canvas| {
                !canvas.has_gpu() || canvas.status(image) == ImageStatus::Shown
            })
        });
        if is_there {
            self.seen.insert(key.clone());
            out.push(Msg::Judge(JudgeMsg::Seen(key.clone())));
        }
    }

    /// What stands in place of a cell's picture that is not here.
    pub fn missing_words(&self, view: &RunView, key: &CellKey) -> &'static str {
        match (view.lacks(key), self.is_fetching) {
            (true, true) => "arriving",
            (true, false) => "not fetched",
            (false, _) => "not run",
        }
    }

    /// Says which cells are on screen, when that changes, so that their pictures are fetched first.
    pub fn note_visible(&mut self, cells: Vec<CellKey>, out: &mut Vec<Msg>) {
        if cells != self.visible {
            self.visible.clone_from(&cells);
            out.push(Msg::Bucket(BucketMsg::Visible(cells)));
        }
    }

    /// Call after everything is drawn.
    pub fn end_frame(&mut self, ctx: &egui::Context) {
        if let Some(canvas) = &mut self.canvas {
            canvas.end_frame(ctx);
        }
    }

    /// Hands the run's masks to the GPU as they come, and notes the box of the run's own.
    fn take_masks(&mut self, view: &RunView) {
        for (at, field) in view.masks.all().enumerate() {
            let is_there = |uploaded: &Arc<MaskField>| Arc::ptr_eq(uploaded, field);
            if self.uploaded_masks.get(at).is_some_and(is_there) {
                continue;
            }
            self.uploaded_masks.truncate(at);
            self.uploaded_masks.push(Arc::clone(field));
            let Some(canvas) = &mut self.canvas else {
                continue;
            };
            let raw: Vec<RawMask> = field.raw.iter().copied().map(raw_mask).collect();
            let distances = DistanceField {
                size: field.size,
                distance_px: &field.distance_px,
                raw: Some(&raw),
            };
            let id = FieldId(RUN_MASKS + at as u64);
            if let Err(problem) = canvas.set_field(id, &distances) {
                canvas.remove_field(id);
                tracing::warn!("the mask cannot be shown: {problem}");
            }
        }
        let own = view.own_mask_recipe();
        let own = own.and_then(|recipe| view.masks.of(&recipe));
        self.mask_box = own.map(|(_, field)| self.placed(view, field, field.mask_box));
    }

    fn give_back_masks(&mut self) {
        let count = self.uploaded_masks.len() as u64;
        self.uploaded_masks.clear();
        if let Some(canvas) = &mut self.canvas {
            for at in 0..count {
                canvas.remove_field(FieldId(RUN_MASKS + at));
            }
        }
    }

    /// The mask of a cell and where it lies in the picture, once it is there.
    pub fn mask_field_of(&self, view: &RunView, key: &CellKey) -> Option<(FieldId, ImageBox)> {
        // While the lab's is on its way, the cell's own is shown.
        let shown = view.mask_recipe_of(key);
        let found = shown.and_then(|recipe| view.masks.of(&recipe));
        let (at, field) = found.or_else(|| view.masks.of(&view.run.recipe_of(key)?))?;
        let is_there = |uploaded: &Arc<MaskField>| Arc::ptr_eq(uploaded, field);
        let is_uploaded = self.uploaded_masks.get(at).is_some_and(is_there);
        let id = FieldId(RUN_MASKS + at as u64);
        is_uploaded.then(|| (id, self.placed(view, field, field.region)))
    }

    /// Where a box of a mask lies in image space. The mask of a named session belongs to a photograph of
    /// another size than the cells may have, which image space is that of.
    fn placed(&self, view: &RunView, field: &MaskField, area: PixelBox) -> ImageBox {
        let own = ImageBox::of_pixels([area.x, area.y], [area.width, area.height]);
        if view.run.document().is_some() {
            return own;
        }
        let photograph = [field.region.width, field.region.height];
        let scaled = |at: [f64; 2]| {
            [0, 1].map(|i| at[i] * self.size_in_image[i] / f64::from(photograph[i].max(1)))
        };
        ImageBox {
            min: scaled(own.min),
            max: scaled(own.max),
        }
    }

    fn known_size(&mut self, view: &RunView) -> Option<[f64; 2]> {
        let original = self.original_of(view);
        let any = view
            .run
            .cells
            .iter()
            .find(|(_, state)| matches!(state, CellState::Done(_)))
            .map(|(key, _)| key.clone());
        let any = any.and_then(|key| self.image_of(view, &key));
        let canvas = self.canvas.as_ref()?;
        // Boxes are noted in pixels of the original, or of the cells where nobody keeps an original: naming
        // a session must not move them.
        let in_order = if view.run.document().is_some() {
            [original, any]
        } else {
            [any, original]
        };
        let mut known = in_order.into_iter().flatten();
        let size = known.find_map(|id| canvas.image_size(id))?;
        Some(size.map(f64::from))
    }

    /// The picture of a cell.
    pub fn image_of(&mut self, view: &RunView, key: &CellKey) -> Option<ImageId> {
        if !matches!(view.run.cells.get(key), Some(CellState::Done(_))) {
            return None;
        }
        if let Some(image) = self.cell_images.get(key) {
            return Some(*image);
        }
        let file = view.run.picture_file(key);
        // Replaced in the bucket and fetched again: another picture under the same name.
        let replaced = view.revisions.get(&file).copied().unwrap_or_default();
        let revision = view.generation + (replaced << 32);
        let path = view.dir.join(file);
        let canvas = self.canvas.as_mut()?;
        let image = canvas.image(&ImageSource::File { path, revision });
        self.cell_images.insert(key.clone(), image);
        Some(image)
    }

    /// The picture of the second run's cell that stands beside one of the first.
    pub fn other_image_of(&mut self, view: &RunView, key: &CellKey) -> Option<ImageId> {
        let other = view.other.as_ref()?;
        let path = other.picture_beside(key)?;
        let revision = other.revision;
        Some(
            self.canvas
                .as_mut()?
                .image(&ImageSource::File { path, revision }),
        )
    }

    /// The session's photograph, where the run has a copy.
    pub fn original_of(&mut self, view: &RunView) -> Option<ImageId> {
        let revision = view.session_revision();
        if let Some((known, image)) = self.original
            && known == revision
        {
            return Some(image);
        }
        let path = view.original_path()?;
        let canvas = self.canvas.as_mut()?;
        let image = canvas.image(&ImageSource::File { path, revision });
        self.original = Some((revision, image));
        Some(image)
    }

    /// The session's raw mask, where the run has a copy.
    pub fn mask_of(&mut self, view: &RunView) -> Option<ImageId> {
        let (path, revision) = (view.mask_path()?, view.session_revision());
        Some(
            self.canvas
                .as_mut()?
                .image(&ImageSource::File { path, revision }),
        )
    }

    /// Does what the state asked of the view, once, now that sizes on screen are known.
    pub fn answer_view_request(&mut self, view: &RunView, cell_px: [f64; 2]) {
        self.last_cell_px = Some(cell_px);
        let request = view.view_request;
        if self.request_seen == Some(request.1) {
            return;
        }
        let size = self.size_in_image;
        let now = self.framing.view(size, cell_px);
        let to_box = |mask_box: Option<ImageBox>| mask_box.map_or(Framing::Whole, Framing::Box);
        self.framing = match request.0 {
            ViewRequest::Fit => Framing::Whole,
            ViewRequest::MaskBox => {
                if self.mask_box.is_none() && view.has_session() {
                    // Ask again at the next frame: the mask is on its way.
                    return;
                }
                to_box(self.mask_box)
            }
            ViewRequest::ToggleMaskBox => match self.framing {
                Framing::Box(_) => Framing::Whole,
                Framing::Whole | Framing::Free(_) => to_box(self.mask_box),
            },
            ViewRequest::ActualSize => Framing::Free(now.at_full_size(self.cursor_in_image)),
            ViewRequest::ZoomBy(factor) => {
                let about = self.cursor_in_image.unwrap_or(now.center_in_image);
                Framing::Free(
                    now.zoomed_about(about, now.zoom * f64::from(factor))
                        .clamped(size),
                )
            }
            ViewRequest::PanBy(tenths) => {
                // What is listed is again what lies in the middle.
                self.values_at = None;
                let by = [0, 1].map(|i| -f64::from(tenths[i]) / 10.0 * cell_px[i]);
                Framing::Free(now.panned(by).clamped(size))
            }
        };
        self.request_seen = Some(request.1);
    }

    /// What is on screen of the selected cell, once each time that it was asked to be marked.
    pub fn take_mark_request(&mut self, view: &RunView, cell_px: [f64; 2]) -> Option<ImageBox> {
        let now = (view.generation, view.mark_requests);
        let is_new = self.mark_requests_seen != now && view.mark_requests > 0;
        self.mark_requests_seen = now;
        if !is_new {
            return None;
        }
        let shown = self.framing.view(self.size_in_image, cell_px);
        let half = [0, 1].map(|i| cell_px[i] / shown.zoom / 2.0);
        let on_screen = ImageBox {
            min: [0, 1].map(|i| shown.center_in_image[i] - half[i]),
            max: [0, 1].map(|i| shown.center_in_image[i] + half[i]),
        };
        let part = on_screen.intersection(&ImageBox::whole(self.size_in_image));
        (part.size()[0] >= 1.0 && part.size()[1] >= 1.0).then_some(part)
    }

    /// The point whose values are listed: under the cursor, or where it was last, or in the middle of what
    /// is shown.
    pub fn values_point(&self) -> [f64; 2] {
        self.cursor_in_image.or(self.values_at).unwrap_or_else(|| {
            let cell_px = self.last_cell_px.unwrap_or([1.0; 2]);
            self.framing
                .view(self.size_in_image, cell_px)
                .center_in_image
        })
    }

    /// The point that all cells mark: under the cursor, or the one whose values are listed.
    pub fn marked_point(&self, view: &RunView) -> Option<[f64; 2]> {
        if view.look.has_values {
            Some(self.values_point())
        } else {
            self.cursor_in_image
        }
    }

    /// Notes zoom and cursor for the status bar.
    pub fn set_status(&mut self, shown: View, cursor_in_image: Option<[f64; 2]>) {
        self.cursor_in_image = cursor_in_image;
        self.values_at = cursor_in_image.or(self.values_at);
        let cursor = cursor_in_image.map_or(String::new(), |[x, y]| {
            format!("  ({:.0}, {:.0})", x.floor(), y.floor())
        });
        self.status_text = format!("{}{cursor}", shown.level_text());
    }
}

fn raw_mask(pixel: RawPixel) -> RawMask {
    match pixel {
        RawPixel::Off => RawMask::Off,
        RawPixel::On => RawMask::On,
        RawPixel::Speck => RawMask::Speck,
    }
}
