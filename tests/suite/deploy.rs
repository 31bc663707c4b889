//! `cargo xtask deploy`, with the real wrangler, against Cloudflare's API on loopback.
//!
//! What is deployed there is tried at a gateway that is served here, from the same build.

use std::path::Path;

use gateway_tests::cloudflare::{Refusal, Worker};
use gateway_tests::ctl::Ended;
use gateway_tests::redaction::RUN;
use gateway_tests::{Cloudflare, Fork, Gateway, Options, workspace};
use reqwest::Method;
use rusqlite::Connection;
use serde_json::Value;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        from_nothing_to_a_gateway_that_answers_and_once_more,
        an_interrupted_run_goes_on,
        what_cloudflare_refuses_is_said_with_what_to_do,
        what_is_unsafe_is_refused_before_anything_is_created,
        what_does_not_work_is_deployed_and_said,
        a_dry_run_takes_no_account,
        a_fork_is_deployed_in_a_dry_run,
        secrets_are_asked_for_and_not_shown,
    ]
}

const NAME: &str = "organized-gateway";
const UPSTREAM: &str = "OPENCLAW_URL=https://claw.example.com\n";
const BUCKET: &str = "organized-gateway-kits";

/// Deploys what is built, and tries it at a gateway.
async fn deploy(
    fork: &Fork,
    cloudflare: &Cloudflare,
    (gateway, more): (&Gateway, &[&str]),
) -> Ended {
    let url = gateway.url("");
    let words = ["deploy", "--no-build", "--wait", "20", "--url", &url];
    fork.xtask(&[&words, more].concat()).with_account(cloudflare).run().await
}

async fn bootstrap(fork: &Fork, cloudflare: &Cloudflare) -> Ended {
    fork.xtask(&["bootstrap"]).with_account(cloudflare).run().await
}

fn refuse(cloudflare: &Cloudflare, call: &'static str, after: usize, (status, code): (u16, u32)) {
    let message = "refused by the tests";
    cloudflare.account().refusals = vec![Refusal { call, after, status, code, message }];
}

