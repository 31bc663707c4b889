use std::time::Duration;

use super::*;
use crate::book::Head;

/// One request that was answered, one that was refused, and all that is written of them.
fn whole() -> Evidence {
    let sent = Instant::now();
    let answered = |number: u64, status: u16, code: Option<&str>| {
        let (at, id) = (sent + Duration::from_millis(50), format!("req_{number}"));
        let head = Some(Head { at, id, status, code: code.map(str::to_owned) });
        Asked { number, user: "ada".to_owned(), sent, head, ended: at, end: End::Whole }
    };
    let sums = || Months::from([("2026-11".to_owned(), (1, 7))]);
    let shown = BTreeMap::from([("ada".to_owned(), sums())]);
    Evidence {
        asked: vec![answered(1, 200, None), answered(2, 429, Some("rate_limit_exceeded"))],
        disturbances: Vec::new(),
        arrived: HashMap::from([(1, ("req_1".to_owned(), sent + Duration::from_millis(20)))]),
        rows: vec![row(1, 200, None), row(2, 429, Some("rate_limit_exceeded"))],
        usage: BTreeMap::from([("ada".to_owned(), sums())]),
        objects: vec![UserObject {
            user: "ada".to_owned(),
            months: sums(),
            ..UserObject::default()
        }],
        used_up: BTreeSet::new(),
        shown,
    }
}

fn row(number: i64, status: i64, code: Option<&str>) -> Row {
    let is_counted = status < 429;
    Row {
        id: number,
        user_id: "ada".to_owned(),
        endpoint: "/v1/chat/completions".to_owned(),
        status,
        latency_ms: 50,
        tokens_est: if is_counted { 7 } else { 0 },
        ip_hash: None,
        created_at: "2026-11-21 06:23:36.000".to_owned(),
        request_id: format!("req_{number}"),
        project: "default".to_owned(),
        model: None,
        ttfb_ms: None,
        tokens_source: "reported".to_owned(),
        error_code: code.map(str::to_owned),
        count: 1,
        month: is_counted.then(|| "2026-11".to_owned()),
        provider_requests: None,
    }
}

fn disturbed(evidence: &mut Evidence, kind: Kind) {
    let from = evidence.asked[0].sent;
    evidence.disturbances.push(Disturbance { kind, from, to: from });
}

#[track_caller]
fn finds(evidence: &Evidence, words: &[&str]) {
    let broken = evidence.judge().broken;
    assert_eq!(broken.len(), words.len(), "{broken:#?}");
    for (broken, words) in broken.iter().zip(words) {
        assert!(broken.contains(words), "{broken}");
    }
}

/// Without the first row and what it counts.
fn without_its_row() -> Evidence {
    let mut evidence = whole();
    evidence.rows.remove(0);
    evidence.usage.clear();
    evidence.objects[0].months.clear();
    evidence.shown.clear();
    evidence
}

fn interrupted() -> Evidence {
    let mut evidence = whole();
    evidence.rows[0].status = 0;
    evidence.rows[0].error_code = Some("interrupted".to_owned());
    evidence
}

#[test]
fn what_agrees_holds() {
    finds(&whole(), &[]);
}

#[test]
fn a_row_that_is_missing_doubled_or_anothers_is_found() {
    finds(&without_its_row(), &["lost: no row"]);
    let mut doubled = whole();
    doubled.rows.push(row(1, 200, None));
    finds(&doubled, &["doubled: req_1", "quota drift: ada's object", "quota drift: ada is said"]);
    let mut stray = whole();
    stray.rows.push(Row { month: None, ..row(3, 502, Some("upstream_unreachable")) });
    finds(&stray, &["rows of nobody's requests"]);
    let mut other = whole();
    other.rows[0].status = 404;
    finds(&other, &["another end than was seen"]);
    // A kill excuses none of them.
    let mut killed = without_its_row();
    disturbed(&mut killed, Kind::Down);
    finds(&killed, &["lost: no row"]);
}

#[test]
fn an_interruption_needs_a_reason() {
    finds(&interrupted(), &["interrupted for no reason"]);
    for (kind, is_reason) in [
        (Kind::Down, true),
        (Kind::Full, true),
        (Kind::Step(95_000), true),
        (Kind::Step(5_000), false),
        (Kind::Step(-95_000), false),
    ] {
        let mut evidence = interrupted();
        disturbed(&mut evidence, kind);
        let expected: &[_] = if is_reason { &[] } else { &["interrupted for no reason"] };
        finds(&evidence, expected);
    }
}

#[test]
fn a_failure_needs_a_reason_and_may_have_a_row() {
    let mut evidence = without_its_row();
    evidence.arrived.clear();
    let head = evidence.asked[0].head.as_mut().unwrap();
    (head.status, head.code) = (500, Some("internal_error".to_owned()));
    finds(&evidence, &["answered 500 for no reason"]);
    disturbed(&mut evidence, Kind::Full);
    finds(&evidence, &[]);
}

#[test]
fn what_got_no_answer_may_have_a_row() {
    let mut evidence = whole();
    evidence.arrived.clear();
    evidence.asked[0].head = None;
    evidence.asked[0].end = End::Broke;
    finds(&evidence, &[]);
    evidence.asked[0].end = End::Unreached;
    finds(&evidence, &["rows of nobody's requests"]);
}

#[test]
fn a_refusal_is_counted_once() {
    let mut lost = whole();
    lost.rows.remove(1);
    finds(&lost, &["D1 counts 0"]);
    let mut twice = whole();
    twice.rows[1].count = 2;
    finds(&twice, &["D1 counts 2"]);
}

#[test]
fn too_many_in_a_minute_are_found() {
    let mut evidence = whole();
    for number in 10..40 {
        let mut asked = evidence.asked[0].clone();
        asked.number = number;
        asked.head.as_mut().unwrap().id = format!("req_{number}");
        evidence.asked.push(asked);
        evidence.rows.push(Row { month: None, ..row(number.cast_signed(), 500, None) });
    }
    let findings = evidence.judge().broken;
    assert!(findings[0].starts_with("over-admitted: ada was let in 31 times"), "{findings:#?}");
}

#[test]
fn what_stays_behind_is_found() {
    let mut evidence = whole();
    evidence.objects[0].open.push("req_1".to_owned());
    evidence.objects[0].waiting = 1;
    finds(&evidence, &["leaked: ada", "1 rows of ada never came to D1"]);
}

#[test]
fn a_month_that_drifts_is_found() {
    let mut object = whole();
    object.objects[0].months.clear();
    finds(&object, &["quota drift"]);
    let mut shown = whole();
    shown.shown.get_mut("ada").unwrap().insert("2026-11".to_owned(), (2, 7));
    finds(&shown, &["is said to have used (2, 7)"]);
    let mut sums = whole();
    sums.usage.get_mut("ada").unwrap().insert("2026-11".to_owned(), (1, 8));
    finds(&sums, &["quota drift"]);
    let mut wrongly = whole();
    wrongly.rows[0].month = None;
    finds(&wrongly, &["counted wrongly", "quota drift", "quota drift"]);
    let mut early = whole();
    early.used_up.insert("ada".to_owned());
    finds(&early, &["ada has 1 requests of 10000 in a month"]);
}
