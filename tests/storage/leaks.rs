//! No key, token or signature in any log: every line that any test of this file logs, at every level and of
//! every crate, is searched while it is written.

use std::io::Write;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use fill_audit::storage::gcs::Environment;
use fill_audit::storage::{Precondition, Store};
use tracing_subscriber::fmt::MakeWriter;

use super::support::{emulator, fixture, name, new_bucket, open_with_key};

static LINES: AtomicUsize = AtomicUsize::new(0);

/// The first secret in `line`, if there is one: a piece of the test key, a token that it signed, a signature.
pub fn secret_in(line: &str, key_pieces: &[String]) -> Option<String> {
    let lower = line.to_lowercase();
    for known in [
        "x-goog-signature=",
        "x-goog-credential=",
        "begin private key",
        "bearer ey",
        "ya29.",
    ] {
        if lower.contains(known) {
            return Some(known.to_owned());
        }
    }
    key_pieces
        .iter()
        .find(|piece| line.contains(piece.as_str()))
        .cloned()
}

pub fn key_pieces() -> Vec<String> {
    let text = std::fs::read_to_string(fixture("signing/key.json")).unwrap_or_default();
    let key: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let pem = key["private_key"].as_str().unwrap_or_default().to_owned();
    pem.lines()
        .filter(|l| l.len() == 64)
        .map(|l| l[..32].to_owned())
        .collect()
}

struct Watcher {
    key_pieces: Vec<String>,
}

impl Write for &Watcher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        LINES.fetch_add(1, Ordering::Relaxed);
        if let Some(secret) = secret_in(&line, &self.key_pieces) {
            eprintln!("a secret ({secret}) was logged: {line}");
            std::process::exit(101); // the whole suite fails, whichever test it was
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Watcher {
    type Writer = &'a Watcher;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Called first by every test.
pub fn listen_to_all_logs() {
    static START: Once = Once::new();
    START.call_once(|| {
        let watcher = Watcher {
            key_pieces: key_pieces(),
        };
        assert!(
            watcher.key_pieces.len() > 20,
            "the test key has not the expected form"
        );
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(watcher)
            .init();
    });
}

#[test]
fn the_watcher_would_see_a_secret() {
    let pieces = key_pieces();
    let piece = pieces.first().cloned().unwrap_or_default();
    assert!(secret_in(&format!("key: {piece}"), &pieces).is_some());
    assert!(secret_in("GET /a?X-Goog-Signature=00", &pieces).is_some());
    assert!(secret_in("authorization: Bearer eyJhbGciOi", &pieces).is_some());
    assert!(secret_in("an object was read", &pieces).is_none());
}

#[test]
fn the_search_of_the_suites_logs_finds_a_secret_and_misses_no_logs() -> Result<()> {
    let logs = tempfile::tempdir()?;
    let search = || -> Result<(bool, String)> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/setup/leaks.sh");
        let output = std::process::Command::new(script)
            .arg(logs.path())
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    };
    let (is_clean, said) = search()?;
    assert!(
        !is_clean && said.contains("no process has logged"),
        "{said}"
    );
    std::fs::write(logs.path().join("a.log"), "TRACE hyper: read\n")?;
    let (is_clean, said) = search()?;
    assert!(is_clean && said.contains("1 logs"), "{said}");
    let piece = key_pieces().first().cloned().unwrap_or_default();
    for line in [
        &piece,
        "GET /a?X-Goog-Signature=00",
        "authorization: Bearer eyJhbGciOi",
        "authorization: Bearer correct-horse-battery-staple",
        "x-serverless-authorization: Bearer e30.eyJhdWQiOiJodHRwcyJ9.c2ln",
        "{\"token\": \"e30.eyJhdWQiOiJodHRwcyJ9",
    ] {
        std::fs::write(logs.path().join("b.log"), format!("DEBUG x: {line}\n"))?;
        let (is_clean, said) = search()?;
        assert!(!is_clean && said.contains("b.log:1"), "{line}: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_reading_and_failing_with_a_key_log_no_secret() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let before = LINES.load(Ordering::Relaxed);
    let bucket = new_bucket(&address, "leaks").await?;
    let store = open_with_key(&address, &bucket).await?;
    let object = name("audit/r/a.png")?;
    let meta = store
        .write(&object, "picture".into(), Precondition::Absent)
        .await?;
    fill_audit::storage::store::read_verified(&store, &meta).await?;
    let link = store
        .link(&object, std::time::Duration::from_mins(1))
        .await?;
    store.try_link(&link.url).await?;
    // Failures too: with the key at hand, and with a link to a server that is not there.
    let gone = open_with_key("http://127.0.0.1:9", &bucket).await?;
    for error in [
        gone.stat(&object).await.err(),
        gone.write(&object, "x".into(), Precondition::Absent)
            .await
            .err(),
        gone.try_link(&link.url.replace(&address, "http://127.0.0.1:9"))
            .await
            .err(),
        store
            .write(&object, "x".into(), Precondition::Absent)
            .await
            .err(),
    ] {
        let Some(error) = error else {
            anyhow::bail!("a call succeeded that could not")
        };
        let said = format!("{error} {error:?}");
        tracing::error!(%error, debug = ?error, "as the program would log it");
        assert!(secret_in(&said, &key_pieces()).is_none(), "{said}");
    }
    let key = std::fs::read_to_string(fixture("signing/key.json"))?;
    let environment = Environment {
        firebase_credentials: Some(key),
        ..Environment::default()
    };
    tracing::error!(?environment, ?store, ?link, "as the program would log it");
    assert!(
        LINES.load(Ordering::Relaxed) > before + 50,
        "the logs of the crates were not heard"
    );
    Ok(())
}
