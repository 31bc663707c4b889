//! Cross-origin requests, for the origins that the operator lists in `CORS_ORIGINS`.

use crate::context::Context;
use crate::headers::HeaderList;
use crate::incoming::Incoming;

/// Whether the request comes from a listed origin.
pub fn is_allowed(incoming: &Incoming, context: &Context) -> bool {
    incoming.header("origin").is_some_and(|origin| {
        context
            .settings()
            .is_ok_and(|settings| settings.cors_origins.iter().any(|one| one == origin))
    })
}

/// Tells the browser that a listed origin may read the answer.
pub fn decorate(incoming: &Incoming, context: &Context, headers: &mut HeaderList) {
    let Some(origin) = incoming.header("origin") else { return };
    if !is_allowed(incoming, context) {
        return;
    }
    headers.set("access-control-allow-origin", origin);
    headers.set("vary", "Origin");
    headers.set("access-control-expose-headers", "*");
    if incoming.method == "OPTIONS" {
        headers.set("access-control-allow-methods", &super::ANY.join(", "));
        let asked = incoming.header("access-control-request-headers").unwrap_or_default();
        headers.set("access-control-allow-headers", asked);
        headers.set("access-control-max-age", "600");
    }
}
