//! Signed links: byte-equal to Google's Python library and to the client crate, accepted, and ended in time.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use fill_audit::storage::gcs::sign::{Request, v4_url};
use fill_audit::storage::gcs::{Gcs, Identity, Limits};
use fill_audit::storage::links::{link_all, try_signing};
use fill_audit::storage::store::LinkKind;
use fill_audit::storage::{Precondition, Store};
use google_cloud_auth::credentials::service_account;
use google_cloud_auth::signer::{Signer, SigningError, SigningProvider};
use google_cloud_storage::builder::storage::SignedUrlBuilder;

use super::support::{emulator, fixture, name, new_bucket, open, open_with_key};

const BUCKET: &str = "demo.firebasestorage.app";

fn signer() -> Result<Signer> {
    let key = serde_json::from_str(&std::fs::read_to_string(fixture("signing/key.json"))?)?;
    Ok(service_account::Builder::new(key).build_signer()?)
}

fn at(date: &str) -> Result<SystemTime> {
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)?;
    Ok(civil.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().into())
}

#[tokio::test]
async fn signed_links_equal_googles_python_library() -> Result<()> {
    super::leaks::listen_to_all_logs();
    let signer = signer()?;
    let goldens = std::fs::read_to_string(fixture("signing/goldens.tsv"))?;
    let mut compared = 0;
    for line in goldens.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [method, lifetime, date, query, object, url] = fields[..] else {
            anyhow::bail!("a golden line has {} fields", fields.len());
        };
        let query: std::collections::BTreeMap<String, String> = serde_json::from_str(query)?;
        let query: Vec<(&str, &str)> = query
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let request = Request {
            method,
            endpoint: "https://storage.googleapis.com",
            bucket: BUCKET,
            name: object,
            lifetime: Duration::from_secs(lifetime.parse()?),
            now: at(date)?,
            query: &query,
        };
        ensure!(
            v4_url(&signer, &request).await? == url,
            "{method} {object} at {date} differs"
        );
        compared += 1;
    }
    assert_eq!(compared, 24);
    Ok(())
}

