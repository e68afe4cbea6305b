//! Where cells and labels go: pure geometry, in points.

use super::theme;
use eframe::egui::{Pos2, Rect, Vec2, pos2, vec2};

/// Sizes of a grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GridLayout {
    /// One cell.
    pub cell: Vec2,
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
    /// Chooses the cell's size so that all columns fit; rows scroll.
    ///
    /// `available` is the whole area including labels; `aspect` is the picture's width over height.
    pub fn new(
        available: Vec2,
        columns: usize,
        rows: usize,
        strips: &[usize],
        label_width: f32,
        aspect: f32,
    ) -> Self {
        let longest_strip = strips.iter().copied().max().unwrap_or(0);
        let label_width = label_width.clamp(
            theme::ROW_LABEL_WIDTH,
            (available.x * 0.3).max(theme::ROW_LABEL_WIDTH),
        );
        let across = columns.max(longest_strip).max(1) as f32;
        let width = ((available.x - label_width) / across - theme::CELL_GAP).max(theme::MIN_CELL);
        let aspect = aspect.clamp(0.6, 1.8);
        let viewport_height =
            (available.y - theme::COLUMN_LABEL_HEIGHT - theme::CELL_GAP).max(theme::MIN_CELL);
        let natural = width / aspect;
        // Cells take the height that is there, up to squares or the picture's own shape: a zoomed view
        // fills them. Rows that do not fit keep the picture's shape and scroll.
        let down = (rows + strips.len()).max(1) as f32;
        let titles = strips.len() as f32 * STRIP_TITLE;
        let fitting = (viewport_height - titles) / down - theme::CELL_GAP;
        let height = if fitting >= natural * 0.6 {
            fitting.min(natural.max(width))
        } else {
            natural
        };
        let height = height.min(viewport_height).max(theme::MIN_CELL);
        Self {
            cell: vec2(width, height),
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

    #[test]
    fn all_columns_fit_and_rows_scroll() {
        let layout = GridLayout::new(vec2(860.0, 640.0), 5, 20, &[], 80.0, 1.0);
        assert!(layout.content_size().x <= 860.0 - 80.0 + 0.01);
        assert!(layout.content_size().y > 640.0);
    }

    #[test]
    fn three_rows_that_nearly_fit_are_made_to_fit() {
        let layout = GridLayout::new(vec2(860.0, 460.0), 5, 3, &[], 80.0, 1.0);
        assert!(layout.content_size().y <= 460.0);
    }

    #[test]
    fn cells_never_shrink_below_what_can_be_judged() {
        let layout = GridLayout::new(vec2(400.0, 300.0), 60, 3, &[], 80.0, 1.0);
        assert!(layout.cell.x >= theme::MIN_CELL && layout.cell.y >= theme::MIN_CELL);
    }

    #[test]
    fn strips_lie_below_the_matrix_and_do_not_overlap() {
        let layout = GridLayout::new(vec2(860.0, 900.0), 5, 3, &[3, 4], 80.0, 1.0);
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
