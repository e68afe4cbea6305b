//! What people paste: `gs://…` and the addresses of the Firebase and Google Cloud consoles.

use percent_encoding::percent_decode_str;

use super::{Result, StorageError};

/// A bucket, and an object or folder in it (empty for the bucket itself).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The bucket's name.
    pub bucket: String,
    /// Name of the object, or of the folder with or without its last `/`.
    pub name: String,
}

impl Location {
    /// Understands `gs://bucket/name`, `console.cloud.google.com/storage/browser/…`,
    /// `console.firebase.google.com/…/storage/…/files/…`, `storage.googleapis.com/…`,
    /// `storage.cloud.google.com/…` and `firebasestorage.googleapis.com/v0/b/…/o/…`. Query and fragment
    /// are dropped: they may hold a signature.
    ///
    /// # Errors
    /// [`StorageError::Config`] that shows what was pasted (without its query) and what is understood.
    pub fn parse(pasted: &str) -> Result<Self> {
        let pasted = pasted.trim().trim_matches(['<', '>', '"']);
        let bare = pasted.split(['?', '#']).next().unwrap_or_default();
        let found = match bare.strip_prefix("gs://") {
            // In a gs:// name, '?' and '#' are ordinary characters.
            Some(_) => split_bucket(pasted.get(5..).unwrap_or_default(), str::to_owned),
            None => from_web(bare),
        };
        let located = found.filter(|l| {
            let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
            l.bucket.len() >= 3
                && l.bucket.chars().all(legal)
                && !l.name.contains(['\0', '\n', '\r'])
        });
        located.ok_or_else(|| StorageError::Config {
            problem: format!("not an address in a bucket: {:?}", bare.chars().take(200).collect::<String>()),
            place: "what was pasted".into(),
            remedy: "paste gs://bucket/audit/run/, or the address of the folder in the Firebase or Google \
                     Cloud console"
                .into(),
        })
    }
}

fn from_web(bare: &str) -> Option<Location> {
    let rest = bare
        .strip_prefix("https://")
        .or_else(|| bare.strip_prefix("http://"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match host {
        "console.cloud.google.com" => {
            let path = path.strip_prefix("storage/browser/")?;
            let path = path.strip_prefix("_details/").unwrap_or(path);
            // Matrix parameters such as `;tab=objects` follow the last part.
            split_bucket(path.split(';').next().unwrap_or_default(), decode)
        }
        "console.firebase.google.com" => {
            // [u/0/]project/P/storage/BUCKET/files[/~2Faudit~2Frun]
            let (_, path) = path.split_once("storage/")?;
            let (bucket, files) = path.split_once("/files").unwrap_or((path, ""));
            let name = decode(&files.trim_start_matches('/').replace('~', "%"));
            Some(Location {
                bucket: bucket.to_owned(),
                name: name.trim_start_matches('/').to_owned(),
            })
        }
        "storage.googleapis.com" | "storage.cloud.google.com" => split_bucket(path, decode),
        "firebasestorage.googleapis.com" => {
            let (bucket, name) = path.strip_prefix("v0/b/")?.split_once("/o/")?;
            Some(Location {
                bucket: bucket.to_owned(),
                name: decode(name),
            })
        }
        _ => {
            let bucket = host.strip_suffix(".storage.googleapis.com")?;
            Some(Location {
                bucket: bucket.to_owned(),
                name: decode(path),
            })
        }
    }
}

fn split_bucket(path: &str, decode: impl Fn(&str) -> String) -> Option<Location> {
    let (bucket, name) = path.split_once('/').unwrap_or((path, ""));
    if bucket.is_empty() {
        return None;
    }
    Some(Location {
        bucket: bucket.to_owned(),
        name: decode(name),
    })
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_usual_address_is_understood() {
        let bucket = "demo.firebasestorage.app";
        for (pasted, name) in [
            (
                "gs://demo.firebasestorage.app/audit/r 1/a#b?.png",
                "audit/r 1/a#b?.png",
            ),
            ("  gs://demo.firebasestorage.app ", ""),
            (
                "https://console.cloud.google.com/storage/browser/demo.firebasestorage.app/audit/r1;tab=objects?project=p&prefix=",
                "audit/r1",
            ),
            (
                "https://console.cloud.google.com/storage/browser/_details/demo.firebasestorage.app/audit/r%201/a.png",
                "audit/r 1/a.png",
            ),
            (
                "https://console.firebase.google.com/u/0/project/demo/storage/demo.firebasestorage.app/files/~2Faudit~2Fr1",
                "audit/r1",
            ),
            (
                "https://console.firebase.google.com/project/demo/storage/demo.firebasestorage.app/files",
                "",
            ),
            (
                "https://storage.googleapis.com/demo.firebasestorage.app/audit/r1/a%2Bb.png?X-Goog-Signature=00ff",
                "audit/r1/a+b.png",
            ),
            (
                "https://firebasestorage.googleapis.com/v0/b/demo.firebasestorage.app/o/audit%2Fr1%2Fa.png?alt=media&token=t",
                "audit/r1/a.png",
            ),
            (
                "https://demo.firebasestorage.app.storage.googleapis.com/audit/r1/a.png",
                "audit/r1/a.png",
            ),
        ] {
            let location = Location::parse(pasted).unwrap();
            assert_eq!(
                (location.bucket.as_str(), location.name.as_str()),
                (bucket, name),
                "{pasted}"
            );
        }
    }

    #[test]
    fn other_text_is_refused_and_a_signature_is_not_repeated() {
        for pasted in [
            "",
            "audit/r1",
            "https://example.com/a",
            "gs://",
            "gs://UP/x",
            "ftp://a/b",
        ] {
            assert!(Location::parse(pasted).is_err(), "{pasted}");
        }
        let error = Location::parse("https://example.com/a?X-Goog-Signature=00ff").unwrap_err();
        assert!(!error.to_string().contains("00ff"), "{error}");
    }
}
