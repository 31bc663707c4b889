//! A team's Cloudflare Access: it publishes its keys as the real one does, and signs what a test
//! wants signed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs1v15::SigningKey;
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::PublicKeyParts;
use rsa::{RsaPrivateKey, pkcs8::LineEnding};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A key with a name.
#[derive(Clone)]
pub struct Key {
    id: String,
    private: RsaPrivateKey,
}

impl Key {
    /// A new key of 2048 bits.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let private = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).unwrap();
        Self { id: id.to_owned(), private }
    }

    /// The same key under another name.
    #[must_use]
    pub fn named(&self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self.clone() }
    }

    /// Signs these claims as this key, with RS256.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let signed = unsigned(&json!({"alg": "RS256", "kid": self.id, "typ": "JWT"}), claims);
        let signature = SigningKey::<rsa::sha2::Sha256>::new(self.private.clone());
        let signature = signature.sign(signed.as_bytes()).to_vec();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public key as it is in a PEM file: what a careless verifier takes for an HMAC secret.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.private.to_public_key().to_pkcs1_pem(LineEnding::LF).unwrap()
    }

    fn published(&self) -> Value {
        let [n, e] = [self.private.n(), self.private.e()]
            .map(|number| URL_SAFE_NO_PAD.encode(number.to_bytes_be()));
        json!({"kid": self.id, "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": e})
    }
}

/// Header and claims, as they are signed.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".")
}

/// A team.
pub struct Team {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    keys: Vec<Key>,
    is_down: bool,
    pause: Duration,
    asked: usize,
}

impl Team {
    /// Begins to publish this key.
    pub async fn start(key: &Key) -> Self {
        let state = Arc::new(Mutex::new(State { keys: vec![key.clone()], ..State::default() }));
        let shown = Arc::clone(&state);
        let certs = move || {
            let shown = Arc::clone(&shown);
            async move {
                let pause = shown.lock().unwrap().pause;
                tokio::time::sleep(pause).await;
                shown.lock().unwrap().answer()
            }
        };
        let router = Router::new().route("/cdn-cgi/access/certs", get(certs));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state }
    }

    /// The setting `ACCESS_TEAM_DOMAIN`, and the issuer of its assertions.
    #[must_use]
    pub fn domain(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Publishes these keys from now on.
    pub fn publish(&self, keys: &[&Key]) {
        self.state.lock().unwrap().keys = keys.iter().map(|key| (*key).clone()).collect();
    }

    /// Whether the keys can't be had.
    pub fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// How long it takes to have the keys.
    pub fn set_pause(&self, pause: Duration) {
        self.state.lock().unwrap().pause = pause;
    }

    /// How often the keys were asked for.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

impl State {
    fn answer(&mut self) -> Result<Json<Value>, axum::http::StatusCode> {
        self.asked += 1;
        if self.is_down {
            return Err(axum::http::StatusCode::BAD_GATEWAY);
        }
        let keys: Vec<_> = self.keys.iter().map(Key::published).collect();
        Ok(Json(json!({"keys": keys, "public_cert": null, "public_certs": []})))
    }
}
