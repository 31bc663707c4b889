//! `kits.csv`: who has which kit at which address. It is for a mail merge, and for the next run: what is
//! in it exists nowhere else.

use std::io;
use std::path::{Path, PathBuf};

use domain::claim_code::ClaimCode;
use domain::identifiers::UserId;
use domain::kit::{KitToken, file_name};
use domain::spreadsheet;
use serde_json::json;

use super::people::Person;
use super::table::{self, Line};
use crate::failure::{Failure, Kind};
use crate::files::write_privately;

const NAME: &str = "kits.csv";
const COLUMNS: [&str; 7] = ["name", "email", "user_id", "code", "url", "file", "expires_at"];

/// What the kit that is nobody's own is called on the list.
const ANYBODY: &str = "Anybody";

/// A kit.
#[derive(Clone, PartialEq, Eq)]
pub struct Kit {
    /// Whose it is; nobody's where it is for anybody.
    pub user_id: Option<UserId>,
    /// Its owner's name.
    pub name: String,
    /// Its owner's email, where it is known.
    pub email: String,
    /// What becomes its owner's key.
    pub code: Option<String>,
    /// What its address ends in.
    pub token: KitToken,
    /// Until when the gateway hands it out, as the gateway said; nothing where it never had it.
    pub expires_at: Option<String>,
}

/// The list of kits in a folder: those that are made now, those of earlier runs, and the one for
/// anybody.
pub struct Manifest {
    path: PathBuf,
    base: String,
    kits: Vec<Kit>,
}

impl Kit {
    /// Its address.
    pub fn url(&self, base: &str) -> String {
        format!("{base}/kit/{}", self.token.expose())
    }

    /// The name of its ZIP.
    pub fn file(&self) -> String {
        file_name(self.user_id.as_ref())
    }

    fn new(owner: Option<Person>, token: KitToken) -> Self {
        let expires_at = None;
        if let Some(Person { user_id, name, email, code }) = owner {
            return Self { user_id: Some(user_id), name, email, code, token, expires_at };
        }
        let (name, email) = (ANYBODY.to_owned(), String::new());
        Self { user_id: None, name, email, code: None, token, expires_at }
    }

    /// Keeps the address that it had before, and the code where no newer one is known; with a newer one,
    /// what is at the address is another kit.
    fn go_on_from(&mut self, before: &Self) {
        let Self { token, code, expires_at, .. } = before.clone();
        self.token = token;
        if self.code.is_none() || self.code == code {
            (self.code, self.expires_at) = (code, expires_at);
        }
    }

    fn read(line: &Line) -> Option<Self> {
        let (text, url) = (|name| line.cell(name).to_owned(), line.cell("url"));
        let some = |name| Some(text(name)).filter(|text: &String| !text.is_empty());
        Some(Self {
            user_id: some("user_id").map(|name| UserId::parse(&name)).transpose().ok()?,
            name: text("name"),
            email: text("email"),
            code: match some("code") {
                Some(code) => Some(ClaimCode::parse(&code)?.expose()),
                None => None,
            },
            token: KitToken::parse(url.rsplit('/').next()?)?,
            expires_at: some("expires_at"),
        })
    }

    fn row(&self, base: &str) -> String {
        let Self { user_id, name, email, code, expires_at, .. } = self;
        let (url, file) = (self.url(base), self.file());
        let cells = [
            json!(name),
            json!(email),
            json!(user_id),
            json!(code),
            json!(url),
            json!(file),
            json!(expires_at),
        ];
        let cells = cells.map(|cell| cell.to_string());
        spreadsheet::row(cells.iter().map(|cell| spreadsheet::cell(cell)))
    }
}

