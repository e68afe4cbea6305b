//! The comparison canvas: pictures side by side, looked at through one view, painted by one shader.
//!
//! It knows pictures, masks and views, and nothing of runs, cells of a matrix or reviews. A frame:
//!
//! ```no_run
//! use eframe::egui::{Id, Rect, Ui, vec2};
//! use fill_audit::ui::canvas::{
//!     Canvas, CellPaint, Framing, ImageId, Mode, cell_px, cell_response, navigate, paint_cell,
//! };
//!
//! fn grid_ui(ui: &Ui, canvas: &mut Canvas, framing: &mut Framing, cells: &[(ImageId, String)]) {
//!     let area = ui.available_rect_before_wrap();
//!     let pitch = vec2(area.width() / 6.0, 160.0);
//!     let place = |i: usize| {
//!         let at = area.min + vec2((i % 6) as f32, (i / 6) as f32) * pitch;
//!         Rect::from_min_size(at, pitch).shrink(2.0)
//!     };
//!     let size_in_image = [1024.0, 768.0]; // of the session's picture
//!     canvas.begin_frame();
//!     // The input of all cells first, then the pictures: so none lags a frame behind.
//!     for (i, (image, label)) in cells.iter().enumerate() {
//!         let id = Id::unique(("cell", i));
//!         let status = canvas.status(*image);
//!         let response = cell_response(ui, id, place(i), || label.clone(), false, status);
//!         navigate(framing, &response, size_in_image, false);
//!     }
//!     let view = framing.view(size_in_image, cell_px(place(0), ui.pixels_per_point()));
//!     for (i, (image, _)) in cells.iter().enumerate() {
//!         let mut paint = CellPaint::new(*image, view);
//!         paint.reference = cells.first().map(|(image, _)| *image);
//!         paint.mode = Mode::Wipe { split_in_image: 512.0 };
//!         paint.size_in_image = Some(size_in_image);
//!         if ui.is_rect_visible(place(i)) {
//!             paint_cell(ui.painter(), place(i), &paint, canvas);
//!         }
//!     }
//!     canvas.end_frame(ui.ctx());
//! }
//! ```
//!
//! Labels go after all pictures, not between them: egui then draws them in one go.
//!
//! Pictures come from [`Canvas::image`] by their [`ImageSource`]; they are decoded in the background,
//! visible ones first, and kept under a byte budget. Without a GPU the cells still have their names and
//! say what failed; only the pictures are missing.

mod ahead;
mod cell;
mod gpu;
mod loader;
mod paint;
mod pixels;
mod shrink;
mod texture_store;
mod tiles;
mod view;

use std::{path::PathBuf, sync::Arc};

use eframe::{egui, egui_wgpu};

pub use self::{
    cell::{
        LOUPE_POINTS, SURROUND, cell_px, cell_response, cell_ui, loupe_ui, navigate, outlined_text,
        paint_cell, paint_cells, paint_cursor_mark, preload_cell,
    },
    loader::{Ahead, Decode, ImageSource, MAX_DECODE_BYTES, MAX_SIDE_PX, decode_with_image_crate},
    paint::{CellPaint, Channel, Mode, Overlay},
    pixels::{Badge, DecodedImage, Level, THUMBNAIL_PX},
    texture_store::{DistanceField, FieldId, ImageId, ImageStatus, MemoryUse, RawMask},
    view::{BOX_MARGIN, CellMap, Framing, ImageBox, MAX_ZOOM, MIN_ZOOM, View},
};
use self::{
    gpu::Gpu,
    loader::{Loader, LoaderOptions},
    texture_store::TextureStore,
};

/// How much the canvas may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanvasOptions {
    /// Bytes of textures and pixels; 1 GiB unless the user says otherwise.
    pub budget_bytes: u64,
    /// Bytes handed to the GPU per frame, so that none is late; 8 MiB by default, and less where
    /// copying takes longer than a frame has.
    pub upload_bytes_per_frame: u64,
    /// Threads that decode; by default as many as there are processors, from 2 to 6: the window's own
    /// thread sleeps while it waits for them.
    pub threads: usize,
    /// Pictures with a longer side are kept on disk in tiles; 3072 pixels by default, and never more
    /// than the GPU takes.
    pub max_whole_px: u32,
    /// Folder for the tiles of large pictures; `None` is the system's temporary one.
    pub tile_folder: Option<PathBuf>,
    /// Bytes on disk for the tiles of large pictures; 8 GiB by default.
    pub tile_disk_bytes: u64,
}

impl Default for CanvasOptions {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            budget_bytes: 1 << 30,
            upload_bytes_per_frame: 8 << 20,
            threads: processors.clamp(2, 6),
            max_whole_px: 3072,
            tile_folder: None,
            tile_disk_bytes: 8 << 30,
        }
    }
}

/// All pictures and masks of a window, and what is needed to draw them.
pub struct Canvas {
    store: TextureStore,
    has_gpu: bool,
}

