use proptest::prelude::*;
use serde_json::json;
use url::Url;

use super::*;

const HTML: &[u8] = b"<html><body>Service unavailable: at-secret</body></html>";

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn provider(device: Option<&str>) -> Provider {
    Provider {
        token_url: "https://auth.example/oauth/token".to_owned(),
        client_id: "app & co".to_owned(),
        device: device.map(|url| DeviceEndpoint::at(&Url::parse(url).unwrap())),
    }
}

fn standard() -> Provider {
    provider(Some("https://auth.example/oauth/device"))
}

fn codex() -> Provider {
    provider(Some("https://auth.example/api/accounts/deviceauth/usercode"))
}

fn tokens(status: u16, body: &serde_json::Value) -> Result<Granted, NoTokens> {
    read_tokens(status, body.to_string().as_bytes())
}

fn granted(body: &serde_json::Value) -> Granted {
    tokens(200, body).unwrap()
}

fn poll(provider: &Provider, status: u16, body: &serde_json::Value) -> Polled {
    provider.device_login().unwrap().read_poll(status, body.to_string().as_bytes())
}

fn codes(provider: &Provider, body: &serde_json::Value) -> Result<DeviceCode, String> {
    provider.device_login().unwrap().read_codes(200, body.to_string().as_bytes())
}

