//! What each code says to a person, and the members that its problem has beside the standard ones.
//!
//! The texts stand in `texts`; a code without one does not compile. The pages at `/problems`, the document at
//! `/openapi.json` and its tests read them. What a problem looks like on the wire is `super::problem`'s.

mod texts;

use serde_json::{Value, json};

pub(super) use texts::of;

/// What a person should know of a code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    /// What it means.
    pub(super) meaning: &'static str,
    /// How it comes about.
    pub(super) cause: &'static str,
    /// What to do.
    pub(super) remedy: &'static str,
    /// What programs find in the problem.
    pub(super) members: &'static [Member],
}

/// A machine-readable member of a problem.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) presence: Presence,
    pub(super) meaning: &'static str,
}

/// Whether a problem of the code always has the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Always,
    Sometimes,
}

/// What a member's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Count,
    /// True or false.
    Flag,
    /// `[[first, last], …]`, inclusive.
    Ranges,
    /// `[{ pointer, detail }, …]`
    Faults,
    /// `["small", …]`
    Texts,
}

impl Member {
    const fn always(name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { name, kind, presence: Presence::Always, meaning }
    }

    const fn sometimes(name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { name, kind, presence: Presence::Sometimes, meaning }
    }
}

impl Kind {
    /// As a person reads it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Count => "whole number",
            Self::Flag => "true or false",
            Self::Ranges => "list of [first, last]",
            Self::Faults => "list of { pointer, detail }",
            Self::Texts => "list of strings",
        }
    }

    /// As the document says it.
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Count => json!({ "type": "integer", "minimum": 0 }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Texts => json!({ "type": "array", "items": { "type": "string" } }),
            Self::Ranges => json!({ "type": "array", "items": {
                "type": "array", "items": { "type": "integer", "minimum": 0 }, "minItems": 2, "maxItems": 2,
            } }),
            Self::Faults => json!({ "type": "array", "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": { "pointer": { "type": "string" }, "detail": { "type": "string" } },
            } }),
        }
    }
}
