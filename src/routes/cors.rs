//! Cross-origin requests, for the origins that the operator lists in `CORS_ORIGINS`.

use web_sys::Response;

use crate::context::Context;
use crate::incoming::Incoming;
use crate::reply::set;

/// Whether the request comes from a listed origin.
pub fn is_allowed(incoming: &Incoming, context: &Context) -> bool {
    incoming.header("origin").is_some_and(|origin| {
        context.settings().is_ok_and(|settings| settings.cors_origins.contains(&origin))
    })
}

/// Tells the browser that a listed origin may read the answer.
pub fn decorate(incoming: &Incoming, context: &Context, response: &Response) {
    let Some(origin) = incoming.header("origin") else { return };
    if !is_allowed(incoming, context) {
        return;
    }
    let headers = response.headers();
    set(&headers, "access-control-allow-origin", &origin);
    set(&headers, "vary", "Origin");
    set(&headers, "access-control-expose-headers", "*");
    if incoming.method == "OPTIONS" {
        set(&headers, "access-control-allow-methods", &super::ANY.join(", "));
        let asked = incoming.header("access-control-request-headers").unwrap_or_default();
        set(&headers, "access-control-allow-headers", &asked);
        set(&headers, "access-control-max-age", "600");
    }
}
