//! `/problems`: what each code means, for a person who met it; as JSON for whoever asks for that.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use super::html::{escape, line, page, prose};
use crate::base::{Code, Error};
use crate::http::extract::Path;
use crate::http::fixed::Fixed;
use crate::http::openapi::answers::NotModified;
use crate::http::openapi::requests::ProblemPath;
use crate::http::problem::{Answer, status};
use crate::http::problems::{Member, Presence, of};

/// The same page in both forms.
struct Both {
    html: Fixed,
    json: Fixed,
}

static LIST: LazyLock<Both> = LazyLock::new(|| {
    let items: Vec<Value> = Code::ALL.iter().copied().map(explained).collect();
    Both::new(&page("Problems of cifra", &list()), &json!({ "items": items }))
});

static EACH: LazyLock<HashMap<&str, Both>> = LazyLock::new(|| {
    let both = |code: Code| {
        Both::new(&page(&format!("{}: {}", code.as_str(), code.title()), &one(code)), &explained(code))
    };
    Code::ALL.iter().map(|code| (code.as_str(), both(*code))).collect()
});

/// List all problems
#[utoipa::path(
    get, path = "/problems", operation_id = "list_problems", tag = "documentation", security(()),
    responses((status = 200, description = "Every code, with its status.", content(
        (String = "text/html"),
        (Value = "application/json"),
    )), NotModified),
)]
pub(in crate::http) async fn problems(headers: HeaderMap) -> Answer {
    Ok(LIST.fit(&headers).answer(&headers))
}

/// Explain a problem
///
/// What the code means, how it comes about and what to do: a page, or JSON where `Accept` asks for that.
#[utoipa::path(
    get, path = "/problems/{code}", operation_id = "get_problem", tag = "documentation", security(()),
    params(ProblemPath),
    responses((status = 200, description = "The explanation.", content(
        (String = "text/html"),
        (Value = "application/json"),
    )), NotModified),
    extensions(("x-problems" = json!([Code::NotFound]))),
)]
pub(in crate::http) async fn problem(Path(code): Path<String>, headers: HeaderMap) -> Answer {
    let unknown = || Error::new(Code::NotFound, "no problem has this code; GET /problems lists them all");
    let both = EACH.get(code.as_str()).ok_or_else(unknown)?;
    Ok(both.fit(&headers).answer(&headers))
}

impl Both {
    fn new(html: &Fixed, json: &Value) -> Self {
        let json = Fixed::new("application/json", json.to_string());
        Self { html: html.clone().with(header::VARY, "Accept"), json: json.with(header::VARY, "Accept") }
    }

    /// A browser names HTML; a program that wants JSON names that and not HTML.
    fn fit(&self, headers: &HeaderMap) -> &Fixed {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let accepted = accepted.collect::<Vec<_>>().join(",").to_ascii_lowercase();
        if accepted.contains("json") && !accepted.contains("text/html") { &self.json } else { &self.html }
    }
}

fn explained(code: Code) -> Value {
    let text = of(code);
    let members = text.members.iter().map(|member| {
        let (kind, always) = (member.kind.words(), member.presence == Presence::Always);
        json!({ "name": member.name, "kind": kind, "always": always, "meaning": member.meaning })
    });
    json!({
        "type": format!("/problems/{}", code.as_str()),
        "code": code.as_str(),
        "status": status(code.class()).as_u16(),
        "title": code.title(),
        "meaning": text.meaning,
        "cause": text.cause,
        "remedy": text.remedy,
        "members": members.collect::<Vec<_>>(),
    })
}

fn list() -> String {
    let mut body = prose(
        "What goes wrong is answered as `application/problem+json` (RFC 9457). Programs decide by `code`; this is the list \
         of all codes, and each has a page that explains it.",
    );
    body.insert_str(0, "<h1>Problems</h1>\n");
    body.push_str("<table>\n");
    for code in Code::ALL.iter().copied() {
        let (name, title) = (escape(code.as_str()), line(code.title()));
        let status = status(code.class()).as_u16();
        let _ = writeln!(
            body,
            "<tr><td><a href=\"/problems/{name}\"><code>{name}</code></a></td><td>{status}</td><td>{title}.</td></tr>"
        );
    }
    body.push_str("</table>\n");
    body
}

fn one(code: Code) -> String {
    let text = of(code);
    let status = status(code.class());
    let mut body = format!(
        "<h1>{}</h1>\n<p class=\"path\"><span class=\"method\">{}</span> <code>{}</code> <span class=\"soft\">{}</span></p>\n",
        line(code.title()),
        status.as_u16(),
        escape(code.as_str()),
        escape(status.canonical_reason().unwrap_or_default()),
    );
    for (title, text) in
        [("What it means", text.meaning), ("How it comes about", text.cause), ("What to do", text.remedy)]
    {
        let _ = write!(body, "<h4>{title}</h4>\n{}", prose(text));
    }
    if !text.members.is_empty() {
        body.push_str("<h4>What programs find in it</h4>\n<table>\n");
        body.extend(text.members.iter().map(row));
        body.push_str("</table>\n");
    }
    body.push_str("<p><a href=\"/problems\">All problems</a></p>\n");
    body
}

fn row(member: &Member) -> String {
    let sometimes = if member.presence == Presence::Sometimes { ", not always" } else { "" };
    let (name, kind) = (escape(member.name), escape(member.kind.words()));
    format!(
        "<tr><td><code>{name}</code></td><td>{kind}{sometimes}</td><td>{}</td></tr>\n",
        line(member.meaning)
    )
}
