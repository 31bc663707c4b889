//! The sole reader of `Env`: settings, bindings, and what else the runtime gives.

use std::cell::OnceCell;
use std::rc::Rc;

use domain::settings::{SettingError, Settings};
use futures::FutureExt;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use worker::{Bucket, D1Database, D1PreparedStatement, D1Result, Env, Fetcher, ObjectNamespace};

use crate::error::Error;

thread_local! {
    // A deploy starts new isolates, so what one isolate sees of its settings never changes.
    static SETTINGS: OnceCell<Result<Rc<Settings>, SettingError>> = const { OnceCell::new() };
}

/// What a request or an object may ask of its surroundings.
#[derive(Clone)]
pub struct Context {
    env: Env,
    /// The event that is being answered; objects have none.
    event: Option<Rc<worker::Context>>,
}

impl Context {
    /// Takes what the runtime passes to a handler or an object.
    pub fn new(env: Env) -> Self {
        Self { env, event: None }
    }

    /// The same, for the event of one request.
    pub fn within(self, event: worker::Context) -> Self {
        Self { event: Some(Rc::new(event)), ..self }
    }

    /// Goes on with something after the answer.
    pub fn wait_until(&self, future: impl Future<Output = ()> + 'static) {
        // In a box, so that the way to the runtime isn't compiled once for each.
        let future = future.boxed_local();
        match &self.event {
            Some(event) => event.wait_until(future),
            None => wasm_bindgen_futures::spawn_local(future),
        }
    }

    /// The settings, read once an isolate.
    ///
    /// # Errors
    /// [`Error::NotConfigured`] where they can't be used.
    pub fn settings(&self) -> Result<Rc<Settings>, Error> {
        let read = || Settings::parse(|name| self.text(name)).map(Rc::new);
        let settings = SETTINGS.with(|cell| cell.get_or_init(read).clone());
        settings.map_err(|error| Error::NotConfigured(error.to_string()))
    }

    /// The objects of a class, by the name of their binding.
    ///
    /// # Errors
    /// Where there is no such binding.
    pub fn objects(&self, binding: &str) -> worker::Result<ObjectNamespace> {
        self.env.durable_object(binding)
    }

    /// The operator's database.
    ///
    /// # Errors
    /// Where there is no such binding.
    pub fn database(&self) -> worker::Result<D1Database> {
        self.env.d1("DB")
    }

    /// Has D1 run statements, all or none of them.
    ///
    /// # Errors
    /// Where it runs none of them. It may say so in a result, and without a reason.
    pub async fn batch(
        &self,
        statements: Vec<D1PreparedStatement>,
    ) -> worker::Result<Vec<D1Result>> {
        if statements.is_empty() {
            return Ok(Vec::new());
        }
        let results = self.database()?.batch(statements).await?;
        results.iter().try_for_each(check)?;
        Ok(results)
    }

    /// The files that the console is made of.
    ///
    /// # Errors
    /// Where there is no such binding.
    pub fn console(&self) -> worker::Result<Fetcher> {
        self.env.assets("CONSOLE")
    }

    /// Where kits are kept; `None` where there is no such binding, as on an account without R2.
    pub fn kits(&self) -> Option<Bucket> {
        self.env.bucket("KITS").ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.env.var(name).ok().map(|text| text.to_string())
    }
}

/// Whether D1 has done what it was asked for.
///
/// # Errors
/// Where it hasn't.
pub fn check(result: &D1Result) -> worker::Result<()> {
    match result.error() {
        None if result.success() => Ok(()),
        error => Err(error.unwrap_or_else(|| "D1 didn't do it, and gave no reason".into()).into()),
    }
}

/// A name that was never given before: 32 hex digits.
pub fn random_id() -> String {
    random_uuid().replace('-', "")
}

/// Bytes that nobody can guess; of 12 and more, none that were ever there before.
pub fn random_bytes<const LENGTH: usize>() -> [u8; LENGTH] {
    let length = u32::try_from(LENGTH).unwrap_or(u32::MAX);
    let bytes = Uint8Array::new_with_length(length);
    fill_randomly(&bytes);
    let mut random = [0; LENGTH];
    bytes.copy_to(&mut random);
    random
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    fn random_uuid() -> String;
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn fill_randomly(bytes: &Uint8Array);
}
