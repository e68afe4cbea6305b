//! The first screen: runs on disk and in the bucket in one list, and the ways to open one.

use super::canvas::{self, CellPaint, Framing, ImageSource};
use super::{UiMemory, theme};
use crate::state::bucket::BucketMsg;
use crate::state::bucket::inbox::{
    BucketFreshness, InboxRow, InboxSort, Thumbnail, age_words, date_words,
};
use crate::state::command::Command;
use crate::state::remote::RemoteMsg;
use crate::state::{AppState, Msg, Page};
use eframe::egui;
use egui_extras::{Column, TableBuilder, TableRow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Height of a row, in points.
const ROW_HEIGHT: f32 = 60.0;
/// A row's picture, in points.
const PICTURE: egui::Vec2 = egui::vec2(84.0, 54.0);
/// How often ages are said anew.
const AGES_EVERY: Duration = Duration::from_secs(30);

/// The columns: title, what they sort by, and the name that is spoken.
const COLUMNS: [(&str, InboxSort); 7] = [
    ("Run", InboxSort::Run),
    ("Date (UTC)", InboxSort::Date),
    ("Session", InboxSort::Session),
    ("Cells", InboxSort::Cells),
    ("Unreviewed", InboxSort::Unreviewed),
    ("Failed", InboxSort::Failed),
    ("State", InboxSort::State),
];

fn now_secs() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64)
}

/// The page.
pub fn inbox_page_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    paste(ui.ctx(), out);
    ui.ctx().request_repaint_after(AGES_EVERY);
    egui::CentralPanel::default().show(ui, |ui| {
        find_ui(ui, state, out);
        address_ui(ui, state, out);
        freshness_ui(ui, state, out);
        ui.separator();
        let shown = state.bucket.inbox.shown();
        if shown.is_empty() {
            empty_ui(ui, state);
        } else {
            // In a narrow window the last columns are reached by scrolling.
            egui::ScrollArea::horizontal()
                .auto_shrink(false)
                .show(ui, |ui| table_ui(ui, state, &shown, memory, out));
        }
    });
}

/// What is pasted where no field has the focus is an address.
fn paste(ctx: &egui::Context, out: &mut Vec<Msg>) {
    if ctx.egui_wants_keyboard_input() {
        return;
    }
    let pasted = ctx.input(|input| {
        input.events.iter().find_map(|event| match event {
            egui::Event::Paste(text) => Some(text.clone()),
            _ => None,
        })
    });
    if let Some(text) = pasted {
        out.push(Msg::Bucket(BucketMsg::OpenAddress(text)));
    }
}

fn find_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    let inbox = &state.bucket.inbox;
    ui.horizontal(|ui| {
        let name = ui.label("Search");
        let mut search = inbox.search.clone();
        ui.add(
            egui::TextEdit::singleline(&mut search)
                .hint_text("run or session")
                .desired_width(240.0),
        )
        .labelled_by(name.id);
        if search != inbox.search {
            out.push(Msg::Bucket(BucketMsg::SetSearch(search)));
        }
        if ui.button("Refresh").clicked() {
            out.push(Msg::Command(Command::Reload));
        }
        if inbox.listing_job.is_some() {
            ui.spinner();
            ui.weak("listing…");
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if ui.button("Compose a run").clicked() {
                out.push(Msg::Command(Command::GoTo(Page::Compose)));
            }
            if ui.button("Open a run's folder…").clicked() {
                out.push(Msg::Command(Command::OpenRunFolder));
            }
        });
    });
}

fn address_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    let inbox = &state.bucket.inbox;
    ui.horizontal(|ui| {
        let name = ui.label("Address");
        let mut address = inbox.address.clone();
        let field = ui
            .add(
                egui::TextEdit::singleline(&mut address)
                    .hint_text("gs://bucket/audit/run/, or pasted from the Firebase or Google Cloud console")
                    .desired_width((ui.available_width() - 90.0).min(620.0)),
            )
            .labelled_by(name.id);
        if address != inbox.address {
            out.push(Msg::Bucket(BucketMsg::SetAddress(address.clone())));
        }
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
        let can_open = !address.trim().is_empty() && inbox.resolving.is_none();
        let clicked = ui.add_enabled(can_open, egui::Button::new("Open")).clicked();
        if can_open && (clicked || entered) {
            out.push(Msg::Bucket(BucketMsg::OpenAddress(address)));
        }
        if inbox.resolving.is_some() {
            ui.spinner();
        }
    });
}

/// Runs that go on elsewhere without being watched.
fn elsewhere_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    let running = state.running.as_ref().and_then(|run| run.dir.as_deref());
    for run in state.remote.watchable(running) {
        ui.horizontal_wrapped(|ui| {
            ui.label(format!("{} is made on {}", run.run_id, run.worker));
            let name = format!("Watch {}", run.run_id);
            let can_watch = !state.is_running();
            if ui
                .add_enabled(can_watch, egui::Button::new(name).small())
                .on_disabled_hover_text("Another run is under way: let it end or leave it")
                .clicked()
            {
                out.push(Msg::Remote(RemoteMsg::Watch(run.dir.clone())));
            }
        });
    }
}

