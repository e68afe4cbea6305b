//! Distance fields of masks on the GPU.

use super::{GpuTexture, TextureStore};

/// A distance field that the canvas knows; chosen by the caller, such as one per session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u64);

/// Distances to a cleaned mask at inference size, from which the shader grows it.
#[derive(Clone, Copy, Debug)]
pub struct DistanceField<'a> {
    /// Width and height at inference size, in pixels.
    pub size: [u32; 2],
    /// For each pixel, rows from the top: the Euclidean distance from its centre to the centre of the
    /// nearest pixel of the cleaned mask, in pixels; 0 on the mask. Negative is on the mask too.
    pub distance_px: &'a [f32],
    /// The mask before clean-up, for [`Overlay::Change`](crate::ui::canvas::Overlay::Change); `None` where it does not matter.
    pub raw: Option<&'a [RawMask]>,
}

/// What a pixel was before clean-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RawMask {
    /// Not masked.
    #[default]
    Off,
    /// Masked.
    On,
    /// Masked, in a component so small that clean-up drops it.
    Speck,
}

impl TextureStore {
    /// Puts a distance field on the GPU, in place of an earlier one of that id.
    ///
    /// # Errors
    /// The numbers do not fill the size, or a side is zero or beyond what the GPU takes.
    pub fn set_field(&mut self, id: FieldId, field: &DistanceField<'_>) -> Result<(), String> {
        let [width, height] = field.size;
        let count = width as usize * height as usize;
        if count == 0 {
            return Err(format!("distance field has no pixels: {width}x{height}"));
        }
        let raw_len = field.raw.map_or(count, <[RawMask]>::len);
        if field.distance_px.len() != count || raw_len != count {
            return Err(format!(
                "distance field of {width}x{height} needs {count} values but has {} distances and \
                 {raw_len} mask pixels",
                field.distance_px.len()
            ));
        }
        let Some(gpu) = &self.gpu else { return Ok(()) };
        if width.max(height) > gpu.max_side() {
            return Err(format!(
                "distance field of {width}x{height} is larger than this GPU takes: {}",
                gpu.max_side()
            ));
        }
        let raw = |i: usize| match field.raw.and_then(|raw| raw.get(i)) {
            None | Some(RawMask::Off) => 0.0,
            Some(RawMask::On) => 1.0,
            Some(RawMask::Speck) => 2.0,
        };
        let pairs: Vec<[f32; 2]> = field
            .distance_px
            .iter()
            .enumerate()
            .map(|(i, &d)| [d, raw(i)])
            .collect();
        self.fields
            .insert(id, (gpu.new_field(field.size, &pairs), count as u64 * 8));
        Ok(())
    }

    pub fn remove_field(&mut self, id: FieldId) {
        self.fields.remove(&id);
    }

    pub fn field(&self, id: FieldId) -> Option<&GpuTexture> {
        self.fields.get(&id).map(|(texture, _)| texture)
    }
}
