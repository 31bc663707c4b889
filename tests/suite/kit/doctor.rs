//! What can be in the way, each told apart by a code and a sentence.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use gateway_tests::{Options, Script, Seen, Upstream, wait_for};
use reqwest::Method;
use serde_json::json;

use super::{Ended, Kit, hosted, hosting, stranger};
use crate::answer::answer;
use crate::onboarding::{issue, mend};
use crate::runner::Test;
use crate::shared::{self, user};
use crate::tests;
use crate::tiers::give;

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        without_a_network_there_is_none,
        a_venues_sign_in_page_is_known,
        a_wrong_address_is_known,
        a_key_or_code_that_isnt_good_is_known,
        who_is_blocked_hears_it,
        who_has_to_pay_hears_where,
        an_upstream_that_is_down_is_not_the_trainees_fault,
        a_clock_that_is_off_is_known,
        the_doctor_changes_nothing,
        who_is_told_to_wait_waits,
    ];
    tests.extend(tests![Patient: nothing_hangs_for_longer_than_half_a_minute]);
    tests
}

/// A machine with its cable pulled out.
pub const NO_NETWORK: [&str; 4] = ["unshare", "--map-root-user", "--net", "--"];

/// What a computer finds that is on the internet.
async fn internet() -> Upstream {
    let page = Upstream::start().await;
    page.place("/success.txt", Script::answer(200, &[("content-type", "text/plain")], "success\n"));
    page
}

fn probing(page: &Upstream) -> String {
    format!("{}/success.txt", page.url())
}

/// Somebody with a key, at this address.
fn somebody(url: &str) -> Kit {
    Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID=ada\nOPENAI_API_KEY=sk-somebody\n"))
}

/// What `setup.sh` and its doctor say, which is the same.
async fn both(kit: &Kit, code: i32, words: &str) {
    kit.setup().await.fails(code, words);
    kit.doctor().await.fails(code, words);
}

async fn without_a_network_there_is_none() {
    for url in ["https://gateway.example.com", "https://192.0.2.1", "http://gateway.example.com:81"]
    {
        let kit = somebody(url).inside(&NO_NETWORK);
        both(&kit, 3, "There is no internet connection. Join the Wi-Fi").await;
    }
}

async fn a_venues_sign_in_page_is_known() {
    let page = "<html><body>Welcome to Venue Wi-Fi. Accept?</body></html>";
    let html = [("content-type", "text/html")];
    let elsewhere = [("location", "http://portal.example.com/login")];
    for answer in [
        Script::answer(302, &elsewhere, ""),
        Script::answer(307, &elsewhere, page),
        Script::answer(200, &html, page),
        Script::answer(511, &html, page),
    ] {
        let portal = stranger(answer.clone()).await;
        portal.place("/success.txt", answer.clone());
        let kit = somebody(&portal.url()).set("KIT_PROBE_URL", probing(&portal));
        both(&kit, 4, "The Wi-Fi wants you to sign in first. Open http://neverssl.com").await;
        // Some let nothing through but their own page.
        let kit = kit.set("KIT_PROBE_URL", "http://127.0.0.1:9/success.txt");
        both(&kit, 4, "The Wi-Fi wants you to sign in first.").await;
    }
    // The gateway's own name leads nowhere, and whatever else is asked leads to the page.
    let portal = Upstream::start().await;
    portal.place("/success.txt", Script::answer(302, &elsewhere, ""));
    let kit = somebody(UNKNOWN).set("KIT_PROBE_URL", probing(&portal));
    both(&kit, 4, "The Wi-Fi wants you to sign in first.").await;
}

/// A name that no resolver is asked for: its first part is too long.
const UNKNOWN: &str =
    "https://gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg.example.com";

async fn a_wrong_address_is_known() {
    let internet = internet().await;
    let html = [("content-type", "text/html")];
    let nobody = somebody("http://127.0.0.1:9").set("KIT_PROBE_URL", probing(&internet));
    both(&nobody, 5, "Nothing answers at http://127.0.0.1:9.").await;
    for health in [
        Script::answer(404, &html, "<h1>Not here</h1>"),
        Script::json(404, &json!({ "error": { "message": "nope" } })),
        Script::answer(200, &html, "<h1>A bakery</h1>"),
        Script::json(200, &json!({ "shop": "open" })),
        Script::answer(301, &[("location", "https://www.example.com/health")], ""),
        Script::answer(200, &[], ""),
    ] {
        let shop = stranger(health).await;
        let kit = somebody(&shop.url()).set("KIT_PROBE_URL", probing(&internet));
        both(&kit, 5, "but no gateway. Compare OPENCLAW_URL").await;
    }
    let kit = somebody(UNKNOWN).set("KIT_PROBE_URL", probing(&internet));
    both(&kit, 5, "There is no computer called gggg").await;
    // It speaks no TLS.
    let url = internet.url().replace("http://", "https://");
    let kit = somebody(&url).set("KIT_PROBE_URL", probing(&internet));
    both(&kit, 5, "Nothing answers at https://127.0.0.1:").await;
    // A gateway, and no agent.
    let hollow = stranger(Script::json(200, &json!({ "status": "ok" }))).await;
    hollow.place("/v1/chat/completions", Script::answer(200, &html, "<h1>A bakery</h1>"));
    both(&somebody(&hollow.url()), 5, "answered, but not as an agent does").await;
}

