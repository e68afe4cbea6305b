//! Reads that end: resumed where they broke, cut off when they stall or drip, verified by our own CRC32C.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_storage::model_ext::ReadRange;
use google_cloud_storage::read_object::ReadObjectResponse;
use tokio::task::JoinHandle;

use super::super::store::OnBytes;
use super::super::{ObjectMeta, ObjectName, Result, StorageError, files};
use super::{Gcs, errors, retry};

impl Gcs {
    pub(super) async fn fetch_verified(
        &self,
        meta: &ObjectMeta,
        part: &Path,
        on_bytes: OnBytes<'_>,
    ) -> Result<()> {
        let place = self.place_of(&meta.name);
        let wanted = meta.crc32c.ok_or_else(|| StorageError::Corrupt {
            place: place.clone(),
            detail: "the list has no CRC32C for it, so that it cannot be verified".into(),
        })?;
        // Twice: a wrong bit in a first transfer, or in what an interrupted one had left, may heal.
        for last_try in [false, true] {
            let got = self.fetch_resuming(meta, part, on_bytes).await?;
            if got == wanted {
                return Ok(());
            }
            tokio::fs::remove_file(part)
                .await
                .map_err(StorageError::io("removing", part))?;
            if last_try {
                return Err(StorageError::Corrupt {
                    place,
                    detail: format!("its CRC32C is {got:08x} instead of {wanted:08x}, twice"),
                });
            }
            tracing::warn!(name = %meta.name, "wrong checksum; fetching it again from the start");
        }
        Ok(())
    }

    /// Brings `part` to its full length, and returns its CRC32C.
    async fn fetch_resuming(
        &self,
        meta: &ObjectMeta,
        part: &Path,
        on_bytes: OnBytes<'_>,
    ) -> Result<u32> {
        let mut transfer = Transfer::open(part, meta.size_bytes).await?;
        on_bytes(transfer.have_bytes);
        let place = self.place_of(&meta.name);
        // A connection that is cut at every 64 KiB still gets there; one that brings nothing does not go on.
        let most_requests = u64::from(self.limits.attempts) + meta.size_bytes / (32 * 1024);
        let (mut requests, mut fruitless) = (0u64, 0u32);
        while transfer.have_bytes < meta.size_bytes {
            let before = transfer.have_bytes;
            requests += 1;
            let Err(error) = self.read_on(meta, &mut transfer, on_bytes, &place).await else {
                continue;
            };
            transfer.flush(part).await?;
            if !error.is_retryable() {
                return Err(error);
            }
            fruitless = if transfer.have_bytes > before {
                1
            } else {
                fruitless + 1
            };
            let most = if error.is_offline() {
                2
            } else {
                self.limits.attempts
            };
            let wait = retry::pause(&self.limits, fruitless, &error);
            if fruitless >= most || requests >= most_requests || wait > self.limits.total {
                return Err(retry::with_attempts(
                    error,
                    requests.min(u64::from(u32::MAX)) as u32,
                ));
            }
            tokio::time::sleep(if transfer.have_bytes > before {
                self.limits.backoff / 8
            } else {
                wait
            })
            .await;
        }
        transfer.flush(part).await?;
        Ok(transfer.crc)
    }

    async fn read_on(
        &self,
        meta: &ObjectMeta,
        transfer: &mut Transfer,
        on_bytes: OnBytes<'_>,
        place: &str,
    ) -> Result<()> {
        let range = if transfer.have_bytes == 0 {
            ReadRange::all()
        } else {
            ReadRange::offset(transfer.have_bytes)
        };
        let request = self
            .storage
            .read_object(self.bucket_path(), meta.name.as_str())
            .set_generation(meta.generation)
            .set_read_range(range)
            .compute_crc32c(false) // ours covers resumed reads too, and cannot be skipped by a header
            .with_retry_policy(NeverRetry)
            .send();
        let mut answer = self.within_idle(Box::pin(request), place).await?;
        let mut window = (Instant::now(), transfer.have_bytes);
        while let Some(chunk) = self.next_chunk(&mut answer, place).await? {
            let len = chunk.len() as u64;
            if transfer.have_bytes + len > meta.size_bytes {
                transfer.restart(Path::new(place)).await;
                return Err(StorageError::Corrupt {
                    place: place.to_owned(),
                    detail: format!(
                        "it is longer than the {} bytes of the list",
                        meta.size_bytes
                    ),
                });
            }
            transfer.append(chunk).await?;
            on_bytes(len);
            let elapsed = window.0.elapsed();
            if elapsed >= self.limits.speed_window {
                let speed = (transfer.have_bytes - window.1) as f64 / elapsed.as_secs_f64();
                if speed < self.limits.slowest_bytes_per_sec as f64 {
                    return Err(StorageError::TooSlow {
                        place: place.to_owned(),
                        bytes_per_sec: speed as u64,
                    });
                }
                window = (Instant::now(), transfer.have_bytes);
            }
        }
        if transfer.have_bytes < meta.size_bytes {
            return Err(errors::transient(
                place,
                &format!(
                    "cut after {} of {} bytes",
                    transfer.have_bytes, meta.size_bytes
                ),
            ));
        }
        Ok(())
    }

