//! `/health`, `/ready`, and what is not there.

use crate::runner::Test;
use crate::{shared, tests};
use reqwest::Method;

pub fn tests() -> Vec<Test> {
    tests![Ordinary: health_is_two_members_in_their_order]
}

async fn health_is_two_members_in_their_order() {
    let gateway = &shared::open().await.gateway;
    let response = gateway.request(Method::GET, "/health").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.text().await.unwrap();
    assert_eq!(body, r#"{"status":"ok","gateway":"organized-gateway"}"#);
}