impl Canvas {
    /// A canvas that decodes with `decode`, such as `Arc::new(decode_with_image_crate)`; `render_state` is `None` where nothing can be drawn.
    pub fn new(
        ctx: &egui::Context,
        render_state: Option<&egui_wgpu::RenderState>,
        decode: &Arc<Decode>,
        options: &CanvasOptions,
    ) -> Self {
        let gpu = render_state.map(Gpu::install);
        let max_side = gpu.as_ref().map_or(u32::MAX, Gpu::max_side);
        let repaint = ctx.clone();
        let wake: Arc<loader::Wake> = Arc::new(move || repaint.request_repaint());
        let max_whole_px = options.max_whole_px.min(max_side);
        let options = &CanvasOptions {
            max_whole_px,
            ..options.clone()
        };
        let loader_options = LoaderOptions {
            threads: options.threads,
            max_whole_px,
            tile_folder: options.tile_folder.clone(),
        };
        let loader = Loader::start(&loader_options, decode, &wake);
        let has_gpu = gpu.is_some();
        Self {
            store: TextureStore::new(gpu, loader, options),
            has_gpu,
        }
    }

    /// Call before the first cell of a frame: takes what was decoded and uploads a share of it.
    pub fn begin_frame(&mut self) {
        self.store.begin_frame();
    }

    /// Call after the last cell of a frame: keeps the budget, and asks for what the cells lacked.
    pub fn end_frame(&mut self, ctx: &egui::Context) {
        if self.store.end_frame() {
            ctx.request_repaint();
        }
    }

    /// The picture for a source, the same one for equal sources. Costs nothing until it is shown.
    pub fn image(&mut self, source: &ImageSource) -> ImageId {
        self.store.image(source)
    }

    /// Reads a picture again, for a file that has changed; results on their way are dropped.
    pub fn reload(&mut self, id: ImageId) {
        self.store.reload(id);
    }

    /// Gives back all memory of a picture; the id shows nothing from now on.
    pub fn release(&mut self, id: ImageId) {
        self.store.release(id);
    }

    /// Puts a mask's distance field where the shader finds it, in place of an earlier one of that id.
    ///
    /// # Errors
    /// The numbers do not fill the size, or a side is zero or beyond what the GPU takes.
    pub fn set_field(&mut self, id: FieldId, field: &DistanceField<'_>) -> Result<(), String> {
        self.store.set_field(id, field)
    }

    /// Gives back the memory of a distance field.
    pub fn remove_field(&mut self, id: FieldId) {
        self.store.remove_field(id);
    }

    /// How far a picture has come.
    pub fn status(&self, id: ImageId) -> ImageStatus<'_> {
        self.store.status(id)
    }

    /// True if what the last frame showed of a picture was as sharp as it can be.
    pub fn is_sharp(&self, id: ImageId) -> bool {
        self.store.is_sharp(id)
    }

    /// Width and height in pixels, once known.
    pub fn image_size(&self, id: ImageId) -> Option<[u32; 2]> {
        self.store.size(id)
    }

    /// A remark on how the picture was read.
    pub fn badge(&self, id: ImageId) -> Option<&Badge> {
        self.store.badge(id)
    }

    /// The value of a pixel of the picture, as in the file. Answers `None` outside, and while the value
    /// is on its way: ask again in a later frame.
    pub fn read_pixel(&mut self, id: ImageId, x: u32, y: u32) -> Option<[u8; 4]> {
        self.store.read_pixel(id, x, y)
    }

    /// The value of the cell's picture under a point of the shared image space; see
    /// [`Self::read_pixel`].
    pub fn value_at(&mut self, paint: &CellPaint, pos_in_image: [f64; 2]) -> Option<[u8; 4]> {
        let whole = ImageBox::whole(self.size_in_image(paint));
        let place = paint.image_box.unwrap_or(whole);
        let size = self.store.size(paint.image)?;
        let covered = place.size();
        let at = [0, 1].map(|i| (pos_in_image[i] - place.min[i]) * f64::from(size[i]) / covered[i]);
        if at[0] < 0.0 || at[1] < 0.0 {
            return None;
        }
        self.store
            .read_pixel(paint.image, at[0] as u32, at[1] as u32)
    }

    /// Point and value for people: `(812, 455)  R 12 G 34 B 56`.
    pub fn readout_text(&mut self, paint: &CellPaint, pos_in_image: [f64; 2]) -> String {
        let [x, y] = pos_in_image.map(f64::floor);
        match self.value_at(paint, pos_in_image) {
            Some([r, g, b, 255]) => format!("({x}, {y})  R {r} G {g} B {b}"),
            Some([r, g, b, a]) => format!("({x}, {y})  R {r} G {g} B {b} A {a}"),
            None => format!("({x}, {y})"),
        }
    }

    /// The image space of a cell: the one that it names, or its picture's own size.
    pub fn size_in_image(&self, paint: &CellPaint) -> [f64; 2] {
        let own = || self.store.size(paint.image).map(|size| size.map(f64::from));
        paint
            .size_in_image
            .filter(|size| size[0] > 0.0 && size[1] > 0.0)
            .or_else(own)
            .unwrap_or([1.0; 2])
    }

    /// Sets the byte budget; what is too much goes in the next frame.
    pub fn set_budget_bytes(&mut self, budget_bytes: u64) {
        self.store.set_budget_bytes(budget_bytes);
    }

    /// What is held at the end of the last frame.
    pub fn memory(&self) -> MemoryUse {
        self.store.memory()
    }

    /// What decodes pictures before they are asked for.
    pub fn ahead(&self) -> Ahead {
        self.store.ahead()
    }

    /// True while something that was asked for is still on its way.
    pub fn is_busy(&self) -> bool {
        self.store.is_busy()
    }

    /// True if pictures can be drawn.
    pub fn has_gpu(&self) -> bool {
        self.has_gpu
    }
}
