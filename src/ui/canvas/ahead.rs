//! Pictures decoded before the window asks for them: those of a run that is being opened, while the window
//! waits for its next frame.
//!
//! Only a few, only while nothing else is asked for, and only kept until the window says what it shows. A
//! picture is taken only if its file is still what it was.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{loader::ImageSource, pixels::DecodedImage};

/// Pictures that are decoded ahead at most, for each thread.
const PER_THREAD: usize = 4;
/// Larger files are left to the window: it may want none of a huge picture.
const MAX_FILE_BYTES: u64 = 32 << 20;
/// No more is begun while decoded pictures of this many bytes wait.
const MAX_DONE_BYTES: u64 = 32 << 20;

/// What tells a file from a later one under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: SystemTime,
    size_bytes: u64,
}

impl Stamp {
    /// That of a file as it is now; `None` if it is not there, or too large to be decoded ahead. Asks the
    /// file system, which may take its time.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let stamp = Self {
            modified: metadata.modified().ok()?,
            size_bytes: metadata.len(),
        };
        (stamp.size_bytes <= MAX_FILE_BYTES).then_some(stamp)
    }
}

/// A picture that was decoded before anybody asked for it, and the file as it was before it was read.
pub(super) struct DecodedAhead {
    path: PathBuf,
    stamp: Stamp,
    image: DecodedImage,
}

impl DecodedAhead {
    pub fn new(path: PathBuf, stamp: Stamp, image: DecodedImage) -> Self {
        Self { path, stamp, image }
    }

    /// The picture, if its file has not changed since. Asks the file system.
    pub fn if_unchanged(self) -> Option<DecodedImage> {
        (Stamp::of(&self.path) == Some(self.stamp)).then_some(self.image)
    }
}

/// What is to be decoded ahead, what is being decoded, and what is there. Never touches a file.
#[derive(Default)]
pub(super) struct AheadQueue {
    waiting: VecDeque<PathBuf>,
    under_way: Vec<PathBuf>,
    done: Vec<DecodedAhead>,
}

impl AheadQueue {
    /// These files come next, in this order, in place of others.
    pub fn start(&mut self, paths: Vec<PathBuf>, threads: usize) {
        self.waiting = paths.into();
        self.waiting.truncate(threads * PER_THREAD);
        self.under_way.clear();
        self.done.clear();
    }

    /// The next file; it is under way until [`Self::finish`].
    pub fn next(&mut self) -> Option<PathBuf> {
        let bytes: u64 = self.done.iter().map(|done| done.image.size_bytes()).sum();
        if bytes >= MAX_DONE_BYTES {
            return None;
        }
        let path = self.waiting.pop_front()?;
        self.under_way.push(path.clone());
        Some(path)
    }

    /// Keeps what came of a file, if it still may be wanted. What cannot be read is left to the window, which
    /// shows the reason.
    pub fn finish(&mut self, path: &Path, done: Option<DecodedAhead>) {
        if let Some(at) = self.under_way.iter().position(|own| own == path) {
            self.under_way.swap_remove(at);
            self.done.extend(done);
        }
    }

    /// Whether a picture is being decoded, so that nobody else should.
    pub fn is_under_way(&self, source: &ImageSource) -> bool {
        let path = file_of(source);
        path.is_some_and(|path| self.under_way.iter().any(|own| own == path))
    }

    /// The picture, if it is there.
    pub fn take(&mut self, source: &ImageSource) -> Option<DecodedAhead> {
        let path = file_of(source)?;
        let at = self.done.iter().position(|done| done.path == path)?;
        Some(self.done.swap_remove(at))
    }

    /// The window has said what it wants: nothing else is kept or begun.
    pub fn keep_only(&mut self, wanted: &[&ImageSource]) {
        let is_wanted = |path: &Path| wanted.iter().any(|source| file_of(source) == Some(path));
        self.waiting.clear();
        self.under_way.retain(|path| is_wanted(path));
        self.done.retain(|done| is_wanted(&done.path));
    }
}

