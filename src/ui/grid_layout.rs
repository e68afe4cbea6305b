//! Where cells and labels go: pure geometry, in points.

use super::theme;
use eframe::egui::{Pos2, Rect, Vec2, pos2, vec2};

/// What a grid is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridShape<'a> {
    /// Columns of the matrix.
    pub columns: usize,
    /// Rows of the matrix.
    pub rows: usize,
    /// Cells of each strip.
    pub strips: &'a [usize],
    /// Room that the row labels would like, in points.
    pub label_width: f32,
    /// A picture's width over its height.
    pub aspect: f32,
    /// Whether each cell holds two pictures.
    pub is_paired: bool,
}

/// How a cell is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// One picture.
    One,
    /// Two, side by side.
    Beside,
    /// Two, one below the other.
    Below,
}

/// Between the two pictures of a pair, in points.
const PAIR_GAP: f32 = 2.0;

impl Split {
    /// The one that shows two pictures of this aspect larger in an area.
    pub fn larger(size: Vec2, aspect: f32) -> Self {
        if Self::Beside.reach(size, aspect) >= Self::Below.reach(size, aspect) {
            Self::Beside
        } else {
            Self::Below
        }
    }

    /// The places of the first and the second picture.
    pub fn halves(self, rect: Rect) -> (Rect, Option<Rect>) {
        let half = self.half(rect.size());
        let first = Rect::from_min_size(rect.min, half);
        let second = Rect::from_min_size(rect.max - half, half);
        (first, (self != Self::One).then_some(second))
    }

    fn half(self, size: Vec2) -> Vec2 {
        match self {
            Self::One => size,
            Self::Beside => vec2((size.x - PAIR_GAP) / 2.0, size.y),
            Self::Below => vec2(size.x, (size.y - PAIR_GAP) / 2.0),
        }
    }

    /// The width of a whole picture of this aspect in a cell.
    fn reach(self, cell: Vec2, aspect: f32) -> f32 {
        let half = self.half(cell);
        half.x.min(half.y * aspect)
    }
}

/// Sizes of a grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridLayout {
    /// One cell.
    pub cell: Vec2,
    /// How it is divided.
    pub split: Split,
    /// Columns of the matrix.
    pub columns: usize,
    /// Rows of the matrix.
    pub rows: usize,
    /// Width of the row labels.
    pub label_width: f32,
    /// Cells of the longest strip.
    pub longest_strip: usize,
    /// Number of strips.
    pub strips: usize,
}

/// Height of a strip's title.
const STRIP_TITLE: f32 = 24.0;

impl GridLayout {
    /// Chooses the cell's size so that all columns fit; rows scroll. Of the two ways to place a pair, the
    /// one that shows the pictures larger, unless side by side is nearly as large: fewer rows are then out
    /// of view.
    ///
    /// `available` is the whole area including labels.
    pub fn new(available: Vec2, shape: &GridShape<'_>) -> Self {
        if !shape.is_paired {
            return Self::divided(available, shape, Split::One);
        }
        let beside = Self::divided(available, shape, Split::Beside);
        let below = Self::divided(available, shape, Split::Below);
        let reach = |layout: &Self| layout.split.reach(layout.cell, shape.aspect);
        if reach(&beside) >= 0.8 * reach(&below) {
            beside
        } else {
            below
        }
    }

    fn divided(available: Vec2, shape: &GridShape<'_>, split: Split) -> Self {
        let GridShape {
            columns,
            rows,
            strips,
            ..
        } = *shape;
        let aspect = match split {
            Split::One => shape.aspect.clamp(0.6, 1.8),
            Split::Beside => (shape.aspect * 2.0).clamp(1.2, 3.6),
            Split::Below => (shape.aspect / 2.0).clamp(0.3, 0.9),
        };
        let longest_strip = strips.iter().copied().max().unwrap_or(0);
        let label_width = shape.label_width.clamp(
            theme::ROW_LABEL_WIDTH,
            (available.x * 0.3).max(theme::ROW_LABEL_WIDTH),
        );
        let across = columns.max(longest_strip).max(1) as f32;
        let width = ((available.x - label_width) / across - theme::CELL_GAP).max(theme::MIN_CELL);
        let viewport_height =
            (available.y - theme::COLUMN_LABEL_HEIGHT - theme::CELL_GAP).max(theme::MIN_CELL);
        let natural = width / aspect;
        // Cells take the height that is there, up to squares or the picture's own shape: a zoomed view
        // fills them. Rows that do not fit keep the picture's shape and scroll.
        let down = (rows + strips.len()).max(1) as f32;
        let titles = strips.len() as f32 * STRIP_TITLE;
        let fitting = (viewport_height - titles) / down - theme::CELL_GAP;
        // A pair is divided already: it is not made much smaller still.
        let least = if split == Split::One { 0.6 } else { 0.9 };
        let height = if fitting >= natural * least {
            fitting.min(natural.max(width))
        } else {
            natural
        };
        let height = height.min(viewport_height).max(theme::MIN_CELL);
        Self {
            cell: vec2(width, height),
            split,
            columns,
            rows,
            label_width,
            longest_strip,
            strips: strips.len(),
        }
    }

