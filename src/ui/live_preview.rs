//! The picture of the cell that is being made, as far as it is: small, drawn where it will be.

use super::canvas::CellMap;
use crate::state::run_view::{LiveRun, RunView};
use eframe::egui::{self, Color32, ColorImage, Rect, TextureHandle, TextureOptions, pos2, vec2};
use image::RgbImage;
use std::sync::Arc;

/// The preview that was uploaded last.
#[derive(Default)]
pub struct LivePreview {
    uploaded: Option<(Arc<RgbImage>, TextureHandle)>,
}

impl LivePreview {
    /// Draws the preview of a cell under way, if there is one, over the part of the photograph that the
    /// model is given. A new one is uploaded once.
    pub fn paint(
        &mut self,
        painter: &egui::Painter,
        rect: Rect,
        map: &CellMap,
        view: &RunView,
        live: &LiveRun,
    ) {
        let (Some(preview), Some(document)) = (&live.preview, view.run.document()) else {
            return;
        };
        let is_uploaded = |(known, _): &(Arc<RgbImage>, TextureHandle)| Arc::ptr_eq(known, preview);
        if !self.uploaded.as_ref().is_some_and(is_uploaded) {
            let (width, height) = preview.dimensions();
            let size = [width as usize, height as usize];
            let pixels = ColorImage::from_rgb(size, preview.as_raw());
            let options = TextureOptions::LINEAR;
            let texture = painter.ctx().load_texture("live preview", pixels, options);
            self.uploaded = Some((Arc::clone(preview), texture));
        }
        let Some((_, texture)) = &self.uploaded else {
            return;
        };
        let area = document.inference_box;
        let corner = |x: u32, y: u32| map.to_ui([f64::from(x), f64::from(y)]);
        let target = Rect::from_min_max(
            corner(area.x, area.y),
            corner(area.x + area.width, area.y + area.height),
        );
        let whole = Rect::from_min_size(pos2(0.0, 0.0), vec2(1.0, 1.0));
        painter
            .with_clip_rect(painter.clip_rect().intersect(rect))
            .image(texture.id(), target, whole, Color32::WHITE);
    }
}
