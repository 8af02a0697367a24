//! How a name is written where an issuer does not take every character.

use deunicode::deunicode_char;

/// What stands for a character that has no likeness among those that are taken.
const SUBSTITUTE: char = '-';

/// Which characters the name of a token may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameCharacters {
    /// Whatever a display name may have.
    #[default]
    Any,
    /// Letters and digits of ASCII, the space and `.'"-`.
    Plain,
}

impl NameCharacters {
    /// The text as the issuer takes it. What is written so is not changed again.
    pub fn write(self, text: &str) -> String {
        match self {
            Self::Any => text.to_owned(),
            Self::Plain => plain(text),
        }
    }
}

/// Letters in their likeness (`ä` as `a`), one space between words, all else as `-`.
fn plain(text: &str) -> String {
    let likeness = |character| deunicode_char(character).filter(|likeness| !likeness.is_empty());
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        match likeness(character) {
            Some(likeness) => written.extend(likeness.chars().map(|one| if is_plain(one) { one } else { SUBSTITUTE })),
            None => written.push(SUBSTITUTE),
        }
    }
    let words: Vec<&str> = written.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || " .'\"-".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_are_written_in_their_likeness_and_the_rest_as_a_dash() {
        for (text, written) in [
            ("CI pipeline", "CI pipeline"),
            (r#"O'Neil's "best" v1.2-3"#, r#"O'Neil's "best" v1.2-3"#),
            ("Bestellungen für Köln", "Bestellungen fur Koln"),
            ("Straße", "Strasse"),
            ("Żółć Ελλάδα", "Zolc Ellada"),
            ("北京 shop", "Bei Jing shop"),
            ("team_a/shop:read (x)", "team-a-shop-read -x-"),
            ("a\tb\u{e000}c", "a-b-c"),
            ("  two   spaces ", "two spaces"),
            ("", ""),
        ] {
            assert_eq!(NameCharacters::Plain.write(text), written, "{text}");
        }
    }

    #[test]
    fn an_issuer_that_takes_all_gets_the_name_as_it_is() {
        assert_eq!(NameCharacters::Any.write(" Köln_1 "), " Köln_1 ");
    }

    proptest! {
        #[test]
        fn what_is_written_is_taken_and_stays_when_it_is_written_again(text in any::<String>()) {
            let written = NameCharacters::Plain.write(&text);
            prop_assert!(written.chars().all(is_plain), "{written}");
            prop_assert_eq!(NameCharacters::Plain.write(&written), written);
        }
    }
}
