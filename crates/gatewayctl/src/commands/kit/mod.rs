//! `kit`: a ZIP for everybody on a list, the cards that lead there, and the way to put them up.
//!
//! Codes are told once, and addresses stand on cards: both are in `kits.csv` before anything is made of
//! them, so that a run that broke off can be run again.

mod archive;
mod cards;
mod manifest;
pub mod people;
pub mod table;
mod upload;

use std::io;
use std::path::{Path, PathBuf};

use domain::kit::KitToken;
use serde_json::json;

use self::archive::Settings;
use self::manifest::{Kit, Manifest};
use self::people::{Person, Roster};
use self::upload::Load;
use crate::api::Seat;
use crate::arguments;
use crate::base_url::BaseUrl;
use crate::client::Client;
use crate::commands::{confirm, roster};
use crate::failure::{Failure, Kind};
use crate::files::write_privately;
use crate::output::{Output, Progress, print_json};

const CARDS: &str = "cards.html";

/// How many are named of those who have no code.
const NAMED: usize = 10;

/// Where kits are made, and where they lead.
struct Workshop<'a> {
    folder: &'a Path,
    base: String,
    output: Output,
}

/// Makes kits, and puts them up where that is wanted.
///
/// 1. The list is read, and the folder is found to be writable.
/// 2. Who isn't a user yet becomes one, with a code.
/// 3. Codes and addresses are written down.
/// 4. A ZIP is made for each, and the cards.
/// 5. With `--upload`, the gateway gets the ZIPs.
///
/// # Errors
/// What the gateway refuses, files that can't be read or written, and people whose code nobody knows.
pub fn run(client: &Client, options: &arguments::Kit, output: Output) -> Result<(), Failure> {
    let roster = Roster::read(&options.roster)?;
    let base = match &options.address {
        Some(address) => BaseUrl::parse(address)?.text(),
        None => client.base().text(),
    };
    let workshop = Workshop { folder: &options.output, base, output };
    workshop.open()?;
    let mut manifest = Manifest::read(workshop.folder, workshop.base.clone())?;
    if options.address.is_none() && client.base().is_loopback() {
        output.note(
            "These kits lead to this very machine, and work nowhere else: --for names another URL.",
        );
    }

    let people = match roster {
        Roster::List(list) => seat(client, list, options)?,
        Roster::Seats(_) if options.reissue => {
            let message = "--reissue wants the list of people, with the columns name and email.";
            return Err(Failure::new(Kind::Usage, message));
        }
        Roster::Seats(people) => people,
    };

    let count = people.len();
    manifest.take_up(people.clone(), options.reissue, tokens(count + 1)?);
    if let Err(failure) = manifest.write() {
        // The codes are nowhere else.
        let seats: Vec<Seat> = people.into_iter().map(Seat::from).collect();
        let failure = failure.next("The codes are shown instead. Copy them now.");
        let shown = if output.is_json { print_json(&seats) } else { roster::show(&seats, output) };
        return shown.and(Err(failure));
    }
    let kits = manifest.current(count);
    check_codes(&kits, &manifest)?;

    workshop.make(&kits)?;
    if options.upload {
        let load = Load { folder: workshop.folder, lifetime: options.expires };
        workshop.put_up(client, load, (&kits, &mut manifest))?;
    }
    workshop.report(&manifest.current(count), &manifest, options.upload)
}

/// Has the gateway seat everybody on a list.
fn seat(client: &Client, list: Vec<u8>, options: &arguments::Kit) -> Result<Vec<Person>, Failure> {
    if options.reissue {
        let what = "Codes of these people that nobody has used will be void, and they get other \
                    addresses: their cards and kits of before are of no use then.";
        confirm(what, options.sure.yes)?;
    }
    let (_, seats) = roster::send(client, list, options.reissue)?;
    seats.into_iter().map(Person::try_from).collect()
}

