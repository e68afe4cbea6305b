//! The list of runs: rows, order, search, and how old it is.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A run as it stands in the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InboxRow {
    /// Its id.
    pub run_id: String,
    /// Its folder, if it is on disk.
    pub dir: Option<PathBuf>,
    /// Whether it is in the bucket.
    pub is_in_bucket: bool,
    /// When something of it was written last, in seconds since 1970.
    pub updated_secs: i64,
    /// Its session, if known.
    pub session: Option<String>,
    /// Cells that have a picture.
    pub done: usize,
    /// Cells in all.
    pub total: usize,
    /// Cells that failed.
    pub failed: usize,
    /// Cells with a picture and no verdict of this reviewer.
    pub unreviewed: usize,
    /// Whether a cell was approved.
    pub is_approved: bool,
    /// `REPORT.md` is missing.
    pub is_in_progress: bool,
    /// The folder holds an interrupted pull.
    pub is_pull_unfinished: bool,
    /// What its picture is known by; `None` without one.
    pub picture: Option<String>,
    /// What could not be read of it.
    pub problem: Option<String>,
}

impl InboxRow {
    /// Whether id or session contain the text, whatever its case.
    pub fn matches(&self, search: &str) -> bool {
        let search = search.trim().to_lowercase();
        let session = self.session.as_deref().unwrap_or_default();
        search.is_empty()
            || self.run_id.to_lowercase().contains(&search)
            || session.to_lowercase().contains(&search)
    }

    /// Where it is, in a word or two.
    pub fn place(&self) -> &'static str {
        match (&self.dir, self.is_in_bucket) {
            (Some(_), true) => "bucket and disk",
            (None, true) => "bucket",
            (_, false) => "disk",
        }
    }

    /// What the row says to whoever cannot see it.
    pub fn spoken(&self) -> String {
        let mut words = vec![
            format!("run {}", self.run_id),
            self.place().to_owned(),
            format!("{} of {} cells", self.done, self.total),
            format!("{} unreviewed", self.unreviewed),
        ];
        if self.failed > 0 {
            words.push(format!("{} failed", self.failed));
        }
        if self.is_in_progress {
            words.push("in progress".to_owned());
        }
        if self.is_approved {
            words.push("approved".to_owned());
        }
        words.join(", ")
    }
}

/// A column that the list can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InboxSort {
    /// When it was last changed.
    #[default]
    Date,
    /// The run's id.
    Run,
    /// The session.
    Session,
    /// Cells with a picture.
    Cells,
    /// Cells without a verdict.
    Unreviewed,
    /// Failed cells.
    Failed,
    /// In progress, then not approved, then approved.
    State,
}

impl InboxSort {
    /// Whether the first click on the column puts the largest on top.
    fn is_descending_first(self) -> bool {
        matches!(
            self,
            Self::Date | Self::Cells | Self::Unreviewed | Self::Failed
        )
    }

    fn compare(self, a: &InboxRow, b: &InboxRow) -> Ordering {
        let state = |row: &InboxRow| (!row.is_in_progress, row.is_approved);
        match self {
            Self::Date => a.updated_secs.cmp(&b.updated_secs),
            Self::Run => a.run_id.cmp(&b.run_id),
            Self::Session => a.session.cmp(&b.session),
            Self::Cells => (a.done, a.total).cmp(&(b.done, b.total)),
            Self::Unreviewed => a.unreviewed.cmp(&b.unreviewed),
            Self::Failed => a.failed.cmp(&b.failed),
            Self::State => state(a).cmp(&state(b)),
        }
    }
}

/// A small picture of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thumbnail {
    /// Asked for.
    Asked,
    /// In this file.
    Ready(PathBuf),
    /// There is none, and why.
    Failed(String),
}

/// How fresh the bucket's half of the list is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BucketFreshness {
    /// There is no bucket, or nothing is known of it yet.
    #[default]
    None,
    /// It was listed at this time, in seconds since 1970.
    Live(i64),
    /// It does not answer: the list is of this time, and why there is no newer one.
    Offline {
        /// In seconds since 1970.
        saved_secs: i64,
        /// What went wrong.
        because: String,
    },
    /// It could not be listed at all, and there is no older list.
    Failed(String),
}

