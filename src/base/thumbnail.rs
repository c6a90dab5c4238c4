//! What a thumbnail is to be like: its name, its box, how the picture fits into it, how it is encoded.
//!
//! Read from YAML by `config`, obeyed by `imaging`, remembered by its [`ThumbnailSpec::version`] in rows, keys and URLs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Counts changes of how thumbnails are made: with the next number all of them are made again, when they are asked for.
const PIPELINE: u32 = 1;

/// What one named size is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThumbnailSpec {
    /// The box's width in pixels, 1 to [`SIDE_MAX`].
    pub width: u32,
    /// The box's height in pixels, 1 to [`SIDE_MAX`].
    pub height: u32,
    /// How the picture fits into the box. No picture is ever enlarged.
    pub fit: Fit,
    /// What it is encoded as.
    pub format: OutputFormat,
    /// Of JPEG and WebP, 1 to 100.
    pub quality: u8,
    /// What shows through where the output has no alpha, and what [`Fit::Contain`] fills the box with.
    pub background: Color,
}

/// The longest side of a box, in pixels: as much as an encoded picture may ever have in all formats is 16383; half of
/// it is more than any screen.
pub const SIDE_MAX: u32 = 8192;

/// How a picture fits into a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fit {
    /// All of it, as large as the box allows; one side may be shorter than the box's.
    Inside,
    /// The box is full; what hangs over on both sides is cut off.
    Cover,
    /// All of it in the middle of the box, which is filled up with the background.
    Contain,
}

/// What a thumbnail is encoded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputFormat {
    /// JPEG if the picture is opaque, else WebP with loss.
    Auto,
    /// JPEG, 4:2:0.
    Jpeg,
    /// PNG.
    Png,
    /// WebP with loss.
    WebP,
}

/// An opaque color, sRGB; its text is `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Color(pub [u8; 3]);

impl Color {
    /// White.
    pub const WHITE: Self = Self([255; 3]);
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl FromStr for Color {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 3];
        hex::decode_to_slice(text.strip_prefix('#').ok_or(())?, &mut bytes).map_err(|_| ())?;
        Ok(Self(bytes))
    }
}

impl ThumbnailSpec {
    /// The picture inside a box of `width` by `height` pixels, JPEG or WebP, quality 80.
    pub const fn inside(width: u32, height: u32) -> Self {
        let (fit, format, quality, background) = (Fit::Inside, OutputFormat::Auto, 80, Color::WHITE);
        Self { width, height, fit, format, quality, background }
    }

    /// Names the spec together with the way thumbnails are made: 12 hex digits. Another spec has another one.
    pub fn version(&self) -> SpecVersion {
        let text = format!("{PIPELINE} {self:?}");
        SpecVersion(hex::encode(&Sha256::digest(text)[..6]))
    }
}

impl From<(u32, u32)> for ThumbnailSpec {
    fn from((width, height): (u32, u32)) -> Self {
        Self::inside(width, height)
    }
}

/// See [`ThumbnailSpec::version`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct SpecVersion(String);

impl SpecVersion {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `wanted`, but to be made again (a `~` stands before it): it serves until then.
    pub fn is_again(&self, wanted: &Self) -> bool {
        self.0.strip_prefix('~') == Some(wanted.as_str())
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a size is called, in YAML, paths and JSON: lower-case letters, digits, `-` and `_`, 1 to 32, a letter first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct SizeName(String);

impl SizeName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SizeName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        let well = text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.len() <= 32
            && text.bytes().all(inner);
        if well { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

impl fmt::Display for SizeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A size that somebody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSize {
    /// Its name.
    pub name: SizeName,
    /// What it is like.
    pub spec: ThumbnailSpec,
}
