//! The way from a user to the page at which a tier is bought, and back by way of Stripe.

use std::time::Duration;

use gateway_tests::ctl::{Ctl, Ended};
use gateway_tests::script::chat_request;
use gateway_tests::stripe::Event;
use gateway_tests::{Gateway, Options, Script, wait_for};
use reqwest::{Method, Url};
use serde_json::{Value, json};

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
        who_is_most_active_has_a_link_that_lasts,
        no_link_is_for_who_couldn_t_use_what_it_buys,
        a_list_for_a_mail_merge_is_a_file_that_attacks_nobody,
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
    assert_eq!((&mine["upgrade"], &mine["billing_portal"]), (&json!({}), &Value::Null));
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
    assert_eq!((&mine["tier"], &mine["upgrade"]), (&"tier1".into(), &json!({})));
    let opening = |gateway: &Gateway| answer(gateway.request(Method::GET, &path));
    for opened in [opening(gateway).await, asking(gateway, &key, "tier2").await] {
        assert_eq!(page(&opened).as_str(), "https://billing.example.com/p/login");
    }
    // It has no room for a second project.
    let chat = async |gateway: &Gateway, project: &str| {
        let request = gateway.post(&ada, "/v1/embeddings", &json!({}));
        let request = request.header("x-gateway-key", &key);
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

/// The list of who is most active, once D1 knows how each of these users proves to be who it is.
async fn active(gateway: &Gateway, query: &str, users: &[&str]) -> Value {
    let known = || {
        let query = "select count(*) from users where binding != 'open' and user_id = ?1";
        let is_known = |user: &&str| {
            let database = gateway.ledger().open();
            database.query_row(query, [user], |row| row.get::<_, i64>(0)).unwrap() == 1
        };
        users.iter().all(is_known).then_some(())
    };
    wait_for("the users in D1", Duration::from_secs(30), known).await;
    let list =
        answer(gateway.operator(Method::GET, &format!("/operator/api/active?{query}"))).await;
    list.is(200);
    assert_eq!(list.header("cache-control"), "no-store");
    list.json()
}

/// Writes rows of a user as its object would have: so many of this status, so many days ago.
fn write_rows(gateway: &Gateway, user: &str, (number, status, days): (u32, u16, u32)) {
    let rows = "with recursive n(i) as (select 1 union all select i + 1 from n where i < ?2)
        insert into requests (user_id, endpoint, status, latency_ms, tokens_est, created_at,
            request_id, project, month)
        select ?1, '/v1/chat/completions', ?3, 1, 3,
            strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ?4 || ' days'), ?1 || ?3 || ?4 || '-' || i,
            'default', iif(?3 = 200, '2026-11', null) from n";
    gateway.ledger().by_hand().execute(rows, (user, number, status, days)).unwrap();
}

fn named(list: &Value) -> Vec<&str> {
    let users = list["users"].as_array().unwrap();
    users.iter().map(|user| user["user_id"].as_str().unwrap()).collect()
}

/// The path of a link that a list has for somebody.
fn path_of(gateway: &Gateway, list: &Value, (user, tier): (&str, &str)) -> String {
    let users = list["users"].as_array().unwrap();
    let row = users.iter().find(|row| row["user_id"] == user).expect("the user's row");
    let link = row["upgrade"][tier].as_str().expect("a link");
    link.strip_prefix(&gateway.url("")).unwrap().to_owned()
}

