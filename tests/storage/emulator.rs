//! The store itself against the emulator: lists, preconditions, ranges, large uploads, odd names, deletes.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use fill_audit::storage::store::{ListQuery, list_all, read_verified};
use fill_audit::storage::{Precondition, Store};
use futures::StreamExt as _;

use super::faulty_server::{Fault, Kind, start};
use super::support::{bytes, emulator, name, new_bucket, open};

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_objects_list_in_pages_and_read_back() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "pages").await?).await?;
    let written: Vec<Result<_>> = futures::stream::iter(0..300)
        .map(|i| {
            let store = &store;
            async move {
                let object = name(&format!("audit/r{}/{i:03}.png", i % 3))?;
                Ok(store
                    .write(
                        &object,
                        bytes(500 + i, i as u64).into(),
                        Precondition::Absent,
                    )
                    .await?)
            }
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let written = written.into_iter().collect::<Result<Vec<_>>>()?;
    let mut query = ListQuery {
        prefix: "audit/".into(),
        page_size: 70,
        ..ListQuery::default()
    };
    let (mut pages, mut names) = (0, BTreeSet::new());
    loop {
        let page = store.list(&query).await?;
        pages += 1;
        names.extend(page.objects.into_iter().map(|o| o.name));
        match page.next_page {
            None => break,
            token => query.page_token = token,
        }
    }
    assert_eq!((pages, names.len()), (5, 300));
    let folders = list_all(&*store, "audit/", true).await?;
    assert_eq!(folders.prefixes, ["audit/r0/", "audit/r1/", "audit/r2/"]);
    assert!(folders.objects.is_empty());
    for meta in written.iter().step_by(37) {
        let listed = store.stat(&meta.name).await?;
        assert_eq!(
            (listed.generation, listed.crc32c),
            (meta.generation, meta.crc32c)
        );
        let read = read_verified(&*store, meta).await?;
        assert_eq!(Some(crc32c::crc32c(&read)), meta.crc32c);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn preconditions_hold_against_overwriting() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "conditions").await?).await?;
    let object = name("audit/r/phase1.toml")?;
    let first = store
        .write(&object, "one".into(), Precondition::Absent)
        .await?;
    let again = store
        .write(&object, "two".into(), Precondition::Absent)
        .await;
    assert!(again.is_err_and(|e| e.is_precondition()));
    let second = store
        .write(
            &object,
            "two".into(),
            Precondition::Generation(first.generation),
        )
        .await?;
    let stale = store
        .write(
            &object,
            "three".into(),
            Precondition::Generation(first.generation),
        )
        .await;
    let Err(error) = stale else {
        anyhow::bail!("a stale generation was overwritten")
    };
    assert!(error.to_string().contains("phase1.toml"), "{error}");
    assert_eq!(read_verified(&*store, &second).await?, b"two");
    store
        .delete(&object, Precondition::Generation(second.generation))
        .await?;
    assert!(store.stat(&object).await.is_err_and(|e| e.is_not_found()));
    assert!(
        store
            .delete(&object, Precondition::None)
            .await
            .is_err_and(|e| e.is_not_found())
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_give_exactly_the_bytes_that_were_asked_for() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "ranges").await?).await?;
    let object = name("audit/r/a.png")?;
    let content = bytes(100_000, 5);
    store
        .write(&object, content.clone().into(), Precondition::Absent)
        .await?;
    for (offset, len) in [(0, 10), (1000, 2000), (99_990, 100), (0, 100_000), (5, 0)] {
        let read = store.read_range(&object, offset, len).await?;
        let end = (offset + len).min(100_000) as usize;
        ensure!(
            read[..] == content[offset as usize..end],
            "{offset}+{len} differs"
        );
    }
    assert!(
        store
            .read_range(&name("audit/r/none")?, 0, 1)
            .await
            .is_err_and(|e| e.is_not_found())
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_go_up_in_resumable_pieces() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "large").await?).await?;
    let content = bytes(20 << 20, 9);
    let object = name("audit/r/large.bin")?;
    let meta = store
        .write(&object, content.clone().into(), Precondition::Absent)
        .await?;
    assert_eq!(meta.size_bytes, 20 << 20);
    assert_eq!(
        store.stat(&object).await?.crc32c,
        Some(crc32c::crc32c(&content))
    );
    ensure!(
        read_verified(&*store, &meta).await? == content,
        "20 MiB differ"
    );
    Ok(())
}

