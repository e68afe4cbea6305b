//! Where cells look: one view in image space, and its mapping to a cell on the screen.
//!
//! Pure numbers: this file knows rectangles, not textures, and nothing of what is painted. Positions
//! in image space are pixels of the picture that all cells share, from its top left corner. Zoom is
//! physical screen pixels per image pixel, so 1.0 is 100 % on any display.

use eframe::egui::{Pos2, Rect, pos2};

/// Smallest zoom, in screen pixels per image pixel.
pub const MIN_ZOOM: f64 = 1.0 / 256.0;
/// Largest zoom, in screen pixels per image pixel.
pub const MAX_ZOOM: f64 = 128.0;
/// How much of the box's longer side is kept free on each side when a box is shown.
pub const BOX_MARGIN: f64 = 0.15;

/// Where a cell looks: the image point at its centre, and the zoom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// The point in the middle of the cell, in image pixels.
    pub center_in_image: [f64; 2],
    /// Physical screen pixels per image pixel.
    pub zoom: f64,
}

/// A rectangle in image space, in pixels; `max` lies outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImageBox {
    /// Left and top edge.
    pub min: [f64; 2],
    /// Right and bottom edge.
    pub max: [f64; 2],
}

impl ImageBox {
    /// A box of whole pixels from its first pixel, with its width and height.
    pub fn of_pixels(first: [u32; 2], size: [u32; 2]) -> Self {
        let end = [0, 1].map(|i| f64::from(first[i]) + f64::from(size[i]));
        Self {
            min: first.map(f64::from),
            max: end,
        }
    }

    /// The whole of a picture of that size.
    pub fn whole(size_in_image: [f64; 2]) -> Self {
        Self {
            min: [0.0; 2],
            max: size_in_image,
        }
    }

    /// Width and height, never negative.
    pub fn size(&self) -> [f64; 2] {
        [0, 1].map(|i| (self.max[i] - self.min[i]).max(0.0))
    }

    /// The part that both cover; empty (`max <= min`) where they do not meet.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            min: [0, 1].map(|i| self.min[i].max(other.min[i])),
            max: [0, 1].map(|i| self.max[i].min(other.max[i])),
        }
    }

    /// True if nothing lies inside.
    pub fn is_empty(&self) -> bool {
        self.max[0] <= self.min[0] || self.max[1] <= self.min[1]
    }
}

impl View {
    /// The whole picture, as large as the cell allows.
    pub fn fit(size_in_image: [f64; 2], cell_px: [f64; 2]) -> Self {
        Self::show_box(&ImageBox::whole(size_in_image), 0.0, cell_px)
    }

    /// A box with `margin` times its longer side kept free around it, as large as the cell allows.
    pub fn show_box(target: &ImageBox, margin: f64, cell_px: [f64; 2]) -> Self {
        let size = target.size();
        let free = 2.0 * margin.max(0.0) * size[0].max(size[1]);
        let zoom = [0, 1]
            .map(|i| cell_px[i].max(1.0) / (size[i] + free).max(1e-6))
            .into_iter()
            .fold(f64::INFINITY, f64::min);
        Self {
            center_in_image: [0, 1].map(|i| f64::midpoint(target.min[i], target.max[i])),
            zoom: zoom.clamp(MIN_ZOOM, MAX_ZOOM),
        }
    }

    /// Changes the zoom to `zoom` while `pos_in_image` stays where it is on the screen.
    #[must_use]
    pub fn zoomed_about(&self, pos_in_image: [f64; 2], zoom: f64) -> Self {
        let zoom = if zoom.is_finite() {
            zoom.clamp(MIN_ZOOM, MAX_ZOOM)
        } else {
            self.zoom
        };
        let keep = self.zoom / zoom;
        let center_in_image =
            [0, 1].map(|i| pos_in_image[i] + (self.center_in_image[i] - pos_in_image[i]) * keep);
        Self {
            center_in_image,
            zoom,
        }
    }

    /// 100 % about a point, or about the middle when there is none.
    #[must_use]
    pub fn at_full_size(&self, pos_in_image: Option<[f64; 2]>) -> Self {
        self.zoomed_about(pos_in_image.unwrap_or(self.center_in_image), 1.0)
    }

    /// Moves the picture by physical screen pixels, as a drag does.
    #[must_use]
    pub fn panned(&self, delta_px: [f64; 2]) -> Self {
        let center_in_image = [0, 1].map(|i| self.center_in_image[i] - delta_px[i] / self.zoom);
        Self {
            center_in_image,
            ..*self
        }
    }

    /// The same view with its middle on the picture, so that the picture is never lost.
    #[must_use]
    pub fn clamped(&self, size_in_image: [f64; 2]) -> Self {
        let center_in_image =
            [0, 1].map(|i| self.center_in_image[i].clamp(0.0, size_in_image[i].max(0.0)));
        Self {
            center_in_image,
            zoom: self.zoom.clamp(MIN_ZOOM, MAX_ZOOM),
        }
    }

