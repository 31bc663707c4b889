//! `cargo xtask serve`: the gateway on this machine, as it runs on Cloudflare, its state on disk.
//!
//! The Worker runs in workerd, which Node starts by way of Miniflare (`runtime.mjs` tells how), for
//! D1 isn't a part of workerd. Neither of the two is in the path of a request.
//!
//! Nothing outlives this process: Node ends workerd and itself when its standard input closes.

mod private;
mod runtime;
mod settings;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde::Serialize;
use surroundings::Surroundings;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::build::{self, Module, Variant};
use crate::progress::Progress;
use crate::wrangler::Wrangler;
use crate::{setup, workspace};
use runtime::{Plan, Runtime};

/// How long what has been killed may take to let go of its port.
const GOING: Duration = Duration::from_secs(5);

/// What `cargo xtask serve` can be told.
#[derive(Args)]
pub struct Options {
    /// Listen on this port of 127.0.0.1 (0: any free one)
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Keep the objects, D1 and the development secrets in this folder
    #[arg(long, value_name = "DIR", default_value = ".state")]
    state: PathBuf,
    /// Send requests to this base URL, with or without /v1 (default: an echo model started here)
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Set a setting or a secret; with an empty value, unset it, or leave out a bucket. NAME alone takes the
    /// value from the environment, where no list of processes shows it. May be given several times
    #[arg(long = "var", value_name = "NAME[=VALUE]", value_parser = settings::parse_variable)]
    variables: Vec<(String, String)>,
    /// Serve the build that is there
    #[arg(long)]
    no_build: bool,
    /// Serve the build of `cargo xtask build --fault-injection`
    #[arg(long, hide = true)]
    fault_injection: bool,
}

/// Where a running gateway is found, for tests and curious people: `runtime.json` in the state folder.
#[derive(Serialize)]
struct RuntimeNote<'a> {
    url: &'a str,
    workerd_pid: i32,
    node_pid: i32,
    /// D1's `SQLite` file.
    d1_path: Option<PathBuf>,
}

/// Sets up, builds, and serves until SIGINT or SIGTERM.
///
/// # Errors
/// When a step fails, a setting is malformed, the port is taken, or the runtime dies.
pub fn run(options: Options) -> Result<()> {
    let variant = Variant::new(options.fault_injection);
    let progress = Progress::new();
    if options.no_build {
        setup::for_serving(&progress)?;
        for folder in Module::ALL.map(|module| variant.folder(module)) {
            if !folder.join("index.js").exists() {
                bail!("{} is empty: leave --no-build out", folder.display());
            }
        }
        if !build::console::page().exists() {
            bail!("the console isn't built: leave --no-build out");
        }
    } else {
        let toolchain = setup::for_build(&progress)?;
        build::build(&progress, &toolchain, variant)?;
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(options))
}

