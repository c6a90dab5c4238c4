//! Looks at a server from outside, as its clients see it: whether it answers, what its clock shows, and what a proxy
//! in between does to bodies, ranges and events. Reads only; what it sends is for an upload that does not exist.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, RANGE};
use reqwest::{Body, Method, Response, StatusCode};
use serde_json::Value;

use super::error::reason;
use super::{Client, Result};
use crate::base::Timestamp;
use crate::base::finding::Finding;

/// A server that does not answer in this time does not answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(4);
/// What is held back longer than this is held back for good.
const PROMPT: Duration = Duration::from_secs(3);
/// Two machines' clocks may differ by so much.
const SKEW_MAX: Duration = Duration::from_mins(1);
/// An upload that nobody ever began: the server refuses its chunks before it reads them.
const NOBODYS_CHUNK: &str = "/api/uploads/00000000-0000-7000-8000-000000000000/chunks/0";
/// What every proxy takes.
const SMALL_BODY: u64 = 256 << 10;
/// So much of a body is sent; the rest is only announced.
const SENT: usize = 64 << 10;

/// What came of a request whose body stopped in the middle.
enum Held {
    /// The server answered without waiting for the rest.
    Answered,
    /// Nobody answered.
    Silence,
    /// Somebody in between refused it, with this status.
    Refused(StatusCode),
    /// The connection broke.
    Broke(String),
}

