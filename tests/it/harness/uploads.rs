//! Uploads as tests make them: bytes, their digests, and the calls that send them.

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cifra::base::crc;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Answer, TestApp};

/// An upload with the bytes that belong into it.
pub(crate) struct TestUpload {
    pub(crate) id: String,
    /// `/api/uploads/{id}`.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunk_size: usize,
}

impl TestUpload {
    /// The bytes of chunk `index`.
    pub(crate) fn chunk(&self, index: usize) -> &[u8] {
        let start = index * self.chunk_size;
        &self.bytes[start..self.bytes.len().min(start + self.chunk_size)]
    }

    pub(crate) fn chunk_path(&self, index: usize) -> String {
        format!("{}/chunks/{index}", self.path)
    }

    /// `/api/files/{id}`.
    pub(crate) fn file_path(&self) -> String {
        format!("/api/files/{}", self.id)
    }

    pub(crate) fn content_path(&self) -> String {
        format!("{}/content", self.file_path())
    }
}

impl TestApp {
    /// The smallest chunks that the store takes.
    pub(crate) async fn chunk_size(&self) -> usize {
        let probe = json!({ "filename": "probe", "total_size": 1, "chunk_size": 1 });
        let probe = self.post("/api/uploads", &probe).await.expect(201);
        self.delete(probe.header("location")).await.expect(204);
        usize::try_from(probe.json()["chunk_size"].as_u64().unwrap()).unwrap()
    }

    /// Begins an upload of `count` of the smallest chunks; the last one is shorter.
    pub(crate) async fn upload_of_chunks(&self, count: usize) -> TestUpload {
        self.upload_with(count, json!({})).await
    }

    /// The same, with `fields` beside or in place of the usual ones.
    pub(crate) async fn upload_with(&self, count: usize, fields: Value) -> TestUpload {
        let size = self.chunk_size().await;
        let bytes = bytes(size * count - size / 3);
        let mut body = json!({ "filename": "a.bin", "total_size": bytes.len(), "chunk_size": 1 });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.upload_from(&body, bytes).await
    }

    /// Begins an upload as `body` says; `bytes` belong into it.
    pub(crate) async fn upload_from(&self, body: &Value, bytes: Vec<u8>) -> TestUpload {
        let created = self.post("/api/uploads", body).await.expect(201);
        let upload = created.json();
        let id = upload["upload_id"].as_str().unwrap().to_owned();
        let chunk_size = usize::try_from(upload["chunk_size"].as_u64().unwrap()).unwrap();
        TestUpload { path: format!("/api/uploads/{id}"), id, bytes, chunk_size }
    }

    /// Sends chunk `index` as it should be.
    pub(crate) async fn put_chunk(&self, upload: &TestUpload, index: usize) -> Answer {
        self.put(&upload.chunk_path(index), upload.chunk(index)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.put_with(path, &[], body).await
    }

    pub(crate) async fn put_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(Method::PUT, path, headers, body.to_vec()).await
    }

    /// Sends every chunk.
    pub(crate) async fn put_all(&self, upload: &TestUpload) {
        for index in 0..upload.bytes.len().div_ceil(upload.chunk_size) {
            self.put_chunk(upload, index).await.expect(200);
        }
    }

    pub(crate) async fn finalize(&self, upload: &TestUpload) -> Answer {
        self.send(Method::POST, &format!("{}/finalize", upload.path), &[], "").await
    }

    /// What the service says of the upload now.
    pub(crate) async fn status(&self, upload: &TestUpload) -> Value {
        self.get(&upload.path).await.expect(200).json()
    }

    /// A file with these bytes, made by an upload with `fields` beside the usual ones.
    pub(crate) async fn file_with(&self, bytes: Vec<u8>, fields: Value) -> TestUpload {
        let mut body = json!({ "filename": "a.bin", "total_size": bytes.len() });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let upload = self.upload_from(&body, bytes).await;
        self.put_all(&upload).await;
        self.finalize(&upload).await.expect(201);
        upload
    }

    pub(crate) async fn file(&self, bytes: Vec<u8>) -> TestUpload {
        self.file_with(bytes, json!({})).await
    }
}

/// `len` bytes, no two chunks of which are alike.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) fn sha256_text(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub(crate) fn crc64_text(bytes: &[u8]) -> String {
    format!("crc64nvme:{:016x}", crc::of(bytes).value())
}

/// `Content-Digest` of a body (RFC 9530).
pub(crate) fn content_digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)))
}

/// `X-Checksum-Crc64nvme` of a body.
pub(crate) fn crc64_header(bytes: &[u8]) -> String {
    STANDARD.encode(crc::of(bytes).value().to_be_bytes())
}
