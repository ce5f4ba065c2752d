//! Escapes in JSON that name half of a character.

/// The first escape of a surrogate that has no other half, as it stands in the text, which is JSON otherwise. Serde takes
/// such a text as raw JSON, but no Unicode text can hold it (RFC 8259, 8.2), so a strict parser refuses everything around it.
pub(crate) fn lone_surrogate(json: &str) -> Option<&str> {
    let mut at = 0;
    // Outside of strings JSON has no backslash.
    while let Some(found) = json.as_bytes()[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match unit(json, at) {
            // `\n` and its like.
            None => 2,
            Some(0xd800..0xdc00) if matches!(unit(json, at + UNIT), Some(0xdc00..0xe000)) => 2 * UNIT,
            Some(0xd800..0xe000) => return json.get(at..at + UNIT),
            Some(_) => UNIT,
        };
        if at >= json.len() {
            break;
        }
    }
    None
}

/// What is said of the place where it was found.
pub(crate) fn half_a_character(place: &str, escape: &str) -> String {
    format!("{place} is not text: {escape} is half of a character")
}

/// The length of `\uXXXX`.
const UNIT: usize = 6;

fn unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + UNIT)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_a_character_is_found_and_a_whole_one_is_not() {
        for (json, found) in [
            (r#""\ud800""#, Some(r"\ud800")),
            (r#""\uDC00\ud800""#, Some(r"\uDC00")),
            (r#""\ud83d\ude00""#, None),
            (r#""\ud83d\ude00\ude00""#, Some(r"\ude00")),
            (r#""\ud83dx\ude00""#, Some(r"\ud83d")),
            (r#""\ud83d\n""#, Some(r"\ud83d")),
            (r#"{"a":["\\ud800","é\\\ud800"]}"#, Some(r"\ud800")),
            (r#""\\ud800""#, None),
            (r#"{"\udfff":1}"#, Some(r"\udfff")),
            (r#""\\""#, None),
            ("5", None),
        ] {
            assert_eq!(lone_surrogate(json), found, "{json}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_parser_that_decodes(units in prop::collection::vec(0xd7f0_u16..0xe010, 0..6)) {
            let json: String = units.iter().map(|u| format!("\\u{u:04x}")).collect();
            let json = format!("\"{json}\"");
            prop_assert_eq!(lone_surrogate(&json).is_none(), serde_json::from_str::<String>(&json).is_ok());
        }

        #[test]
        fn no_text_panics(text: String) {
            lone_surrogate(&text);
        }
    }
}
