//! The pictures in the middle: all look at the same spot, each shows something else of the mask.

use super::super::canvas::{
    self, Canvas, CellMap, CellPaint, Framing, ImageBox, ImageId, ImageSource, ImageStatus, Mode,
    Overlay, View,
};
use super::super::{UiMemory, theme};
use super::composite::{self, Picture};
use super::painting;
use crate::imaging::mask::binary::PixelBox;
use crate::state::lab::{LabTab, LabView};
use crate::state::look::{self, ViewRequest};
use crate::state::{AppState, Msg};
use eframe::egui::{self, Align2, Color32, Rect, Stroke, StrokeKind, pos2, vec2};

/// A picture with its name.
struct Shown {
    label: String,
    picture: Picture,
    is_painted_on: bool,
}

impl Shown {
    /// Where it looks.
    fn view(&self) -> &View {
        &self.picture.paint.view
    }
}

/// Draws what the tab shows into what is left of the page.
pub fn views_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    view: &LabView,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let area = ui.available_rect_before_wrap();
    ui.painter().rect_filled(area, 0.0, theme::SURROUND);
    let (width, height) = view.opened.placement.image_size;
    let size_in_image = [f64::from(width), f64::from(height)];
    let names = names(state, view);
    let places = places(area, names.len(), width as f32 / height.max(1) as f32);
    let Some(first) = places.first() else { return };
    let cell_px = canvas::cell_px(*first, ui.pixels_per_point());
    answer_request(view, memory, size_in_image, cell_px);

    // The input of all cells first, so that none lags a frame behind.
    let mut hovered = None;
    let mut hover_rect = *first;
    for (index, (rect, name)) in places.iter().zip(&names).enumerate() {
        let id = ui.scope_id().with(("lab cell", index));
        let status = photo(view, memory).map_or(ImageStatus::Waiting, |image| {
            memory
                .canvas
                .as_ref()
                .map_or(ImageStatus::Waiting, |canvas| canvas.status(image))
        });
        let response = canvas::cell_response(ui, id, *rect, || (*name).clone(), false, status);
        let shown = memory.lab.framing.view(size_in_image, cell_px);
        let map = CellMap::new(*rect, ui.pixels_per_point(), &shown);
        let is_painting = view.tab == LabTab::Paint
            && painting::paint_input(&response, &map, view, &mut memory.lab, out);
        if !is_painting {
            canvas::navigate(&mut memory.lab.framing, &response, size_in_image, true);
        }
        if let Some(pointer) = response.hover_pos() {
            hovered = Some(pointer);
            hover_rect = *rect;
        }
    }
    let shown = memory.lab.framing.view(size_in_image, cell_px);
    memory.lab.cursor_in_image = hovered
        .map(|pointer| CellMap::new(hover_rect, ui.pixels_per_point(), &shown).to_image(pointer));
    memory.lab.status = match memory.lab.cursor_in_image {
        Some([x, y]) => format!(
            "{}  ({:.0}, {:.0})",
            shown.level_text(),
            x.floor(),
            y.floor()
        ),
        None => shown.level_text(),
    };
    let cells = cells(state, view, memory, shown, names);
    for (rect, cell) in places.iter().zip(&cells) {
        cell_ui(ui, *rect, cell, view, memory, hovered);
    }
}

fn cell_ui(
    ui: &egui::Ui,
    rect: Rect,
    cell: &Shown,
    view: &LabView,
    memory: &mut UiMemory,
    hovered: Option<egui::Pos2>,
) {
    let painter = ui.painter();
    match memory.canvas.as_mut().filter(|canvas| canvas.has_gpu()) {
        Some(canvas) => picture_ui(painter, rect, &cell.picture, canvas),
        None => {
            painter.text(
                rect.center(),
                Align2::CENTER_CENTER,
                "pictures need a Vulkan, Metal or GL driver",
                egui::FontId::proportional(12.0),
                theme::ON_SURROUND,
            );
        }
    }
    if cell.is_painted_on {
        tint_ui(ui, rect, cell.view(), view, memory);
        painting::paint_marks(painter, rect, cell.view(), view, &memory.lab, hovered);
    } else if let Some(cursor) = memory.lab.cursor_in_image {
        canvas::paint_cursor_mark(painter, rect, cell.view(), cursor);
    }
    if let Some(area) = view.opened.inferred_box() {
        frame_ui(painter, rect, cell.view(), area);
    }
    theme::outlined_text(
        painter,
        rect.left_top() + vec2(6.0, 4.0),
        Align2::LEFT_TOP,
        &cell.label,
        13.0,
        Color32::WHITE,
    );
}

