//! Pictures that tests draw, files made of them, and thumbnails as clients see them.

use cifra::imaging::{self, Encoding, Layout, Pixels, Probe};
use serde_json::{Value, json};

use super::process::until;
use super::{Answer, TestApp, TestUpload};

/// A JPEG file with a pattern in it; another `seed`, another pattern.
pub(crate) fn jpeg(width: u32, height: u32, seed: u8) -> Vec<u8> {
    let pixel = |at: u32| {
        let (x, y) = (at % width, at / width);
        [x * 255 / width, y * 255 / height, u32::from(seed) + (x / 16 + y / 16) % 2 * 64]
            .map(|value| u8::try_from(value % 256).unwrap())
    };
    let data = (0..width * height).flat_map(pixel).collect();
    let pixels = Pixels { width, height, layout: Layout::Rgb, data };
    imaging::encode(&pixels, Encoding::Jpeg { quality: 90 }).unwrap().to_vec()
}

impl TestApp {
    /// A file that is this picture.
    pub(crate) async fn picture(&self, bytes: Vec<u8>) -> TestUpload {
        self.file_with(bytes, json!({ "filename": "a picture" })).await
    }

    /// The file's record, once nothing of it is pending any more.
    pub(crate) async fn settled(&self, file: &TestUpload) -> Value {
        let path = file.file_path();
        until("no thumbnail is pending", async || {
            let record = self.get(&path).await.expect(200).json();
            let thumbnails = record["thumbnails"].as_object().unwrap();
            let pending = thumbnails.values().any(|thumbnail| thumbnail["status"] == "pending");
            (!pending).then_some(record)
        })
        .await
    }

    /// Asks for a thumbnail, without the version in its address.
    pub(crate) async fn thumbnail(&self, file: &TestUpload, size: &str) -> Answer {
        self.get(&file.thumbnail_path(size)).await
    }

    /// The address of a thumbnail as the record tells it.
    pub(crate) async fn thumbnail_url(&self, file: &TestUpload, size: &str) -> String {
        let record = self.get(&file.file_path()).await.expect(200).json();
        record["thumbnails"][size]["url"].as_str().unwrap().to_owned()
    }
}

impl TestUpload {
    /// `/api/files/{id}/thumbnails/{size}`.
    pub(crate) fn thumbnail_path(&self, size: &str) -> String {
        format!("{}/thumbnails/{size}", self.file_path())
    }
}

impl Answer {
    /// What the picture is that it brings.
    #[track_caller]
    pub(crate) fn drawn(&self) -> Probe {
        assert_eq!(self.status, 200, "{}: {}", self.path, self.text());
        imaging::probe(&self.body).unwrap()
    }
}
