//! The endpoints of `/v1`, each described once: what runs for it, and whose protocol its answer speaks.
//!
//! Sources: the API references of OpenAI and Anthropic; rerank as Cohere, Jina and vLLM serve it.

/// The protocol of an answer: how its stream ends, and what its errors look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's chat completions, and the older completions: chunks of `choices`, then `[DONE]`.
    Chat,
    /// OpenAI's responses: typed events, then `response.completed`, `.incomplete` or `.failed`.
    Responses,
    /// Anthropic's messages: typed events, then `message_stop`.
    Messages,
    /// OpenAI's images and audio: typed events, then one whose type ends with `.completed` or `.done`.
    Media,
    /// All else: an answer in JSON, or a stream whose end nobody here knows.
    Other,
}

/// What a request has done upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A model or an agent runs, and somebody pays: it waits for a slot, binds, and counts in the month.
    Inference,
    /// Nothing runs: models and stored answers are read, deleted or cancelled, tokens are counted.
    Free,
    /// Something is stored, or nobody here knows: it counts in the month, and waits for no slot.
    Other,
}

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What it has done.
    pub work: Work,
    /// The protocol of its answer.
    pub protocol: Protocol,
}

impl Endpoint {
    /// The endpoint of a method and a canonical path below `/v1`.
    #[must_use]
    pub fn of(method: &str, path: &str) -> Self {
        let protocol = protocol(path);
        Self { work: work(method, path), protocol }
    }

    /// Whether a model or an agent runs for it.
    #[must_use]
    pub fn is_inference(self) -> bool {
        self.work == Work::Inference
    }

    /// Whether nothing runs for it.
    #[must_use]
    pub fn is_free(self) -> bool {
        self.work == Work::Free
    }
}

/// The endpoints in their own spelling, and what a `POST` has done there; `*` stands for one segment. A
/// path of these is matched without case.
const KNOWN: &[(&str, Work)] = &[
    ("chat/completions", Work::Inference),
    ("chat/completions/*", Work::Other),
    ("chat/completions/*/messages", Work::Other),
    ("completions", Work::Inference),
    ("responses", Work::Inference),
    ("responses/compact", Work::Inference),
    ("responses/input_tokens", Work::Free),
    ("responses/*", Work::Other),
    ("responses/*/cancel", Work::Free),
    ("responses/*/input_items", Work::Other),
    ("embeddings", Work::Inference),
    ("models", Work::Other),
    ("messages", Work::Inference),
    ("messages/batches", Work::Other),
    ("messages/batches/*", Work::Other),
    ("messages/batches/*/cancel", Work::Free),
    ("messages/batches/*/results", Work::Other),
    ("messages/count_tokens", Work::Free),
    ("images/edits", Work::Inference),
    ("images/generations", Work::Inference),
    ("images/variations", Work::Inference),
    ("audio/speech", Work::Inference),
    ("audio/transcriptions", Work::Inference),
    ("audio/translations", Work::Inference),
    ("moderations", Work::Inference),
    ("rerank", Work::Inference),
];

/// The first segments of those that clients leave `/v1` out before.
const FAMILIES: &[&str] = &[
    "chat",
    "completions",
    "responses",
    "embeddings",
    "models",
    "messages",
    "images",
    "audio",
    "moderations",
    "rerank",
];

/// Whether this segment begins a path of `/v1` that lacks its `/v1`.
#[must_use]
pub fn is_family(segment: &str) -> bool {
    FAMILIES.iter().any(|family| family.eq_ignore_ascii_case(segment))
}

/// A path below `/v1/`, without a slash at either end, in the endpoint's own spelling where it is one
/// of those that are known. Names that somebody gave, such as a model's or a response's, stay.
#[must_use]
pub fn in_own_spelling(rest: &str) -> String {
    let segments: Vec<&str> = rest.split('/').collect();
    if let Some((pattern, _)) = known(&segments) {
        let own = |(own, given)| if own == "*" { given } else { own };
        return pattern.split('/').zip(segments).map(own).collect::<Vec<_>>().join("/");
    }
    // A model's name may have slashes in it.
    match rest.split_once('/') {
        Some((first, name)) if first.eq_ignore_ascii_case("models") => format!("models/{name}"),
        _ => rest.to_owned(),
    }
}

fn known(segments: &[&str]) -> Option<&'static (&'static str, Work)> {
    KNOWN.iter().find(|(pattern, _)| {
        let fits = |(own, given): (&str, &&str)| match own {
            "*" => !given.is_empty(),
            own => own.eq_ignore_ascii_case(given),
        };
        pattern.split('/').count() == segments.len() && pattern.split('/').zip(segments).all(fits)
    })
}

