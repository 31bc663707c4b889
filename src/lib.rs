//! organized-gateway: one public, OpenAI-compatible URL in front of an agent gateway.
//!
//! A request comes in here, finds its row in `routes`, is decided on by its user's object in
//! `objects`, and goes on through `upstream`. The rules are in the crate `domain`;
//! ARCHITECTURE.md walks through one request.

// Each module of the Worker leaves something out that the other needs; together they use everything.
#![cfg_attr(
    not(all(feature = "gateway", feature = "office")),
    allow(dead_code, unused_imports, unused_variables)
)]

#[cfg(feature = "office")]
mod access_keys;
mod clock;
mod context;
#[cfg(feature = "office")]
mod daily;
#[cfg(feature = "office")]
mod database;
mod error;
mod fault;
mod guessing;
mod headers;
mod incoming;
#[cfg(feature = "office")]
mod kits;
mod log;
mod objects;
#[cfg(feature = "office")]
mod owed;
#[cfg(feature = "office")]
mod probe;
#[cfg(feature = "gateway")]
mod refusals;
mod reply;
mod routes;
mod settlement;
mod strangers;
mod token_client;
#[cfg(feature = "office")]
mod totals;
mod upgrade;
mod upstream;

use worker::event;

/// Answers one request. It never fails: what goes wrong has become an answer by then.
#[event(fetch)]
async fn fetch(
    request: web_sys::Request,
    env: worker::Env,
    context: worker::Context,
) -> worker::Result<web_sys::Response> {
    Ok(routes::answer(request, env, context).await)
}

/// Does each minute and once a day what `[triggers]` in wrangler.toml asks for.
#[cfg(feature = "office")]
#[event(scheduled)]
async fn scheduled(event: worker::ScheduledEvent, env: worker::Env, _: worker::ScheduleContext) {
    let context = context::Context::new(env);
    if event.cron() == EACH_MINUTE {
        objects::alerts::notice(&context, domain::alerts::Notice::Minute).await;
        owed::bring(&context, event.schedule()).await;
    } else {
        daily::run(&context).await;
    }
}

#[cfg(feature = "office")]
const EACH_MINUTE: &str = "* * * * *";
