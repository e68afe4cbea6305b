//! Pixels: codecs, resizing, mask morphology, compositing, differences, colour.
