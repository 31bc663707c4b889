//! Paths of an attacker: refused, and nothing of them goes upstream.

use gateway_tests::raw;

use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_path_is_forwarded_and_logged_in_its_canonical_form,
        a_path_with_two_readings_is_refused,
        an_attackers_user_in_the_path_is_refused,
        a_query_may_hold_what_a_path_may_not,
    ]
}

async fn a_path_is_forwarded_and_logged_in_its_canonical_form() {
    let pair = shared::open().await;
    for (sent, canonical) in [
        ("//v1//chat/completions/", "/v1/chat/completions"),
        ("/v1/chat/completion%73", "/v1/chat/completions"),
        ("/%76%31/Chat/Completions", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/u/{user}/v1/chat/completions", "/v1/chat/completions"),
        ("/u/{user}//Embeddings", "/v1/embeddings"),
        ("/Rerank", "/v1/rerank"),
        ("/v1/files/%7ea%2b", "/v1/files/~a%2B"),
    ] {
        let user = shared::user("canonical");
        let target = format!("{}?mark={user}", sent.replace("{user}", &user));
        let headers = [
            ("Authorization", "Bearer sk-caller"),
            ("X-User-ID", user.as_str()),
            ("Content-Type", "application/json"),
            ("Content-Length", "2"),
        ];
        let mut request = raw::head("POST", &target, &headers);
        request.extend_from_slice(b"{}");
        let passed = raw::send(pair.gateway.address(), &request).await;
        assert_eq!(passed.status, 200, "{sent}: {passed:?}");
        let seen = pair.upstream.unscripted().into_iter().find(|seen| seen.target.contains(&user));
        assert_eq!(seen.unwrap().target, format!("{canonical}?mark={user}"), "{sent}");
        let logged = pair.gateway.log().into_iter().find(|line| line["user_id"] == user.as_str());
        let logged = match logged {
            Some(line) => line,
            None => pair.gateway.log_line(passed.header("x-request-id").unwrap()).await,
        };
        assert_eq!(logged["endpoint"], canonical, "{sent}");
    }
}

async fn a_path_with_two_readings_is_refused() {
    let pair = shared::open().await;
    for path in [
        "/v1/../health",
        "/v1/../operator/api/users",
        "/v1/./models",
        "/v1/models/.",
        "/v1/models/..",
        "/v1/%2e%2e/health",
        "/v1/%2E/models",
        "/v1/.%2e/health",
        "/v1/%2fmodels",
        "/v1%2Fmodels",
        "/v1/x%5cy",
        "/v1/x%5Cy",
        "/v1\\models",
        "/v1/\\..\\health",
        "/v1/x%00",
        "/v1/a%0d%0aX-Evil:1",
        "/v1/%C3%A9",
        "/v1/%",
        "/v1/%zz",
        "/v1/%252e%252e/health",
        "/u/ada/v1/../../bob/v1/models",
        "/u/ada/v1/%2e%2e/x",
        "/health/../v1/models",
        "/health%2f..",
        "/ready/.",
    ] {
        let mark = shared::user("path");
        let target = format!("{path}?mark={mark}");
        let headers = [("Authorization", "Bearer sk-caller"), ("X-User-ID", mark.as_str())];
        let request = raw::head("GET", &target, &headers);
        let refused = raw::send(pair.gateway.address(), &request).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (400, "invalid_path"),
            "{path}: {}\n{}",
            refused.head,
            refused.text()
        );
        let reached =
            pair.upstream.unscripted().into_iter().find(|seen| seen.target.contains(&mark));
        assert!(reached.is_none(), "{path} reached the upstream as {reached:?}");
    }
    // Bytes beyond ASCII: whoever reads them first may refuse them.
    let mut request = b"GET /v1/caf".to_vec();
    request.extend_from_slice(&[0xc3, 0xa9]);
    request.extend_from_slice(b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    let refused = raw::send(pair.gateway.address(), &request).await;
    assert_eq!(refused.status, 400, "{refused:?}");
}

async fn an_attackers_user_in_the_path_is_refused() {
    let pair = shared::open().await;
    for user in ["-ada", ".ada", "_ada", "a%20b", "a@b", "a%40b", "a+b", "ada%00", &"a".repeat(65)]
    {
        let mark = shared::user("path");
        let target = format!("/u/{user}/v1/models?mark={mark}");
        let request = raw::head("GET", &target, &[("Authorization", "Bearer sk-caller")]);
        let refused = raw::send(pair.gateway.address(), &request).await;
        assert_eq!(refused.status, 400, "{user}: {}", refused.head);
        let code = refused.code();
        assert!(["invalid_user_id", "invalid_path"].contains(&code.as_str()), "{user}: {code}");
        assert!(pair.upstream.unscripted().iter().all(|seen| !seen.target.contains(&mark)));
    }
}

async fn a_query_may_hold_what_a_path_may_not() {
    let pair = shared::open().await;
    let user = shared::user("query");
    let target = format!("/v1/models?a=../..%2f%2e%2e//&b=%00%C3%A9&&c&=d+e%20f&mark={user}");
    let headers = [("Authorization", "Bearer sk-caller"), ("X-User-ID", user.as_str())];
    let request = raw::head("GET", &target, &headers);
    let passed = raw::send(pair.gateway.address(), &request).await;
    assert_eq!(passed.status, 200, "{passed:?}");
    let seen = pair.upstream.unscripted().into_iter().find(|seen| seen.target.contains(&user));
    assert_eq!(seen.unwrap().target, target, "the query goes as it came");
}
