//! What is wrong or proves nothing is counted by network; what is right is never refused for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{StreamExt, stream};
use gateway_tests::{Gateway, Options, median};
use reqwest::{Method, RequestBuilder};

use crate::answer::{Answer, answer};
use crate::onboarding::{claiming, issue};
use crate::runner::Test;
use crate::shared::{Pair, user};
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        five_wrong_claims_a_minute_for_one_user,
        a_hundred_wrong_claims_a_minute_from_one_address,
        ten_wrong_operators_tokens_a_minute,
        strangers_share_their_addresss_minute,
        all_addresses_of_an_ipv6_network_are_one,
        fifty_wrong_claims_kill_a_code,
        junk_shields_no_code_from_being_worn_out,
        where_the_header_is_believed_nobody_is_counted,
    ];
    tests.extend(tests![Patient: a_network_leaves_nothing_behind]);
    tests.extend(tests![Alone: ten_thousand_guesses_admit_nobody_and_refuse_nobody_who_is_right]);
    tests
}

/// The same request, from an address.
fn from(request: RequestBuilder, address: &str) -> RequestBuilder {
    request.header("cf-connecting-ip", address)
}

async fn claim(gateway: &Gateway, user: &str, code: &str, address: &str) -> Answer {
    answer(from(claiming(gateway, user, code), address)).await
}

/// The code that a user doesn't have.
const WRONG: &str = "0000-0000";

/// Asserts that there were too many attempts, and that it is said when there may be more.
#[track_caller]
fn is_over(refused: &Answer) {
    refused.refuses(429, "too_many_attempts");
    let (seconds, milliseconds) = (refused.number("retry-after"), refused.number("retry-after-ms"));
    assert!((1..=60).contains(&seconds) && milliseconds.div_ceil(1_000) == seconds, "{refused:?}");
}

async fn five_wrong_claims_a_minute_for_one_user() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let gateway = &pair.gateway;
    let [ada, bob] = ["ada", "bob"].map(user);
    let code = issue(gateway, &ada).await;
    for wrong in [WRONG, "not a code", "", WRONG, WRONG] {
        claim(gateway, &ada, wrong, "10.1.0.1").await.refuses(404, "invalid_code");
    }
    let last_was_at = Instant::now();
    for wrong in [WRONG, "not a code"] {
        is_over(&claim(gateway, &ada, wrong, "10.1.0.1").await);
    }
    // Neither another user nor another address has been there, and a kill is no fresh start.
    claim(gateway, &bob, WRONG, "10.1.0.1").await.refuses(404, "invalid_code");
    claim(gateway, &ada, WRONG, "10.1.0.2").await.refuses(404, "invalid_code");
    gateway.kill_runtime().await;
    gateway.restart().await;
    let refused = claim(gateway, &ada, WRONG, "10.1.0.1").await;
    assert!(last_was_at.elapsed() < Duration::from_secs(55), "too late to tell");
    is_over(&refused);
    claim(gateway, &ada, &code, "10.1.0.1").await.is(201);
}

async fn a_hundred_wrong_claims_a_minute_from_one_address() {
    let gateway = &shared::keyed().await.gateway;
    let (ada, address) = (user("ada"), "10.1.1.1");
    let code = issue(gateway, &ada).await;
    let began = Instant::now();
    let wrong = (0..25).map(async |_| {
        let name = user("guessed");
        for _ in 0..4 {
            claim(gateway, &name, WRONG, address).await.refuses(404, "invalid_code");
        }
    });
    join_all(wrong).await;
    let refused = claim(gateway, &user("guessed"), WRONG, address).await;
    assert!(began.elapsed() < Duration::from_secs(55), "too late to tell");
    is_over(&refused);
    claim(gateway, &ada, &code, address).await.is(201);
    claim(gateway, &user("guessed"), WRONG, "10.1.1.2").await.refuses(404, "invalid_code");
}

async fn ten_wrong_operators_tokens_a_minute() {
    let gateway = &shared::keyed().await.gateway;
    let path = format!("/operator/api/users/{}/unblock", user("ada"));
    let ask = |token: &str, address: &str| {
        let request = gateway.request(Method::POST, &path).bearer_auth(token);
        answer(from(request, address))
    };
    let address = "10.1.2.1";
    let nothing = from(gateway.request(Method::POST, &path), address);
    answer(nothing).await.refuses(401, "operator_required");
    let wrong = join_all((0..30).map(|_| ask("wrong-operators-token", address))).await;
    let (told, over): (Vec<_>, Vec<_>) = wrong.iter().partition(|answer| answer.status == 401);
    assert_eq!((told.len(), over.len()), (10, 20));
    told[0].refuses(401, "operator_required");
    is_over(over[0]);
    ask(gateway.operator_token(), address).await.is(204);
    ask("wrong-operators-token", "10.1.2.2").await.refuses(401, "operator_required");
    let nothing = from(gateway.request(Method::POST, &path), address);
    answer(nothing).await.refuses(401, "operator_required");
}

