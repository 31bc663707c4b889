//! Coverage-guided tests of everything that reads bytes from outside.
//!
//! A target is a function that takes any bytes and panics where something doesn't hold: what is read
//! comes back as it went, what is accepted has the documented form, and nothing that was altered is
//! taken for what was signed. `cargo xtask fuzz` has libFuzzer look for inputs at which one panics.
//!
//! `seeds/NAME/` has inputs from which a target's search begins, and those at which it once panicked;
//! `cargo test` tries them all. `dictionaries/NAME` has words that no search would find.

mod access_jwt;
mod codes;
mod forged;
mod gateway_key;
mod identity;
mod json_object;
mod json_reader;
mod path;
mod query;
mod retry_headers;
mod roster;
mod sse_meter;
mod stripe_event;
mod stripe_signature;
mod token_endpoint;

/// One thing that reads bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called: the name of its module, its seeds and its dictionary.
    pub name: &'static str,
    /// Tries one input.
    ///
    /// # Panics
    /// Where something doesn't hold.
    pub hold: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        /// All there are.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), hold: $name::hold }),+];
    };
}

targets![
    access_jwt,
    codes,
    forged,
    gateway_key,
    identity,
    json_object,
    json_reader,
    path,
    query,
    retry_headers,
    roster,
    sse_meter,
    stripe_event,
    stripe_signature,
    token_endpoint,
];

/// The input as lines of text, of which there are as many as are asked for; `None` where it is none.
/// The last has the rest.
fn lines<const COUNT: usize>(input: &[u8]) -> Option<[&str; COUNT]> {
    let text = str::from_utf8(input).ok()?;
    let mut lines = text.splitn(COUNT, '\n');
    let lines = std::array::from_fn(|_| lines.next());
    lines.iter().all(Option::is_some).then(|| lines.map(Option::unwrap_or_default))
}

/// A text of which a part is another: the byte at a place that an input chooses becomes one that it
/// chooses. `None` where that changes nothing, or makes it no text.
fn altered(text: &str, at: u8, by: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = usize::from(at) % bytes.len().max(1);
    let byte = bytes.get_mut(at)?;
    *byte = by;
    String::from_utf8(bytes).ok().filter(|changed| changed != text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn every_seed_holds() {
        for target in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name);
            let files =
                std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("{folder:?} is missing"));
            for file in files {
                let path = file.unwrap().path();
                let input = std::fs::read(&path).unwrap();
                let holds = std::panic::catch_unwind(|| (target.hold)(&input));
                assert!(holds.is_ok(), "{} at {}", target.name, path.display());
            }
        }
    }

    #[test]
    fn seeds_and_dictionaries_are_some_target_s() {
        for folder in ["seeds", "dictionaries"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for entry in std::fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name();
                assert!(TARGETS.iter().any(|target| target.name == name), "{name:?}");
            }
        }
    }
}
