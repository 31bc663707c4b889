use proptest::prelude::*;

use unicode_normalization::UnicodeNormalization;

use super::user_ids::plain;
use super::*;

fn decompose(name: &str) -> String {
    name.nfd().collect()
}

fn parse(list: &[u8]) -> Result<Vec<Vec<Listed>>, RosterError> {
    super::parse(list, decompose)
}

/// Everyone, in the list's order.
fn people(list: &str) -> Vec<(String, String)> {
    let people = parse(list.as_bytes()).unwrap_or_else(|error| panic!("{list:?}: {error}"));
    let mut people = people.concat();
    people.sort_by_key(|listed| listed.line);
    people.into_iter().map(|listed| (listed.person.name, listed.person.email)).collect()
}

fn person(name: &str, email: &str) -> Person {
    let (name, email) = (name.to_owned(), email.to_owned());
    Person { plain: plain(&decompose(&name)), name, email }
}

#[test]
fn lists_are_read_as_spreadsheets_write_them() {
    for list in [
        "name,email\nAda Lovelace,ada@x.org\nBob,\n",
        "name,email\nAda Lovelace,ada@x.org\nBob",
        "\u{feff}Name,E-Mail,EMAIL\r\nAda Lovelace,,ada@x.org\r\nBob,,\r\n\r\n",
        "email,name\nada@x.org,Ada Lovelace\n,Bob\n",
        "\n  name ,\"email\",,\nAda   Lovelace , ada@x.org,,\n,,,\nBob,,,\n,,,",
        "\"name\",\"email\"\n\"Ada\n Lovelace\",\"ada@x.org\"\n\"Bob\",\"\"\n",
        "name;email\r\nAda Lovelace;ada@x.org\r\nBob;\r\n",
        "group\tname\temail\n1, a\tAda Lovelace\tada@x.org\n2\tBob\t\n",
        "name,email\rAda Lovelace,ada@x.org\rBob,\r",
        "name,email\nAda\u{a0}Lovelace,ada@x.org\nBob,\nADA LOVELACE,Ada@X.org\n",
    ] {
        let [ada, bob] = [("Ada Lovelace", "ada@x.org"), ("Bob", "")];
        let expected = [ada, bob].map(|(name, email)| (name.to_owned(), email.to_owned()));
        assert_eq!(people(list), expected, "{list:?}");
    }
    let quoted = "name,email\n\"Lovelace, \"\"Ada\"\"\",\"ada@x.org\"\n\"a;b\",\n";
    assert_eq!(people(quoted)[0].0, "Lovelace, \"Ada\"");
    assert_eq!(people(quoted)[1].0, "a;b");
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let long = "a".repeat(201);
    for (list, expected) in [
        ("", RosterError::NoHeader),
        ("Ada,ada@x.org\n", RosterError::NoHeader),
        ("name\nAda\n", RosterError::NoHeader),
        ("name email\nAda ada@x.org\n", RosterError::NoHeader),
        ("name,email\n\n,\n", RosterError::Nobody),
        ("name,email\nAda,\n\n,bob@x.org\n", RosterError::NoName { line: 4 }),
        ("name,email\n\"A\nda\",\nBob,bob\n", RosterError::NotAnEmail { line: 4 }),
        ("\r\nname,email\r\nAda,\r\n\r\nBob,bob\r\n", RosterError::NotAnEmail { line: 5 }),
        ("name,email\rAda,\rBob,bob", RosterError::NotAnEmail { line: 3 }),
        ("name,email\nBob,bob@x@y\n", RosterError::NotAnEmail { line: 2 }),
        ("name,email\nBob,b ob@x\n", RosterError::NotAnEmail { line: 2 }),
        ("name,email\nBob,@x\n", RosterError::NotAnEmail { line: 2 }),
        // A comma that should be in quotes, in the last column and before it.
        ("name,email\nLovelace, Ada\n", RosterError::NotAnEmail { line: 2 }),
        ("name,email\nAda,ada@x.org,Bob\n", RosterError::ExtraColumn { line: 2 }),
        ("name,email\nAda,\nBob,\nADA,\n", RosterError::Namesakes { first: 2, second: 4 }),
        ("name,email\nAda,a@x\nÁda,\n", RosterError::Namesakes { first: 2, second: 3 }),
        (&format!("name,email\n{long},\n"), RosterError::LongName { line: 2 }),
    ] {
        assert_eq!(parse(list.as_bytes()), Err(expected), "{list:?}");
    }
    for (list, line) in [
        (&b"name,email\nAda,\nZo\xeb,\n"[..], 3),
        (b"name,e\xadmail\nAda,\n", 1),
        // What Excel calls "Unicode text".
        (b"\xff\xfen\0a\0m\0e\0,\0e\0m\0a\0i\0l\0\n\0", 1),
    ] {
        assert_eq!(parse(list), Err(RosterError::NotUtf8 { line }), "{list:?}");
    }
    let crowd = |count: usize| {
        let lines = (0..count).map(|number| format!("Person {number},\n"));
        parse(format!("name,email\n{}", lines.collect::<String>()).as_bytes())
    };
    assert_eq!(crowd(1_000).unwrap().len(), 1_000);
    assert_eq!(crowd(1_001), Err(RosterError::TooMany));
}

