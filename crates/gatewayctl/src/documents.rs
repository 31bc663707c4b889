//! What the documents tell people to type is understood by this very program.

use std::path::Path;

use clap::Parser as _;

use crate::arguments::Arguments;

/// The commands in indented blocks and in backticks, each with where it stands.
fn commands() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let in_docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let paths = in_docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut commands = Vec::new();
    for path in paths.chain([root.join("README.md"), root.join("trainee-kit/README.md")]) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            let quoted = line.split('`').skip(1).step_by(2).map(|code| code.replace("\\|", "|"));
            let block = line.strip_prefix("    ").map(|code| {
                // What is told of it stands beside it.
                code.trim_start().split("  ").next().unwrap_or_default().to_owned()
            });
            let found = quoted.chain(block).filter(|code| code.starts_with("gatewayctl "));
            commands.extend(found.map(|code| (place.clone(), code)));
        }
    }
    commands
}

#[test]
fn what_the_documents_say_can_be_typed() {
    let mut typed = 0;
    for (place, command) in commands() {
        // What a shell does with it isn't ours, and what is left out can't be read.
        let own = command.split(['|', '>', '<']).next().unwrap_or_default();
        if own.contains('…') {
            continue;
        }
        let words = shlex::split(own).unwrap_or_else(|| panic!("{place}: {own}"));
        let parsed = Arguments::try_parse_from(words);
        let refused = parsed.err().filter(|error| {
            use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
            !matches!(error.kind(), DisplayHelp | DisplayVersion)
        });
        assert!(refused.is_none(), "{place}: {own}\n{}", refused.unwrap());
        typed += 1;
    }
    assert!(typed > 20, "only {typed} commands were found");
}
