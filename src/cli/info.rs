//! `cifra info`: what the server knows of a file, or of an upload on its way.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::exit::Failure;
use super::output::{self, Format};
use super::remote::Remote;
use crate::base::FileId;
use crate::client::Kind;

const EXAMPLES: &str = "\
Examples:
  cifra info 0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c
  cifra info 0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c --json | jq -r .checksum";

/// What is shown of a file or an upload, in this order.
const FILE_FIELDS: &[&str] = &[
    "id",
    "filename",
    "size",
    "content_type",
    "checksum",
    "crc64nvme",
    "created_at",
    "updated_at",
    "version",
    "reads",
    "last_read_at",
];
const UPLOAD_FIELDS: &[&str] = &[
    "upload_id",
    "state",
    "filename",
    "total_size",
    "received_bytes",
    "chunk_size",
    "chunk_count",
    "missing_count",
    "created_at",
    "expires_at",
    "error",
];

/// Show a file, or an upload on its way
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Info {
    /// The id of the file or of the upload
    id: FileId,
    #[command(flatten)]
    remote: Remote,
}

impl Info {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.remote.client(Duration::ZERO)?;
        let (json, fields, url) = match client.file(self.id).await {
            Ok(mut file) => {
                let reads = client.file_reads(self.id).await;
                if let (Some(known), Ok(reads)) = (file.json.as_object_mut(), reads) {
                    known.extend(reads);
                }
                (file.json, FILE_FIELDS, Some(client.absolute(&file.content_url)))
            }
            Err(no_file) if no_file.kind() == Kind::NotFound => {
                match client.upload_json(self.id.upload()).await {
                    Ok(upload) => (upload, UPLOAD_FIELDS, None),
                    // An upload that ended is worth telling; one that never was is no news.
                    Err(ended) if ended.kind() == Kind::NotFound && !ended.session_has_ended() => {
                        return Err(no_file.into());
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        if self.remote.format() == Format::Json {
            return output::print_json(&json);
        }
        let mut rows: Vec<(&str, Option<String>)> =
            fields.iter().map(|name| (*name, text(&json[*name]))).collect();
        let metadata = json["metadata"].as_object().into_iter().flatten();
        let metadata: Vec<(String, &Value)> =
            metadata.map(|(key, value)| (format!("metadata.{}", output::printable(key)), value)).collect();
        rows.extend(metadata.iter().map(|(name, value)| (name.as_str(), text(value))));
        let thumbnails = json["thumbnails"].as_object().into_iter().flatten();
        let thumbnails: Vec<(String, String)> = thumbnails
            .map(|(size, thumbnail)| {
                let made = thumbnail["url"].as_str().filter(|_| thumbnail["status"] == "ready");
                let shown = made.map_or_else(|| why_not(thumbnail), |path| client.absolute(path));
                (format!("thumbnails.{}", output::printable(size)), shown)
            })
            .collect();
        rows.push(("image", picture(&json["image"])));
        rows.extend(thumbnails.iter().map(|(name, shown)| (name.as_str(), Some(shown.clone()))));
        rows.push(("url", url));
        output::print_table(&rows)
    }
}

/// What a picture is, in a few words; nothing if it is none, or was not looked at yet.
fn picture(image: &Value) -> Option<String> {
    let (width, height, format) = (&image["width"], &image["height"], image["format"].as_str()?);
    Some(format!("{width} x {height}, {format}"))
}

/// `skipped: too_large`
fn why_not(thumbnail: &Value) -> String {
    let words = ["status", "reason"].map(|key| thumbnail[key].as_str());
    words.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// A scalar as people read it; nothing for null.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
