//! Pictures too large for memory: a pyramid of tiles in a temporary file, read one tile at a time.
//!
//! Knows files and pixels, not textures. The file has no name after it was made and vanishes with the
//! last handle, also after a crash.

use std::{
    fs::File,
    io::{Error, ErrorKind, Read as _, Result, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::{pixels::Level, view::ImageBox};

/// Side of a tile without its border, in pixels of its level.
pub const TILE_PX: u32 = 512;
/// Pixels of its neighbours that a tile carries on each side, so that smoothing has no seams.
pub const TILE_BORDER_PX: u32 = 4;

const STORED_PX: u32 = TILE_PX + 2 * TILE_BORDER_PX;
const STORED_BYTES: usize = (STORED_PX * STORED_PX * 4) as usize;

/// One tile: its level (0 is full size), column and row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileKey {
    /// Level of the pyramid; each is half of the one before.
    pub level: u32,
    /// Column, from the left.
    pub column: u32,
    /// Row, from the top.
    pub row: u32,
}

/// Which tiles a picture of some size has, and where they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileGrid {
    /// Width and height of each level, in pixels.
    levels: Vec<[u32; 2]>,
}

impl TileGrid {
    /// The pyramid of a picture: levels are halved until one tile holds all.
    pub fn new(size: [u32; 2]) -> Self {
        let mut levels = vec![size];
        let mut last = size;
        while last[0].max(last[1]) > TILE_PX {
            last = last.map(|px| (px / 2).max(1));
            levels.push(last);
        }
        Self { levels }
    }

    /// Columns and rows of tiles in a level.
    pub fn tiles(&self, level: u32) -> [u32; 2] {
        self.levels
            .get(level as usize)
            .map_or([0, 0], |size| size.map(|px| px.div_ceil(TILE_PX)))
    }

    /// The coarsest level.
    pub fn last_level(&self) -> u32 {
        self.levels.len() as u32 - 1
    }

    /// The coarsest level that still has a pixel for each screen pixel, at that many pixels of the
    /// full picture per screen pixel.
    pub fn level_for(&self, texels_per_px: f64) -> u32 {
        let level = texels_per_px.max(1.0).log2() + 1e-6;
        (level.floor() as u32).min(self.last_level())
    }

    /// Pixels of the level per unit of image space, per axis.
    pub fn scale(&self, level: u32, size_in_image: [f64; 2]) -> [f64; 2] {
        let size = self.levels.get(level as usize).copied().unwrap_or([1, 1]);
        [0, 1].map(|i| f64::from(size[i]) / size_in_image[i])
    }

    /// What a tile covers of image space.
    pub fn covers(&self, key: TileKey, size_in_image: [f64; 2]) -> ImageBox {
        let size = self
            .levels
            .get(key.level as usize)
            .copied()
            .unwrap_or([1, 1]);
        let scale = self.scale(key.level, size_in_image);
        let at = [key.column, key.row];
        ImageBox {
            min: [0, 1].map(|i| f64::from(at[i] * TILE_PX) / scale[i]),
            max: [0, 1].map(|i| f64::from(((at[i] + 1) * TILE_PX).min(size[i])) / scale[i]),
        }
    }

    /// The tiles of a level that meet a part of image space, row by row.
    pub fn visible(&self, level: u32, part: &ImageBox, size_in_image: [f64; 2]) -> Vec<TileKey> {
        let scale = self.scale(level, size_in_image);
        let tiles = self.tiles(level);
        let range = |i: usize| {
            let tile = f64::from(TILE_PX);
            let first = (part.min[i] * scale[i] / tile).floor().max(0.0) as u32;
            let end = (part.max[i] * scale[i] / tile).ceil().max(0.0) as u32;
            first..end.min(tiles[i])
        };
        range(1)
            .flat_map(|row| range(0).map(move |column| TileKey { level, column, row }))
            .collect()
    }

