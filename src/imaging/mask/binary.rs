//! A binary mask, one bit a pixel; knows nothing of what is done to it.

use image::GrayImage;
use rayon::prelude::*;

use crate::imaging::ImagingError;

/// Pixels in one word of a row.
pub(super) const WORD: usize = u64::BITS as usize;

/// A binary mask: white pixels are repainted. One bit a pixel, rows padded to whole words with
/// black, so that a megapixel takes 128 KiB and set operations cost microseconds.
#[derive(Clone, PartialEq, Eq)]
pub struct BinaryMask {
    width: u32,
    height: u32,
    words_per_row: usize,
    /// Row by row, the leftmost pixel in the lowest bit; bits right of `width` are always 0.
    words: Vec<u64>,
}

impl std::fmt::Debug for BinaryMask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "BinaryMask({}x{}, {} white)",
            self.width,
            self.height,
            self.white_px()
        )
    }
}

/// A rectangle of pixels with at least one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PixelBox {
    /// Leftmost column.
    pub x: u32,
    /// Topmost row.
    pub y: u32,
    /// Columns, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
}

impl PixelBox {
    /// The whole of a picture of this size in pixels.
    pub const fn whole(width: u32, height: u32) -> Self {
        Self {
            x: 0,
            y: 0,
            width,
            height,
        }
    }

    /// The first column right of the box.
    pub const fn right(&self) -> u32 {
        self.x + self.width
    }

    /// The first row below the box.
    pub const fn bottom(&self) -> u32 {
        self.y + self.height
    }
}

impl BinaryMask {
    /// An all-black mask of this size in pixels.
    pub fn black(width: u32, height: u32) -> Self {
        let words_per_row = (width as usize).div_ceil(WORD);
        Self {
            width,
            height,
            words_per_row,
            words: vec![0; words_per_row * height as usize],
        }
    }

    /// White where grey ≥ `threshold`.
    pub fn from_grey(grey: &GrayImage, threshold: u8) -> Self {
        let mut mask = Self::black(grey.width(), grey.height());
        let width = mask.width as usize;
        if width == 0 {
            return mask;
        }
        mask.words
            .par_chunks_mut(mask.words_per_row)
            .zip(grey.as_raw().par_chunks(width))
            .for_each(|(words, greys)| {
                for (word, greys) in words.iter_mut().zip(greys.chunks(WORD)) {
                    *word = pack(greys, |grey| grey >= threshold);
                }
            });
        mask
    }

    /// White where `is_white` says so for column and row.
    pub fn from_fn(width: u32, height: u32, is_white: impl Fn(u32, u32) -> bool) -> Self {
        let mut mask = Self::black(width, height);
        for y in 0..height {
            for x in 0..width {
                mask.set(x, y, is_white(x, y));
            }
        }
        mask
    }

    /// Pixels across.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Pixels down.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Width and height in pixels.
    pub const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Whether a pixel is white; pixels outside are not.
    pub fn is_white(&self, x: u32, y: u32) -> bool {
        if x >= self.width || y >= self.height {
            return false;
        }
        let (index, bit) = self.place(x, y);
        self.words
            .get(index)
            .is_some_and(|word| word >> bit & 1 == 1)
    }

    /// Paints one pixel; outside it does nothing.
    pub fn set(&mut self, x: u32, y: u32, white: bool) {
        if x >= self.width || y >= self.height {
            return;
        }
        let (index, bit) = self.place(x, y);
        if let Some(word) = self.words.get_mut(index) {
            *word = *word & !(1 << bit) | u64::from(white) << bit;
        }
    }

    fn place(&self, x: u32, y: u32) -> (usize, u32) {
        (
            y as usize * self.words_per_row + x as usize / WORD,
            x % u64::BITS,
        )
    }

