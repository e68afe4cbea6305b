//! Runs in a bucket: the list, fetching, sending, deciding, working offline, and the settings.

use super::bucket_store::{BUCKET, GatedStore, copy_folder, only_in_bucket, services, shelf};
use super::harness::{Desk, keep_picture, service_run, step_until, view};
use super::lab_runs::own_run;
use eframe::egui::{Event, Key, Modifiers, Vec2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::bucket::StorageServices;
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::state::bucket::inbox::Thumbnail;
use fill_audit::state::{AppState, Page};
use fill_audit::storage::gcs::{Environment, Limits};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Window = Harness<'static, FillAuditApp>;

const RUN: &str = "20260222-025304";

fn open(services: Services, target: Option<PathBuf>) -> Window {
    Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, target, services))
}

fn open_rendered(services: Services, target: Option<PathBuf>, size: Vec2) -> Window {
    Harness::builder()
        .with_size(size)
        .wgpu()
        .build_eframe(|cc| FillAuditApp::new(cc, target, services))
}

fn until_label(window: &mut Window, text: &str) {
    step_until(window, &format!("it says {text:?}"), |window| {
        window.query_all_by_label_contains(text).next().is_some()
    });
}

fn until_done(window: &mut Window, cells: usize) {
    step_until(window, &format!("{cells} cells are done"), |window| {
        let run = window.state().state().run.as_ref();
        run.is_some_and(|view| view.run.done_count() == cells)
    });
}