    /// The tile of a coarser level that holds the middle of `key`.
    pub fn ancestor(&self, key: TileKey, level: u32) -> TileKey {
        let fine = self.scale(key.level, [1.0; 2]);
        let coarse = self.scale(level, [1.0; 2]);
        let tiles = self.tiles(level);
        let at = [key.column, key.row];
        let [column, row] = [0, 1].map(|i| {
            let middle = (f64::from(at[i]) + 0.5) * f64::from(TILE_PX) / fine[i] * coarse[i];
            ((middle / f64::from(TILE_PX)) as u32).min(tiles[i].saturating_sub(1))
        });
        TileKey { level, column, row }
    }

    fn index(&self, key: TileKey) -> Option<u64> {
        let tiles = self.tiles(key.level);
        if key.column >= tiles[0] || key.row >= tiles[1] {
            return None;
        }
        let count = |level| self.tiles(level).map(u64::from).iter().product::<u64>();
        let before: u64 = (0..key.level).map(count).sum();
        Some(before + u64::from(key.row) * u64::from(tiles[0]) + u64::from(key.column))
    }
}

/// A picture's pyramid on disk.
#[derive(Debug)]
pub struct TileFile {
    grid: TileGrid,
    file: Mutex<File>,
}

impl TileFile {
    /// Writes the whole pyramid of a picture, and answers its thumbnail too. The picture's memory is
    /// freed level by level.
    ///
    /// # Errors
    /// The temporary file cannot be made or written, for instance because the disk is full.
    pub fn write(picture: Level, folder: Option<&Path>) -> Result<(Self, Level)> {
        let grid = TileGrid::new([picture.width, picture.height]);
        let mut file = match folder {
            Some(folder) => {
                std::fs::create_dir_all(folder)?;
                tempfile::tempfile_in(folder)?
            }
            None => tempfile::tempfile()?,
        };
        let no_pixels = || Error::new(ErrorKind::InvalidData, "picture has no pixels");
        let mut level = picture;
        let mut tile = Vec::with_capacity(STORED_BYTES);
        for depth in 0..=grid.last_level() {
            let [columns, rows] = grid.tiles(depth);
            for row in 0..rows {
                for column in 0..columns {
                    tile.clear();
                    cut(&level, column, row, &mut tile);
                    file.write_all(&tile)?;
                }
            }
            if depth < grid.last_level() {
                level = level.halved().ok_or_else(no_pixels)?;
            }
        }
        let thumbnail = level.thumbnail();
        Ok((
            Self {
                grid,
                file: Mutex::new(file),
            },
            thumbnail,
        ))
    }

    /// Which tiles there are.
    pub fn grid(&self) -> &TileGrid {
        &self.grid
    }

    /// Bytes on disk.
    pub fn size_bytes(&self) -> u64 {
        let tiles = |level| {
            self.grid
                .tiles(level)
                .map(u64::from)
                .iter()
                .product::<u64>()
        };
        (0..=self.grid.last_level()).map(tiles).sum::<u64>() * STORED_BYTES as u64
    }

    /// Reads a tile with its border.
    ///
    /// # Errors
    /// There is no such tile, or the file cannot be read.
    pub fn read(&self, key: TileKey) -> Result<Level> {
        let index = self.grid.index(key).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("picture has no tile {key:?}"),
            )
        })?;
        let mut rgba8 = vec![0; STORED_BYTES];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(index * STORED_BYTES as u64))?;
        file.read_exact(&mut rgba8)?;
        Ok(Level {
            width: STORED_PX,
            height: STORED_PX,
            rgba8,
        })
    }
}

