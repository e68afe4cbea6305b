//! Pictures on the GPU under a byte budget: what is on screen comes first and stays, the rest goes.
//!
//! Thumbnails for everything, full size for what is looked at, tiles for what is too large. Decides
//! what to load, upload and evict; decoding is the loader's, drawing the painter's.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

mod budget;
mod fields;
mod uploads;

use self::uploads::Upload;
pub use self::{
    budget::MemoryUse,
    fields::{DistanceField, FieldId, RawMask},
};
use super::{
    CanvasOptions,
    gpu::{Gpu, GpuTexture},
    loader::{Ahead, Detail, ImageSource, Job, Loaded, Loader, Outcome, Task},
    paint::Patch,
    pixels::{Badge, Level, THUMBNAIL_PX},
    tiles::{TILE_BORDER_PX, TILE_PX, TileFile, TileGrid, TileKey},
    view::{CellMap, ImageBox},
};

/// A picture that the canvas knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(u32);

impl ImageId {
    #[cfg(test)]
    pub(super) const FIRST: Self = Self(0);
}

/// How far a picture has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageStatus<'a> {
    /// Nothing can be shown yet.
    Waiting,
    /// There is something to show; it sharpens by itself where needed.
    Shown,
    /// It cannot be read: the reason.
    Failed(&'a str),
}

/// Why a picture is wanted; the first is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    Visible,
    Preload,
}

struct Tile {
    texture: GpuTexture,
    last_used: u64,
}

struct TileSet {
    file: Arc<TileFile>,
    present: BTreeMap<TileKey, Tile>,
    /// Tiles that could not be read: not asked for again.
    broken: Vec<TileKey>,
    wanted: Vec<(Priority, TileKey)>,
    /// The full-size tile under the cursor, in main memory.
    pixels: Option<(TileKey, Level)>,
    pixels_wanted: Option<TileKey>,
}

struct Entry {
    /// `None` once released.
    source: Option<ImageSource>,
    generation: u64,
    size: Option<[u32; 2]>,
    badge: Option<Badge>,
    failure: Option<String>,
    thumbnail: Option<GpuTexture>,
    full: Option<GpuTexture>,
    pixels: Option<Level>,
    tiles: Option<TileSet>,
    wanted: Option<(Priority, Detail)>,
    are_pixels_wanted: bool,
    last_used: u64,
}

impl Entry {
    fn new(source: Option<ImageSource>, generation: u64) -> Self {
        Self {
            source,
            generation,
            size: None,
            badge: None,
            failure: None,
            thumbnail: None,
            full: None,
            pixels: None,
            tiles: None,
            wanted: None,
            are_pixels_wanted: false,
            last_used: 0,
        }
    }
}

type WantKey = (ImageId, u64, Option<TileKey>, Option<Detail>);

/// All pictures of one window.
pub(super) struct TextureStore {
    gpu: Option<Gpu>,
    loader: Loader,
    by_source: HashMap<ImageSource, ImageId>,
    entries: Vec<Entry>,
    fields: BTreeMap<FieldId, (GpuTexture, u64)>,
    uploads: VecDeque<Upload>,
    frame: u64,
    budget_bytes: u64,
    upload_bytes_per_frame: u64,
    max_whole_px: u32,
    tile_disk_bytes: u64,
    sent_wants: Vec<WantKey>,
    has_news: bool,
    /// Results may still wait in the workers' channel because this frame had enough.
    has_more: bool,
    /// Bytes that the last frame drew and that cannot be given up.
    committed: u64,
    use_now: MemoryUse,
}

impl TextureStore {
    pub fn new(gpu: Option<Gpu>, loader: Loader, options: &CanvasOptions) -> Self {
        Self {
            gpu,
            loader,
            by_source: HashMap::new(),
            entries: Vec::new(),
            fields: BTreeMap::new(),
            uploads: VecDeque::new(),
            frame: 1,
            budget_bytes: options.budget_bytes,
            upload_bytes_per_frame: options.upload_bytes_per_frame.max(64 << 10),
            max_whole_px: options.max_whole_px,
            tile_disk_bytes: options.tile_disk_bytes,
            sent_wants: Vec::new(),
            has_news: false,
            has_more: false,
            committed: 0,
            use_now: MemoryUse::default(),
        }
    }

    pub fn set_budget_bytes(&mut self, budget_bytes: u64) {
        self.budget_bytes = budget_bytes;
    }

