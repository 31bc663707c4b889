//! `GET /operator/openapi.yaml`: the description of the operator's API.

use crate::incoming::Incoming;
use crate::reply::Reply;
use crate::{log, reply};

const DESCRIPTION: &str = include_str!("../../../docs/operator-api.yaml");

/// 200 and the description, as it is in docs/operator-api.yaml.
pub fn answer(incoming: &Incoming) -> Reply {
    log::early(incoming, 200, None);
    reply::text_of(200, "application/yaml", DESCRIPTION)
}
