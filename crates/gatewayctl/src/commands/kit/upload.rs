//! Putting kits up at the gateway, several at once. What is sent twice is kept once.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::Method;

use super::manifest::Kit;
use crate::client::{Client, Question};
use crate::failure::{Failure, Kind};
use crate::several;

/// Kits that are on their way at once.
const AT_ONCE: usize = 4;

/// How often a kit is sent, with growing pauses.
const ATTEMPTS: u32 = 3;

#[derive(Deserialize)]
struct Kept {
    expires_at: String,
}

/// The ZIPs of a folder, and how long the gateway is to hand them out.
#[derive(Clone, Copy)]
pub struct Load<'a> {
    /// Where the ZIPs are.
    pub folder: &'a Path,
    /// Seconds; as the gateway has it where nothing is said.
    pub lifetime: Option<i64>,
}

/// Sends all kits. `done` hears of each that is there, and until when. After the first failure no other
/// is begun.
///
/// # Errors
/// What the gateway refuses, and a ZIP that can't be read.
pub fn send_all(
    client: &Client,
    load: Load<'_>,
    kits: &[Kit],
    done: impl FnMut(&Kit, String),
) -> Result<(), Failure> {
    several::each(kits, AT_ONCE, |kit| send(client, load, kit), done)
}

/// Sends a kit, again where it may be well in a moment. Until when it is handed out.
fn send(client: &Client, load: Load<'_>, kit: &Kit) -> Result<String, Failure> {
    let path = load.folder.join(kit.file());
    let zip = std::fs::read(&path).map_err(|error| Failure::file(&path, "read", &error))?;
    let user_id = kit.user_id.as_ref().map_or("", |user_id| user_id.as_str());
    let seconds = load.lifetime.map_or(String::new(), |seconds| seconds.to_string());
    let token = kit.token.expose();
    let question = Question {
        method: Method::PUT,
        path: &["operator", "api", "kits", &token],
        query: &[("user_id", user_id), ("expires_in_seconds", &seconds)],
        body: Some(("application/zip", zip)),
    };
    for attempt in 1..ATTEMPTS {
        match client.json::<Kept>(&question) {
            Err(Failure { kind: Kind::Busy | Kind::Unreachable, .. }) => {
                std::thread::sleep(Duration::from_secs(1 << attempt));
            }
            result => return result.map(|kept| kept.expires_at),
        }
    }
    client.json::<Kept>(&question).map(|kept| kept.expires_at)
}
