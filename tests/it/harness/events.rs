//! Server-sent events as a test reads them: one by one, with what a browser would make of each.

use std::time::Duration;

use serde_json::Value;

use super::{Answer, TestApp};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream that is being read.
pub(crate) struct Events {
    response: reqwest::Response,
    unread: String,
    /// How many comments came.
    pub(crate) comments: usize,
}

/// One event.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

impl TestApp {
    /// Opens the events of the upload at `path`; the answer's head if there are none.
    pub(crate) async fn watch(&self, path: &str, headers: &[(&str, &str)]) -> Result<Events, Answer> {
        let path = format!("{path}/events");
        let mut request = self.http().get(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        if response.status() == 200 {
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            assert_eq!(response.headers()["cache-control"], "no-store");
            assert_eq!(response.headers()["x-accel-buffering"], "no");
            return Ok(Events { response, unread: String::new(), comments: 0 });
        }
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.unwrap().to_vec();
        Err(Answer { path, status, headers, body })
    }
}

impl Events {
    /// The next event; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                if block.lines().all(|line| line.starts_with(':')) {
                    self.comments += 1;
                    continue;
                }
                return Some(Event::parse(&block));
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let Some(chunk) = chunk.expect("nothing came, and the stream did not end").unwrap() else {
                assert_eq!(self.unread, "", "an event broke off");
                return None;
            };
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The data of the next event, which must have this name.
    pub(crate) async fn expect(&mut self, name: &str) -> Value {
        let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
        assert_eq!(event.name, name, "{event:?}");
        event.data
    }

    /// The first event for which `wanted` holds; those before are dropped.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream ended before what was waited for");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// The next event, which must end the stream.
    pub(crate) async fn last(mut self, name: &str) -> Value {
        let data = self.until(|event| event.name == name).await.data;
        assert_eq!(self.next().await, None, "{name} was not the last");
        data
    }
}

impl Event {
    fn parse(block: &str) -> Self {
        let field = |name: &str| {
            let values: Vec<_> = block
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.strip_prefix(' ').unwrap_or(value))
                .collect();
            (!values.is_empty()).then(|| values.join("\n"))
        };
        let data = serde_json::from_str(&field("data").unwrap()).unwrap();
        Self { name: field("event").unwrap(), id: field("id"), data }
    }
}
