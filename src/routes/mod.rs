//! Who may call what: the table of routes, and what is done with it.
//!
//! The rows here are what every request of an agent needs; those of [`office`] are the rest. Each is a
//! module of the Worker of its own, built with the feature of its name, and the office is loaded when
//! it is first asked for (`src/entry.mjs`, decision 9).

pub mod caller;
mod cors;
#[cfg(feature = "gateway")]
mod health;
#[cfg(feature = "gateway")]
mod inference;
#[cfg(feature = "office")]
mod office;

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use domain::endpoint::{Endpoint, Protocol};
use domain::path::gateway_path;
use futures::FutureExt;
use matchit::Router;
use web_sys::{Request, Response};

use crate::context::Context;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::incoming::Incoming;
use crate::reply::Reply;
#[cfg(feature = "office")]
use crate::routes::office::Operator;
use crate::{fault, log, reply};

/// Who may call a route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Everyone.
    Open,
    /// Users; the handler finds out who calls, and the user's object whether that is true.
    User,
    /// The operator; checked before the handler is called.
    #[cfg(feature = "office")]
    Operator,
}

/// What answers a route.
#[derive(Clone, Copy)]
enum Handler {
    #[cfg(feature = "gateway")]
    Health,
    #[cfg(feature = "gateway")]
    Inference,
    #[cfg(feature = "office")]
    Office(office::Task),
}

/// A row of the table: some methods of a path. Rows of one path follow each other.
struct Route {
    path: &'static str,
    methods: &'static [&'static str],
    access: Access,
    handler: Handler,
}

/// The methods of a path that takes any.
pub const ANY: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const GET: &[&str] = &["GET", "HEAD"];

const fn row(
    methods: &'static [&'static str],
    path: &'static str,
    access: Access,
    handler: Handler,
) -> Route {
    Route { path, methods, access, handler }
}

#[cfg(feature = "gateway")]
const GATEWAY: &[Route] = &[
    row(GET, "/health", Access::Open, Handler::Health),
    row(ANY, "/v1", Access::User, Handler::Inference),
    row(ANY, "/v1/*path", Access::User, Handler::Inference),
    row(ANY, "/u/:user_id/v1", Access::User, Handler::Inference),
    row(ANY, "/u/:user_id/v1/*path", Access::User, Handler::Inference),
];

thread_local! {
    static ROUTER: Rc<Router<&'static [Route]>> = Rc::new(router());
}

fn router() -> Router<&'static [Route]> {
    let mut router = Router::new();
    let tables = [
        #[cfg(feature = "gateway")]
        GATEWAY,
        #[cfg(feature = "office")]
        office::ROUTES,
    ];
    let of_one_path = |one: &Route, next: &Route| one.path == next.path;
    for rows in tables.into_iter().flat_map(|table| table.chunk_by(of_one_path)) {
        let Some(Route { path, .. }) = rows.first() else { continue };
        if let Err(error) = router.insert(*path, rows) {
            log::fault("a route can't be used", &error.to_string());
        }
    }
    router
}

/// Answers a request: finds its row, checks who calls, and calls the handler. A panic costs this
/// request alone, and is answered too.
pub async fn answer(request: Request, env: worker::Env, events: worker::Context) -> Response {
    #[cfg(feature = "gateway")]
    if health::is_asked(&request) {
        return health::answer();
    }
    let incoming = Incoming::new(request);
    let context = Context::new(env).within(events);
    let answered = AssertUnwindSafe(dispatch(&incoming, &context)).catch_unwind().await;
    let mut reply = match answered {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => {
            log::early(&incoming, error.status(), Some(error.code()));
            reply::error(&error)
        }
        Err(_) => {
            log::fault("a request panicked", &incoming.request_id);
            reply::error(&Error::Internal)
        }
    };
    reply.set("x-request-id", &incoming.request_id);
    dress(&mut reply.headers, &incoming, &context);
    reply.into_response(protocol_of(&incoming))
}

/// The protocol that the client speaks.
fn protocol_of(incoming: &Incoming) -> Protocol {
    let path = gateway_path(&incoming.path).map_or("", |path| path.upstream);
    Endpoint::of(&incoming.method, path).protocol
}

/// Puts to the headers of an answer what every answer to a request says besides.
fn dress(headers: &mut HeaderList, incoming: &Incoming, context: &Context) {
    // What an upstream sends is never a page of this origin.
    headers.set("x-content-type-options", "nosniff");
    headers.set("content-security-policy", policy(&incoming.path));
    cors::decorate(incoming, context, headers);
}

#[cfg(feature = "office")]
use office::policy;

/// What a browser may do with an answer: nothing.
#[cfg(not(feature = "office"))]
const fn policy(_path: &str) -> &'static str {
    "sandbox"
}

async fn dispatch(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    fault::strike(&incoming.request_id, "panic-front");
    if incoming.path.is_empty() {
        return Err(Error::InvalidPath);
    }
    let router = ROUTER.with(Rc::clone);
    let Ok(found) = router.at(&incoming.path) else {
        // Some clients ask so whether there is anything at their base URL.
        if incoming.method == "HEAD" && is_base(&incoming.path) {
            return Ok(reply::empty(200));
        }
        return Err(Error::NoEndpoint { base_url: incoming.base_url() });
    };
    let rows = *found.value;
    let row = rows.iter().find(|row| row.methods.contains(&incoming.method.as_str()));
    // Where the operator alone may call, nobody else learns of methods.
    #[cfg(feature = "office")]
    let operator = office::authorize(row.or(rows.first()), incoming, context).await?;
    if incoming.method == "OPTIONS" && cors::is_allowed(incoming, context) {
        log::early(incoming, 204, None);
        return Ok(reply::empty(204));
    }
    let Some(Route { handler, .. }) = row else {
        let allow = rows.iter().flat_map(|row| row.methods).copied().collect::<Vec<_>>().join(", ");
        return Err(Error::MethodNotAllowed { method: incoming.method.clone(), allow });
    };
    let parameter = |name| found.params.get(name).unwrap_or_default();
    let named = Named {
        user_id: parameter("user_id"),
        id: parameter("id"),
        #[cfg(feature = "office")]
        operator: operator.as_ref(),
    };
    match *handler {
        // GET has been answered before; this is HEAD.
        #[cfg(feature = "gateway")]
        Handler::Health => Ok(health::reply()),
        #[cfg(feature = "gateway")]
        Handler::Inference => Ok(inference::answer(incoming, context).await),
        #[cfg(feature = "office")]
        Handler::Office(task) => office::handle(task, named, incoming, context).await,
    }
}

/// Whether it is what stands before `/v1` in a base URL.
fn is_base(path: &str) -> bool {
    path == "/" || path.strip_prefix("/u/").is_some_and(|user| !user.contains('/'))
}

/// What a path names: a user, and something of the user's, empty where it names none; and the
/// operator, where the route is the operator's.
struct Named<'a> {
    user_id: &'a str,
    id: &'a str,
    #[cfg(feature = "office")]
    operator: Option<&'a Operator>,
}
