//! Decoded pictures in memory: their mip chains, thumbnails and badges.
//!
//! Knows nothing of files, textures or the window. Runs on the loader's threads.

use std::sync::LazyLock;

/// Longest side of a thumbnail, in pixels.
pub const THUMBNAIL_PX: u32 = 256;

/// A remark on how a picture was read, drawn in its corner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// One or two words, such as `no profile`.
    pub label: String,
    /// A sentence that explains it.
    pub explanation: String,
}

/// One level of a picture: RGBA, 8 bits each, straight alpha, sRGB-encoded, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height * 4` bytes.
    pub rgba8: Vec<u8>,
}

impl Level {
    /// A level from its pixels.
    ///
    /// # Errors
    /// The sides are zero, or the bytes do not fill them.
    pub fn new(width: u32, height: u32, rgba8: Vec<u8>) -> Result<Self, String> {
        let expected = u64::from(width) * u64::from(height) * 4;
        if expected == 0 {
            return Err(format!("picture has no pixels: {width}x{height}"));
        }
        if rgba8.len() as u64 != expected {
            return Err(format!(
                "picture of {width}x{height} needs {expected} bytes but has {}",
                rgba8.len()
            ));
        }
        Ok(Self {
            width,
            height,
            rgba8,
        })
    }

    /// The pixel in column `x` and row `y`, or `None` outside.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 4]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let at = (y as usize * self.width as usize + x as usize) * 4;
        self.rgba8.get(at..at + 4)?.try_into().ok()
    }

    /// Half the size, averaged in linear light and weighted by alpha, or `None` at one pixel.
    ///
    /// A side of odd length is averaged over the part of the source that each pixel covers, so the
    /// picture does not shift.
    pub fn halved(&self) -> Option<Self> {
        if self.width == 1 && self.height == 1 {
            return None;
        }
        let (width, height) = ((self.width / 2).max(1), (self.height / 2).max(1));
        if self.width != 2 * width || self.height != 2 * height {
            return Some(self.shrunk(width, height));
        }
        Some(Self {
            width,
            height,
            rgba8: halved_even(&self.rgba8, width as usize),
        })
    }

    /// This level and all below it, down to one pixel.
    pub fn with_mips(self) -> Vec<Self> {
        let mut levels = vec![self];
        while let Some(next) = levels.last().and_then(Self::halved) {
            levels.push(next);
        }
        levels
    }

    /// The picture at a smaller size: every pixel is the average of the area it covers, in linear light.
    #[must_use]
    pub fn shrunk(&self, width: u32, height: u32) -> Self {
        let (width, height) = (width.clamp(1, self.width), height.clamp(1, self.height));
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let columns = spans(self.width, width);
        let rows = spans(self.height, height);
        let stride = self.width as usize * 4;
        let mut rgba8 = Vec::with_capacity(width as usize * height as usize * 4);
        // Sums of one target row: red, green, blue times alpha, and alpha.
        let mut sums = vec![0.0_f32; self.width as usize * 4];
        for row in &rows {
            sums.fill(0.0);
            for (i, weight) in row.weights.iter().enumerate() {
                let from = (row.first + i) * stride;
                let Some(source) = self.rgba8.get(from..from + stride) else {
                    continue;
                };
                add_row(&mut sums, source, *weight);
            }
            for column in &columns {
                let mut sum = [0.0_f32; 4];
                for (i, weight) in column.weights.iter().enumerate() {
                    let at = (column.first + i) * 4;
                    for (channel, total) in sum.iter_mut().enumerate() {
                        *total += weight * sums[at + channel];
                    }
                }
                rgba8.extend_from_slice(&averaged(sum));
            }
        }
        Self {
            width,
            height,
            rgba8,
        }
    }
}

/// Adds a row of pixels to sums of linear light times alpha, and of alpha.
///
/// Plain indices, because iterators are slow where the program is built without optimisation.
fn add_row(sums: &mut [f32], source: &[u8], weight: f32) {
    let linear: &[u16; 256] = &LINEAR;
    let count = sums.len().min(source.len()) / 4 * 4;
    let (sums, source) = (&mut sums[..count], &source[..count]);
    let mut i = 0;
    while i < count {
        let alpha = weight * f32::from(source[i + 3]);
        sums[i] += alpha * f32::from(linear[source[i] as usize]);
        sums[i + 1] += alpha * f32::from(linear[source[i + 1] as usize]);
        sums[i + 2] += alpha * f32::from(linear[source[i + 2] as usize]);
        sums[i + 3] += alpha;
        i += 4;
    }
}

