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

/// The endpoints in their own spelling; `*` stands for one segment. A path of these is matched without
/// case.
const KNOWN: &[&str] = &[
    "chat/completions",
    "chat/completions/*",
    "chat/completions/*/messages",
    "completions",
    "responses",
    "responses/compact",
    "responses/input_tokens",
    "responses/*",
    "responses/*/cancel",
    "responses/*/input_items",
    "embeddings",
    "models",
    "messages",
    "messages/batches",
    "messages/batches/*",
    "messages/batches/*/cancel",
    "messages/batches/*/results",
    "messages/count_tokens",
    "images/edits",
    "images/generations",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "moderations",
    "rerank",
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
    let known = KNOWN.iter().map(|known| known.split('/').collect::<Vec<_>>());
    if let Some(known) = known.into_iter().find(|known| is_spelt(known, &segments)) {
        let own = |(own, given): (&&'static str, &&str)| match *own {
            "*" => (*given).to_owned(),
            own => own.to_owned(),
        };
        return known.iter().zip(&segments).map(own).collect::<Vec<_>>().join("/");
    }
    // A model's name may have slashes in it.
    match rest.split_once('/') {
        Some((first, name)) if first.eq_ignore_ascii_case("models") => format!("models/{name}"),
        _ => rest.to_owned(),
    }
}

fn is_spelt(known: &[&str], segments: &[&str]) -> bool {
    let fits = |(known, given): (&&str, &&str)| *known == "*" || known.eq_ignore_ascii_case(given);
    known.len() == segments.len() && known.iter().zip(segments).all(fits)
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
    match rest {
        "chat/completions" | "completions" | "responses" | "responses/compact" | "embeddings"
        | "messages" | "moderations" | "rerank" => Work::Inference,
        "messages/count_tokens" | "responses/input_tokens" => Work::Free,
        _ if rest.starts_with("images/") || rest.starts_with("audio/") => Work::Inference,
        _ if rest.ends_with("/cancel") => Work::Free,
        _ => Work::Other,
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
        ] {
            assert_eq!(work(method, path), Work::Free, "{method} {path}");
        }
        for (method, path) in [
            ("POST", "/v1/files"),
            ("POST", "/v1/messages/batches"),
            ("POST", "/v1/chat/completions/chatcmpl-1"),
            ("PUT", "/v1/responses"),
            ("POST", "/v1"),
            ("POST", "/v1/imagesx"),
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
