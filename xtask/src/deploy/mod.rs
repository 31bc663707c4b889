//! `cargo xtask deploy`: the gateway on Cloudflare, from nothing or once more.
//!
//! What is missing is created, what is there is kept, and each step can be run again: a run that was
//! interrupted goes on where it stopped. Everything that could be refused is judged before anything is
//! created. `plan` and `safety` decide; the other modules do.

mod cloudflare;
mod plan;
mod project;
mod safety;
mod secret_file;
mod secrets;
mod smoke;
mod trouble;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use domain::secret::Secret;

use crate::build::{self, Variant};
use crate::progress::Progress;
use crate::wrangler::Wrangler;
use crate::{setup, workspace};
use cloudflare::Cloudflare;
use plan::{Inventory, Step};
use project::Project;
use safety::Proposal;
use secrets::{Mode, OPERATOR_TOKEN, Source, Values, Wanted};
use smoke::Smoke;
use upload::Upload;

/// What `cargo xtask deploy` can be told.
#[derive(Args)]
pub struct Options {
    /// Say what would be done, check the settings, and build: without an account, and without a network
    #[arg(long)]
    dry_run: bool,
    /// Take secrets from this file of NAME=VALUE lines; the Worker keeps those that it has
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Give this secret a new value although the Worker has it. May be given several times
    #[arg(long, value_name = "NAME")]
    rotate: Vec<String>,
    /// Answer at this domain of your own; it is written into wrangler.toml
    #[arg(long, value_name = "HOST")]
    domain: Option<String>,
    /// Try what was deployed at this URL (default: the one that wrangler names)
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How long a new address may take until it answers
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    wait: u64,
    /// Deploy the build that is there
    #[arg(long)]
    no_build: bool,
}

/// Creates what is missing in the account and brings D1 up to date, and deploys nothing.
///
/// # Errors
/// When a step fails; the message says what to do.
pub fn bootstrap() -> Result<()> {
    let progress = Progress::new();
    set_up(&progress)?;
    let mut project = Project::read(workspace::root())?;
    let cloudflare = Cloudflare::sign_in(&progress, &project)?;
    let inventory = cloudflare.inventory(&project)?;
    let steps =
        plan::resources(&project.declared, &inventory).map_err(|problem| anyhow!(problem))?;
    print_plan(&project, Some(&cloudflare), &steps);
    create(&cloudflare, &mut project, &steps)?;
    println!(
        "\nAll that the Worker needs is there. Commit wrangler.toml, then: cargo xtask deploy"
    );
    Ok(())
}

/// Creates what is missing, deploys, and tries it.
///
/// # Errors
/// When a step fails, a setting is unsafe, or what was deployed doesn't work.
pub fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    let mut project = Project::read(workspace::root())?;
    if let Some(domain) = &options.domain {
        project.set_domain(domain)?;
    }
    let variables = Wrangler::read(workspace::root())?.variables();
    let file = options.secrets.as_deref().map(secret_file::read).transpose()?.unwrap_or_default();
    if options.dry_run {
        return rehearse(&progress, options, (&project, &variables, &file));
    }
    set_up(&progress)?;
    let cloudflare = Cloudflare::sign_in(&progress, &project)?;
    let inventory = cloudflare.inventory(&project)?;
    let steps =
        plan::resources(&project.declared, &inventory).map_err(|problem| anyhow!(problem))?;
    let existing = inventory.secrets.clone().unwrap_or_default();
    let wanted = secrets::wanted(Mode::new(&variables), &existing, &file, &options.rotate)
        .map_err(|problem| anyhow!(problem))?;
    print_plan(&project, Some(&cloudflare), &steps);
    print_secrets(&wanted);
    let obtained = secrets::obtain(&wanted, &file)?;
    judge(&project, &variables, &obtained.values, &kept(&wanted, existing))?;
    build(&progress, options)?;

    create(&cloudflare, &mut project, &steps)?;
    if let Some(token) =
        obtained.values.get(OPERATOR_TOKEN).filter(|_| obtained.made_operator_token)
    {
        println!("\nThe operator's token, shown this once. Keep it where you keep passwords:\n");
        println!("    {}\n", token.expose());
    }
    let uploaded = Upload::new()?.send(&progress, &cloudflare, (&project, &obtained.values))?;
    let url = options.url.clone().or(uploaded.url());
    let url =
        url.context("the Worker is deployed, but has no address: set `workers_dev = true`")?;
    let url = url.trim_end_matches('/').to_owned();

    let token = operator_token(&obtained.values, &file);
    let smoke = Smoke {
        progress: &progress,
        cloudflare: &cloudflare,
        database: project.declared.databases.first().map_or("DB", |it| it.binding.as_str()),
        url: &url,
        token: token.as_ref(),
        patience: Duration::from_secs(options.wait),
    };
    let is_good = smoke.run();
    print_next(&url, &inventory);
    if is_good {
        return Ok(());
    }
    bail!("it is deployed, but not all of it works: see what is marked ✗ above")
}