    pub(super) async fn read_segment(
        &self,
        name: &ObjectName,
        offset: u64,
        len: u64,
    ) -> Result<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let place = self.place_of(name);
        let place = place.as_str();
        retry::retry(&self.limits, |_| async move {
            let request = self
                .storage
                .read_object(self.bucket_path(), name.as_str())
                .set_read_range(ReadRange::segment(offset, len))
                .with_retry_policy(NeverRetry)
                .send();
            let mut answer = self.within_idle(Box::pin(request), place).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = self.next_chunk(&mut answer, place).await? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() as u64 > len {
                    return Err(errors::transient(place, "more bytes than were asked for"));
                }
            }
            Ok(Bytes::from(bytes))
        })
        .await
    }

    async fn next_chunk(
        &self,
        answer: &mut ReadObjectResponse,
        place: &str,
    ) -> Result<Option<Bytes>> {
        match tokio::time::timeout(self.limits.idle, answer.next()).await {
            Err(_) => Err(errors::transient(place, &stalled(self))),
            Ok(None) => Ok(None),
            Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
            Ok(Some(Err(error))) => Err(errors::from_crate(&error, place)),
        }
    }

    /// Waits for an answer's head.
    pub(super) async fn within_idle<T, E: std::error::Error + 'static>(
        &self,
        request: impl Future<Output = std::result::Result<T, E>>,
        place: &str,
    ) -> Result<T> {
        match tokio::time::timeout(self.limits.idle, request).await {
            Err(_) => Err(errors::transient(place, &stalled(self))),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(errors::from_crate(&error, place)),
        }
    }
}

fn stalled(gcs: &Gcs) -> String {
    format!("nothing arrived for {:.1} s", gcs.limits.idle.as_secs_f64())
}

/// A file that is being filled, with the checksum of what is in it.
struct Transfer {
    file: Arc<std::fs::File>,
    /// What is not written yet: a write goes to another thread, which costs more than a chunk is worth.
    unwritten: Vec<Bytes>,
    unwritten_bytes: u64,
    written_at: Instant,
    /// The write under way.
    writing: Option<JoinHandle<std::io::Result<()>>>,
    /// With what is not written yet.
    have_bytes: u64,
    crc: u32,
}

/// Bytes of one write.
const WRITE_BYTES: u64 = 512 << 10;

/// What came is written after this long at the latest, so that a slow transfer can be gone on with.
const WRITE_AFTER: Duration = Duration::from_millis(500);

impl Transfer {
    async fn open(part: &Path, size_bytes: u64) -> Result<Self> {
        let path = part.to_owned();
        let open = move || {
            let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let fits = length <= size_bytes;
            let (have_bytes, crc) = if fits && length > 0 {
                files::checksum(&path)?
            } else {
                (0, 0)
            };
            let mut options = std::fs::OpenOptions::new();
            options.create(true).write(true).truncate(!fits);
            let file = options.open(&path);
            let file = Arc::new(file.map_err(StorageError::io("opening", &path))?);
            Ok(Self {
                file,
                unwritten: Vec::new(),
                unwritten_bytes: 0,
                written_at: Instant::now(),
                writing: None,
                have_bytes,
                crc,
            })
        };
        tokio::task::spawn_blocking(open)
            .await
            .map_err(|e| StorageError::io("opening", part)(std::io::Error::other(e)))?
    }

