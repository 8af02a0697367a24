//! Finds values of the built-in issuer in text of any length, by their checksum. Pure, and bounded in memory.
//!
//! A value is `<prefix>_<body>`. The body is known by its checksum. The prefix is not: it may be any, and text may
//! touch it, such as the `n` of an escaped line break. So each prefix that could be meant is tried, by whoever knows
//! the hashes of the values that there are.

use zeroize::Zeroizing;

use crate::{
    issuers::builtin::{self, BODY_LENGTH, LONGEST_PREFIX},
    token_value::TokenValue,
};

/// Reads text in pieces.
#[derive(Default)]
pub struct Scanner {
    /// The last lower-case letters and digits: what may be a prefix.
    run: Vec<u8>,
    /// What stood before the last `_`.
    prefix: Vec<u8>,
    /// What followed it so far. One buffer for all: text may be full of `_`.
    body: Zeroizing<Vec<u8>>,
    /// Whether that may still become a body.
    is_open: bool,
}

/// A body whose checksum fits, and what stood before it. It has no `Debug`.
pub struct Find {
    before: String,
    body: Zeroizing<String>,
}

impl Scanner {
    /// Reads the next piece and shows what it completes.
    pub fn read(&mut self, piece: &[u8], mut found: impl FnMut(&Find)) {
        // In UTF-16, as PowerShell writes it, a zero stands beside each letter.
        for byte in piece.iter().filter(|byte| **byte != 0) {
            self.grow(*byte);
            if let Some(find) = self.completed() {
                found(&find);
            }
            self.follow(*byte);
        }
    }

    fn grow(&mut self, byte: u8) {
        self.is_open &= byte.is_ascii_alphanumeric();
        if self.is_open {
            self.body.push(byte);
        }
    }

    fn completed(&mut self) -> Option<Find> {
        if !self.is_open || self.body.len() < BODY_LENGTH {
            return None;
        }
        self.is_open = false;
        let body = std::str::from_utf8(&self.body).ok().filter(|body| builtin::is_body(body))?;
        Some(Find {
            before: String::from_utf8(self.prefix.clone()).ok()?,
            body: Zeroizing::new(body.to_owned()),
        })
    }

    /// Remembers what may be a prefix; behind it a body may begin.
    fn follow(&mut self, byte: u8) {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() {
            if self.run.len() == LONGEST_PREFIX {
                self.run.remove(0);
            }
            self.run.push(byte);
            return;
        }
        if byte == b'_' && self.run.iter().any(u8::is_ascii_lowercase) {
            self.prefix.clone_from(&self.run);
            self.body.clear();
            // Once, so that no shorter copy is left behind.
            self.body.reserve_exact(BODY_LENGTH);
            self.is_open = true;
        }
        self.run.clear();
    }
}

impl Find {
    /// The values that it may be: the longest prefix first, each beginning with a letter.
    pub fn candidates(&self) -> impl Iterator<Item = TokenValue> {
        let starts = self.before.char_indices().filter(|(_, character)| character.is_ascii_lowercase());
        let prefixes = starts.filter_map(|(at, _)| self.before.get(at..));
        prefixes.map(|prefix| TokenValue::new(format!("{prefix}_{}", *self.body)))
    }
}

/// Whether a text holds a value.
pub fn holds_value(text: &[u8]) -> bool {
    let mut found = false;
    Scanner::default().read(text, |_| found = true);
    found
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::issuers::builtin::generate;

    fn value(seed: u64, prefix: &str) -> TokenValue {
        generate(&mut StdRng::seed_from_u64(seed), prefix).unwrap()
    }

    /// The hashes of all candidates of all finds, when the text comes in these pieces.
    fn found<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<String>> {
        let mut scanner = Scanner::default();
        let mut all = Vec::new();
        for piece in pieces {
            scanner.read(piece, |find| all.push(find.candidates().map(|value| value.hash()).collect()));
        }
        all
    }

    #[test]
    fn a_value_is_found_whatever_touches_it() {
        let apt = value(1, "apt");
        let long = value(2, "abcdefghijklmnop");
        for (text, value) in [
            ("{}", &apt),
            ("Authorization: Bearer {}\r\n", &apt),
            (r#"{"token":"{}"}"#, &apt),
            (r"first\n{}\nsecond", &apt),
            ("token%3D{}%20", &apt),
            ("?t=1&key={}&more=_", &apt),
            ("my_key_{}_", &apt),
            ("9{}x", &apt),
            ("{}{}", &apt),
            ("{}", &long),
            ("x{}", &long),
            ("\u{fffd}\u{1f600}{}\0", &apt),
            ("\u{1b}[32m{}\u{1b}[0m", &apt),
            ("https://{}:x@api.example.com/", &apt),
            ("https://api.example.com/{}/orders", &apt),
            ("{},{}", &apt),
        ] {
            let text = text.replace("{}", value.expose());
            let finds = found([text.as_bytes()]);
            assert!(
                !finds.is_empty() && finds.iter().all(|hashes| hashes.contains(&value.hash())),
                "case {}",
                text.len()
            );
        }
    }

    #[test]
    fn a_value_is_found_in_text_of_two_bytes_a_letter() {
        let value = value(1, "apt");
        let text = format!("Bearer {}\r\n", value.expose());
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let text: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            assert_eq!(found([&text[..]]).len(), 1);
            assert!(found(text.chunks(1))[0].contains(&value.hash()));
        }
    }

    #[test]
    fn what_is_no_value_is_not_found() {
        let whole = value(3, "apt");
        let body = whole.expose().trim_start_matches("apt_").to_owned();
        let changed = whole.expose().replace(body.get(5..6).unwrap(), "-");
        let cut = whole.expose().split_at(40).0.to_owned();
        for text in [
            String::new(),
            body.clone(),
            format!("_{body}"),
            format!("123_{body}"),
            format!("APT_{body}"),
            changed,
            cut,
            "a_".repeat(100),
            format!("apt_{}", "a".repeat(200)),
        ] {
            assert!(!holds_value(text.as_bytes()), "{} bytes", text.len());
        }
    }

    #[test]
    fn a_prefix_is_tried_from_each_of_its_letters() {
        let text = format!("20%3d1a{}", value(4, "apt").expose());
        let hashes = found([text.as_bytes()]).pop().unwrap();
        let body = value(4, "apt").expose().trim_start_matches("apt_").to_owned();
        let expected = ["d1aapt", "aapt", "apt", "pt", "t"].map(|prefix| TokenValue::new(format!("{prefix}_{body}")).hash());
        assert_eq!(hashes, expected);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            noise in vec("[a-z_\\\\n \"A-Z0-9é]{0,30}", 1..6),
            prefix in "[a-z][a-z0-9]{0,15}",
            cuts in vec(0usize..500, 0..20),
        ) {
            let mut text = String::new();
            let mut hashes = Vec::new();
            for (seed, noise) in noise.iter().enumerate() {
                let value = value(seed as u64, &prefix);
                text.push_str(&format!("{noise} {}", value.expose()));
                hashes.push(value.hash());
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let whole = found([text.as_bytes()]);
            let pieces = found(cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]));
            prop_assert_eq!(&whole, &pieces);
            // Each value once, under its own prefix first, as a blank stands before it.
            prop_assert_eq!(whole.iter().map(|find| find[0].clone()).collect::<Vec<_>>(), hashes);
        }
    }
}
