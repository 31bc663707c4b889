//! The way from a user to the page at which a tier is bought, and back by way of Stripe.

use gateway_tests::script::chat_request;
use gateway_tests::stripe::Event;
use gateway_tests::{Gateway, Options, Script};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::shared::user;
use crate::stripe::{me, names, send};
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_proven_caller_is_sent_to_the_page,
        a_link_does_without_a_key_for_fifteen_minutes,
        what_is_not_sold_is_told,
        me_gives_the_portal_and_nothing_where_nothing_is_sold,
        who_pays_goes_on_with_the_same_bearer,
        who_has_a_subscription_changes_it_in_the_portal,
    ]
}

async fn asking(gateway: &Gateway, key: &str, tier: &str) -> Answer {
    let path = format!("/upgrade?tier={tier}");
    answer(gateway.request(Method::GET, &path).bearer_auth(key)).await
}

/// Where an answer sends the browser.
fn page(answer: &Answer) -> Url {
    answer.is(303);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    Url::parse(answer.header("location")).unwrap()
}

fn reference_in(page: &Url) -> String {
    page.query_pairs().find(|(name, _)| name == "client_reference_id").unwrap().1.into_owned()
}

/// The reference that a user's checkout would have.
pub async fn reference(gateway: &Gateway, key: &str) -> String {
    reference_in(&page(&asking(gateway, key, "tier1").await))
}

async fn a_proven_caller_is_sent_to_the_page() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada.l");
    let key = gateway.mint_key(&ada).await.key;
    let page = page(&asking(gateway, &key, "tier2").await);
    assert!(page.as_str().starts_with("https://buy.example.com/two?prefilled_promo_code=WELCOME&"));
    let reference = reference_in(&page);
    assert!(reference.len() <= 200 && !reference.contains('.'), "{reference}");
    let one = asking(gateway, &key, "tier1").await;
    assert!(one.header("location").starts_with("https://buy.example.com/one?client_reference_id="));
    answer(gateway.request(Method::GET, "/upgrade?tier=tier1")).await.refuses(401, "missing_key");
    let stranger = gateway.request(Method::GET, "/upgrade?tier=tier1").header("x-user-id", &ada);
    answer(stranger.bearer_auth("sk-stranger")).await.refuses(401, "missing_key");
}

async fn a_link_does_without_a_key_for_fifteen_minutes() {
    let options = shared::selling(Options::new()).fault_injection();
    let gateway = &shared::pair(options).await.gateway;
    let ada = user("ada");
    let key = gateway.mint_key(&ada).await.key;
    let me = me(gateway, &key).await;
    assert_eq!(me.header("cache-control"), "no-store");
    let links = me.json()["upgrade"].clone();
    assert_eq!(links.as_object().unwrap().len(), 3);
    let link = links["tier3"].as_str().unwrap().to_owned();
    let path = link.strip_prefix(&gateway.url("")).unwrap();
    assert!(path.starts_with("/upgrade?tier=tier3&link="), "{path}");
    let opening = |path: &str| gateway.request(Method::GET, path);
    let opened = page(&answer(opening(path)).await);
    assert_eq!(opened.path(), "/three");
    assert_eq!(reference_in(&opened), reference(gateway, &key).await);
    let forged = path.replace(&ada, &user("eve"));
    answer(opening(&forged)).await.refuses(401, "missing_key");
    let refused = answer(opening("/upgrade?tier=tier1&link=nonsense")).await;
    refused.refuses(401, "missing_key");
    assert!(refused.text().contains("15 minutes"), "{}", refused.text());
    // A reference is no link.
    let reference = reference_in(&opened);
    let reference = format!("/upgrade?tier=tier1&link={reference}");
    answer(opening(&reference)).await.refuses(401, "missing_key");
    let later = |offset: u64| opening(path).header("x-fault-clock-offset-ms", offset.to_string());
    answer(later(14 * 60_000)).await.is(303);
    answer(later(15 * 60_000 + 1_000)).await.refuses(401, "missing_key");
}

async fn what_is_not_sold_is_told() {
    let gateway = &shared::sold().await.gateway;
    let key = gateway.mint_key(&user("ada")).await.key;
    for tier in ["tier4", "", "TIER1"] {
        let refused = asking(gateway, &key, tier).await;
        refused.refuses(404, "not_found");
        assert!(refused.text().contains("tier1, tier2, tier3"), "{}", refused.text());
    }
    let nowhere = shared::keyed().await;
    let key = nowhere.gateway.mint_key(&user("ada")).await.key;
    asking(&nowhere.gateway, &key, "tier1").await.refuses(503, "not_configured");
}

async fn me_gives_the_portal_and_nothing_where_nothing_is_sold() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let key = gateway.mint_key(&ada).await.key;
    let mine = me(gateway, &key).await.json();
    assert_eq!(mine["billing_portal"], "https://billing.example.com/p/login");
    let path = format!("/operator/api/users/{ada}");
    let seen = answer(gateway.operator(Method::GET, &path)).await.json();
    assert_eq!(seen.get("upgrade"), None, "a link is for its user");
    let nowhere = &shared::keyed().await.gateway;
    let key = nowhere.mint_key(&user("ada")).await.key;
    let mine = me(nowhere, &key).await.json();
    assert_eq!((&mine["upgrade"], &mine["billing_portal"]), (&serde_json::json!({}), &Value::Null));
}