/// Where the list comes from and how old it is; what waits to be sent.
fn freshness_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    let inbox = &state.bucket.inbox;
    let listing = &inbox.listing;
    ui.horizontal_wrapped(|ui| {
        let shown = inbox.shown().len();
        let all = listing.rows.len();
        ui.label(if shown == all {
            format!("{all} run{}", if all == 1 { "" } else { "s" })
        } else {
            format!("{shown} of {all} runs")
        });
        ui.weak(format!("in {}", state.settings.runs_dir));
        if let Some(bucket) = &listing.bucket {
            ui.weak(format!("and {bucket}"));
        } else if !state.bucket.settings.has_bucket {
            ui.weak("· no bucket is configured");
            if ui.small_button("Storage settings").clicked() {
                out.push(Msg::Command(Command::GoTo(Page::Settings)));
            }
        }
        if let Some(words) = listing.freshness.words(now_secs()) {
            match listing.freshness.problem() {
                Some(problem) => {
                    ui.colored_label(theme::warning(ui), words)
                        .on_hover_text(problem);
                }
                None => {
                    ui.weak(format!("· {words}"));
                }
            }
        }
        waiting_ui(ui, state, out);
    });
    elsewhere_ui(ui, state, out);
    if let BucketFreshness::Failed(problem) = &listing.freshness {
        ui.colored_label(theme::warning(ui), problem);
    }
    if let Some(problem) = &listing.problem {
        ui.colored_label(theme::warning(ui), problem);
    }
}

/// Runs that wait on disk for the network.
fn waiting_ui(ui: &mut egui::Ui, state: &AppState, out: &mut Vec<Msg>) {
    let queue = &state.bucket.queue;
    if queue.is_empty() {
        return;
    }
    let now = now_secs();
    let list: Vec<String> = queue
        .iter()
        .map(|row| {
            let age = age_words(now.saturating_sub(row.queued_secs));
            format!("{} → {}, since {age}", row.dir.display(), row.place)
        })
        .collect();
    let count = queue.len();
    let text = format!(
        "{count} run{} to be sent",
        if count == 1 { " waits" } else { "s wait" }
    );
    ui.colored_label(theme::warning(ui), text)
        .on_hover_text(list.join("\n"));
    if state.bucket.is_sending_queue {
        ui.spinner();
    } else if ui.small_button("Send now").clicked() {
        out.push(Msg::Command(Command::SendQueued));
    }
}

fn empty_ui(ui: &mut egui::Ui, state: &AppState) {
    let inbox = &state.bucket.inbox;
    ui.add_space(40.0);
    ui.vertical_centered(|ui| {
        if !inbox.has_listed || (inbox.listing.rows.is_empty() && inbox.listing_job.is_some()) {
            ui.spinner();
            ui.label("Looking for runs");
            return;
        }
        let text = if inbox.listing.rows.is_empty() {
            format!(
                "No runs in {}. Compose one, drop a run's folder here, or paste the address of one in a \
                 bucket.",
                state.settings.runs_dir
            )
        } else {
            "No run matches the search.".to_owned()
        };
        ui.label(text);
    });
}

fn table_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    shown: &[&InboxRow],
    memory: &mut UiMemory,
    out: &mut Vec<Msg>,
) {
    let inbox = &state.bucket.inbox;
    let marked = shown
        .iter()
        .position(|row| Some(&row.run_id) == inbox.selected.as_ref());
    let mut wanted = Vec::new();
    let mut table = TableBuilder::new(ui)
        .striped(true)
        .sense(egui::Sense::click())
        .cell_layout(egui::Layout::left_to_right(egui::Align::Center))
        .column(Column::exact(PICTURE.x + 8.0))
        .column(Column::initial(230.0).resizable(true).clip(true))
        .column(Column::initial(130.0).clip(true))
        .column(Column::initial(150.0).clip(true))
        .column(Column::initial(80.0))
        .column(Column::initial(95.0))
        .column(Column::initial(70.0))
        .column(Column::remainder().clip(true));
    if let Some(index) = marked.filter(|_| memory.inbox_marked != inbox.selected) {
        table = table.scroll_to_row(index, None);
    }
    memory.inbox_marked.clone_from(&inbox.selected);
    table
        .header(24.0, |mut header| {
            header.col(|_| {});
            for (title, sort) in COLUMNS {
                header.col(|ui| head_ui(ui, state, title, sort, out));
            }
        })
        .body(|body| {
            body.rows(ROW_HEIGHT, shown.len(), |mut row| {
                if let Some(entry) = shown.get(row.index()) {
                    row.set_selected(marked == Some(row.index()));
                    row_ui(&mut row, state, entry, memory, &mut wanted, out);
                }
            });
        });
    if !wanted.is_empty() {
        out.push(Msg::Bucket(BucketMsg::NeedThumbnails(wanted)));
    }
}

