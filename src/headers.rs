//! Headers, read and made as one text.
//!
//! Each call between Wasm and the runtime costs more than most of what is done on either side of it
//! (bench/NOTES.md), so the head of a message crosses whole: a line for a name, a line for its value.

use js_sys::Object;
use wasm_bindgen::prelude::*;
use web_sys::{Headers, Response};

/// Headers by name, in lower case, each once.
#[derive(Clone, Default)]
pub struct HeaderList(Vec<(String, String)>);

impl HeaderList {
    /// What the runtime has; values of one name are joined by commas there.
    pub fn read(headers: &Headers) -> Self {
        let text = flatten(headers);
        let mut lines = text.split('\n');
        let mut list = Vec::new();
        while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
            list.push((name.to_owned(), value.to_owned()));
        }
        Self(list)
    }

    /// The value of a name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Sets a value, in the place of any other of that name. One that no header can have is left out.
    pub fn set(&mut self, name: &str, value: &str) {
        if value.contains(['\n', '\r', '\0']) {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Takes a name out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// For the runtime, which takes a plain object wherever it takes headers.
    pub fn to_object(&self) -> Object {
        unflatten(&self.to_text())
    }

    /// An answer with these headers; `body` is whatever the runtime takes for one.
    ///
    /// # Errors
    /// Where the runtime refuses the status, or a body with it.
    pub fn respond(&self, status: u16, body: &JsValue) -> Result<Response, JsValue> {
        respond(status, &self.to_text(), body)
    }

    fn to_text(&self) -> String {
        let length = self.0.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let mut text = String::with_capacity(length);
        for (name, value) in &self.0 {
            text.push_str(name);
            text.push('\n');
            text.push_str(value);
            text.push('\n');
        }
        text
    }
}

#[wasm_bindgen(module = "/src/boundary.js")]
extern "C" {
    fn flatten(headers: &Headers) -> String;
    fn unflatten(text: &str) -> Object;
    #[wasm_bindgen(catch)]
    fn respond(status: u16, head: &str, body: &JsValue) -> Result<Response, JsValue>;
}