async fn who_is_most_active_has_a_link_that_lasts() {
    const DAY: u64 = 86_400_000;
    let pair = shared::pair(shared::selling(Options::new()).fault_injection()).await;
    let gateway = &pair.gateway;
    let key = gateway.mint_key("ada").await.key;
    gateway.mint_key("grace").await;
    write_rows(gateway, "ada", (5, 200, 1));
    write_rows(gateway, "ada", (9, 200, 40));
    write_rows(gateway, "grace", (7, 200, 3));
    // A loop that runs into its limit isn't busy, and nobody writes to nobody.
    write_rows(gateway, "grace", (500, 429, 2));
    write_rows(gateway, "anonymous", (99, 200, 1));
    let list = active(gateway, "", &["ada", "grace"]).await;
    assert_eq!(named(&list), ["grace", "ada"]);
    let grace = &list["users"][0];
    assert_eq!((&grace["requests"], &grace["tokens"]), (&json!(7), &json!(21)));
    assert_eq!((&grace["name"], &grace["email"], &grace["tier"]), Default::default());
    let days = |query: &'static str| async move { active(gateway, query, &[]).await };
    assert_eq!(named(&days("from=2020-01-01").await), ["ada", "grace"]);
    assert_eq!(named(&days("from=2020-01-01&limit=1").await), ["ada"]);
    assert_eq!(named(&days("to=2020-01-01").await), Vec::<&str>::new());
    for wrong in ["limit=0", "limit=1001", "link_days=0", "link_days=61", "from=soon", "to=x"] {
        let refused = gateway.operator(Method::GET, &format!("/operator/api/active?{wrong}"));
        answer(refused).await.refuses(400, "invalid_query");
    }

    let path = path_of(gateway, &list, ("ada", "tier2"));
    // Before the clock is moved, which stays where it was moved to.
    let short = path_of(gateway, &days("link_days=2").await, ("ada", "tier1"));
    let opening = |path: &str, later: u64| {
        let request = gateway.request(Method::GET, path);
        answer(request.header("x-fault-clock-offset-ms", later.to_string()))
    };
    let opened = page(&opening(&path, 0).await);
    assert_eq!(opened.path(), "/two");
    assert_eq!(reference_in(&opened), reference(gateway, &key).await);
    page(&opening(&path, 30 * DAY - 60_000).await);
    opening(&path, 30 * DAY + 60_000).await.refuses(401, "missing_key");
    page(&opening(&short, 2 * DAY - 60_000).await);
    opening(&short, 2 * DAY + 60_000).await.refuses(401, "missing_key");
    // Neither another's, nor longer, nor anything else.
    let end = path.rfind('S').unwrap();
    let until = path[..end].rfind('S').unwrap() + 1;
    let longer = format!("{}9{}", &path[..until], &path[until + 1..]);
    for altered in [path.replace("adaS", "graceS"), longer, format!("{path}0")] {
        assert_ne!(altered, path);
        opening(&altered, 0).await.refuses(401, "missing_key");
    }
    // And it is no key. It isn't noted as a secret, either: it stands in the list above.
    let bearer = path.rsplit('=').next().unwrap();
    let me = gateway.request(Method::GET, "/me").bearer_auth(bearer).header("x-user-id", "ada");
    assert_eq!(me.send().await.unwrap().status(), 401);

    // Who pays meanwhile is led to the portal.
    let (customer, subscription) = names();
    let begun = Event::subscription(&subscription, "created", "active").of(&customer);
    send(gateway, &begun.for_user("ada").at(0)).await;
    assert_eq!(page(&opening(&path, 0).await).as_str(), "https://billing.example.com/p/login");
}

async fn no_link_is_for_who_couldn_t_use_what_it_buys() {
    let pair = shared::pair(shared::selling(Options::new())).await;
    let gateway = &pair.gateway;
    for user in ["ada", "blocked"] {
        gateway.mint_key(user).await;
        write_rows(gateway, user, (3, 200, 1));
    }
    write_rows(gateway, "keyless", (5, 200, 1));
    let before = active(gateway, "", &["ada", "blocked"]).await;
    assert_eq!(named(&before), ["keyless", "ada", "blocked"]);
    assert_eq!(before["users"][0]["upgrade"], json!({}));
    let path = path_of(gateway, &before, ("ada", "tier1"));
    page(&answer(gateway.request(Method::GET, &path)).await);
    // Nobody asks to buy whom the operator has shut out.
    let block = gateway.operator(Method::POST, "/operator/api/users/blocked/block");
    answer(block.json(&json!({}))).await.is(204);
    let shown = || {
        let query = "select blocked from users where user_id = 'blocked'";
        let blocked: i64 = gateway.ledger().open().query_row(query, [], |row| row.get(0)).unwrap();
        (blocked == 1).then_some(())
    };
    wait_for("the block in D1", Duration::from_secs(30), shown).await;
    assert_eq!(named(&active(gateway, "", &[]).await), ["keyless", "ada"]);
    // Who was forgotten is on no list, and the mail that was sent sells nothing any more.
    answer(gateway.operator(Method::DELETE, "/operator/api/users/ada")).await.is(200);
    answer(gateway.request(Method::GET, &path)).await.refuses(401, "missing_key");
    assert_eq!(named(&active(gateway, "", &[]).await), ["keyless"]);
}

