//! The claims of a caller, each a line: who comes of them is named by all that name somebody, and no
//! gateway key is taken for a credential of the caller's own.

use domain::gateway_key;
use domain::identifiers::UserId;
use domain::identity::{Caller, Claims, IdentityError, bearer_of, resolve};
use domain::path::gateway_path;

pub fn hold(input: &[u8]) {
    let Some([path, name, authorization, key]) = crate::lines(input) else { return };
    let Some(path) = gateway_path(path) else { return };
    let resolve = |name: &str| -> Result<Caller, IdentityError> {
        let text = |text: &str| Some(text.to_owned());
        resolve(Claims {
            path: &path,
            user_id: text(name),
            authorization: text(authorization),
            gateway_key: text(key),
        })
    };
    let Ok(caller) = resolve(name) else { return };
    let user_id = caller.user_id.as_str();
    assert_eq!(UserId::parse(user_id).as_ref(), Ok(&caller.user_id));
    let header = (!name.trim().is_empty()).then(|| name.trim().to_ascii_lowercase());
    assert!(header.is_none_or(|named| named == user_id));
    assert!(path.user_id.clone().is_none_or(|named| named.as_ref() == Ok(&caller.user_id)));

    let bearer = bearer_of(authorization.trim()).filter(|it| gateway_key::looks_like_key(it));
    let keys = [bearer, Some(key.trim()).filter(|key| !key.is_empty())];
    let keys: Vec<_> = keys.into_iter().flatten().collect();
    assert_eq!(keys.len(), caller.shown.keys.len());
    for (text, hash) in keys.iter().zip(&caller.shown.keys) {
        let key = gateway_key::parse(text).expect("a key is well formed");
        assert!(key.user_id == caller.user_id && key.hash == *hash);
    }
    let own = caller.authorization.as_ref().map(|own| own.expose().as_str());
    assert!(own.is_none_or(|own| !own.contains("ogk_") && own == authorization.trim()));

    let again = resolve(user_id).expect("who was found can say so");
    assert!(again.user_id == caller.user_id && again.shown.keys == caller.shown.keys);
    assert!(again.shown.bearer == caller.shown.bearer);
}
