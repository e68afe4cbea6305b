//! A mask that is pasted: the picture itself, or the path of its file.

use crate::state::Msg;
use crate::state::lab::LabMsg;
use eframe::egui;
use std::path::PathBuf;
use std::sync::Arc;

/// Takes what was pasted in this frame, unless a field is being typed into.
pub fn take_pasted(ctx: &egui::Context, out: &mut Vec<Msg>) {
    let is_typing = ctx.egui_wants_keyboard_input();
    ctx.input(|input| {
        for event in &input.events {
            match event {
                egui::Event::PasteImage(image) => {
                    let rgba: Vec<u8> = image
                        .pixels
                        .iter()
                        .flat_map(egui::Color32::to_srgba_unmultiplied)
                        .collect();
                    let [width, height] = image.size.map(|side| side as u32);
                    out.push(Msg::Lab(LabMsg::PasteMask {
                        size: (width, height),
                        rgba: Arc::from(rgba),
                    }));
                }
                egui::Event::Paste(text) if !is_typing => {
                    out.extend(path_in(text).map(|path| Msg::Lab(LabMsg::LoadMask(path))));
                }
                _ => {}
            }
        }
    });
}

/// The path in what a file manager or a terminal puts on the clipboard: as it is, in quotes, or as a
/// `file://` address. Only its shape is looked at: whether it is there is found out elsewhere.
fn path_in(text: &str) -> Option<PathBuf> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let unquoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| line.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(line);
    let path = match unquoted.strip_prefix("file://") {
        Some(address) => PathBuf::from(
            percent_encoding::percent_decode_str(address)
                .decode_utf8()
                .ok()?
                .into_owned(),
        ),
        None => PathBuf::from(unquoted),
    };
    path.is_absolute().then_some(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_in_what_file_managers_copy() {
        for text in [
            "/a b/mask.png",
            " /a b/mask.png\n",
            "\"/a b/mask.png\"",
            "'/a b/mask.png'",
            "file:///a%20b/mask.png",
            "file:///a%20b/mask.png\r\nfile:///other.png",
        ] {
            assert_eq!(
                path_in(text),
                Some(PathBuf::from("/a b/mask.png")),
                "{text}"
            );
        }
        for text in [
            "",
            "mask.png",
            "grass, no shadow",
            "https://example.org/m.png",
        ] {
            assert_eq!(path_in(text), None, "{text}");
        }
    }
}