#[tokio::test]
async fn signed_links_equal_the_client_crates() -> Result<()> {
    super::leaks::listen_to_all_logs();
    let signer = signer()?;
    for object in ["audit/run 1/Q4_0_gs10.png", "audit/r/ü+~(1).png"] {
        let lifetime = Duration::from_hours(1);
        let theirs = SignedUrlBuilder::for_object(format!("projects/_/buckets/{BUCKET}"), object)
            .with_expiration(lifetime)
            .sign_with(&signer)
            .await?;
        let date = theirs
            .split("X-Goog-Date=")
            .nth(1)
            .and_then(|r| r.split('&').next());
        let request = Request {
            method: "GET",
            endpoint: "https://storage.googleapis.com",
            bucket: BUCKET,
            name: object,
            lifetime,
            now: at(date.context("no date in the link")?)?,
            query: &[],
        };
        ensure!(
            v4_url(&signer, &request).await? == theirs,
            "{object} differs"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_accepted_say_their_kind_and_end() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "links").await?;
    let now = || SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
    let store = open_with_key(&address, &bucket).await?.with_clock(now);
    let object = name("audit/r/a b+c.png")?;
    store
        .write(&object, "picture".into(), Precondition::Absent)
        .await?;
    let probe = try_signing(&store, &name("audit/r/not-there-yet.png")?).await?;
    assert_eq!(probe.kind, LinkKind::OwnKey);
    let links = link_all(
        &store,
        "audit/r/",
        std::path::Path::new("runs/r"),
        &["a b+c.png".into()],
    )
    .await?;
    let link = links.by_file.get("a b+c.png").context("no link")?;
    assert_eq!(link.expires_at, Some(now() + Duration::from_hours(72)));
    let said = links.sentence();
    assert!(
        said.contains("own key") && said.contains("2027-01-18 08:00 UTC"),
        "{said}"
    );
    let answer = reqwest::get(&link.url).await?;
    assert_eq!(answer.text().await?, "picture");
    assert!(
        !format!("{link:?}").contains("Signature"),
        "Debug shows the link"
    );
    // Renewed later, the same file gets another end.
    let later = || SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_500_000);
    let renewed = open_with_key(&address, &bucket)
        .await?
        .with_clock(later)
        .link(&object, Duration::from_mins(1))
        .await?;
    assert_eq!(renewed.expires_at, Some(later() + Duration::from_mins(1)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_signer_links_fall_back_to_public_and_then_to_paths() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "fallback").await?).await?;
    let object = name("audit/r/a.png")?;
    store
        .write(&object, "picture".into(), Precondition::Absent)
        .await?;
    // The emulator shows every object that exists to everyone.
    let public = store.link(&object, Duration::from_mins(1)).await?;
    assert_eq!((public.kind, public.expires_at), (LinkKind::Public, None));
    assert_eq!(reqwest::get(&public.url).await?.text().await?, "picture");
    let dir = std::path::Path::new("runs/r");
    let links = link_all(&*store, "audit/r/", dir, &["missing.png".into()]).await?;
    let link = links.by_file.get("missing.png").context("no link")?;
    assert_eq!(
        (link.kind, link.url.as_str()),
        (LinkKind::LocalPath, "runs/r/missing.png")
    );
    assert!(links.sentence().contains("local paths"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_signers_links_are_capped_at_twelve_hours() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "capped").await?;
    // Stands in for signBlob: what counts here is what is promised for its kind.
    let identity = Identity {
        signer: Some((signer()?, LinkKind::SignBlob)),
        words: "test".into(),
        ..Identity::anonymous()
    };
    let store = Gcs::new(&bucket, &address, identity, Limits::for_tests()).await?;
    let before = SystemTime::now();
    let link = store
        .link(&name("audit/r/a.png")?, Duration::from_hours(72))
        .await?;
    let end = link.expires_at.context("no end")?;
    assert_eq!(link.kind, LinkKind::SignBlob);
    assert!(end <= SystemTime::now() + Duration::from_hours(12));
    assert!(end >= before + Duration::from_hours(12));
    assert!(link.url.contains("X-Goog-Expires=43200"));
    Ok(())
}

/// A `signBlob` that refuses, or never answers.
#[derive(Debug)]
struct Remote {
    stalls: bool,
}

impl SigningProvider for Remote {
    async fn client_email(&self) -> google_cloud_auth::signer::Result<String> {
        Ok("audit@demo.iam.gserviceaccount.com".to_owned())
    }

    async fn sign(&self, _content: &[u8]) -> google_cloud_auth::signer::Result<bytes::Bytes> {
        if self.stalls {
            std::future::pending::<()>().await;
        }
        Err(SigningError::from_msg(
            "the caller does not have permission",
        ))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_refuses_or_stalls_ends_in_the_next_way_within_its_time() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "signblob").await?;
    let object = name("audit/r1/a.png")?;
    let nobody = open(&address, &bucket).await?;
    nobody
        .write(&object, "png".into(), Precondition::Absent)
        .await?;
    for stalls in [false, true] {
        let identity = Identity {
            signer: Some((Signer::from(Remote { stalls }), LinkKind::SignBlob)),
            ..Identity::anonymous()
        };
        let store = Gcs::new(&bucket, &address, identity, Limits::for_tests()).await?;
        let started = std::time::Instant::now();
        let link = try_signing(&store, &object).await?;
        assert_eq!(link.kind, LinkKind::Public, "the emulator's objects are");
        let missing = try_signing(&store, &name("audit/r1/b.png")?).await?;
        assert_eq!(missing.kind, LinkKind::LocalPath);
        ensure!(
            started.elapsed() < 4 * Limits::for_tests().idle,
            "stalls: {stalls}"
        );
    }
    Ok(())
}