    /// The same part of the picture in a cell of another size.
    #[must_use]
    pub fn in_another_cell(&self, from_px: [f64; 2], to_px: [f64; 2]) -> Self {
        let ratio = [0, 1].map(|i| to_px[i].max(1.0) / from_px[i].max(1.0));
        Self {
            zoom: (self.zoom * ratio[0].min(ratio[1])).clamp(MIN_ZOOM, MAX_ZOOM),
            ..*self
        }
    }

    /// The level for people: `240 %`, below 10 % with one decimal.
    pub fn level_text(&self) -> String {
        let percent = self.zoom * 100.0;
        if percent < 9.95 {
            format!("{percent:.1} %")
        } else {
            format!("{percent:.0} %")
        }
    }
}

/// How the shared view is chosen: it follows the cell's size until somebody zooms or pans.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Framing {
    /// The whole picture fits.
    #[default]
    Whole,
    /// A box with [`BOX_MARGIN`] around it fits, as a run opens on its mask.
    Box(ImageBox),
    /// What the reviewer chose.
    Free(View),
}

impl Framing {
    /// The view for a cell of `cell_px` physical pixels on a picture of `size_in_image` pixels.
    pub fn view(&self, size_in_image: [f64; 2], cell_px: [f64; 2]) -> View {
        match self {
            Self::Whole => View::fit(size_in_image, cell_px),
            Self::Box(target) => View::show_box(target, BOX_MARGIN, cell_px).clamped(size_in_image),
            Self::Free(view) => view.clamped(size_in_image),
        }
    }
}

/// A view laid onto one cell: turns screen positions into image positions and back.
///
/// From 100 % upwards the picture's corner is put on a whole screen pixel, so texels are sharp and two
/// cells of one size show the same texels at the same places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellMap {
    rect_px: [f64; 4],
    origin_px: [f64; 2],
    zoom: f64,
    pixels_per_point: f64,
}

impl CellMap {
    /// Lays `view` onto `rect_in_ui` (points) at `pixels_per_point`.
    pub fn new(rect_in_ui: Rect, pixels_per_point: f32, view: &View) -> Self {
        // Edges are rounded as egui rounds viewports, so neighbours share them.
        let px = |points: f32| f64::from((points * pixels_per_point).round());
        let rect_px = [
            px(rect_in_ui.left()),
            px(rect_in_ui.top()),
            px(rect_in_ui.right()),
            px(rect_in_ui.bottom()),
        ];
        let zoom = view.zoom.clamp(MIN_ZOOM, MAX_ZOOM);
        let origin_px = [0, 1].map(|i| {
            let in_cell = (rect_px[i + 2] - rect_px[i]) / 2.0 - view.center_in_image[i] * zoom;
            rect_px[i]
                + if zoom >= 1.0 {
                    in_cell.round()
                } else {
                    in_cell
                }
        });
        Self {
            rect_px,
            origin_px,
            zoom,
            pixels_per_point: f64::from(pixels_per_point),
        }
    }

    /// The same cell in an image space that begins at `corner` of this one.
    #[must_use]
    pub fn seen_from(&self, corner: [f64; 2]) -> Self {
        let origin_px = [0, 1].map(|i| self.origin_px[i] + corner[i] * self.zoom);
        Self { origin_px, ..*self }
    }

    /// Physical size of the cell, in pixels.
    pub fn cell_px(&self) -> [f64; 2] {
        [
            self.rect_px[2] - self.rect_px[0],
            self.rect_px[3] - self.rect_px[1],
        ]
    }

    /// Screen pixels per image pixel.
    pub fn zoom(&self) -> f64 {
        self.zoom
    }

    /// Where image point (0, 0) lies, in physical screen pixels.
    pub fn origin_px(&self) -> [f64; 2] {
        self.origin_px
    }

    /// The image point under a screen position (points).
    pub fn to_image(&self, pos_in_ui: Pos2) -> [f64; 2] {
        let px = [f64::from(pos_in_ui.x), f64::from(pos_in_ui.y)];
        [0, 1].map(|i| (px[i] * self.pixels_per_point - self.origin_px[i]) / self.zoom)
    }

    /// The screen position (points) of an image point.
    pub fn to_ui(&self, pos_in_image: [f64; 2]) -> Pos2 {
        let at = [0, 1]
            .map(|i| (self.origin_px[i] + pos_in_image[i] * self.zoom) / self.pixels_per_point);
        pos2(at[0] as f32, at[1] as f32)
    }

