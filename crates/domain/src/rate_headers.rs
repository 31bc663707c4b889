//! The headers that tell a client where it stands.

use crate::clock::Millis;
use crate::session::messages::{MonthStanding, Standing};

/// `x-ratelimit-*` as OpenAI's, and the IETF draft's `RateLimit` and `RateLimit-Policy`
/// (draft-ietf-httpapi-ratelimit-headers); `x-quota-*` where the month has a limit.
#[must_use]
pub fn standing_headers(standing: Standing) -> Vec<(&'static str, String)> {
    let Standing { limit, remaining, empty_in_ms, next_free_ms, month } = standing;
    let mut headers = vec![
        ("x-ratelimit-limit-requests", limit.to_string()),
        ("x-ratelimit-remaining-requests", remaining.to_string()),
        ("x-ratelimit-reset-requests", go_duration(empty_in_ms)),
        ("ratelimit-policy", format!("\"rpm\";q={limit};w=60")),
        ("ratelimit", format!("\"rpm\";r={remaining};t={}", seconds_up(next_free_ms))),
    ];
    if let Some(MonthStanding { limit, remaining }) = month {
        headers.push(("x-quota-limit-month", limit.to_string()));
        headers.push(("x-quota-remaining-month", remaining.to_string()));
    }
    headers
}

/// `Retry-After`, in whole seconds, and `retry-after-ms`, exact. The first is held within 1–60:
/// the Node SDK ignores what is longer and takes 0 for "at once".
#[must_use]
pub fn retry_headers(wait: Millis) -> [(&'static str, String); 2] {
    [
        ("retry-after", seconds_up(wait).clamp(1, 60).to_string()),
        ("retry-after-ms", wait.max(1).to_string()),
    ]
}

fn seconds_up(millis: Millis) -> Millis {
    millis.max(0).div_euclid(1_000) + Millis::from(millis.max(0) % 1_000 > 0)
}

/// A duration as Go prints it: `0s`, `12ms`, `1.5s`, `1m0s`.
fn go_duration(millis: Millis) -> String {
    let millis = millis.max(0);
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let (seconds, fraction) = (rest / 1_000, rest % 1_000);
    if millis > 0 && millis < 1_000 {
        return format!("{millis}ms");
    }
    let seconds = match fraction {
        0 => format!("{seconds}s"),
        _ => format!("{seconds}.{}s", format!("{fraction:03}").trim_end_matches('0')),
    };
    if minutes > 0 { format!("{minutes}m{seconds}") } else { seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_look_like_gos() {
        let shown = [0, 12, 999, 1_000, 1_500, 59_999, 60_000, 61_020].map(go_duration);
        assert_eq!(shown, ["0s", "12ms", "999ms", "1s", "1.5s", "59.999s", "1m0s", "1m1.02s"]);
    }

    #[test]
    fn the_headers_are_pinned() {
        let month = Some(MonthStanding { limit: 10_000, remaining: 7 });
        let standing =
            Standing { limit: 50, remaining: 12, empty_in_ms: 60_000, next_free_ms: 0, month };
        let headers = |standing| -> Vec<String> {
            let headers = standing_headers(standing).into_iter();
            headers.map(|(name, value)| format!("{name}: {value}")).collect()
        };
        assert_eq!(headers(Standing { month: None, ..standing }), headers(standing)[..5]);
        assert_eq!(
            headers(standing),
            [
                "x-ratelimit-limit-requests: 50",
                "x-ratelimit-remaining-requests: 12",
                "x-ratelimit-reset-requests: 1m0s",
                "ratelimit-policy: \"rpm\";q=50;w=60",
                "ratelimit: \"rpm\";r=12;t=0",
                "x-quota-limit-month: 10000",
                "x-quota-remaining-month: 7",
            ]
        );
    }

    #[test]
    fn retry_after_is_rounded_up_and_held_within_a_minute() {
        let both = |wait| retry_headers(wait).map(|(_, value)| value);
        assert_eq!(both(1), ["1", "1"]);
        assert_eq!(both(1_001), ["2", "1001"]);
        assert_eq!(both(60_000), ["60", "60000"]);
        assert_eq!(both(75_000), ["60", "75000"]);
    }
}