impl Client {
    /// Whether a cifra server answers, and what its clock shows.
    pub async fn examine_server(&self, now: Timestamp) -> Vec<Finding> {
        const CHECK: &str = "server";
        let asked = tokio::time::timeout(ANSWER_WAIT_MAX, self.look(Method::GET, "/healthz").send()).await;
        let response = match asked {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return vec![self.silent(&reason(&error))],
            Err(_) => return vec![self.silent("no answer in time")],
        };
        let clock = clock(&response, now);
        let (status, text) = (response.status(), response.text().await.unwrap_or_default());
        let version = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|body| Some(body["version"].as_str()?.to_owned()));
        let Some(version) = version.filter(|_| status == StatusCode::OK) else {
            let detail = format!("{} is answered by something that is not cifra ({status})", self.base);
            return vec![Finding::fail(
                CHECK,
                detail,
                "look at the address, and at what the proxy passes on",
            )];
        };
        vec![Finding::ok(CHECK, format!("cifra {version} answers at {}", self.base)), clock]
    }

    fn silent(&self, why: &str) -> Finding {
        Finding::fail(
            "server",
            format!("{} does not answer: {why}", self.base),
            "look at the address, the service and the proxy",
        )
    }

    /// What a proxy in between does to bodies of `body_bytes`, to ranges, and to events.
    pub async fn examine_proxy(&self, body_bytes: u64) -> Vec<Finding> {
        let mut findings = self.bodies(body_bytes).await;
        findings.extend(self.reading().await);
        findings.push(self.events().await);
        findings
    }

    async fn bodies(&self, body_bytes: u64) -> Vec<Finding> {
        const SIZE: &str = "proxy.body_size";
        const BUFFERING: &str = "proxy.request_buffering";
        let (size, outcome) = match self.hold(body_bytes).await {
            Held::Refused(StatusCode::PAYLOAD_TOO_LARGE) => (
                Finding::fail(
                    SIZE,
                    format!("the proxy refuses bodies of {body_bytes} bytes"),
                    "let the proxy pass bodies of any size: client_max_body_size 0; (nginx)",
                ),
                self.hold(SMALL_BODY).await,
            ),
            other => {
                (Finding::ok(SIZE, format!("bodies of {body_bytes} bytes are not refused on the way")), other)
            }
        };
        let buffering = match outcome {
            Held::Answered => Finding::ok(BUFFERING, "bodies come through as they are sent"),
            Held::Silence => Finding::warn(
                BUFFERING,
                "the proxy keeps a body until all of it is there: progress is not what it seems, refusals come late, \
                 and every upload is written twice",
                "switch that off: proxy_request_buffering off; and proxy_http_version 1.1; (nginx)",
            ),
            Held::Refused(status) => Finding::fail(
                BUFFERING,
                format!("something on the way answers an upload with {status}"),
                "let the proxy pass PUT below /api/uploads on",
            ),
            Held::Broke(why) => Finding::fail(
                BUFFERING,
                format!("an upload broke off: {why}"),
                "look at the proxy's log and its time limits",
            ),
        };
        vec![size, buffering]
    }

    /// Announces a body, sends its beginning, and waits for an answer.
    async fn hold(&self, announced: u64) -> Held {
        let beginning = vec![0; SENT.min(usize::try_from(announced / 2).unwrap_or(SENT))];
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(beginning)])
            .chain(futures_util::stream::pending());
        let request = self
            .look(Method::PUT, NOBODYS_CHUNK)
            .header(CONTENT_LENGTH, announced)
            .body(Body::wrap_stream(body));
        match tokio::time::timeout(PROMPT, request.send()).await {
            Err(_) => Held::Silence,
            Ok(Err(error)) => Held::Broke(reason(&error)),
            Ok(Ok(response)) if header(&response, CONTENT_TYPE.as_str()) == "application/problem+json" => {
                Held::Answered
            }
            Ok(Ok(response)) => Held::Refused(response.status()),
        }
    }

    async fn reading(&self) -> Vec<Finding> {
        const CHECK: &str = "proxy.ranges";
        let url = match self.first("/api/files?limit=1&sort=-size", "content_url").await {
            Ok(url) => url,
            Err(why) => return vec![Finding::skip(CHECK, why)],
        };
        match self.ranges(&url).await {
            Ok(None) => vec![Finding::ok(CHECK, "HEAD, ranges and ETags of files come through")],
            Ok(Some(lost)) => {
                let advice = "let the proxy neither cache, compress nor rewrite what is below /api/files";
                vec![Finding::fail(CHECK, lost, advice)]
            }
            Err(error) => vec![Finding::fail(
                CHECK,
                format!("a file cannot be read: {error}"),
                "look at the proxy's log",
            )],
        }
    }

    /// What the proxy takes away of an answer, if anything.
    async fn ranges(&self, url: &str) -> Result<Option<String>> {
        let ask = async |method: Method, range: Option<&str>| {
            let mut request = self.look(method, url).header(ACCEPT_ENCODING, "gzip");
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            request.timeout(ANSWER_WAIT_MAX).send().await.map_err(|error| super::Error::no_answer(&error))
        };
        let head = ask(Method::HEAD, None).await?;
        if head.status() != StatusCode::OK {
            return Ok(Some(format!("HEAD of a file is answered with {}", head.status())));
        }
        let strong = header(&head, ETAG.as_str()).starts_with('"');
        if !strong || header(&head, ACCEPT_RANGES.as_str()) != "bytes" {
            return Ok(Some(
                "ETag and Accept-Ranges of a file are lost or made weak, as by compression".to_owned(),
            ));
        }
        let part = ask(Method::GET, Some("bytes=0-0")).await?;
        Ok((part.status() != StatusCode::PARTIAL_CONTENT)
            .then(|| format!("a range of a file is answered with {}", part.status())))
    }

    async fn events(&self) -> Finding {
        const CHECK: &str = "proxy.events";
        let id = match self.first("/api/uploads?state=receiving&limit=1", "upload_id").await {
            Ok(id) => id,
            Err(why) => return Finding::skip(CHECK, why),
        };
        let watching = async {
            let response = self.look(Method::GET, &format!("/api/uploads/{id}/events")).send().await.ok()?;
            let events = header(&response, CONTENT_TYPE.as_str()).starts_with("text/event-stream");
            Some((events, response.bytes_stream().next().await.is_some()))
        };
        match tokio::time::timeout(PROMPT, watching).await {
            Ok(Some((true, true))) => Finding::ok(CHECK, "events come through as they happen"),
            Ok(Some(_) | None) => Finding::skip(CHECK, "this server has no events"),
            Err(_) => Finding::warn(
                CHECK,
                "events are held back on the way",
                "let the proxy pass answers on at once: proxy_buffering off; (nginx)",
            ),
        }
    }

    /// `field` of the first item of the list at `path`; or why there is none.
    async fn first(&self, path: &str, field: &str) -> Result<String, String> {
        let response = self.look(Method::GET, path).timeout(ANSWER_WAIT_MAX).send().await;
        let response = response.map_err(|error| reason(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err("it needs a key: set CIFRA_API_KEY".to_owned()),
            status => return Err(format!("the list that it needs is answered with {status}")),
        }
        let list: Value = response.json().await.map_err(|error| reason(&error))?;
        let found = list["items"][0][field].as_str();
        found
            .map(str::to_owned)
            .ok_or_else(|| "there is nothing to try it on: the list that it needs is empty".to_owned())
    }

    fn look(&self, method: Method, path_or_url: &str) -> reqwest::RequestBuilder {
        self.http.request(method, self.absolute(path_or_url))
    }
}

fn clock(response: &Response, now: Timestamp) -> Finding {
    const CHECK: &str = "server.clock";
    let Ok(theirs) = httpdate::parse_http_date(&header(response, DATE.as_str())) else {
        return Finding::skip(CHECK, "the server does not tell its time");
    };
    let theirs = theirs.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let ours = now.since(Timestamp::from_micros(0));
    let skew = theirs.abs_diff(ours);
    if skew > SKEW_MAX {
        let detail = format!("the server's clock and this machine's differ by {} s", skew.as_secs());
        return Finding::warn(CHECK, detail, "let both be kept right (chrony, systemd-timesyncd)");
    }
    Finding::ok(CHECK, "the server's clock and this machine's agree")
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
