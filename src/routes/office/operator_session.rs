//! `/operator/session`: signing in at the console, and out.

use domain::clock::rfc3339;
use domain::operator_session::{self, LIFETIME};
use domain::secret::Secret;
use serde::{Deserialize, Serialize};

use super::operator_access::{self, Operator, Session, cookie_name};
use crate::context::{Context, random_bytes};
use crate::error::Error;
use crate::incoming::Incoming;
use crate::reply::Reply;
use crate::upstream::body;
use crate::{log, reply};

/// Far more than a token.
const MAX_BODY_BYTES: u64 = 4 * 1024;

#[derive(Deserialize)]
struct Shown {
    token: String,
}

#[derive(Serialize)]
struct Standing<'a> {
    /// Whom the record of actions names.
    operator: &'a str,
    /// For the header `X-CSRF-Token`; nothing where no cookie is used.
    csrf_token: Option<&'a str>,
    expires_at: Option<String>,
}

/// `POST /operator/session`: 204 and a cookie.
///
/// # Errors
/// [`Error::NotFound`] where no operator is configured, [`Error::OperatorRequired`] and
/// [`Error::TooManyAttempts`] for a wrong token; [`Error::HttpsRequired`] where token and cookie would
/// go over a network unencrypted.
pub async fn begin(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let settings = context.settings()?;
    let operator = settings.operator.as_ref().ok_or(Error::NotFound)?;
    if !operator_access::is_private(incoming) {
        return Err(Error::HttpsRequired);
    }
    let body = body::read(incoming, context, MAX_BODY_BYTES).await?;
    // What was sent may be the token, so it isn't repeated.
    let shown: Shown = serde_json::from_slice(&body).map_err(|_| Error::InvalidJson {
        problem: r#"Send the operator's token: {"token":"…"}."#.to_owned(),
    })?;
    let token = operator.token.as_ref().filter(|token| token.is_known_by(&shown.token));
    let Some(token) = token else {
        return Err(operator_access::wrong(incoming, context).await);
    };
    let cookie = operator_session::issue(token, &random_bytes(), incoming.arrived);
    log::early(incoming, 204, None);
    Ok(with_cookie(incoming, &cookie, LIFETIME / 1_000))
}

/// `GET /operator/session`: 200, who is signed in and what has to come along with actions.
pub fn tell(incoming: &Incoming, operator: &Operator) -> Reply {
    log::early(incoming, 200, None);
    let session = operator.session.as_ref();
    let reply = reply::json(
        200,
        &Standing {
            operator: &operator.name,
            csrf_token: session.map(|Session { csrf_token, .. }| csrf_token.as_str()),
            expires_at: session.map(|Session { ends, .. }| rfc3339(ends.expires_at)),
        },
    );
    reply.with([("cache-control", "no-store")])
}

/// `DELETE /operator/session`: 204, the cookie is void, and the browser forgets it.
///
/// # Errors
/// [`Error::Internal`] where it couldn't be made void.
pub async fn end(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    operator_access::end_session(incoming, context).await?;
    log::early(incoming, 204, None);
    Ok(with_cookie(incoming, &Secret::new(String::new()), 0))
}

fn with_cookie(incoming: &Incoming, value: &Secret<String>, seconds: i64) -> Reply {
    let name = cookie_name(incoming);
    let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
    let value = value.expose();
    let cookie =
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    reply::empty(204).with([("set-cookie", cookie.as_str())])
}