#[test]
fn namesakes_are_told_apart_by_their_emails() {
    let list = "name,email\nAda,a@x\nADA,b@x\nada,A@x\nBob,a@x\n";
    let expected = [("Ada", "a@x"), ("ADA", "b@x"), ("Bob", "a@x")];
    assert_eq!(people(list), expected.map(|(name, email)| (name.to_owned(), email.to_owned())));
    let together = parse(list.as_bytes()).unwrap();
    let lines: Vec<Vec<_>> =
        together.iter().map(|group| group.iter().map(|listed| listed.line).collect()).collect();
    assert_eq!(lines, [vec![2, 3], vec![5]]);
    assert!(person("Ada", "A@x").is(&person("áda", "a@X")));
    assert!(
        person("Ada", "").is(&person("Ada", "a@x")) && person("Ada", "a@x").is(&person("Ada", ""))
    );
    assert!(!person("Ada", "a@x").is(&person("Ada", "b@x")));
    // Who is called `Ada 2` isn't the second Ada.
    assert!(!person("Ada", "a@x").is(&person("Ada 2", "a@x")));
}

proptest! {
    #[test]
    fn no_list_is_too_strange(list in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&list);
        let _ = parse(&[b"name,email\n", &list[..]].concat());
        let _ = parse(&[b"email;name\n", &list[..]].concat());
    }

    #[test]
    fn what_a_csv_writer_writes_is_read_back(
        names in prop::collection::btree_map("[a-z]{1,8}", ("[ ,;\"\n\t]{0,3}[A-Z]{1,8}", "[a-z]{0,3}"), 1..20),
        separator in prop::sample::select(&SEPARATORS[..]),
    ) {
        let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
        writer.write_record(["email", "name"]).unwrap();
        let mut expected = Vec::new();
        for (first, (last, email)) in names {
            let email = if email.is_empty() { email } else { format!("{email}@x") };
            writer.write_record([email.as_str(), &format!("{first}{last}")]).unwrap();
            let name = format!("{first}{last}").split_whitespace().collect::<Vec<_>>().join(" ");
            expected.push((name, email));
        }
        let list = writer.into_inner().unwrap();
        let bases: std::collections::BTreeSet<_> =
            expected.iter().map(|(name, _)| plain(&decompose(name))).collect();
        // Else they are namesakes, which other tests are about.
        prop_assume!(bases.len() == expected.len());
        prop_assert_eq!(people(std::str::from_utf8(&list).unwrap()), expected);
    }
}
