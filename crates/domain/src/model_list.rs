//! Narrows the answer to `GET /v1/models` to the models that a caller may name.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json_object::{JsonObject, string_value};

/// The upstream's answer is not a list of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's list of models could not be read")]
pub struct ModelListError;

/// The list with only the models whose id is one of `allowed`; all other members as they came.
///
/// # Errors
/// The body isn't a JSON object whose member `data` is an array.
pub fn filter(body: &[u8], allowed: &[String]) -> Result<Vec<u8>, ModelListError> {
    let source = JsonObject::parse(body).map_err(|_| ModelListError)?;
    let data = source.get("data").ok_or(ModelListError)?;
    let models: Vec<&RawValue> = serde_json::from_str(data).map_err(|_| ModelListError)?;
    let kept = models.iter().map(|model| model.get()).filter(|model| is_allowed(model, allowed));
    let mut list = source.clone();
    list.set_array("data", kept);
    Ok(list.to_json().into_bytes())
}

/// A model of the list, as far as it matters here.
#[derive(Deserialize)]
struct Model<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
}

fn is_allowed(model: &str, allowed: &[String]) -> bool {
    serde_json::from_str::<Model<'_>>(model)
        .ok()
        .and_then(|model| string_value(model.id.get()))
        .is_some_and(|id| allowed.iter().any(|name| *name == id))
}

#[cfg(test)]
mod tests;