/// A pixel from sums of linear light times alpha, and of alpha.
fn averaged(sum: [f32; 4]) -> [u8; 4] {
    if sum[3] <= 0.0 {
        return [0; 4];
    }
    let color = |c: f32| ENCODED[((c / sum[3] + 0.5) as usize).min(65_535)];
    [
        color(sum[0]),
        color(sum[1]),
        color(sum[2]),
        (sum[3] + 0.5) as u8,
    ]
}

/// Averages of two by two pixels; `width` is that of the result.
///
/// The work of every mip chain: whole numbers, tables and plain indices, so that it is also fast where
/// the program is built without optimisation.
fn halved_even(source: &[u8], width: usize) -> Vec<u8> {
    let linear: &[u16; 256] = &LINEAR;
    let encoded: &[u8] = &ENCODED;
    let stride = width * 8;
    let mut target = vec![0_u8; source.len() / 4];
    for (row, pair) in target
        .chunks_exact_mut(width * 4)
        .zip(source.chunks_exact(stride * 2))
    {
        let (top, bottom) = pair.split_at(stride);
        let mut x = 0;
        while x < width {
            let (to, from) = (x * 4, x * 8);
            let alpha = [
                top[from + 3],
                top[from + 7],
                bottom[from + 3],
                bottom[from + 7],
            ];
            let mut channel = 0;
            if alpha == [255; 4] {
                while channel < 3 {
                    let sum = u32::from(linear[top[from + channel] as usize])
                        + u32::from(linear[top[from + 4 + channel] as usize])
                        + u32::from(linear[bottom[from + channel] as usize])
                        + u32::from(linear[bottom[from + 4 + channel] as usize]);
                    row[to + channel] = encoded[((sum + 2) >> 2) as usize];
                    channel += 1;
                }
                row[to + 3] = 255;
            } else {
                let weights = alpha.map(u64::from);
                let total: u64 = weights.iter().sum();
                while channel < 3 && total > 0 {
                    let sum = weights[0] * u64::from(linear[top[from + channel] as usize])
                        + weights[1] * u64::from(linear[top[from + 4 + channel] as usize])
                        + weights[2] * u64::from(linear[bottom[from + channel] as usize])
                        + weights[3] * u64::from(linear[bottom[from + 4 + channel] as usize]);
                    row[to + channel] = encoded[((sum + total / 2) / total) as usize];
                    channel += 1;
                }
                row[to + 3] = ((total + 2) / 4) as u8;
            }
            x += 1;
        }
    }
    target
}

/// The source pixels that one target pixel covers along one axis; weights add up to 1.
struct Span {
    first: usize,
    weights: Vec<f32>,
}

fn spans(source: u32, target: u32) -> Vec<Span> {
    let step = f64::from(source) / f64::from(target);
    (0..target)
        .map(|i| {
            let from = f64::from(i) * step;
            let to = (f64::from(i + 1) * step).min(f64::from(source));
            let first = from.floor() as usize;
            let last = ((to - 1e-9).ceil() as usize).max(first + 1);
            let weights = (first..last)
                .map(|x| {
                    let covered = (to.min(x as f64 + 1.0) - from.max(x as f64)).max(0.0);
                    (covered / (to - from)) as f32
                })
                .collect();
            Span { first, weights }
        })
        .collect()
}

/// Linear light for each sRGB-encoded byte, 0 to 65,535.
static LINEAR: LazyLock<[u16; 256]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let c = i as f64 / 255.0;
        let linear = if c <= 0.040_45 {
            c / 12.92
        } else {
            ((c + 0.055) / 1.055).powf(2.4)
        };
        (linear * 65_535.0).round() as u16
    })
});

/// The sRGB-encoded byte for each step of linear light from 0 to 65,535.
static ENCODED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..=65_535_u32)
        .map(|i| {
            let c = f64::from(i) / 65_535.0;
            let encoded = if c <= 0.003_130_8 {
                c * 12.92
            } else {
                1.055 * c.powf(1.0 / 2.4) - 0.055
            };
            (encoded * 255.0).round() as u8
        })
        .collect()
});

/// A decoded picture with what the screen needs of it, all made off the window's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedImage {
    /// Every level from full size down to one pixel; the first is the picture as it is in the file.
    pub levels: Vec<Level>,
    /// A remark on how it was read.
    pub badge: Option<Badge>,
}

impl DecodedImage {
    /// A picture from its pixels, without mips: the loader adds what it needs with
    /// [`Self::with_mips`].
    ///
    /// # Errors
    /// The sides are zero, or the bytes do not fill them.
    pub fn new(width: u32, height: u32, rgba8: Vec<u8>) -> Result<Self, String> {
        Ok(Self {
            levels: vec![Level::new(width, height, rgba8)?],
            badge: None,
        })
    }

