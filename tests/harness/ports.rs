//! Ports on which nobody listens.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that was free a moment ago. It is none of those that the system gives to connections, so it
/// stays free while whoever listens there is started anew.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Other programs that do the same begin elsewhere.
    let first = u16::try_from(std::process::id() % 12_000).expect("it is below 12,000");
    let ports = std::iter::repeat_with(|| {
        20_000 + (first + TAKEN.fetch_add(1, Ordering::Relaxed)) % 12_000
    });
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.take(12_000).find(is_free).expect("a free port")
}

/// An address that nobody listens on, nor comes to while whoever is to listen there is away.
#[must_use]
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}
