//! A form as the body of `POST /api/files`; its boundary is `b`.
#![no_main]

use cifra::base::digest::Declared;
use cifra::http::fuzzing::{FormFile, form};
use cifra_fuzz::{assert_refusal, headers};
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

fuzz_target!(|body: &[u8]| {
    let request =
        headers([("content-type", &b"multipart/form-data; boundary=b"[..])]).expect("these are headers");
    let whole = read(&request, body, body.len());
    // However the network cuts it: the length decides, so that one input is one comparison.
    let piece = 1 + body.len() % 13;
    assert_eq!(read(&request, body, piece), whole, "in pieces of {piece}");
    let Ok(files) = whole else { return };
    assert!((1..=100).contains(&files.len()));
    assert!(files.iter().map(|file| file.bytes.len()).sum::<usize>() < body.len());
    for file in &files {
        assert!(!file.bytes.windows(5).any(|bytes| bytes == b"\r\n--b"), "a boundary was taken for data");
        let declared: Vec<_> = file.declared.iter().map(Declared::algorithm).collect();
        assert!((1..declared.len()).all(|at| !declared[at..].contains(&declared[at - 1])), "{declared:?}");
    }
    // What was read, written as a form again, reads the same.
    let again = read(&request, &write(&files), 64).expect("it is a form");
    let told = |files: &[FormFile]| -> Vec<_> {
        files
            .iter()
            .map(|file| (file.filename.clone(), file.content_type.clone(), file.bytes.clone()))
            .collect()
    };
    assert_eq!(told(&again), told(&files));
});

/// The files, or why they are refused.
fn read(request: &HeaderMap, body: &[u8], piece: usize) -> Result<Vec<FormFile>, String> {
    let read = form(request, body, piece).expect("its Content-Type says that it is a form");
    read.map(|(files, _)| files).map_err(|error| {
        assert_refusal(&error);
        error.to_string()
    })
}

fn write(files: &[FormFile]) -> Vec<u8> {
    let mut form = Vec::new();
    for file in files {
        let name = utf8_percent_encode(&file.filename, NON_ALPHANUMERIC);
        form.extend(
            format!("--b\r\ncontent-disposition: form-data; name=f; filename*=UTF-8''{name}\r\n").bytes(),
        );
        if let Some(content_type) = &file.content_type {
            form.extend(format!("content-type: {content_type}\r\n").bytes());
        }
        form.extend(b"\r\n");
        form.extend(&file.bytes);
        form.extend(b"\r\n");
    }
    form.extend(b"--b--\r\n");
    form
}
