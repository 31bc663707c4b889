//! Who a request is sent to, with what, and how its answer comes back.

pub mod body;
pub mod bounded;
pub mod codex;
pub mod departure;
pub mod encoding;
pub mod exchange;
pub mod intake;
pub mod plan;
pub mod relay;
pub mod slot;
#[cfg(feature = "gateway")]
pub mod trouble;
pub mod turns;
pub mod witness;
