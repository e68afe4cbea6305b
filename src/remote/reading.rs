//! Reads a request's body: what is no JSON is told apart from what is not what it must be.

use super::refusal::Refusal;
use super::wire::AuditRequest;
use serde_json::Value;

/// Reads a request's body.
///
/// # Errors
/// [`Refusal::Malformed`] if it is no JSON, [`Refusal::Invalid`] if a field is not what it must be; both
/// name the line and the column.
pub fn parse_request(body: &[u8]) -> Result<AuditRequest, Refusal> {
    let refused = |error: serde_json::Error| {
        let problem = format!("the request cannot be read: {error}");
        if error.is_data() {
            Refusal::Invalid(problem)
        } else {
            Refusal::Malformed(problem)
        }
    };
    // An object could also be read from an array of its fields' values, which nobody means.
    let shape: Value = serde_json::from_slice(body).map_err(refused)?;
    for (pointer, what) in OBJECTS {
        if shape.pointer(pointer).is_some_and(Value::is_array) {
            return Err(Refusal::Invalid(format!(
                "the request cannot be read: {what} must be an object, not an array"
            )));
        }
    }
    match serde_json::from_slice(body) {
        Err(error) if error.is_data() && error.to_string().contains("floating point") => {
            // 12.0 is a whole number in JSON, and some write them all like that.
            let whole = serde_json::to_vec(&with_whole_numbers(shape)).map_err(refused)?;
            serde_json::from_slice(&whole).map_err(refused)
        }
        read => read.map_err(refused),
    }
}

/// The same value with every number that has no fraction as a whole one, as far as those go.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float)
                if number.is_f64()
                    && float.fract() == 0.0
                    && (0.0..18_446_744_073_709_551_616.0).contains(&float) =>
            {
                Value::from(float as u64)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(with_whole_numbers).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, with_whole_numbers(value)))
            .collect(),
        other => other,
    }
}

/// What must be an object in a request: where it stands, and how it is called.
const OBJECTS: [(&str, &str); 6] = [
    ("", "the request"),
    ("/matrix", "matrix"),
    ("/recipe", "recipe"),
    ("/inference", "inference"),
    ("/inference/whole", "inference.whole"),
    ("/inference/crop", "inference.crop"),
];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::model::ids::RunId;

    fn refused(body: &str) -> Refusal {
        parse_request(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_the_python_service_is_sent_is_a_request() {
        let request =
            parse_request(br#"{"user_id": "u1", "session_id": "D1A406F5", "run_id": "r-1"}"#)
                .unwrap();
        assert_eq!(request.run_id, Some(RunId::new("r-1").unwrap()));
        assert_eq!(request.matrix, None);
    }

    #[test]
    fn broken_json_is_malformed_and_a_wrong_field_is_invalid() {
        for body in [
            "",
            "{",
            "[1,",
            "{\"user_id\": \"u\"} x",
            &"[".repeat(60_000),
        ] {
            assert!(matches!(refused(body), Refusal::Malformed(_)), "{body:.20}");
        }
        let ids = r#""user_id": "u", "session_id": "s""#;
        for (body, expected) in [
            (r#"{"user_id": "u"}"#.to_owned(), "session_id"),
            (
                format!(r#"{{{ids}, "colour": 1}}"#),
                "unknown field `colour`",
            ),
            (format!(r#"{{{ids}, "user_id": "v"}}"#), "duplicate field"),
            (format!(r#"{{{ids}, "run_id": "../x"}}"#), "run id must be"),
            (
                format!(r#"{{{ids}, "run_id": "a\u0000"}}"#),
                "run id must be",
            ),
            (format!(r#"{{{ids}, "max_variations": 0}}"#), "nonzero"),
            (
                format!(r#"{{{ids}, "matrix": {{"guidances": [-1]}}}}"#),
                "guidance must be",
            ),
            (
                format!(r#"{{{ids}, "matrix": {{"quants": ["../Q4_0"]}}}}"#),
                "a quant is",
            ),
            (
                format!(r#"{{{ids}, "inference": {{"whole": {{"long_side_px": 64, "x": 1}}}}}}"#),
                "unknown field `x`",
            ),
        ] {
            let refusal = refused(&body);
            assert!(matches!(refusal, Refusal::Invalid(_)), "{body}: {refusal}");
            let text = refusal.to_string();
            assert!(text.contains(expected) && text.contains("line 1"), "{text}");
        }
    }

    #[test]
    fn an_array_is_no_object() {
        for body in [
            r#"["u", "s", null, null, null, null, null, null]"#,
            r#"{"user_id": "u", "session_id": "s", "inference": {"whole": [64]}}"#,
        ] {
            let refusal = refused(body);
            assert!(matches!(refusal, Refusal::Invalid(_)), "{body}: {refusal}");
            assert!(refusal.to_string().contains("must be an object"));
        }
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point() {
        let body = |max: &str, seed: &str| {
            format!(
                r#"{{"user_id": "u", "session_id": "s", "max_variations": {max},
                    "matrix": {{"seeds": [{seed}], "guidances": [2.5, 4.0]}},
                    "inference": {{"whole": {{"long_side_px": 64.0}}}}}}"#
            )
        };
        let with_points = parse_request(body("3.0", "42.0").as_bytes()).unwrap();
        let without = parse_request(body("3", "42").as_bytes()).unwrap();
        assert_eq!(with_points, without);
        for (max, seed) in [("3.5", "42"), ("3", "-1.0"), ("3", "2e30"), ("5e9", "1")] {
            let refusal = refused(&body(max, seed));
            assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal}");
        }
    }
}
