//! A stream of ten minutes, which outlives every lease and every idle timer.

use std::fmt::Write;
use std::time::{Duration, Instant};

use gateway_tests::Script;
use gateway_tests::script::{chat_chunk, chat_request, usage_chunk};

use crate::runner::Test;
use crate::{shared, tests};

/// What a client gets after fifteen seconds of silence.
const PING: &str = ": ping\n\n";

pub fn tests() -> Vec<Test> {
    tests![Longest: a_stream_of_ten_minutes_is_like_any_other]
}

async fn a_stream_of_ten_minutes_is_like_any_other() {
    let pair = shared::open().await;
    let user = shared::user("long");
    let (pieces, gap) = (150, Duration::from_secs(4));
    let mut script = Script::new().event_stream();
    let mut expected = String::new();
    for number in 0..pieces {
        let chunk = chat_chunk(&format!("piece {number}"));
        script = script.event(&chunk).wait(gap);
        write!(expected, "data: {chunk}\n\n").unwrap();
    }
    let route = pair.upstream.route(script.event(&usage_chunk(4321)).done());
    let began = Instant::now();
    let request = pair.gateway.post(&user, &route.chat(), &chat_request("hi", true));
    let mut response = request.send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let (mut text, mut last, mut late) = (String::new(), Instant::now(), 0);
    while let Some(piece) = response.chunk().await.unwrap() {
        late += usize::from(last.elapsed() > gap * 2);
        last = Instant::now();
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    assert!(began.elapsed() >= gap * pieces);
    let pings = text.matches(PING).count();
    assert_eq!(text.replace(PING, ""), expected + "data: [DONE]\n\n");
    // A machine that runs everything else beside it may stand still now and then, so long that a ping is
    // due; what holds back holds back all the time.
    assert!(pings <= 1, "{pings} pings");
    assert!(late <= 5, "{late} pieces of {pieces} were held back");
    let row = pair.gateway.ledger().row(&id).await;
    assert_eq!((row.status, row.tokens_est, row.tokens_source.as_str()), (200, 4321, "reported"));
    assert!((600_000..640_000).contains(&row.latency_ms), "{row:?}");
}