/// Refuses to make kits without a code.
fn check_codes(kits: &[Kit], manifest: &Manifest) -> Result<(), Failure> {
    let without = |kit: &&Kit| kit.user_id.is_some() && kit.code.is_none();
    let missing: Vec<_> = kits.iter().filter(without).map(|kit| kit.name.as_str()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut names = missing.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if missing.len() > NAMED {
        names = format!("{names} and {} more", missing.len() - NAMED);
    }
    let message = format!(
        "The gateway has told the codes of {} people before, and tells each only once: {names}. No kit was \
         made; the codes of the others are kept in {}.",
        missing.len(),
        manifest.path().display()
    );
    Err(Failure::new(Kind::Failed, message).next(
        "Take as --roster the file that `roster import -o` wrote, or with -o the folder of the run before. \
         Or give everybody on the list a new code with --reissue.",
    ))
}

impl Workshop<'_> {
    /// Makes the folder where there is none, for its owner alone, and finds out whether it can be
    /// written to: codes are told once.
    fn open(&self) -> Result<(), Failure> {
        let refused = |error: io::Error| Failure::file(self.folder, "written to", &error);
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(self.folder).map_err(refused)?;
        tempfile::NamedTempFile::new_in(self.folder).map(drop).map_err(refused)
    }

    fn make(&self, kits: &[Kit]) -> Result<(), Failure> {
        let unmade = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Failed, format!("The kits can't be made: {error}."))
        };
        let cards = cards::write(kits, &self.base).map_err(|error| unmade(&error))?;
        let mut progress = Progress::new(self.output, "kits made", kits.len());
        for kit in kits {
            let settings = Settings {
                url: &self.base,
                user_id: kit.user_id.as_ref().map_or("", |user_id| user_id.as_str()),
                code: kit.code.as_deref().unwrap_or_default(),
            };
            let zip = archive::pack(settings).map_err(|error| unmade(&error))?;
            self.write(&kit.file(), &zip)?;
            progress.advance();
        }
        self.write(CARDS, cards.as_bytes())
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let path = self.folder.join(name);
        write_privately(&path, content).map_err(|error| Failure::file(&path, "written", &error))
    }

    fn put_up(
        &self,
        client: &Client,
        load: Load<'_>,
        (kits, manifest): (&[Kit], &mut Manifest),
    ) -> Result<(), Failure> {
        let mut progress = Progress::new(self.output, "kits uploaded", kits.len());
        let sent = upload::send_all(client, load, kits, |kit, expires_at| {
            manifest.note_expiry(&kit.token, &expires_at);
            progress.advance();
        });
        let uploaded = progress.done();
        drop(progress);
        // What is there is there, whatever became of the rest.
        let noted = manifest.write();
        sent.map_err(|mut failure| {
            failure.message =
                format!("{} {uploaded} of {} kits were uploaded.", failure.message, kits.len());
            failure.next("All else is made. Send the command again: it goes on.")
        })?;
        noted
    }

    fn report(&self, kits: &[Kit], manifest: &Manifest, is_up: bool) -> Result<(), Failure> {
        let cards = self.folder.join(CARDS);
        if self.output.is_json {
            let kits = kits.iter().map(|kit| self.described(kit)).collect::<Vec<_>>();
            return print_json(&json!({
                "folder": self.folder,
                "cards": cards,
                "list": manifest.path(),
                "uploaded": is_up,
                "kits": kits,
            }));
        }
        self.output.line(&format!(
            "{} kits in {}: one each for {} people, and one for anybody.\n{} is to be printed, {} for a mail \
             merge. Codes are in all of them.",
            kits.len(),
            self.folder.display(),
            kits.len().saturating_sub(1),
            cards.display(),
            manifest.path().display()
        ))?;
        let earliest = kits.iter().filter_map(|kit| kit.expires_at.as_deref()).min();
        self.output.line(&match earliest.filter(|_| is_up) {
            Some(expires_at) => {
                let day = expires_at.get(..10).unwrap_or(expires_at);
                format!("They are at their addresses until {day}.")
            }
            None => {
                "The addresses work once they are there: run it again with --upload.".to_owned()
            }
        })
    }

    fn described(&self, kit: &Kit) -> serde_json::Value {
        let file: PathBuf = self.folder.join(kit.file());
        json!({
            "user_id": kit.user_id,
            "name": kit.name,
            "file": file,
            "url": kit.url(&self.base),
            "expires_at": kit.expires_at,
        })
    }
}

impl From<Person> for Seat {
    fn from(Person { user_id, name, email, code }: Person) -> Self {
        Self { user_id: user_id.to_string(), name, email, code }
    }
}

/// So many tokens that nobody can guess.
fn tokens(count: usize) -> Result<Vec<KitToken>, Failure> {
    let token = || {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map(|()| KitToken::mint(random))
    };
    std::iter::repeat_with(token).take(count).collect::<Result<_, _>>().map_err(|error| {
        Failure::new(Kind::Failed, format!("This machine has no randomness: {error}."))
    })
}
