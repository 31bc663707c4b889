//! The claims of a caller, each a line: who comes of them is named by all that name somebody, and no
//! gateway key is taken for a credential of the caller's own.

use domain::gateway_key::{self, contains_key};
use domain::handle::contains_handle;
use domain::identifiers::UserId;
use domain::identity::{CREDENTIAL_HEADERS, Caller, IdentityError, resolve};
use domain::path::gateway_path;

pub fn hold(input: &[u8]) {
    let Some([path, name, credential, key]) = crate::lines(input) else { return };
    let Some(path) = gateway_path(path) else { return };
    for header in CREDENTIAL_HEADERS {
        let resolve = |name: &str| -> Result<Caller, IdentityError> {
            resolve(&path, |wanted| match wanted {
                "x-user-id" => Some(name),
                "x-gateway-key" => Some(key),
                _ if wanted == header => Some(credential),
                _ => None,
            })
        };
        let Ok(caller) = resolve(name) else { continue };
        let user_id = caller.user_id.as_str();
        assert_eq!(UserId::parse(user_id).as_ref(), Ok(&caller.user_id));
        let claimed = (!name.trim().is_empty()).then(|| name.trim().to_ascii_lowercase());
        assert!(claimed.is_none_or(|named| named == user_id));
        assert!(path.user_id.clone().is_none_or(|named| named.as_ref() == Ok(&caller.user_id)));

        assert!(caller.shown.keys.len() <= 1, "two gateway keys are a conflict");
        if let Some(shown) = gateway_key::parse(key.trim()) {
            assert!(shown.user_id == caller.user_id && caller.shown.keys == [shown.hash]);
        }
        for (header, own) in &caller.own.headers {
            let own = own.expose();
            assert!(
                CREDENTIAL_HEADERS.contains(header)
                    && credential.contains(own.trim_start_matches("Bearer "))
            );
            assert!(!contains_key(own) && !contains_handle(own), "nothing of ours goes upstream");
        }
        assert_eq!(caller.own.key.is_some(), caller.shown.bearer.is_some());

        let again = resolve(user_id).expect("who was found can say so");
        assert!(again.user_id == caller.user_id && again.shown.keys == caller.shown.keys);
        assert!(again.shown.bearer == caller.shown.bearer);
    }
}
