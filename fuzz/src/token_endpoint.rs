//! What a provider of tokens answers, of any status and bytes: a token fits into a header, a time is
//! within its bounds, and what the operator is told holds nothing of the answer.

use domain::secret::Secret;
use domain::token_endpoint::{
    DeviceEndpoint, Granted, NoTokens, Polled, Provider, is_token, read_tokens,
};
use url::Url;

const DAY: i64 = 24 * 3_600_000;

pub fn hold(input: &[u8]) {
    let [status, body @ ..] = input else { return };
    let status = [200, 201, 400, 401, 403, 404, 429, 500][usize::from(*status) % 8];
    match read_tokens(status, body) {
        Ok(granted) => check_tokens(&granted, status),
        Err(NoTokens::Invalid) => assert!(status < 500),
        Err(NoTokens::Unavailable(text)) => assert_says_little(&text, status),
    }
    for url in ["https://provider.example/device", "https://provider.example/deviceauth/usercode"] {
        let url = Url::parse(url).expect("a URL");
        let provider = Provider {
            token_url: "https://provider.example/token".to_owned(),
            client_id: "app".to_owned(),
            device: Some(DeviceEndpoint::at(&url)),
        };
        sign_in(&provider, status, body);
    }
}

fn check_tokens(granted: &Granted, status: u16) {
    assert!((200..300).contains(&status));
    assert!(is_token(granted.access.expose()));
    assert!(granted.refresh.as_ref().is_none_or(|token| is_token(token.expose())));
    assert!((120_000..=365 * DAY).contains(&granted.lifetime));
}

fn sign_in(provider: &Provider, status: u16, body: &[u8]) {
    let login = provider.device_login().expect("there is an endpoint");
    match login.read_codes(status, body) {
        Ok(codes) => {
            assert!(is_token(codes.device_code.expose()));
            assert!((1_000..=60_000).contains(&codes.interval));
            assert!((1_000..=3_600_000).contains(&codes.lifetime));
            let visible = |byte: u8| matches!(byte, b' '..=b'~');
            assert!(
                (1..=64).contains(&codes.user_code.len()) && codes.user_code.bytes().all(visible)
            );
            let addresses =
                [Some(&codes.verification_uri), codes.verification_uri_complete.as_ref()];
            for address in addresses.into_iter().flatten() {
                let url = Url::parse(address).expect("a URL");
                assert!(matches!(url.scheme(), "http" | "https") && url.as_str() == address);
            }
            let question = login.poll(&codes.device_code, &codes.user_code);
            assert!(question.url.starts_with("https://provider.example/"));
        }
        Err(text) => assert_says_little(&text, status),
    }
    match login.read_poll(status, body) {
        Polled::Tokens(tokens) => {
            let refresh: Option<Secret<String>> = Some(tokens.refresh);
            check_tokens(
                &Granted { access: tokens.access, refresh, lifetime: tokens.lifetime },
                status,
            );
        }
        Polled::Exchange(question) => assert_eq!(question.url, provider.token_url),
        Polled::Unusable(text) => assert_says_little(&text, status),
        Polled::Pending | Polled::SlowDown | Polled::Denied | Polled::Expired => {}
    }
}

fn assert_says_little(text: &str, status: u16) {
    const SAID: [&str; 14] = [
        "an error",
        "no usable access token",
        "an unusable refresh token",
        "no usable codes",
        "no usable authorization code",
        "no JSON object",
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
    ];
    let said = text.strip_prefix(&format!("it answered {status} and "));
    assert!(said.map_or(text == "it gave no refresh token", |said| SAID.contains(&said)), "{text}");
}