/// A picture, or its stand-in while it is on its way.
fn picture_ui(painter: &egui::Painter, rect: Rect, picture: &Picture, canvas: &mut Canvas) {
    let is_there = canvas.status(picture.paint.image) != ImageStatus::Waiting;
    match &picture.stand_in {
        Some(stand_in) if !is_there => {
            canvas::preload_cell(painter.pixels_per_point(), rect, &picture.paint, canvas);
            canvas::paint_cell(painter, rect, stand_in, canvas);
        }
        _ => canvas::paint_cell(painter, rect, &picture.paint, canvas),
    }
}

/// Where a crop was cut out, in two tones.
fn frame_ui(painter: &egui::Painter, rect: Rect, shown: &View, area: PixelBox) {
    let painter = painter.with_clip_rect(painter.clip_rect().intersect(rect));
    let map = CellMap::new(rect, painter.pixels_per_point(), shown);
    let ImageBox { min, max } = box_in_image(area);
    let frame = Rect::from_min_max(map.to_ui(min), map.to_ui(max));
    for (outset, colour) in [(1.0, Color32::WHITE), (2.0, Color32::BLACK)] {
        painter.rect_stroke(
            frame.expand(outset - 1.0),
            0.0,
            Stroke::new(1.0, colour),
            StrokeKind::Outside,
        );
    }
}

/// The painted mask over the picture, at original resolution.
fn tint_ui(ui: &egui::Ui, rect: Rect, shown: &View, view: &LabView, memory: &mut UiMemory) {
    let texture = memory.lab.tint(ui.ctx(), &view.painted).id();
    let (width, height) = view.painted.mask.dimensions();
    let map = CellMap::new(rect, ui.pixels_per_point(), shown);
    let whole = Rect::from_min_max(
        map.to_ui([0.0; 2]),
        map.to_ui([f64::from(width), f64::from(height)]),
    );
    let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    let painter = ui.painter().with_clip_rect(ui.clip_rect().intersect(rect));
    painter.image(texture, whole, uv, Color32::WHITE);
}

/// Equal cells that show pictures of this aspect as large as the area allows.
fn places(area: Rect, count: usize, aspect: f32) -> Vec<Rect> {
    let gap = theme::CELL_GAP;
    let size = |columns: usize| {
        let rows = count.div_ceil(columns);
        vec2(
            (area.width() - gap * (columns - 1) as f32) / columns as f32,
            (area.height() - gap * (rows - 1) as f32) / rows as f32,
        )
    };
    let reach = |columns: usize| size(columns).x.min(size(columns).y * aspect);
    let Some(columns) = (1..=count).max_by(|a, b| reach(*a).total_cmp(&reach(*b))) else {
        return Vec::new();
    };
    let cell = size(columns);
    (0..count)
        .map(|index| {
            let at = vec2((index % columns) as f32, (index / columns) as f32);
            Rect::from_min_size(area.min + at * (cell + vec2(gap, gap)), cell)
        })
        .collect()
}

fn names(state: &AppState, view: &LabView) -> Vec<String> {
    let (width, height) = view.opened.placement.inference_size;
    match view.tab {
        LabTab::Mask => [
            "photograph and mask",
            "raw mask",
            "processed mask",
            "what changed",
        ]
        .map(str::to_owned)
        .to_vec(),
        LabTab::Model => {
            let tokens = view.shown_result().map_or(0, |result| result.masked_tokens);
            vec![
                format!("binary mask, {width} × {height}"),
                "masked picture".to_owned(),
                format!(
                    "token grid, {tokens} of {} tokens masked",
                    width / 16 * (height / 16)
                ),
            ]
        }
        LabTab::Composite => composite::names(state, view),
        LabTab::Paint => vec!["mask over the photograph".to_owned()],
    }
}

/// The photograph.
fn photo(view: &LabView, memory: &mut UiMemory) -> Option<ImageId> {
    let source = ImageSource::File {
        path: view.opened.image.clone(),
        revision: view.opening,
    };
    memory.canvas.as_mut().map(|canvas| canvas.image(&source))
}

