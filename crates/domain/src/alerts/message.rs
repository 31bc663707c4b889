//! What the receiver of alerts is told.

use serde::Serialize;

use super::{D1, OUTBOX, State, UPSTREAM};
use crate::clock::{Millis, rfc3339};

/// The news of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose.
    pub subject: String,
    /// How it is.
    pub state: State,
    /// Since when.
    pub since: Millis,
    /// When it went bad last.
    pub bad_since: Millis,
    /// What is wrong with it, or was.
    pub problem: String,
}

/// The body: Slack and Teams read `text`, Discord reads `content`, a program the rest.
#[derive(Serialize)]
struct Body<'a> {
    text: &'a str,
    content: &'a str,
    subject: &'a str,
    state: State,
    since: String,
    gateway: Option<&'a str>,
    problem: Option<&'a str>,
}

impl Message {
    /// The body of the request that tells it, of the gateway at this host, where that is known.
    #[must_use]
    pub fn body(&self, gateway: Option<&str>) -> String {
        let text = self.text(gateway.unwrap_or("organized-gateway"));
        let body = Body {
            text: &text,
            content: &text,
            subject: &self.subject,
            state: self.state,
            since: rfc3339(self.since),
            gateway,
            problem: Some(self.problem.as_str()).filter(|_| self.state == State::Bad),
        };
        // Texts always serialise.
        serde_json::to_string(&body).unwrap_or_default()
    }

    fn text(&self, gateway: &str) -> String {
        let (what, meanwhile) = match self.subject.as_str() {
            D1 => ("D1, the operator's database,".to_owned(), "Users' requests go on; rows wait."),
            OUTBOX => (
                "the way of rows to D1".to_owned(),
                "Users' requests go on; what was asked for is shown late.",
            ),
            other => (
                format!("the upstream `{}`", other.strip_prefix(UPSTREAM).unwrap_or(other)),
                "Requests that go there fail.",
            ),
        };
        let since = rfc3339(self.since);
        let since = since.get(11..16).unwrap_or(&since);
        match self.state {
            State::Bad => {
                let problem = &self.problem;
                format!("{gateway}: {what} is in trouble since {since} UTC: {problem}. {meanwhile}")
            }
            State::Well => {
                let lasted = duration(self.since - self.bad_since);
                format!("{gateway}: {what} is well again since {since} UTC, after {lasted}.")
            }
        }
    }
}

/// In words.
fn duration(milliseconds: Millis) -> String {
    let seconds = milliseconds.max(0) / 1_000;
    let (number, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        _ => (seconds / 3_600, "hour"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_pinned() {
        let bad = Message {
            subject: "upstream:studio".to_owned(),
            state: State::Bad,
            since: 1_795_278_003_123,
            bad_since: 1_795_278_003_123,
            problem: "no answer from its url".to_owned(),
        };
        let sentence = "gateway.example.com: the upstream `studio` is in trouble since 16:20 UTC: \
                        no answer from its url. Requests that go there fail.";
        let expected = format!(
            r#"{{"text":"{sentence}","content":"{sentence}","subject":"upstream:studio","state":"bad","since":"2026-11-21T16:20:03.123Z","gateway":"gateway.example.com","problem":"no answer from its url"}}"#
        );
        assert_eq!(bad.body(Some("gateway.example.com")), expected);
        let (state, since) = (State::Well, bad.since + 7 * 60_000);
        let well = Message { state, since, ..bad };
        let sentence = "organized-gateway: the upstream `studio` is well again since 16:27 UTC, \
                        after 7 minutes.";
        let expected = format!(
            r#"{{"text":"{sentence}","content":"{sentence}","subject":"upstream:studio","state":"well","since":"2026-11-21T16:27:03.123Z","gateway":null,"problem":null}}"#
        );
        assert_eq!(well.body(None), expected);
    }

    #[test]
    fn durations_are_words() {
        for (seconds, words) in [(1, "1 second"), (119, "119 seconds"), (7_199, "119 minutes")] {
            assert_eq!(duration(seconds * 1_000), words);
        }
        assert_eq!(duration(7_200_000), "2 hours");
        assert_eq!(duration(-5), "0 seconds");
    }
}
