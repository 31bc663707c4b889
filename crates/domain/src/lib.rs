//! The rules of the gateway, as plain functions of (state, message, now).
//!
//! This crate depends on no Workers crate, does no I/O and reads no clock: time comes in as an
//! argument, and what is to be written comes out as a value.

pub mod access_jwt;
pub mod agent_body;
pub mod alerts;
pub mod chat_body;
pub mod claim_code;
pub mod clock;
pub mod codex_account;
pub mod custody;
pub mod endpoint;
pub mod entry;
pub mod error_body;
pub mod exposition;
pub mod fair_queue;
pub mod farewell;
pub mod fingerprint;
pub mod floods;
pub mod free_use;
pub mod gateway_key;
pub mod guesses;
pub mod handle;
pub mod identifiers;
pub mod identity;
pub mod journal;
pub mod json_object;
pub mod json_reader;
pub mod keyed_hash;
pub mod kit;
pub mod meter;
pub mod model_list;
pub mod month;
pub mod openclaw_probe;
pub mod operator_session;
pub mod page;
pub mod path;
pub mod printable;
pub mod rate_headers;
pub mod redactor;
pub mod refusals;
pub mod room;
pub mod roster;
pub mod secret;
pub mod session;
pub mod settings;
pub mod spreadsheet;
pub mod sse;
pub mod stripe;
pub mod symbols;
pub mod tier;
pub mod token_endpoint;
pub mod upstream_policy;
pub mod upstreams;
pub mod window;

#[cfg(test)]
mod testing;
