//! `/kit/{token}`: a trainee's kit, for whoever has the address; and how the operator puts it there.

use domain::clock::{Millis, rfc3339};
use domain::identifiers::UserId;
use domain::kit::{
    DEFAULT_TTL_SECONDS, KitToken, Label, MOST_BYTES, TTL_SECONDS, file_name, is_whole_zip, page,
};
use js_sys::Uint8Array;
use serde::Serialize;

use super::operator;
use crate::context::Context;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::incoming::Incoming;
use crate::kits::{self, Kit};
use crate::reply::Reply;
use crate::upstream::body;
use crate::{guessing, log, reply};

/// The headers of a kit, besides its type, its name and its length. Nobody keeps it on the way, finds
/// it by searching, or tells where it was.
const HEADERS: [(&str, &str); 3] = [
    ("cache-control", "private, no-store"),
    ("x-robots-tag", "noindex"),
    ("referrer-policy", "no-referrer"),
];

/// `GET /kit/{token}`: 200 and the ZIP; on a phone a page that says where to open it. What goes wrong is
/// a page too, for whoever asks for one.
///
/// # Errors
/// [`Error::KitUnknown`], or [`Error::TooManyAttempts`] where that was asked too often;
/// [`Error::KitExpired`]; [`Error::NotConfigured`] without a bucket.
pub async fn hand_out(incoming: &Incoming, context: &Context, token: &str) -> Result<Reply, Error> {
    let reply = match find(incoming, context, token).await {
        Ok(reply) => {
            log::early(incoming, 200, None);
            reply
        }
        Err(error) if wants_a_page(incoming) => {
            log::early(incoming, error.status(), Some(error.code()));
            let mut reply = html(error.status(), &page::of_trouble(&error.to_string()));
            for (name, value) in error.headers() {
                reply.set(name, &value);
            }
            reply
        }
        Err(error) => return Err(error),
    };
    Ok(reply.with(HEADERS))
}

async fn find(incoming: &Incoming, context: &Context, token: &str) -> Result<Reply, Error> {
    let bucket = kits::bucket(context)?;
    let token = KitToken::parse(token);
    let found = match &token {
        Some(token) => kits::find(&bucket, token).await?.map(|kit| (token, kit)),
        None => None,
    };
    let Some((token, Kit { label, zip })) = found else {
        guessing::wrong_kit(incoming, context).await?;
        return Err(Error::KitUnknown);
    };
    if !label.is_good(incoming.arrived) {
        return Err(Error::KitExpired);
    }
    let user_agent = incoming.header("user-agent").unwrap_or_default();
    if page::is_a_phones(user_agent) && incoming.asked("download").is_none() {
        let address = address(incoming, token);
        return Ok(html(200, &page::on_a_phone(&address)));
    }
    Ok(file(&zip, &file_name(label.user_id.as_ref())))
}

/// What is to be saved under a name.
fn file(bytes: &[u8], name: &str) -> Reply {
    Reply::new(200, HeaderList::default(), Uint8Array::from(bytes)).with([
        ("content-type", "application/zip"),
        ("content-disposition", &format!("attachment; filename=\"{name}\"")),
        ("content-length", &bytes.len().to_string()),
    ])
}

fn html(status: u16, page: &str) -> Reply {
    reply::text_of(status, "text/html; charset=utf-8", page)
}

/// Whether a person reads the answer: browsers name HTML where they open an address.
fn wants_a_page(incoming: &Incoming) -> bool {
    incoming.header("accept").is_some_and(|kinds| kinds.contains("text/html"))
}

fn address(incoming: &Incoming, token: &KitToken) -> String {
    format!("{}/kit/{}", incoming.origin(), token.expose())
}

#[derive(Serialize)]
struct Kept<'a> {
    url: &'a str,
    expires_at: &'a str,
    user_id: Option<&'a UserId>,
}

/// `PUT /operator/api/kits/{token}?user_id=ada&expires_in_seconds=3600`: 201 and the kit's address. The
/// client chooses the token, so that what was sent twice is kept once.
///
/// # Errors
/// [`Error::InvalidQuery`], [`Error::InvalidUserId`]; [`Error::InvalidKit`] where it is no ZIP,
/// [`Error::RequestTooLarge`]; [`Error::NotConfigured`] without a bucket.
pub async fn keep(incoming: &Incoming, context: &Context, token: &str) -> Result<Reply, Error> {
    let token = read_token(token)?;
    let user_id = incoming.asked("user_id").map(|name| operator::person(&name)).transpose()?;
    let seconds = incoming.asked_number("expires_in_seconds", TTL_SECONDS)?;
    let lifetime = Millis::from(seconds.unwrap_or(DEFAULT_TTL_SECONDS)) * 1_000;
    let zip = body::read(incoming, context, MOST_BYTES).await?;
    if !is_whole_zip(&zip) {
        return Err(Error::InvalidKit);
    }
    let bucket = kits::bucket(context)?;
    if let Some(user_id) = &user_id {
        incoming.is_done_to(user_id);
    }
    let brought_at = incoming.arrived;
    let label = Label { user_id, brought_at, expires_at: brought_at + lifetime };
    let kit = Kit { label: label.clone(), zip };
    kits::keep(&bucket, &token, kit).await?;
    log::early(incoming, 201, None);
    let (url, expires_at) = (address(incoming, &token), rfc3339(label.expires_at));
    let user_id = label.user_id.as_ref();
    Ok(reply::json(201, &Kept { url: &url, expires_at: &expires_at, user_id }))
}

/// `DELETE /operator/api/kits/{token}`: 204; there is nothing at the address any more.
///
/// # Errors
/// [`Error::InvalidQuery`]; [`Error::KitUnknown`], so that nobody takes a slip of the pen for a kit that
/// is withdrawn.
pub async fn withdraw(incoming: &Incoming, context: &Context, token: &str) -> Result<Reply, Error> {
    let token = read_token(token)?;
    let label = kits::withdraw(&kits::bucket(context)?, &token).await?;
    let label = label.ok_or(Error::KitUnknown)?;
    if let Some(user_id) = &label.user_id {
        incoming.is_done_to(user_id);
    }
    log::early(incoming, 204, None);
    Ok(reply::empty(204))
}

fn read_token(text: &str) -> Result<KitToken, Error> {
    let problem = "a kit's token has twelve letters and digits, as in ABCD-EFGH-JKMN.";
    KitToken::parse(text).ok_or_else(|| Error::InvalidQuery { problem: problem.to_owned() })
}