async fn who_pays_goes_on_with_the_same_bearer() {
    let mut pair = shared::pair(shared::selling(Options::new())).await;
    let route = pair.upstream.route(Script::chat("hi", 3));
    let ada = user("ada");
    let chat = |gateway: &Gateway| {
        let request = gateway.request(Method::POST, &route.chat()).bearer_auth("sk-of-ada");
        answer(request.header("x-user-id", &ada).json(&chat_request("hi", false)))
    };
    // At the workshop.
    chat(&pair.gateway).await.is(200);
    let options = shared::selling(Options::new()).upstream(pair.upstream.url());
    pair.gateway.restart_with(options.var("REQUIRE_TIER", "true")).await;
    let gateway = &pair.gateway;
    // After it.
    let refused = chat(gateway).await;
    refused.refuses(402, "payment_required");
    let offered = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    let offered = offered.split(' ').find(|word| word.starts_with(&gateway.url("/upgrade")));
    let offered = Url::parse(offered.expect("a link to pay at")).unwrap();
    let opened = format!("{}?{}", offered.path(), offered.query().unwrap());
    let opened = answer(gateway.request(Method::GET, &opened)).await;
    let stranger = gateway.request(Method::POST, &route.chat()).bearer_auth("sk-of-a-stranger");
    let stranger = stranger.header("x-user-id", user("new")).json(&chat_request("hi", false));
    let stranger = answer(stranger).await;
    stranger.refuses(402, "payment_required");
    assert!(!stranger.text().contains("/upgrade"), "nobody pays for what they can't use");
    let asking = |path: &str| {
        let request = gateway.request(Method::GET, path).bearer_auth("sk-of-ada");
        answer(request.header("x-user-id", &ada))
    };
    let mine = asking("/me").await;
    mine.is(200);
    assert!(mine.json()["upgrade"]["tier1"].is_string());
    let (customer, subscription) = names();
    let checkout = Event::checkout(&subscription).of(&customer);
    send(gateway, &checkout.referring(&reference_in(&page(&opened)))).await;
    let begun = Event::subscription(&subscription, "created", "active").of(&customer).at(1);
    send(gateway, &begun).await;
    chat(gateway).await.is(200);
    assert_eq!(asking("/me").await.json()["tier"], "tier1");
    let ended = Event::subscription(&subscription, "deleted", "canceled").of(&customer).at(9);
    send(gateway, &ended).await;
    chat(gateway).await.refuses(402, "payment_required");
}

async fn who_has_a_subscription_changes_it_in_the_portal() {
    let mut pair = shared::pair(shared::selling(Options::new())).await;
    let gateway = &pair.gateway;
    let ada = user("ada");
    let key = gateway.mint_key(&ada).await.key;
    let link = me(gateway, &key).await.json()["upgrade"]["tier2"].as_str().unwrap().to_owned();
    let path = link.strip_prefix(&gateway.url("")).unwrap().to_owned();
    let (customer, subscription) = names();
    let says = |kind: &str, status: &str, second: i64| {
        Event::subscription(&subscription, kind, status).of(&customer).for_user(&ada).at(second)
    };
    send(gateway, &says("created", "active", 0)).await;
    let mine = me(gateway, &key).await.json();
    assert_eq!((&mine["tier"], &mine["upgrade"]), (&"tier1".into(), &serde_json::json!({})));
    let opening = |gateway: &Gateway| answer(gateway.request(Method::GET, &path));
    for opened in [opening(gateway).await, asking(gateway, &key, "tier2").await] {
        assert_eq!(page(&opened).as_str(), "https://billing.example.com/p/login");
    }
    // It has no room for a second project.
    let chat = async |gateway: &Gateway, project: &str| {
        let request = gateway.get(&ada, "/v1/models").header("x-gateway-key", &key);
        answer(request.header("x-project-id", project)).await
    };
    chat(gateway, "one").await.is(200);
    let refused = chat(gateway, "two").await;
    refused.refuses(402, "project_limit_exceeded");
    assert!(refused.text().contains("https://billing.example.com/p/login"), "{}", refused.text());
    // Nor is there a second subscription without a portal.
    let options = shared::selling(Options::new()).var("STRIPE_PORTAL_URL", "");
    pair.gateway.restart_with(options.upstream(pair.upstream.url())).await;
    let gateway = &pair.gateway;
    let refused = chat(gateway, "two").await;
    assert!(refused.text().contains("Ask the operator to change"), "{}", refused.text());
    asking(gateway, &key, "tier2").await.refuses(404, "not_found");
    // Once it is over one can be bought.
    send(gateway, &says("deleted", "canceled", 9)).await;
    assert_eq!(page(&asking(gateway, &key, "tier2").await).path(), "/two");
}
