//! What a key does to a verdict: it sets, never toggles, and says whether the next unreviewed cell
//! comes on screen.

use super::event::{Judgement, Verdict};
use super::failure::FailureTypes;
use super::state::CellReview;
use std::collections::BTreeSet;

/// A key that judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VerdictKey {
    /// `P`.
    Pass,
    /// `X`: reject without a type.
    Reject,
    /// `1` to `9`; with Shift a further type, staying.
    Type {
        /// The number on the key, from 1.
        number: usize,
        /// Whether Shift was held.
        adds: bool,
    },
    /// `U`.
    Clear,
}

/// What follows from a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pressed {
    /// The verdict to record; `None` if the cell already says exactly this, or the key has no type.
    pub verdict: Option<Verdict>,
    /// Whether to go on to the next unreviewed cell. Clear and Shift stay.
    pub goes_on: bool,
}

/// What a key does to a cell of which `current` is what this reviewer said so far.
///
/// A number whose type is not a failure (a seam) passes the cell with that noted; with Shift it is
/// noted beside whatever the verdict is.
pub fn press(key: VerdictKey, current: Option<&CellReview>, types: &FailureTypes) -> Pressed {
    let (verdict, goes_on) = match key {
        VerdictKey::Pass => (Verdict::Pass(BTreeSet::new()), true),
        VerdictKey::Reject => (Verdict::Reject(BTreeSet::new()), true),
        VerdictKey::Clear => (Verdict::Clear, false),
        VerdictKey::Type { number, adds } => {
            let Some(one) = types.on_key(number) else {
                return Pressed {
                    verdict: None,
                    goes_on: false,
                };
            };
            let mut named = match current {
                Some(review) if adds => review.types.clone(),
                _ => BTreeSet::new(),
            };
            named.insert(one.key.clone());
            let rejected = current.and_then(|review| review.judgement) == Some(Judgement::Reject);
            if one.is_failure || (adds && rejected) {
                (Verdict::Reject(named), !adds)
            } else {
                (Verdict::Pass(named), !adds)
            }
        }
    };
    let unchanged = match &verdict {
        Verdict::Clear => current.is_none_or(|review| review.judgement.is_none()),
        Verdict::Pass(named) | Verdict::Reject(named) => current.is_some_and(|review| {
            review.judgement == verdict.judgement() && review.types == *named
        }),
    };
    Pressed {
        verdict: (!unchanged).then_some(verdict),
        goes_on,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::super::failure::FailureKey;
    use super::*;

    fn named(keys: &[&str]) -> BTreeSet<FailureKey> {
        keys.iter()
            .map(|key| FailureKey::new(*key).unwrap())
            .collect()
    }

    fn said(judgement: Judgement, keys: &[&str]) -> CellReview {
        CellReview {
            judgement: Some(judgement),
            types: named(keys),
            ..CellReview::default()
        }
    }

    fn number(number: usize, adds: bool) -> VerdictKey {
        VerdictKey::Type { number, adds }
    }

    #[test]
    fn pass_and_reject_set_and_go_on() {
        let types = FailureTypes::default();
        let pass = press(VerdictKey::Pass, None, &types);
        assert_eq!(
            pass,
            Pressed {
                verdict: Some(Verdict::Pass(named(&[]))),
                goes_on: true
            }
        );
        let reject = press(VerdictKey::Reject, None, &types);
        assert_eq!(
            reject,
            Pressed {
                verdict: Some(Verdict::Reject(named(&[]))),
                goes_on: true
            }
        );
        let typed = press(number(2, false), None, &types);
        assert_eq!(
            typed,
            Pressed {
                verdict: Some(Verdict::Reject(named(&["colour_mismatch"]))),
                goes_on: true
            }
        );
    }

    #[test]
    fn the_same_key_twice_says_the_same_and_still_goes_on() {
        let types = FailureTypes::default();
        for (key, review) in [
            (VerdictKey::Pass, said(Judgement::Pass, &[])),
            (VerdictKey::Reject, said(Judgement::Reject, &[])),
            (
                number(1, false),
                said(Judgement::Reject, &["hallucinated_object"]),
            ),
        ] {
            let again = press(key, Some(&review), &types);
            assert_eq!(
                again,
                Pressed {
                    verdict: None,
                    goes_on: true
                },
                "{key:?}"
            );
        }
    }

    #[test]
    fn a_number_replaces_and_with_shift_adds_and_stays() {
        let types = FailureTypes::default();
        let rejected = said(Judgement::Reject, &["hallucinated_object"]);
        assert_eq!(
            press(number(2, false), Some(&rejected), &types).verdict,
            Some(Verdict::Reject(named(&["colour_mismatch"])))
        );
        assert_eq!(
            press(number(2, true), Some(&rejected), &types),
            Pressed {
                verdict: Some(Verdict::Reject(named(&[
                    "colour_mismatch",
                    "hallucinated_object"
                ]))),
                goes_on: false
            }
        );
        let passed = said(Judgement::Pass, &["seam"]);
        assert_eq!(
            press(number(3, true), Some(&passed), &types).verdict,
            Some(Verdict::Reject(named(&["seam", "texture_mismatch"])))
        );
    }

    #[test]
    fn a_seam_is_noted_and_is_no_failure() {
        let types = FailureTypes::default();
        let seam = press(number(5, false), None, &types);
        assert_eq!(
            seam,
            Pressed {
                verdict: Some(Verdict::Pass(named(&["seam"]))),
                goes_on: true
            }
        );
        let rejected = said(Judgement::Reject, &["residue"]);
        assert_eq!(
            press(number(5, true), Some(&rejected), &types).verdict,
            Some(Verdict::Reject(named(&["residue", "seam"])))
        );
    }

    #[test]
    fn clear_stays_and_says_nothing_where_there_is_nothing() {
        let types = FailureTypes::default();
        let passed = said(Judgement::Pass, &[]);
        assert_eq!(
            press(VerdictKey::Clear, Some(&passed), &types),
            Pressed {
                verdict: Some(Verdict::Clear),
                goes_on: false
            }
        );
        assert_eq!(
            press(VerdictKey::Clear, None, &types),
            Pressed {
                verdict: None,
                goes_on: false
            }
        );
    }

    #[test]
    fn a_number_without_a_type_does_nothing() {
        let pressed = press(number(9, false), None, &FailureTypes::default());
        assert_eq!(
            pressed,
            Pressed {
                verdict: None,
                goes_on: false
            }
        );
    }
}