/// Steps until a condition of the state holds; says what the window says if it does not.
fn until(window: &mut Window, what: &str, is_met: impl Fn(&AppState) -> bool) {
    let limit = Instant::now() + Duration::from_secs(25);
    while !is_met(window.state().state()) {
        let state = window.state().state();
        let bucket = &state.bucket;
        assert!(
            Instant::now() < limit,
            "not in time: {what}; {:?}; {:?}; {:?}",
            state.toasts,
            bucket.pull,
            bucket.push
        );
        window.step();
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn click(window: &mut Window, label: &str) {
    until_label(window, label);
    window
        .query_all_by_label_contains(label)
        .next()
        .expect("it is there")
        .click();
    window.run_steps(2);
}

/// A desk whose run lies in the bucket only, and the bucket.
fn remote_desk() -> (Desk, Arc<GatedStore>) {
    let desk = Desk::new();
    only_in_bucket(&desk);
    let store = GatedStore::new(&shelf(&desk));
    (desk, store)
}

#[test]
fn a_run_of_the_python_service_opens_from_the_bucket_like_any_other() {
    let (desk, store) = remote_desk();
    let mut window = open(services(&desk, &store), None);
    assert_eq!(window.state().state().page, Page::Inbox);
    click(&mut window, &format!("run {RUN}, bucket, 15 of 15 cells"));
    until_done(&mut window, 15);
    assert!(window.query_by_label("Q4_0_gs10, done, baseline").is_some());
    step_until(&mut window, "the pull has ended", |window| {
        let pull = window.state().state().bucket.pull.as_ref();
        pull.is_some_and(|pull| !pull.is_running())
    });
    assert!(view(&window).run.document().is_none());
    for entry in std::fs::read_dir(service_run()).expect("listed").flatten() {
        let here = std::fs::read(desk.run.join(entry.file_name())).expect("it is here");
        assert!(
            here == std::fs::read(entry.path()).expect("read"),
            "{entry:?}"
        );
    }
    // Now it is on both sides.
    window.key_press_modifiers(Modifiers::COMMAND, Key::Num1);
    until_label(&mut window, &format!("run {RUN}, bucket and disk"));
}

#[test]
fn a_run_opens_with_what_is_there_and_fills_with_the_cells_on_screen_first() {
    let (desk, store) = remote_desk();
    store.allow(0);
    let target = PathBuf::from(format!("gs://{BUCKET}/audit/{RUN}/"));
    let mut window = open(services(&desk, &store), Some(target));
    // The report alone gives the grid; every picture is on its way.
    until_label(&mut window, "Q8_0_gs30, arriving");
    assert_eq!(view(&window).run.done_count(), 0);
    until_label(&mut window, "fetching 1 of 16");
    // Up to six were on their way before anything could be seen; from then on what is looked at comes first.
    window.key_press(Key::ArrowDown);
    window.key_press(Key::ArrowDown);
    window.run_steps(3);
    assert_eq!(super::harness::selected(&window), "Q8_0_gs10");
    store.allow(7);
    until_done(&mut window, 7);
    let fetched = store.fetched();
    assert!(
        fetched.iter().any(|file| file == "Q8_0_gs10.png"),
        "by its name it would have been the eleventh: {fetched:?}"
    );
    assert_eq!(view(&window).run.warnings, Vec::<String>::new());
    click(&mut window, "Stop fetching");
    until_label(&mut window, "files are not fetched");
    assert_eq!(view(&window).run.done_count(), 7, "what has arrived stays");
    let before = store.fetched().len();
    store.allow(100);
    click(&mut window, "Fetch the rest");
    until_done(&mut window, 15);
    let again = store.fetched().split_off(before);
    assert_eq!(again.len(), 8, "nothing is fetched twice: {again:?}");
}

#[test]
fn a_run_of_this_program_streams_in_without_a_false_word_about_what_is_on_its_way() {
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let id = run
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    copy_folder(&run, &shelf(&desk).join("audit").join(&id));
    std::fs::remove_dir_all(&run).expect("removed");
    let store = GatedStore::new(&shelf(&desk));
    store.allow(0);
    let target = PathBuf::from(format!("gs://{BUCKET}/audit/{id}"));
    let mut window = open(services(&desk, &store), Some(target));
    until_label(&mut window, "Q4_0_gs4, arriving");
    window.run_steps(20);
    let check = |window: &Window| {
        let state = window.state().state();
        let errors: Vec<_> = state.toasts.iter().filter(|toast| toast.is_error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(view(window).run.warnings, Vec::<String>::new());
    };
    check(&window);
    assert!(view(&window).masks.all().next().is_none());
    assert!(view(&window).run.document().is_some());
    store.allow(100);
    until_done(&mut window, 2);
    step_until(&mut window, "the mask is measured", |window| {
        let run = window.state().state().run.as_ref();
        run.is_some_and(|view| view.masks.all().next().is_some())
    });
    check(&window);
    assert!(
        window
            .query_by_label("Q4_0_gs10, done, baseline's quant and guidance")
            .is_some()
    );
}

#[test]
fn a_run_in_progress_fills_as_its_objects_appear() {
    let desk = Desk::new();
    std::fs::remove_dir_all(&desk.run).expect("removed");
    let there = shelf(&desk).join("audit").join(RUN);
    std::fs::create_dir_all(&there).expect("made");
    let place = |file: &str| {
        std::fs::copy(service_run().join(file), there.join(file)).expect("copied");
    };
    place("Q4_0_gs2.png");
    place("Q4_0_gs10.png");
    let store = GatedStore::new(&shelf(&desk));
    let mut window = open(services(&desk, &store), None);
    until_label(&mut window, "2 of 2 cells, 2 unreviewed, in progress");
    click(&mut window, &format!("run {RUN}"));
    until_done(&mut window, 2);
    until_label(&mut window, "in progress: 2 files so far");
    place("Q8_0_gs30.png");
    until_done(&mut window, 3);
    assert!(window.query_by_label("Q8_0_gs30, done").is_some());
    place("REPORT.md");
    step_until(&mut window, "the run is whole", |window| {
        let pull = window.state().state().bucket.pull.as_ref();
        pull.is_some_and(|pull| !pull.is_running())
    });
    until_label(&mut window, "Q4_0_gs20, missing");
}

#[test]
fn an_address_is_pasted_or_typed_and_a_wrong_one_is_named() {
    let (desk, store) = remote_desk();
    let mut window = open(services(&desk, &store), None);
    until_label(&mut window, &format!("run {RUN}"));
    let pasted = format!(
        "https://console.firebase.google.com/u/0/project/demo/storage/{BUCKET}/files/~2Faudit~2F{RUN}"
    );
    window.event(Event::Paste(pasted));
    until_done(&mut window, 15);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Num1);
    window.run_steps(3);
    window.event(Event::Paste(
        "https://example.com/run?X-Goog-Signature=00ff".to_owned(),
    ));
    until_label(&mut window, "not an address in a bucket");
    assert!(
        window.query_by_label_contains("00ff").is_none(),
        "its query is not repeated"
    );
    let field = window.get_by_label("Address");
    field.focus();
    window.run_steps(2);
    assert!(
        window
            .state()
            .state()
            .bucket
            .inbox
            .address
            .contains("example.com")
    );
    assert_eq!(window.state().state().page, Page::Inbox);
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl eframe::egui::DroppedFile for Dropped {
    fn path(&self) -> &std::path::Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        Err("nobody reads a folder's bytes".to_owned())
    }
}

#[test]
fn a_folder_that_is_dropped_on_the_list_opens() {
    let (desk, store) = remote_desk();
    let elsewhere = desk.folder.path().join("elsewhere").join(RUN);
    copy_folder(&service_run(), &elsewhere);
    let mut window = open(services(&desk, &store), None);
    until_label(&mut window, &format!("run {RUN}"));
    let dropped = Arc::new(Dropped(elsewhere.clone()));
    window.input_mut().dropped_files.push(dropped);
    until_done(&mut window, 15);
    assert_eq!(view(&window).dir, elsewhere);
}

#[test]
fn the_list_is_searched_and_sorted_and_opened_by_keys() {
    let (desk, store) = remote_desk();
    copy_folder(&service_run(), &desk.folder.path().join("runs/a-local-run"));
    let mut window = open(services(&desk, &store), None);
    until_label(&mut window, &format!("run {RUN}, bucket"));
    window.get_by_label("Sort by Run").click();
    window.run_steps(2);
    let ids = |window: &Window| -> Vec<String> {
        let inbox = &window.state().state().bucket.inbox;
        inbox.shown().iter().map(|row| row.run_id.clone()).collect()
    };
    assert_eq!(ids(&window), [RUN, "a-local-run"]);
    window.get_by_label("Sort by Run").click();
    window.run_steps(2);
    assert_eq!(ids(&window), ["a-local-run", RUN]);
    window.get_by_label("Search").focus();
    window.run_steps(2);
    window.event(Event::Text("local".to_owned()));
    window.run_steps(2);
    assert_eq!(ids(&window), ["a-local-run"]);
    assert!(window.query_by_label("1 of 2 runs").is_some());
    window.key_press(Key::Escape);
    window.run_steps(2);
    window.key_press(Key::ArrowDown);
    window.run_steps(2);
    window.key_press(Key::Enter);
    until_done(&mut window, 15);
    assert!(view(&window).dir.ends_with("runs/a-local-run"));
}

/// Settings that were approved from a run, where the window writes them.
fn approved_from(desk: &Desk, run: &str) {
    let text = include_str!("../fixtures/review/approved.toml");
    let text = text.replace("20261121-090000", run);
    std::fs::write(desk.phase1(), text).expect("written");
}

#[test]
fn the_open_run_goes_up_by_a_key_and_conflicts_wait_for_a_decision() {
    let desk = Desk::new();
    approved_from(&desk, RUN);
    std::fs::write(desk.run.join("notes.txt"), "ours").expect("written");
    let store = GatedStore::new(&shelf(&desk));
    let mut window = open(services(&desk, &store), Some(desk.run.clone()));
    until_done(&mut window, 15);
    window.key_press_modifiers(Modifiers::COMMAND, Key::U);
    until_label(&mut window, "files sent to gs://");
    let there = shelf(&desk).join("audit").join(RUN);
    for file in ["REPORT.md", "Q8_0_gs30.png", "phase1.toml"] {
        assert!(there.join(file).is_file(), "{file}");
    }
    // Somebody else changes two files, and so do we.
    for file in ["REPORT.md", "notes.txt"] {
        std::fs::write(there.join(file), format!("theirs, {file}")).expect("written");
        std::fs::write(desk.run.join(file), format!("mine, {file}")).expect("written");
    }
    window.key_press_modifiers(Modifiers::COMMAND, Key::U);
    until_label(&mut window, "2 files were changed here and in the bucket");
    let read = |path: &str| std::fs::read_to_string(path).expect("read");
    let theirs = there.join("REPORT.md").display().to_string();
    assert_eq!(read(&theirs), "theirs, REPORT.md", "nothing was replaced");
    assert!(window.query_by_label("2 without a decision").is_some());
    click(&mut window, "Keep mine: REPORT.md");
    click(&mut window, "Keep both: notes.txt");
    click(&mut window, "Go on sending");
    step_until(&mut window, "it is sent", |window| {
        let bucket = &window.state().state().bucket;
        bucket.push.is_none() && bucket.conflicts.is_none()
    });
    assert_eq!(read(&theirs), "mine, REPORT.md");
    let here = std::fs::read_to_string(desk.run.join("notes.txt")).expect("read");
    assert_eq!(here, "theirs, notes.txt");
    for folder in [&there, &desk.run] {
        let kept = std::fs::read_dir(folder)
            .expect("listed")
            .flatten()
            .find(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with("notes.mine-")
            });
        let kept = kept.expect("mine is kept beside theirs").path();
        assert_eq!(
            std::fs::read_to_string(kept).expect("read"),
            "mine, notes.txt"
        );
    }
}

#[test]
fn a_decision_does_not_reach_what_was_changed_again_since() {
    let desk = Desk::new();
    approved_from(&desk, "20261121-090000");
    let store = GatedStore::new(&shelf(&desk));
    let mut window = open(services(&desk, &store), Some(desk.run.clone()));
    until_done(&mut window, 15);
    window.key_press_modifiers(Modifiers::COMMAND, Key::U);
    until_label(&mut window, "files sent to gs://");
    let there = shelf(&desk).join("audit").join(RUN);
    assert!(!there.join("phase1.toml").exists(), "it is another run's");
    let theirs = there.join("REPORT.md");
    std::fs::write(&theirs, "theirs, first").expect("written");
    std::fs::write(desk.run.join("REPORT.md"), "mine").expect("written");
    window.key_press_modifiers(Modifiers::COMMAND, Key::U);
    click(&mut window, "Keep mine: REPORT.md");
    std::fs::write(&theirs, "theirs, once more").expect("written");
    click(&mut window, "Go on sending");
    until_label(&mut window, "1 without a decision");
    let now = std::fs::read_to_string(&theirs).expect("read");
    assert_eq!(now, "theirs, once more");
}

#[test]
fn offline_the_last_list_is_shown_with_its_age_and_what_is_sent_waits() {
    let (desk, store) = remote_desk();
    let mut window = open(services(&desk, &store), None);
    click(&mut window, &format!("run {RUN}"));
    until_done(&mut window, 15);
    store.unplug(true);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Num1);
    until_label(&mut window, "offline: the list is under a minute old");
    click(&mut window, &format!("run {RUN}, bucket and disk"));
    until_label(&mut window, "offline, list is");
    assert_eq!(view(&window).run.done_count(), 15);
    std::fs::write(desk.run.join("notes.txt"), "ours").expect("written");
    window.key_press_modifiers(Modifiers::COMMAND, Key::U);
    until(&mut window, "it waits", |state| {
        !state.bucket.queue.is_empty()
    });
    until_label(&mut window, "1 run waits for the network");
    // It is on disk: another window knows of it, and sends it when the bucket answers.
    drop(window);
    let mut window = open(services(&desk, &store), None);
    until_label(&mut window, "1 run waits for the network");
    store.unplug(false);
    window.key_press(Key::F5);
    until_label(&mut window, "sent: ");
    step_until(&mut window, "nothing waits", |window| {
        window.state().state().bucket.queue.is_empty()
    });
    let there = shelf(&desk).join("audit").join(RUN).join("notes.txt");
    assert_eq!(std::fs::read_to_string(there).expect("sent"), "ours");
}