async fn a_key_or_code_that_isnt_good_is_known() {
    let gateway = &hosted().await.gateway;
    let url = gateway.url("");
    let name = user("revoked");
    let key = gateway.mint_key(&name).await;
    let kit = Kit::with(format!("OPENCLAW_URL={url}\nOPENCLAW_GATEWAY_KEY={}\n", key.key));
    kit.setup().await.is_ready();
    let path = format!("/operator/api/users/{name}/keys/{}", key.key_id);
    answer(gateway.operator(Method::DELETE, &path)).await.is(204);
    both(&kit, 6, "This gateway key isn't valid for this user. Copy it again").await;

    // Codes: another's, a used one, one of the past.
    let (ada, eve) = (user("ada"), user("eve"));
    let code = issue(gateway, &ada).await;
    let kit =
        |name: &str| Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID={name}\nCLAIM_CODE={code}\n"));
    kit(&eve).setup().await.fails(6, "This code isn't right. Compare it letter by letter");
    kit(&ada).setup().await.is_ready();
    let ended = kit(&ada).setup().await;
    ended.fails(6, "This code has been used.");
    ended.tells_none_of(&[&code]);
    kit(&ada)
        .doctor()
        .await
        .fails(2, "There is a code in .env, and no key yet. Run `bash setup.sh` first.");

    // Somebody else's API key, where the first one owns the name.
    let first = &shared::first_key().await.gateway;
    let (name, url) = (user("bound"), first.url(""));
    let kit = |key: &str| {
        Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID={name}\nOPENAI_API_KEY={key}\n"))
    };
    kit("sk-the-first-one").setup().await.is_ready();
    both(&kit("sk-another-one"), 6, "This USER_ID already belongs to another API key.").await;
}

async fn who_is_blocked_hears_it() {
    let gateway = &hosted().await.gateway;
    let (name, url) = (user("blocked"), gateway.url(""));
    let key = gateway.mint_key(&name).await.key;
    let kit = Kit::with(format!("OPENCLAW_URL={url}\nOPENCLAW_GATEWAY_KEY={key}\n"));
    mend(gateway, &name, "block").await;
    both(&kit, 7, "This USER_ID is blocked. Ask the operator why.").await;
    mend(gateway, &name, "unblock").await;
    kit.setup().await.is_ready();
}

async fn who_has_to_pay_hears_where() {
    let options = hosting(shared::selling(Options::new())).var("REQUIRE_TIER", "true");
    let pair = shared::pair(options).await;
    let url = pair.gateway.url("");
    let key = pair.gateway.mint_key("payer").await.key;
    let env = format!("OPENCLAW_URL={url}\nOPENCLAW_GATEWAY_KEY={key}\n");
    let kit = Kit::with(&env);
    let link = format!("A plan is needed to use this. Choose a plan at {url}/upgrade");
    both(&kit, 7, &link.replace("//upgrade", "/upgrade")).await;
    give(&pair.gateway, "payer", "tier1").await;
    kit.setup().await.is_ready();
    // The plan's one project is taken.
    let another = Kit::with(format!("{env}PROJECT_ID=another\n"));
    both(&another, 7, "Your plan has no room for another project. In use: default.").await;
}

async fn an_upstream_that_is_down_is_not_the_trainees_fault() {
    let options = hosting(Options::new().upstream("http://127.0.0.1:9"));
    let gateway = gateway_tests::Gateway::start(options).await;
    let key = gateway.mint_key("ada").await.key;
    let url = gateway.url("");
    let kit = Kit::with(format!("OPENCLAW_URL={url}\nOPENCLAW_GATEWAY_KEY={key}\n"));
    both(&kit, 8, "The agent can't be reached right now. Try again in a minute").await;
    drop(gateway);
    both(&kit, 5, "Nothing answers at http://127.0.0.1:").await;
    // The gateway itself, seen through whatever stands before it.
    let html = [("content-type", "text/html")];
    let broken = stranger(Script::answer(522, &html, "<h1>Connection timed out</h1>")).await;
    both(&somebody(&broken.url()), 8, "The gateway has trouble of its own (it answered 522).")
        .await;
}