fn head_ui(ui: &mut egui::Ui, state: &AppState, title: &str, sort: InboxSort, out: &mut Vec<Msg>) {
    let inbox = &state.bucket.inbox;
    let arrow = match (inbox.sort == sort, inbox.is_descending()) {
        (false, _) => "",
        (true, true) => " ▼",
        (true, false) => " ▲",
    };
    let text = egui::RichText::new(format!("{title}{arrow}")).strong();
    let button = ui.add(egui::Button::new(text).frame(false));
    button.widget_info(|| {
        egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Sort by {title}"))
    });
    if button.clicked() {
        out.push(Msg::Bucket(BucketMsg::SortBy(sort)));
    }
}

fn row_ui(
    row: &mut TableRow<'_, '_>,
    state: &AppState,
    entry: &InboxRow,
    memory: &mut UiMemory,
    wanted: &mut Vec<String>,
    out: &mut Vec<Msg>,
) {
    let open = || Msg::Bucket(BucketMsg::OpenRow(entry.run_id.clone()));
    row.col(|ui| picture_ui(ui, state, entry, memory, wanted));
    row.col(|ui| {
        let link = ui.link(&entry.run_id);
        link.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Link, true, entry.spoken()));
        if link.clicked() {
            out.push(open());
        }
    });
    row.col(|ui| {
        ui.label(date_words(entry.updated_secs));
    });
    row.col(|ui| match &entry.session {
        Some(session) => {
            ui.label(session);
        }
        None => {
            ui.weak("unknown");
        }
    });
    row.col(|ui| {
        ui.label(format!("{} of {}", entry.done, entry.total));
    });
    row.col(|ui| {
        count_ui(ui, entry.unreviewed, None);
    });
    row.col(|ui| {
        let colour = theme::warning(ui);
        count_ui(ui, entry.failed, Some(colour));
    });
    row.col(|ui| state_ui(ui, entry));
    if row.response().clicked() {
        out.push(open());
    }
}

/// Nothing to do is said more quietly than something.
fn count_ui(ui: &mut egui::Ui, count: usize, colour: Option<egui::Color32>) {
    match (count, colour) {
        (0, _) => ui.weak("0"),
        (count, Some(colour)) => ui.colored_label(colour, count.to_string()),
        (count, None) => ui.label(count.to_string()),
    };
}

fn state_ui(ui: &mut egui::Ui, entry: &InboxRow) {
    ui.horizontal_wrapped(|ui| {
        if entry.is_approved {
            ui.colored_label(theme::PASS, "✔ approved");
        }
        if entry.is_in_progress {
            ui.colored_label(theme::ACCENT, "in progress");
        }
        if entry.is_pull_unfinished {
            ui.label("partly fetched");
        }
        ui.weak(entry.place());
        if let Some(problem) = &entry.problem {
            ui.colored_label(theme::warning(ui), "something cannot be read")
                .on_hover_text(problem);
        }
    });
}

fn picture_ui(
    ui: &mut egui::Ui,
    state: &AppState,
    entry: &InboxRow,
    memory: &mut UiMemory,
    wanted: &mut Vec<String>,
) {
    let (rect, response) = ui.allocate_exact_size(PICTURE, egui::Sense::hover());
    let painter = ui.painter();
    painter.rect_filled(rect, 2.0, theme::EMPTY_CELL);
    let Some(key) = &entry.picture else {
        quiet_text(ui, rect, "no picture");
        return;
    };
    let path = match state.bucket.inbox.thumbnails.get(key) {
        Some(Thumbnail::Ready(path)) => path,
        Some(Thumbnail::Failed(problem)) => {
            quiet_text(ui, rect, "unreadable");
            response.on_hover_text(problem);
            return;
        }
        Some(Thumbnail::Asked) => return,
        None => {
            wanted.push(key.clone());
            return;
        }
    };
    let Some(canvas) = memory.canvas.as_mut().filter(|canvas| canvas.has_gpu()) else {
        return;
    };
    let image = canvas.image(&ImageSource::file(path.clone()));
    let cell_px = canvas::cell_px(rect, ui.pixels_per_point());
    let size = canvas
        .image_size(image)
        .map_or([3.0, 2.0], |size| size.map(f64::from));
    let paint = CellPaint::new(image, Framing::Whole.view(size, cell_px));
    canvas::paint_cell(ui.painter(), rect, &paint, canvas);
}

fn quiet_text(ui: &egui::Ui, rect: egui::Rect, text: &str) {
    ui.painter().text(
        rect.center(),
        egui::Align2::CENTER_CENTER,
        text,
        egui::FontId::proportional(11.0),
        theme::ON_SURROUND,
    );
}