impl BucketFreshness {
    /// For the list's head, at a time in seconds since 1970; `None` without a bucket.
    pub fn words(&self, now_secs: i64) -> Option<String> {
        let age = |since: i64| age_words(now_secs.saturating_sub(since));
        match self {
            Self::None => None,
            Self::Live(at) if now_secs.saturating_sub(*at) < 60 => Some("up to date".to_owned()),
            Self::Live(at) => Some(format!("listed {} ago", age(*at))),
            Self::Offline { saved_secs, .. } => {
                Some(format!("offline: the list is {} old", age(*saved_secs)))
            }
            Self::Failed(_) => Some("the bucket's runs are missing".to_owned()),
        }
    }

    /// Whether something is wrong with it, and what.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Offline { because, .. } | Self::Failed(because) => Some(because),
            Self::None | Self::Live(_) => None,
        }
    }
}

/// A list as it comes from the background.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InboxListing {
    /// The runs.
    pub rows: Vec<InboxRow>,
    /// Only what is on disk: the bucket's half is on its way.
    pub is_partial: bool,
    /// How fresh the bucket's half is.
    pub freshness: BucketFreshness,
    /// The bucket in words, if there is one.
    pub bucket: Option<String>,
    /// What went wrong with the folder of runs.
    pub problem: Option<String>,
}

/// The inbox.
#[derive(Debug, Default)]
pub struct InboxView {
    /// What was listed last.
    pub listing: InboxListing,
    /// The listing that is under way.
    pub listing_job: Option<u64>,
    /// Whether a list has come at all.
    pub has_listed: bool,
    /// What is typed into the search.
    pub search: String,
    /// What is typed into the address field.
    pub address: String,
    /// An address that is being looked up.
    pub resolving: Option<String>,
    /// The column that decides the order.
    pub sort: InboxSort,
    /// Whether the order is turned round against the column's first.
    pub is_reversed: bool,
    /// The marked row, by its id.
    pub selected: Option<String>,
    /// Small pictures by their keys.
    pub thumbnails: BTreeMap<String, Thumbnail>,
}

impl InboxView {
    /// The rows that match the search, in their order.
    pub fn shown(&self) -> Vec<&InboxRow> {
        let mut rows: Vec<&InboxRow> = self
            .listing
            .rows
            .iter()
            .filter(|row| row.matches(&self.search))
            .collect();
        let is_descending = self.sort.is_descending_first() != self.is_reversed;
        rows.sort_by(|a, b| {
            let order = self.sort.compare(a, b);
            let order = if is_descending {
                order.reverse()
            } else {
                order
            };
            // The newest first among equals, whichever way round.
            order
                .then_with(|| b.updated_secs.cmp(&a.updated_secs))
                .then_with(|| b.run_id.cmp(&a.run_id))
        });
        rows
    }

    /// Whether the first click's order of the column is the largest on top, turned or not.
    pub fn is_descending(&self) -> bool {
        self.sort.is_descending_first() != self.is_reversed
    }

    /// A row by its run's id.
    pub fn row(&self, run_id: &str) -> Option<&InboxRow> {
        self.listing.rows.iter().find(|row| row.run_id == run_id)
    }

    pub(super) fn sort_by(&mut self, sort: InboxSort) {
        self.is_reversed = self.sort == sort && !self.is_reversed;
        self.sort = sort;
    }

    /// Moves the mark by so many rows.
    pub(super) fn step(&mut self, by: i32) {
        let ids: Vec<String> = self.shown().iter().map(|row| row.run_id.clone()).collect();
        let at = self
            .selected
            .as_ref()
            .and_then(|id| ids.iter().position(|other| other == id));
        let last = ids.len().saturating_sub(1);
        let next = match at {
            None => 0,
            Some(at) => at.saturating_add_signed(by as isize).min(last),
        };
        self.selected = ids.get(next).cloned();
    }