    fn pitch(&self) -> Vec2 {
        self.cell + Vec2::splat(theme::CELL_GAP)
    }

    /// The size of everything that scrolls.
    pub fn content_size(&self) -> Vec2 {
        let across = self.columns.max(self.longest_strip) as f32;
        let strips = self.strips as f32 * (self.pitch().y + STRIP_TITLE);
        vec2(
            across * self.pitch().x,
            self.rows as f32 * self.pitch().y + strips,
        )
    }

    /// A cell of the matrix, from the content's corner.
    pub fn cell_rect(&self, corner: Pos2, row: usize, column: usize) -> Rect {
        let offset = vec2(column as f32, row as f32) * self.pitch();
        Rect::from_min_size(corner + offset, self.cell)
    }

    /// A strip's title, from the content's corner.
    pub fn strip_title_pos(&self, corner: Pos2, strip: usize) -> Pos2 {
        let y = self.rows as f32 * self.pitch().y + strip as f32 * (self.pitch().y + STRIP_TITLE);
        pos2(corner.x + 2.0, corner.y + y + 4.0)
    }

    /// A cell of a strip, from the content's corner.
    pub fn strip_rect(&self, corner: Pos2, strip: usize, column: usize) -> Rect {
        let title = self.strip_title_pos(corner, strip);
        let x = corner.x + column as f32 * self.pitch().x;
        Rect::from_min_size(pos2(x, title.y - 4.0 + STRIP_TITLE), self.cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(
        available: Vec2,
        columns: usize,
        rows: usize,
        strips: &[usize],
        is_paired: bool,
    ) -> GridLayout {
        let shape = GridShape {
            columns,
            rows,
            strips,
            label_width: 80.0,
            aspect: 1.0,
            is_paired,
        };
        GridLayout::new(available, &shape)
    }

    #[test]
    fn a_pair_has_two_equal_places_that_do_not_overlap() {
        for columns in [1, 2, 5] {
            let layout = layout(vec2(860.0, 640.0), columns, 3, &[], true);
            let cell = layout.cell_rect(pos2(3.0, 7.0), 0, 0);
            let (first, second) = layout.split.halves(cell);
            let second = second.unwrap_or(Rect::NOTHING);
            assert!((first.size() - second.size()).length() < 1e-3);
            assert!(
                cell.expand(1e-3).contains_rect(first) && cell.expand(1e-3).contains_rect(second)
            );
            assert!(!first.intersect(second).is_positive());
        }
        let single = layout(vec2(860.0, 640.0), 5, 3, &[], false);
        assert_eq!(single.split, Split::One);
        let cell = single.cell_rect(pos2(0.0, 0.0), 0, 0);
        assert_eq!(single.split.halves(cell), (cell, None));
    }

    #[test]
    fn many_columns_put_the_second_run_below_and_few_beside() {
        let split = |columns| layout(vec2(1600.0, 640.0), columns, 3, &[], true).split;
        assert_eq!([split(1), split(8)], [Split::Beside, Split::Below]);
    }

    #[test]
    fn all_columns_fit_and_rows_scroll() {
        let layout = layout(vec2(860.0, 640.0), 5, 20, &[], false);
        assert!(layout.content_size().x <= 860.0 - 80.0 + 0.01);
        assert!(layout.content_size().y > 640.0);
    }

    #[test]
    fn three_rows_that_nearly_fit_are_made_to_fit() {
        let layout = layout(vec2(860.0, 460.0), 5, 3, &[], false);
        assert!(layout.content_size().y <= 460.0);
    }

    #[test]
    fn cells_never_shrink_below_what_can_be_judged() {
        let layout = layout(vec2(400.0, 300.0), 60, 3, &[], false);
        assert!(layout.cell.x >= theme::MIN_CELL && layout.cell.y >= theme::MIN_CELL);
    }

    #[test]
    fn strips_lie_below_the_matrix_and_do_not_overlap() {
        let layout = layout(vec2(860.0, 900.0), 5, 3, &[3, 4], false);
        let corner = pos2(10.0, 20.0);
        let last_row = layout.cell_rect(corner, 2, 0);
        let first = layout.strip_rect(corner, 0, 0);
        assert!(first.top() >= last_row.bottom());
        assert!(layout.strip_rect(corner, 1, 0).top() >= first.bottom());
        assert!(
            layout.strip_rect(corner, 1, 0).bottom() <= corner.y + layout.content_size().y + 0.01
        );
    }
}
