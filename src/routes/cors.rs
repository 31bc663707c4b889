//! Cross-origin requests, for the origins that the operator lists in `CORS_ORIGINS`.

use crate::context::Context;
use crate::incoming::Incoming;
use crate::reply::Reply;

/// Whether the request comes from a listed origin.
pub fn is_allowed(incoming: &Incoming, context: &Context) -> bool {
    incoming.header("origin").is_some_and(|origin| {
        context
            .settings()
            .is_ok_and(|settings| settings.cors_origins.iter().any(|one| one == origin))
    })
}

/// Tells the browser that a listed origin may read the answer.
pub fn decorate(incoming: &Incoming, context: &Context, reply: &mut Reply) {
    let Some(origin) = incoming.header("origin") else { return };
    if !is_allowed(incoming, context) {
        return;
    }
    reply.set("access-control-allow-origin", origin);
    reply.set("vary", "Origin");
    reply.set("access-control-expose-headers", "*");
    if incoming.method == "OPTIONS" {
        reply.set("access-control-allow-methods", &super::ANY.join(", "));
        let asked = incoming.header("access-control-request-headers").unwrap_or_default();
        reply.set("access-control-allow-headers", asked);
        reply.set("access-control-max-age", "600");
    }
}