/// The emulator ignores preconditions of deletes and of resumable uploads, so that here the request itself
/// has to show them; Google's service honours both.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_and_resumable_uploads_carry_their_precondition() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let bucket = new_bucket(&address, "carried").await?;
    let proxy = start(&address, Kind::Media, Fault::NoAnswer, 0).await?;
    let store = open(&proxy.address, &bucket).await?;
    let object = name("audit/r/large.bin")?;
    let meta = store
        .write(&object, vec![1u8; 9 << 20].into(), Precondition::Absent)
        .await?;
    store
        .delete(&object, Precondition::Generation(meta.generation))
        .await?;
    let requests = proxy
        .requests
        .lock()
        .map_err(|_poisoned| anyhow::anyhow!("the proxy panicked"))?
        .clone();
    let has = |parts: &[&str]| {
        requests
            .iter()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    };
    ensure!(
        has(&["POST ", "uploadType=resumable", "ifGenerationMatch=0"]),
        "{requests:?}"
    );
    ensure!(
        has(&["DELETE ", &format!("ifGenerationMatch={}", meta.generation)]),
        "{requests:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_survive_the_way_there_and_back() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, &new_bucket(&address, "names").await?).await?;
    let odd = [
        "a b.png",
        "a#b.png",
        "100%.png",
        "%2F.png",
        "a+b.png",
        "ü~(1).png",
        "图像.png",
        "a?b&c=d.png",
        "sub/é.png",
    ];
    for file in odd {
        let object = name(&format!("audit/r/{file}"))?;
        let meta = store
            .write(
                &object,
                file.as_bytes().to_vec().into(),
                Precondition::Absent,
            )
            .await?;
        assert_eq!(
            read_verified(&*store, &meta).await?,
            file.as_bytes(),
            "{file}"
        );
        assert_eq!(
            store.stat(&object).await?.generation,
            meta.generation,
            "{file}"
        );
        assert_eq!(
            &store.read_range(&object, 0, 1).await?[..],
            &file.as_bytes()[..1],
            "{file}"
        );
    }
    let listed = list_all(&*store, "audit/r/", false).await?;
    let found: BTreeSet<String> = listed.objects.iter().map(|o| o.name.to_string()).collect();
    let wanted: BTreeSet<String> = odd.iter().map(|f| format!("audit/r/{f}")).collect();
    assert_eq!(found, wanted);
    for object in listed.objects {
        store
            .delete(&object.name, Precondition::Generation(object.generation))
            .await?;
    }
    assert!(
        list_all(&*store, "audit/r/", false)
            .await?
            .objects
            .is_empty()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_or_object_is_called_not_found() -> Result<()> {
    let Some(address) = emulator() else {
        return Ok(());
    };
    let store = open(&address, "no-such-bucket.firebasestorage.app").await?;
    assert!(
        store
            .check_bucket_exists()
            .await
            .is_err_and(|e| e.is_not_found())
    );
    assert!(
        store
            .stat(&name("a")?)
            .await
            .is_err_and(|e| e.is_not_found())
    );
    let elsewhere = open("http://127.0.0.1:9", "no-such-bucket.firebasestorage.app").await?;
    let Err(error) = elsewhere.stat(&name("a")?).await else {
        anyhow::bail!("port 9 answers")
    };
    assert!(error.is_offline(), "{error}");
    let written = elsewhere
        .write(&name("a")?, "x".into(), Precondition::Absent)
        .await;
    assert!(written.is_err_and(|e| e.is_offline()));
    Ok(())
}

/// Everything else here speaks plain HTTP, and would not notice that TLS panics for want of a provider.
#[tokio::test]
async fn a_store_behind_tls_opens_and_says_that_it_is_offline() -> Result<()> {
    super::leaks::listen_to_all_logs();
    let store = open("https://127.0.0.1:9", "some-bucket").await?;
    let object = name("a")?;
    assert!(store.stat(&object).await.is_err_and(|e| e.is_offline()));
    assert!(
        store
            .read_range(&object, 0, 1)
            .await
            .is_err_and(|e| e.is_offline())
    );
    Ok(())
}
