//! Background workers that decode pictures and read tiles, most wanted first.
//!
//! The window's thread replaces the list of what is wanted whenever it changes and takes results
//! without waiting. Knows nothing of textures. A decoder that fails or panics gives a reason, never
//! takes a worker down.

use std::{
    collections::BTreeSet,
    fs::File,
    hash::{Hash, Hasher},
    io::BufReader,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
};

use image::ImageDecoder as _;

use super::{
    ahead::{AheadQueue, DecodedAhead, Stamp},
    pixels::{DecodedImage, Level, THUMBNAIL_PX},
    texture_store::ImageId,
    tiles::{TileFile, TileKey},
};

/// Where a picture comes from. Equal sources are one picture; a new `revision` is a new one.
#[derive(Clone, Debug)]
pub enum ImageSource {
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Counted up by whoever knows that the file has changed.
        revision: u64,
    },
    /// An encoded picture in memory.
    Memory {
        /// What to call it in messages, and what tells it from others.
        name: Arc<str>,
        /// The bytes of the file.
        bytes: Arc<[u8]>,
        /// Counted up when other bytes come under the same name.
        revision: u64,
    },
}

impl ImageSource {
    /// A file at its first revision.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File {
            path: path.into(),
            revision: 0,
        }
    }

    /// An encoded picture in memory at its first revision.
    pub fn memory(name: impl Into<Arc<str>>, bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Memory {
            name: name.into(),
            bytes: bytes.into(),
            revision: 0,
        }
    }

    fn identity(&self) -> (bool, &std::ffi::OsStr, u64) {
        match self {
            Self::File { path, revision } => (true, path.as_os_str(), *revision),
            Self::Memory { name, revision, .. } => (false, name.as_ref().as_ref(), *revision),
        }
    }
}

impl PartialEq for ImageSource {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for ImageSource {}

impl Hash for ImageSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl std::fmt::Display for ImageSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Memory { name, .. } => f.write_str(name),
        }
    }
}

/// Turns a source into pixels, or says why not. Called on several threads at once; need not make mips.
pub type Decode = dyn Fn(&ImageSource) -> Result<DecodedImage, String> + Send + Sync;

/// Called from a worker after a result was sent, so that the window draws it.
pub type Wake = dyn Fn() + Send + Sync;

/// How much of a picture is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Detail {
    Thumbnail,
    Full,
}

/// What a worker is to do for a picture.
#[derive(Clone, Debug)]
pub(super) enum Task {
    Decode { source: ImageSource, detail: Detail },
    Tile { file: Arc<TileFile>, key: TileKey },
}

/// One piece of work; `generation` comes back with the result.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub id: ImageId,
    pub generation: u64,
    pub task: Task,
}

impl Job {
    fn key(&self) -> JobKey {
        match &self.task {
            Task::Decode { .. } => (self.id, self.generation, None),
            Task::Tile { key, .. } => (self.id, self.generation, Some(*key)),
        }
    }

    fn source(&self) -> Option<&ImageSource> {
        match &self.task {
            Task::Decode { source, .. } => Some(source),
            Task::Tile { .. } => None,
        }
    }
}

type JobKey = (ImageId, u64, Option<TileKey>);

/// What came of a job.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A picture that fits one texture; the levels only if full detail was asked for.
    Decoded {
        size: [u32; 2],
        thumbnail: Vec<Level>,
        full: Option<Vec<Level>>,
        badge: Badged,
    },
    /// A picture that is kept on disk in tiles.
    Tiled {
        size: [u32; 2],
        thumbnail: Vec<Level>,
        file: Arc<TileFile>,
        badge: Badged,
    },
    /// One tile with its own half-size level.
    Tile { key: TileKey, levels: Vec<Level> },
    /// Why there is nothing to show.
    Failed {
        reason: String,
        key: Option<TileKey>,
    },
}