    /// White pixels.
    pub fn white_px(&self) -> u64 {
        self.words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// Whether no pixel is white.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// White part of the picture, 0 to 1; 0 for a mask without pixels.
    pub fn coverage(&self) -> f64 {
        let pixels = u64::from(self.width) * u64::from(self.height);
        if pixels == 0 {
            0.0
        } else {
            self.white_px() as f64 / pixels as f64
        }
    }

    /// The smallest box around the white pixels, if there are any.
    pub fn bounding_box(&self) -> Option<PixelBox> {
        if self.words_per_row == 0 {
            return None;
        }
        let mut columns = vec![0_u64; self.words_per_row];
        let (mut top, mut bottom) = (None, 0);
        for (y, row) in (0..self.height).zip(self.words.chunks_exact(self.words_per_row)) {
            if row.iter().any(|&word| word != 0) {
                top.get_or_insert(y);
                bottom = y;
                columns
                    .iter_mut()
                    .zip(row)
                    .for_each(|(column, word)| *column |= word);
            }
        }
        let top = top?;
        let first = columns.iter().position(|&word| word != 0)?;
        let last = columns.iter().rposition(|&word| word != 0)?;
        let left = (first * WORD) as u32 + columns.get(first)?.trailing_zeros();
        let right = (last * WORD) as u32 + 63 - columns.get(last)?.leading_zeros();
        Some(PixelBox {
            x: left,
            y: top,
            width: right - left + 1,
            height: bottom - top + 1,
        })
    }

    /// White where either mask is.
    ///
    /// # Errors
    /// When the sizes differ; so for the other set operations.
    pub fn union(&self, other: &Self) -> Result<Self, ImagingError> {
        self.combined(other, |a, b| a | b)
    }

    /// White where both masks are.
    ///
    /// # Errors
    /// When the sizes differ.
    pub fn intersection(&self, other: &Self) -> Result<Self, ImagingError> {
        self.combined(other, |a, b| a & b)
    }

    /// White where this mask is and the other is not.
    ///
    /// # Errors
    /// When the sizes differ.
    pub fn without(&self, other: &Self) -> Result<Self, ImagingError> {
        self.combined(other, |a, b| a & !b)
    }

    /// Black and white exchanged.
    #[must_use]
    pub fn inverted(&self) -> Self {
        let mut mask = self.clone();
        mask.words.iter_mut().for_each(|word| *word = !*word);
        mask.clear_padding();
        mask
    }

    /// Whether all white pixels of this mask are white in the other.
    pub fn is_within(&self, other: &Self) -> bool {
        self.size() == other.size()
            && self
                .words
                .iter()
                .zip(&other.words)
                .all(|(a, b)| a & !b == 0)
    }

    /// Pixels that are white here and not in the other mask; both must be of one size.
    pub(super) fn white_px_without(&self, other: &Self) -> u64 {
        debug_assert_eq!(self.size(), other.size());
        let pairs = self.words.iter().zip(&other.words);
        pairs.map(|(a, b)| u64::from((a & !b).count_ones())).sum()
    }

    fn combined(&self, other: &Self, op: fn(u64, u64) -> u64) -> Result<Self, ImagingError> {
        if self.size() != other.size() {
            return Err(ImagingError::SizeMismatch {
                what: "mask",
                found: other.size(),
                expected: self.size(),
            });
        }
        let words = self
            .words
            .iter()
            .zip(&other.words)
            .map(|(&a, &b)| op(a, b))
            .collect();
        Ok(Self { words, ..*self })
    }

    /// Grey pixels: white is 255, black 0.
    pub fn to_grey(&self) -> GrayImage {
        let width = self.width as usize;
        let mut greys = vec![0_u8; width * self.height as usize];
        if width > 0 {
            greys
                .par_chunks_mut(width)
                .zip(self.words.par_chunks(self.words_per_row))
                .for_each(|(greys, words)| {
                    for (greys, &word) in greys.chunks_mut(WORD).zip(words) {
                        unpack(word, greys);
                    }
                });
        }
        GrayImage::from_raw(self.width, self.height, greys)
            .unwrap_or_else(|| GrayImage::new(self.width, self.height))
    }

    /// The part inside a box, which must lie within the mask.
    #[must_use]
    pub fn cropped(&self, to: PixelBox) -> Self {
        Self::from_fn(to.width, to.height, |x, y| {
            self.is_white(x + to.x, y + to.y)
        })
    }

    pub(super) const fn words_per_row(&self) -> usize {
        self.words_per_row
    }

    /// For writers inside this folder; they call [`BinaryMask::clear_padding`] when they may have
    /// written beyond the width.
    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// One row's words.
    pub(super) fn row(&self, y: usize) -> &[u64] {
        let start = y * self.words_per_row;
        self.words
            .get(start..start + self.words_per_row)
            .unwrap_or(&[])
    }

    pub(super) fn clear_padding(&mut self) {
        let spare = self.words_per_row * WORD - self.width as usize;
        if spare > 0 {
            let keep = u64::MAX >> spare;
            for row in self.words.chunks_exact_mut(self.words_per_row) {
                if let Some(last) = row.last_mut() {
                    *last &= keep;
                }
            }
        }
    }
}

/// Up to 64 values to one word, the first in the lowest bit.
pub(super) fn pack<T: Copy>(values: &[T], is_white: impl Fn(T) -> bool) -> u64 {
    // Bytes first: the compiler turns the comparison into vector code, and the multiplication
    // gathers the lowest bit of eight bytes at once.
    let mut bytes = [0_u8; WORD];
    for (byte, &value) in bytes.iter_mut().zip(values) {
        *byte = u8::from(is_white(value));
    }
    let mut word = 0;
    for (index, eight) in bytes.as_chunks::<8>().0.iter().enumerate() {
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word |= gathered << (index * 8);
    }
    word
}

/// One word to up to 64 greys of 0 and 255.
fn unpack(word: u64, greys: &mut [u8]) {
    match word {
        0 => greys.fill(0),
        u64::MAX => greys.fill(255),
        _ => {
            for (bit, grey) in greys.iter_mut().enumerate() {
                *grey = if word >> bit & 1 == 1 { 255 } else { 0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn grey_to_mask_and_back_keeps_every_pixel_at_odd_widths() {
        for width in [1, 63, 64, 65, 131] {
            let grey = GrayImage::from_fn(width, 5, |x, y| image::Luma([(x * 37 + y * 91) as u8]));
            let mask = BinaryMask::from_grey(&grey, 128);
            for (x, y, pixel) in grey.enumerate_pixels() {
                assert_eq!(mask.is_white(x, y), pixel.0[0] >= 128, "{width}: {x},{y}");
            }
            assert_eq!(BinaryMask::from_grey(&mask.to_grey(), 1), mask);
            let black = u64::from(width) * 5 - mask.white_px();
            assert_eq!(mask.inverted().white_px(), black);
        }
    }

    #[test]
    fn the_box_is_tight_and_absent_for_black() {
        let mut mask = BinaryMask::black(200, 90);
        assert_eq!(mask.bounding_box(), None);
        mask.set(66, 7, true);
        mask.set(130, 50, true);
        let expected = PixelBox {
            x: 66,
            y: 7,
            width: 65,
            height: 44,
        };
        assert_eq!(mask.bounding_box(), Some(expected));
    }

    #[test]
    fn masks_of_two_sizes_do_not_combine() {
        let error = BinaryMask::black(4, 4)
            .union(&BinaryMask::black(5, 4))
            .unwrap_err();
        assert_eq!(error.to_string(), "mask is 5x4 but 4x4 was expected");
    }
}