impl Manifest {
    /// Reads the list in a folder, where there is one. The kits in it lead to `base`.
    ///
    /// # Errors
    /// Where it can't be read: what is in it would be lost.
    pub fn read(folder: &Path, base: String) -> Result<Self, Failure> {
        let path = folder.join(NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, base, kits: Vec::new() });
            }
            Err(error) => return Err(Failure::file(&path, "read", &error)),
        };
        let lines = table::read(&text, &["user_id", "code", "url"]);
        let kits = lines.and_then(|lines| lines.iter().map(Kit::read).collect());
        let kits = kits.ok_or_else(|| {
            let message = format!("{} isn't what this command wrote.", path.display());
            Failure::new(Kind::Usage, message)
                .next("Codes and addresses may be in it: mend it, or name another folder with -o.")
        })?;
        Ok(Self { path, base, kits })
    }

    /// Takes up the people who get kits now, in their order. Whoever has a kit keeps its address, and a
    /// code that is known nowhere else; unless these people's are to be new. Others stay on the list,
    /// behind them. `fresh` has a token for each of the people, and one for the kit for anybody.
    pub fn take_up(&mut self, people: Vec<Person>, is_new: bool, fresh: Vec<KitToken>) {
        let known = std::mem::take(&mut self.kits);
        let owners = people.into_iter().map(Some).chain([None]);
        let kits = owners.zip(fresh).map(|(owner, token)| Kit::new(owner, token));
        let mut kits: Vec<_> = kits.collect();
        // In the kit for anybody there is nothing that could be void.
        for kit in kits.iter_mut().filter(|kit| !is_new || kit.user_id.is_none()) {
            if let Some(before) = known.iter().find(|known| known.user_id == kit.user_id) {
                kit.go_on_from(before);
            }
        }
        let anybody = kits.pop();
        let is_other = |known: &Kit| {
            known.user_id.is_some() && kits.iter().all(|kit| kit.user_id != known.user_id)
        };
        let others: Vec<_> = known.iter().filter(|known| is_other(known)).cloned().collect();
        self.kits = kits.into_iter().chain(others).chain(anybody).collect();
    }

    /// The kits of the first so many people, and the one for anybody.
    pub fn current(&self, people: usize) -> Vec<Kit> {
        let (of_people, rest) = self.kits.split_at(people.min(self.kits.len()));
        of_people.iter().chain(rest.last()).cloned().collect()
    }

    /// Notes until when the gateway hands a kit out.
    pub fn note_expiry(&mut self, token: &KitToken, expires_at: &str) {
        for kit in self.kits.iter_mut().filter(|kit| kit.token == *token) {
            kit.expires_at = Some(expires_at.to_owned());
        }
    }

    /// Writes the list, whole, for its owner alone.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write(&self) -> Result<(), Failure> {
        let head = spreadsheet::row(COLUMNS.iter());
        let text = self.kits.iter().fold(head, |text, kit| text + &kit.row(&self.base));
        write_privately(&self.path, text)
            .map_err(|error| Failure::file(&self.path, "written", &error))
    }

    /// Where the list is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://gw.example.com";

    fn person(name: &str, code: Option<&str>) -> Person {
        let user_id = UserId::parse(&name.to_lowercase()).unwrap();
        let code = code.map(str::to_owned);
        Person { user_id, name: format!("={name}"), email: format!("{name}@x"), code }
    }

    /// A few tokens, from this number on.
    fn tokens(from: u8) -> Vec<KitToken> {
        (from..from + 5).map(|number| KitToken::mint([0, 0, 0, 0, 0, 0, 0, number])).collect()
    }

    fn rows(manifest: &Manifest) -> Vec<String> {
        let text = std::fs::read_to_string(manifest.path()).unwrap();
        text.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn what_was_written_is_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Manifest::read(folder.path(), BASE.to_owned()).unwrap();
        let mut manifest = read();
        let people = || vec![person("Ada", Some("0000-0001")), person("Bob", Some("0000-0002"))];
        manifest.take_up(people(), false, tokens(1));
        manifest.note_expiry(&manifest.kits[1].token.clone(), "2026-12-21T00:00:00.000Z");
        manifest.write().unwrap();
        let written = rows(&manifest);
        assert_eq!(
            written,
            [
                "'=Ada,Ada@x,ada,0000-0001,https://gw.example.com/kit/0000-0000-0001,\
                 agent-kit-ada.zip,",
                "'=Bob,Bob@x,bob,0000-0002,https://gw.example.com/kit/0000-0000-0002,\
                 agent-kit-bob.zip,2026-12-21T00:00:00.000Z",
                "Anybody,,,,https://gw.example.com/kit/0000-0000-0003,agent-kit.zip,",
            ]
        );

        // The gateway tells codes once.
        let mut again = read();
        let forgetful = people().into_iter().map(|person| Person { code: None, ..person });
        again.take_up(forgetful.collect(), false, tokens(11));
        again.write().unwrap();
        assert_eq!(rows(&again), written);

        // Who comes later comes first, and nobody's code is lost.
        let mut later = read();
        later.take_up(vec![person("Cy", None)], false, tokens(21));
        assert_eq!(
            later.current(1).iter().map(Kit::file).collect::<Vec<_>>(),
            ["agent-kit-cy.zip", "agent-kit.zip"]
        );
        later.write().unwrap();
        assert_eq!((rows(&later).len(), &rows(&later)[1..]), (4, &written[..]));

        // Somebody new under an old USER_ID: what is at the address isn't this kit.
        let mut anew = read();
        anew.take_up(vec![person("Bob", Some("0000-0007"))], false, tokens(31));
        let bob = &anew.kits[0];
        assert_eq!((bob.code.as_deref(), &bob.expires_at), (Some("0000-0007"), &None));
        assert!(bob.url(BASE).ends_with("0000-0000-0002"));

        let mut renewed = read();
        renewed.take_up(vec![person("Ada", Some("0000-0009"))], true, tokens(37));
        let ada = &renewed.kits[0];
        assert_eq!(ada.code.as_deref(), Some("0000-0009"));
        assert!(ada.url(BASE).ends_with("0000-0000-0015") && ada.expires_at.is_none());
        let others: Vec<_> = renewed.kits[1..].iter().map(|kit| kit.url(BASE)).collect();
        let before: Vec<_> = read().kits.iter().map(|kit| kit.url(BASE)).collect();
        assert_eq!(others, [before[0].clone(), before[2].clone(), before[3].clone()]);
    }

    #[test]
    fn what_cant_be_read_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        for text in
            ["", "something else\n", "user_id,code,url\nada,ABCD-EFGH,https://x/kit/short\n"]
        {
            std::fs::write(folder.path().join(NAME), text).unwrap();
            let failure = Manifest::read(folder.path(), BASE.to_owned()).err().unwrap();
            assert_eq!(failure.kind, Kind::Usage, "{text:?}");
        }
    }
}