impl Outcome {
    /// Bytes of pixels.
    fn size_bytes(&self) -> u64 {
        let bytes = |levels: &[Level]| levels.iter().map(|level| level.rgba8.len() as u64).sum();
        match self {
            Self::Decoded {
                thumbnail, full, ..
            } => bytes(thumbnail) + full.as_deref().map_or(0, bytes),
            Self::Tiled { thumbnail, .. } => bytes(thumbnail),
            Self::Tile { levels, .. } => bytes(levels),
            Self::Failed { .. } => 0,
        }
    }
}

type Badged = Option<super::pixels::Badge>;

/// An [`Outcome`] with the picture and generation that it belongs to.
#[derive(Debug)]
pub(super) struct Loaded {
    pub id: ImageId,
    pub generation: u64,
    pub outcome: Outcome,
}

impl Loaded {
    fn key(&self) -> JobKey {
        let tile = match &self.outcome {
            Outcome::Tile { key, .. } => Some(*key),
            Outcome::Failed { key, .. } => *key,
            Outcome::Decoded { .. } | Outcome::Tiled { .. } => None,
        };
        (self.id, self.generation, tile)
    }
}

#[derive(Default)]
struct Queue {
    /// Most wanted last.
    jobs: Vec<Job>,
    in_flight: BTreeSet<JobKey>,
    ahead: AheadQueue,
    /// Of results that the window has not taken yet.
    untaken_bytes: u64,
    is_closed: bool,
}

/// Workers rest while results of this many bytes wait for the window, so that pictures do not pile up when
/// it takes them slower than they come.
const MAX_UNTAKEN_BYTES: u64 = 12 << 20;

/// What a worker does next.
enum Work {
    Job(Job),
    Ahead(PathBuf),
}

impl Queue {
    fn next(&mut self) -> Option<Work> {
        if self.untaken_bytes >= MAX_UNTAKEN_BYTES {
            return None;
        }
        let Self {
            jobs,
            in_flight,
            ahead,
            ..
        } = self;
        jobs.retain(|job| !in_flight.contains(&job.key()));
        let is_free = |job: &Job| {
            !job.source()
                .is_some_and(|source| ahead.is_under_way(source))
        };
        if let Some(at) = jobs.iter().rposition(is_free) {
            let job = jobs.remove(at);
            in_flight.insert(job.key());
            return Some(Work::Job(job));
        }
        ahead.next().map(Work::Ahead)
    }
}

