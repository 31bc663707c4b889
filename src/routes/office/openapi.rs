//! `GET /operator/openapi.yaml`: the description of the operator's API.

use web_sys::Response;

use crate::incoming::Incoming;
use crate::{log, reply};

const DESCRIPTION: &str = include_str!("../../../docs/operator-api.yaml");

/// 200 and the description, as it is in docs/operator-api.yaml.
pub fn answer(incoming: &Incoming) -> Response {
    log::early(incoming, 200, None);
    reply::text_of(200, "application/yaml", DESCRIPTION)
}
