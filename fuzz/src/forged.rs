//! Whatever proves itself by a signature of ours: what was issued is known, and neither any text nor
//! what was issued and then altered is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::custody::{Keyring, Label, Purpose, Sealed};
use domain::identifiers::UserId;
use domain::operator_session;
use domain::secret::Secret;
use domain::stripe::reference;

const NOW: i64 = 1_795_242_216_007;

pub fn hold(input: &[u8]) {
    let [at, by, input @ ..] = input else { return };
    let Some([name, text]) = crate::lines(input) else { return };
    let secrets = [Secret::new("only this program's".to_owned())];
    assert_is_nobodys(text, &secrets);
    let Ok(user) = UserId::parse(name) else { return };
    let known = Some(user.clone()).filter(|user| !user.is_anonymous());
    let altered = |text: &str| crate::altered(text, *at, *by);

    let issued = reference::reference_of(&user, &secrets[0]);
    assert_eq!(reference::user_of(&issued, &secrets), known);
    assert_eq!(reference::user_of_link(&issued, &secrets, 0), None);
    altered(&issued).inspect(|text| assert_is_nobodys(text, &secrets));

    for (issued, until) in [
        (reference::link_token(&user, &secrets[0], NOW), NOW + 15 * 60_000),
        (reference::sent_link_token(&user, &secrets[0], NOW + 5), NOW + 5),
    ] {
        assert_eq!(reference::user_of_link(&issued, &secrets, until - 1), known);
        assert_eq!(reference::user_of_link(&issued, &secrets, until), None);
        assert_eq!(reference::user_of(&issued, &secrets), None);
        altered(&issued).inspect(|text| assert_is_nobodys(text, &secrets));
    }

    let cookie = operator_session::issue(&secrets[0], &[*at; 16], NOW);
    assert!(operator_session::check(&secrets[0], cookie.expose(), NOW).is_some());
    let csrf = operator_session::csrf_token(&secrets[0], cookie.expose());
    assert!(operator_session::is_csrf_token(&secrets[0], cookie.expose(), &csrf));
    if let Some(other) = altered(cookie.expose()) {
        assert!(!operator_session::is_csrf_token(&secrets[0], &other, &csrf));
        assert_is_nobodys(&other, &secrets);
    }
    seals(&user, text, altered);
}

/// No secret has signed this text.
fn assert_is_nobodys(text: &str, secrets: &[Secret<String>]) {
    assert_eq!(reference::user_of(text, secrets), None);
    assert_eq!(reference::user_of_link(text, secrets, 0), None);
    assert_eq!(operator_session::check(&secrets[0], text, 0), None);
}

fn seals(owner: &UserId, text: &str, altered: impl Fn(&str) -> Option<String>) {
    let keys = Keyring::new(&Secret::new(STANDARD.encode([7; 32]))).expect("a key");
    let label = Label { purpose: Purpose::Access, owner };
    if let Ok(sealed) = serde_json::from_str::<Sealed>(text) {
        assert!(keys.open(label, &sealed).is_err());
    }
    let sealed = keys.seal(label, &Secret::new(text.to_owned()), [3; 12]);
    assert_eq!(keys.open(label, &sealed).expect("our own seal").expose(), text);
    let stored = serde_json::to_string(&sealed).expect("a seal is stored");
    let back: Sealed = serde_json::from_str(&stored).expect("a seal is read");
    assert_eq!(back, sealed);
    let other = altered(&stored).and_then(|stored| serde_json::from_str::<Sealed>(&stored).ok());
    assert!(other.is_none_or(|other| other == sealed || keys.open(label, &other).is_err()));
    assert!(keys.open(Label { purpose: Purpose::Refresh, ..label }, &sealed).is_err());
}
