//! `export --active`: who has used the gateway most, with a link for each, for a mail merge.

use domain::spreadsheet;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{Active, MostActive};
use crate::arguments::{Export, Format};
use crate::client::{Client, Question};
use crate::commands::read;
use crate::failure::{Failure, Kind};
use crate::files::write_privately;
use crate::moments;
use crate::output::{Output, print, print_json};

const COLUMNS: [&str; 9] = [
    "name",
    "first_name",
    "email",
    "user_id",
    "tier",
    "requests",
    "tokens",
    "last_seen",
    "upgrade_url",
];

/// A row of the list, its members in the order of the columns.
#[derive(Serialize)]
struct Row<'a> {
    name: Option<&'a str>,
    first_name: Option<&'a str>,
    email: Option<&'a str>,
    user_id: &'a str,
    tier: Option<&'a str>,
    requests: u64,
    tokens: u64,
    last_seen: &'a str,
    upgrade_url: Option<&'a str>,
}

/// Saves or prints the list. A file is readable for its owner alone: it has addresses and links in it.
///
/// # Errors
/// What the gateway refuses; a tier that isn't sold; a disk that refuses.
pub fn run(client: &Client, options: &Export, output: Output) -> Result<(), Failure> {
    let answer = ask(client, options)?;
    let found: MostActive = read(&answer)?;
    let rows = rows(&found.users, options)?;
    if output.is_json && options.output.is_none() {
        return print_json(&answer);
    }
    let text = match options.format {
        Format::Csv => csv(&rows)?,
        Format::Jsonl => lines(&rows)?,
    };
    let Some(path) = &options.output else {
        print(&text)?;
        remark(&found, &rows, output);
        return Ok(());
    };
    write_privately(path, &text).map_err(|error| Failure::file(path, "written", &error))?;
    if output.is_json {
        return print_json(&json!({ "file": path, "users": rows.len() }));
    }
    output.line(&format!("{}: {} people.", path.display(), moments::number(rows.len() as u64)))?;
    remark(&found, &rows, output);
    Ok(())
}

fn ask(client: &Client, options: &Export) -> Result<Value, Failure> {
    let (to, limit) = (options.to.clone().unwrap_or_default(), options.top.to_string());
    let from = match options.days {
        Some(days) => days_before(&to, days)?,
        None => options.from.clone().unwrap_or_default(),
    };
    let days = options.link_days.to_string();
    let query = [("from", &*from), ("to", &*to), ("limit", &*limit), ("link_days", &*days)];
    client.json(&Question::get(&["operator", "api", "active"]).with(&query))
}

/// The moment so many days before another, or before now.
fn days_before(to: &str, days: u32) -> Result<String, Failure> {
    let end = if to.is_empty() { Some(moments::now()) } else { domain::clock::parse_moment(to) };
    let end = end.ok_or_else(|| {
        let message = format!("{to:?} is no moment.");
        Failure::new(Kind::Usage, message).next("Write 2026-11-21 or 2026-11-21T09:00:00Z.")
    })?;
    Ok(domain::clock::rfc3339(end - i64::from(days) * 86_400_000))
}

fn rows<'a>(users: &'a [Active], options: &Export) -> Result<Vec<Row<'a>>, Failure> {
    let wanted = options.tier.as_deref();
    let sold = users.iter().find(|user| !user.upgrade.is_empty()).map(|user| &user.upgrade);
    if let (Some(wanted), Some(sold)) = (wanted, sold)
        && !sold.contains_key(wanted)
    {
        let sold: Vec<_> = sold.keys().map(String::as_str).collect();
        let message = format!("No {wanted} is sold here, but {}.", sold.join(", "));
        return Err(Failure::new(Kind::Usage, message));
    }
    let link = |user: &'a Active| match wanted {
        Some(tier) => user.upgrade.get(tier),
        None => user.upgrade.values().next(),
    };
    let row = |user: &'a Active| Row {
        name: user.name.as_deref(),
        first_name: user.name.as_deref().and_then(first_name),
        email: user.email.as_deref(),
        user_id: &user.user_id,
        tier: user.tier.as_deref(),
        requests: user.requests,
        tokens: user.tokens,
        last_seen: &user.last_seen,
        upgrade_url: link(user).map(String::as_str),
    };
    Ok(users.iter().map(row).collect())
}