/// Copies a tile and its border; beyond the picture its edge is repeated.
fn cut(level: &Level, column: u32, row: u32, tile: &mut Vec<u8>) {
    let border = i64::from(TILE_BORDER_PX);
    let left = i64::from(column * TILE_PX) - border;
    let top = i64::from(row * TILE_PX) - border;
    let stride = level.width as usize * 4;
    for y in top..top + i64::from(STORED_PX) {
        let y = y.clamp(0, i64::from(level.height) - 1) as usize;
        let Some(line) = level.rgba8.get(y * stride..(y + 1) * stride) else {
            return;
        };
        let first = left.clamp(0, i64::from(level.width) - 1) as usize;
        let end = (left + i64::from(STORED_PX)).clamp(1, i64::from(level.width)) as usize;
        for _ in left..left.max(0).min(left + i64::from(STORED_PX)) {
            tile.extend_from_slice(&line[..4]);
        }
        tile.extend_from_slice(&line[first * 4..end * 4]);
        for _ in end as i64..left + i64::from(STORED_PX) {
            tile.extend_from_slice(&line[stride - 4..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> Vec<u8> {
        (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, (x >> 8) as u8, 255]))
            .collect()
    }

    #[test]
    fn a_16k_picture_has_a_pyramid_down_to_one_tile() {
        let grid = TileGrid::new([16_384, 16_384]);
        assert_eq!(grid.last_level(), 5);
        assert_eq!(grid.tiles(0), [32, 32]);
        assert_eq!(grid.tiles(5), [1, 1]);
    }

    #[test]
    fn only_the_tiles_in_sight_are_asked_for() {
        let grid = TileGrid::new([16_384, 16_384]);
        let size = [16_384.0; 2];
        let part = ImageBox {
            min: [1000.0, 2000.0],
            max: [1600.0, 2040.0],
        };
        let columns: Vec<_> = grid
            .visible(0, &part, size)
            .iter()
            .map(|t| (t.column, t.row))
            .collect();
        assert_eq!(columns, [(1, 3), (2, 3), (3, 3)]);
        assert_eq!(grid.visible(5, &ImageBox::whole(size), size).len(), 1);
        let outside = ImageBox {
            min: [-500.0, -500.0],
            max: [-1.0, -1.0],
        };
        assert!(grid.visible(0, &outside, size).is_empty());
    }

    #[test]
    fn the_level_has_a_pixel_for_each_screen_pixel() {
        let grid = TileGrid::new([16_384, 8_000]);
        let levels = [0.1, 1.0, 1.9, 2.0, 5.0, 1e9].map(|texels| grid.level_for(texels));
        assert_eq!(levels, [0, 0, 0, 1, 2, 5]);
    }

    #[test]
    fn neighbouring_tiles_meet_without_gap() {
        let grid = TileGrid::new([5001, 3003]);
        for level in 0..=grid.last_level() {
            let [columns, rows] = grid.tiles(level);
            for column in 1..columns {
                let size = [5001.0, 3003.0];
                let here = grid.covers(
                    TileKey {
                        level,
                        column,
                        row: rows - 1,
                    },
                    size,
                );
                let left = grid.covers(
                    TileKey {
                        level,
                        column: column - 1,
                        row: 0,
                    },
                    size,
                );
                assert_eq!(left.max[0].to_bits(), here.min[0].to_bits());
            }
            let last = TileKey {
                level,
                column: columns - 1,
                row: rows - 1,
            };
            let end = grid.covers(last, [5001.0, 3003.0]).max;
            assert!((end[0] - 5001.0).abs() < 1e-6 && (end[1] - 3003.0).abs() < 1e-6);
        }
    }

    #[test]
    fn tiles_come_back_with_their_border() -> Result<()> {
        let picture = Level::new(1030, 520, gradient(1030, 520)).map_err(Error::other)?;
        let (file, thumbnail) = TileFile::write(picture, None)?;
        assert_eq!((thumbnail.width, thumbnail.height), (256, 129));
        let tile = file.read(TileKey {
            level: 0,
            column: 1,
            row: 0,
        })?;
        // Column 1 starts at 512; its border at 508.
        assert_eq!(tile.pixel(0, 4), Some([508_u32 as u8, 0, 1, 255]));
        assert_eq!(tile.pixel(4, 14), Some([0, 10, 2, 255]));
        // Above the picture the first row is repeated.
        assert_eq!(tile.pixel(4, 0), tile.pixel(4, 4));
        let last = file.read(TileKey {
            level: 0,
            column: 2,
            row: 1,
        })?;
        assert_eq!(
            last.pixel(519, 519),
            Some([1029_u32 as u8, 519_u32 as u8, 4, 255])
        );
        assert!(
            file.read(TileKey {
                level: 0,
                column: 3,
                row: 0
            })
            .is_err()
        );
        Ok(())
    }
}
