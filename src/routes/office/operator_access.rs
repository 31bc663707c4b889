//! Who the operator is: by token, by Cloudflare Access, or signed in at the console.

use std::cell::RefCell;

use domain::access_jwt::{AccessSettings, Assertion};
use domain::clock::Millis;
use domain::fingerprint::Fingerprint;
use domain::identity::bearer_of;
use domain::operator_session::{self, SignedIn};
use domain::secret::Secret;
use domain::settings::OperatorSettings;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::actions::{self, EndSession, HasEnded};
use crate::objects::call;
use crate::{access_keys, guessing};

/// For so long it is believed of a sign-in that it goes on, by what only looks.
const LOOKS: Millis = 600_000;

thread_local! {
    /// The sign-in that was asked for last and goes on, and how long that is believed.
    static OPEN: RefCell<Option<(Fingerprint, Millis)>> = const { RefCell::new(None) };
}

/// The operator of one request.
pub struct Operator {
    /// For the record of what was done: `token`, or whom Access knows.
    pub name: String,
    /// The sign-in, where a cookie is what was shown.
    pub session: Option<Session>,
}

/// A sign-in at the console.
pub struct Session {
    /// What has to come along with whatever changes anything.
    pub csrf_token: String,
    /// Its end.
    pub ends: SignedIn,
}

impl Operator {
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), session: None }
    }
}

/// Checks that the operator calls. What is wrong is counted; what is right is never refused for it.
///
/// # Errors
/// [`Error::NotFound`] where no operator is configured, so that the routes don't seem to exist;
/// [`Error::OperatorRequired`] where somebody else calls; [`Error::TooManyAttempts`] where wrong
/// credentials come too fast; [`Error::CsrfFailed`] where another site made the browser call;
/// [`Error::AccessUnavailable`] where nobody can say whether Access has let somebody through.
pub async fn authorize(incoming: &Incoming, context: &Context) -> Result<Operator, Error> {
    let settings = context.settings()?;
    let OperatorSettings { token, access } = settings.operator.as_ref().ok_or(Error::NotFound)?;
    let authorization = incoming.header("authorization").unwrap_or_default();
    let bearer = bearer_of(authorization).unwrap_or_default();
    let assertion = incoming.header("cf-access-jwt-assertion").unwrap_or_default();
    let cookie = cookie(incoming).unwrap_or_default();
    let operator = if !bearer.is_empty() {
        let is_known = token.as_ref().is_some_and(|token| token.is_known_by(bearer));
        is_known.then(|| Operator::named("token"))
    } else if let Some(access) = access.as_ref().filter(|_| !assertion.is_empty()) {
        by_access(assertion, access, incoming).await?
    } else if let Some(token) = token.as_ref().filter(|_| !cookie.is_empty()) {
        return by_cookie(&cookie, token, incoming, context).await;
    } else {
        return Err(Error::OperatorRequired);
    };
    match operator {
        Some(operator) => Ok(operator),
        None => Err(wrong(incoming, context).await),
    }
}

/// What somebody hears who isn't the operator and tried.
pub async fn wrong(incoming: &Incoming, context: &Context) -> Error {
    guessing::wrong_operator(incoming, context).await.err().unwrap_or(Error::OperatorRequired)
}

async fn by_access(
    assertion: &str,
    access: &AccessSettings,
    incoming: &Incoming,
) -> Result<Option<Operator>, Error> {
    let Some(assertion) = Assertion::parse(assertion) else { return Ok(None) };
    let Some(holder) = assertion.holder(access, incoming.arrived) else { return Ok(None) };
    if !access_keys::has_signed(access, &assertion).await? {
        return Ok(None);
    }
    // Access puts the assertion on whatever a browser sends, whoever made it send that.
    if is_unsafe(incoming) && incoming.header("origin").is_some() {
        check_origin(incoming)?;
    }
    Ok(Some(Operator::named(holder)))
}

/// An old cookie is no guess: its browser is told to sign in again.
async fn by_cookie(
    cookie: &str,
    token: &Secret<String>,
    incoming: &Incoming,
    context: &Context,
) -> Result<Operator, Error> {
    let ends =
        operator_session::check(token, cookie, incoming.arrived).ok_or(Error::OperatorRequired)?;
    if has_ended(&Fingerprint::of(cookie), incoming, context).await? {
        return Err(Error::OperatorRequired);
    }
    if is_unsafe(incoming) {
        check_origin(incoming)?;
        let shown = incoming.header("x-csrf-token").unwrap_or_default();
        if !operator_session::is_csrf_token(token, cookie, shown) {
            return Err(Error::CsrfFailed);
        }
    }
    let csrf_token = operator_session::csrf_token(token, cookie);
    Ok(Operator { session: Some(Session { csrf_token, ends }), ..Operator::named("token") })
}

/// Makes the sign-in of this request void, if there is one.
///
/// # Errors
/// [`Error::Internal`] where that isn't written.
pub async fn end_session(incoming: &Incoming, context: &Context) -> Result<(), Error> {
    let settings = context.settings()?;
    let token = settings.operator.as_ref().and_then(|operator| operator.token.as_ref());
    let (Some(token), Some(cookie)) = (token, cookie(incoming)) else { return Ok(()) };
    let Some(ends) = operator_session::check(token, &cookie, incoming.arrived) else {
        return Ok(());
    };
    OPEN.set(None);
    let session = Fingerprint::of(&cookie);
    call(context, actions::NAME, EndSession { session, ends_at: ends.expires_at }).await
}

/// Whether somebody has signed out with this cookie. What changes anything always asks. What only looks asks
/// once in ten minutes, so that a page that looks again and again costs no object anything; where somebody
/// signed out, it hears of it at once.
async fn has_ended(
    session: &Fingerprint,
    incoming: &Incoming,
    context: &Context,
) -> Result<bool, Error> {
    let is_open =
        |(known, until): &(Fingerprint, Millis)| known == session && incoming.arrived < *until;
    if !is_unsafe(incoming) && OPEN.with_borrow(|open| open.as_ref().is_some_and(is_open)) {
        return Ok(false);
    }
    let has_ended = call(context, actions::NAME, HasEnded(session.clone())).await?;
    if !has_ended {
        OPEN.set(Some((session.clone(), incoming.arrived + LOOKS)));
    }
    Ok(has_ended)
}

fn is_unsafe(incoming: &Incoming) -> bool {
    !matches!(incoming.method.as_str(), "GET" | "HEAD" | "OPTIONS")
}

fn check_origin(incoming: &Incoming) -> Result<(), Error> {
    let is_same = incoming.header("origin").is_some_and(|origin| origin == incoming.origin());
    if is_same { Ok(()) } else { Err(Error::CsrfFailed) }
}

/// The name of the cookie: with a prefix that binds it to this very host and to TLS, but where there
/// is no TLS on one's own machine.
pub fn cookie_name(incoming: &Incoming) -> &'static str {
    if incoming.origin().starts_with("https:") { "__Host-operator" } else { "operator" }
}

/// Whether nobody on the way can read what is sent: over TLS, or on one's own machine.
pub fn is_private(incoming: &Incoming) -> bool {
    let origin = incoming.origin();
    let Some(host) = origin.strip_prefix("http://") else { return true };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| {
        host.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    })
}

fn cookie(incoming: &Incoming) -> Option<String> {
    let cookies = incoming.header("cookie")?;
    let mut cookies = cookies.split(';').filter_map(|cookie| cookie.trim().split_once('='));
    let name = cookie_name(incoming);
    cookies.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}
