//! What a stranger presents as a token: turned away where it can't be one, else known by its hash alone.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The longest text that is taken for a token.
pub const LONGEST: usize = 4096;

/// SHA-256 of a token. Two are compared in a time that does not tell where they differ.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of what was presented; nothing where it can't be a token: too long, or outside of the characters of a
    /// bearer token (RFC 6750 section 2.1).
    pub fn of_presented(text: &[u8]) -> Option<Self> {
        let body = without_padding(text);
        let fits = text.len() <= LONGEST && !body.is_empty() && body.iter().all(is_token_character);
        fits.then(|| Self(Sha256::digest(text).into()))
    }

    /// Reads the lower-case hex of a status; nothing where it is none.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// As a status has it.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

fn without_padding(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

fn is_token_character(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token_value;

    #[test]
    fn a_presented_token_has_the_hash_of_its_status() {
        let of_status = TokenHash::from_hex(&token_value::hash(b"apt_abc")).unwrap();
        assert!(TokenHash::of_presented(b"apt_abc").unwrap() == of_status);
        assert!(TokenHash::of_presented(b"apt_abd").unwrap() != of_status);
    }

    #[test]
    fn only_characters_of_a_bearer_token_are_taken() {
        let longest = "a".repeat(LONGEST);
        for (text, taken, why) in [
            ("a", true, "the shortest"),
            ("AZaz09-._~+/", true, "the whole set"),
            ("abc==", true, "padded"),
            (longest.as_str(), true, "the longest"),
            (&format!("{longest}a"), false, "too long"),
            ("", false, "nothing"),
            ("==", false, "padding alone"),
            ("a=b", false, "padding in the middle"),
            ("a b", false, "a blank"),
            ("a,b", false, "two in one header"),
            ("a\n", false, "a line break"),
            ("ä", false, "beyond ASCII"),
            ("a\0", false, "a zero"),
        ] {
            assert_eq!(TokenHash::of_presented(text.as_bytes()).is_some(), taken, "{why}");
        }
    }

    #[test]
    fn only_lower_case_hex_is_a_hash() {
        let hex = "0f".repeat(32);
        assert!(TokenHash::from_hex(&hex).is_some());
        for text in [&hex[1..], "", &hex.to_uppercase(), &"0g".repeat(32), &"é".repeat(32)] {
            assert!(TokenHash::from_hex(text).is_none(), "{text}");
        }
    }
}