#[test]
fn the_questions_are_pinned() {
    let form = |url: &str, body: &str| Question {
        url: url.to_owned(),
        content_type: "application/x-www-form-urlencoded",
        body: secret(body),
    };
    let (standard, codex) = (standard(), codex());
    let token_url = "https://auth.example/oauth/token";
    assert_eq!(
        standard.refresh(&secret("rt/1+2=")),
        form(
            token_url,
            "grant_type=refresh_token&refresh_token=rt%2F1%2B2%3D&client_id=app+%26+co"
        )
    );
    let login = standard.device_login().unwrap();
    assert_eq!(
        login.begin(),
        form(
            "https://auth.example/oauth/device",
            "client_id=app+%26+co&scope=openid+profile+email+offline_access"
        )
    );
    assert_eq!(
        login.poll(&secret("dc"), "ABCD"),
        form(
            token_url,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=dc\
             &client_id=app+%26+co"
        )
    );
    let login = codex.device_login().unwrap();
    let json = |path: &str, body: &str| Question {
        url: format!("https://auth.example/api/accounts/deviceauth/{path}"),
        content_type: "application/json",
        body: secret(body),
    };
    assert_eq!(login.begin(), json("usercode", r#"{"client_id":"app & co"}"#));
    assert_eq!(
        login.poll(&secret("dc"), "ABCD"),
        json("token", r#"{"device_auth_id":"dc","user_code":"ABCD"}"#)
    );
    let code = json!({"authorization_code": "ac", "code_verifier": "v", "code_challenge": "c"});
    assert_eq!(
        poll(&codex, 200, &code),
        Polled::Exchange(form(
            token_url,
            "grant_type=authorization_code&code=ac\
             &redirect_uri=https%3A%2F%2Fauth.example%2Fdeviceauth%2Fcallback\
             &client_id=app+%26+co&code_verifier=v"
        ))
    );
    assert_eq!(provider(None).device_login().map(|login| login.begin()), None);
}

#[test]
fn tokens_are_read() {
    let answer =
        json!({"access_token": "at", "refresh_token": "rt", "expires_in": 864_000, "id_token": 1});
    let (access, refresh) = (secret("at"), Some(secret("rt")));
    assert_eq!(granted(&answer), Granted { access, refresh, lifetime: 864_000_000 });
    for none in [json!({}), json!({"refresh_token": null}), json!({"refresh_token": ""})] {
        let mut answer = none;
        answer["access_token"] = json!("at");
        let granted = granted(&answer);
        assert_eq!(granted.refresh, None);
        assert_eq!(granted.beside(secret("old")).refresh, secret("old"), "it stays good");
    }
}

#[test]
fn a_lifetime_is_held_within_bounds() {
    let lifetime =
        |value| granted(&json!({"access_token": "at", "expires_in": value})).lifetime / 1_000;
    assert_eq!(granted(&json!({"access_token": "at"})).lifetime, 3_600_000);
    for (value, seconds) in [
        (json!("7200"), 7_200),
        (json!(7200.9), 7_200),
        (json!(null), 3_600),
        (json!("soon"), 3_600),
        (json!("NaN"), 3_600),
        (json!({"seconds": 1}), 3_600),
        (json!(0), 120),
        (json!(-5), 120),
        (json!(1e300), 365 * 24 * 3_600),
        (json!("inf"), 365 * 24 * 3_600),
        (json!(u64::MAX), 365 * 24 * 3_600),
    ] {
        assert_eq!(lifetime(value.clone()), seconds, "{value}");
    }
}

#[test]
fn what_is_said_of_a_dead_refresh_token_is_understood() {
    for code in INVALID {
        assert_eq!(tokens(400, &json!({"error": code})), Err(NoTokens::Invalid));
        assert_eq!(tokens(401, &json!({"error": {"code": code}})), Err(NoTokens::Invalid));
        assert_eq!(tokens(200, &json!({"error": code})), Err(NoTokens::Invalid));
        // A server in trouble is not to be believed that a person is signed out.
        assert!(matches!(tokens(500, &json!({"error": code})), Err(NoTokens::Unavailable(_))));
    }
}

#[test]
fn what_is_no_answer_leaves_the_tokens_as_they_are() {
    let long = "x".repeat(LONGEST_TOKEN + 1);
    for (status, body) in [
        (200, json!({})),
        (200, json!([])),
        (200, json!("at-secret")),
        (200, json!({"access_token": null})),
        (200, json!({"access_token": ""})),
        (200, json!({"access_token": ["at-secret"]})),
        (200, json!({"access_token": "at-secret\r\nx-injected: 1"})),
        (200, json!({"access_token": "at secret"})),
        (200, json!({"access_token": "ät-secret"})),
        (200, json!({"access_token": long})),
        (200, json!({"access_token": "at-secret", "refresh_token": 7})),
        (200, json!({"access_token": "at-secret", "refresh_token": "rt secret"})),
        (200, json!({"access_token": "at-secret", "error": "server_error"})),
        (302, json!({"access_token": "at-secret"})),
        (400, json!({"error": "at-secret"})),
        (401, json!({"error": {"message": "at-secret"}})),
        (503, json!({"access_token": "at-secret"})),
    ] {
        let Err(NoTokens::Unavailable(problem)) = tokens(status, &body) else { panic!("{body}") };
        assert!(problem.contains(&status.to_string()), "{problem}");
        assert!(!problem.contains("secret"), "{problem}");
    }
    for body in [HTML, b"", b"\xff\xfe", b"{\"access_token\":\"at\""] {
        let no_json = NoTokens::Unavailable("it answered 200 and no JSON object".to_owned());
        assert_eq!(read_tokens(200, body), Err(no_json));
    }
    let wrong_client = NoTokens::Unavailable("it answered 401 and invalid_client".to_owned());
    assert_eq!(tokens(401, &json!({"error": "invalid_client"})), Err(wrong_client));
}

#[test]
fn codes_are_read_in_each_dialect() {
    let of_the_rfc = json!({
        "device_code": "dc", "user_code": "WDJB-MJHT", "verification_uri": "https://a.example/device",
        "verification_uri_complete": "https://a.example/device?code=WDJB-MJHT",
        "expires_in": 1_800, "interval": 7,
    });
    let read = DeviceCode {
        device_code: secret("dc"),
        user_code: "WDJB-MJHT".to_owned(),
        verification_uri: "https://a.example/device".to_owned(),
        verification_uri_complete: Some("https://a.example/device?code=WDJB-MJHT".to_owned()),
        interval: 7_000,
        lifetime: 1_800_000,
    };
    assert_eq!(codes(&standard(), &of_the_rfc), Ok(read.clone()));
    let of_google = json!({
        "device_code": "dc", "user_code": "WDJB-MJHT", "verification_url": "https://a.example/device",
    });
    let usual = DeviceCode { verification_uri_complete: None, interval: 5_000, ..read };
    let usual = DeviceCode { lifetime: 900_000, ..usual };
    assert_eq!(codes(&standard(), &of_google), Ok(usual.clone()));
    let verification_uri = "https://auth.example/codex/device".to_owned();
    let of_openai = DeviceCode { verification_uri, ..usual };
    for name in ["user_code", "usercode"] {
        let answer = json!({"device_auth_id": "dc", name: "WDJB-MJHT", "interval": "5"});
        assert_eq!(codes(&codex(), &answer), Ok(of_openai.clone()));
    }
}

#[test]
fn codes_that_cant_be_used_are_refused() {
    let whole = json!({
        "device_code": "dc", "user_code": "WDJB", "verification_uri": "https://a.example/",
    });
    for (name, lie) in [
        ("device_code", json!(null)),
        ("device_code", json!("d c")),
        ("user_code", json!("")),
        ("user_code", json!("\u{1b}[2J")),
        ("user_code", json!("x".repeat(65))),
        ("verification_uri", json!("javascript:alert(1)")),
        ("verification_uri", json!("a.example/device")),
        ("verification_uri", json!("ftp://a.example/")),
        ("verification_uri", json!(format!("https://a.example/{}", "x".repeat(2_048)))),
        ("verification_uri", json!(7)),
        ("error", json!("invalid_client")),
    ] {
        let mut answer = whole.clone();
        answer[name] = lie;
        assert!(codes(&standard(), &answer).is_err(), "{answer}");
    }
    let mut answer = whole;
    answer["verification_uri"] = json!("https://a.example/\n\tdevice");
    answer["verification_uri_complete"] = json!("data:text/html,x");
    let read = codes(&standard(), &answer).unwrap();
    assert_eq!(read.verification_uri, "https://a.example/device", "as a parser reads it");
    assert_eq!(read.verification_uri_complete, None);
    let login = standard();
    let login = login.device_login().unwrap();
    assert_eq!(login.read_codes(404, HTML), Err("it answered 404 and no JSON object".to_owned()));
}

#[test]
fn a_poll_is_understood_in_each_dialect() {
    for (code, polled) in [
        ("authorization_pending", Polled::Pending),
        ("slow_down", Polled::SlowDown),
        ("access_denied", Polled::Denied),
        ("expired_token", Polled::Expired),
    ] {
        assert_eq!(poll(&standard(), 400, &json!({"error": code})), polled);
        assert_eq!(poll(&codex(), 403, &json!({"error": {"code": code}})), polled);
    }
    let unknown = json!({"error": {"code": "deviceauth_authorization_unknown"}});
    for status in [403, 404] {
        assert_eq!(poll(&codex(), status, &unknown), Polled::Pending);
        assert_eq!(codex().device_login().unwrap().read_poll(status, b""), Polled::Pending);
    }
    let answer = json!({"access_token": "at", "refresh_token": "rt"});
    assert_eq!(
        poll(&standard(), 200, &answer),
        Polled::Tokens(granted(&answer).beside(secret("old")))
    );
    assert_eq!(poll(&standard(), 400, &json!({"error": "invalid_grant"})), Polled::Expired);
    for (provider, status, body) in [
        (standard(), 200, json!({"access_token": "at"})),
        (standard(), 403, unknown.clone()),
        (standard(), 503, json!({"error": "authorization_pending"})),
        (codex(), 400, unknown),
        (codex(), 200, answer),
        (codex(), 200, json!({"authorization_code": "ac", "code_verifier": "v v"})),
        (codex(), 500, json!({"authorization_code": "ac", "code_verifier": "v"})),
    ] {
        assert!(matches!(poll(&provider, status, &body), Polled::Unusable(_)), "{status} {body}");
    }
}

/// JSON with the names that are looked for, and anything as their values.
fn answers() -> impl Strategy<Value = serde_json::Value> {
    let names = "(access_token|refresh_token|expires_in|error|code|device_code|device_auth_id|\
                 user_code|verification_uri|interval|authorization_code|code_verifier)";
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<f64>().prop_map(|number| json!(number)),
        "(https://a.example/|invalid_grant|slow_down|[!-~]{1,20}|.{0,20})".prop_map(|t| json!(t)),
    ];
    leaf.prop_recursive(3, 24, 8, move |inner| {
        prop::collection::btree_map(names, inner, 0..8).prop_map(|members| json!(members))
    })
}

proptest! {
    #[test]
    fn whatever_is_answered_is_held_within_bounds(status in 100_u16..600, body in answers()) {
        if let Ok(granted) = tokens(status, &body) {
            prop_assert!((200..300).contains(&status));
            prop_assert!(is_token(granted.access.expose()));
            prop_assert!((120_000..=31_536_000_000).contains(&granted.lifetime));
        }
        for provider in [standard(), codex()] {
            let login = provider.device_login().unwrap();
            let text = body.to_string();
            if let Ok(codes) = login.read_codes(status, text.as_bytes()) {
                prop_assert!((1_000..=60_000).contains(&codes.interval));
                prop_assert!(codes.verification_uri.starts_with("http"));
                prop_assert!(!codes.user_code.contains(|c: char| c.is_control()));
            }
            if let Polled::Tokens(tokens) = login.read_poll(status, text.as_bytes()) {
                prop_assert!(is_token(tokens.refresh.expose()));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(status: u16, body: Vec<u8>) {
        let _ = read_tokens(status, &body);
        for provider in [standard(), codex()] {
            let login = provider.device_login().unwrap();
            let _ = (login.read_codes(status, &body), login.read_poll(status, &body));
        }
    }
}
