//! The rules of the gateway, as plain functions of (state, message, now).
//!
//! This crate depends on no Workers crate, does no I/O and reads no clock: time comes in as an
//! argument, and what is to be written comes out as a value.
