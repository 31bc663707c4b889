//! organized-gateway: one public, OpenAI-compatible URL in front of an agent gateway.

use wasm_bindgen::prelude::*;
use worker::{durable_object, event, Context, DurableObject, Env, Request, Response, Result, State};

#[event(fetch)]
async fn fetch(_request: web_sys::Request, env: Env, _context: Context) -> Result<web_sys::Response> {
    let stub = env.durable_object("USER_SESSIONS")?.get_by_name("ada")?;
    let text: String = stub.into_rpc::<Rpc>().receive("hi").await.map(|v| v.as_string().unwrap_or_default())?;
    web_sys::Response::new_with_opt_str(Some(&text)).map_err(Into::into)
}

#[wasm_bindgen]
extern "C" {
    type Rpc;
    #[wasm_bindgen(method, catch)]
    async fn receive(this: &Rpc, message: &str) -> std::result::Result<JsValue, JsValue>;
}

/// x
#[durable_object(alarm)]
pub struct UserSession {
    state: State,
}

impl std::panic::UnwindSafe for UserSession {}
impl std::panic::RefUnwindSafe for UserSession {}

impl DurableObject for UserSession {
    fn new(state: State, _env: Env) -> Self {
        Self { state }
    }
    async fn fetch(&self, _req: Request) -> Result<Response> {
        Response::error("Not Found", 404)
    }
    async fn alarm(&self) -> Result<Response> {
        Response::empty()
    }
}

#[wasm_bindgen]
impl UserSession {
    /// x
    pub async fn receive(&self, message: String) -> std::result::Result<String, JsValue> {
        let _ = &self.state;
        if message == "panic" { panic!("x") }
        Ok(format!("got {message}"))
    }
}
