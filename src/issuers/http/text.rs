//! What a vendor writes for people, made fit to be shown.

use crate::token_value::TokenValue;

/// How much of a text is shown, in characters.
const LONGEST: usize = 200;
/// What stands in place of a secret.
const BLOT: &str = "[secret]";

/// The beginning of the text, in one line, without control characters and without any of the secrets.
pub fn presentable(text: &str, secrets: &[TokenValue]) -> String {
    let printable = text.replace(char::is_control, " ");
    let words: Vec<&str> = printable.split_whitespace().collect();
    let secrets = secrets.iter().map(TokenValue::expose).filter(|secret| !secret.is_empty());
    let blotted = secrets.fold(words.join(" "), |text, secret| text.replace(secret, BLOT));
    blotted.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_of_printable_characters() {
        assert_eq!(presentable("one\r\n\ttwo\u{1b}[31m three\0 ä ", &[]), "one two [31m three ä");
    }

    #[test]
    fn a_text_is_cut_by_characters() {
        assert_eq!(presentable(&"ä".repeat(300), &[]), "ä".repeat(200));
    }

    #[test]
    fn secrets_are_blotted_out_also_where_the_text_is_cut_within_one() {
        let secrets = ["abc123", "", "zzz"].map(TokenValue::new);
        assert_eq!(
            presentable("token abc123 and zzz, abc123", &secrets),
            "token [secret] and [secret], [secret]"
        );
        let long = format!("{}abc123", "x".repeat(197));
        assert_eq!(presentable(&long, &secrets), format!("{}[se", "x".repeat(197)));
    }
}
