//! Pictures on the GPU under a byte budget: what is on screen comes first and stays, the rest goes.
//!
//! Thumbnails for everything, full size for what is looked at, tiles for what is too large. Decides
//! what to load, upload and evict; decoding is the loader's, drawing the painter's.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use super::{
    CanvasOptions,
    gpu::{Gpu, GpuTexture},
    loader::{Detail, ImageSource, Job, Loaded, Loader, Outcome, Task},
    paint::Patch,
    pixels::{Badge, Level},
    tiles::{TILE_BORDER_PX, TILE_PX, TileFile, TileGrid, TileKey},
    view::CellMap,
};

/// A picture that the canvas knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(u32);

impl ImageId {
    #[cfg(test)]
    pub(super) const FIRST: Self = Self(0);
}

/// A distance field that the canvas knows; chosen by the caller, such as one per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u64);

/// Distances to a cleaned mask at inference size, from which the shader grows it.
#[derive(Clone, Copy, Debug)]
pub struct DistanceField<'a> {
    /// Width and height at inference size, in pixels.
    pub size: [u32; 2],
    /// For each pixel, rows from the top: the Euclidean distance from its centre to the centre of the
    /// nearest pixel of the cleaned mask, in pixels; 0 on the mask. Negative is on the mask too.
    pub distance_px: &'a [f32],
    /// The mask before clean-up, for [`super::Overlay::Change`]; `None` where it does not matter.
    pub raw: Option<&'a [RawMask]>,
}

/// What a pixel was before clean-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RawMask {
    /// Not masked.
    #[default]
    Off,
    /// Masked.
    On,
    /// Masked, in a component so small that clean-up drops it.
    Speck,
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

/// Bytes that the store holds, by what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Small textures.
    pub thumbnails: u64,
    /// Full-size textures with mips.
    pub full: u64,
    /// Tiles of large pictures.
    pub tiles: u64,
    /// Copies in main memory for reading single pixels.
    pub pixels: u64,
    /// Distance fields.
    pub fields: u64,
    /// Decoded and waiting for their upload.
    pub pending: u64,
}

impl MemoryUse {
    /// All of it, in bytes.
    pub fn total(&self) -> u64 {
        self.thumbnails + self.full + self.tiles + self.pixels + self.fields + self.pending
    }
}

/// Why a picture is wanted; the first is served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    Visible,
    Preload,
}

/// Background thumbnails are fetched while the budget is filled less than this.
const BACKGROUND_SHARE: f64 = 0.75;
/// Background thumbnails that are queued at a time.
const BACKGROUND_JOBS: usize = 32;

/// What a picture is taken to be before it was read.
const LIKELY_SIZE: [u32; 2] = [1024, 1024];

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Thumbnail,
    Full,
    Tile(TileKey),
}

/// A texture on its way to the GPU, some rows per frame.
struct Upload {
    id: ImageId,
    generation: u64,
    place: Place,
    texture: GpuTexture,
    levels: Vec<Level>,
    next_level: usize,
    next_row: u32,
}

