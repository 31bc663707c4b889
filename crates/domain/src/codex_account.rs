//! Whose a Codex access token is, which its provider wants to be told besides.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "https://api.openai.com/auth")]
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    chatgpt_account_id: String,
}

/// The account that a token names in its claims, where it is a JWT that names one. Nobody checks the
/// signature here: the provider does.
#[must_use]
pub fn account_id(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let account = serde_json::from_slice::<Claims>(&claims).ok()?.auth.chatgpt_account_id;
    let is_header = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_graphic());
    is_header.then_some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &serde_json::Value) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn the_account_is_in_the_token() {
        let auth = "https://api.openai.com/auth";
        let account = serde_json::json!({ auth: { "chatgpt_account_id": "acc-1" }, "exp": 1 });
        assert_eq!(account_id(&token(&account)).as_deref(), Some("acc-1"));
        for nothing in [
            serde_json::json!({}),
            serde_json::json!({ auth: {} }),
            serde_json::json!({ auth: { "chatgpt_account_id": "a\nb" } }),
        ] {
            assert_eq!(account_id(&token(&nothing)), None);
        }
        for other in ["", "opaque", "a.b.c", "a.!.c"] {
            assert_eq!(account_id(other), None);
        }
    }
}
