//! The built-in issuer: random values in a format that tells a token of ours from other text,
//! offline, by its checksum.
//!
//! A value is `<prefix>_<43 base62 characters><6 base62 characters of CRC32>`. The random part has
//! 256 bits; the CRC32 (IEEE) is over the random characters alone.

use rand::TryCryptoRng;
use zeroize::Zeroizing;

use crate::token_value::TokenValue;

/// What values begin with where the issuer's `prefix` is not set.
pub const DEFAULT_PREFIX: &str = "apt";

/// How many characters stand behind the `_` of a value.
pub const BODY_LENGTH: usize = RANDOM_LENGTH + CHECKSUM_LENGTH;
/// How many characters stand before it, at most.
pub const LONGEST_PREFIX: usize = 16;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;
/// The largest multiple of 62 that a byte can hold: bytes from here on would favour some characters.
const UNBIASED_BYTES: u8 = 248;

/// Makes a new value.
///
/// # Errors
/// The generator's own error, where it has no randomness to give.
pub fn generate<R: TryCryptoRng>(rng: &mut R, prefix: &str) -> Result<TokenValue, R::Error> {
    let mut random = Zeroizing::new(String::with_capacity(RANDOM_LENGTH));
    let mut bytes = Zeroizing::new([0u8; 64]);
    while random.len() < RANDOM_LENGTH {
        rng.try_fill_bytes(bytes.as_mut_slice())?;
        let unbiased = bytes
            .iter()
            .filter(|byte| **byte < UNBIASED_BYTES)
            .filter_map(|byte| base62(u32::from(*byte)));
        let missing = RANDOM_LENGTH - random.len();
        random.extend(unbiased.take(missing));
    }
    Ok(TokenValue::new(format!("{prefix}_{}{}", *random, checksum(&random))))
}

/// Whether `value` has the format of the built-in issuer, under whatever prefix.
pub fn is_well_formed(value: &str) -> bool {
    let parts = value.rsplit_once('_');
    parts.is_some_and(|(prefix, body)| !prefix.is_empty() && is_body(body))
}

/// Whether this is what stands behind the `_` of a value: random characters, and a checksum that fits them.
pub fn is_body(body: &str) -> bool {
    if body.len() != BODY_LENGTH || !body.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let (random, sum) = body.split_at(RANDOM_LENGTH);
    checksum(random) == sum
}

/// CRC32 (IEEE) of `random` in base62, left-padded with `0`.
fn checksum(random: &str) -> String {
    let mut rest = crc32fast::hash(random.as_bytes());
    let mut digits = ['0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = base62(rest).unwrap_or('0');
        rest /= 62;
    }
    digits.iter().collect()
}

/// The base62 character of `number` modulo 62.
fn base62(number: u32) -> Option<char> {
    ALPHABET.get((number % 62) as usize).map(|byte| char::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::{SeedableRng, rngs::StdRng, rngs::SysRng};

    use super::*;

    #[test]
    fn the_checksum_meets_the_published_vector() {
        assert_eq!(checksum("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"), "0mLq17");
    }

    #[test]
    fn a_value_has_its_format_and_its_checksum_fits() {
        let value = generate(&mut SysRng, "shop").unwrap();
        let (prefix, body) = value.expose().split_once('_').unwrap();
        assert_eq!((prefix, body.len()), ("shop", 49));
        assert!(is_well_formed(value.expose()));
    }

    #[test]
    fn a_changed_character_breaks_the_checksum() {
        let value = generate(&mut StdRng::seed_from_u64(7), DEFAULT_PREFIX).unwrap();
        for at in DEFAULT_PREFIX.len() + 1..value.expose().len() {
            let mut bytes = value.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            assert!(!is_well_formed(std::str::from_utf8(&bytes).unwrap()), "position {at}");
        }
    }

    #[test]
    fn what_is_not_of_our_format_is_told_apart() {
        for text in [
            "",
            "apt_",
            "apt_short",
            "_",
            "hunter2",
            "apt_ä",
            &"x".repeat(53),
            &format!("apt_{}", "é".repeat(25)),
        ] {
            assert!(!is_well_formed(text), "{text}");
        }
    }

    #[test]
    fn every_character_of_the_alphabet_comes_up_about_as_often() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut seen = [0u32; 62];
        let mut values = HashSet::new();
        for _ in 0..2_000 {
            let value = generate(&mut rng, "a").unwrap();
            for byte in value.expose()[2..2 + RANDOM_LENGTH].bytes() {
                seen[ALPHABET.iter().position(|b| *b == byte).unwrap()] += 1;
            }
            assert!(values.insert(value.hash()));
        }
        let mean = 2_000 * RANDOM_LENGTH as u32 / 62;
        assert!(seen.iter().all(|count| count.abs_diff(mean) < mean / 5), "{seen:?}");
    }
}
