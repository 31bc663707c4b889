//! Kits: at the gateway, which keeps them for a while and hands them out; and as `gatewayctl kit` makes
//! them, from a list of people to an agent that is ready.

mod browser;
mod command;
mod gateway;
mod roster;

use std::time::Duration;

use gateway_tests::redaction::RUN;
use gateway_tests::{Gateway, Ledger};
use reqwest::{Method, RequestBuilder};

use crate::answer::{Answer, answer};
use crate::runner::Test;

pub fn tests() -> Vec<Test> {
    [gateway::tests(), command::tests(), roster::tests()].into_iter().flatten().collect()
}

/// A ZIP with a file of no bytes, whose name is `a`.
pub const ZIP: &[u8] = b"PK\x03\x04\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0a\
    PK\x01\x02\x0a\0\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a\
    PK\x05\x06\0\0\0\0\x01\0\x01\0\x2f\0\0\0\x1f\0\0\0\0\0";

/// A kit that is about to be kept.
pub struct Kit {
    pub token: String,
    query: String,
}

impl Kit {
    /// For a person, at an address that was never there before.
    pub fn of(user: &str) -> Self {
        let token = token();
        Self { token, query: format!("?user_id={user}") }
    }

    /// For anybody.
    pub fn of_anybody() -> Self {
        Self { token: token(), query: "?".to_owned() }
    }

    /// To be handed out for so long.
    pub fn expires_in(self, time: Duration) -> Self {
        let query = format!("{}&expires_in_seconds={}", self.query, time.as_secs());
        Self { query, ..self }
    }

    fn api_path(&self) -> String {
        format!("/operator/api/kits/{}{}", self.token, self.query)
    }

    /// Has it kept, with these bytes.
    pub async fn put_bytes(&self, gateway: &Gateway, bytes: impl Into<reqwest::Body>) -> Answer {
        let request = gateway.operator(Method::PUT, &self.api_path()).body(bytes);
        answer(request.header("content-type", "application/zip")).await
    }

    /// Has it kept.
    pub async fn put(&self, gateway: &Gateway) -> Answer {
        self.put_bytes(gateway, ZIP).await
    }

    /// Has it withdrawn.
    pub async fn delete(&self, gateway: &Gateway) -> Answer {
        let path = format!("/operator/api/kits/{}", self.token);
        answer(gateway.operator(Method::DELETE, &path)).await
    }

    /// Asks for it.
    pub fn get(&self, gateway: &Gateway) -> RequestBuilder {
        gateway.request(Method::GET, &format!("/kit/{}", self.token))
    }
}

fn token() -> String {
    const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let group = || -> String {
        (0..4).map(|_| char::from(SYMBOLS[fastrand::usize(..SYMBOLS.len())])).collect()
    };
    let token = format!("{}-{}-{}", group(), group(), group());
    RUN.note("a kit's address", &token);
    token
}

/// What the store has of kits, a text for each.
fn kept(gateway: &Gateway) -> Vec<String> {
    let mut rows = Ledger::everywhere(&gateway.state().join("r2"));
    rows.retain(|row| row.contains("kits/"));
    rows
}