/// An HTTP date so many seconds from now.
async fn date(offset: i64) -> String {
    let when = format!("{offset:+} seconds");
    let mut date = tokio::process::Command::new("date");
    date.env("LC_ALL", "C").args(["-u", "--date", &when, "+%a, %d %b %Y %H:%M:%S GMT"]);
    String::from_utf8(date.output().await.unwrap().stdout).unwrap().trim().to_owned()
}

async fn a_clock_that_is_off_is_known() {
    const DAY: i64 = 24 * 60 * 60;
    for (offset, words) in [
        (3 * DAY, "clock is 3 days slow."),
        (-3 * DAY, "clock is 3 days fast."),
        (-3 * 3_600, "clock is 3 hours fast."),
        (620, "clock is 10 minutes slow."),
        (400 * DAY, "clock is 400 days slow."),
    ] {
        let now = date(offset).await;
        let body = json!({ "status": "ok" }).to_string();
        let head = [("content-type", "application/json"), ("date", now.as_str())];
        let fine = stranger(Script::answer(200, &head, &body)).await;
        let ended = somebody(&fine.url()).doctor().await;
        ended.fails(9, words);
        assert!(ended.complained.contains("Set date and time to \"automatic\""), "{ended:?}");
        // Nobody is kept from working by it while all goes well.
        somebody(&fine.url()).setup().await.is_ready();
    }
    // The other way round: the same network, and the computer's own clock is moved.
    let now = date(0).await;
    let body = json!({ "status": "ok" }).to_string();
    let head = [("content-type", "application/json"), ("date", now.as_str())];
    let fine = stranger(Script::answer(200, &head, &body)).await;
    let kit = somebody(&fine.url());
    kit.doctor().await.is_ready();
    let shim = kit.folder.join("shim");
    std::fs::create_dir(&shim).unwrap();
    std::fs::write(shim.join("date"), "#!/bin/sh\necho 1000000000\n").unwrap();
    std::fs::set_permissions(shim.join("date"), PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", shim.display(), std::env::var("PATH").unwrap());
    kit.set("PATH", path).doctor().await.fails(9, "days slow. Set date and time");
}

async fn the_doctor_changes_nothing() {
    let gateway = &hosted().await.gateway;
    let (name, url) = (user("patient"), gateway.url("/v1"));
    let key = gateway.mint_key(&name).await.key;
    let env = format!("OPENCLAW_URL=\"{url}\"\r\nUSER_ID={name}\r\nOPENCLAW_GATEWAY_KEY={key}\r\n");
    let kit = Kit::with(&env);
    let Ended { code, said, .. } = kit.doctor().await;
    assert_eq!((code, kit.env()), (Some(0), env));
    assert!(said.ends_with("\nAgent ready.\n"), "{said}");
}

/// A whole room begins at once, and the gateway says when it is one's turn.
async fn who_is_told_to_wait_waits() {
    let busy = stranger(Script::json(200, &json!({ "status": "ok" }))).await;
    let error = |code: &str, message: &str| {
        let error = json!({ "error": { "message": message, "code": code } }).to_string();
        let head = [("content-type", "application/json"), ("retry-after", "1")];
        Script::answer(503, &head, error)
    };
    let message = "The agent is busy with others.";
    busy.place("/v1/chat/completions", error("upstream_busy", message));
    let kit = somebody(&busy.url());
    let running = tokio::spawn(async move { kit.setup().await });
    let is_question = |seen: &Seen| seen.target == "/v1/chat/completions";
    let asked = || busy.unscripted().iter().any(is_question).then_some(());
    wait_for("a question", Duration::from_secs(30), asked).await;
    busy.place("/v1/chat/completions", Script::chat("ready", 3));
    let ended = running.await.unwrap();
    ended.is_ready();
    assert!(
        ended.said.contains("The agent is busy with others. Trying again in 1 s."),
        "{ended:?}"
    );
    // What waiting doesn't help isn't waited for.
    busy.place("/v1/chat/completions", error("not_configured", "The gateway isn't set up."));
    somebody(&busy.url()).setup().await.fails(8, "The gateway isn't set up.");
}

async fn nothing_hangs_for_longer_than_half_a_minute() {
    let silent = stranger(Script::new().hang()).await;
    let kit = somebody(&silent.url()).set("KIT_PROBE_URL", probing(&silent));
    silent.place("/success.txt", Script::new().hang());
    let ended = kit.setup().await;
    ended.fails(5, "Nothing answers at");
    assert!(ended.took.as_secs() < 30, "{ended:?}");

    silent.place("/health", Script::json(200, &json!({ "status": "ok" })));
    silent.place("/v1/chat/completions", Script::new().event_stream().hang());
    let ended = kit.setup().await;
    ended.fails(8, "the agent took too long to answer. Run this again in a minute");
    assert!(ended.took.as_secs() < 30, "{ended:?}");
}