impl Upload {
    fn size_bytes(&self) -> u64 {
        self.levels
            .iter()
            .map(|level| level.rgba8.len() as u64)
            .sum()
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

    /// Puts a distance field on the GPU, in place of an earlier one of that id.
    ///
    /// # Errors
    /// The numbers do not fill the size, or a side is zero or beyond what the GPU takes.
    pub fn set_field(&mut self, id: FieldId, field: &DistanceField<'_>) -> Result<(), String> {
        let [width, height] = field.size;
        let count = width as usize * height as usize;
        if count == 0 {
            return Err(format!("distance field has no pixels: {width}x{height}"));
        }
        let raw_len = field.raw.map_or(count, <[RawMask]>::len);
        if field.distance_px.len() != count || raw_len != count {
            return Err(format!(
                "distance field of {width}x{height} needs {count} values but has {} distances and \
                 {raw_len} mask pixels",
                field.distance_px.len()
            ));
        }
        let Some(gpu) = &self.gpu else { return Ok(()) };
        if width.max(height) > gpu.max_side() {
            return Err(format!(
                "distance field of {width}x{height} is larger than this GPU takes: {}",
                gpu.max_side()
            ));
        }
        let raw = |i: usize| match field.raw.and_then(|raw| raw.get(i)) {
            None | Some(RawMask::Off) => 0.0,
            Some(RawMask::On) => 1.0,
            Some(RawMask::Speck) => 2.0,
        };
        let pairs: Vec<[f32; 2]> = field
            .distance_px
            .iter()
            .enumerate()
            .map(|(i, &d)| [d, raw(i)])
            .collect();
        self.fields
            .insert(id, (gpu.new_field(field.size, &pairs), count as u64 * 8));
        Ok(())
    }

    pub fn remove_field(&mut self, id: FieldId) {
        self.fields.remove(&id);
    }

    pub fn field(&self, id: FieldId) -> Option<&GpuTexture> {
        self.fields.get(&id).map(|(texture, _)| texture)
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
        let thumbnail_px = f64::from(super::pixels::THUMBNAIL_PX);
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

    fn receive(&mut self, loaded: Loaded) {
        let id = loaded.id;
        let frame = self.frame;
        let Some(entry) = self.entries.get_mut(id.0 as usize) else {
            return;
        };
        if entry.generation != loaded.generation {
            tracing::trace!("dropped a stale result for picture {id:?}");
            return;
        }
        let generation = entry.generation;
        let mut new_uploads = Vec::new();
        match loaded.outcome {
            Outcome::Failed { reason, key: None } => {
                tracing::warn!("{reason}");
                entry.failure = Some(reason);
            }
            Outcome::Failed {
                reason,
                key: Some(key),
            } => {
                tracing::warn!("a part of a picture is shown blurred: {reason}");
                if let Some(set) = &mut entry.tiles {
                    set.broken.push(key);
                }
            }
            Outcome::Decoded {
                size,
                thumbnail,
                full,
                badge,
            } => {
                entry.size = Some(size);
                entry.badge = badge;
                if entry.thumbnail.is_none() {
                    new_uploads.push((Place::Thumbnail, thumbnail));
                }
                if let Some(full) = full {
                    let has_room = self.committed + whole_bytes(size) <= self.budget_bytes;
                    if entry.full.is_none() && self.gpu.is_some() && has_room {
                        self.committed += whole_bytes(size);
                        new_uploads.push((Place::Full, full.levels));
                    } else {
                        entry.pixels = full.levels.into_iter().next();
                    }
                    entry.last_used = entry.last_used.max(frame.saturating_sub(1));
                }
            }
            Outcome::Tiled {
                size,
                thumbnail,
                file,
                badge,
            } => {
                entry.size = Some(size);
                entry.badge = badge;
                if entry.thumbnail.is_none() {
                    new_uploads.push((Place::Thumbnail, thumbnail));
                }
                if entry.tiles.is_none() {
                    entry.tiles = Some(TileSet {
                        file,
                        present: BTreeMap::new(),
                        broken: Vec::new(),
                        wanted: Vec::new(),
                        pixels: None,
                        pixels_wanted: None,
                    });
                }
            }
            Outcome::Tile { key, levels } => {
                if let Some(set) = &mut entry.tiles {
                    if key.level == 0 {
                        set.pixels = levels.first().cloned().map(|level| (key, level));
                    }
                    if !set.present.contains_key(&key) {
                        new_uploads.push((Place::Tile(key), levels));
                    }
                }
            }
        }
        let Some(gpu) = &self.gpu else { return };
        for (place, levels) in new_uploads {
            let Some(first) = levels.first() else {
                continue;
            };
            let texture = gpu.new_picture([first.width, first.height], levels.len() as u32);
            let upload = Upload {
                id,
                generation,
                place,
                texture,
                levels,
                next_level: 0,
                next_row: 0,
            };
            // Thumbnails are small, and with them every cell shows something soon.
            if place == Place::Thumbnail {
                self.uploads.push_front(upload);
            } else {
                self.uploads.push_back(upload);
            }
        }
    }

    fn upload(&mut self) {
        let Some(gpu) = self.gpu.clone() else { return };
        let mut left = self.upload_bytes_per_frame;
        let mut has_written = false;
        while let Some(mut upload) = self.uploads.pop_front() {
            let entry = self.entries.get(upload.id.0 as usize);
            if entry.is_none_or(|entry| entry.generation != upload.generation) {
                continue;
            }
            while left > 0
                && let Some(level) = upload.levels.get(upload.next_level)
            {
                let row_bytes = u64::from(level.width) * 4;
                let rows = (left / row_bytes).clamp(1, u64::from(level.height - upload.next_row));
                let (mip, height) = (upload.next_level as u32, level.height);
                gpu.write_rows(&upload.texture, mip, level, upload.next_row, rows as u32);
                has_written = true;
                left = left.saturating_sub(rows * row_bytes);
                upload.next_row += rows as u32;
                if upload.next_row >= height {
                    upload.next_row = 0;
                    upload.next_level += 1;
                }
            }
            if upload.next_level < upload.levels.len() {
                self.uploads.push_front(upload);
                break;
            }
            self.finish(upload);
            self.has_news = true;
        }
        if has_written {
            gpu.flush();
        }
    }

    fn finish(&mut self, done: Upload) {
        let frame = self.frame;
        let Some(entry) = self.entries.get_mut(done.id.0 as usize) else {
            return;
        };
        if entry.generation != done.generation {
            return;
        }
        match done.place {
            Place::Thumbnail => entry.thumbnail = Some(done.texture),
            Place::Full => {
                entry.full = Some(done.texture);
                entry.pixels = done.levels.into_iter().next();
            }
            Place::Tile(key) => {
                if let Some(set) = &mut entry.tiles {
                    set.present.insert(
                        key,
                        Tile {
                            texture: done.texture,
                            last_used: frame,
                        },
                    );
                }
            }
        }
    }

    fn measure(&self) -> MemoryUse {
        let mut total = MemoryUse {
            fields: self.fields.values().map(|(_, bytes)| bytes).sum(),
            // The texture of an upload is already there, beside the pixels that wait.
            pending: self.uploads.iter().map(Upload::size_bytes).sum::<u64>() * 2,
            ..MemoryUse::default()
        };
        for entry in &self.entries {
            total.thumbnails += entry.thumbnail.as_ref().map_or(0, texture_bytes);
            total.full += entry.full.as_ref().map_or(0, texture_bytes);
            total.pixels += entry
                .pixels
                .as_ref()
                .map_or(0, |level| level.rgba8.len() as u64);
            if let Some(set) = &entry.tiles {
                total.tiles += set
                    .present
                    .values()
                    .map(|t| texture_bytes(&t.texture))
                    .sum::<u64>();
                total.pixels += set
                    .pixels
                    .as_ref()
                    .map_or(0, |(_, level)| level.rgba8.len() as u64);
            }
        }
        total
    }

    /// Frees the least recently used until the budget holds; what this frame draws stays.
    fn evict(&mut self) {
        self.evict_tile_files();
        self.use_now = self.measure();
        let mut over = self.use_now.total().saturating_sub(self.budget_bytes);
        if over == 0 {
            return;
        }
        let frame = self.frame;
        let mut victims: Vec<(Rank, u64, usize, Option<TileKey>, u64)> = Vec::new();
        for (i, entry) in self.entries.iter().enumerate() {
            let is_used = entry.last_used >= frame;
            if let Some(pixels) = &entry.pixels {
                let rank = if is_used {
                    Rank::PixelsInUse
                } else {
                    Rank::Pixels
                };
                victims.push((rank, entry.last_used, i, None, pixels.rgba8.len() as u64));
            }
            if !is_used && let Some(full) = &entry.full {
                victims.push((
                    Rank::Textures,
                    entry.last_used,
                    i,
                    None,
                    texture_bytes(full),
                ));
            }
            if !is_used && let Some(thumbnail) = &entry.thumbnail {
                let bytes = texture_bytes(thumbnail);
                victims.push((Rank::Thumbnails, entry.last_used, i, None, bytes));
            }
            if let Some(set) = &entry.tiles {
                for (key, tile) in set
                    .present
                    .iter()
                    .filter(|(_, tile)| tile.last_used < frame)
                {
                    let bytes = texture_bytes(&tile.texture);
                    victims.push((Rank::Textures, tile.last_used, i, Some(*key), bytes));
                }
            }
        }
        victims.sort_unstable_by_key(|victim| (victim.0, victim.1, victim.2, victim.3));
        for (rank, _, i, tile, bytes) in victims {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(bytes);
            let Some(entry) = self.entries.get_mut(i) else {
                continue;
            };
            match (rank, tile) {
                (Rank::Pixels | Rank::PixelsInUse, _) => entry.pixels = None,
                (Rank::Textures, None) => entry.full = None,
                (Rank::Textures, Some(key)) => {
                    if let Some(set) = &mut entry.tiles {
                        set.present.remove(&key);
                    }
                }
                (Rank::Thumbnails, _) => entry.thumbnail = None,
            }
        }
        self.use_now = self.measure();
    }

    /// Gives up the tiles on disk of the pictures that were not looked at for longest.
    fn evict_tile_files(&mut self) {
        let on_disk = |set: &TileSet| set.file.size_bytes();
        let total: u64 = self
            .entries
            .iter()
            .filter_map(|e| e.tiles.as_ref())
            .map(on_disk)
            .sum();
        let mut over = total.saturating_sub(self.tile_disk_bytes);
        while over > 0 {
            let frame = self.frame;
            let oldest = self
                .entries
                .iter_mut()
                .filter(|entry| entry.tiles.is_some() && entry.last_used < frame)
                .min_by_key(|entry| entry.last_used);
            let Some(set) = oldest.and_then(|entry| entry.tiles.take()) else {
                return;
            };
            over = over.saturating_sub(on_disk(&set));
        }
    }

    /// Bytes that this frame draws and that cannot be given up; new things must fit beside them.
    fn in_use(&self) -> u64 {
        let mut bytes = self.use_now.fields + self.use_now.pending;
        for entry in self
            .entries
            .iter()
            .filter(|entry| entry.last_used >= self.frame)
        {
            bytes += entry.thumbnail.as_ref().map_or(0, texture_bytes);
            bytes += entry.full.as_ref().map_or(0, texture_bytes);
            if let Some(set) = &entry.tiles {
                let used = set
                    .present
                    .values()
                    .filter(|tile| tile.last_used >= self.frame);
                bytes += used.map(|tile| texture_bytes(&tile.texture)).sum::<u64>();
            }
        }
        bytes
    }

    /// What to load, most wanted first.
    fn wants(&self) -> Vec<WantKey> {
        let mut committed = self.committed;
        let mut ranked: Vec<(u8, WantKey)> = Vec::new();
        let mut background = 0;
        let is_roomy = (self.use_now.total() as f64) < self.budget_bytes as f64 * BACKGROUND_SHARE;
        let budget = self.budget_bytes;
        let mut fits = move |bytes: u64| {
            let ok = committed + bytes <= budget;
            committed += if ok { bytes } else { 0 };
            ok
        };
        for (i, entry) in self.entries.iter().enumerate() {
            let id = ImageId(i as u32);
            if entry.failure.is_some() || entry.source.is_none() {
                continue;
            }
            let waits = |place: Place| {
                self.uploads
                    .iter()
                    .any(|u| u.id == id && u.generation == entry.generation && u.place == place)
            };
            let want = |tile, detail| (id, entry.generation, tile, detail);
            let lacks_thumbnail = entry.size.is_none()
                || (self.gpu.is_some() && entry.thumbnail.is_none() && !waits(Place::Thumbnail));
            let rank = |priority| if priority == Priority::Visible { 0 } else { 3 };
            if let Some((priority, detail)) = entry.wanted {
                let full_bytes = entry.size.map_or(whole_bytes(LIKELY_SIZE), |size| {
                    let is_large = size[0].max(size[1]) > self.max_whole_px;
                    if is_large {
                        TILE_BYTES
                    } else {
                        whole_bytes(size)
                    }
                });
                let lacks_full = detail == Detail::Full
                    && self.gpu.is_some()
                    && entry.tiles.is_none()
                    && entry.full.is_none()
                    && !waits(Place::Full);
                if lacks_thumbnail {
                    // One decode gives both, if there is room for both.
                    let detail = if lacks_full && fits(full_bytes) {
                        detail
                    } else {
                        Detail::Thumbnail
                    };
                    ranked.push((rank(priority), want(None, Some(detail))));
                } else if lacks_full && fits(full_bytes) {
                    ranked.push((rank(priority) + 1, want(None, Some(Detail::Full))));
                }
            } else if lacks_thumbnail && is_roomy && background < BACKGROUND_JOBS {
                background += 1;
                ranked.push((5, want(None, Some(Detail::Thumbnail))));
            }
            if entry.are_pixels_wanted && entry.pixels.is_none() && !waits(Place::Full) {
                ranked.push((2, want(None, Some(Detail::Full))));
            }
            let Some(set) = &entry.tiles else { continue };
            for (priority, key) in &set.wanted {
                let is_missing = !set.present.contains_key(key)
                    && !set.broken.contains(key)
                    && !waits(Place::Tile(*key));
                if is_missing && fits(TILE_BYTES) {
                    ranked.push((rank(*priority) + 1, want(Some(*key), None)));
                }
            }
            if let Some(key) = set.pixels_wanted
                && !set.broken.contains(&key)
            {
                ranked.push((2, want(Some(key), None)));
            }
        }
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, want)| want).collect()
    }