    /// Takes a list. One of the disk alone does not take the bucket's rows away.
    pub(super) fn take(&mut self, listing: InboxListing) {
        if listing.is_partial && self.has_listed && !self.listing.is_partial {
            return;
        }
        self.has_listed = true;
        self.listing = listing;
        let rows = &self.listing.rows;
        self.thumbnails.retain(|key, thumbnail| {
            // What failed may work now.
            !matches!(thumbnail, Thumbnail::Failed(_))
                && rows.iter().any(|row| row.picture.as_ref() == Some(key))
        });
    }
}

/// An age in the two largest of days, hours, minutes.
pub fn age_words(secs: i64) -> String {
    let minutes = secs.max(0) / 60;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "under a minute".to_owned(),
        (0, 0, m) => format!("{m} min"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

/// Seconds since 1970 as `2026-11-21 10:15`, in UTC.
pub fn date_words(secs: i64) -> String {
    jiff::Timestamp::from_second(secs).map_or_else(
        |_| "unknown".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, updated_secs: i64, unreviewed: usize) -> InboxRow {
        InboxRow {
            run_id: id.to_owned(),
            updated_secs,
            unreviewed,
            session: Some(format!("S-{id}")),
            ..InboxRow::default()
        }
    }

    fn ids(inbox: &InboxView) -> Vec<&str> {
        inbox
            .shown()
            .into_iter()
            .map(|row| row.run_id.as_str())
            .collect()
    }

    fn inbox() -> InboxView {
        let mut inbox = InboxView::default();
        inbox.take(InboxListing {
            rows: vec![row("b", 10, 3), row("a", 30, 3), row("c", 20, 9)],
            ..InboxListing::default()
        });
        inbox
    }

    #[test]
    fn the_newest_comes_first_and_a_second_click_turns_the_order_round() {
        let mut inbox = inbox();
        assert_eq!(ids(&inbox), ["a", "c", "b"]);
        inbox.sort_by(InboxSort::Date);
        assert_eq!(ids(&inbox), ["b", "c", "a"]);
        inbox.sort_by(InboxSort::Run);
        assert_eq!(ids(&inbox), ["a", "b", "c"]);
        inbox.sort_by(InboxSort::Unreviewed);
        assert_eq!(ids(&inbox), ["c", "a", "b"], "equals: the newest first");
    }

    #[test]
    fn search_finds_runs_and_sessions_and_the_mark_moves_among_what_is_shown() {
        let mut inbox = inbox();
        inbox.search = " s-C ".to_owned();
        assert_eq!(ids(&inbox), ["c"]);
        inbox.search.clear();
        inbox.step(1);
        assert_eq!(inbox.selected.as_deref(), Some("a"));
        inbox.step(5);
        assert_eq!(inbox.selected.as_deref(), Some("b"));
        inbox.step(-1);
        assert_eq!(inbox.selected.as_deref(), Some("c"));
    }

    #[test]
    fn a_list_of_the_disk_alone_does_not_take_the_buckets_rows_away() {
        let mut inbox = inbox();
        let partial = InboxListing {
            is_partial: true,
            ..InboxListing::default()
        };
        inbox.take(partial.clone());
        assert_eq!(ids(&inbox).len(), 3);
        let mut fresh = InboxView::default();
        fresh.take(partial);
        assert!(fresh.has_listed, "the first one is taken");
    }

    #[test]
    fn ages_are_said_with_the_reason() {
        assert_eq!(BucketFreshness::None.words(100), None);
        assert_eq!(
            BucketFreshness::Live(100).words(130).as_deref(),
            Some("up to date")
        );
        assert_eq!(
            BucketFreshness::Live(0).words(7500).as_deref(),
            Some("listed 2 h 5 min ago")
        );
        let offline = BucketFreshness::Offline {
            saved_secs: 0,
            because: "no route".to_owned(),
        };
        assert_eq!(
            offline.words(26 * 3600).as_deref(),
            Some("offline: the list is 1 d 2 h old")
        );
        assert_eq!(offline.problem(), Some("no route"));
    }
}
