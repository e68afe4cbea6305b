//! Pictures decoded before the window asks for them: those of a run that is being opened, while the window
//! waits for its next frame.
//!
//! Only a few, only while nothing else is asked for, and only kept until the window says what it shows. A
//! picture is taken only if its file is still what it was.

use std::{
    collections::VecDeque,
    fs::Metadata,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{loader::ImageSource, pixels::DecodedImage};

/// Pictures that are decoded ahead at most, for each thread.
const PER_THREAD: usize = 4;
/// Larger files are left to the window: it may want none of a huge picture.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// What tells a file from a later one under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: SystemTime,
    size_bytes: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata: Metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            modified: metadata.modified().ok()?,
            size_bytes: metadata.len(),
        })
    }
}

/// A file to be decoded ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AheadJob {
    pub path: PathBuf,
    pub stamp: Stamp,
}

/// What is to be decoded ahead, what is being decoded, and what is there.
#[derive(Default)]
pub(super) struct AheadQueue {
    waiting: VecDeque<PathBuf>,
    under_way: Vec<AheadJob>,
    done: Vec<(AheadJob, DecodedImage)>,
}

impl AheadQueue {
    /// These files come next, in this order, in place of others.
    pub fn start(&mut self, paths: Vec<PathBuf>, threads: usize) {
        self.waiting = paths.into();
        self.waiting.truncate(threads * PER_THREAD);
        self.done.clear();
    }

    /// The next file; it is under way until [`Self::finish`].
    pub fn next(&mut self) -> Option<AheadJob> {
        while let Some(path) = self.waiting.pop_front() {
            let stamp = Stamp::of(&path).filter(|stamp| stamp.size_bytes <= MAX_FILE_BYTES);
            let is_new = self.under_way.iter().all(|job| job.path != path);
            if let Some(stamp) = stamp.filter(|_| is_new) {
                let job = AheadJob { path, stamp };
                self.under_way.push(job.clone());
                return Some(job);
            }
        }
        None
    }

    /// Keeps what came of a file. What cannot be read is left to the window, which shows the reason.
    pub fn finish(&mut self, job: AheadJob, image: Option<DecodedImage>) {
        self.under_way.retain(|other| *other != job);
        self.done.extend(image.map(|image| (job, image)));
    }

    /// Whether a picture is being decoded, so that nobody else should.
    pub fn is_under_way(&self, source: &ImageSource) -> bool {
        let path = file_of(source);
        path.is_some_and(|path| self.under_way.iter().any(|job| job.path == path))
    }

    /// The picture, if it is there and its file has not changed since.
    pub fn take(&mut self, source: &ImageSource) -> Option<DecodedImage> {
        let path = file_of(source)?;
        let at = self.done.iter().position(|(job, _)| job.path == path)?;
        let (job, image) = self.done.swap_remove(at);
        (Stamp::of(path) == Some(job.stamp)).then_some(image)
    }

    /// The window has said what it wants: nothing else is kept or begun.
    pub fn keep_only(&mut self, wanted: &[&ImageSource]) {
        self.waiting.clear();
        self.done.retain(|(job, _)| {
            let mut files = wanted.iter().filter_map(|source| file_of(source));
            files.any(|path| path == job.path)
        });
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

    fn decoded(path: &Path) -> AheadQueue {
        let mut queue = AheadQueue::default();
        queue.start(vec![path.to_owned()], 1);
        let job = queue.next().unwrap();
        assert!(queue.is_under_way(&ImageSource::file(path)));
        queue.finish(job, Some(picture()));
        queue
    }

    #[test]
    fn a_picture_is_there_once_under_any_revision() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        std::fs::write(&path, "1").unwrap();
        let mut queue = decoded(&path);
        let source = ImageSource::File { path, revision: 7 };
        assert!(!queue.is_under_way(&source));
        assert_eq!(queue.take(&source), Some(picture()));
        assert_eq!(queue.take(&source), None);
    }

    #[test]
    fn a_file_that_changed_since_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        std::fs::write(&path, "1").unwrap();
        let mut queue = decoded(&path);
        std::fs::write(&path, "another").unwrap();
        assert_eq!(queue.take(&ImageSource::file(&path)), None);
    }

    #[test]
    fn what_the_window_does_not_want_is_neither_kept_nor_begun() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a.png", "b.png", "c.png"].map(|name| dir.path().join(name));
        for path in &paths {
            std::fs::write(path, "1").unwrap();
        }
        let mut queue = AheadQueue::default();
        queue.start(paths.to_vec(), 2);
        for _ in 0..2 {
            let job = queue.next().unwrap();
            queue.finish(job, Some(picture()));
        }
        let [a, b, _] = paths.map(ImageSource::file);
        queue.keep_only(&[&b]);
        assert_eq!(queue.take(&a), None);
        assert_eq!(queue.take(&b), Some(picture()));
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn few_are_begun_and_none_that_are_huge_or_missing() {
        let dir = tempfile::tempdir().unwrap();
        let huge = dir.path().join("huge.png");
        std::fs::File::create(&huge)
            .and_then(|file| file.set_len(MAX_FILE_BYTES + 1))
            .unwrap();
        let mut queue = AheadQueue::default();
        queue.start(vec![huge, dir.path().join("missing.png")], 2);
        assert_eq!(queue.next(), None);
        let names = (0..300).map(|i| dir.path().join(format!("{i}.png")));
        let paths: Vec<PathBuf> = names
            .inspect(|path| std::fs::write(path, "1").unwrap())
            .collect();
        queue.start(paths, 2);
        assert_eq!(std::iter::from_fn(|| queue.next()).count(), 2 * PER_THREAD);
    }
}
