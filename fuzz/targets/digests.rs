//! `Content-Digest`, a structured field (RFC 9530, RFC 9651), and `X-Checksum-Crc64nvme`: a line of the input each.
#![no_main]

use cifra::base::Code;
use cifra::base::digest::Declared;
use cifra::http::fuzzing::digests;
use cifra_fuzz::{first_line, headers};
use libfuzzer_sys::fuzz_target;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

fuzz_target!(|data: &[u8]| {
    let (structured, crc64) = first_line(data);
    let mut lines = vec![("content-digest", structured)];
    if !crc64.is_empty() {
        lines.push(("x-checksum-crc64nvme", crc64));
    }
    let Some(request) = headers(lines) else { return };
    let declared = match digests(&request) {
        Ok(declared) => declared,
        Err(error) => return assert_eq!(error.code(), Code::InvalidDigest),
    };
    for (at, one) in declared.iter().enumerate() {
        assert!(declared[at + 1..].iter().all(|other| other.algorithm() != one.algorithm()), "{declared:?}");
    }
    // What is taken is a dictionary to the letter, and says the same when it is read by the RFC.
    let read: Dictionary =
        Parser::new(structured.trim_ascii()).parse().expect("what is taken is a dictionary");
    for (name, entry) in read {
        let ListEntry::Item(item) = entry else { panic!("a list was taken for a digest") };
        let BareItem::ByteSequence(bytes) = item.bare_item else {
            panic!("no bytes were taken for a digest")
        };
        let algorithm = match name.as_str() {
            "sha-256" => cifra::base::digest::Algorithm::Sha256,
            "sha-512" => cifra::base::digest::Algorithm::Sha512,
            "crc32c" => cifra::base::digest::Algorithm::Crc32c,
            _ => continue,
        };
        let expected = Declared::new(algorithm, &bytes).expect("a digest has its algorithm's length");
        assert!(declared.contains(&expected), "{declared:?} has not {expected:?}");
    }
});
