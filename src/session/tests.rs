//! The hot copy: what is kept is what is read, and nothing else is.

use super::copy::{decode, encode};
use crate::base::metadata::Metadata;
use crate::base::{BlobKey, PartsId, TenantId, Timestamp, UploadId};
use crate::db::uploads::{Protocol, Upload, UploadState};

fn upload() -> Upload {
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let (id, tenant) = (UploadId::new(now), TenantId::default_tenant());
    Upload {
        id,
        key: BlobKey::of_file(&tenant, id.file()),
        tenant,
        store: "main".to_owned(),
        parts: PartsId::new("parts/1"),
        state: UploadState::Receiving,
        protocol: Protocol::Native,
        filename: "übung \"1\".bin".to_owned(),
        content_type: Some("video/mp4".to_owned()),
        total_size: 5 << 40,
        chunk_size: 8 << 20,
        chunk_count: 655_360,
        received_bytes: 0,
        received_chunks: 0,
        withdrawals: 0,
        checksum: Some("crc64nvme:0123456789abcdef".parse().unwrap()),
        metadata: Metadata::from_json(r#"{"a":"b"}"#).unwrap(),
        created_at: now,
        updated_at: now,
        expires_at: now,
        ended_at: None,
        error: None,
        finish_fence: 0,
        finish_checksum: None,
        sealing: false,
    }
}

#[test]
fn a_copy_is_what_was_copied() {
    let upload = upload();
    assert_eq!(decode(upload.id, &encode(&upload)), Some(upload));
}

#[test]
fn what_is_no_copy_of_this_upload_by_this_version_is_none() {
    let upload = upload();
    let bytes = encode(&upload);
    let other = UploadId::new(Timestamp::from_micros(0));
    assert_eq!(decode(other, &bytes), None, "another upload's");
    let mut newer = bytes.clone();
    newer[0] += 1;
    for wrong in
        [&newer[..], &bytes[1..], &bytes[..bytes.len() - 1], b"", b"\x01{}", b"\x01null", b"nonsense"]
    {
        assert_eq!(decode(upload.id, wrong), None, "{wrong:?}");
    }
}