/// A request in the name of somebody new.
fn as_stranger(pair: &Pair, address: &str) -> RequestBuilder {
    from(pair.gateway.get(&user("stranger"), "/v1/models"), address)
}

async fn strangers_share_their_addresss_minute() {
    let pair = shared::pair(Options::new().var("UNPROVEN_PER_MINUTE", "20")).await;
    let key = pair.gateway.mint_key("ada").await.key;
    let address = "10.1.3.1";
    let answers = join_all((0..50).map(|_| answer(as_stranger(&pair, address)))).await;
    let (passed, over): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((passed.len(), over.len()), (20, 30));
    is_over(over[0]);
    assert_eq!(pair.upstream.unscripted().len(), 20, "rotating names buys nothing");
    let proven = pair.gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller");
    answer(from(proven.header("x-gateway-key", &key), address)).await.is(200);
    answer(as_stranger(&pair, "10.1.3.2")).await.is(200);
}

async fn all_addresses_of_an_ipv6_network_are_one() {
    let pair = shared::pair(Options::new().var("UNPROVEN_PER_MINUTE", "3")).await;
    for address in ["2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:2:ffff:ffff:ffff:ffff"] {
        answer(as_stranger(&pair, address)).await.is(200);
    }
    is_over(&answer(as_stranger(&pair, "2001:db8:1:2::3")).await);
    answer(as_stranger(&pair, "2001:db8:1:3::1")).await.is(200);
    for address in ["203.0.113.9", "::ffff:203.0.113.9", "203.0.113.9"] {
        answer(as_stranger(&pair, address)).await.is(200);
    }
    is_over(&answer(as_stranger(&pair, "::ffff:203.0.113.9")).await);
}

async fn fifty_wrong_claims_kill_a_code() {
    let gateway = &shared::keyed().await.gateway;
    let ada = user("ada");
    let (first, second) = (issue(gateway, &ada).await, issue(gateway, &user("bob")).await);
    for number in 0..49 {
        let address = format!("10.1.4.{}", number / 5);
        claim(gateway, &ada, WRONG, &address).await.refuses(404, "invalid_code");
    }
    // What is no code was no guess, and what an address was refused for doesn't count either.
    claim(gateway, &ada, "not a code", "10.1.4.200").await.refuses(404, "invalid_code");
    is_over(&claim(gateway, &ada, WRONG, "10.1.4.0").await);
    claim(gateway, &ada, &second, "10.1.4.100").await.refuses(404, "invalid_code");
    claim(gateway, &ada, &first, "10.1.4.100").await.refuses(410, "code_expired");
    let renewed = issue(gateway, &ada).await;
    claim(gateway, &ada, &renewed, "10.1.4.0").await.is(201);
}

async fn junk_shields_no_code_from_being_worn_out() {
    let gateway = &shared::keyed().await.gateway;
    let ada = user("ada");
    let code = issue(gateway, &ada).await;
    for number in 0..10 {
        let address = format!("10.1.6.{number}");
        for _ in 0..5 {
            claim(gateway, &ada, "junk", &address).await.refuses(404, "invalid_code");
        }
        for _ in 0..5 {
            is_over(&claim(gateway, &ada, WRONG, &address).await);
        }
    }
    claim(gateway, &ada, &code, "10.1.6.100").await.refuses(410, "code_expired");
}

async fn where_the_header_is_believed_nobody_is_counted() {
    let options = Options::new().var("USER_BINDING", "open").var("UNPROVEN_PER_MINUTE", "1");
    let pair = shared::pair(options).await;
    for _ in 0..3 {
        let chunks = stream::iter([Ok::<_, std::io::Error>("{}")]);
        let request = pair.gateway.request(Method::POST, "/u/ada/v1/files").bearer_auth("sk-1");
        answer(request.body(reqwest::Body::wrap_stream(chunks))).await.is(200);
    }
}

/// The databases of the objects of networks.
fn databases(state: &Path) -> Vec<PathBuf> {
    let folder = state.join("do/organized-gateway-Guesses");
    let paths = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "sqlite"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "metadata"))
        .collect()
}

/// How many tables they have between them.
fn tables(state: &Path) -> i64 {
    let count = |path: PathBuf| -> i64 {
        let connection = rusqlite::Connection::open(path).unwrap();
        let query = "select count(*) from sqlite_master where name = 'documents'";
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    };
    databases(state).into_iter().map(count).sum()
}

