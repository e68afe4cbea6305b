//! Who may import whom, as `src/lib.rs` and DESIGN.md say, held against the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module with those that it may name; `cli` may name all, and `app` all but `cli`.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    let all = [
        "app", "audit", "cli", "imaging", "model", "pipeline", "remote", "report", "state",
        "storage", "ui",
    ];
    BTreeMap::from([
        ("model", vec![]),
        ("imaging", vec!["model"]),
        ("storage", vec!["model"]),
        ("report", vec!["model", "imaging"]),
        ("pipeline", vec!["model", "imaging"]),
        (
            "audit",
            vec!["pipeline", "model", "imaging", "storage", "report"],
        ),
        (
            "remote",
            vec!["audit", "pipeline", "model", "imaging", "storage", "report"],
        ),
        ("state", vec!["model", "imaging"]),
        ("ui", vec!["state", "model", "imaging"]),
        (
            "app",
            all.into_iter().filter(|name| *name != "cli").collect(),
        ),
        ("cli", all.to_vec()),
    ])
}

/// Crates that are named in some places only: the crate as it is written in code, and where it may be.
const CRATES: [(&str, &[&str]); 13] = [
    ("candle_core", &["pipeline/"]),
    ("candle_nn", &["pipeline/"]),
    ("candle_transformers", &["pipeline/"]),
    ("hf_hub", &["pipeline/hub"]),
    ("ureq", &["pipeline/hub"]),
    ("egui", &["app/", "ui/", "cli/view.rs"]),
    ("eframe", &["app/", "ui/", "cli/view.rs"]),
    ("reqwest", &["storage/gcs", "remote/"]),
    ("axum", &["remote/"]),
    ("hyper", &["remote/"]),
    ("hyper_util", &["remote/"]),
    ("google_cloud_storage", &["storage/gcs"]),
    ("google_cloud_auth", &["storage/gcs"]),
];

fn sources() -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                collect(&path, found)?;
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
        Ok(())
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    assert!(
        collect(&root, &mut paths).is_ok(),
        "the sources cannot be listed"
    );
    paths.sort();
    paths
        .into_iter()
        .filter_map(|path| {
            let name = path
                .strip_prefix(&root)
                .ok()?
                .to_string_lossy()
                .replace('\\', "/");
            Some((name, code_of(&std::fs::read_to_string(&path).ok()?)))
        })
        .collect()
}

/// A source without comments: what stands in one imports nothing.
fn code_of(text: &str) -> String {
    text.lines()
        .map(|line| match line.trim_start() {
            comment if comment.starts_with("//") => "",
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The first words after every `crate::` (or `fill_audit::`), also inside braces.
fn modules_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for prefix in ["crate::", "fill_audit::"] {
        for (at, _) in code.match_indices(prefix) {
            // `$crate::` of a macro counts too; `my_crate::` does not.
            if code[..at].ends_with(is_word) {
                continue;
            }
            let rest = code[at + prefix.len()..].trim_start();
            let Some(group) = rest.strip_prefix('{') else {
                named.extend(rest.split(|c| !is_word(c)).next().map(str::to_owned));
                continue;
            };
            let mut depth = 0;
            let mut start = true;
            for (index, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if c.is_whitespace() => {}
                    _ if start && depth == 0 => {
                        start = false;
                        let word = group[index..].split(|c| !is_word(c)).next();
                        named.extend(word.map(str::to_owned));
                    }
                    _ => {}
                }
            }
        }
    }
    named
}

/// Whether a crate is named as a path: `candle_core::`, `use egui;`, `extern crate`.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].trim_start();
        let is_start = before.is_none_or(|c| !is_word(c) && c != '"' && c != '-' && c != '.');
        let in_use = code[..at].trim_end().ends_with("use");
        is_start && (after.starts_with("::") || (in_use && after.starts_with(';')))
    })
}

#[test]
fn modules_import_only_what_they_may() {
    let allowed = allowed();
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        let module = file
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs");
        let Some(may) = allowed.get(module) else {
            assert!(
                matches!(module, "lib" | "main"),
                "{file} belongs to no module of the table"
            );
            continue;
        };
        for named in modules_named(&code) {
            let is_module = allowed.contains_key(named.as_str());
            if is_module && named != module && !may.contains(&named.as_str()) {
                wrong.push(format!("{file} names crate::{named}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn outside_technologies_are_named_in_their_places_only() {
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        for (name, places) in CRATES {
            // `eframe::egui` is egui by another way.
            let is_named =
                names_crate(&code, name) || (name == "egui" && code.contains("eframe::egui"));
            if is_named && !places.iter().any(|place| file.starts_with(place)) {
                wrong.push(format!("{file} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_library_is_in_the_table() {
    let lib = sources().into_iter().find(|(file, _)| file == "lib.rs");
    let code = lib.map(|(_, code)| code).unwrap_or_default();
    let declared: BTreeSet<&str> = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let table: BTreeSet<&str> = allowed().into_keys().collect();
    assert_eq!(declared, table);
}

#[test]
fn the_scanner_sees_what_it_should() {
    let named = modules_named(
        "use crate::audit::x;\nuse crate::{model::{a, b}, ui};\nlet x = crate::state::y();\nmy_crate::app",
    );
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(named, ["audit", "model", "state", "ui"]);
    assert_eq!(code_of("// crate::ui\nx //"), "\nx //");
    assert!(names_crate("use egui::Id;", "egui"));
    assert!(names_crate("fn f(x: &egui::Ui)", "egui"));
    assert!(!names_crate("let text = \"egui::x\"; my_egui::f()", "egui"));
}
