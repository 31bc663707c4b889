//! What a request may cost, in figures that are the same on every machine: the one place where they
//! stand, and to change when they do. ARCHITECTURE.md has them in words; instructions are in
//! `bench/gates.toml`.

/// What is said to a user's object, and its commits, until a request is on its way upstream.
pub struct Way {
    /// The messages, in their order.
    pub messages: &'static [&'static str],
    /// The commits.
    pub commits: usize,
}

/// Any request of somebody who is known, or where nobody has to be.
pub const ADMITTED: Way = Way { messages: &["Admit"], commits: 1 };

/// One with a body over 256 KB, which is only read for who is proven.
pub const LARGE: Way = Way { messages: &["Prove", "Admit"], commits: 1 };

/// One that makes a response of a real OpenClaw, until its id is with the client.
pub const RESPONSE: Way = Way { messages: &["Admit", "Remember"], commits: 2 };

/// The messages for one that is refused, and told where to buy.
pub const REFUSED: &[&str] = &["Admit"];

/// The messages for 121 of a user who floods, on a machine that isn't slow: the first is asked for and
/// remembered, and all are counted together, four times a second.
pub const FLOOD: usize = 6;

/// All messages to a user's object for the first request under a name that nobody has.
pub const WHOLE_FIRST: &[&str] = &["Admit", "Admit", "Bind", "Settle"];

/// All messages to a user's object for each that follows.
pub const WHOLE: &[&str] = &["Admit", "Settle"];

/// Bytes to a user's object and back, at most, for a request of `WHOLE` with the shortest of names: each
/// message, and its reply.
pub const BYTES: &[(&str, u64, u64)] = &[("Admit", 500, 200), ("Settle", 200, 16)];

/// Rows written, at most.
pub struct Rows {
    /// For each request.
    pub each: i64,
    /// For each batch of them that goes to D1.
    pub batch: i64,
    /// For each user, when the first is heard of them.
    pub user: i64,
}

/// In objects: the row's birth and its end; the cursor; who may speak for the user.
pub const ROWS_IN_OBJECTS: Rows = Rows { each: 2, batch: 1, user: 1 };

/// In D1: the row with its two indexes; the cursor with the month's sums, and what is shown of the user
/// where that has changed; all of it once more where the user is new.
pub const ROWS_IN_D1: Rows = Rows { each: 3, batch: 2, user: 3 };

/// The Worker's modules, and their bytes when gzipped, at most.
pub const MODULES: [(&str, usize); 2] = [("build", 500_000), ("build-office", 600_000)];
