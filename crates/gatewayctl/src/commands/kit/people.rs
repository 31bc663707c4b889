//! Whom the kits are for: a list of people that the gateway is to seat, or what `roster import` wrote of
//! those whom it has.

use std::collections::BTreeSet;
use std::path::Path;

use domain::claim_code::ClaimCode;
use domain::identifiers::UserId;

use super::table::{self, Line};
use crate::api::Seat;
use crate::commands::roster::read_list;
use crate::failure::{Failure, Kind};

/// Whom the kits are for.
pub enum Roster {
    /// Who has to be seated yet: the list as it is.
    List(Vec<u8>),
    /// Who has been.
    Seats(Vec<Person>),
}

/// Somebody with a USER_ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub user_id: UserId,
    /// As on the list.
    pub name: String,
    /// As on the list.
    pub email: String,
    /// What becomes a key; nothing where nobody here knows it.
    pub code: Option<String>,
}

impl Roster {
    /// Reads a file of either kind.
    ///
    /// # Errors
    /// Where it can't be read, or a USER_ID or a code in it is none.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let list = read_list(file)?;
        match table::read(&list, &["user_id"]) {
            Some(lines) => seats(&lines, file).map(Self::Seats),
            None => Ok(Self::List(list)),
        }
    }
}

impl TryFrom<Seat> for Person {
    type Error = Failure;

    fn try_from(Seat { user_id, name, email, code }: Seat) -> Result<Self, Failure> {
        let user_id = UserId::parse(&user_id).map_err(|_| {
            Failure::new(Kind::Failed, "The gateway gave somebody a USER_ID that is none.")
        })?;
        Ok(Self { user_id, name, email, code })
    }
}

fn seats(lines: &[Line], file: &Path) -> Result<Vec<Person>, Failure> {
    let mut seen = BTreeSet::new();
    let mut people = Vec::new();
    // On a list of kits, the one for anybody is nobody's.
    let is_anybodys =
        |line: &&Line| line.cell("user_id").is_empty() && !line.cell("url").is_empty();
    for line in lines.iter().filter(|line| !is_anybodys(line)) {
        let wrong = |what: &str| {
            let message = format!("Line {} of {} has {what}.", line.number, file.display());
            Failure::new(Kind::Usage, message)
                .next("It is to be as `gatewayctl roster import -o` wrote it.")
        };
        let user_id = UserId::parse(line.cell("user_id")).map_err(|_| wrong("no USER_ID"))?;
        if !seen.insert(user_id.clone()) {
            return Err(wrong("a USER_ID that is there before"));
        }
        let code = match line.cell("code") {
            "" => None,
            code => Some(ClaimCode::parse(code).ok_or_else(|| wrong("a code that is none"))?),
        };
        let name = Some(line.cell("name")).filter(|name| !name.is_empty());
        people.push(Person {
            name: name.unwrap_or(user_id.as_str()).to_owned(),
            email: line.cell("email").to_owned(),
            code: code.map(|code| code.expose()),
            user_id,
        });
    }
    if people.is_empty() {
        let message = format!("There is nobody in {}.", file.display());
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(people)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Roster, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("people.csv");
        std::fs::write(&file, text).unwrap();
        Roster::read(&file)
    }

    #[test]
    fn a_list_of_people_is_told_from_one_of_users() {
        let Ok(Roster::List(list)) = read("name,email\nAda,\n") else { panic!("a list") };
        assert_eq!(list, b"name,email\nAda,\n");
        let seats = read("user_id,name,email,code\nADA,'=Ada,a@x,abcdefgh\nbob,,,\n");
        let Ok(Roster::Seats(people)) = seats else { panic!("users") };
        let ada = UserId::parse("ada").unwrap();
        let code = Some("ABCD-EFGH".to_owned());
        let ada = Person { user_id: ada, name: "=Ada".into(), email: "a@x".into(), code };
        assert_eq!(people[0], ada);
        assert_eq!((people[1].name.as_str(), &people[1].code), ("bob", &None));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (text, what) in [
            ("user_id,code\nada,\nbad name,\n", "Line 3"),
            ("user_id,code\nada,ABCD\n", "a code that is none"),
            ("user_id,code\nada,\nADA,\n", "there before"),
            ("user_id,code\n", "nobody"),
            ("user_id,code,url\n,,https://gw.example.com/kit/x\n", "nobody"),
        ] {
            let failure = read(text).err().unwrap();
            assert_eq!(failure.kind, Kind::Usage);
            assert!(failure.to_string().contains(what), "{failure}");
        }
    }
}
