//! `roster import`: a list of people becomes users with codes.

use std::io::Read as _;
use std::path::Path;

use domain::spreadsheet;
use serde_json::{Value, json};
use ureq::http::Method;

use crate::api::Seat;
use crate::arguments::Roster;
use crate::client::{Client, Question};
use crate::commands::{confirm, read};
use crate::failure::{Failure, Kind};
use crate::files::{folder_of, write_privately};
use crate::output::{Output, Tone, cell, maybe, print_json, toned};

/// Imports a list, and shows or keeps the codes.
///
/// # Errors
/// What the gateway refuses, and files that can't be read or written; codes that were given out are shown
/// then.
pub fn import(client: &Client, command: Roster, output: Output) -> Result<(), Failure> {
    let Roster::Import { file, reissue, output: kept_in, force, sure } = command;
    // Codes are given out once, so what could lose them is found out before.
    if let Some(path) = &kept_in {
        check_free(path, force)?;
    }
    let list = read_list(&file)?;
    if reissue {
        confirm("Codes that nobody has used will be void.", sure.yes)?;
    }
    let (answer, seats) = send(client, list, reissue)?;
    let is_kept = kept_in.as_deref().map(|path| write(path, &seats));
    let show = if output.is_json {
        print_json(&answer)
    } else if let Some(Ok(())) = is_kept {
        Ok(())
    } else {
        show(&seats, output)
    };
    let new = seats.iter().filter(|seat| seat.code.is_some()).count();
    let place = kept_in.as_ref().filter(|_| matches!(is_kept, Some(Ok(()))));
    let place = place.map_or("They are shown only now.".to_owned(), |path| {
        format!("They are in {}, and nowhere else.", path.display())
    });
    output.note(&format!(
        "{} people, {new} codes. {}",
        seats.len(),
        if new > 0 { &place } else { "" }
    ));
    show.and(is_kept.unwrap_or(Ok(())))
}

/// Has the gateway seat everybody on a list: its answer, as it came and as it is read.
///
/// # Errors
/// What the gateway refuses. An answer that isn't understood is printed.
pub fn send(client: &Client, list: Vec<u8>, reissue: bool) -> Result<(Value, Vec<Seat>), Failure> {
    let question = Question {
        method: Method::POST,
        path: &["operator", "api", "roster"],
        query: &[("reissue", if reissue { "true" } else { "" })],
        body: Some(("text/csv", list)),
    };
    let answer: Value = client.json(&question)?;
    match read(&answer) {
        Ok(seats) => Ok((answer, seats)),
        // Whatever it is, the codes are in it, and nowhere else.
        Err(failure) => print_json(&answer).and(Err(failure)),
    }
}

fn check_free(path: &Path, force: bool) -> Result<(), Failure> {
    if path.exists() && !force {
        let message = format!("{} is there already, perhaps with codes in it.", path.display());
        return Err(Failure::new(Kind::Usage, message).next("Name another file, or add --force."));
    }
    let folder = folder_of(path);
    tempfile::NamedTempFile::new_in(folder)
        .map(drop)
        .map_err(|error| Failure::file(folder, "written to", &error))
}

/// Reads a list from a file, or from the standard input where that is `-`.
///
/// # Errors
/// Where it can't be read.
pub fn read_list(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut list = Vec::new();
    let outcome = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut list).map(drop)
    } else {
        std::fs::read(file).map(|bytes| list = bytes)
    };
    outcome.map_err(|error| Failure::file(file, "read", &error))?;
    Ok(list)
}

/// Shows who has which code.
///
/// # Errors
/// Where it can't be written.
pub fn show(seats: &[Seat], output: Output) -> Result<(), Failure> {
    let rows = seats.iter().map(|seat| {
        vec![
            cell(&seat.user_id),
            cell(&seat.name),
            cell(&seat.email),
            match &seat.code {
                Some(code) => toned(code, Tone::Strong),
                None => maybe(None),
            },
        ]
    });
    output.table(&["USER_ID", "NAME", "EMAIL", "CODE"], rows.collect())
}

fn write(path: &Path, seats: &[Seat]) -> Result<(), Failure> {
    let mut text = spreadsheet::row(["user_id", "name", "email", "code"].iter());
    for Seat { user_id, name, email, code } in seats {
        let cells = [json!(user_id), json!(name), json!(email), json!(code)];
        let cells: Vec<_> = cells.iter().map(ToString::to_string).collect();
        text += &spreadsheet::row(cells.iter().map(|cell| spreadsheet::cell(cell)));
    }
    write_privately(path, &text).map_err(|error| {
        Failure::file(path, "written", &error).next("The codes are shown instead. Copy them now.")
    })
}