#[test]
fn settings_of_storage_are_saved_whole_checked_and_refused_by_name() {
    let (desk, store) = remote_desk();
    let mut services = services(&desk, &store);
    services.storage.bucket = None;
    services.storage.limits = Limits::for_tests();
    services.storage.environment.firebase_credentials = Some("/keys/none.json".to_owned());
    let mut window = open(services, None);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Num5);
    until_label(&mut window, "Credentials in use");
    until_label(&mut window, "FIREBASE_CREDENTIALS names: /keys/none.json");
    let type_into = |window: &mut Window, label: &str, text: &str| {
        window.get_by_label(label).focus();
        window.run_steps(2);
        window.key_press_modifiers(Modifiers::COMMAND, Key::A);
        window.event(Event::Text(text.to_owned()));
        window.run_steps(2);
    };
    type_into(&mut window, "Bucket", BUCKET);
    type_into(&mut window, "Runs in it", "audit/");
    click(&mut window, "Save storage settings");
    until_label(&mut window, "run_prefix must end in {run_id}/");
    assert!(!desk.folder.path().join("storage.toml").exists());
    type_into(&mut window, "Runs in it", "runs/{run_id}/");
    click(&mut window, "Save storage settings");
    until_label(&mut window, "the settings of storage are saved");
    let text = std::fs::read_to_string(desk.folder.path().join("storage.toml")).expect("written");
    assert!(
        text.contains(BUCKET) && text.contains("runs/{run_id}/"),
        "{text}"
    );
    click(&mut window, "Check");
    step_until(&mut window, "it is checked", |window| {
        !window.state().state().bucket.settings.checks.is_empty()
    });
    assert!(window.query_by_label("credentials").is_some());
    assert!(
        window
            .query_by_label_contains("/keys/none.json cannot be read")
            .is_some()
    );
}

