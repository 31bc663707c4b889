//! After the event: the same kit with an OpenClaw on one's own computer.

use gateway_tests::openclaw::TOKEN;

use super::Kit;
use crate::runner::Test;
use crate::{openclaw, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary: the_same_kit_reaches_an_openclaw_of_ones_own]
}

/// Two lines of `.env` change: the address, and the key, which is OpenClaw's own token then.
async fn the_same_kit_reaches_an_openclaw_of_ones_own() {
    let (house, _guard) = openclaw::house().await;
    let url = house.openclaw.url();
    let env =
        |key: &str| format!("OPENCLAW_URL={url}/v1\nUSER_ID=ada\nOPENCLAW_GATEWAY_KEY={key}\n");
    let kit = Kit::with(env(TOKEN));
    let ended = kit.setup().await;
    ended.is_ready();
    ended.tells_none_of(&[TOKEN]);
    kit.doctor().await.is_ready();
    let told = kit.run("agent", &["hello from the kit"]).await;
    assert_eq!((told.code, told.complained.as_str()), (Some(0), ""), "{told:?}");
    assert!(told.said.trim().len() > 3, "{told:?}");

    let wrong = Kit::with(env("not-the-token-of-this-openclaw")).setup().await;
    wrong.fails(6, "Your key isn't right for http://127.0.0.1:");
}
