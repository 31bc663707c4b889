//! One request, as it came in.

use std::cell::OnceCell;
use std::ops::RangeInclusive;

use domain::clock::Millis;
use domain::identifiers::UserId;
use domain::keyed_hash::network_of;
use domain::path;
use url::form_urlencoded;
use web_sys::Request;

use crate::context::random_id;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::{clock, fault};

/// What every handler may want to know of a request.
pub struct Incoming {
    /// The runtime's own object: body and signal.
    pub request: Request,
    /// Its headers.
    pub headers: HeaderList,
    /// `x-request-id` of the answer, and the name of its lease and its row.
    pub request_id: String,
    /// When it came.
    pub arrived: Millis,
    /// The method.
    pub method: String,
    /// The path in its canonical form: judged, logged and forwarded. Empty where it has none.
    pub path: String,
    /// The query with its `?`, as it came; empty where there is none.
    pub query: String,
    /// What an operator's action is about besides the user, for the record; its handler says.
    pub about: OnceCell<String>,
    /// To whom it was done, where the path doesn't say.
    pub whom: OnceCell<String>,
}

impl Incoming {
    /// Reads what is needed of a request before its body.
    pub fn new(request: Request) -> Self {
        let headers = HeaderList::read(&request.headers());
        fault::move_clock(&headers);
        let text = request.url();
        let raw_path = Some(path::raw_path(&text)).filter(|path| !path.is_empty()).unwrap_or("/");
        let request_id = format!("req_{}", random_id());
        fault::note(&headers, &request_id);
        Self {
            request_id,
            arrived: clock::reading(),
            method: request.method(),
            query: path::raw_query(&text).to_owned(),
            path: path::canonical(raw_path).unwrap_or_default(),
            about: OnceCell::new(),
            whom: OnceCell::new(),
            headers,
            request,
        }
    }

    /// A header's text, if it is there and not empty.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).filter(|text| !text.is_empty())
    }

    /// The network that it came from, in clear: to compare, not to keep. Empty where it isn't known.
    pub fn network(&self) -> String {
        self.header("cf-connecting-ip").map(network_of).unwrap_or_default()
    }

    /// Refuses what wants to become a WebSocket, with the status at which clients fall back to HTTP.
    ///
    /// # Errors
    /// [`Error::UpgradeRequired`].
    pub fn refuse_upgrade(&self) -> Result<(), Error> {
        let protocols = self.header("upgrade").unwrap_or_default().split(',');
        let is_socket = |protocol: &str| protocol.trim().eq_ignore_ascii_case("websocket");
        if protocols.into_iter().any(is_socket) { Err(Error::UpgradeRequired) } else { Ok(()) }
    }

    /// The base URL that a client of this gateway needs, with the user that the path names.
    pub fn base_url(&self) -> String {
        let user = match self.path.split('/').collect::<Vec<_>>().as_slice() {
            ["", "u", user, ..] => format!("/u/{user}"),
            _ => String::new(),
        };
        format!("{}{user}/v1", self.origin())
    }

    /// Scheme, host and port that the client knows this gateway by.
    pub fn origin(&self) -> String {
        let url = self.request.url();
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url[host..].find('/').map_or(url.len(), |at| host + at);
        url[..end].to_owned()
    }

    /// A member of the query, if it is there and not empty.
    pub fn asked(&self, name: &str) -> Option<String> {
        let query = self.query.trim_start_matches('?').as_bytes();
        let mut members = form_urlencoded::parse(query);
        let value = members.find(|(member, _)| member == name)?.1.into_owned();
        Some(value).filter(|value| !value.is_empty())
    }

    /// The same, of one that is a number.
    ///
    /// # Errors
    /// [`Error::InvalidQuery`] where it is none, or not in the range.
    pub fn asked_number(
        &self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Error> {
        let Some(text) = self.asked(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let (least, most) = (range.start(), range.end());
        let problem = || format!("`{name}` is a whole number from {least} to {most}.");
        number.map(Some).ok_or_else(|| Error::InvalidQuery { problem: problem() })
    }

    /// The same, of one that is a moment: a date, or RFC 3339.
    ///
    /// # Errors
    /// [`Error::InvalidQuery`] where it is something else.
    pub fn asked_moment(&self, name: &str) -> Result<Option<Millis>, Error> {
        let Some(text) = self.asked(name) else { return Ok(None) };
        let problem = || format!("`{name}` is a date such as 2026-11-21, or 2026-11-21T09:00:00Z.");
        let moment = domain::clock::parse_moment(&text);
        moment.map(Some).ok_or_else(|| Error::InvalidQuery { problem: problem() })
    }

    /// The same, of one that is `true` or `false`, which it is too where it isn't there.
    ///
    /// # Errors
    /// [`Error::InvalidQuery`] where it is something else.
    pub fn asked_flag(&self, name: &str) -> Result<bool, Error> {
        match self.asked(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Error::InvalidQuery { problem: format!("`{name}` is true or false.") }),
        }
    }

    /// Notes what an operator's action is about.
    pub fn is_about(&self, text: &str) {
        let _ = self.about.set(text.to_owned());
    }

    /// Notes to whom an operator's action is done.
    pub fn is_done_to(&self, user_id: &UserId) {
        let _ = self.whom.set(user_id.to_string());
    }

    /// Milliseconds since it came.
    pub fn elapsed(&self) -> Millis {
        (clock::reading() - self.arrived).max(0)
    }
}
