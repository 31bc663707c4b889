//! The names that the members of answers have, as far as they mean something here.

/// What a member is, by its name. The same name may mean something at one place only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Name {
    /// Any other: a string in it says something.
    #[default]
    Other,
    /// Bytes as text, such as an image's: they say something, but are no text.
    Bytes,
    /// What is said about the answer, and isn't the answer: nothing in it says something.
    Bookkeeping,
    Choices,
    Code,
    Content,
    Error,
    FinishReason,
    Id,
    Message,
    Object,
    Output,
    Response,
    /// A list or an object that holds what was asked for.
    Result,
    SequenceNumber,
    Status,
    Success,
    Type,
    Usage,
    UsagePart(Part),
}

/// A number of tokens in a `usage` object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `total_tokens`.
    Total,
    /// `prompt_tokens`.
    Prompt,
    /// `completion_tokens`.
    Completion,
    /// `input_tokens`.
    Input,
    /// `output_tokens`.
    Output,
    /// `cache_creation_input_tokens`: beside `input_tokens`, not a part of it.
    CacheWrite,
    /// `cache_read_input_tokens`: the same.
    CacheRead,
}

impl Name {
    /// The name's meaning.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"choices" => Self::Choices,
            b"code" | b"status_code" | b"statusCode" | b"error_code" | b"errcode" => Self::Code,
            b"content" => Self::Content,
            b"error" | b"errors" => Self::Error,
            b"finish_reason" => Self::FinishReason,
            b"id" => Self::Id,
            b"message" | b"msg" | b"detail" => Self::Message,
            b"object" => Self::Object,
            b"output" => Self::Output,
            b"response" => Self::Response,
            b"candidates" | b"completion" | b"data" | b"embedding" | b"embeddings"
            | b"generated_text" | b"result" | b"results" | b"text" | b"transcript" => Self::Result,
            b"sequence_number" => Self::SequenceNumber,
            b"status" => Self::Status,
            b"success" => Self::Success,
            b"type" => Self::Type,
            b"usage" => Self::Usage,
            b"total_tokens" => Self::UsagePart(Part::Total),
            b"prompt_tokens" => Self::UsagePart(Part::Prompt),
            b"completion_tokens" => Self::UsagePart(Part::Completion),
            b"input_tokens" => Self::UsagePart(Part::Input),
            b"output_tokens" => Self::UsagePart(Part::Output),
            b"cache_creation_input_tokens" => Self::UsagePart(Part::CacheWrite),
            b"cache_read_input_tokens" => Self::UsagePart(Part::CacheRead),
            b"audio" | b"b64_json" | b"encrypted_content" | b"file_data" | b"image"
            | b"image_url" | b"partial_image_b64" | b"signature" | b"url" => Self::Bytes,
            name if is_bookkeeping(name) => Self::Bookkeeping,
            _ => Self::Other,
        }
    }
}

fn is_bookkeeping(name: &[u8]) -> bool {
    matches!(
        name,
        b"annotations"
            | b"background"
            | b"content_filter_results"
            | b"container"
            | b"conversation"
            | b"created"
            | b"created_at"
            | b"effort"
            | b"event"
            | b"format"
            | b"incomplete_details"
            | b"instructions"
            | b"logprobs"
            | b"metadata"
            | b"model"
            | b"obfuscation"
            | b"phase"
            | b"prompt_cache_key"
            | b"prompt_filter_results"
            | b"provider"
            | b"role"
            | b"safety_identifier"
            | b"service_tier"
            | b"stop_sequence"
            | b"system_fingerprint"
            | b"timestamp"
            | b"tool_choice"
            | b"tools"
            | b"top_logprobs"
            | b"truncation"
            | b"user"
            | b"verbosity"
            | b"version"
    ) || name.ends_with(b"_id")
        || name.ends_with(b"_reason")
}
