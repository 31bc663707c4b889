//! `cargo bench -p bench`: what the rules cost on the way of one request.

use bench::{EVENT, admit, settle};
use divan::{Bencher, black_box};
use domain::meter::Format;
use domain::session::{Session, Stored};
use domain::tier::TierRules;
use domain::window::{MINUTE, Rate};

fn main() {
    divan::main();
}

/// Admission and settlement in a session whose window holds so many.
#[divan::bench(args = [50, 5_000])]
fn admit_and_settle(bencher: Bencher<'_, '_>, limit: u32) {
    let rate = Rate { limit, window: MINUTE };
    let (rules, upstreams) = (TierRules::default(), [bench::upstream()]);
    let limits = bench::limits(rate, &rules, &upstreams);
    let (mut session, mut now) = (Session::restore(Stored::default(), 0).0, 0);
    bencher.bench_local(|| {
        now += MINUTE / i64::from(limit);
        black_box(session.admit(admit("r"), limits, now));
        black_box(session.settle(settle("r"), now));
        session.flush_succeeded(i64::MAX, 0, now)
    });
}

/// One event of a stream, with and without the search for the usage chunk.
#[divan::bench(args = [false, true])]
fn meter_an_event(bencher: Bencher<'_, '_>, strip_usage: bool) {
    let mut meter = bench::chat_meter(Format::EventStream, strip_usage);
    bencher.bench_local(|| meter.push(black_box(EVENT)));
}

/// The body of a chat request in which usage is asked for.
#[divan::bench]
fn prepare_a_chat_body() -> domain::chat_body::ChatBody {
    let body =
        br#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    domain::chat_body::prepare(black_box(body))
}