/// All of it that takes no account.
fn rehearse(
    progress: &Progress,
    options: &Options,
    (project, variables, file): (&Project, &BTreeMap<String, String>, &Values),
) -> Result<()> {
    let nothing = Inventory::default();
    let wanted = secrets::wanted(Mode::new(variables), &BTreeSet::new(), file, &options.rotate)
        .map_err(|problem| anyhow!(problem))?;
    // What an account has isn't known here; what the file has an id for is taken to be there.
    let known = project.declared.databases.iter().filter_map(|database| {
        let (name, id) = (database.database_name.clone(), database.id()?.to_owned());
        Some(plan::ExistingDatabase { name, id })
    });
    let inventory = Inventory { databases: known.collect(), ..nothing };
    let steps =
        plan::resources(&project.declared, &inventory).map_err(|problem| anyhow!(problem))?;
    print_plan(project, None, &steps);
    print_secrets(&wanted);
    let imagined = secrets::imagined(&wanted, file)?;
    judge(project, variables, &imagined, &BTreeSet::new())?;
    build(progress, options)?;
    let uploaded = Upload::new()?.rehearse(progress, project)?;
    println!("\nThe Worker is {}. Nothing was created, and nothing was deployed.", uploaded.size());
    println!(
        "Without --dry-run all of the above is done, and what is there already is left as it is."
    );
    Ok(())
}

/// What deploying itself runs on. A clone that has it needs no look at it.
fn set_up(progress: &Progress) -> Result<()> {
    if workspace::node_program("wrangler").exists() { Ok(()) } else { setup::for_serving(progress) }
}

fn build(progress: &Progress, options: &Options) -> Result<()> {
    if options.no_build {
        set_up(progress)?;
    } else {
        let toolchain = setup::for_build(progress)?;
        build::build(progress, &toolchain, Variant::Release)?;
    }
    upload::check_build()
}

fn kept(wanted: &[Wanted], mut existing: BTreeSet<String>) -> BTreeSet<String> {
    for it in wanted.iter().filter(|it| it.source != Source::Kept) {
        existing.remove(it.name);
    }
    existing
}

/// Refuses what is unsafe, and says what deserves a second look.
fn judge(
    project: &Project,
    variables: &BTreeMap<String, String>,
    values: &Values,
    kept: &BTreeSet<String>,
) -> Result<()> {
    let declared = &project.declared;
    let has_two_addresses = declared.workers_dev && declared.domains().next().is_some();
    let review = safety::review(&Proposal { variables, values, kept, has_two_addresses });
    for warning in &review.warnings {
        println!("note: {warning}");
    }
    if review.refusals.is_empty() {
        return Ok(());
    }
    let list: Vec<_> = review.refusals.iter().map(|sentence| format!("\n  - {sentence}")).collect();
    bail!("not deployed, and nothing was created:{}", list.concat())
}

/// Makes what is missing, notes it in `wrangler.toml` at once, and brings the databases up to date.
fn create(cloudflare: &Cloudflare, project: &mut Project, steps: &[Step]) -> Result<()> {
    for step in steps {
        match step {
            Step::Keep { .. } => {}
            Step::Adopt { binding, id, .. } => project.set_database_id(binding, id)?,
            Step::CreateDatabase { binding, name } => {
                let id = cloudflare.create_database(name)?;
                project.set_database_id(binding, &id)?;
            }
            Step::CreateBucket { name } => cloudflare.create_bucket(name)?,
        }
        if project.save()? {
            println!("noted in wrangler.toml: commit it");
        }
    }
    // A domain alone is noted too.
    project.save()?;
    project.declared.databases.iter().try_for_each(|database| cloudflare.migrate(&database.binding))
}

/// The operator's token, where it is known here.
fn operator_token(values: &Values, file: &Values) -> Option<Secret<String>> {
    let known = values.get(OPERATOR_TOKEN).or_else(|| file.get(OPERATOR_TOKEN)).cloned();
    known
        .or_else(|| std::env::var(OPERATOR_TOKEN).ok().map(Secret::new))
        .filter(|token| !token.expose().is_empty())
}

fn print_plan(project: &Project, cloudflare: Option<&Cloudflare>, steps: &[Step]) {
    let declared = &project.declared;
    match cloudflare.map(|cloudflare| &cloudflare.account) {
        Some(account) => println!("The Worker {}, in the account {}", declared.name, account.name),
        None => println!("The Worker {}, in the account that you sign in to", declared.name),
    }
    for step in steps {
        println!("{}", step.line());
    }
    for database in &declared.databases {
        let folder = workspace::root().join(&database.migrations_dir);
        let files = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let names = files.filter(|file| file.path().extension().is_some_and(|end| end == "sql"));
        println!(
            "  migrations    {} of them, those that {} lacks",
            names.count(),
            database.binding
        );
    }
    for domain in declared.domains() {
        println!("  address       https://{domain}");
    }
    if declared.workers_dev {
        println!("  address       https://{}.….workers.dev", declared.name);
    }
}

fn print_secrets(wanted: &[Wanted]) {
    for it in wanted {
        let source = match it.source {
            Source::Kept => "is there",
            Source::File => "comes from the file",
            Source::Asked => "is asked for",
            Source::AskedOrMade => "is asked for, or made",
            Source::Made => "is made",
        };
        println!("  secret        {:<28} {source}", it.name);
    }
}

fn print_next(url: &str, inventory: &Inventory) {
    println!("\n{url}");
    println!("  the console             {url}/operator");
    println!("  the command line        cargo install --locked --path crates/gatewayctl");
    println!("                          gatewayctl login {url}");
    if inventory.secrets.is_none() {
        println!("\nWhat comes next:");
        println!("  gatewayctl doctor                               whether all is well from here");
        println!(
            "  gatewayctl roster import people.csv -o codes.csv   a list of people becomes users"
        );
        println!(
            "  docs/deploy.md                                  updating, rolling back, Access, plans"
        );
    }
}