    /// The part of image space that the cell shows.
    pub fn visible(&self) -> ImageBox {
        ImageBox {
            min: [0, 1].map(|i| (self.rect_px[i] - self.origin_px[i]) / self.zoom),
            max: [0, 1].map(|i| (self.rect_px[i + 2] - self.origin_px[i]) / self.zoom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eframe::egui::vec2;

    const IMAGE: [f64; 2] = [1024.0, 768.0];

    fn cell() -> Rect {
        Rect::from_min_size(pos2(13.0, 7.0), vec2(301.0, 200.0))
    }

    fn close(a: [f64; 2], b: [f64; 2], within: f64) {
        assert!(
            (a[0] - b[0]).abs() <= within && (a[1] - b[1]).abs() <= within,
            "{a:?} {b:?}"
        );
    }

    #[test]
    fn fit_shows_the_whole_picture_and_touches_two_edges() {
        let view = View::fit(IMAGE, [301.0, 200.0]);
        let visible = CellMap::new(cell(), 1.0, &view).visible();
        assert!(visible.min[0] <= 0.0 && visible.min[1].abs() < 1e-9);
        assert!(visible.max[0] >= 1024.0 && (visible.max[1] - 768.0).abs() < 1e-9);
    }

    #[test]
    fn zoom_keeps_the_point_under_the_cursor() {
        let view = View::fit(IMAGE, [301.0, 200.0]);
        let cursor = pos2(100.0, 60.0);
        let before = CellMap::new(cell(), 1.5, &view).to_image(cursor);
        for zoom in [0.3, 1.0, 3.7, 40.0] {
            let map = CellMap::new(cell(), 1.5, &view.zoomed_about(before, zoom));
            // Snapping to whole screen pixels moves the picture by at most half a pixel.
            close(map.to_image(cursor), before, 0.5 / zoom + 1e-9);
        }
    }

    #[test]
    fn screen_and_image_positions_are_inverse() {
        let view = View {
            center_in_image: [500.5, 301.25],
            zoom: 2.5,
        };
        let map = CellMap::new(cell(), 2.0, &view);
        let point = [470.0, 299.0];
        close(map.to_image(map.to_ui(point)), point, 1e-3);
    }

    #[test]
    fn magnified_pictures_start_on_a_whole_pixel() {
        for zoom in [1.0, 1.5, 7.0] {
            let view = View {
                center_in_image: [500.37, 301.21],
                zoom,
            };
            let origin = CellMap::new(cell(), 1.25, &view).origin_px();
            close(origin.map(f64::fract).map(f64::abs), [0.0; 2], 1e-9);
        }
    }

    #[test]
    fn a_box_is_shown_with_its_margin() {
        let target = ImageBox {
            min: [400.0, 300.0],
            max: [500.0, 340.0],
        };
        let view = View::show_box(&target, 0.15, [300.0, 300.0]);
        close(view.center_in_image, [450.0, 320.0], 1e-9);
        assert!((view.zoom - 300.0 / 130.0).abs() < 1e-9);
    }

    #[test]
    fn panning_follows_the_drag() {
        let view = View {
            center_in_image: [100.0, 100.0],
            zoom: 4.0,
        };
        close(
            view.panned([8.0, -4.0]).center_in_image,
            [98.0, 101.0],
            1e-9,
        );
    }

    #[test]
    fn the_picture_is_never_lost() {
        let far = View {
            center_in_image: [-900.0, 5000.0],
            zoom: 1e9,
        }
        .clamped(IMAGE);
        assert_eq!(
            far,
            View {
                center_in_image: [0.0, 768.0],
                zoom: MAX_ZOOM
            }
        );
        let odd = View::fit(IMAGE, [100.0, 100.0]).zoomed_about([1.0, 1.0], f64::NAN);
        assert!(odd.zoom.is_finite());
    }

    #[test]
    fn framing_follows_the_cell_until_somebody_moves() {
        let small = Framing::Whole.view(IMAGE, [100.0, 100.0]);
        let large = Framing::Whole.view(IMAGE, [1000.0, 1000.0]);
        assert!((large.zoom / small.zoom - 10.0).abs() < 1e-9);
        let free = Framing::Free(small);
        assert_eq!(free.view(IMAGE, [1000.0, 1000.0]), small);
    }

    #[test]
    fn another_cell_shows_the_same_part() {
        let view = View {
            center_in_image: [10.0, 20.0],
            zoom: 2.0,
        };
        let other = view.in_another_cell([200.0, 100.0], [100.0, 100.0]);
        assert!((other.zoom - 1.0).abs() < 1e-9);
    }

    #[test]
    fn level_text_is_for_people() {
        let text = |zoom| {
            View {
                center_in_image: [0.0; 2],
                zoom,
            }
            .level_text()
        };
        assert_eq!(
            [text(2.4), text(1.0), text(0.063)],
            ["240 %", "100 %", "6.3 %"]
        );
    }
}
