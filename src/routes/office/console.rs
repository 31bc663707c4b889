//! `/operator`: the console, a page of static files (`console/`, built into `build-console/`).

use domain::kit::page;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{RequestInit, Response};

use crate::context::Context;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::incoming::Incoming;
use crate::log;
use crate::reply::Reply;

/// The file that is the page; it names the others.
pub const PAGE: &str = "index.html";

/// What a browser may do on the page: run and show its own files, and ask its own origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of the file that stay.
const KEPT: [&str; 2] = ["content-type", "etag"];

/// The page's own headers. The names of its files stay the same over deploys, so a browser asks each
/// time whether its copy is still good.
const HEADERS: [(&str, &str); 4] = [
    ("cache-control", "no-cache"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// What a browser may do with an answer of this path. Answers of upstreams are never pages of this
/// origin; the console is one, and what is said at a kit's address.
pub fn policy(path: &str) -> &'static str {
    if path.starts_with("/kit/") {
        return page::POLICY;
    }
    let is_console = path == "/operator";
    if is_console || path.starts_with("/operator/assets/") { POLICY } else { "sandbox" }
}

/// `GET /operator` and `/operator/assets/{name}`: 200, or 304 where the browser has it. Anyone may
/// load the page: it holds nothing but the way to sign in.
///
/// # Errors
/// [`Error::NotFound`] where no operator is configured, or there is no such file.
pub async fn show(incoming: &Incoming, context: &Context, name: &str) -> Result<Reply, Error> {
    context.settings()?.operator.as_ref().ok_or(Error::NotFound)?;
    let file = file(incoming, context, name).await.map_err(|_| Error::Internal)?;
    let status = file.status();
    if !matches!(status, 200 | 304) {
        return Err(Error::NotFound);
    }
    let found = HeaderList::read(&file.headers());
    let kept = KEPT.iter().filter_map(|name| Some((*name, found.get(name)?)));
    log::early(incoming, status, None);
    Ok(Reply::new(status, HeaderList::default(), file.body()).with(kept).with(HEADERS))
}

async fn file(incoming: &Incoming, context: &Context, name: &str) -> Result<Response, JsValue> {
    let files: Files = context.console().map_err(JsValue::from)?.into_rpc();
    let mut headers = HeaderList::default();
    if let Some(tag) = incoming.header("if-none-match") {
        headers.set("if-none-match", tag);
    }
    let init = RequestInit::new();
    init.set_method(&incoming.method);
    init.set_headers(&headers.to_object());
    // The host means nothing here; the path is one of `build-console/`.
    let url = format!("https://console/{name}");
    JsFuture::from(files.fetch(&url, &init)?).await?.dyn_into()
}

#[wasm_bindgen]
extern "C" {
    /// The binding of static assets.
    type Files;
    #[wasm_bindgen(method, catch)]
    fn fetch(this: &Files, url: &str, init: &RequestInit) -> Result<js_sys::Promise, JsValue>;
}