/// The same through the real client, against the emulator.
#[test]
fn a_run_opens_from_and_goes_back_to_the_emulator() {
    let Ok(address) = std::env::var("FILL_AUDIT_EMULATOR") else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "FILL_AUDIT_EMULATOR is not set although CI=true: tests/run starts an emulator"
        );
        return;
    };
    let desk = Desk::new();
    let mut random = [0u8; 4];
    getrandom::fill(&mut random).expect("random");
    let bucket = format!(
        "window-{:08x}.firebasestorage.app",
        u32::from_le_bytes(random)
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let made = runtime.block_on(
        reqwest::Client::new()
            .post(format!("{address}/storage/v1/b?project=demo"))
            .json(&serde_json::json!({ "name": bucket }))
            .send(),
    );
    assert!(made.expect("an answer").status().is_success());
    let folder = desk.folder.path().to_owned();
    let services = |cache: &str| Services {
        storage: StorageServices {
            bucket: Some(bucket.clone()),
            cache_dir: Some(folder.join(cache)),
            queue_dir: Some(folder.join("queue")),
            environment: Environment {
                emulator_host: Some(address.clone()),
                // With a key at hand, so that the logs of this test could give it away.
                firebase_credentials: Some(include_str!("../fixtures/signing/key.json").to_owned()),
                ..Environment::default()
            },
            limits: Limits::for_tests(),
            ..StorageServices::default()
        },
        ..desk.services()
    };
    let mut window = open(services("cache-1"), Some(desk.run.clone()));
    until_done(&mut window, 15);
    window.key_press_modifiers(Modifiers::COMMAND, Key::U);
    until_label(&mut window, "files sent to gs://");
    drop(window);
    std::fs::remove_dir_all(&desk.run).expect("removed");
    let target = PathBuf::from(format!("gs://{bucket}/audit/{RUN}/"));
    let mut window = open(services("cache-2"), Some(target));
    until_done(&mut window, 15);
    step_until(&mut window, "a verdict can be sent", |window| {
        let pull = window.state().state().bucket.pull.as_ref();
        pull.is_some_and(|pull| !pull.is_running())
    });
    window.key_press(Key::P);
    step_until(&mut window, "the verdict is on disk", |_| {
        desk.journal().contains("Q4_0")
    });
    window.key_press_modifiers(Modifiers::COMMAND, Key::U);
    until_label(&mut window, "1 review merged");
}

