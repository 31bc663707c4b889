//! Kits in R2: an object for each, named by the fingerprint of its token, with whose it is and until
//! when it is handed out beside it. A person's are found by looking through all that there are: those of
//! a month or two, for kits expire. Where there is no bucket, there are no kits.

use std::collections::HashMap;

use domain::clock::Millis;
use domain::identifiers::UserId;
use domain::kit::{KitToken, Label, PREFIX};
use worker::{Bucket, Include, Object, Result};

use crate::context::{Context, random_id};
use crate::error::Error;
use crate::log;

/// Objects that are deleted at once, at most.
const BATCH: usize = 1_000;
/// Pages of the list that are looked at a day, at most; R2 puts up to a thousand objects on each.
const PAGES: usize = 40;

/// A kit that somebody asks for.
pub struct Kit {
    /// Whose it is, and until when.
    pub label: Label,
    /// The ZIP.
    pub zip: Vec<u8>,
}

/// The bucket.
///
/// # Errors
/// [`Error::NotConfigured`] where there is none.
pub fn bucket(context: &Context) -> std::result::Result<Bucket, Error> {
    let missing = "it has no R2 bucket for kits, KITS in wrangler.toml";
    context.kits().ok_or_else(|| Error::NotConfigured(missing.to_owned()))
}

/// Keeps a kit, in the place of what was kept under this token.
///
/// # Errors
/// [`Error::Internal`] where R2 fails.
pub async fn keep(bucket: &Bucket, token: &KitToken, kit: Kit) -> std::result::Result<(), Error> {
    let label = kit.label.write().into_iter().map(|(name, text)| (name.to_owned(), text));
    let labels: HashMap<_, _> = label.collect();
    let put = bucket.put(token.object_name(), kit.zip).custom_metadata(labels);
    put.execute().await.map(drop).map_err(|error| failed(&error))
}

/// The kit under a token.
///
/// # Errors
/// [`Error::Internal`] where R2 fails.
pub async fn find(bucket: &Bucket, token: &KitToken) -> std::result::Result<Option<Kit>, Error> {
    let Some(object) =
        bucket.get(token.object_name()).execute().await.map_err(|error| failed(&error))?
    else {
        return Ok(None);
    };
    let (Some(label), Some(body)) = (label_of(&object), object.body()) else { return Ok(None) };
    let zip = body.bytes().await.map_err(|error| failed(&error))?;
    Ok(Some(Kit { label, zip }))
}

/// Takes the kit under a token away. Whose it was; `None` where there was none.
///
/// # Errors
/// [`Error::Internal`] where R2 fails.
pub async fn withdraw(
    bucket: &Bucket,
    token: &KitToken,
) -> std::result::Result<Option<Label>, Error> {
    let name = token.object_name();
    let Some(object) = bucket.head(&name).await.map_err(|error| failed(&error))? else {
        return Ok(None);
    };
    bucket.delete(name).await.map_err(|error| failed(&error))?;
    Ok(label_of(&object))
}

/// The names of a person's kits.
///
/// # Errors
/// Where R2 fails.
pub async fn of(context: &Context, user_id: &UserId) -> Result<Vec<String>> {
    names_of(context, user_id, Millis::MAX).await
}

/// Deletes a person's kits that were brought until a moment.
///
/// # Errors
/// Where R2 fails.
pub async fn delete_of(context: &Context, user_id: &UserId, until: Millis) -> Result<()> {
    let names = names_of(context, user_id, until).await?;
    match context.kits() {
        Some(bucket) => delete(&bucket, names).await,
        None => Ok(()),
    }
}

/// Deletes what is handed out no more, as much of it as is found in a day's share of the list.
///
/// # Errors
/// Where R2 fails.
pub async fn delete_expired(context: &Context, now: Millis) -> Result<()> {
    let Some(bucket) = context.kits() else { return Ok(()) };
    // Names are hashes: beginning somewhere else each day, it gets everywhere, however many there are.
    let somewhere = format!("{PREFIX}{}", random_id());
    let mut left = PAGES;
    for start in [Some(somewhere), None] {
        let mut pages = Pages { bucket: &bucket, start, cursor: None, is_over: false };
        while left > 0
            && let Some(kits) = pages.next().await?
        {
            left -= 1;
            let expired = kits.into_iter().filter(|(_, label)| !label.is_good(now));
            delete(&bucket, expired.map(|(name, _)| name).collect()).await?;
        }
    }
    Ok(())
}

async fn names_of(context: &Context, user_id: &UserId, until: Millis) -> Result<Vec<String>> {
    let Some(bucket) = context.kits() else { return Ok(Vec::new()) };
    let mut pages = Pages { bucket: &bucket, start: None, cursor: None, is_over: false };
    let mut names = Vec::new();
    while let Some(kits) = pages.next().await? {
        let is_meant =
            |label: &Label| label.user_id.as_ref() == Some(user_id) && label.brought_at <= until;
        let meant = kits.into_iter().filter(|(_, label)| is_meant(label));
        names.extend(meant.map(|(name, _)| name));
    }
    Ok(names)
}

async fn delete(bucket: &Bucket, names: Vec<String>) -> Result<()> {
    for names in names.chunks(BATCH) {
        bucket.delete_multiple(names.to_vec()).await?;
    }
    Ok(())
}

/// The list of kits, page by page.
struct Pages<'a> {
    bucket: &'a Bucket,
    /// The name behind which it begins.
    start: Option<String>,
    cursor: Option<String>,
    is_over: bool,
}

impl Pages<'_> {
    /// The names of the next kits, with their labels; `None` behind the last page.
    async fn next(&mut self) -> Result<Option<Vec<(String, Label)>>> {
        if self.is_over {
            return Ok(None);
        }
        let mut list = self.bucket.list().prefix(PREFIX).include(vec![Include::CustomMetadata]);
        if let Some(start) = self.start.take() {
            list = list.start_after(start);
        }
        if let Some(cursor) = self.cursor.take() {
            list = list.cursor(cursor);
        }
        let page = list.execute().await?;
        self.cursor = page.cursor();
        self.is_over = !page.truncated() || self.cursor.is_none();
        let kit = |object: &Object| Some((object.key(), label_of(object)?));
        Ok(Some(page.objects().iter().filter_map(kit).collect()))
    }
}

fn label_of(object: &Object) -> Option<Label> {
    let texts = object.custom_metadata().ok()?;
    Label::read(|name| texts.get(name).map(String::as_str))
}

fn failed(error: &worker::Error) -> Error {
    log::fault("R2 failed", &error.to_string());
    Error::Internal
}