    /// The same picture with a badge.
    #[must_use]
    pub fn with_badge(self, badge: Option<Badge>) -> Self {
        Self { badge, ..self }
    }

    /// The same picture with its whole mip chain.
    #[must_use]
    pub fn with_mips(mut self) -> Self {
        self.levels.truncate(1);
        self.levels = self.levels.pop().map_or_else(Vec::new, Level::with_mips);
        self
    }

    /// Width and height at full size, in pixels.
    pub fn size(&self) -> [u32; 2] {
        self.levels
            .first()
            .map_or([0, 0], |level| [level.width, level.height])
    }

    /// A pixel at full size, or `None` outside.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 4]> {
        self.levels.first()?.pixel(x, y)
    }

    /// The picture at most [`THUMBNAIL_PX`] on its longer side.
    pub fn thumbnail(&self) -> Option<Level> {
        let [width, height] = self.size();
        let longer = width.max(height);
        if longer <= THUMBNAIL_PX {
            return self.levels.first().cloned();
        }
        let side = |px: u32| {
            ((f64::from(px) * f64::from(THUMBNAIL_PX) / f64::from(longer)).round() as u32).max(1)
        };
        // The smallest level that is still larger saves most of the work.
        let source = self
            .levels
            .iter()
            .rfind(|l| l.width.max(l.height) >= THUMBNAIL_PX)?;
        Some(source.shrunk(side(width), side(height)))
    }

    /// Bytes of all levels.
    pub fn size_bytes(&self) -> u64 {
        self.levels
            .iter()
            .map(|level| level.rgba8.len() as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mips_go_down_to_one_pixel_at_odd_sizes() -> Result<(), String> {
        let image = DecodedImage::new(13, 5, vec![200; 13 * 5 * 4])?.with_mips();
        let sizes: Vec<_> = image.levels.iter().map(|l| (l.width, l.height)).collect();
        assert_eq!(sizes, [(13, 5), (6, 2), (3, 1), (1, 1)]);
        // A flat picture stays flat: no weight is lost at the odd edge.
        assert!(
            image
                .levels
                .iter()
                .all(|l| l.rgba8.iter().all(|&b| b == 200))
        );
        Ok(())
    }

    #[test]
    fn averages_are_taken_in_linear_light() -> Result<(), String> {
        let level = Level::new(2, 1, vec![0, 0, 0, 255, 255, 255, 255, 255])?;
        let half = level.halved().ok_or("halved")?;
        assert_eq!(half.rgba8, [188, 188, 188, 255]);
        Ok(())
    }

    #[test]
    fn both_ways_to_halve_agree() -> Result<(), String> {
        let rgba8: Vec<u8> = (0..48 * 20 * 4_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let level = Level::new(48, 20, rgba8)?;
        let fast = level.halved().ok_or("halved")?;
        let exact = level.shrunk(24, 10);
        let most = fast
            .rgba8
            .iter()
            .zip(&exact.rgba8)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(most <= Some(1), "{most:?}");
        Ok(())
    }

    #[test]
    fn transparent_pixels_do_not_bleed_their_colour() -> Result<(), String> {
        let level = Level::new(2, 1, vec![255, 0, 0, 0, 0, 255, 0, 255])?;
        let half = level.halved().ok_or("halved")?;
        assert_eq!(half.rgba8, [0, 255, 0, 128]);
        Ok(())
    }

    #[test]
    fn every_encoded_byte_survives_the_way_through_linear_light() {
        for byte in 0..=255_u8 {
            assert_eq!(ENCODED[LINEAR[byte as usize] as usize], byte);
        }
    }

    #[test]
    fn thumbnails_keep_the_shape() -> Result<(), String> {
        let image = DecodedImage::new(1000, 10, vec![7; 40_000])?.with_mips();
        let thumbnail = image.thumbnail().ok_or("thumbnail")?;
        assert_eq!((thumbnail.width, thumbnail.height), (256, 3));
        let tiny = DecodedImage::new(3, 2, vec![7; 24])?
            .thumbnail()
            .ok_or("thumbnail")?;
        assert_eq!((tiny.width, tiny.height), (3, 2));
        Ok(())
    }

    #[test]
    fn bytes_that_do_not_fill_the_picture_are_refused() {
        assert!(DecodedImage::new(4, 4, vec![0; 3]).is_err());
        assert!(DecodedImage::new(0, 4, vec![]).is_err());
    }
}
