//! The prompt that the audit holds constant, and the candidates of the specificity experiment.

/// Production's exact prompt: the default of every run.
pub const PRODUCTION: &str =
    "empty ground, nothing here, just the natural ground surface continuing seamlessly";

/// Prompts from empty to five words, for one surface: production's, empty, one word, two words, five
/// words. Never colours or light: those come from the picture.
pub fn specificity(surface: &str) -> Vec<String> {
    vec![
        PRODUCTION.to_owned(),
        String::new(),
        surface.to_owned(),
        format!("{surface} ground"),
        format!("natural {surface} ground surface continuing"),
    ]
}

/// How a prompt is shown where there is little room: production's by name, the empty one as such,
/// others in quotes, cut after `max_chars` characters.
pub fn short_label(prompt: &str, max_chars: usize) -> String {
    if prompt == PRODUCTION {
        return "production's".to_owned();
    }
    if prompt.is_empty() {
        return "empty".to_owned();
    }
    let cut: String = prompt.chars().take(max_chars).collect();
    if cut.len() < prompt.len() {
        format!("\"{cut}…\"")
    } else {
        format!("\"{cut}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specificity_goes_from_production_to_five_words() {
        let words: Vec<usize> = specificity("grass")
            .iter()
            .skip(1)
            .map(|p| p.split_whitespace().count())
            .collect();
        assert_eq!(words, [0, 1, 2, 5]);
    }

    #[test]
    fn long_prompts_are_cut_at_characters() {
        assert_eq!(short_label("größer als gedacht", 5), "\"größe…\"");
        assert_eq!(short_label(PRODUCTION, 5), "production's");
        assert_eq!(short_label("", 5), "empty");
    }
}
