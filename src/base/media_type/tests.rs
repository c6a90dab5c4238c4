//! By tables: real first bytes of many formats, and claims that contradict them.

use super::{UNKNOWN, decide};

fn padded(start: &[u8], len: usize) -> Vec<u8> {
    let mut head = start.to_vec();
    head.resize(head.len().max(len), 0);
    head
}

/// `ftyp` of an ISO base media file.
fn ftyp(brand: &str) -> Vec<u8> {
    [b"\0\0\0\x18ftyp", brand.as_bytes(), b"\0\0\0\0", brand.as_bytes(), b"mp41\0\0\0\x08free"].concat()
}

fn riff(kind: &[u8]) -> Vec<u8> {
    [b"RIFF\x24\0\0\0", kind, b"fmt \x10\0\0\0\x01\0\x01\0"].concat()
}

fn zip(name: &str, content: &str) -> Vec<u8> {
    let len = |text: &str| u16::try_from(text.len()).unwrap().to_le_bytes();
    let mut head = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    head.extend([len(content), [0, 0], len(content), [0, 0], len(name), [0, 0]].concat());
    [&head, name.as_bytes(), content.as_bytes()].concat()
}

fn ogg(codec: &[u8]) -> Vec<u8> {
    [&padded(b"OggS\0\x02", 28), codec, &[0; 20]].concat()
}

fn tar() -> Vec<u8> {
    let mut head = vec![0; 512];
    head[..5].copy_from_slice(b"a.txt");
    head[257..265].copy_from_slice(b"ustar\x0000");
    head
}

