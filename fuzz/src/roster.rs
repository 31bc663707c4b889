//! A list of people of any bytes: everybody on it has a name and a USER_ID, and who is written down
//! again is the same.

use domain::roster::{Listed, MOST_PEOPLE, Person, RosterError, candidates, parse};
use domain::spreadsheet;

fn read(list: &[u8]) -> Result<Vec<Vec<Listed>>, RosterError> {
    // Without Unicode's tables: a name then is what its letters are as they came.
    parse(list, str::to_owned)
}

pub fn hold(list: &[u8]) {
    let people = match read(list) {
        Ok(people) => people,
        Err(error) => {
            // What is wrong is said without what the list says.
            let lines = list.split(|byte| matches!(byte, b'\r' | b'\n')).count();
            assert!(lines_of(&error).iter().all(|line| (1..=lines as u64).contains(line)));
            return;
        }
    };
    let people: Vec<Person> = people.concat().into_iter().map(|listed| listed.person).collect();
    assert!((1..=MOST_PEOPLE).contains(&people.len()));
    let mut list = spreadsheet::row(["name", "email"].into_iter());
    for person in &people {
        let Person { name, plain, email } = person;
        assert!(!name.is_empty() && name.chars().count() <= 200);
        assert_eq!(name.split_whitespace().collect::<Vec<_>>().join(" "), *name);
        assert!(email.is_empty() || email.split_once('@').is_some_and(|(_, at)| !at.is_empty()));
        assert!(email.len() <= 254 && !email.contains(char::is_whitespace));
        let user_id = candidates(plain).next().expect("there is always one");
        assert!(!user_id.is_anonymous() && user_id.as_str().starts_with(plain.as_str()));
        list.push_str(&spreadsheet::row([name, email].into_iter()));
    }
    let again = read(list.as_bytes()).expect("what is written can be read").concat();
    let again: Vec<_> = again.into_iter().map(|listed| listed.person).collect();
    assert_eq!(again, people);
}

fn lines_of(error: &RosterError) -> Vec<u64> {
    match *error {
        RosterError::NotUtf8 { line }
        | RosterError::NoName { line }
        | RosterError::LongName { line }
        | RosterError::NotAnEmail { line }
        | RosterError::ExtraColumn { line } => vec![line],
        RosterError::Namesakes { first, second } => vec![first, second],
        RosterError::NoHeader | RosterError::Nobody | RosterError::TooMany => vec![],
    }
}