struct Shared {
    queue: Mutex<Queue>,
    has_work: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A worker never panics while it holds the lock; if it did, the queue would still be whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the workers run.
#[derive(Clone, Debug)]
pub(super) struct LoaderOptions {
    pub threads: usize,
    /// Pictures with a longer side are kept on disk in tiles.
    pub max_whole_px: u32,
    /// Where tiles are kept; `None` is the system's folder for temporary files.
    pub tile_folder: Option<PathBuf>,
}

/// The pool. Dropping it lets the workers end after what they are doing.
pub(super) struct Loader {
    shared: Arc<Shared>,
    results: Receiver<Loaded>,
    threads: usize,
}

/// Decodes pictures before the window asks for them; for whoever knows first which they will be.
#[derive(Clone)]
pub struct Ahead {
    shared: Arc<Shared>,
    threads: usize,
}

impl Ahead {
    /// Begins with the first few of these files, in this order, if the workers have nothing else to do. What
    /// the window then does not ask for is dropped.
    pub fn start(&self, paths: Vec<PathBuf>) {
        self.shared.queue().ahead.start(paths, self.threads);
        self.shared.has_work.notify_all();
    }
}

impl Loader {
    /// Starts the workers.
    pub fn start(options: &LoaderOptions, decode: &Arc<Decode>, wake: &Arc<Wake>) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            has_work: Condvar::new(),
        });
        let (sender, results) = channel();
        for i in 0..options.threads.max(1) {
            let worker = Worker {
                shared: shared.clone(),
                sender: sender.clone(),
                decode: decode.clone(),
                wake: wake.clone(),
                options: options.clone(),
            };
            let spawned = std::thread::Builder::new()
                .name(format!("pictures {i}"))
                .spawn(move || worker.run());
            if let Err(error) = spawned {
                tracing::error!("could not start a thread that decodes pictures: {error}");
            }
        }
        Self {
            shared,
            results,
            threads: options.threads.max(1),
        }
    }

    /// Replaces what is wanted, most wanted first. What is being worked on goes on.
    pub fn want(&self, jobs: Vec<Job>) {
        let mut queue = self.shared.queue();
        let has_work = !jobs.is_empty();
        if has_work {
            let wanted: Vec<&ImageSource> = jobs.iter().filter_map(Job::source).collect();
            queue.ahead.keep_only(&wanted);
        }
        queue.jobs = jobs;
        queue.jobs.reverse();
        drop(queue);
        if has_work {
            self.shared.has_work.notify_all();
        }
    }

    /// What decodes pictures before they are wanted.
    pub fn ahead(&self) -> Ahead {
        Ahead {
            shared: self.shared.clone(),
            threads: self.threads,
        }
    }

    /// A result, if one is there; never waits.
    pub fn take(&self) -> Option<Loaded> {
        match self.results.try_recv() {
            Ok(loaded) => {
                // Only now: until the window has the result, nobody may start on the same again. What
                // it still lacks of this picture it asks for anew.
                let key = loaded.key();
                let mut queue = self.shared.queue();
                queue.in_flight.remove(&key);
                queue.jobs.retain(|job| job.key() != key);
                let was_full = queue.untaken_bytes >= MAX_UNTAKEN_BYTES;
                queue.untaken_bytes -= loaded.outcome.size_bytes();
                drop(queue);
                if was_full {
                    self.shared.has_work.notify_all();
                }
                Some(loaded)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// True while anything is wanted or being worked on.
    pub fn is_busy(&self) -> bool {
        let queue = self.shared.queue();
        !queue.jobs.is_empty() || !queue.in_flight.is_empty()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        queue.is_closed = true;
        queue.jobs.clear();
        drop(queue);
        self.shared.has_work.notify_all();
    }
}

struct Worker {
    shared: Arc<Shared>,
    sender: Sender<Loaded>,
    decode: Arc<Decode>,
    wake: Arc<Wake>,
    options: LoaderOptions,
}

impl Worker {
    fn run(self) {
        while let Some(work) = self.next() {
            let job = match work {
                Work::Job(job) => job,
                Work::Ahead(path) => {
                    self.decode_ahead(&path);
                    continue;
                }
            };
            let key = job.key();
            let outcome = catch_unwind(AssertUnwindSafe(|| self.perform(&job.task)))
                .unwrap_or_else(|_| Outcome::Failed {
                    reason: "the decoder stopped unexpectedly on this picture".to_owned(),
                    key: key.2,
                });
            self.shared.queue().untaken_bytes += outcome.size_bytes();
            let sent = self.sender.send(Loaded {
                id: job.id,
                generation: job.generation,
                outcome,
            });
            if sent.is_err() {
                return;
            }
            (self.wake)();
        }
    }

    fn next(&self) -> Option<Work> {
        let mut queue = self.shared.queue();
        loop {
            if queue.is_closed {
                return None;
            }
            if let Some(work) = queue.next() {
                return Some(work);
            }
            queue = self
                .shared
                .has_work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn decode_ahead(&self, path: &Path) {
        let decoded = Stamp::of(path).and_then(|stamp| {
            let source = ImageSource::file(path);
            // What fails here fails again when the window asks, and is reported then.
            let image = catch_unwind(AssertUnwindSafe(|| (self.decode)(&source)));
            let image = image.ok().and_then(Result::ok)?;
            Some(DecodedAhead::new(path.to_owned(), stamp, image))
        });
        self.shared.queue().ahead.finish(path, decoded);
        // Somebody may wait for this very picture.
        self.shared.has_work.notify_all();
    }

    fn perform(&self, task: &Task) -> Outcome {
        match task {
            Task::Decode { source, detail } => self
                .decode(source, *detail)
                .unwrap_or_else(|reason| Outcome::Failed { reason, key: None }),
            Task::Tile { file, key } => match file.read(*key) {
                Ok(level) => {
                    let half = level.halved();
                    let levels = std::iter::once(level).chain(half).collect();
                    Outcome::Tile { key: *key, levels }
                }
                Err(error) => Outcome::Failed {
                    reason: error.to_string(),
                    key: Some(*key),
                },
            },
        }
    }

    fn decode(&self, source: &ImageSource, detail: Detail) -> Result<Outcome, String> {
        let ahead = self.shared.queue().ahead.take(source);
        let ahead = ahead.and_then(DecodedAhead::if_unchanged);
        let image = ahead.map_or_else(|| (self.decode)(source), Ok)?;
        let size = image.size();
        let badge = image.badge().cloned();
        if detail == Detail::Thumbnail {
            return Ok(Outcome::Decoded {
                size,
                thumbnail: image.thumbnail().with_mips(),
                full: None,
                badge,
            });
        }
        if size[0].max(size[1]) > self.options.max_whole_px {
            let folder = self.options.tile_folder.as_deref();
            let (file, thumbnail) = TileFile::write(image.into_level(), folder)
                .map_err(|error| format!("could not keep the picture's tiles on disk: {error}"))?;
            return Ok(Outcome::Tiled {
                size,
                thumbnail: thumbnail.with_mips(),
                file: Arc::new(file),
                badge,
            });
        }
        let levels = image.into_level().with_mips();
        // The smallest level that is still larger saves most of the work.
        let thumbnail = levels
            .iter()
            .rfind(|level| level.width.max(level.height) >= THUMBNAIL_PX)
            .or(levels.first())
            .ok_or("picture has no pixels")?
            .thumbnail();
        Ok(Outcome::Decoded {
            size,
            thumbnail: thumbnail.with_mips(),
            full: Some(levels),
            badge,
        })
    }
}

/// The longest side that [`decode_with_image_crate`] accepts, in pixels.
pub const MAX_SIDE_PX: u32 = 32_768;
/// The most memory that [`decode_with_image_crate`] lets a decoder take, in bytes.
pub const MAX_DECODE_BYTES: u64 = 3 << 30;

/// Decodes with the `image` crate: the format is told by content, EXIF orientation is honoured, and no
/// colour profile is converted.
///
/// # Errors
/// The file cannot be read, is no picture of a known format, is damaged, or larger than
/// [`MAX_SIDE_PX`] or [`MAX_DECODE_BYTES`] allow. The message names the source.
pub fn decode_with_image_crate(source: &ImageSource) -> Result<DecodedImage, String> {
    let image = match source {
        ImageSource::File { path, .. } => {
            let file =
                File::open(path).map_err(|e| format!("cannot open picture: {e}: {source}"))?;
            decode_reader(BufReader::new(file))
        }
        ImageSource::Memory { bytes, .. } => decode_reader(std::io::Cursor::new(bytes)),
    };
    image.map_err(|error| format!("cannot read picture: {error}: {source}"))
}

fn decode_reader(
    reader: impl std::io::BufRead + std::io::Seek,
) -> Result<DecodedImage, image::ImageError> {
    let mut reader = image::ImageReader::new(reader).with_guessed_format()?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = image::DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width(), picture.height());
    let image = if picture.color().has_alpha() {
        DecodedImage::new(width, height, picture.into_rgba8().into_raw())
    } else {
        DecodedImage::opaque(width, height, picture.into_rgb8().into_raw())
    };
    image.map_err(|reason| image::ImageError::IoError(std::io::Error::other(reason)))
}
