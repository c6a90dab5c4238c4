//! What an upload token allows: a part of its bearer's [`super::Principal`]. Pure; `auth` makes it, `upload` asks it.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::error::{Code, Error, Result};
use super::id::TokenId;
use super::metadata::{self, Metadata};

/// See the module.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The token.
    pub token: TokenId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Bytes of each file at most.
    pub max_size: u64,
    /// Files at most, begun uploads counted in; `None`: any number.
    pub max_files: Option<u64>,
    /// What each file may be; `None`: anything.
    pub content_types: Option<Vec<TypePattern>>,
    /// Pairs that each of its files has, whatever the client says.
    pub metadata: Metadata,
}

impl Grant {
    /// # Errors
    /// `FileTooLarge` `{ max_bytes }`.
    pub fn check_size(&self, size: u64) -> Result<()> {
        if size <= self.max_size {
            return Ok(());
        }
        let detail = format!("{size} bytes are more than the {} that this token allows", self.max_size);
        Err(Error::new(Code::FileTooLarge, detail).with("max_bytes", self.max_size))
    }

    /// The client's pairs with the token's.
    ///
    /// # Errors
    /// `InvalidRequest` if they are too many together.
    pub fn merge(&self, metadata: &Metadata) -> Result<Metadata> {
        let pairs = metadata.iter().chain(self.metadata.iter());
        let pairs: BTreeMap<_, _> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Metadata::new(pairs)
    }
}

/// Media types that may be: one, or with `image/*` all of a kind. In lower case, without parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TypePattern(String);

impl TypePattern {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn fits(&self, essence: &str) -> bool {
        match (self.0.strip_suffix("/*"), essence.split_once('/')) {
            (Some(kind), Some((found, _))) => kind == found,
            _ => self.0 == essence,
        }
    }
}

impl FromStr for TypePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = text.strip_suffix("/*").map_or_else(|| text.to_owned(), |kind| format!("{kind}/any"));
        if named.contains([';', ',', '*']) || metadata::check_content_type(&named).is_err() {
            let detail = format!("`{text}` is neither a media type nor a kind such as image/*");
            return Err(Error::new(Code::InvalidRequest, detail));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Holds what a file is against what is allowed.
///
/// # Errors
/// `UnsupportedMediaType` `{ content_type, allowed }`.
pub fn check_content_type(content_type: &str, allowed: &[TypePattern]) -> Result<()> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if allowed.iter().any(|pattern| pattern.fits(&essence)) {
        return Ok(());
    }
    let allowed: Vec<&str> = allowed.iter().map(TypePattern::as_str).collect();
    let allowed = allowed.join(", ");
    let detail = format!("the file is {essence}, and this token is for {allowed}");
    let error = Error::new(Code::UnsupportedMediaType, detail);
    Err(error.with("content_type", essence).with("allowed", allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_fit_by_name_or_by_kind() {
        let allowed: Vec<TypePattern> =
            ["image/*", "Application/PDF"].iter().map(|text| text.parse().unwrap()).collect();
        for (content_type, fits) in [
            ("image/png", true),
            ("IMAGE/PNG", true),
            ("application/pdf; version=1.7", true),
            ("application/zip", false),
            ("imagery/png", false),
            ("image", false),
            ("", false),
        ] {
            assert_eq!(check_content_type(content_type, &allowed).is_ok(), fits, "{content_type}");
        }
    }

    #[test]
    fn what_is_no_type_and_no_kind_is_refused() {
        for text in ["", "image", "image/", "/*", "*/*", "a/b,c/d", "a/b; c=d", "image/p*"] {
            assert!(text.parse::<TypePattern>().is_err(), "{text}");
        }
    }
}
