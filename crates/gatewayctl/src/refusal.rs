//! What a gateway's refusals mean, and why none may answer: in words, with what to do.

use std::io;

use serde::Deserialize;
use ureq::{Error, Timeout};

use crate::base_url::BaseUrl;
use crate::failure::{Failure, Kind};
use crate::tls;

#[derive(Deserialize)]
struct Body {
    error: Details,
}

#[derive(Deserialize)]
struct Details {
    message: String,
    code: String,
}

/// The failure that an answer means which isn't a success.
pub fn of_answer(status: u16, leads_to: Option<&str>, body: &[u8]) -> Failure {
    if let 300..=399 = status {
        return elsewhere(leads_to.unwrap_or_default());
    }
    let Ok(Body { error: Details { message, code } }) = serde_json::from_slice(body) else {
        return of_something_else(status);
    };
    let kind = kind_of(status, &code);
    let failure = Failure { status: Some(status), ..Failure::new(kind, message) };
    let failure = match next_of(&code) {
        Some(next) => failure.next(next),
        None => failure,
    };
    Failure { code: Some(code), ..failure }
}

fn kind_of(status: u16, code: &str) -> Kind {
    match (status, code) {
        // The gateway refuses nothing that is right for this.
        (401 | 403, _) | (_, "too_many_attempts") => Kind::NotAllowed,
        (404, _) => Kind::NotFound,
        (400, "invalid_user_id" | "invalid_query" | "invalid_roster") => Kind::Usage,
        (429 | 502..=504, _) => Kind::Busy,
        _ => Kind::Failed,
    }
}

fn next_of(code: &str) -> Option<&'static str> {
    Some(match code {
        "operator_required" | "too_many_attempts" => {
            "Compare the token with the gateway's secret OPERATOR_TOKEN, and sign in with \
             `gatewayctl login`."
        }
        "subscription_running" => "To forget all the same, add --force, and cancel it afterwards.",
        "method_not_allowed" => "This gateway is older than this command: deploy it anew.",
        "database_unavailable" | "not_configured" => "`gatewayctl doctor` says what is wrong.",
        _ => return None,
    })
}

/// What answers isn't a gateway's, or something before it.
fn of_something_else(status: u16) -> Failure {
    let failure = match status {
        401 | 403 => Failure::new(
            Kind::NotAllowed,
            format!("Something in front of the gateway refuses this ({status})."),
        )
        .next("If it is Cloudflare Access, set CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET."),
        429 | 502..=504 | 520..=530 => Failure::new(
            Kind::Busy,
            format!("Something in front of the gateway answers {status}: it is busy, or away."),
        )
        .next("Try again in a minute; `gatewayctl doctor` says how far one gets."),
        _ => Failure::new(
            Kind::Failed,
            format!("Something answers {status}, and not in the way of organized-gateway."),
        )
        .next("Check the URL: `gatewayctl doctor` says what is there."),
    };
    Failure { status: Some(status), ..failure }
}

fn elsewhere(leads_to: &str) -> Failure {
    let host = url::Url::parse(leads_to).ok();
    let host = host.as_ref().and_then(url::Url::host_str).unwrap_or("another address");
    if host.ends_with(".cloudflareaccess.com") {
        return Failure::new(Kind::NotAllowed, "Cloudflare Access wants a sign-in first.").next(
            "Set CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET to a service token that its policy \
             lets through.",
        );
    }
    Failure::new(Kind::Failed, format!("This address leads elsewhere, to {host}."))
        .next("Use the address that it leads to, if that is your gateway's.")
}

/// The operator's routes aren't there.
pub fn no_operator() -> Failure {
    Failure::new(Kind::NotAllowed, "This gateway has no operator, or is older than this command.")
        .next("Give it one with `npx wrangler secret put OPERATOR_TOKEN`, or deploy it anew.")
}

/// What answers isn't a gateway.
pub fn not_a_gateway(url: &str) -> Failure {
    Failure::new(Kind::Failed, format!("What answers at {url} isn't an organized-gateway."))
        .next("Check the URL; `gatewayctl doctor` says what is there.")
}

/// The failure of a connection that came to nothing.
pub fn of_connection(error: &Error, base: &BaseUrl) -> Failure {
    let (url, host) = (base.text(), base.host());
    let unreachable = |message: String| Failure::new(Kind::Unreachable, message);
    let failure = if let Some(problem) = tls::problem(error) {
        unreachable(format!("{host} can't be trusted: {problem}."))
    } else {
        match error {
            error if is_unknown(error) => unreachable(format!("There is no host called {host}.")),
            Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                unreachable(format!("{url} doesn't answer within ten seconds."))
            }
            Error::Timeout(_) => {
                Failure::new(Kind::Busy, format!("{url} took too long to answer."))
            }
            Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                unreachable(format!("Nothing listens at {url}."))
            }
            Error::Io(error) => unreachable(format!("The connection to {url} broke: {error}.")),
            error => unreachable(format!("{url} can't be asked: {error}.")),
        }
    };
    failure.next("`gatewayctl doctor` says how far one gets, and what to do.")
}

/// Whether nothing was sent, for nobody was there to send it to.
pub fn came_to_nobody(error: &Error) -> bool {
    let is_refused =
        matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused);
    let is_late = matches!(error, Error::Timeout(Timeout::Connect | Timeout::Resolve));
    is_refused || is_late || is_unknown(error) || tls::problem(error).is_some()
}

/// Whether the host's name is nobody's. The standard library has no kind of error for it, only words.
fn is_unknown(error: &Error) -> bool {
    let has_no_address = |error: &io::Error| {
        let words = error.to_string();
        words.contains("lookup address") || words.contains("No such host")
    };
    matches!(error, Error::HostNotFound)
        || matches!(error, Error::Io(error) if has_no_address(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> Failure {
        let body = format!(r#"{{"error":{{"message":"Said so.","code":"{code}","param":null}}}}"#);
        of_answer(status, None, body.as_bytes())
    }

    #[test]
    fn a_refusal_is_in_the_gateway_s_words() {
        for (status, code, kind) in [
            (401, "operator_required", Kind::NotAllowed),
            (429, "too_many_attempts", Kind::NotAllowed),
            (403, "csrf_failed", Kind::NotAllowed),
            (404, "not_found", Kind::NotFound),
            (400, "invalid_user_id", Kind::Usage),
            (400, "invalid_json", Kind::Failed),
            (503, "database_unavailable", Kind::Busy),
            (500, "internal_error", Kind::Failed),
        ] {
            let failure = refused(status, code);
            assert_eq!((failure.kind, failure.status), (kind, Some(status)), "{code}");
            assert_eq!(
                (failure.message.as_str(), failure.code.as_deref()),
                ("Said so.", Some(code))
            );
        }
    }

    #[test]
    fn what_isn_t_a_gateway_s_is_told_apart() {
        for (status, kind) in [(403, Kind::NotAllowed), (522, Kind::Busy), (404, Kind::Failed)] {
            assert_eq!(of_answer(status, None, b"<html>").kind, kind, "{status}");
        }
        let access = of_answer(302, Some("https://team.cloudflareaccess.com/cdn-cgi/x"), b"");
        assert_eq!(access.kind, Kind::NotAllowed);
        assert!(access.to_string().contains("CF_ACCESS_CLIENT_ID"), "{access}");
        let moved = of_answer(301, Some("https://new.example.com/v1"), b"");
        assert!(moved.to_string().contains("new.example.com"), "{moved}");
    }
}