/// What a person is greeted by, as far as a name tells: what comes behind a comma, else the first word
/// that isn't shortened. Nothing where all but the last are.
fn first_name(name: &str) -> Option<&str> {
    let (is_listed, given) = match name.split_once(',') {
        Some((_, given)) => (true, given),
        None => (false, name),
    };
    let words: Vec<_> = given.split_whitespace().collect();
    let first = words.iter().position(|word| !word.ends_with('.'))?;
    // The last word of several is the family's.
    let is_family = !is_listed && first > 0 && first + 1 == words.len();
    words.get(first).copied().filter(|_| !is_family)
}

fn csv(rows: &[Row<'_>]) -> Result<String, Failure> {
    let mut text = spreadsheet::row(COLUMNS.iter());
    for row in rows {
        let row = serde_json::to_value(row).map_err(|error| unwritable(&error))?;
        let cells = COLUMNS.map(|column| row.get(column).unwrap_or(&Value::Null).to_string());
        text += &spreadsheet::row(cells.iter().map(|cell| spreadsheet::cell(cell)));
    }
    Ok(text)
}

fn lines(rows: &[Row<'_>]) -> Result<String, Failure> {
    let mut text = String::new();
    for row in rows {
        text += &serde_json::to_string(row).map_err(|error| unwritable(&error))?;
        text.push('\n');
    }
    Ok(text)
}

fn unwritable(error: &serde_json::Error) -> Failure {
    Failure::new(Kind::Failed, error.to_string())
}

/// What somebody should know who is about to send mails.
fn remark(found: &MostActive, rows: &[Row<'_>], output: Output) {
    let count = |is_so: fn(&Row<'_>) -> bool| rows.iter().filter(|row| is_so(row)).count();
    let (linkless, nameless) =
        (count(|row| row.upgrade_url.is_none()), count(|row| row.email.is_none()));
    if linkless < rows.len() {
        let until = moments::exact(domain::clock::parse_moment(&found.links_until).unwrap_or(0));
        output.note(&format!("The links are good until {until}."));
    }
    if !rows.is_empty() && linkless == rows.len() {
        output.note("Nobody has a link: nothing is sold here, or nobody of them has a key.");
    } else if linkless > 0 {
        output.note(&format!(
            "{linkless} have no link, for they have no key and couldn't use what they buy. \
             `gatewayctl user code USER_ID` gives one."
        ));
    }
    if nameless > 0 {
        output.note(&format!("{nameless} have no email here: they weren't on the roster."));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Arguments, Command};

    #[test]
    fn people_are_greeted_as_far_as_their_name_tells() {
        for (name, first) in [
            ("Ada Lovelace", Some("Ada")),
            ("Lovelace, Ada King", Some("Ada")),
            ("Plato", Some("Plato")),
            ("Dr. Ada Lovelace", Some("Ada")),
            ("Prof. Dr. Lovelace", None),
            ("J. R. R. Tolkien", None),
            ("Tolkien, J. R. R.", None),
            ("  Marie  Curie ", Some("Marie")),
            ("=Bob", Some("=Bob")),
            ("", None),
            (",", None),
        ] {
            assert_eq!(first_name(name), first, "{name}");
        }
    }

    #[test]
    fn days_end_where_the_time_does() {
        assert_eq!(days_before("2026-11-21", 7).unwrap(), "2026-11-14T00:00:00.000Z");
        assert_eq!(days_before("soon", 7).unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn no_name_is_a_formula_and_each_gets_a_link_of_one_tier() {
        let link = |tier: &str| (tier.to_owned(), format!("https://gw/upgrade?tier={tier}"));
        let bob = Active {
            user_id: "bob".to_owned(),
            name: Some("=HYPERLINK(\"https://x\") Bob".to_owned()),
            email: Some("@bob".to_owned()),
            tier: None,
            requests: 3,
            tokens: 9,
            last_seen: "2026-11-21T06:23:36.000Z".to_owned(),
            upgrade: [link("tier1"), link("tier2")].into(),
        };
        let users = [bob];
        let printed = |words: &str| {
            let words = format!("gatewayctl export --active {words}");
            let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
            let Command::Export(options) = arguments.command else { panic!("{words}") };
            rows(&users, &options).map(|rows| csv(&rows).unwrap())
        };
        assert_eq!(
            printed("").unwrap(),
            "name,first_name,email,user_id,tier,requests,tokens,last_seen,upgrade_url\r\n\
             \"'=HYPERLINK(\"\"https://x\"\") Bob\",\"'=HYPERLINK(\"\"https://x\"\")\",'@bob,bob,,3,9,\
             2026-11-21T06:23:36.000Z,https://gw/upgrade?tier=tier1\r\n"
        );
        assert!(printed("--tier tier2").unwrap().contains("https://gw/upgrade?tier=tier2"));
        assert_eq!(printed("--tier tier3").unwrap_err().kind, Kind::Usage);
    }
}