fn protocol(path: &str) -> Protocol {
    let Some(rest) = path.strip_prefix("/v1/") else { return Protocol::Other };
    match rest.split('/').next().unwrap_or_default() {
        "chat" | "completions" => Protocol::Chat,
        "responses" => Protocol::Responses,
        "messages" => Protocol::Messages,
        "images" | "audio" => Protocol::Media,
        _ => Protocol::Other,
    }
}

fn work(method: &str, path: &str) -> Work {
    if matches!(method, "GET" | "HEAD" | "DELETE") {
        return Work::Free;
    }
    let Some(rest) = path.strip_prefix("/v1/").filter(|_| method == "POST") else {
        return Work::Other;
    };
    if let Some((_, work)) = known(&rest.split('/').collect::<Vec<_>>()) {
        return *work;
    }
    // What looks like one of those may be one to the upstream: `chat/completions;x`, `images/new`.
    let is_alike = |family: &&str| {
        let begin = rest.get(..family.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(family))
    };
    match FAMILIES.iter().find(|family| is_alike(family)) {
        Some(&"models") | None if rest.ends_with("/cancel") => Work::Free,
        Some(&"models") | None => Work::Other,
        Some(_) => Work::Inference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_a_model_is_inference() {
        for path in [
            "chat/completions",
            "completions",
            "responses",
            "embeddings",
            "messages",
            "images/generations",
            "images/edits",
            "audio/speech",
            "audio/transcriptions",
            "moderations",
            "rerank",
            // Nobody here knows them, and an upstream may.
            "chat/completions;x=1",
            "chat/Completions/",
            "messages:batch",
            "images/upscale",
            "responses/compact2/more",
        ] {
            assert_eq!(work("POST", &format!("/v1/{path}")), Work::Inference, "{path}");
        }
    }

    #[test]
    fn what_runs_nothing_is_free() {
        for (method, path) in [
            ("GET", "/v1/models"),
            ("GET", "/v1/models/gpt-4o"),
            ("HEAD", "/v1"),
            ("GET", "/v1/responses/resp_1"),
            ("GET", "/v1/responses/resp_1/input_items"),
            ("DELETE", "/v1/responses/resp_1"),
            ("POST", "/v1/responses/resp_1/cancel"),
            ("POST", "/v1/responses/input_tokens"),
            ("GET", "/v1/chat/completions/chatcmpl-1"),
            ("DELETE", "/v1/chat/completions/chatcmpl-1"),
            ("POST", "/v1/messages/count_tokens"),
            ("GET", "/v1/messages/batches/b/results"),
            ("GET", "/v1/videos/video_1"),
            ("POST", "/v1/batches/batch_1/cancel"),
        ] {
            assert_eq!(work(method, path), Work::Free, "{method} {path}");
        }
        for (method, path) in [
            ("POST", "/v1/files"),
            ("POST", "/v1/messages/batches"),
            ("POST", "/v1/chat/completions/chatcmpl-1"),
            ("PUT", "/v1/responses"),
            ("POST", "/v1"),
            ("POST", "/v1/models/gpt-4o"),
        ] {
            assert_eq!(work(method, path), Work::Other, "{method} {path}");
        }
    }

    #[test]
    fn an_answer_speaks_the_protocol_of_its_family() {
        for (path, expected) in [
            ("/v1/chat/completions", Protocol::Chat),
            ("/v1/completions", Protocol::Chat),
            ("/v1/responses", Protocol::Responses),
            ("/v1/responses/resp_1", Protocol::Responses),
            ("/v1/messages", Protocol::Messages),
            ("/v1/messages/count_tokens", Protocol::Messages),
            ("/v1/images/edits", Protocol::Media),
            ("/v1/audio/speech", Protocol::Media),
            ("/v1/embeddings", Protocol::Other),
            ("/v1/models", Protocol::Other),
            ("/v1", Protocol::Other),
        ] {
            assert_eq!(protocol(path), expected, "{path}");
        }
    }

    #[test]
    fn a_known_endpoint_has_its_own_spelling_and_names_keep_theirs() {
        for (given, own) in [
            ("Chat/Completions", "chat/completions"),
            ("RESPONSES/resp_AbC/Input_Items", "responses/resp_AbC/input_items"),
            ("Responses/Compact", "responses/compact"),
            ("Models/Org/Model-4B", "models/Org/Model-4B"),
            ("Files/F-1", "Files/F-1"),
            ("chat/Completion", "chat/Completion"),
        ] {
            assert_eq!(in_own_spelling(given), own);
            assert_eq!(in_own_spelling(own), own);
        }
    }
}