/// Forty runs on both sides, as a list that is worth searching.
fn forty_runs(desk: &Desk) {
    let source = service_run();
    let pictures: Vec<PathBuf> = std::fs::read_dir(&source)
        .expect("listed")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "png"))
        .collect();
    for number in 0..40_usize {
        let id = format!("202602{:02}-{:02}5304", 1 + number % 28, number % 24);
        let folder = if number % 3 == 0 {
            desk.folder.path().join("runs").join(&id)
        } else {
            shelf(desk).join("audit").join(&id)
        };
        std::fs::create_dir_all(&folder).expect("made");
        for picture in pictures.iter().skip(number % 5).take(3 + number % 12) {
            let name = picture.file_name().expect("a name");
            std::fs::copy(picture, folder.join(name)).expect("copied");
        }
        if number % 7 == 3 {
            std::fs::write(folder.join("Q8_0_gs4.ron"), "(failed)").expect("written");
            let _ = std::fs::remove_file(folder.join("Q8_0_gs4.png"));
        }
        if number % 6 == 2 {
            let journal = include_str!("../fixtures/review/review-jane.ron");
            std::fs::write(folder.join("review-jane.ron"), journal).expect("written");
        }
        if number % 5 != 4 {
            let head = format!(
                "# Baseline Audit Report\n**Session:** D1A4{number:04X} | **Date:** 2026\n"
            );
            std::fs::write(folder.join("REPORT.md"), head).expect("written");
        }
    }
}