async fn a_network_leaves_nothing_behind() {
    let pair = shared::pair(Options::new().var("UNPROVEN_PER_MINUTE", "3")).await;
    let gateway = &pair.gateway;
    for address in ["10.1.5.1", "10.1.5.2", "10.1.5.2"] {
        answer(as_stranger(&pair, address)).await.is(200);
    }
    assert_eq!(tables(gateway.state()), 2);
    // One comes again later, and is remembered for a minute from then on.
    tokio::time::sleep(Duration::from_secs(30)).await;
    answer(as_stranger(&pair, "10.1.5.2")).await.is(200);
    is_over(&answer(as_stranger(&pair, "10.1.5.2")).await);
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert_eq!(tables(gateway.state()), 1);
    let began = Instant::now();
    while tables(gateway.state()) > 0 {
        assert!(began.elapsed() < Duration::from_mins(1), "something is left");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // And who comes then is as new as anybody.
    for _ in 0..3 {
        answer(as_stranger(&pair, "10.1.5.2")).await.is(200);
    }
    is_over(&answer(as_stranger(&pair, "10.1.5.2")).await);
}

/// Sends requests, so many at once; the statuses of their answers.
async fn send_all(requests: Vec<RequestBuilder>, at_once: usize) -> BTreeMap<u16, usize> {
    let sent = requests.into_iter().map(|request| async move {
        let response = request.send().await.unwrap();
        response.status().as_u16()
    });
    let statuses: Vec<_> = stream::iter(sent).buffer_unordered(at_once).collect().await;
    let mut counts = BTreeMap::new();
    for status in statuses {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// Milliseconds that each of `count` requests of a user took, one after the other.
async fn latencies(gateway: &Gateway, key: &str, count: usize) -> Vec<f64> {
    let mut latencies = Vec::new();
    for _ in 0..count {
        let request = gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller");
        let began = Instant::now();
        answer(from(request.header("x-gateway-key", key), "10.2.9.9")).await.is(200);
        latencies.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    latencies
}

async fn ten_thousand_guesses_admit_nobody_and_refuse_nobody_who_is_right() {
    let options = Options::new().var("USER_BINDING", "key").var("REQUESTS_PER_MINUTE", "100000");
    let options = options.var("MAX_IN_FLIGHT", "1000");
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    let (key, code) = (gateway.mint_key("ada").await.key, issue(gateway, "ada").await);
    let bob = gateway.mint_key("bob").await.key;
    // Three addresses have 15 counted guesses a minute between them, so the code lives on.
    let address = |number: usize| format!("10.2.0.{}", number % 3);
    let guess = |number: usize, request: RequestBuilder| from(request, &address(number));
    let random = || fastrand::u64(..);
    let codes = (0..3_334).map(|number| {
        let code = format!("{:08X}", random() >> 32);
        guess(number, claiming(gateway, "ada", &code))
    });
    let keys = (0..3_333).map(|number| {
        let wrong = format!("ogk_ada_{:043}", random());
        let request = gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller");
        guess(number, request.header("x-gateway-key", wrong))
    });
    let tokens = (0..3_333).map(|number| {
        let request = gateway.request(Method::POST, "/operator/api/users/ada/block");
        guess(number, request.bearer_auth(format!("{:016x}", random())))
    });
    let usual = (0..400).map(|_| {
        let request = gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller");
        from(request.header("x-gateway-key", &key), "10.2.0.9")
    });
    let quiet = latencies(gateway, &bob, 100).await;
    let busy = async { tokio::join!(send_all(usual.collect(), 8), latencies(gateway, &bob, 40)) };
    let (_, busy) = busy.await;
    let began = Instant::now();
    let attack = async {
        let guesses = tokio::join!(
            send_all(codes.collect(), 4),
            send_all(keys.collect(), 64),
            send_all(tokens.collect(), 4),
        );
        (guesses, began.elapsed())
    };
    let ((guesses, lasted), attacked) = tokio::join!(attack, latencies(gateway, &bob, 100));
    println!("{guesses:?} in {lasted:?}");
    let (quiet, busy, attacked) = (median(&quiet), median(&busy), median(&attacked));
    println!(
        "another user's requests: {quiet:.1} ms alone, {busy:.1} beside eight, {attacked:.1} now"
    );
    // So many guesses weigh no more than eight people who work.
    assert!(attacked < busy * 1.5 + 20.0, "median {attacked} ms, beside eight people {busy} ms");
    // Nobody was let in.
    let (codes, keys, tokens) = guesses;
    let is_only = |counts: &BTreeMap<u16, usize>, allowed: &[u16]| {
        counts.keys().all(|status| allowed.contains(status))
    };
    assert!(is_only(&codes, &[404, 429]) && codes[&404] <= 15 * (1 + minutes(lasted)), "{codes:?}");
    assert!(is_only(&keys, &[401]), "{keys:?}");
    assert!(
        is_only(&tokens, &[401, 429]) && tokens[&401] <= 30 * (1 + minutes(lasted)),
        "{tokens:?}"
    );
    // Nobody was locked out, not even behind the same addresses.
    for number in 0..3 {
        let address = address(number);
        let request = gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller");
        answer(from(request.header("x-gateway-key", &key), &address)).await.is(200);
        let unblock = gateway.operator(Method::POST, "/operator/api/users/ada/unblock");
        answer(from(unblock, &address)).await.is(204);
    }
    claim(gateway, "ada", &code, &address(0)).await.is(201);
}

/// Whole minutes, rounded up.
fn minutes(time: Duration) -> usize {
    usize::try_from(time.as_secs().div_ceil(60)).unwrap()
}
