use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::testing::{chunks, cuts};

const SECRET: &str = "sk-proj/Ab+9_x~Q7=zz";

fn redacted(text: &[u8]) -> Vec<u8> {
    said(&mut Redactor::new([SECRET]), [text])
}

fn said<'a>(redactor: &mut Redactor, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut said = Vec::new();
    for chunk in chunks {
        said.extend_from_slice(&redactor.push(chunk));
    }
    said.extend(redactor.finish());
    said
}

fn percent(byte: u8) -> String {
    format!("%{byte:02X}")
}

/// The secret in each usual spelling.
fn spelled() -> Vec<String> {
    let each = |escape: &dyn Fn(u8) -> String| SECRET.bytes().map(escape).collect::<String>();
    let special = |escape: &dyn Fn(u8) -> String| {
        let escape = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => escape(byte),
        };
        SECRET.bytes().map(escape).collect::<String>()
    };
    let basic = format!("me:{SECRET}");
    vec![
        SECRET.to_owned(),
        each(&percent),
        each(&percent).to_lowercase(),
        special(&percent),
        special(&|byte| percent(byte).to_lowercase()),
        special(&|byte| percent(byte).replace('%', "%25")),
        SECRET.replace('/', "\\/"),
        each(&|byte| format!("\\u{byte:04x}")),
        special(&|byte| format!("\\u{byte:04X}")),
        special(&|byte| format!("\\x{byte:02x}")),
        special(&|byte| format!("&#{byte};")),
        special(&|byte| format!("&#x{byte:02X};")),
        each(&|byte| format!("{byte:02x}")),
        each(&|byte| format!("{byte:02X}")),
        STANDARD.encode(SECRET),
        URL_SAFE.encode(SECRET),
        STANDARD_NO_PAD.encode(SECRET),
        STANDARD.encode(&basic),
        URL_SAFE_NO_PAD.encode(format!("x{SECRET}y")),
        STANDARD.encode(SECRET).replace('/', "\\/").replace('+', "%2B"),
    ]
}

#[test]
fn a_secret_is_taken_out_in_each_usual_spelling_wherever_it_is_cut() {
    for spelling in spelled() {
        let text = format!("Incorrect key provided: {spelling}, see the docs.");
        let whole = redacted(text.as_bytes());
        let shown = String::from_utf8_lossy(&whole);
        assert!(shown.contains("[redacted]"), "{spelling}: {shown}");
        for part in [&SECRET[3..11], &spelling[spelling.len() / 3..spelling.len() / 3 + 8]] {
            assert!(!shown.contains(part), "{spelling}: {shown}");
        }
        assert!(shown.starts_with("Incorrect key provided: ") && shown.ends_with("see the docs."));
        for size in 1..text.len() {
            let mut redactor = Redactor::new([SECRET]);
            assert_eq!(
                said(&mut redactor, text.as_bytes().chunks(size)),
                whole,
                "{spelling} {size}"
            );
        }
    }
}

#[test]
fn what_has_no_secret_in_it_is_not_copied_and_waits_for_nothing() {
    let mut redactor = Redactor::new([SECRET, "of-the-operator"]);
    let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"sk-proj is 50% \\u00e9\"}}]}\n\n";
    assert!(matches!(redactor.push(event), Cow::Borrowed(said) if said == event));
    assert!(redactor.finish().is_empty());
    let mut none = Redactor::new(["short"]);
    assert!(matches!(none.push(b"short"), Cow::Borrowed(b"short")));
}

#[test]
fn only_what_may_be_the_beginning_of_a_secret_is_held() {
    let mut redactor = Redactor::new([SECRET]);
    assert_eq!(&*redactor.push(b"key: sk-pro"), b"key: ");
    assert_eq!(&*redactor.push(b"ve"), b"sk-prove");
    assert_eq!(&*redactor.push(b"key: sk-proj%2"), b"key: ");
    assert_eq!(redactor.finish(), b"sk-proj%2");
}

#[test]
fn the_secrets_of_a_request_are_in_its_headers() {
    let basic = format!("Basic {}", STANDARD.encode("me:the-password"));
    for (name, value, secret) in [
        ("authorization", "Bearer sk-of-the-caller", "sk-of-the-caller"),
        ("authorization", "sk-of-the-caller", "sk-of-the-caller"),
        ("authorization", basic.as_str(), "the-password"),
        ("x-api-key", "sk-of-the-caller", "sk-of-the-caller"),
        ("x-codex-token", "sk-of-the-caller", "sk-of-the-caller"),
    ] {
        let redactor = Redactor::of_headers([("accept", "application/json"), (name, value)]);
        assert_eq!(redactor.text(secret), "[redacted]", "{name}");
        assert_eq!(redactor.text("application/json"), "application/json");
    }
}

proptest! {
    #[test]
    fn any_split_says_the_same(
        pieces in prop::collection::vec(
            prop_oneof![
                3 => prop::sample::select(spelled()),
                2 => "[a-zA-Z%\\\\&#0-9]{0,8}",
                1 => any::<String>(),
                1 => prop::sample::select(vec![SECRET[..9].to_owned(), "sk-".to_owned()]),
            ],
            0..8,
        ),
        cuts in cuts(),
    ) {
        let text = pieces.concat().into_bytes();
        let whole = redacted(&text);
        let mut redactor = Redactor::new([SECRET]);
        prop_assert_eq!(said(&mut redactor, chunks(&text, &cuts)), whole.clone());
        prop_assert!(!String::from_utf8_lossy(&whole).contains(SECRET));
    }
}
