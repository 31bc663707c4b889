//! A USER_ID made of a name.

use sha2::{Digest, Sha256};

use crate::identifiers::UserId;
use crate::keyed_hash::hex;

/// What a USER_ID begins with, at most: a USER_ID has 64 characters, and the number of a namesake
/// has to fit in.
const LONGEST_BASE: usize = 58;

/// Each USER_ID that somebody of this name in plain letters may get, the first choice first:
/// `ada-lovelace`, `ada-lovelace-2`, `ada-lovelace-3` …
pub fn candidates(plain: &str) -> impl Iterator<Item = UserId> + use<> {
    let base = plain.to_owned();
    let texts = (1_u32..).map(move |number| match number {
        1 => base.clone(),
        _ => format!("{base}-{number}"),
    });
    // All of them are USER_IDs; but `anonymous` is nobody's.
    texts.filter_map(|text| UserId::parse(&text).ok()).filter(|user_id| !user_id.is_anonymous())
}

/// The words of a name in plain letters and digits, with dashes between them. A name without a
/// single Latin letter gets a number instead. The name must be taken apart: Unicode's form NFD.
pub(super) fn plain(decomposed: &str) -> String {
    let mut base = String::new();
    for part in decomposed.chars() {
        append(&mut base, part);
    }
    base.truncate(LONGEST_BASE);
    base.truncate(base.trim_end_matches('-').len());
    if base.is_empty() {
        let digest = Sha256::digest(decomposed.to_lowercase());
        base = format!("user-{}", hex(digest.get(..4).unwrap_or_default()));
    }
    base
}

/// Appends a letter that has been taken apart, or what stands for it in plain letters.
fn append(base: &mut String, part: char) {
    match part {
        'a'..='z' | 'A'..='Z' | '0'..='9' => base.push(part.to_ascii_lowercase()),
        // Accents, and what stands within a word: apostrophes of all kinds.
        '\u{300}'..='\u{36f}' | '\'' | '`' | '´' | '‘' | '’' | '\u{2bb}'..='\u{2bf}' => {}
        // Letters that aren't made of a plain one and an accent.
        'ß' | 'ẞ' => base.push_str("ss"),
        'æ' | 'Æ' => base.push_str("ae"),
        'œ' | 'Œ' => base.push_str("oe"),
        'þ' | 'Þ' => base.push_str("th"),
        'ø' | 'Ø' | 'ɔ' | 'Ɔ' => base.push('o'),
        'ł' | 'Ł' => base.push('l'),
        'đ' | 'Đ' | 'ð' | 'Ð' | 'ɗ' | 'Ɗ' => base.push('d'),
        'ħ' | 'Ħ' => base.push('h'),
        'ı' => base.push('i'),
        'ŋ' | 'Ŋ' => base.push('n'),
        'ŧ' | 'Ŧ' => base.push('t'),
        'ə' | 'Ə' | 'ɛ' | 'Ɛ' => base.push('e'),
        'ɓ' | 'Ɓ' => base.push('b'),
        'ƙ' | 'Ƙ' => base.push('k'),
        _ if base.is_empty() || base.ends_with('-') => {}
        _ => base.push('-'),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    use super::*;

    fn base_of(name: &str) -> String {
        plain(&name.nfd().collect::<String>())
    }

    #[test]
    fn names_of_many_countries_become_plain() {
        for (name, base) in [
            ("Ada Lovelace", "ada-lovelace"),
            ("  Jean-Luc   PICARD ", "jean-luc-picard"),
            ("Zoë Müller-Weiß", "zoe-muller-weiss"),
            ("Zoe\u{308} Mu\u{308}ller", "zoe-muller"),
            ("Søren Kierkegård", "soren-kierkegard"),
            ("Łukasz Żółć", "lukasz-zolc"),
            ("Þóra Æsa Ðorđe", "thora-aesa-dorde"),
            ("İbrahim Işık", "ibrahim-isik"),
            ("Nguyễn Thị Ngọc Ánh", "nguyen-thi-ngoc-anh"),
            ("Conan O’Brien d'Arc", "conan-obrien-darc"),
            ("J. R. R. Tolkien, Jr.", "j-r-r-tolkien-jr"),
            ("Əliyev Ŋgũgĩ", "eliyev-ngugi"),
            ("\"Ann\" <b>", "ann-b"),
            ("Ann 李", "ann"),
            ("4711", "4711"),
            // In other scripts, and in none: printf, decomposed and in lower case | sha256sum
            ("李小龙", "user-535320da"),
            ("Иван", "user-74f46a58"),
            ("ИВАН", "user-74f46a58"),
            ("🙂", "user-d06f1525"),
        ] {
            assert_eq!(base_of(name), base, "{name}");
        }
    }

    #[test]
    fn namesakes_are_numbered_and_nobody_is_anonymous() {
        let first =
            |name| candidates(&base_of(name)).take(3).map(|id| id.to_string()).collect::<Vec<_>>();
        assert_eq!(first("Ada"), ["ada", "ada-2", "ada-3"]);
        assert_eq!(first("Anonymous"), ["anonymous-2", "anonymous-3", "anonymous-4"]);
        let long = "Wolfeschlegelsteinhausen ".repeat(5);
        let thousandth = candidates(&base_of(&long)).nth(999).unwrap();
        assert!(thousandth.as_str().ends_with("hausen-wolfesch-1000"), "{thousandth}");
        let cut_at_a_blank = candidates(&base_of(&format!("{} b", "a".repeat(57)))).next().unwrap();
        assert_eq!(cut_at_a_blank.as_str(), "a".repeat(57));
    }

    proptest! {
        #[test]
        fn every_name_gets_a_user_id(name in "\\PC{0,80}") {
            let ids: Vec<_> = candidates(&base_of(&name)).take(3).collect();
            prop_assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
            prop_assert!(ids.iter().all(|id| !id.as_str().contains("--")), "{:?}", ids);
            // However it is composed and spaced, a name is the same.
            let spaced = name.split_whitespace().collect::<Vec<_>>().join("  ");
            prop_assert_eq!(base_of(&spaced).starts_with("user-"), base_of(&name).starts_with("user-"));
        }
    }
}
