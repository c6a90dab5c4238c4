//! Known answers and the algebra of digests.

use proptest::prelude::*;

use super::*;
use crate::base::crc::{self, Crc64Joiner};

#[test]
fn crc64nvme_has_its_catalogued_check_value() {
    // "check" of CRC-64/NVME in the CRC RevEng catalogue.
    assert_eq!(crc::of(b"123456789").value(), 0xae8b_1486_0a79_9888);
}

#[test]
fn crc32c_and_sha_check_what_was_declared() {
    // RFC 9260 appendix A / RevEng: CRC-32C of "123456789".
    let declared = Declared::new(Algorithm::Crc32c, &0xe306_9283_u32.to_be_bytes()).unwrap();
    let mut hasher = ChunkHasher::new(vec![declared]);
    hasher.update(b"1234");
    hasher.update(b"56789");
    assert_eq!(hasher.verify().unwrap(), crc::of(b"123456789"));
}

#[test]
fn a_wrong_digest_is_named_with_both_values() {
    let declared = Declared::new(Algorithm::Sha256, &[0; 32]).unwrap();
    let error = ChunkHasher::new(vec![declared]).verify().unwrap_err();
    assert_eq!(error.code(), Code::ChecksumMismatch);
    assert_eq!(error.members()["algorithm"], "sha256");
    assert_eq!(
        error.members()["actual"],
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn a_declared_value_must_have_its_algorithms_length() {
    assert_eq!(Declared::new(Algorithm::Sha256, &[0; 31]), None);
    assert_eq!(Declared::new(Algorithm::Crc64Nvme, &[0; 9]), None);
}

#[test]
fn checksums_are_read_as_they_are_written() {
    for text in [
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "crc64nvme:ae8b14860a799888",
    ] {
        assert_eq!(text.parse::<Checksum>().unwrap().to_string(), text);
    }
    for text in
        ["", "sha256:", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e", "crc64nvme:zz8b14860a799888"]
    {
        assert_eq!(text.parse::<Checksum>().unwrap_err().code(), Code::InvalidDigest, "{text}");
    }
}

#[test]
fn bytes_that_are_no_state_are_refused() {
    assert!(Sha256State::from_bytes(b"short").is_none());
}

proptest! {
    #[test]
    fn chunks_crcs_combine_to_the_files(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12)) {
        let combined = chunks.iter().fold(Crc64::EMPTY, |sum, chunk| sum.then(crc::of(chunk), chunk.len() as u64));
        prop_assert_eq!(combined, crc::of(&chunks.concat()));
    }

    #[test]
    fn pieces_of_one_length_join_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..2_000), len in 1_usize..300) {
        let mut joiner = Crc64Joiner::new(len as u64);
        bytes.chunks(len).for_each(|piece| joiner.add(crc::of(piece), piece.len() as u64));
        prop_assert_eq!(joiner.finish(), crc::of(&bytes));
    }

    #[test]
    fn a_sha256_put_away_and_taken_up_goes_on(bytes in prop::collection::vec(any::<u8>(), 0..500), cut in 0usize..500) {
        let cut = cut.min(bytes.len());
        let mut whole = Sha256State::default();
        whole.update(&bytes);
        let mut first = Sha256State::default();
        first.update(&bytes[..cut]);
        let mut second = Sha256State::from_bytes(&first.to_bytes()).unwrap();
        second.update(&bytes[cut..]);
        prop_assert_eq!(second.finish(), whole.finish());
    }
}
