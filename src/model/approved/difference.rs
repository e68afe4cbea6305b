//! What a staged settings file changes: value by value, and as a text difference.

use std::collections::BTreeMap;

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Such as `inference.guidance_scale` or `approval.override[0].reason`.
    pub path: String,
    /// As TOML; `None` if it is not in the current file.
    pub old: Option<String>,
    /// As TOML; `None` if it is not in the staged file.
    pub new: Option<String>,
}

/// The values that differ between two texts, in order of their paths. A text that is no TOML counts as
/// empty: [`super::ApprovedSettings::parse`] is what refuses it.
pub fn changes(current: Option<&str>, staged: &str) -> Vec<Change> {
    let mut old = flat(current.unwrap_or_default());
    let mut changes: Vec<Change> = flat(staged)
        .into_iter()
        .filter_map(|(path, new)| {
            let old = old.remove(&path);
            (old.as_ref() != Some(&new)).then_some(Change {
                path,
                old,
                new: Some(new),
            })
        })
        .collect();
    changes.extend(old.into_iter().map(|(path, old)| Change {
        path,
        old: Some(old),
        new: None,
    }));
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

fn flat(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        flatten("", &toml::Value::Table(table), &mut values);
    }
    values
}

fn flatten(path: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                flatten(&path, value, into);
            }
        }
        toml::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{index}]"), item, into);
            }
        }
        other => {
            into.insert(path.to_owned(), other.to_string());
        }
    }
}

/// The difference as a unified diff with three lines of context; empty if the texts are equal.
pub fn unified(current: Option<&str>, staged: &str, file: &str) -> String {
    let old_name = if current.is_some() {
        format!("{file} (current)")
    } else {
        "(no file yet)".to_owned()
    };
    similar::TextDiff::from_lines(current.unwrap_or_default(), staged)
        .unified_diff()
        .context_radius(3)
        .header(&old_name, &format!("{file} (staged)"))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_new_and_gone_values_are_named_by_path() {
        let old = "a = 1\n[b]\nc = \"x\"\ngone = true\n[[b.d]]\ne = 1\n";
        let new = "a = 1\n[b]\nc = \"y\"\nnew = 2.5\n[[b.d]]\ne = 2\n";
        let rows: Vec<String> = changes(Some(old), new)
            .into_iter()
            .map(|change| format!("{} {:?} {:?}", change.path, change.old, change.new))
            .collect();
        assert_eq!(
            rows,
            [
                "b.c Some(\"\\\"x\\\"\") Some(\"\\\"y\\\"\")",
                "b.d[0].e Some(\"1\") Some(\"2\")",
                "b.gone Some(\"true\") None",
                "b.new None Some(\"2.5\")",
            ]
        );
    }

    #[test]
    fn equal_texts_have_no_difference_and_a_new_file_is_all_additions() {
        assert!(changes(Some("a = 1"), "a = 1").is_empty());
        assert_eq!(unified(Some("a = 1\n"), "a = 1\n", "phase1.toml"), "");
        let new = unified(None, "a = 1\nb = 2\n", "phase1.toml");
        assert_eq!(
            new,
            "--- (no file yet)\n+++ phase1.toml (staged)\n@@ -0,0 +1,2 @@\n+a = 1\n+b = 2\n"
        );
    }
}