    /// The picture for a source; the same one for equal sources.
    pub fn image(&mut self, source: &ImageSource) -> ImageId {
        if let Some(id) = self.by_source.get(source) {
            return *id;
        }
        let id = ImageId(self.entries.len() as u32);
        self.entries.push(Entry::new(Some(source.clone()), 0));
        self.by_source.insert(source.clone(), id);
        id
    }

    /// Forgets what was loaded and starts again, for a file that has changed.
    pub fn reload(&mut self, id: ImageId) {
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            *entry = Entry::new(entry.source.take(), entry.generation + 1);
        }
    }

    /// Gives back all memory of a picture that is not needed any more.
    pub fn release(&mut self, id: ImageId) {
        if let Some(entry) = self.entries.get_mut(id.0 as usize) {
            if let Some(source) = &entry.source {
                self.by_source.remove(source);
            }
            *entry = Entry::new(None, entry.generation + 1);
        }
    }

    pub fn status(&self, id: ImageId) -> ImageStatus<'_> {
        match self.entries.get(id.0 as usize) {
            Some(Entry {
                failure: Some(reason),
                ..
            }) => ImageStatus::Failed(reason),
            Some(entry) if entry.thumbnail.is_some() || entry.full.is_some() => ImageStatus::Shown,
            // Without a GPU nothing is drawn, but what is readable is told from what is not.
            Some(entry) if self.gpu.is_none() && entry.size.is_some() => ImageStatus::Shown,
            _ => ImageStatus::Waiting,
        }
    }

    /// True if what the last frame asked of this picture is there at the detail it asked for.
    pub fn is_sharp(&self, id: ImageId) -> bool {
        self.entries
            .get(id.0 as usize)
            .is_some_and(|entry| match (&entry.tiles, entry.wanted) {
                (Some(set), Some((_, Detail::Full))) => {
                    !set.wanted.is_empty()
                        && set
                            .wanted
                            .iter()
                            .all(|(_, key)| set.present.contains_key(key))
                }
                (None, Some((_, Detail::Full))) => entry.full.is_some(),
                _ => entry.thumbnail.is_some(),
            })
    }

    pub fn size(&self, id: ImageId) -> Option<[u32; 2]> {
        self.entries.get(id.0 as usize)?.size
    }

    pub fn badge(&self, id: ImageId) -> Option<&Badge> {
        self.entries.get(id.0 as usize)?.badge.as_ref()
    }

    /// The value of a pixel at full size; asks for it and answers `None` until it is there.
    pub fn read_pixel(&mut self, id: ImageId, x: u32, y: u32) -> Option<[u8; 4]> {
        let frame = self.frame;
        let entry = self.entries.get_mut(id.0 as usize)?;
        let [width, height] = entry.size?;
        if x >= width || y >= height {
            return None;
        }
        entry.last_used = frame;
        if let Some(set) = &mut entry.tiles {
            let key = TileKey {
                level: 0,
                column: x / TILE_PX,
                row: y / TILE_PX,
            };
            if let Some((at, level)) = &set.pixels
                && *at == key
            {
                return level.pixel(x % TILE_PX + TILE_BORDER_PX, y % TILE_PX + TILE_BORDER_PX);
            }
            set.pixels_wanted = Some(key);
            return None;
        }
        if let Some(pixels) = &entry.pixels {
            return pixels.pixel(x, y);
        }
        entry.are_pixels_wanted = true;
        None
    }

    pub fn memory(&self) -> MemoryUse {
        self.use_now
    }

    /// What decodes pictures before they are asked for.
    pub fn ahead(&self) -> Ahead {
        self.loader.ahead()
    }

    /// True while something that was asked for is still on its way.
    pub fn is_busy(&self) -> bool {
        !self.uploads.is_empty() || self.loader.is_busy()
    }

    /// Takes what the workers have, uploads a frame's share, and evicts.
    pub fn begin_frame(&mut self) {
        self.frame += 1;
        for entry in &mut self.entries {
            entry.wanted = None;
            entry.are_pixels_wanted = false;
            if let Some(set) = &mut entry.tiles {
                set.wanted.clear();
                set.pixels_wanted = None;
            }
        }
        self.has_more = true;
        while self.uploads.iter().map(Upload::size_bytes).sum::<u64>() < self.upload_bytes_per_frame
        {
            let Some(loaded) = self.loader.take() else {
                self.has_more = false;
                break;
            };
            self.has_news = true;
            self.receive(loaded);
        }
        self.upload();
    }

    /// Sends off what this frame asked for; true if there is more to draw soon.
    pub fn end_frame(&mut self) -> bool {
        self.evict();
        self.committed = self.in_use();
        let wants = self.wants();
        if self.has_news || wants != self.sent_wants {
            self.has_news = false;
            let jobs = wants.iter().filter_map(|want| self.job(*want)).collect();
            self.loader.want(jobs);
            self.sent_wants = wants;
        }
        self.has_more || !self.uploads.is_empty()
    }

    /// The thumbnail of a picture over all of image space. Two pictures that are compared are drawn from
    /// the same kind of texture: a thumbnail and a mip level are not averaged alike, and would differ where
    /// the pictures do not.
    pub fn thumbnail(&self, id: ImageId, size_in_image: [f64; 2]) -> Option<Patch> {
        let texture = self.entries.get(id.0 as usize)?.thumbnail.as_ref()?;
        Some(Patch::whole(texture.clone(), size_in_image, false))
    }

    /// [`Self::patches`] of a picture that lies in a part of image space.
    pub fn patches_in(
        &mut self,
        id: ImageId,
        place: &ImageBox,
        map: &CellMap,
        priority: Priority,
    ) -> Vec<Patch> {
        let patches = self.patches(id, place.size(), &map.seen_from(place.min), priority);
        patches
            .into_iter()
            .map(|patch| patch.moved_to(place.min))
            .collect()
    }

    /// The textures that cover what a cell shows of a picture, best first available, and marks them as
    /// wanted. Empty until anything is there.
    pub fn patches(
        &mut self,
        id: ImageId,
        size_in_image: [f64; 2],
        map: &CellMap,
        priority: Priority,
    ) -> Vec<Patch> {
        let frame = self.frame;
        let Some(entry) = self.entries.get_mut(id.0 as usize) else {
            return Vec::new();
        };
        entry.last_used = frame;
        // Until its size is known, a picture is taken to fill image space pixel by pixel.
        let size = entry.size.map_or(size_in_image, |size| size.map(f64::from));
        let longer = size[0].max(size[1]);
        let texels_per_px =
            (size[0] / size_in_image[0]).max(size[1] / size_in_image[1]) / map.zoom();
        let thumbnail_px = f64::from(THUMBNAIL_PX);
        let needs_full = longer > thumbnail_px && longer / texels_per_px > thumbnail_px;
        let detail = if needs_full {
            Detail::Full
        } else {
            Detail::Thumbnail
        };
        entry.wanted = Some(match entry.wanted {
            Some((p, d)) => (p.min(priority), d.max(detail)),
            None => (priority, detail),
        });
        let is_thumbnail_final = longer <= thumbnail_px;
        let thumbnail = entry
            .thumbnail
            .as_ref()
            .map(|texture| Patch::whole(texture.clone(), size_in_image, is_thumbnail_final));
        if let Some(full) = &entry.full {
            // A full texture that happens to be there is sharper than a thumbnail.
            return vec![Patch::whole(full.clone(), size_in_image, true)];
        }
        let Some(set) = &mut entry.tiles else {
            return thumbnail.into_iter().collect();
        };
        if !needs_full {
            return thumbnail.into_iter().collect();
        }
        let grid = set.file.grid().clone();
        let level = grid.level_for(texels_per_px);
        let mut patches = Vec::new();
        for key in grid.visible(level, &map.visible(), size_in_image) {
            if !set.wanted.contains(&(priority, key)) {
                set.wanted.push((priority, key));
            }
            // The tile, or the sharpest coarser one that is there, or the thumbnail.
            let found = (level..=grid.last_level())
                .map(|level| {
                    if level == key.level {
                        key
                    } else {
                        grid.ancestor(key, level)
                    }
                })
                .find(|candidate| set.present.contains_key(candidate));
            let covers = grid.covers(key, size_in_image);
            if let Some(found) = found
                && let Some(tile) = set.present.get_mut(&found)
            {
                tile.last_used = frame;
                patches.push(Patch {
                    texture: tile.texture.clone(),
                    covers,
                    texels: tile_texels(&grid, found, size_in_image),
                    is_final: found.level == 0,
                });
            } else if let Some(thumbnail) = &thumbnail {
                patches.push(Patch {
                    covers,
                    ..thumbnail.clone()
                });
            }
        }
        patches
    }
}

fn tile_texels(grid: &TileGrid, key: TileKey, size_in_image: [f64; 2]) -> [[f64; 2]; 2] {
    let scale = grid.scale(key.level, size_in_image);
    let at = [key.column, key.row];
    [0, 1].map(|i| {
        let offset = f64::from(TILE_BORDER_PX) - f64::from(at[i]) * f64::from(TILE_PX);
        [scale[i], offset]
    })
}