    fn job(&self, (id, generation, tile, detail): WantKey) -> Option<Job> {
        let entry = self.entries.get(id.0 as usize)?;
        let task = match (tile, detail) {
            (Some(key), _) => Task::Tile {
                file: entry.tiles.as_ref()?.file.clone(),
                key,
            },
            (None, detail) => {
                let detail = detail.unwrap_or(Detail::Thumbnail);
                Task::Decode {
                    source: entry.source.clone()?,
                    detail,
                }
            }
        };
        Some(Job {
            id,
            generation,
            task,
        })
    }
}

/// The order in which things are given up.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Pixels,
    Textures,
    PixelsInUse,
    Thumbnails,
}

fn texture_bytes(texture: &GpuTexture) -> u64 {
    let [width, height] = texture.size().map(u64::from);
    (0..texture.levels())
        .map(|mip| (width >> mip).max(1) * (height >> mip).max(1) * 4)
        .sum()
}

/// A full-size texture with its mips.
fn whole_bytes(size: [u32; 2]) -> u64 {
    u64::from(size[0]) * u64::from(size[1]) * 16 / 3
}

/// A tile with its border and half-size level.
const TILE_BYTES: u64 = {
    let side = (TILE_PX + 2 * TILE_BORDER_PX) as u64;
    side * side * 5
};

fn tile_texels(grid: &TileGrid, key: TileKey, size_in_image: [f64; 2]) -> [[f64; 2]; 2] {
    let scale = grid.scale(key.level, size_in_image);
    let at = [key.column, key.row];
    [0, 1].map(|i| {
        let offset = f64::from(TILE_BORDER_PX) - f64::from(at[i]) * f64::from(TILE_PX);
        [scale[i], offset]
    })
}
