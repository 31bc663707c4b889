//! A small OpenAI-compatible model that echoes what it is told.