fn file_of(source: &ImageSource) -> Option<&Path> {
    match source {
        ImageSource::File { path, .. } => Some(path),
        ImageSource::Memory { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn picture() -> DecodedImage {
        DecodedImage::opaque(1, 1, vec![1, 2, 3]).unwrap()
    }

    fn decoded(path: &Path) -> DecodedAhead {
        DecodedAhead::new(path.to_owned(), Stamp::of(path).unwrap(), picture())
    }

    /// A queue in which a file was decoded.
    fn with(path: &Path) -> AheadQueue {
        let mut queue = AheadQueue::default();
        queue.start(vec![path.to_owned()], 1);
        assert_eq!(queue.next().as_deref(), Some(path));
        assert!(queue.is_under_way(&ImageSource::file(path)));
        queue.finish(path, Some(decoded(path)));
        queue
    }

    fn files<const N: usize>(dir: &Path, names: [&str; N]) -> [PathBuf; N] {
        names.map(|name| {
            let path = dir.join(name);
            std::fs::write(&path, "1").unwrap();
            path
        })
    }

    #[test]
    fn a_picture_is_there_once_under_any_revision() {
        let dir = tempfile::tempdir().unwrap();
        let [path] = files(dir.path(), ["a.png"]);
        let mut queue = with(&path);
        let source = ImageSource::File { path, revision: 7 };
        assert!(!queue.is_under_way(&source));
        let found = queue.take(&source).and_then(DecodedAhead::if_unchanged);
        assert_eq!(found, Some(picture()));
        assert!(queue.take(&source).is_none());
    }

    #[test]
    fn a_file_that_changed_since_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let [path] = files(dir.path(), ["a.png"]);
        let found = decoded(&path);
        std::fs::write(&path, "another").unwrap();
        assert_eq!(found.if_unchanged(), None);
    }

    #[test]
    fn what_the_window_does_not_want_is_neither_kept_nor_begun() {
        let dir = tempfile::tempdir().unwrap();
        let paths = files(dir.path(), ["a.png", "b.png", "c.png", "d.png"]);
        let mut queue = AheadQueue::default();
        queue.start(paths.to_vec(), 2);
        for path in &paths[..2] {
            queue.next().unwrap();
            queue.finish(path, Some(decoded(path)));
        }
        // One is still being decoded.
        queue.next().unwrap();
        let [a, b, c, _] = paths.clone().map(ImageSource::file);
        queue.keep_only(&[&b]);
        assert!(queue.take(&a).is_none());
        assert!(queue.take(&b).is_some());
        assert!(!queue.is_under_way(&c));
        queue.finish(&paths[2], Some(decoded(&paths[2])));
        assert!(queue.take(&c).is_none());
        assert!(queue.next().is_none());
    }

    #[test]
    fn another_run_takes_the_place_of_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = files(dir.path(), ["one.png", "other.png"]);
        let mut queue = AheadQueue::default();
        queue.start(vec![one.clone()], 1);
        queue.next().unwrap();
        queue.start(vec![other.clone()], 1);
        queue.finish(&one, Some(decoded(&one)));
        assert!(queue.take(&ImageSource::file(&one)).is_none());
        assert_eq!(queue.next(), Some(other));
    }

    #[test]
    fn few_are_begun_and_none_that_are_huge_or_missing() {
        let dir = tempfile::tempdir().unwrap();
        let huge = dir.path().join("huge.png");
        std::fs::File::create(&huge)
            .and_then(|file| file.set_len(MAX_FILE_BYTES + 1))
            .unwrap();
        assert_eq!(Stamp::of(&huge), None);
        assert_eq!(Stamp::of(&dir.path().join("missing.png")), None);
        let mut queue = AheadQueue::default();
        queue.start((0..300).map(|i| format!("{i}.png").into()).collect(), 2);
        assert_eq!(std::iter::from_fn(|| queue.next()).count(), 2 * PER_THREAD);

        // Four of 12 megabytes are more than may wait.
        let [path] = files(dir.path(), ["large.png"]);
        let large = || DecodedImage::opaque(2000, 2000, vec![0; 12_000_000]).unwrap();
        queue.start(vec![path.clone(); 8], 2);
        let mut begun = 0;
        while let Some(path) = queue.next() {
            begun += 1;
            let stamp = Stamp::of(&path).unwrap();
            queue.finish(&path, Some(DecodedAhead::new(path.clone(), stamp, large())));
        }
        assert_eq!(begun, 3);
    }
}
