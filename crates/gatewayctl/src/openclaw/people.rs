//! Whose agents: users as the list names them, or as the gateway has them for a name and an email.

use std::path::Path;

use domain::identifiers::UserId;

use crate::api::Listed;
use crate::client::Client;
use crate::commands::kit::people::Roster;
use crate::commands::kit::table;
use crate::commands::{read, users};
use crate::failure::{Failure, Kind};

/// How many are named of those whom nobody knows.
const NAMED: usize = 10;

/// Reads the list. Nobody becomes a user by it: codes are told once, and not here.
///
/// # Errors
/// Where it can't be read, or somebody on it is no user yet.
pub fn read_roster(client: &Client, file: &Path) -> Result<Vec<UserId>, Failure> {
    match Roster::read(file)? {
        Roster::Seats(people) => Ok(people.into_iter().map(|person| person.user_id).collect()),
        Roster::List(list) => {
            let known = users::find(client, "", "user_id", u64::MAX)?;
            let known: Vec<Listed> = known.iter().map(read).collect::<Result<_, _>>()?;
            match_up(&list, &known, file)
        }
    }
}

/// The users whom the lines of a list mean: by email, or by name where there is none.
fn match_up(list: &[u8], known: &[Listed], file: &Path) -> Result<Vec<UserId>, Failure> {
    let lines = table::read(list, &["name", "email"]).ok_or_else(|| {
        let message =
            format!("{} has neither a column user_id nor name and email.", file.display());
        Failure::new(Kind::Usage, message)
    })?;
    let mut found: Vec<UserId> = Vec::new();
    let mut missing = Vec::new();
    for line in &lines {
        let (name, email) = (line.cell("name"), line.cell("email"));
        let is_meant = |user: &&Listed| match email {
            "" => {
                user.email.as_deref().unwrap_or_default().is_empty()
                    && same(user.name.as_ref(), name)
            }
            email => same(user.email.as_ref(), email),
        };
        let ids = known.iter().filter(is_meant).map(|user| UserId::parse(&user.user_id));
        match ids.collect::<Result<Vec<_>, _>>().as_deref() {
            Ok([user_id]) if !found.contains(user_id) => found.push(user_id.clone()),
            _ => missing.push(if name.is_empty() { email } else { name }),
        }
    }
    if missing.is_empty() && !found.is_empty() {
        return Ok(found);
    }
    if lines.is_empty() {
        return Err(Failure::new(Kind::Usage, format!("There is nobody in {}.", file.display())));
    }
    let more = missing.len().saturating_sub(NAMED);
    let mut names = missing.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        names = format!("{names} and {more} more");
    }
    let message = format!("The gateway has no user, or more than one, for {names}.");
    Err(Failure::new(Kind::NotFound, message).next(
        "Nothing was done. Run `gatewayctl roster import` with the list first, and name the file here that \
         its -o writes.",
    ))
}

fn same(known: Option<&String>, text: &str) -> bool {
    known.is_some_and(|known| known.trim().to_lowercase() == text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(user_id: &str, name: &str, email: &str) -> Listed {
        serde_json::from_value(json!({
            "user_id": user_id, "name": name, "email": email, "tier": null, "blocked": false,
            "last_seen": null, "requests": 0, "tokens": 0,
        }))
        .unwrap()
    }

    fn found(list: &str) -> Result<Vec<String>, Failure> {
        let known = [
            user("ada", "Ada L", "ada@x.org"),
            user("bob", "Bob", ""),
            user("bob-2", "Rob", "b@x"),
        ];
        let ids = match_up(list.as_bytes(), &known, Path::new("people.csv"))?;
        Ok(ids.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn people_are_found_by_email_or_by_name() {
        let list = "name,email\nA. Lovelace,ADA@x.org\nBob,\n";
        assert_eq!(found(list).unwrap(), ["ada", "bob"]);
    }

    #[test]
    fn who_is_no_user_is_named() {
        for (list, what) in [
            ("name,email\nEve,eve@x\nAda,ada@x.org\n", "for Eve."),
            ("name,email\nRob,\n", "for Rob."),
            ("name,email\nAda,ada@x.org\nAda again,ada@x.org\n", "for Ada again."),
            ("name,email\n", "nobody"),
            ("first,last\nAda,L\n", "neither"),
        ] {
            let failure = found(list).unwrap_err();
            assert!(failure.message.contains(what), "{failure}");
        }
    }
}
