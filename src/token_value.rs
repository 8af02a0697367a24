//! The value of a token: the one secret of this program.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

/// How many of the last characters make the hint.
const HINT_LENGTH: usize = 4;

/// A token's value. It has no `Debug`, `Display` or `Serialize`, and is wiped when dropped.
#[derive(Clone)]
pub struct TokenValue(SecretString);

impl TokenValue {
    /// Takes a value in.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }

    /// The plain value: for writing the Secret and for nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Lower-case hex SHA-256 of the value: what may be stored and looked up.
    pub fn hash(&self) -> String {
        hash(self.expose().as_bytes())
    }

    /// The last 4 characters, by which people tell values apart.
    pub fn hint(&self) -> String {
        let characters = self.expose().chars().count();
        self.expose().chars().skip(characters.saturating_sub(HINT_LENGTH)).collect()
    }
}

/// A vendor's answer may hold one. Nothing is the other way round.
impl<'de> Deserialize<'de> for TokenValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Lower-case hex SHA-256 of the bytes of a value.
pub fn hash(value: &[u8]) -> String {
    Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_lower_case_hex_sha256() {
        // FIPS 180-4 example "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenValue::new("abc").hash(), expected);
    }

    #[test]
    fn the_hint_is_the_last_four_characters() {
        assert_eq!(TokenValue::new("apt_abcdefgh").hint(), "efgh");
        assert_eq!(TokenValue::new("äöü").hint(), "äöü");
    }
}