async fn serve(options: Options) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let port = options.port;
    tokio::select! {
        outcome = serve_until_it_dies(options) => return outcome,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = abandoned(Surroundings::now()) => {}
    }
    // What was dropped has ended its processes. The port is theirs until they are gone, and whoever
    // stopped this may want to start it again at once.
    let began = Instant::now();
    while ensure_free(port).await.is_err() && began.elapsed() < GOING {
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Waits until whoever started this is gone.
async fn abandoned(surroundings: Surroundings) {
    while !surroundings.are_gone() {
        sleep(surroundings::PAUSE).await;
    }
}

async fn serve_until_it_dies(options: Options) -> Result<()> {
    let mut wrangler = Wrangler::read(workspace::root())?;
    // As on an account without R2.
    let is_unset = |name: &str| options.variables.contains(&(name.to_owned(), String::new()));
    wrangler.buckets.retain(|bucket| !is_unset(&bucket.binding));
    let state = std::path::absolute(&options.state)?;
    let _claim = claim(&state)?;
    ensure_free(options.port).await?;
    let mut variables = wrangler.variables();
    variables.extend(settings::secrets(&state, &options.variables)?);
    if let Some(upstream) = options.upstream {
        variables.insert("OPENCLAW_URL".to_owned(), upstream);
    }
    if options.port != 0 {
        let own = format!("http://127.0.0.1:{}", options.port);
        variables.entry("APP_URL".to_owned()).or_insert(own);
    }
    settings::apply(&mut variables, options.variables);
    settings::trim_base_url(&mut variables);
    let upstream = upstream(&mut variables).await?;
    settings::check(&variables)?;

    let variant = Variant::new(options.fault_injection);
    let mut runtime = Runtime::start(&Plan {
        root: workspace::root(),
        build: &variant.folder(Module::Gateway),
        office: &variant.folder(Module::Office),
        state: &state,
        port: options.port,
        variables: &variables,
        worker: &wrangler,
    })
    .await?;
    leave_note(&runtime, &state)?;
    banner(&runtime.url, &options.state, &upstream, &variables);
    println!("ready {}", runtime.url);
    runtime.died().await
}

fn leave_note(runtime: &Runtime, state: &Path) -> Result<()> {
    let note = RuntimeNote {
        url: &runtime.url,
        workerd_pid: runtime.workerd_pid,
        node_pid: runtime.node_pid,
        d1_path: newest_database(state),
    };
    workspace::write_whole(&state.join("runtime.json"), &serde_json::to_string_pretty(&note)?)
}

/// Makes the state folder this process's own: two runtimes on the same files would spoil them.
fn claim(state: &Path) -> Result<File> {
    private::keep(state)?;
    let file = File::create(state.join("lock"))
        .with_context(|| format!("can't write in {}", state.display()))?;
    file.try_lock()
        .map_err(|_taken| anyhow!("{} is in use by another `serve`", state.display()))?;
    Ok(file)
}

/// Says by its number which port is taken, which the runtime's own message doesn't.
async fn ensure_free(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener
        .map(drop)
        .with_context(|| format!("can't listen on port {port}: name another with --port"))
}

/// Starts the echo model where no upstream is named. Says in words who the upstream is.
async fn upstream(variables: &mut BTreeMap<String, String>) -> Result<String> {
    if let Some(url) = variables.get("OPENCLAW_URL") {
        return Ok(url.clone());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(echo_model::serve(listener));
    variables.insert("OPENCLAW_URL".to_owned(), url.clone());
    // It takes anybody, so a gateway key alone is enough.
    variables.entry("UPSTREAM_NEEDS_KEY".to_owned()).or_insert_with(|| "false".to_owned());
    Ok(format!("{url}, a small echo model (name a real one with --upstream URL)"))
}

/// The file in which Miniflare keeps the D1 database.
fn newest_database(state: &Path) -> Option<PathBuf> {
    let folder = std::fs::read_dir(state.join("d1/miniflare-D1DatabaseObject")).ok()?;
    folder
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sqlite"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "metadata"))
        .max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok())
}

fn banner(url: &str, state: &Path, upstream: &str, variables: &BTreeMap<String, String>) {
    println!("organized-gateway");
    println!("  upstream        {upstream}");
    println!("  state           {}", state.display());
    let Some(token) = variables.get("OPERATOR_TOKEN") else {
        println!("  operator token  none, so nobody is the operator");
        return;
    };
    println!("  console         {url}/operator");
    println!("  operator token  {token}");
    println!();
    println!("Mint a key for ada, then ask with it:");
    println!();
    println!(
        "  KEY=$(curl -s -X POST {url}/operator/api/users/ada/keys -H 'Authorization: Bearer {token}' \
         | sed -E 's/.*\"key\":\"([^\"]+)\".*/\\1/'); echo $KEY"
    );
    println!(
        "  curl -N {url}/v1/chat/completions -H \"X-Gateway-Key: $KEY\" -H 'Authorization: Bearer sk-mine' \
         -H 'Content-Type: application/json' \
         -d '{{\"model\":\"echo\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'"
    );
    println!();
}
