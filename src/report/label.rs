//! Text and lines on a picture, in the font that is shipped with the program.

use ab_glyph::{Font as _, FontRef, GlyphId, PxScale, ScaleFont as _, point};
use image::{Rgb, RgbImage};

/// `DejaVu Sans`, whose licence stands beside it.
const FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");

/// Draws text.
pub struct Lettering {
    font: FontRef<'static>,
}

impl Lettering {
    /// The shipped font; `None` only if the program was built with a broken one.
    pub fn new() -> Option<Self> {
        let font = FontRef::try_from_slice(FONT).ok()?;
        Some(Self { font })
    }

    /// Width of a line in pixels.
    pub fn width(&self, text: &str, height_px: f32) -> u32 {
        let font = self.font.as_scaled(PxScale::from(height_px));
        let mut width = 0.0;
        let mut last: Option<GlyphId> = None;
        for c in text.chars() {
            let id = font.glyph_id(c);
            width += font.h_advance(id) + last.map_or(0.0, |last| font.kern(last, id));
            last = Some(id);
        }
        width.ceil() as u32
    }

    /// Draws a line whose box begins at `x`, `y`; what falls outside the picture is left out.
    pub fn draw(
        &self,
        image: &mut RgbImage,
        text: &str,
        at: (i64, i64),
        height_px: f32,
        ink: Rgb<u8>,
    ) {
        let font = self.font.as_scaled(PxScale::from(height_px));
        let (mut x, baseline) = (at.0 as f32, at.1 as f32 + font.ascent());
        let mut last: Option<GlyphId> = None;
        for c in text.chars() {
            let id = font.glyph_id(c);
            x += last.map_or(0.0, |last| font.kern(last, id));
            let glyph = id.with_scale_and_position(PxScale::from(height_px), point(x, baseline));
            x += font.h_advance(id);
            last = Some(id);
            let Some(outline) = self.font.outline_glyph(glyph) else {
                continue;
            };
            let bounds = outline.px_bounds();
            outline.draw(|dx, dy, coverage| {
                let px = i64::from(dx) + bounds.min.x as i64;
                let py = i64::from(dy) + bounds.min.y as i64;
                blend(image, px, py, ink, coverage);
            });
        }
    }

    /// Breaks text into lines of at most `max_px`, at spaces where there are some, and at most
    /// `max_lines` of them; the last one ends in `…` if there was more.
    pub fn wrap(&self, text: &str, height_px: f32, max_px: u32, max_lines: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            let joined = match lines.last() {
                Some(line) => format!("{line} {word}"),
                None => word.to_owned(),
            };
            if !lines.is_empty() && self.width(&joined, height_px) <= max_px {
                lines.pop();
                lines.push(joined);
            } else {
                lines.push(word.to_owned());
            }
        }
        let was_cut = lines.len() > max_lines;
        lines.truncate(max_lines);
        let count = lines.len();
        for (index, line) in lines.iter_mut().enumerate() {
            let must_end = was_cut && index + 1 == count;
            if must_end || self.width(line, height_px) > max_px {
                while !line.is_empty() && self.width(&format!("{line}…"), height_px) > max_px {
                    line.pop();
                }
                line.push('…');
            }
        }
        lines
    }
}

fn blend(image: &mut RgbImage, x: i64, y: i64, ink: Rgb<u8>, coverage: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
        return;
    };
    let Some(pixel) = image.get_pixel_mut_checked(x, y) else {
        return;
    };
    for (below, above) in pixel.0.iter_mut().zip(ink.0) {
        let mixed =
            f32::from(*below) + (f32::from(above) - f32::from(*below)) * coverage.clamp(0.0, 1.0);
        *below = mixed.round() as u8;
    }
}

/// A box in pixels: left, upper edge, width, height.
pub type Frame = (u32, u32, u32, u32);

/// Fills a box with one colour.
pub fn fill(image: &mut RgbImage, (x, y, width, height): Frame, colour: Rgb<u8>) {
    for row in y..y.saturating_add(height).min(image.height()) {
        for column in x..x.saturating_add(width).min(image.width()) {
            image.put_pixel(column, row, colour);
        }
    }
}

/// Draws the edge of a box, `thick` pixels inwards; dashed ones leave every other 6 pixels out.
pub fn outline(
    image: &mut RgbImage,
    (x, y, width, height): Frame,
    thick: u32,
    colour: Rgb<u8>,
    is_dashed: bool,
) {
    for row in 0..height {
        for column in 0..width {
            let on_side = column < thick || column + thick >= width;
            let on_end = row < thick || row + thick >= height;
            let along = if on_end { column } else { row };
            let drawn = (on_side || on_end) && !(is_dashed && along / 6 % 2 == 1);
            if drawn && x + column < image.width() && y + row < image.height() {
                image.put_pixel(x + column, y + row, colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn text_is_drawn_where_it_is_put_and_never_outside() {
        let lettering = Lettering::new().unwrap();
        let mut image = RgbImage::new(60, 20);
        lettering.draw(&mut image, "Q4_0 ★", (2, 2), 14.0, Rgb([255, 255, 255]));
        assert!(image.pixels().any(|pixel| pixel.0[0] > 200));
        lettering.draw(
            &mut image,
            "over the edge",
            (-30, -5),
            40.0,
            Rgb([255, 0, 0]),
        );
        assert_eq!(image.dimensions(), (60, 20));
    }

    #[test]
    fn long_text_is_broken_and_ends_in_an_ellipsis() {
        let lettering = Lettering::new().unwrap();
        let lines = lettering.wrap("CUDA error: out of memory while loading", 12.0, 90, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with('…'), "{lines:?}");
        for line in &lines {
            assert!(lettering.width(line, 12.0) <= 90, "{line}");
        }
        let one = lettering.wrap("averyveryverylongwordthatfitsnowhere", 12.0, 60, 3);
        assert!(
            one[0].ends_with('…') && lettering.width(&one[0], 12.0) <= 60,
            "{one:?}"
        );
    }
}