async fn a_list_for_a_mail_merge_is_a_file_that_attacks_nobody() {
    let pair = shared::pair(shared::selling(Options::new())).await;
    let gateway = &pair.gateway;
    let people = "name,email\n\"=HYPERLINK(\"\"https://evil.example\"\",\"\"Win\"\") Eve\",eve@example.com\n\
        \"Lovelace, Ada\",ada@example.com\n@Sum,-1@example.com\n";
    let roster = gateway.operator(Method::POST, "/operator/api/roster").body(people);
    let seated = answer(roster.header("content-type", "text/csv")).await;
    seated.is(200);
    let ids: Vec<String> = seated
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|seat| seat["user_id"].as_str().unwrap().to_owned())
        .collect();
    for (place, user) in ids.iter().enumerate() {
        write_rows(gateway, user, (9 - u32::try_from(place).unwrap(), 200, 1));
    }
    gateway.mint_key("zoe").await;
    write_rows(gateway, "zoe", (1, 200, 1));
    let users: Vec<_> = ids.iter().map(String::as_str).chain(["zoe"]).collect();
    active(gateway, "", &users).await;

    let folder = tempfile::tempdir().unwrap();
    let export = async |words: &str| -> Ended {
        let words: Vec<_> = "export --active".split(' ').chain(words.split(' ')).collect();
        Ctl::new(&words).at(gateway).within(folder.path()).run().await
    };
    let written = export("--days 7 --tier tier3 -o active.csv").await.is(0);
    written.says("active.csv: 4 people.");
    written.says("The links are good until ");
    written.says("1 have no email here");
    let file = folder.path().join("active.csv");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let mut reader = csv::Reader::from_path(&file).unwrap();
    let head = "name,first_name,email,user_id,tier,requests,tokens,last_seen,upgrade_url";
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), head);
    let rows: Vec<Vec<String>> =
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
    for cell in rows.iter().flatten() {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']), "{cell:?}");
    }
    assert!(rows[0][0].starts_with("'=HYPERLINK("), "{rows:?}");
    let ada = ["Lovelace, Ada", "Ada", "ada@example.com"];
    assert_eq!(rows[1][..3], ada);
    assert_eq!((&*rows[2][0], &*rows[2][2]), ("'@Sum", "'-1@example.com"));
    assert_eq!((&*rows[3][0], &*rows[3][3]), ("", "zoe"));
    let link = rows[1][8].strip_prefix(&gateway.url("")).unwrap().to_owned();
    assert_eq!(page(&answer(gateway.request(Method::GET, &link)).await).path(), "/three");

    let lines = export("--top 2 --format jsonl").await.is(0);
    let lines: Vec<Value> =
        lines.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["first_name"], &lines[1]["requests"]), (&json!("Ada"), &json!(8)));
    assert!(lines[1]["upgrade_url"].as_str().unwrap().contains("?tier=tier1&"));
    let whole = export("--top 1 --json").await.is(0).json();
    assert_eq!(whole["users"][0]["upgrade"].as_object().unwrap().len(), 3);
    export("--days 7 --from 2026-11-21").await.is(2).says("--from");
    export("--to soon").await.is(2).says("`to` is a date");
}
