//! The keys that Cloudflare Access signs with, and the check of a signature.
//!
//! The keys are fetched when one is first needed, and again after an hour or when an assertion names
//! one that isn't known: Access changes them every few weeks. The check itself is the runtime's.

use std::cell::RefCell;

use domain::access_jwt::{AccessSettings, Assertion, SigningKey, signing_keys};
use domain::clock::Millis;
use js_sys::{Array, Promise, Uint8Array};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::error::Error;
use crate::{clock, log, token_client};

/// How long fetched keys are as good as new.
const KEPT_FOR: Millis = 3_600_000;
/// How long they are known to be all that there are, whatever key an assertion names.
const PAUSE: Millis = 30_000;
/// How long they aren't asked for again where they could not be had.
const PAUSE_AFTER_A_FAILURE: Millis = 5_000;

#[derive(Clone, Default)]
struct Known {
    /// When they came.
    fetched_at: Option<Millis>,
    /// When they last could not be had.
    failed_at: Option<Millis>,
    keys: Vec<SigningKey>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// Whether an assertion was signed by the team's Access.
///
/// # Errors
/// [`Error::AccessUnavailable`] where nobody can say, for the keys can't be had.
pub async fn has_signed(
    settings: &AccessSettings,
    assertion: &Assertion<'_>,
) -> Result<bool, Error> {
    let Some(key) = key(settings, &assertion.key_id).await? else { return Ok(false) };
    Ok(is_signature(&key, assertion).await.unwrap_or(false))
}

/// The key of a name. Keys that are known stay good while newer ones can't be had. Who comes while they
/// are being fetched fetches them too, rather than being taken for a stranger.
async fn key(settings: &AccessSettings, key_id: &str) -> Result<Option<SigningKey>, Error> {
    let find = |keys: &[SigningKey]| keys.iter().find(|key| key.kid == key_id).cloned();
    let now = clock::reading();
    let known = KNOWN.with_borrow(Clone::clone);
    let is_since = |moment: Option<Millis>, pause: Millis| {
        moment.is_some_and(|moment| (now - moment).max(0) < pause)
    };
    let found = find(&known.keys);
    let rests = if found.is_some() { KEPT_FOR } else { PAUSE };
    if is_since(known.fetched_at, rests) {
        return Ok(found);
    }
    if is_since(known.failed_at, PAUSE_AFTER_A_FAILURE) {
        return found.map(Some).ok_or(Error::AccessUnavailable);
    }
    let url = format!("{}/cdn-cgi/access/certs", settings.issuer);
    let keys = match token_client::get(&url).await {
        Ok((200, body)) => signing_keys(&body),
        _ => None,
    };
    let Some(keys) = keys else {
        log::fault("the keys of Cloudflare Access can't be had", &url);
        KNOWN.with_borrow_mut(|known| known.failed_at = Some(clock::reading()));
        return found.map(Some).ok_or(Error::AccessUnavailable);
    };
    let found = find(&keys);
    let fetched_at = Some(clock::reading());
    KNOWN.set(Known { fetched_at, failed_at: None, keys });
    Ok(found)
}

async fn is_signature(key: &SigningKey, assertion: &Assertion<'_>) -> Result<bool, JsValue> {
    // Of the published key nothing but its numbers is taken: what it is for is said here.
    let jwk = json!({"kty": "RSA", "n": key.n, "e": key.e}).to_string();
    let jwk = js_sys::JSON::parse(&jwk)?;
    let algorithm = js_sys::JSON::parse(r#"{"name":"RSASSA-PKCS1-v1_5","hash":"SHA-256"}"#)?;
    let usages = Array::of1(&"verify".into());
    let key = JsFuture::from(import_key("jwk", &jwk, &algorithm, false, &usages)?).await?;
    let signature = Uint8Array::from(assertion.signature.as_slice());
    let signed = Uint8Array::from(assertion.signed.as_bytes());
    let verified = JsFuture::from(verify(&algorithm, &key, &signature, &signed)?).await?;
    Ok(verified.is_truthy())
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"], js_name = importKey)]
    fn import_key(
        format: &str,
        key: &JsValue,
        algorithm: &JsValue,
        is_extractable: bool,
        usages: &Array,
    ) -> Result<Promise, JsValue>;
    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"])]
    fn verify(
        algorithm: &JsValue,
        key: &JsValue,
        signature: &Uint8Array,
        signed: &Uint8Array,
    ) -> Result<Promise, JsValue>;
}
