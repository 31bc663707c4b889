//! What Stripe says of customers and their subscriptions, and what follows from it.
//!
//! Stripe sends each event at least once, in any order. So what is kept is such that taking in an
//! event is a maximum: whichever order events come in, and however often, the end is the same.

pub mod customer;
pub mod event;
pub mod reference;
pub mod signature;
pub mod subscription;
#[cfg(test)]
mod tests;
