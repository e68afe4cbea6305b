//! Writes with a known checksum and a precondition, so that they can be tried again without harm.

use bytes::Bytes;
use google_cloud_gax::retry_policy::NeverRetry;

use super::super::{ObjectMeta, ObjectName, Precondition, Result, StorageError};
use super::{Gcs, errors, retry};

impl Gcs {
    pub(super) async fn write_whole(
        &self,
        name: &ObjectName,
        content: Bytes,
        condition: Precondition,
    ) -> Result<ObjectMeta> {
        let place = self.place_of(name);
        let place = place.as_str();
        let crc = crc32c::crc32c(&content);
        let content = &content;
        // A slow line needs time in proportion to the size; a stalled one must still end, and be tried again.
        let carried = content.len() as f64 / self.limits.slowest_upload_bytes_per_sec.max(1) as f64;
        let attempt_limit = self.limits.idle + std::time::Duration::from_secs_f64(carried);
        let mut limits = self.limits.clone();
        limits.total += attempt_limit * 2;
        retry::retry(&limits, |attempt| async move {
            let result = self
                .write_once(name, content.clone(), crc, condition, place, attempt_limit)
                .await;
            match result {
                Err(StorageError::Precondition { .. }) => {
                    // After a lost answer, the object that stands in the way may be the one just written.
                    if attempt > 1
                        && let Ok(found) = self.object_meta(name).await
                        && found.crc32c == Some(crc)
                        && found.size_bytes == content.len() as u64
                    {
                        return Ok(found);
                    }
                    Err(StorageError::Precondition {
                        place: place.to_owned(),
                        expected: condition.to_string(),
                    })
                }
                other => other,
            }
        })
        .await
    }

    async fn write_once(
        &self,
        name: &ObjectName,
        content: Bytes,
        crc: u32,
        condition: Precondition,
        place: &str,
        attempt_limit: std::time::Duration,
    ) -> Result<ObjectMeta> {
        let size_bytes = content.len() as u64;
        let resumable = content.len() >= self.limits.resumable_bytes;
        let mut request = self
            .storage
            .write_object(self.bucket_path(), name.as_str(), content)
            .with_known_crc32c(crc) // also spares the trailing checksum part that emulators trip over
            .with_idempotency(true) // a precondition or equal bytes make a repetition harmless
            .with_resumable_upload_threshold(self.limits.resumable_bytes)
            .set_content_type(content_type(name.file_name()))
            .set_cache_control("private, max-age=0");
        if !resumable {
            request = request.with_retry_policy(NeverRetry);
        }
        request = match condition {
            Precondition::None => request,
            Precondition::Absent => request.set_if_generation_match(0),
            Precondition::Generation(generation) => request.set_if_generation_match(generation),
        };
        // In pieces, the crate tries again by itself, for as long as it was told to.
        let limit = attempt_limit
            + if resumable {
                self.limits.total
            } else {
                std::time::Duration::ZERO
            };
        let object = match tokio::time::timeout(limit, Box::pin(request.send_unbuffered())).await {
            Err(_) => {
                let words = format!("the upload of {size_bytes} bytes did not end in {limit:.1?}");
                return Err(errors::transient(place, &words));
            }
            Ok(Err(error)) => return Err(errors::from_crate(&error, place)),
            Ok(Ok(object)) => object,
        };
        let stored = object.checksums.as_ref().and_then(|c| c.crc32c);
        if stored.is_some_and(|stored| stored != crc) || object.size as u64 != size_bytes {
            return Err(StorageError::Corrupt {
                place: place.to_owned(),
                detail: format!(
                    "the server stored {} bytes with CRC32C {stored:08x?} instead of {size_bytes} with {crc:08x}",
                    object.size
                ),
            });
        }
        Ok(ObjectMeta {
            name: name.clone(),
            size_bytes,
            generation: object.generation,
            crc32c: Some(crc),
            updated_secs: object.update_time.map_or(0, |t| t.seconds()),
        })
    }
}

fn content_type(file_name: &str) -> &'static str {
    match file_name
        .rsplit_once('.')
        .map(|(_, end)| end.to_ascii_lowercase())
        .as_deref()
    {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("md") => "text/markdown; charset=utf-8",
        Some("ron" | "toml" | "txt" | "csv") => "text/plain; charset=utf-8",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}