/// The Wasm modules of a Worker, the smaller one first.
fn wasm(worker: &Worker) -> Vec<&[u8]> {
    let parts = worker.modules.values().filter(|part| part.kind == "application/wasm");
    let mut modules: Vec<_> = parts.map(|part| part.content.as_slice()).collect();
    modules.sort_by_key(|module| module.len());
    modules
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

async fn from_nothing_to_a_gateway_that_answers_and_once_more() {
    let (cloudflare, fork) = (Cloudflare::start().await, Fork::new());
    let pair = shared::pair(Options::new()).await;
    let gateway = &pair.gateway;
    let token = gateway.operator_token();
    let secrets = fork.secrets(&format!("# Ours\n{UPSTREAM}OPERATOR_TOKEN='{token}'\n"));
    cloudflare.account().next_file = Some(gateway.runtime().d1_path);
    let before = fork.read("wrangler.toml");

    let options = ["--secrets", &secrets];
    let first = deploy(&fork, &cloudflare, (gateway, &options)).await.is(0);
    for said in [
        "organized-gateway            will be created",
        "organized-gateway-kits       will be created",
        "IP_HASH_PEPPER               is made",
        "✓ the gateway answers",
        "✓ D1 and the upstream are there",
        "✓ a request of smoke-test got through: 200",
        "✓ its row is in D1",
        "gatewayctl roster import",
    ] {
        first.says(said);
    }
    assert!(!first.out.contains(token) && !first.err.contains(token));
    let (id, pepper) = {
        let account = cloudflare.account();
        let (id, _) = account.databases.first_key_value().unwrap();
        assert_eq!(account.buckets.iter().collect::<Vec<_>>(), [BUCKET]);
        let worker = &account.workers[NAME];
        assert_eq!(worker.secrets["OPENCLAW_URL"], "https://claw.example.com");
        assert_eq!(worker.secrets["OPERATOR_TOKEN"], token);
        let pepper = worker.secrets["IP_HASH_PEPPER"].clone();
        assert_eq!((worker.secrets.len(), pepper.len()), (3, 43));
        // What is live is the release build, both modules of it.
        let module = |folder: &str| std::fs::read(workspace().join(folder).join("index_bg.wasm"));
        let mut built = [module("build").unwrap(), module("build-office").unwrap()];
        built.sort_by_key(Vec::len);
        assert!(wasm(worker) == built, "the modules that were uploaded");
        assert_eq!(worker.bindings("d1")[0]["id"], **id);
        assert_eq!(worker.bindings("r2_bucket")[0]["bucket_name"], BUCKET);
        let objects = before.matches("[[durable_objects.bindings]]").count();
        assert_eq!(worker.bindings("durable_object_namespace").len(), objects);
        assert_eq!(worker.migration_tag, Some(format!("v{objects}")));
        assert!(worker.is_on_workers_dev && worker.domains.is_empty());
        assert_eq!(worker.crons.len(), 2);
        assert_eq!(account.assets.len(), files(&workspace().join("build-console")));
        (id.clone(), pepper)
    };
    // Of wrangler.toml only the id is another.
    let after = fork.read("wrangler.toml");
    assert_eq!(after, before.replace("00000000-0000-0000-0000-000000000000", &id));
    // The key of the test is good for nothing any more.
    let user = gateway.operator(Method::GET, "/operator/api/users/smoke-test");
    let user: Value = answer(user).await.json();
    assert_eq!(user["keys"].as_array().map(Vec::len), Some(0), "{user}");

    cloudflare.account().calls.clear();
    let second = deploy(&fork, &cloudflare, (gateway, &options)).await.is(0);
    second.says("organized-gateway            is there");
    second.says("OPERATOR_TOKEN               is there");
    second.says("✓ its row is in D1");
    let account = cloudflare.account();
    let created = account.changes().into_iter().filter(|call| {
        ["/d1/database", "/r2/buckets", "/workers/assets/upload"]
            .iter()
            .any(|it| call.ends_with(it))
    });
    assert_eq!(created.collect::<Vec<_>>(), [""; 0]);
    assert_eq!((account.databases.len(), account.buckets.len()), (1, 1));
    assert_eq!(account.workers[NAME].uploads, 2);
    assert_eq!(account.workers[NAME].secrets["IP_HASH_PEPPER"], pepper);
    assert_eq!(account.workers[NAME].secrets.len(), 3);
    assert_eq!(fork.read("wrangler.toml"), after);
}

/// The migrations that a database has.
fn migrated(cloudflare: &Cloudflare) -> Vec<String> {
    let account = cloudflare.account();
    let (_, path) = account.databases.first_key_value().unwrap().1;
    let database = Connection::open(path).unwrap();
    let mut names = database.prepare("select name from d1_migrations order by id").unwrap();
    names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

async fn an_interrupted_run_goes_on() {
    let (cloudflare, fork) = (Cloudflare::start().await, Fork::new());
    let migrations = files(&workspace().join("migrations"));
    // The database is there, and its id isn't noted yet.
    refuse(&cloudflare, "GET /d1/database", 1, (400, 7_400));
    bootstrap(&fork, &cloudflare).await.is(1).says("it goes on from there");
    assert_eq!(cloudflare.account().databases.len(), 1);
    assert!(fork.read("wrangler.toml").contains("00000000-0000"));
    // Its id is noted, and there is no bucket.
    refuse(&cloudflare, "POST /r2/buckets", 0, (400, 10_001));
    let ended = bootstrap(&fork, &cloudflare).await.is(1);
    ended.says("its id is noted");
    assert!(!fork.read("wrangler.toml").contains("00000000-0000"));
    // In the midst of the migrations: the table of them, what it has, and the first of them.
    refuse(&cloudflare, "POST /d1/database/", 3, (400, 7_500));
    bootstrap(&fork, &cloudflare).await.is(1).says("applying the migrations of D1 failed");
    assert_eq!(migrated(&cloudflare).len(), 1);
    // All of it.
    cloudflare.account().refusals.clear();
    bootstrap(&fork, &cloudflare).await.is(0).says("cargo xtask deploy");
    assert_eq!(migrated(&cloudflare).len(), migrations);
    {
        let account = cloudflare.account();
        assert_eq!((account.databases.len(), account.buckets.len()), (1, 1));
        assert!(account.workers.is_empty(), "nothing is deployed by it");
    }

    // The Worker and its secrets are live at once, or neither.
    let pair = shared::first_key().await;
    let secrets = fork.secrets(&format!("{UPSTREAM}OPERATOR_TOKEN=\n"));
    let options = ["--secrets", secrets.as_str()];
    refuse(&cloudflare, "PUT /workers/scripts/organized-gateway", 0, (400, 10_021));
    let ended = deploy(&fork, &cloudflare, (&pair.gateway, &options)).await.is(1);
    ended.says("uploading the Worker failed");
    assert!(cloudflare.account().workers.is_empty());
    cloudflare.account().refusals.clear();
    let ended = deploy(&fork, &cloudflare, (&pair.gateway, &options)).await;
    let token = cloudflare.account().workers[NAME].secrets["OPERATOR_TOKEN"].clone();
    RUN.note("an operator's token that was made", &token);
    assert!(ended.out.contains(&token), "shown once");
    // It is not the token of the gateway that stands for it.
    ended.is(1).says("no key could be minted for smoke-test: 401");
}

async fn what_cloudflare_refuses_is_said_with_what_to_do() {
    let (cloudflare, fork) = (Cloudflare::start().await, Fork::new());
    let nobody = fork.xtask(&["bootstrap"]).env("CLOUDFLARE_API_BASE_URL", cloudflare.url());
    nobody.run().await.is(1).says("Sign in with `npx wrangler login`");
    let stranger = fork.xtask(&["bootstrap"]).with_account(&cloudflare);
    let stranger = stranger.env("CLOUDFLARE_API_TOKEN", "not-the-account-s-token");
    stranger.run().await.is(1).says("may not do this in this account");
    for (call, answered, said) in [
        ("GET /d1/database", (403, 10_000), "may not do this in this account"),
        ("POST /d1/database", (500, 7_500), "goes on from there"),
        ("POST /d1/database", (400, 7_406), "as many D1 databases as its plan allows"),
        ("POST /r2/buckets", (403, 10_042), "Open R2 in Cloudflare's dashboard once"),
    ] {
        refuse(&cloudflare, call, 0, answered);
        let ended = bootstrap(&fork, &cloudflare).await.is(1);
        ended.says("what to do: ");
        ended.says(said);
    }
    cloudflare.account().refusals.clear();
    cloudflare.account().subdomain = None;
    let pair = shared::first_key().await;
    let secrets = fork.secrets(&format!("{UPSTREAM}OPERATOR_TOKEN=\n"));
    let ended = deploy(&fork, &cloudflare, (&pair.gateway, &["--secrets", &secrets])).await.is(1);
    ended.says("has no workers.dev name yet");
    // Somebody else's database is neither used nor replaced.
    let noted = fork.read("wrangler.toml");
    let id = noted.split("database_id = \"").nth(1).unwrap().get(..36).unwrap().to_owned();
    fork.edit("wrangler.toml", &id, "11111111-2222-3333-4444-555555555555");
    bootstrap(&fork, &cloudflare).await.is(1).says("which this account doesn't have");
    assert_eq!(cloudflare.account().databases.len(), 1);
}

async fn what_is_unsafe_is_refused_before_anything_is_created() {
    let (cloudflare, fork) = (Cloudflare::start().await, Fork::new());
    let good = format!("{UPSTREAM}OPERATOR_TOKEN=\n");
    let options = ["deploy", "--no-build", "--secrets"];
    let whole = async |text: &str, dry: bool| {
        let secrets = fork.secrets(text);
        let more: &[&str] = if dry { &[&secrets, "--dry-run"] } else { &[&secrets] };
        let ended = fork.xtask(&[&options, more].concat()).with_account(&cloudflare).run().await;
        assert_eq!(cloudflare.account().changes(), [""; 0]);
        ended.is(1)
    };
    // With an account, and nobody there to ask.
    whole(UPSTREAM, false).await.says("these secrets are missing: OPERATOR_TOKEN");
    let local = "OPENCLAW_URL=http://127.0.0.1:18789\nOPERATOR_TOKEN=\n";
    whole(local, false).await.says("Cloudflare can't reach OPENCLAW_URL");
    assert!(fork.read("wrangler.toml").contains("00000000-0000"));
    // The same is said without one.
    whole(local, true).await.says("nothing was created");
    whole(&format!("{good}OPENCLAW_TOKEN=x\n"), true).await.says("OPENCLAW_TOKEN is none of");
    let toml = fork.read("wrangler.toml");
    for (variables, more, said) in [
        ("USER_BINDING = \"open\"", "", "USER_BINDING=open"),
        ("STRIPE_TEST_MODE = true", "", "STRIPE_TEST_MODE=true"),
        ("AUTH_MODE = \"codex\"", "TOKEN_ENCRYPTION_KEY=c2hvcnQ=\n", "TOKEN_ENCRYPTION_KEY"),
        ("UPSTREAM_AUTH = \"token\"", "", "USER_BINDING must be `key`"),
        ("OPERATOR_TOKEN = \"in-the-open-for-all\"", "", "which git keeps"),
        ("REQUESTS_PER_MINUTE = \"many\"", "", "REQUESTS_PER_MINUTE must be"),
    ] {
        let text = format!("{toml}\n[vars]\n{variables}\n");
        std::fs::write(fork.path().join("wrangler.toml"), text).unwrap();
        whole(&format!("{good}{more}"), true).await.says(said);
    }
    std::fs::write(fork.path().join("wrangler.toml"), toml).unwrap();
    // A build for tests is never deployed.
    std::fs::remove_file(fork.path().join("build")).unwrap();
    std::os::unix::fs::symlink(workspace().join("build-fault"), fork.path().join("build")).unwrap();
    whole(&good, false).await.says("panics on demand");
}

async fn what_does_not_work_is_deployed_and_said() {
    let (cloudflare, fork) = (Cloudflare::start().await, Fork::new());
    // Nobody listens there.
    let gateway = &Gateway::start(Options::new().upstream("http://127.0.0.1:9")).await;
    let token = gateway.operator_token();
    cloudflare.account().next_file = Some(gateway.runtime().d1_path);
    let secrets = fork.secrets(&format!("{UPSTREAM}OPERATOR_TOKEN={token}\n"));
    let ended = deploy(&fork, &cloudflare, (gateway, &["--secrets", &secrets])).await.is(1);
    ended.says("✗ not ready: upstream: ");
    ended.says("✗ a request of smoke-test was answered with 502 upstream_unreachable");
    ended.says("✓ its row is in D1");
    ended.says("it is deployed, but not all of it works");
    assert_eq!(cloudflare.account().workers[NAME].uploads, 1);
    // Without the token one is told what wasn't tried; nothing answers at this address.
    gateway.stop();
    let url = gateway.url("");
    let words = ["deploy", "--no-build", "--wait", "1", "--url", &url];
    let ended = fork.xtask(&words).with_account(&cloudflare).run().await.is(1);
    ended.says("✗ the gateway doesn't answer: ECONNREFUSED");
    assert_eq!(cloudflare.account().workers[NAME].uploads, 2);
}

async fn a_dry_run_takes_no_account() {
    let (cloudflare, fork) = (Cloudflare::start().await, Fork::new());
    let before = fork.read("wrangler.toml");
    let words = ["deploy", "--dry-run", "--no-build", "--domain", "gateway.example.com"];
    let ended = fork.xtask(&words).env("CLOUDFLARE_API_BASE_URL", cloudflare.url()).run().await;
    let ended = ended.is(0);
    for said in [
        "organized-gateway            will be created",
        "organized-gateway-kits       will be created",
        "OPENCLAW_URL                 is asked for",
        "OPERATOR_TOKEN               is asked for, or made",
        "https://gateway.example.com",
        "KB gzipped. Nothing was created, and nothing was deployed.",
    ] {
        ended.says(said);
    }
    assert_eq!(cloudflare.account().calls, [""; 0]);
    assert_eq!(fork.read("wrangler.toml"), before);
}

/// Path C: whoever runs their own clones the repository, names it, and looks before they leap.
async fn a_fork_is_deployed_in_a_dry_run() {
    let fork = Fork::cloned();
    fork.edit("wrangler.toml", "name = \"organized-gateway\"", "name = \"our-agents\"");
    fork.edit("wrangler.toml", "database_name = \"organized-gateway\"", "database_name = \"ours\"");
    assert!(fork.read(".cargo/config.toml").contains("xtask ="), "cargo knows the command");
    let words = ["deploy", "--dry-run", "--no-build", "--domain", "agents.example.org"];
    let ended = fork.xtask(&words).run().await.is(0);
    ended.says("The Worker our-agents");
    ended.says("ours                         will be created");
    ended.says("https://agents.example.org");
    ended.says("Nothing was created, and nothing was deployed.");
    let mut git = std::process::Command::new("git");
    git.args(["status", "--porcelain"]).current_dir(fork.path());
    let changed = git.output().unwrap().stdout;
    let changed = String::from_utf8(changed).unwrap();
    let ours = changed.lines().filter(|line| line.starts_with(" M")).collect::<Vec<_>>();
    assert_eq!(ours, [" M wrangler.toml"], "{changed}");
}

async fn secrets_are_asked_for_and_not_shown() {
    let (cloudflare, fork) = (Cloudflare::start().await, Fork::new());
    let pair = shared::pair(Options::new()).await;
    let (url, token) = (pair.gateway.url(""), pair.gateway.operator_token());
    cloudflare.account().next_file = Some(pair.gateway.runtime().d1_path);
    let words = ["deploy", "--no-build", "--wait", "20", "--url", &url];
    let deploy = fork.xtask(&words).with_account(&cloudflare);
    let mut terminal = deploy.on_a_terminal(160, 50);
    terminal.shows_in("OPENCLAW_URL (", 60).await;
    terminal.type_in("https://hidden-claw.example.com\r");
    terminal.shows_in("OPERATOR_TOKEN (", 60).await;
    terminal.type_in(&format!("{token}\r"));
    terminal.shows_in("its row is in D1", 120).await;
    assert_eq!(terminal.ended().await, Some(0), "{:?}", terminal.text());
    let text = terminal.text();
    assert!(!text.contains("hidden-claw") && !text.contains(token), "{text:?}");
    let account = cloudflare.account();
    let secrets = &account.workers[NAME].secrets;
    assert_eq!(secrets["OPENCLAW_URL"], "https://hidden-claw.example.com");
    assert_eq!(secrets["OPERATOR_TOKEN"], token);
}
