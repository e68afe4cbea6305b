//! From the workers to the GPU: takes results, drops stale ones, and uploads a share per frame.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    GpuTexture, ImageId, Level, Loaded, Outcome, TextureStore, Tile, TileKey, TileSet,
    budget::whole_bytes,
};

/// Time that a frame may spend on uploads: where copying is slow, the share of bytes alone would make
/// frames late.
const UPLOAD_TIME: Duration = Duration::from_millis(3);
/// Bytes between two looks at the clock.
const UPLOAD_CHUNK_BYTES: u64 = 512 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Thumbnail,
    Full,
    Tile(TileKey),
}

/// A texture on its way to the GPU, some rows per frame.
pub(super) struct Upload {
    pub(super) id: ImageId,
    pub(super) generation: u64,
    pub(super) place: Place,
    pub(super) texture: GpuTexture,
    pub(super) levels: Vec<Level>,
    pub(super) next_level: usize,
    pub(super) next_row: u32,
}

impl Upload {
    pub(super) fn size_bytes(&self) -> u64 {
        self.levels
            .iter()
            .map(|level| level.rgba8.len() as u64)
            .sum()
    }
}

impl TextureStore {
    pub(super) fn receive(&mut self, loaded: Loaded) {
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
                        new_uploads.push((Place::Full, full));
                    } else {
                        entry.pixels = full.into_iter().next();
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

    pub(super) fn upload(&mut self) {
        let Some(gpu) = self.gpu.clone() else { return };
        let mut left = self.upload_bytes_per_frame;
        let started = Instant::now();
        let mut has_written = false;
        while let Some(mut upload) = self.uploads.pop_front() {
            let entry = self.entries.get(upload.id.0 as usize);
            if entry.is_none_or(|entry| entry.generation != upload.generation) {
                continue;
            }
            while left > 0
                && (!has_written || started.elapsed() < UPLOAD_TIME)
                && let Some(level) = upload.levels.get(upload.next_level)
            {
                let row_bytes = u64::from(level.width) * 4;
                let rows = (left.min(UPLOAD_CHUNK_BYTES) / row_bytes)
                    .clamp(1, u64::from(level.height - upload.next_row));
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
}
