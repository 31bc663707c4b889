//! `export`: the rows of requests, as they come.

use std::io::{self, Read, Write};
use std::path::Path;

use serde_json::json;

use crate::arguments::{Export, UserName};
use crate::client::{Client, Question};
use crate::failure::{Failure, Kind};
use crate::files::{folder_of, persist};
use crate::moments;
use crate::output::{Output, print_json};

/// Saves or prints an export. A file gets its name once it is whole.
///
/// # Errors
/// What the gateway refuses; a transfer that breaks off; a disk that refuses.
pub fn run(client: &Client, options: &Export, output: Output) -> Result<(), Failure> {
    let user = options.user.as_ref().map_or("", |UserName(user_id)| user_id);
    let moment = |moment: &Option<String>| moment.clone().unwrap_or_default();
    let query = [
        ("format", options.format.name()),
        ("user_id", user),
        ("from", &moment(&options.from)),
        ("to", &moment(&options.to)),
    ];
    let question = Question::get(&["operator", "api", "export"]).with(&query);
    let mut answer = client.ask(&question)?;
    let mut source = answer.body_mut().with_config().limit(u64::MAX).reader();
    let Some(path) = &options.output else {
        let stdout = io::stdout().lock();
        return copy(&mut source, stdout).map(drop).map_err(|broken| {
            broken.failure(client, "What was printed isn't all of it; send the command again.")
        });
    };
    let refused = |error: io::Error| Failure::file(path, "written", &error);
    let mut file = new_file(path).map_err(refused)?;
    let bytes = copy(&mut source, &mut file).map_err(|broken| {
        let next = format!("{} was left as it was; send the command again.", path.display());
        broken.failure(client, &next)
    })?;
    persist(file, path).map_err(refused)?;
    if output.is_json {
        return print_json(&json!({ "file": path, "bytes": bytes }));
    }
    output.line(&format!("{}: {} bytes.", path.display(), moments::number(bytes)))
}

/// A file beside the one that is meant, with the rights that any new file has.
fn new_file(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".gatewayctl-export-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The process's mask is taken off.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder_of(path))
}

/// Which side of a copy broke.
enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

impl Broken {
    fn failure(self, client: &Client, next: &str) -> Failure {
        match self {
            Self::Source(error) => {
                let url = client.base().text();
                let message = format!("The transfer from {url} broke off: {error}.");
                Failure::new(Kind::Failed, message).next(next)
            }
            Self::Sink(error) => Failure::output(&error),
        }
    }
}

fn copy(source: &mut impl Read, mut sink: impl Write) -> Result<u64, Broken> {
    let (mut buffer, mut bytes) = (vec![0; 64 * 1024], 0);
    loop {
        let length = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Broken::Source(error)),
        };
        let part = buffer.get(..length).unwrap_or_default();
        sink.write_all(part).map_err(Broken::Sink)?;
        bytes += length as u64;
    }
    sink.flush().map_err(Broken::Sink)?;
    Ok(bytes)
}
