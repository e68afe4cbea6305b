//! Decoded pictures in memory: their mip chains, thumbnails and badges.
//!
//! Knows nothing of files, textures or the window. Runs on the loader's threads.

use super::shrink::{halved_even, shrunk};

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
        check_size(width, height, 4, rgba8.len())?;
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
        Self {
            width,
            height,
            rgba8: shrunk::<4>(&self.rgba8, [self.width, self.height], [width, height]),
        }
    }

    /// The level at most [`THUMBNAIL_PX`] on its longer side.
    #[must_use]
    pub fn thumbnail(&self) -> Self {
        let [width, height] = thumbnail_size([self.width, self.height]);
        self.shrunk(width, height)
    }
}

/// The size of a picture's thumbnail: at most [`THUMBNAIL_PX`] on the longer side, never enlarged.
fn thumbnail_size(size: [u32; 2]) -> [u32; 2] {
    let longer = size[0].max(size[1]);
    if longer <= THUMBNAIL_PX {
        return size;
    }
    size.map(|px| {
        let side = f64::from(px) * f64::from(THUMBNAIL_PX) / f64::from(longer);
        (side.round() as u32).max(1)
    })
}

/// What a decoder gives: 8 bits a channel, sRGB-encoded, rows from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Samples {
    /// Three bytes a pixel, opaque. Kept as they came, because most pictures are only shown small.
    Rgb8(Vec<u8>),
    /// Four bytes a pixel, straight alpha.
    Rgba8(Level),
}

/// A decoded picture at full size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedImage {
    size: [u32; 2],
    samples: Samples,
    badge: Option<Badge>,
}

impl DecodedImage {
    /// A picture from RGBA pixels with straight alpha.
    ///
    /// # Errors
    /// The sides are zero, or the bytes do not fill them.
    pub fn new(width: u32, height: u32, rgba8: Vec<u8>) -> Result<Self, String> {
        Ok(Self {
            size: [width, height],
            samples: Samples::Rgba8(Level::new(width, height, rgba8)?),
            badge: None,
        })
    }

    /// A picture from RGB pixels, without alpha.
    ///
    /// # Errors
    /// The sides are zero, or the bytes do not fill them.
    pub fn opaque(width: u32, height: u32, rgb8: Vec<u8>) -> Result<Self, String> {
        check_size(width, height, 3, rgb8.len())?;
        Ok(Self {
            size: [width, height],
            samples: Samples::Rgb8(rgb8),
            badge: None,
        })
    }

    /// The same picture with a remark on how it was read.
    #[must_use]
    pub fn with_badge(self, badge: Option<Badge>) -> Self {
        Self { badge, ..self }
    }

    /// The remark on how it was read.
    pub fn badge(&self) -> Option<&Badge> {
        self.badge.as_ref()
    }

    /// Bytes of its pixels.
    pub fn size_bytes(&self) -> u64 {
        match &self.samples {
            Samples::Rgb8(rgb8) => rgb8.len() as u64,
            Samples::Rgba8(level) => level.rgba8.len() as u64,
        }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> [u32; 2] {
        self.size
    }

    /// The picture at most [`THUMBNAIL_PX`] on its longer side.
    pub fn thumbnail(&self) -> Level {
        let to = thumbnail_size(self.size);
        match &self.samples {
            Samples::Rgba8(level) => level.thumbnail(),
            Samples::Rgb8(rgb8) => Level {
                width: to[0],
                height: to[1],
                rgba8: shrunk::<3>(rgb8, self.size, to),
            },
        }
    }

    /// The picture as the first level of a mip chain.
    pub fn into_level(self) -> Level {
        match self.samples {
            Samples::Rgba8(level) => level,
            Samples::Rgb8(rgb8) => Level {
                width: self.size[0],
                height: self.size[1],
                rgba8: with_full_alpha(&rgb8),
            },
        }
    }
}

fn with_full_alpha(rgb8: &[u8]) -> Vec<u8> {
    let mut rgba8 = vec![255; rgb8.len() / 3 * 4];
    let (mut from, mut to) = (0, 0);
    while from + 3 <= rgb8.len() {
        rgba8[to] = rgb8[from];
        rgba8[to + 1] = rgb8[from + 1];
        rgba8[to + 2] = rgb8[from + 2];
        from += 3;
        to += 4;
    }
    rgba8
}

fn check_size(width: u32, height: u32, channels: u64, bytes: usize) -> Result<(), String> {
    let expected = u64::from(width) * u64::from(height) * channels;
    if expected == 0 {
        return Err(format!("picture has no pixels: {width}x{height}"));
    }
    if bytes as u64 != expected {
        return Err(format!(
            "picture of {width}x{height} needs {expected} bytes but has {bytes}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mips_go_down_to_one_pixel_at_odd_sizes() -> Result<(), String> {
        let levels = Level::new(13, 5, vec![200; 13 * 5 * 4])?.with_mips();
        let sizes: Vec<_> = levels.iter().map(|l| (l.width, l.height)).collect();
        assert_eq!(sizes, [(13, 5), (6, 2), (3, 1), (1, 1)]);
        // A flat picture stays flat: no weight is lost at the odd edge.
        assert!(levels.iter().all(|l| l.rgba8.iter().all(|&b| b == 200)));
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
    fn transparent_pixels_do_not_bleed_their_colour() -> Result<(), String> {
        let level = Level::new(2, 1, vec![255, 0, 0, 0, 0, 255, 0, 255])?;
        let half = level.halved().ok_or("halved")?;
        assert_eq!(half.rgba8, [0, 255, 0, 128]);
        Ok(())
    }

    #[test]
    fn thumbnails_keep_the_shape() -> Result<(), String> {
        let thumbnail = DecodedImage::new(1000, 10, vec![7; 40_000])?.thumbnail();
        assert_eq!((thumbnail.width, thumbnail.height), (256, 3));
        let tiny = DecodedImage::new(3, 2, vec![7; 24])?.thumbnail();
        assert_eq!((tiny.width, tiny.height), (3, 2));
        Ok(())
    }

    #[test]
    fn bytes_that_do_not_fill_the_picture_are_refused() {
        assert!(DecodedImage::new(4, 4, vec![0; 3]).is_err());
        assert!(DecodedImage::new(0, 4, vec![]).is_err());
        assert!(DecodedImage::opaque(4, 4, vec![0; 4 * 4 * 4]).is_err());
    }

    #[test]
    fn a_picture_without_alpha_is_the_same_with_full_alpha() -> Result<(), String> {
        let rgb8: Vec<u8> = (0..300 * 200 * 3_u32)
            .map(|i| (i * 7 % 251) as u8)
            .collect();
        let opaque = DecodedImage::opaque(300, 200, rgb8.clone())?;
        let level = opaque.clone().into_level();
        assert_eq!(
            level.pixel(299, 199),
            Some([rgb8[179_997], rgb8[179_998], rgb8[179_999], 255])
        );
        let with_alpha = DecodedImage::new(300, 200, level.rgba8)?;
        assert_eq!(opaque.thumbnail(), with_alpha.thumbnail());
        Ok(())
    }
}
