//! What a body was: its length and CRC, seen as it passes. A form is seen without its boundary, which a client
//! makes up anew each time it sends the same form.

use crate::base::crc::{Crc64, Crc64Hasher};

/// A body's length and CRC, so far.
#[derive(Debug, Clone, Default)]
pub struct BodyPrint {
    size: u64,
    crc64: Crc64Hasher,
    /// Of a form (RFC 2046 5.1.1); empty for other bodies.
    boundary: Vec<u8>,
    /// The last bytes of a form that may be the beginning of a boundary.
    held: Vec<u8>,
}

impl BodyPrint {
    /// Of a body that is said to be a `content_type`.
    pub fn of(content_type: &str) -> Self {
        Self { boundary: boundary(content_type).unwrap_or_default().into_bytes(), ..Self::default() }
    }

    /// Whether the body's length is that of the bytes that were sent.
    pub fn is_plain(&self) -> bool {
        self.boundary.is_empty()
    }

    /// Some of it went by.
    pub fn see(&mut self, bytes: &[u8]) {
        if self.is_plain() {
            return self.take(bytes);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut rest = held.as_slice();
        while let Some(place) = find(rest, &self.boundary) {
            self.take(&rest[..place]);
            rest = &rest[place + self.boundary.len()..];
        }
        let sure = rest.len().saturating_sub(self.boundary.len() - 1);
        self.take(&rest[..sure]);
        self.held = rest[sure..].to_vec();
    }

    /// All of it went by: its length and CRC.
    pub fn finish(mut self) -> (u64, Crc64) {
        let held = std::mem::take(&mut self.held);
        self.take(&held);
        (self.size, self.crc64.finish())
    }

    fn take(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.crc64.update(bytes);
    }
}

/// What a repetition of a request must say of its body: all, but a form's boundary.
pub fn stable_type(content_type: &str) -> &str {
    match boundary(content_type) {
        Some(_) => content_type.split(';').next().unwrap_or_default().trim_end(),
        None => content_type,
    }
}

fn boundary(content_type: &str) -> Option<String> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/")) {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    });
    value.filter(|value| !value.is_empty())
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::crc;

    fn form(boundary: &str) -> (String, Vec<u8>) {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: x\r\n\r\n--{}\r\n--{boundary}--\r\n",
            &boundary[1..]
        );
        (format!("multipart/form-data; boundary=\"{boundary}\""), body.into_bytes())
    }

    fn print(content_type: &str, pieces: &[&[u8]]) -> (u64, Crc64) {
        let mut print = BodyPrint::of(content_type);
        for piece in pieces {
            print.see(piece);
        }
        print.finish()
    }

    #[test]
    fn a_form_is_the_same_under_another_boundary_however_it_is_cut() {
        let (one_type, one) = form("aabaab");
        let without = String::from_utf8(one.clone()).unwrap().replace("aabaab", "");
        let expected = (without.len() as u64, crc::of(without.as_bytes()));
        for cut in 0..one.len() {
            assert_eq!(print(&one_type, &[&one[..cut], &one[cut..]]), expected, "cut at {cut}");
        }
        let (other_type, other) = form("xabaab");
        let bytes: Vec<_> = other.chunks(1).collect();
        assert_eq!(print(&other_type, &bytes), expected);
        assert_eq!(stable_type(&one_type), stable_type(&other_type));
        assert_ne!(print(&one_type, &[&other]), expected);
    }

    #[test]
    fn other_bodies_are_seen_as_they_are() {
        for content_type in ["", "application/json", "text/plain; boundary=abc", "multipart/form-data"] {
            assert_eq!(print(content_type, &[b"ab", b"", b"c"]), (3, crc::of(b"abc")), "{content_type}");
            assert_eq!(stable_type(content_type), content_type);
        }
    }
}
