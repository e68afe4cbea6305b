//! What is kept, given up and loaded next, under the byte budget.

use super::{
    Detail, GpuTexture, ImageId, Job, Priority, THUMBNAIL_PX, TILE_BORDER_PX, TILE_PX, Task,
    TextureStore, TileKey, TileSet, WantKey,
    uploads::{Place, Upload},
};

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

/// Background thumbnails are fetched while the budget is filled less than this.
const BACKGROUND_SHARE: f64 = 0.75;
/// Background thumbnails that are queued at a time.
const BACKGROUND_JOBS: usize = 32;
/// What a picture is taken to be before it was read.
const LIKELY_SIZE: [u32; 2] = [1024, 1024];

impl TextureStore {
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
    pub(super) fn evict(&mut self) {
        self.evict_tile_files();
        self.use_now = self.measure();
        // Drivers and allocators need room beside what is counted here.
        let kept = self.budget_bytes / 5 * 4;
        let mut over = self.use_now.total().saturating_sub(kept);
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
    pub(super) fn in_use(&self) -> u64 {
        let mut bytes = self.use_now.fields + self.use_now.pending;
        for entry in self
            .entries
            .iter()
            .filter(|entry| entry.last_used >= self.frame)
        {
            // Room is kept for thumbnails to come: every cell shows something before any is sharp.
            bytes += entry
                .thumbnail
                .as_ref()
                .map_or(THUMBNAIL_BYTES, texture_bytes);
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
    pub(super) fn wants(&self) -> Vec<WantKey> {
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

    pub(super) fn job(&self, (id, generation, tile, detail): WantKey) -> Option<Job> {
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
pub(super) fn whole_bytes(size: [u32; 2]) -> u64 {
    u64::from(size[0]) * u64::from(size[1]) * 16 / 3
}

/// The largest thumbnail with its mips.
const THUMBNAIL_BYTES: u64 = (THUMBNAIL_PX as u64 * THUMBNAIL_PX as u64) * 16 / 3;

/// A tile with its border and half-size level.
const TILE_BYTES: u64 = {
    let side = (TILE_PX + 2 * TILE_BORDER_PX) as u64;
    side * side * 5
};
