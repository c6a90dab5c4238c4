//! What a check of the doctor found. Made by `ops::doctor` and `client::probe`, printed by `cli`.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It could not be looked at; `detail` says why.
    Skip,
    /// It works, but somebody should know.
    Warn,
    /// It does not work, or will not for long.
    Fail,
}

/// One check, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `disk.rename`.
    pub check: &'static str,
    /// How bad it is.
    pub status: Level,
    /// What is so.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Level::Ok, detail: detail.into(), advice: None }
    }

    /// Nobody looked.
    pub fn skip(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Level::Skip, detail: detail.into(), advice: None }
    }

    /// Somebody should know, and may do `advice`.
    pub fn warn(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, status: Level::Warn, detail: detail.into(), advice: Some(advice.into()) }
    }

    /// Somebody should do `advice`.
    pub fn fail(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, status: Level::Fail, detail: detail.into(), advice: Some(advice.into()) }
    }
}