fn cells(
    state: &AppState,
    view: &LabView,
    memory: &mut UiMemory,
    shown: View,
    names: Vec<String>,
) -> Vec<Shown> {
    let Some(photo) = photo(view, memory) else {
        return Vec::new();
    };
    let fields = memory.lab.fields(view, memory.canvas.as_mut());
    let (width, height) = view.opened.placement.image_size;
    let mask_box = view.opened.inferred_box().map(box_in_image);
    let plain = |image| {
        let mut paint = CellPaint::new(image, shown);
        paint.size_in_image = Some([f64::from(width), f64::from(height)]);
        paint.mask = fields.map(|[cleaned, _]| cleaned);
        paint.mask_box = mask_box;
        paint.dilate_px = view.shown_recipe().dilate_px;
        paint
    };
    let with_mode = |mode| CellPaint {
        mode,
        ..plain(photo)
    };
    let with_overlay = |overlay| CellPaint {
        overlay,
        ..plain(photo)
    };
    let paints = match view.tab {
        LabTab::Composite => {
            return shown_as(
                composite::pictures(state, view, memory, photo, &plain),
                names,
            );
        }
        LabTab::Mask => vec![
            with_overlay(match view.overlay {
                look::Overlay::Outline => Overlay::Outline,
                look::Overlay::Tint => Overlay::Tint,
                look::Overlay::Off => Overlay::Off,
                _ => Overlay::Ring,
            }),
            CellPaint {
                mask: fields.map(|[_, raw]| raw),
                dilate_px: 0.0,
                ..with_mode(Mode::Mask)
            },
            with_mode(Mode::Mask),
            CellPaint {
                overlay_strength: 0.65,
                ..with_overlay(Overlay::Change)
            },
        ],
        // Around what is inferred the model sees nothing.
        LabTab::Model => [
            with_mode(Mode::Mask),
            with_mode(Mode::MaskedPicture),
            CellPaint {
                has_token_grid: true,
                overlay_strength: 0.35,
                ..with_overlay(Overlay::Tint)
            },
        ]
        .map(|paint| CellPaint {
            shown_box: paint.mask_box,
            ..paint
        })
        .to_vec(),
        LabTab::Paint => vec![with_overlay(Overlay::Outline)],
    };
    let mut cells = shown_as(paints.into_iter().map(Picture::from).collect(), names);
    for cell in &mut cells {
        cell.is_painted_on = view.tab == LabTab::Paint;
    }
    cells
}

fn shown_as(pictures: Vec<Picture>, names: Vec<String>) -> Vec<Shown> {
    let pairs = pictures.into_iter().zip(names);
    pairs
        .map(|(picture, label)| Shown {
            label,
            picture,
            is_painted_on: false,
        })
        .collect()
}

fn box_in_image(area: PixelBox) -> ImageBox {
    ImageBox::of_pixels([area.x, area.y], [area.width, area.height])
}

fn mask_box(view: &LabView) -> Option<ImageBox> {
    let found = view.shown_result()?.figures.bounds?;
    let placement = &view.opened.placement;
    let (region, size) = (placement.region, placement.inference_size);
    let across = f64::from(region.width) / f64::from(size.0.max(1));
    let down = f64::from(region.height) / f64::from(size.1.max(1));
    let corner = |x: u32, y: u32| {
        [
            f64::from(region.x) + f64::from(x) * across,
            f64::from(region.y) + f64::from(y) * down,
        ]
    };
    Some(ImageBox {
        min: corner(found.x, found.y),
        max: corner(found.right(), found.bottom()),
    })
}

/// Does what the state asked of the view, once, now that sizes on screen are known.
fn answer_request(
    view: &LabView,
    memory: &mut UiMemory,
    size_in_image: [f64; 2],
    cell_px: [f64; 2],
) {
    let lab = &mut memory.lab;
    if lab.request_seen == Some(view.view_request.1) {
        return;
    }
    lab.request_seen = Some(view.view_request.1);
    let now = lab.framing.view(size_in_image, cell_px);
    let to_box = || mask_box(view).map_or(Framing::Whole, Framing::Box);
    lab.framing = match view.view_request.0 {
        // Of a crop what is inferred is what is tuned.
        ViewRequest::Fit => match (view.opened.inferred_box(), lab.framing) {
            (Some(area), Framing::Whole) => Framing::Box(box_in_image(area)),
            _ => Framing::Whole,
        },
        ViewRequest::MaskBox => to_box(),
        ViewRequest::ToggleMaskBox => match lab.framing {
            Framing::Box(_) => Framing::Whole,
            Framing::Whole | Framing::Free(_) => to_box(),
        },
        ViewRequest::ActualSize => Framing::Free(now.at_full_size(lab.cursor_in_image)),
        ViewRequest::ZoomBy(factor) => {
            let about = lab.cursor_in_image.unwrap_or(now.center_in_image);
            let closer = now.zoomed_about(about, now.zoom * f64::from(factor));
            Framing::Free(closer.clamped(size_in_image))
        }
        ViewRequest::PanBy(tenths) => {
            let by = [0, 1].map(|i| -f64::from(tenths[i]) / 10.0 * cell_px[i]);
            Framing::Free(now.panned(by).clamped(size_in_image))
        }
    };
}
