//! When to come again, of any moment, and which headers pass: what is said can be read by a client, and
//! no header of the upstream's passes for one of ours, nor one of a client's for a credential.

use domain::rate_headers::{retry_headers, standing_headers};
use domain::session::messages::{MonthStanding, Standing};
use domain::upstream_policy::{self, forwards_request_header, response_header_name};

/// What only the gateway says.
const OURS: [&str; 10] = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "ratelimit",
    "ratelimit-policy",
    "x-quota-limit-month",
    "x-quota-remaining-month",
    "x-request-id",
    "x-queue-ms",
    "set-cookie",
];

/// What says or proves who somebody is, and what belongs to one connection.
const NEVER_SENT: [&str; 11] = [
    "authorization",
    "cookie",
    "x-user-id",
    "x-gateway-key",
    "x-codex-token",
    "x-api-key",
    "x-forwarded-for",
    "x-openclaw-session-key",
    "cf-access-jwt-assertion",
    "host",
    "connection",
];

pub fn hold(input: &[u8]) {
    let Some((numbers, name)) = input.split_first_chunk::<24>() else { return };
    let number = |at: usize| i64::from_le_bytes(numbers[at..at + 8].try_into().expect("8 bytes"));
    check_retry(number(0));
    check_standing(number(8), number(16));
    let Ok(name) = str::from_utf8(name) else { return };
    let _ = upstream_policy::format(Some(name));
    if let Some(shown) = response_header_name(name) {
        assert!(!OURS.contains(&shown.as_str()), "{shown}");
        assert!(shown == name || shown == format!("x-upstream-{}", &name["x-".len()..]));
    }
    assert!(!forwards_request_header(name) || !NEVER_SENT.contains(&name));
}

fn check_retry(wait: i64) {
    let [(_, seconds), (_, exact)] = retry_headers(wait);
    let [seconds, exact] = [seconds, exact].map(|text| text.parse::<i64>().expect("a number"));
    assert!((1..=60).contains(&seconds));
    assert_eq!(exact, wait.max(1));
    // Who waits as long as it says has waited long enough, a minute aside, and not a second too long.
    assert!(seconds * 1_000 >= exact || seconds == 60);
    assert!((seconds - 1) * 1_000 < exact);
}

fn check_standing(empty_in_ms: i64, next_free_ms: i64) {
    let month = Some(MonthStanding { limit: 7, remaining: 3 });
    let standing = Standing { limit: 50, remaining: 12, empty_in_ms, next_free_ms, month };
    for (name, value) in standing_headers(standing) {
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{name}: {value}");
        match name {
            "x-ratelimit-reset-requests" => assert_eq!(duration(&value), empty_in_ms.max(0)),
            "ratelimit" => {
                let seconds = value.rsplit_once("t=").expect("a time").1;
                let seconds: i64 = seconds.parse().expect("a number");
                let exact = i128::from(next_free_ms.max(0));
                let shown = i128::from(seconds) * 1_000;
                assert!(shown >= exact && shown < exact + 1_000);
            }
            _ => {}
        }
    }
}

/// Reads what Go prints of a duration, in milliseconds.
fn duration(text: &str) -> i64 {
    if let Some(millis) = text.strip_suffix("ms") {
        return millis.parse().expect("a number");
    }
    let text = text.strip_suffix('s').expect("seconds");
    let (minutes, seconds) = text.split_once('m').unwrap_or(("0", text));
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let [minutes, whole] = [minutes, whole].map(|text| text.parse::<i64>().expect("a number"));
    minutes * 60_000 + whole * 1_000 + format!("{fraction:0<3}").parse::<i64>().expect("a number")
}
