//! What people copy from a card, as they type it: a claim code, and the token of a kit's address.

use domain::claim_code::{ClaimCode, CodeRecord, Worth, judge};
use domain::identifiers::UserId;
use domain::kit::{KitToken, without_token};

pub fn hold(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    claim_code(text);
    kit_token(text);
}

fn claim_code(text: &str) {
    let [ada, bob] = ["ada", "bob"].map(|name| UserId::parse(name).expect("a USER_ID"));
    let Some(code) = ClaimCode::parse(text) else { return };
    let shown = code.expose();
    assert_form(&shown, 2);
    let codes = [CodeRecord::open(code.fingerprint(&ada), 10)];
    for typed in [shown.clone(), shown.to_lowercase(), shown.replace('-', " ")] {
        let read = ClaimCode::parse(&typed).expect("what is written can be read");
        assert_eq!(read.expose(), shown);
        assert_eq!(judge(&codes, &read.fingerprint(&ada), 9), Worth::Good);
        assert_eq!(judge(&codes, &read.fingerprint(&ada), 10), Worth::Expired);
        assert_eq!(judge(&codes, &read.fingerprint(&bob), 9), Worth::Invalid);
    }
    for at in (0..shown.len()).filter(|at| shown.as_bytes()[*at] != b'-') {
        let mut other = shown.clone();
        let by = if &shown[at..=at] == "7" { "8" } else { "7" };
        other.replace_range(at..=at, by);
        let other = ClaimCode::parse(&other).expect("another code");
        assert_eq!(judge(&codes, &other.fingerprint(&ada), 9), Worth::Invalid);
    }
}

fn kit_token(text: &str) {
    for prefix in ["/kit/", "/operator/api/kits/"] {
        assert_eq!(without_token(&format!("{prefix}{text}")), prefix);
    }
    let Some(token) = KitToken::parse(text) else { return };
    let shown = token.expose();
    assert_form(&shown, 3);
    for typed in [shown.to_lowercase(), shown.replace('-', "%20"), shown.replace('-', "")] {
        let read = KitToken::parse(&typed).expect("what is written can be read");
        assert!(read == token && read.object_name() == token.object_name());
    }
    assert!(!token.object_name().contains(&shown.replace('-', "")));
}

/// Groups of four symbols, none of which is easily taken for another.
fn assert_form(shown: &str, groups: usize) {
    let is_symbol =
        |letter: char| matches!(letter, '0'..='9' | 'A'..='Z') && !"ILOU".contains(letter);
    let is_group = |group: &str| group.len() == 4 && group.chars().all(is_symbol);
    assert!(shown.split('-').count() == groups && shown.split('-').all(is_group), "{shown}");
}
