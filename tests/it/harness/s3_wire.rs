//! S3's requests as they look on the wire: which call it is, and heads with a line changed. For [`super::s3_faults`].

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a request asks of an S3 store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    CreateUpload,
    UploadPart,
    Complete,
    Abort,
    ListParts,
    ListUploads,
    Get,
    Head,
    Put,
    Delete,
    List,
}

/// The first line of a request or answer and its headers, with the empty line.
#[derive(Debug)]
pub(crate) struct Head(Vec<u8>);

/// Heads are short.
const HEAD_MAX: usize = 64 << 10;

/// Reads a head, and what came with it of the body; `None` if nothing comes.
pub(crate) async fn read_head(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(Head, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok(Some((Head(bytes), rest)));
        }
        assert!(bytes.len() < HEAD_MAX, "{}", String::from_utf8_lossy(&bytes));
        if from.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// An answer of ours, as S3 words it. A `200` with an error in it is one that a Complete may get: its head was sent
/// while the store still worked.
pub(crate) fn answer(status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>planned by a test</Message>\
         <RequestId>1</RequestId></Error>"
    );
    let head = format!(
        "HTTP/1.1 {status} Planned\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

impl Head {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.0).unwrap()
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut lines = self.text().lines().skip(1);
        lines.find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Of the body; 0 where there is none. Our requests always say it.
    pub(crate) fn content_length(&self) -> usize {
        assert_eq!(self.value("transfer-encoding"), None, "{}", self.text());
        self.value("content-length").map_or(0, |value| value.parse().unwrap())
    }

    pub(crate) fn call(&self) -> Call {
        let mut line = self.text().split(' ');
        let (method, target) = (line.next().unwrap(), line.next().unwrap());
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        match method {
            "POST" if has("uploads") => Call::CreateUpload,
            "POST" if has("uploadId") => Call::Complete,
            "PUT" if has("partNumber") => Call::UploadPart,
            "PUT" => Call::Put,
            "DELETE" if has("uploadId") => Call::Abort,
            "DELETE" | "POST" => Call::Delete,
            "HEAD" => Call::Head,
            "GET" if has("uploadId") => Call::ListParts,
            "GET" if has("uploads") => Call::ListUploads,
            "GET" if has("list-type") || has("prefix") => Call::List,
            "GET" => Call::Get,
            other => panic!("S3 knows no {other}"),
        }
    }

    /// The same, with this header in place of one of its name.
    pub(crate) fn with(&self, name: &str, value: &str) -> Vec<u8> {
        let other =
            |line: &&str| !line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name));
        let mut lines: Vec<&str> = self.text().trim_end().lines().filter(other).collect();
        let line = format!("{name}: {value}");
        lines.push(&line);
        (lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    /// The same; whoever gets it ends the connection after its answer.
    pub(crate) fn without_keep_alive(&self) -> Vec<u8> {
        self.with("connection", "close")
    }
}
