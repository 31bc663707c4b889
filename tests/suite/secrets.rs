//! No secret leaves: not into the log, D1, the objects' files, or an error.

use std::path::{Path, PathBuf};

use gateway_tests::script::chat_request;
use gateway_tests::{Options, Script};
use reqwest::Method;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary: no_secret_is_written_down_anywhere]
}

async fn no_secret_is_written_down_anywhere() {
    let own = "sk-proj-this-is-the-callers-own-secret";
    // A query goes upstream as it came, and no further.
    let in_query = "what-should-never-have-been-put-into-a-query";
    let wrong = format!("ogk_ada_{}", "Zz9".repeat(14) + "Z");
    let options = Options::new().var("USER_BINDING", "open").var("IP_HASH_PEPPER", "pepper-secret");
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    let key = gateway.mint_key("ada").await.key;
    let content = "what the user wrote is nobody's business either";
    let routes = [
        Script::chat("hi", 3),
        Script::chat_stream(&["hi"], std::time::Duration::ZERO, Some(3)),
        Script::answer(500, &[], "no"),
        Script::answer(302, &[("location", "http://127.0.0.1/")], ""),
        Script::new().event_stream().chunk("data: {}\n\n").reset(),
        Script::new().reset(),
    ]
    .map(|script| pair.upstream.route(script));
    let mut bodies = Vec::new();
    for route in &routes {
        for shown in [&key, &wrong] {
            let request = gateway.request(Method::POST, &route.chat()).bearer_auth(own);
            let request = request.header("x-gateway-key", shown);
            bodies.push(answer(request.json(&chat_request(content, true))).await.text());
        }
    }
    let request = gateway.request(Method::GET, "/v1/models").bearer_auth(&key);
    bodies.push(answer(request).await.text());
    let path = format!("/v1//models?api_key={in_query}");
    let request = gateway.request(Method::GET, &path).bearer_auth(own);
    bodies.push(answer(request).await.text());
    let request = gateway.get("ada", &format!("/v1/models?api_key={in_query}"));
    bodies.push(answer(request).await.text());
    let request = gateway.request(Method::POST, "/operator/api/users/ada/keys").bearer_auth(own);
    bodies.push(answer(request).await.text());
    gateway.ledger().settled("ada", 13).await;

    let token = gateway.operator_token().to_owned();
    let key_secret = key.rsplit('_').next().unwrap();
    let wrong_secret = wrong.rsplit('_').next().unwrap();
    let secrets = [own, in_query, key_secret, wrong_secret, &token, "pepper-secret", content];
    let log = gateway.log_text();
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
        let told = bodies.iter().find(|body| body.contains(secret));
        assert_eq!(told, None, "{secret} is in an answer");
    }
    gateway.stop();
    let files = files_below(gateway.state());
    assert!(files.iter().any(|file| file.extension().is_some_and(|kind| kind == "sqlite")));
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {}", file.display());
        }
    }
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}