    async fn append(&mut self, chunk: Bytes) -> Result<()> {
        self.have_bytes += chunk.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, &chunk);
        self.unwritten_bytes += chunk.len() as u64;
        self.unwritten.push(chunk);
        if self.unwritten_bytes >= WRITE_BYTES || self.written_at.elapsed() >= WRITE_AFTER {
            self.write(Path::new("a downloaded part")).await?;
        }
        Ok(())
    }

    /// Begins to write what is not written yet, once the write before has ended. Every byte has its place: a
    /// write that outlives its transfer repeats what the next one writes there.
    async fn write(&mut self, part: &Path) -> Result<()> {
        self.written(part).await?;
        let chunks = std::mem::take(&mut self.unwritten);
        let start = self.have_bytes - std::mem::take(&mut self.unwritten_bytes);
        self.written_at = Instant::now();
        if !chunks.is_empty() {
            let file = self.file.clone();
            self.writing = Some(tokio::task::spawn_blocking(move || {
                let mut at = start;
                chunks.iter().try_for_each(|chunk| {
                    write_all_at(&file, chunk, at)?;
                    at += chunk.len() as u64;
                    Ok(())
                })
            }));
        }
        Ok(())
    }

    /// Waits for the write under way.
    async fn written(&mut self, part: &Path) -> Result<()> {
        let Some(writing) = self.writing.take() else {
            return Ok(());
        };
        let written = writing.await.map_err(std::io::Error::other);
        written
            .and_then(|written| written)
            .map_err(StorageError::io("writing", part))
    }

    async fn flush(&mut self, part: &Path) -> Result<()> {
        self.write(part).await?;
        self.written(part).await?;
        let length = self.file.metadata().map(|metadata| metadata.len());
        let length = length.map_err(StorageError::io("reading", part))?;
        if length == self.have_bytes {
            return Ok(());
        }
        // Somebody else has written to it.
        let problem = format!("{length} bytes are there instead of {}", self.have_bytes);
        Err(StorageError::io("writing", part)(std::io::Error::other(
            problem,
        )))
    }

    /// Forgets what was read. A failure to do so is found by the checksum of the next try.
    async fn restart(&mut self, part: &Path) {
        let _ = self.written(part).await;
        let _ = self.file.set_len(0);
        self.unwritten.clear();
        self.unwritten_bytes = 0;
        self.have_bytes = 0;
        self.crc = 0;
    }
}

#[cfg(unix)]
fn write_all_at(file: &std::fs::File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
fn write_all_at(file: &std::fs::File, mut bytes: &[u8], mut at: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(written..).unwrap_or_default();
        at += written as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test]
    async fn what_came_slowly_is_on_disk_before_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("a.part");
        let mut transfer = Transfer::open(&part, 100).await.unwrap();
        transfer.append(Bytes::from_static(b"0123")).await.unwrap();
        transfer.written_at = Instant::now()
            .checked_sub(WRITE_AFTER)
            .unwrap_or_else(Instant::now);
        transfer.append(Bytes::from_static(b"4567")).await.unwrap();
        transfer.written(&part).await.unwrap();
        assert_eq!(std::fs::read(&part).unwrap(), b"01234567");
        drop(transfer);
        let next = Transfer::open(&part, 100).await.unwrap();
        assert_eq!(next.have_bytes, 8);
        assert_eq!(next.crc, crc32c::crc32c(b"01234567"));
    }

    #[tokio::test]
    async fn a_write_that_outlives_its_transfer_harms_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("a.part");
        let mut first = Transfer::open(&part, 8).await.unwrap();
        first.append(Bytes::from_static(b"0123")).await.unwrap();
        // Stopped before its bytes were written, and gone on with by another.
        let mut second = Transfer::open(&part, 8).await.unwrap();
        assert_eq!(second.have_bytes, 0);
        second
            .append(Bytes::from_static(b"01234567"))
            .await
            .unwrap();
        second.flush(&part).await.unwrap();
        first.flush(&part).await.unwrap_err();
        assert_eq!(std::fs::read(&part).unwrap(), b"01234567");
        second.flush(&part).await.unwrap();
    }

    #[tokio::test]
    async fn a_part_that_is_longer_than_its_object_is_begun_again() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("a.part");
        std::fs::write(&part, "0123456789").unwrap();
        let mut transfer = Transfer::open(&part, 4).await.unwrap();
        assert_eq!(transfer.have_bytes, 0);
        transfer.append(Bytes::from_static(b"abcd")).await.unwrap();
        transfer.flush(&part).await.unwrap();
        assert_eq!(std::fs::read(&part).unwrap(), b"abcd");
    }
}
