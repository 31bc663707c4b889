//! Figures that the gateway must reach, printed with each run.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use gateway_tests::load::answers_a_second;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::workerd::Workerd;
use gateway_tests::{Script, median, workspace};

use crate::runner::Test;
use crate::{budget, shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary: each_module_is_as_small_as_promised];
    tests.extend(tests![Alone:
        the_first_streamed_byte_is_there_within_5_ms,
        health_reaches_half_of_what_workerd_alone_does,
    ]);
    tests
}

async fn each_module_is_as_small_as_promised() {
    for (module, most) in budget::MODULES {
        let wasm = std::fs::read(workspace().join(module).join("index_bg.wasm")).unwrap();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&wasm).unwrap();
        let size = encoder.finish().unwrap().len();
        println!("the Wasm in {module}: {} KB, gzipped {} KB", wasm.len() / 1000, size / 1000);
        assert!(size <= most, "{module}: {size} bytes");
    }
}

async fn the_first_streamed_byte_is_there_within_5_ms() {
    // What else runs on the machine can only add to it, so one quiet round in five is enough.
    let mut rounds = Vec::new();
    for round in 0..5 {
        let (direct, through) = first_byte(round).await;
        println!("the first byte: {direct:.2} ms direct, {through:.2} ms through the gateway");
        if through <= 5.0 {
            return;
        }
        rounds.push(through);
    }
    panic!("{rounds:.2?} ms");
}

/// The first streamed byte's time in milliseconds: without the gateway, and through it.
async fn first_byte(round: usize) -> (f64, f64) {
    let pair = shared::open().await;
    let script = Script::new().wait(Duration::from_millis(20)).event_stream();
    let script = script.event(&chat_chunk("x")).wait(Duration::from_millis(20)).done();
    let client = gateway_tests::gateway::client();
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for number in 0..80 {
        let route = pair.upstream.route(script.clone());
        let near = number % 2 == 0;
        let request = if near {
            let url = format!("{}{}", pair.upstream.url(), route.chat());
            client.post(url).json(&chat_request("hi", true))
        } else {
            let user = format!("first-byte-{round}-{}", number / 30);
            pair.gateway.post(&user, &route.chat(), &chat_request("hi", true))
        };
        let mut response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.chunk().await.unwrap().expect("a first piece");
        let arrived = Instant::now();
        while response.chunk().await.unwrap().is_some() {}
        let sent = route.only().answered_at.unwrap();
        let late = arrived.saturating_duration_since(sent).as_secs_f64() * 1000.0;
        if near { &mut direct } else { &mut through }.push(late);
    }
    (median(&direct), median(&through))
}

async fn health_reaches_half_of_what_workerd_alone_does() {
    let gateway = &shared::open().await.gateway;
    let workerd = Workerd::start().await;
    for address in [gateway.address(), workerd.address()] {
        answers_a_second(address, "/health", 16, Duration::from_secs(1)).await;
    }
    let mut shares = Vec::new();
    for _ in 0..5 {
        let share = share_of_workerd(gateway.address(), workerd.address()).await;
        if share >= 0.5 {
            return;
        }
        shares.push(share);
    }
    panic!("{shares:.2?} of what workerd alone does");
}

/// The gateway's share of the answers that workerd alone gives: many short rounds, one of each in
/// turn, so that what else runs on the machine spoils only some.
async fn share_of_workerd(gateway: SocketAddr, workerd: SocketAddr) -> f64 {
    let time = Duration::from_millis(200);
    let mut shares = Vec::new();
    for _ in 0..40 {
        let ours = answers_a_second(gateway, "/health", 16, time).await;
        let alone = answers_a_second(workerd, "/health", 16, time).await;
        shares.push((ours / alone, ours, alone));
    }
    let (share, ours, alone) = median(&shares);
    println!("/health: {ours:.0} a second, {share:.2} of workerd alone with {alone:.0}");
    share
}
