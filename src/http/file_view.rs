//! Files as JSON, with what is known of a picture and of its thumbnails. Made by the handlers that answer files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::openapi::types::ThumbnailStatus;
use crate::app::Services;
use crate::base::digest::Checksum;
use crate::base::metadata::Metadata;
use crate::base::{FileId, Timestamp};
use crate::files::File;
use crate::media::{Image, Pictured, Shown, ShownState};

/// A file as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = File)]
pub(super) struct FileView<'a> {
    id: FileId,
    filename: &'a str,
    size: u64,
    content_type: &'a str,
    checksum: Checksum,
    crc64nvme: Checksum,
    metadata: &'a Metadata,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: i64,
    content_url: String,
    /// What the picture is; null until it was looked at, and if the file is none.
    #[schema(required)]
    image: Option<ImageView<'a>>,
    /// By size, small ones first; none if the file is no picture.
    #[serde(serialize_with = "as_map")]
    #[schema(value_type = std::collections::BTreeMap<String, ThumbnailView<'a>>)]
    thumbnails: Vec<(&'a str, ThumbnailView<'a>)>,
}

/// A picture as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Image)]
struct ImageView<'a> {
    /// In pixels, as seen.
    width: u32,
    /// In pixels, as seen.
    height: u32,
    /// `jpeg`, `png`, `webp`, `gif`, `bmp` or `tiff`.
    format: &'a str,
    /// How it is stored: EXIF's value, 1 is upright.
    #[schema(minimum = 1, maximum = 8)]
    orientation: u8,
    /// Whether it is transparent anywhere.
    has_alpha: bool,
    /// Pictures in the file; more than 1 if it is animated or has pages.
    #[schema(minimum = 1)]
    frames: u32,
    /// A tiny picture of it for while the real one loads: a thumbhash, in base64.
    thumbhash: String,
    /// `#rrggbb`
    #[schema(pattern = "^#[0-9a-f]{6}$")]
    average_color: String,
}

/// A thumbnail as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Thumbnail)]
pub(super) struct ThumbnailView<'a> {
    /// `pending`: it is made when somebody asks for it, if not before.
    #[schema(value_type = ThumbnailStatus)]
    status: &'static str,
    /// Why it was skipped, or failed; `truncated` if the picture's end is missing.
    #[schema(required)]
    reason: Option<&'a str>,
    /// Relative unless `server.public_url` is set.
    url: String,
    #[schema(required)]
    width: Option<u32>,
    #[schema(required)]
    height: Option<u32>,
    /// In bytes.
    #[schema(required)]
    size: Option<u64>,
    #[schema(required)]
    content_type: Option<&'a str>,
}

/// In the order in which people list sizes, which a map of serde's would not keep.
fn as_map<S: Serializer>(thumbnails: &[(&str, ThumbnailView<'_>)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(thumbnails.iter().map(|(name, thumbnail)| (name, thumbnail)))
}

impl<'a> FileView<'a> {
    pub(super) fn of(state: &Services, file: &'a File, pictured: &'a Pictured) -> Self {
        let url = format!("{}/api/files/{}", state.public_url, file.id);
        let thumbnail = |shown: &'a Shown| (shown.size.name.as_str(), ThumbnailView::of(&url, shown));
        Self {
            id: file.id,
            filename: &file.filename,
            size: file.size,
            content_type: &file.content_type,
            checksum: file.checksum(),
            crc64nvme: Checksum::Crc64Nvme(file.crc64),
            metadata: &file.metadata,
            created_at: file.created_at,
            updated_at: file.updated_at,
            version: file.version,
            content_url: format!("{url}/content"),
            image: pictured.image.as_ref().map(ImageView::of),
            thumbnails: pictured.thumbnails.iter().map(thumbnail).collect(),
        }
    }
}

impl<'a> ImageView<'a> {
    fn of(image: &'a Image) -> Self {
        Self {
            width: image.width,
            height: image.height,
            format: &image.format,
            orientation: image.orientation.to_exif(),
            has_alpha: image.has_alpha,
            frames: image.frames,
            thumbhash: STANDARD.encode(&image.thumbhash),
            average_color: image.average_color.to_string(),
        }
    }
}

impl<'a> ThumbnailView<'a> {
    /// Of the file `id`.
    pub(super) fn of_file(state: &Services, id: FileId, shown: &'a Shown) -> Self {
        Self::of(&format!("{}/api/files/{id}", state.public_url), shown)
    }

    fn of(file_url: &str, shown: &'a Shown) -> Self {
        let url = format!("{file_url}/thumbnails/{}?v={}", shown.size.name, shown.version);
        let (width, height, size, content_type) = (None, None, None, None);
        let without = |status, reason| Self { status, reason, url, width, height, size, content_type };
        match &shown.state {
            ShownState::Pending => without("pending", None),
            ShownState::Skipped(reason) => without("skipped", Some(reason)),
            ShownState::Failed(reason) => without("failed", Some(reason)),
            ShownState::Ready { width, height, bytes, content_type, truncated } => Self {
                width: Some(*width),
                height: Some(*height),
                size: Some(*bytes),
                content_type: Some(content_type),
                ..without("ready", truncated.then_some("truncated"))
            },
        }
    }
}
