//! The way of a message to its receiver.

use std::time::Duration;

use domain::alerts::Alerts as Rules;
use domain::alerts::message::Message;
use domain::settings::Settings;
use futures::future::{Either, select};
use serde_json::json;
use web_sys::{AbortController, RequestInit, RequestRedirect};
use worker::{Delay, Result};

use super::object::Alerts;
use crate::headers::HeaderList;
use crate::log;
use crate::upstream::exchange;

/// How long the receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Alerts {
    /// Tells the operator what is to be told.
    pub(super) async fn tell(&self, settings: &Settings) -> Result<()> {
        let Some(url) = &settings.alert_webhook_url else { return Ok(()) };
        let messages = self.turn(Rules::begin)?;
        for message in &messages {
            match send(url.expose(), message, settings.host.as_deref()).await {
                Ok(()) => {
                    let line = json!({ "subject": message.subject, "state": message.state });
                    log::event("alert", &line);
                    self.turn(|rules, now| rules.delivered(message, now))?;
                }
                Err(problem) => {
                    let detail = format!("{}: {problem}", message.subject);
                    log::fault("an alert was not delivered", &detail);
                }
            }
        }
        Ok(())
    }
}

/// Sends one message. What is said of a failure has nothing of the URL in it, which is a secret.
async fn send(url: &str, message: &Message, host: Option<&str>) -> std::result::Result<(), String> {
    let impossible = |_| "it can't be sent".to_owned();
    let controller = AbortController::new().map_err(impossible)?;
    let mut headers = HeaderList::default();
    headers.set("content-type", "application/json");
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_headers(&headers.to_object());
    init.set_body(&message.body(host).into());
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(Some(&controller.signal()));
    let answer = std::pin::pin!(exchange::fetch(url, &init));
    let answered = match select(answer, Delay::from(PATIENCE)).await {
        Either::Left((Ok(response), _)) if response.ok() => Ok(()),
        Either::Left((Ok(response), _)) => {
            Err(format!("the receiver answers {}", response.status()))
        }
        Either::Left((Err(_), _)) => Err("the receiver can't be reached".to_owned()),
        Either::Right(_) => Err("the receiver took too long".to_owned()),
    };
    // What else it says doesn't matter; and one that took too long is not to say it later.
    controller.abort();
    answered
}
