//! `GET /health`: the gateway runs. No I/O, and nothing that could fail.

use domain::endpoint::Protocol;
use domain::path::raw_path;
use js_sys::{Object, Reflect};
use web_sys::{Request, Response, ResponseInit};

use crate::reply::{self, Reply};

thread_local! {
    static INIT: ResponseInit = init();
}

fn init() -> ResponseInit {
    let (init, headers) = (ResponseInit::new(), Object::new());
    // Setting a property of a plain object doesn't fail.
    let _ = Reflect::set(&headers, &"content-type".into(), &"application/json".into());
    init.set_headers(&headers);
    init
}

/// Whether a request is the plain question, which is asked all the time by everyone who watches
/// and is answered before anything else of a request is read.
pub fn is_asked(request: &Request) -> bool {
    raw_path(&request.url()) == "/health" && request.method() == "GET"
}

/// The two members, in this order.
const BODY: &str = r#"{"status":"ok","gateway":"organized-gateway"}"#;

/// The answer to the plain question.
pub fn answer() -> Response {
    let response = INIT.with(|init| Response::new_with_opt_str_and_init(Some(BODY), init));
    response.unwrap_or_else(|_| reply().into_response(Protocol::Other))
}

/// The answer to any other, such as HEAD.
pub fn reply() -> Reply {
    reply::text_of(200, "application/json", BODY)
}
