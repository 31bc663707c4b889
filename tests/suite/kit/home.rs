//! After the event: the same kit with an OpenClaw on one's own computer.

use gateway_tests::openclaw::{OpenClaw, TOKEN};
use gateway_tests::openclaw_provider::Provider;

use super::Kit;
use crate::runner::Test;
use crate::tests;

pub fn tests() -> Vec<Test> {
    // On one's own computer nobody else makes it wait: the kit gives an agent 25 s.
    tests![Alone: the_same_kit_reaches_an_openclaw_of_ones_own]
}

/// Two lines of `.env` change: the address, and the key, which is OpenClaw's own token then.
async fn the_same_kit_reaches_an_openclaw_of_ones_own() {
    // Not the one that all tests share: there nobody speaks but through a gateway.
    let provider = Provider::start().await;
    let openclaw = OpenClaw::start(&provider.url()).await;
    let url = openclaw.url();
    let env =
        |key: &str| format!("OPENCLAW_URL={url}/v1\nUSER_ID=ada\nOPENCLAW_GATEWAY_KEY={key}\n");
    let kit = Kit::with(env(TOKEN));
    let mut ended = kit.setup().await;
    for _ in 0..3 {
        // One that has just been started, on a busy machine: "Run this again in a minute".
        if ended.code == Some(8) {
            ended = kit.setup().await;
        }
    }
    ended.is_ready();
    ended.tells_none_of(&[TOKEN]);
    kit.doctor().await.is_ready();
    let told = kit.run("agent", &["hello from the kit"]).await;
    assert_eq!((told.code, told.complained.as_str()), (Some(0), ""), "{told:?}");
    assert!(told.said.trim().len() > 3, "{told:?}");

    let wrong = Kit::with(env("not-the-token-of-this-openclaw")).setup().await;
    wrong.fails(6, "Your key isn't right for http://127.0.0.1:");
    openclaw.stop();
}