#[test]
fn pictures_of_the_list() {
    let desk = Desk::new();
    forty_runs(&desk);
    let store = GatedStore::new(&shelf(&desk));
    for (name, size) in [
        ("inbox_1280", vec2(1280.0, 800.0)),
        ("inbox_3840", vec2(3840.0, 2160.0)),
        ("inbox_narrow", vec2(700.0, 500.0)),
    ] {
        let mut window = open_rendered(services(&desk, &store), None, size);
        let mut quiet = 0;
        step_until(
            &mut window,
            "every small picture on screen is there",
            |window| {
                let app = window.state();
                let inbox = &app.state().bucket.inbox;
                let is_whole = inbox.listing.rows.len() == 41 && inbox.listing_job.is_none();
                let shown = inbox.thumbnails.values();
                let are_ready = !inbox.thumbnails.is_empty()
                    && shown.clone().all(|it| matches!(it, Thumbnail::Ready(_)));
                quiet = if is_whole && are_ready && !app.is_loading() {
                    quiet + 1
                } else {
                    0
                };
                quiet > 5
            },
        );
        let drawn = window.state().state().bucket.inbox.thumbnails.len();
        assert!(drawn < 41, "only what is on screen is asked for: {drawn}");
        keep_picture(&mut window, name);
    }
    store.unplug(true);
    let mut window = open_rendered(services(&desk, &store), None, vec2(1280.0, 800.0));
    until_label(&mut window, "offline: the list is");
    window.run_steps(20);
    keep_picture(&mut window, "inbox_offline_1280");
}

#[test]
fn pictures_of_a_run_that_streams_in() {
    let (desk, store) = remote_desk();
    store.allow(7);
    let target = PathBuf::from(format!("gs://{BUCKET}/audit/{RUN}/"));
    let mut window = open_rendered(services(&desk, &store), Some(target), vec2(1280.0, 800.0));
    until_done(&mut window, 7);
    step_until(&mut window, "they are drawn", |window| {
        !window.state().is_loading()
    });
    window.run_steps(10);
    keep_picture(&mut window, "fetching_1280");
    click(&mut window, "Stop fetching");
    until_label(&mut window, "files are not fetched");
    keep_picture(&mut window, "fetching_stopped_1280");
}

#[test]
fn pictures_of_settings_and_of_a_decision() {
    let desk = Desk::new();
    std::fs::write(desk.run.join("notes.txt"), "ours").expect("written");
    let store = GatedStore::new(&shelf(&desk));
    for (name, size) in [
        ("1280", vec2(1280.0, 800.0)),
        ("3840", vec2(3840.0, 2160.0)),
    ] {
        let mut window = open_rendered(services(&desk, &store), Some(desk.run.clone()), size);
        until_done(&mut window, 15);
        window.key_press_modifiers(Modifiers::COMMAND, Key::U);
        until_label(&mut window, "sent to gs://");
        let there = shelf(&desk).join("audit").join(RUN);
        for file in ["REPORT.md", "notes.txt"] {
            std::fs::write(there.join(file), format!("theirs, {name} {file}")).expect("written");
            std::fs::write(desk.run.join(file), format!("mine, {name} {file}")).expect("written");
        }
        window.key_press_modifiers(Modifiers::COMMAND, Key::U);
        click(&mut window, "Keep both: notes.txt");
        keep_picture(&mut window, &format!("conflicts_{name}"));
        click(&mut window, "Decide later");
        window.key_press_modifiers(Modifiers::COMMAND, Key::Num5);
        until_label(&mut window, "Credentials in use");
        click(&mut window, "Check");
        step_until(&mut window, "it is checked", |window| {
            !window.state().state().bucket.settings.checks.is_empty()
        });
        window.run_steps(3);
        keep_picture(&mut window, &format!("settings_{name}"));
        std::fs::remove_dir_all(&there).expect("removed");
        std::fs::remove_file(desk.run.join(".sync.ron")).expect("removed");
    }
}
