//! The command line, and what is kept between commands.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use crate::server::{Server, well};
use crate::{Ctl, TOKEN};

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_command_explains_itself() {
    let (mut waiting, mut number) = (vec![Vec::new()], 0);
    while let Some(words) = waiting.pop() {
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = Ctl::new(&arguments).run().is(0).out;
        assert!(help.contains("Usage: gatewayctl"), "{arguments:?}: {help}");
        assert!(!help.starts_with("Usage"), "{arguments:?} says what it is for: {help}");
        number += 1;
        for name in listed(&help).into_iter().filter(|name| name != "help") {
            waiting.push(words.iter().cloned().chain([name]).collect());
        }
    }
    assert!(number > 30, "{number} commands");
}

#[test]
fn a_wrong_command_line_is_told_to_people_and_programs() {
    Ctl::new(&["users", "--sort", "age"]).run().is(2).says("possible values: user-id");
    let wrong = Ctl::new(&["user", "show", "no name", "--json"]).run().is(2);
    let failure = wrong.failure();
    assert_eq!((&failure["code"], &failure["exit_code"]), (&"usage".into(), &2.into()));
    assert!(failure["message"].as_str().unwrap().contains("1 to 64 letters"), "{failure}");
    Ctl::new(&["users"]).run().is(2).says("gatewayctl login https://");
    Ctl::new(&["users", "--url", "https://gw.example.com/somewhere"]).run().is(2);
}

#[test]
fn completions_are_printed_and_nobody_minds_who_leaves() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = Ctl::new(&["completions", shell]).run().is(0);
        assert!(script.out.contains("gatewayctl") && script.err.is_empty(), "{shell}");
    }
    let mut ctl = Ctl::new(&["completions", "bash"]);
    let child = ctl.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_token_isn_t_sent_where_others_can_read_it() {
    let url = "http://192.0.2.1:9";
    Ctl::new(&["users", "--url", url]).run().is(2).says("isn't encrypted").says("--allow-http");
    // And one that nobody gave isn't asked for where nobody is.
    let users = Ctl::new(&["users", "--url", "http://127.0.0.1:9"]).without("OPERATOR_TOKEN");
    users.run().is(4).says("The operator's token is missing.");
}

#[test]
fn a_token_comes_from_a_file_or_a_pipe() {
    let server = Server::start(well);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\r\n")).unwrap();
    let arguments = ["doctor", "--url", &server.url(), "--token-file"];
    let with = |file| Ctl::new(&[&arguments[..], &[file]].concat()).without("OPERATOR_TOKEN");
    with(file.to_str().unwrap()).run().is(0);
    with("nowhere").run().is(5).says("");
    let mut piped = with("-");
    let mut child = piped.command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(TOKEN.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let shown = server.heads().iter().filter(|head| head.contains(TOKEN)).count();
    assert_eq!(shown, 4, "each asks twice that needs it");
}

#[test]
fn what_is_kept_for_one_gateway_is_shown_to_no_other() {
    let (mine, other) = (Server::start(well), Server::start(well));
    let login = Ctl::new(&["login", &format!("{}/v1", mine.url())]).run().is(0);
    assert!(login.out.contains("Signed in at http://127.0.0.1"), "{}", login.out);
    let path = login.home.path().join("config.toml");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let ctl = |arguments: &[&str]| {
        Ctl::new(arguments).without("OPERATOR_TOKEN").env("GATEWAYCTL_CONFIG", &path)
    };
    ctl(&["doctor"]).run().is(0);
    assert!(mine.heads().last().unwrap().contains(TOKEN));
    ctl(&["users", "--url", &other.url()]).run().is(4).says("The operator's token is missing.");
    assert!(other.heads().is_empty());
    ctl(&["logout"]).run().is(0);
    assert!(!path.exists());
    ctl(&["doctor"]).run().is(2);
}

#[cfg(unix)]
#[test]
fn a_profile_that_others_can_read_isn_t_used() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start(well);
    let login = Ctl::new(&["login", &server.url()]).run().is(0);
    let path = login.home.path().join("config.toml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let users = Ctl::new(&["users"]).without("OPERATOR_TOKEN").env("GATEWAYCTL_CONFIG", &path);
    users.run().is(4).says("chmod 600");
}
