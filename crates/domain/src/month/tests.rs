use proptest::prelude::*;

use super::*;

const NOVEMBER: Month = Month(2026 * 12 + 10);

fn ended(status: u16, tokens_est: u64) -> Outcome {
    Outcome { tokens_est, ..Outcome::answered(status, 0) }
}

fn usage(month: Month, requests: u64, tokens: u64) -> Usage {
    Usage { month, requests, tokens }
}

#[test]
fn months_turn_at_midnight_in_utc() {
    let turn = 1_796_083_200_000; // 2026-12-01T00:00:00Z
    assert_eq!((Month::of(turn - 1), Month::of(turn)), (NOVEMBER, NOVEMBER.next()));
    assert_eq!((NOVEMBER.next().begins(), Month::of(0)), (turn, Month(1970 * 12)));
    assert_eq!(NOVEMBER.next().previous(), NOVEMBER);
    assert_eq!(NOVEMBER.next().next().first_day(), "1 January 2027");
    for month in (0..600).map(|offset| Month(1970 * 12 + offset)) {
        assert_eq!(
            (Month::of(month.begins()), Month::of(month.next().begins() - 1)),
            (month, month)
        );
    }
}

#[test]
fn the_text_of_a_month_is_pinned() {
    assert_eq!(serde_json::to_string(&NOVEMBER).unwrap(), r#""2026-11""#);
    assert_eq!(serde_json::from_str::<Month>(r#""2026-11""#).unwrap(), NOVEMBER);
    assert_eq!(String::from(NOVEMBER.next().next()), "2027-01");
    for wrong in ["", "2026", "2026-13", "2026-00", "2026-1x", "-1-1", "99999-01"] {
        assert!(Month::try_from(wrong.to_owned()).is_err(), "{wrong}");
    }
}

#[test]
fn the_sums_of_months_are_pinned() {
    let mut months = Months::default();
    months.add(Counted { month: NOVEMBER, tokens: 7 });
    let literal = r#"[{"month":"2026-11","requests":1,"tokens":7}]"#;
    assert_eq!(serde_json::to_string(&months).unwrap(), literal);
    assert_eq!(serde_json::from_str::<Months>(literal).unwrap(), months);
}

#[test]
fn a_request_counts_from_its_admission_on_unless_it_is_given_back() {
    let mut tally = Tally::default();
    for _ in 0..4 {
        tally.admit(NOVEMBER);
    }
    assert_eq!(tally.of(NOVEMBER), usage(NOVEMBER, 4, 0));
    tally.settle(NOVEMBER, Some(&ended(200, 7)), 1);
    tally.settle(NOVEMBER, Some(&ended(503, 0)), 2);
    tally.settle(NOVEMBER, Some(&ended(499, 2)), 3);
    tally.settle(NOVEMBER, None, 4);
    assert_eq!(tally.of(NOVEMBER), usage(NOVEMBER, 3, 9));
    assert_eq!(tally.due(2), [usage(NOVEMBER, 1, 7)]);
    assert_eq!(tally.due(0), [], "nothing of any month goes along");
    tally.arrive(3);
    assert_eq!(tally.arrived().of(NOVEMBER), usage(NOVEMBER, 2, 9));
    assert_eq!(tally.due(4), [usage(NOVEMBER, 3, 9)], "the whole month, not what is new of it");
}

#[test]
fn what_is_long_ago_is_forgotten_and_a_clock_that_was_ahead_costs_nothing() {
    let mut tally = Tally::default();
    tally.admit(Month(2099 * 12));
    tally.settle(Month(2099 * 12), None, 1);
    for (position, offset) in (2..).zip(0..20) {
        tally.admit(Month(NOVEMBER.0 + offset));
        tally.settle(Month(NOVEMBER.0 + offset), None, position);
        tally.arrive(position);
        assert_eq!(tally.of(Month(NOVEMBER.0 + offset)).requests, 1);
    }
    assert_eq!(tally.arrived().0.len(), KEPT);
    assert_eq!(tally.of(NOVEMBER).requests, 0);
}

/// What can happen to the requests of a user.
#[derive(Clone, Debug)]
enum Event {
    Admit { month: i32 },
    Settle { which: usize, status: u16, tokens: u64 },
    Die { which: usize },
    Flush { at_most: usize, is_acknowledged: bool },
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let statuses = prop::sample::select(vec![200, 404, 499, 500, 502, 504]);
    let flush = (0_usize..6, any::<bool>());
    prop_oneof![
        4 => (0..3).prop_map(|month| Event::Admit { month }),
        4 => (0_usize..9, statuses, 0_u64..99)
            .prop_map(|(which, status, tokens)| Event::Settle { which, status, tokens }),
        1 => (0_usize..9).prop_map(|which| Event::Die { which }),
        2 => flush.prop_map(|(at_most, is_acknowledged)| Event::Flush { at_most, is_acknowledged }),
        1 => Just(Event::Restart),
    ]
}

/// A request, as a list that is counted from the beginning each time knows it.
#[derive(Clone, Debug)]
struct Request {
    month: Month,
    tokens: u64,
    /// Where its row is on the way to D1, once it has ended.
    position: Option<i64>,
    counts: bool,
}

fn counted<'a>(requests: impl Iterator<Item = &'a Request>, month: Month) -> Usage {
    let of_month = requests.filter(|request| request.counts && request.month == month);
    of_month.fold(usage(month, 0, 0), |sum, request| {
        usage(month, sum.requests + 1, sum.tokens + request.tokens)
    })
}

proptest! {
    /// However requests, flushes and restarts follow each other: the tally is what counting all
    /// requests anew gives, and so is what D1 is told.
    #[test]
    fn it_agrees_with_brute_force(events in prop::collection::vec(event(), 1..80)) {
        let mut tally = Tally::default();
        let mut requests: Vec<Request> = Vec::new();
        let (mut last, mut flushed, mut stored) = (0, 0, Months::default());
        let (mut d1, mut d1_has) = (Months::default(), 0);
        let end = |requests: &mut Vec<Request>, which: usize, last: &mut i64| {
            let open = requests.iter_mut().filter(|request| request.position.is_none());
            let request = open.into_iter().nth(which)?;
            *last += 1;
            request.position = Some(*last);
            Some((request.month, *last))
        };
        for event in events {
            match event {
                Event::Admit { month } => {
                    let month = Month(NOVEMBER.0 + month);
                    tally.admit(month);
                    requests.push(Request { month, tokens: 0, position: None, counts: true });
                }
                Event::Settle { which, status, tokens } => {
                    if let Some((month, position)) = end(&mut requests, which, &mut last) {
                        let outcome = ended(status, tokens);
                        tally.settle(month, Some(&outcome), position);
                        let request = requests.iter_mut().find(|one| one.position == Some(position));
                        let request = request.unwrap();
                        (request.tokens, request.counts) = (tokens, status < 500);
                    }
                }
                Event::Die { which } => {
                    if let Some((month, position)) = end(&mut requests, which, &mut last) {
                        tally.settle(month, None, position);
                    }
                }
                Event::Flush { at_most, is_acknowledged } => {
                    let position = (flushed + i64::try_from(at_most).unwrap()).min(last);
                    for due in tally.due(position) {
                        d1.change(due.month, |known| {
                            known.requests = known.requests.max(due.requests);
                            known.tokens = known.tokens.max(due.tokens);
                        });
                    }
                    d1_has = d1_has.max(position);
                    if is_acknowledged {
                        tally.arrive(position);
                        (flushed, stored) = (position, tally.arrived().clone());
                    }
                }
                Event::Restart => {
                    let adds = |one: &&Request| one.counts;
                    let row = |one: &Request| Counted { month: one.month, tokens: one.tokens };
                    let running = requests.iter().filter(|one| one.position.is_none());
                    let waiting = requests.iter().filter(adds).filter_map(|one| {
                        let position = one.position.filter(|position| *position > flushed)?;
                        Some((position, row(one)))
                    });
                    tally = Tally::restore(stored.clone(), running.map(row), waiting.collect());
                }
            }
            for month in (0..3).map(|offset| Month(NOVEMBER.0 + offset)) {
                prop_assert_eq!(tally.of(month), counted(requests.iter(), month));
                let arrived = |has: i64| {
                    requests.iter().filter(move |one| one.position.is_some_and(|at| at <= has))
                };
                prop_assert_eq!(tally.arrived().of(month), counted(arrived(flushed), month));
                prop_assert_eq!(d1.of(month), counted(arrived(d1_has), month));
            }
        }
    }
}