fn bmp() -> Vec<u8> {
    let mut head = padded(b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0", 58);
    head[30] = 0;
    head
}

fn matroska(kind: &[u8]) -> Vec<u8> {
    let len = 0x80 | u8::try_from(kind.len()).unwrap();
    [
        b"\x1A\x45\xDF\xA3\x9F\x42\x86\x81\x01\x42\xF7\x81\x01\x42\xF2\x81\x04\x42\xF3\x81\x08\x42\x82",
        &[len][..],
        kind,
        &[0; 300],
    ]
    .concat()
}

fn cfb() -> Vec<u8> {
    padded(b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", 600)
}

fn gzip() -> Vec<u8> {
    padded(b"\x1F\x8B\x08\0\0\0\0\0\0\x03", 40)
}

const PNG: &[u8] = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1F\x15\xC4\x89";
const JPEG: &[u8] = b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xFF\xFF\xFF,\0\0\0\0";
const PDF: &[u8] = b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n1 0 obj\n";

#[test]
fn the_first_bytes_tell_the_type() {
    let table: &[(&str, Vec<u8>, &str)] = &[
        ("png", PNG.to_vec(), "image/png"),
        ("jpeg", JPEG.to_vec(), "image/jpeg"),
        ("jpeg with fill bytes", padded(b"\xFF\xD8\xFF\xFF\xFF\xE0\0\x10JFIF\0", 40), "image/jpeg"),
        ("jpeg with an APP1 of its own", padded(b"\xFF\xD8\xFF\xE1\0\x10mine\0", 40), "image/jpeg"),
        ("gif", GIF.to_vec(), "image/gif"),
        ("webp", [b"RIFF\x24\0\0\0WEBPVP8 ", &[0; 20][..]].concat(), "image/webp"),
        ("avif", ftyp("avif"), "image/avif"),
        ("heic", ftyp("heic"), "image/heic"),
        ("bmp", bmp(), "image/bmp"),
        ("tiff", padded(b"II*\0\x08\0\0\0", 40), "image/tiff"),
        ("ico", padded(b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0", 40), "image/vnd.microsoft.icon"),
        ("jxl", padded(b"\0\0\0\x0CJXL \r\n\x87\n", 40), "image/jxl"),
        ("psd", padded(b"8BPS\0\x01\0\0\0\0\0\0\0\x03", 40), "image/vnd.adobe.photoshop"),
        ("mp4", ftyp("isom"), "video/mp4"),
        ("mov", ftyp("qt  "), "video/quicktime"),
        ("m4a", ftyp("M4A "), "audio/mp4"),
        ("webm", matroska(b"webm"), "video/webm"),
        ("mkv", matroska(b"matroska"), "video/matroska"),
        ("avi", riff(b"AVI "), "video/x-msvideo"),
        ("wav", riff(b"WAVE"), "audio/wav"),
        ("mp3 with tags", padded(b"ID3\x03\0\0\0\0\0\x0A", 40), "audio/mpeg"),
        ("flac", padded(b"fLaC\0\0\0\x22", 40), "audio/flac"),
        ("ogg vorbis", ogg(b"\x01vorbis"), "audio/ogg"),
        ("ogg opus", ogg(b"OpusHead"), "audio/opus"),
        ("midi", padded(b"MThd\0\0\0\x06", 20), "audio/midi"),
        ("pdf", PDF.to_vec(), "application/pdf"),
        ("rtf", b"{\\rtf1\\ansi hello}".to_vec(), "application/rtf"),
        ("zip", zip("a.txt", "hello"), "application/zip"),
        ("epub", zip("mimetype", "application/epub+zip"), "application/epub+zip"),
        (
            "odt",
            zip("mimetype", "application/vnd.oasis.opendocument.text"),
            "application/vnd.oasis.opendocument.text",
        ),
        ("ole", cfb(), "application/x-cfb"),
        ("gzip", gzip(), "application/gzip"),
        ("bzip2", padded(b"BZh91AY&SY", 40), "application/x-bzip2"),
        ("xz", padded(b"\xFD7zXZ\0\0\x04", 40), "application/x-xz"),
        ("zstd", padded(b"\x28\xB5\x2F\xFD\x04", 40), "application/zstd"),
        ("7z", padded(b"7z\xBC\xAF\x27\x1C\0\x04", 40), "application/x-7z-compressed"),
        ("rar", padded(b"Rar!\x1A\x07\x01\0", 40), "application/vnd.rar"),
        ("tar", tar(), "application/x-tar"),
        ("woff2", padded(b"wOF2\0\x01\0\0", 40), "font/woff2"),
        ("ttf", padded(b"\0\x01\0\0\0\x0F", 40), "font/ttf"),
        ("wasm", padded(b"\0asm\x01\0\0\0", 20), "application/wasm"),
        ("elf", padded(b"\x7FELF\x02\x01\x01\0", 80), "application/x-executable"),
        ("sqlite", padded(b"SQLite format 3\0", 100), "application/vnd.sqlite3"),
    ];
    let mut wrong = Vec::new();
    for (what, head, expected) in table {
        // Whoever claims a page gets what it is, too.
        for claimed in [None, Some("application/octet-stream"), Some("text/html")] {
            let told = decide(head, claimed);
            if told != *expected {
                wrong.push(format!("{what}, claimed {claimed:?}: {told}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_a_browser_may_run_is_never_a_picture_and_never_plain_text() {
    let utf16: Vec<u8> = "\u{FEFF}<html>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let table: &[(&[u8], &str)] = &[
        (b"<!DOCTYPE html><title>x</title>", "text/html"),
        (b"\xEF\xBB\xBF \r\n\t<HtMl>", "text/html"),
        (b"<script>alert(1)</script>", "text/html"),
        (b"<script src=x>", "text/html"),
        (b"<img/src=x onerror=alert(1)>", "text/html"),
        (b"<!-- hello --><body onload=alert(1)>", "text/html"),
        (b"<!-- it never ends", "text/html"),
        (b"<b", "text/html"),
        (&utf16, "text/html"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>", "image/svg+xml"),
        (b"<?xml version=\"1.0\"?>\n<!-- x --><!DOCTYPE svg PUBLIC \"x\" \"y\">\n<svg>", "image/svg+xml"),
        (b"<s:svg xmlns:s=\"http://www.w3.org/2000/svg\">", "image/svg+xml"),
        (b"<?xml version=\"1.0\"?><html>", "application/xhtml+xml"),
        (b"<?xml version=\"1.0\"?><note/>", "application/xml"),
        (b"<?xml version=\"1.0\"", "application/xml"),
        (b"<note xmlns=\"urn:x\">", "application/xml"),
        (b"<x:html xmlns:x=\"http://www.w3.org/1999/xhtml\">", "application/xml"),
        (b"<!DOCTYPE note [<!ENTITY a \"b\">]><note/>", "application/xml"),
    ];
    for (head, expected) in table {
        for claimed in [
            None,
            Some("image/png"),
            Some("text/plain"),
            Some("text/plain; charset=utf-8"),
            Some("video/mp4"),
        ] {
            assert_eq!(
                decide(head, claimed),
                *expected,
                "{:?} as {claimed:?}",
                String::from_utf8_lossy(head)
            );
        }
    }
    // Scripts have no first bytes of their own: as a picture they are plain text, which nothing runs (nosniff).
    assert_eq!(decide(b"alert(document.cookie)", Some("image/png")), "text/plain");
    assert_eq!(decide(b"alert(document.cookie)", Some("font/woff2")), "text/plain");
    assert_eq!(decide(b"alert(document.cookie)", Some("text/javascript")), "text/javascript");
}

#[test]
fn a_claim_counts_where_the_bytes_say_nothing_or_name_a_container() {
    let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    let table: &[(&str, Vec<u8>, &str, &str)] = &[
        ("nothing", vec![], "image/png", "image/png"),
        ("random", vec![0x9A, 0x01, 0xE7, 0x00, 0x55], "application/x-own", "application/x-own"),
        ("text", b"a,b\n1,2\n".to_vec(), "text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("text", b"{}".to_vec(), "application/json", "application/json"),
        ("text", b"BMW, MZ and GIFs".to_vec(), "text/csv", "text/csv"),
        ("text", b"P3 1 1 255 0 0 0".to_vec(), "image/x-portable-pixmap", "image/x-portable-pixmap"),
        ("text", b"hello".to_vec(), "text/html", "text/html"),
        ("html", b"<html>".to_vec(), "text/html; charset=utf-8", "text/html; charset=utf-8"),
        ("zip", zip("word/a", ""), docx, docx),
        ("zip", zip("a", ""), "application/java-archive", "application/java-archive"),
        ("zip", zip("a", ""), "model/3mf", "model/3mf"),
        ("zip", zip("a", ""), "image/png", "application/zip"),
        ("zip", zip("a", ""), "text/html", "application/zip"),
        ("zip", zip("a", ""), "application/pdf", "application/zip"),
        ("zip", zip("a", ""), "application/javascript", "application/zip"),
        ("zip", zip("a", ""), "application/xhtml+xml", "application/zip"),
        ("ole", cfb(), "application/msword", "application/msword"),
        ("ole", cfb(), "image/jpeg", "application/x-cfb"),
        ("gzip", gzip(), "application/x-gtar", "application/x-gtar"),
        ("gzip", gzip(), "image/svg+xml", "application/gzip"),
        ("ogg", ogg(b"\x01vorbis"), "application/ogg", "application/ogg"),
        ("ogg", ogg(b"\x01vorbis"), "image/gif", "audio/ogg"),
        ("mp4", ftyp("isom"), "audio/mp4", "audio/mp4"),
        ("mp4", ftyp("isom"), "image/gif", "video/mp4"),
        ("webm", matroska(b"webm"), "audio/webm", "audio/webm"),
        ("tiff", padded(b"II*\0\x08\0\0\0", 40), "image/x-adobe-dng", "image/x-adobe-dng"),
        ("tiff", padded(b"II*\0\x08\0\0\0", 40), "image/png", "image/tiff"),
        ("ico", padded(b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0", 40), "image/x-icon", "image/x-icon"),
        ("xml", b"<?xml version=\"1.0\"?><rss>".to_vec(), "application/rss+xml", "application/rss+xml"),
        ("xml", b"<?xml version=\"1.0\"?><rss>".to_vec(), "application/zip", "application/xml"),
        ("png", PNG.to_vec(), "image/jpeg", "image/png"),
        ("png", PNG.to_vec(), "text/plain", "image/png"),
        ("pdf", PDF.to_vec(), "application/vnd.ms-excel", "application/pdf"),
        ("two bytes of sound", padded(b"\xFF\xFB\x90\x64", 40), "audio/mpeg", "audio/mpeg"),
        ("two bytes of sound", padded(b"\xFF\xFB\x90\x64", 40), "application/x-own", "application/x-own"),
    ];
    let mut wrong = Vec::new();
    for (what, head, claimed, expected) in table {
        let told = decide(head, Some(claimed));
        if told != *expected {
            wrong.push(format!("{what}, claimed {claimed}: {told}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(decide(&[0x9A, 0x01], None), UNKNOWN);
    assert_eq!(decide(b"hello", None), UNKNOWN);
    assert_eq!(decide(&padded(b"\xFF\xFB\x90\x64", 40), None), "audio/mpeg");
}
