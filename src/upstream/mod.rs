//! Who a request is sent to, with what, and how its answer comes back.

pub mod body;
#[cfg(feature = "gateway")]
pub mod codex;
pub mod departure;
pub mod exchange;
pub mod plan;
#[cfg(feature = "gateway")]
pub mod relay;
#[cfg(feature = "gateway")]
pub mod slot;
#[cfg(feature = "gateway")]
pub mod trouble;
