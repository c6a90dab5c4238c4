//! `/docs`: every operation of the document, by tag, with what goes in, what comes out, and a command to try it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value};

use super::curl;
use super::html::{escape, line, page, prose};
use super::shapes::{self, words};
use crate::base::Code;
use crate::http::fixed::Fixed;
use crate::http::openapi::DOCUMENT;
use crate::http::openapi::answers::NotModified;

/// In the order in which one reads them.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

static PAGE: LazyLock<Fixed> = LazyLock::new(|| page("cifra: operations", &body(&DOCUMENT)));

/// The documentation
///
/// All operations, for a person to read.
#[utoipa::path(
    get, path = "/docs", operation_id = "docs", tag = "documentation", security(()),
    responses((status = 200, description = "A page.", body = String, content_type = "text/html"), NotModified),
)]
pub(in crate::http) async fn docs(headers: HeaderMap) -> Response {
    PAGE.answer(&headers)
}

/// An operation with its place.
struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    spec: &'a Value,
}

fn body(document: &Value) -> String {
    let mut body = "<h1>cifra</h1>\n".to_owned();
    body.push_str(&prose(document["info"]["description"].as_str().unwrap_or_default()));
    body.push_str(
        "<p>In the examples, <code>CIFRA_SERVER</code> is where the service is: \
         <code>export CIFRA_SERVER=http://127.0.0.1:8080</code>. Where keys are needed, add \
         <code>-H &quot;Authorization: Bearer $CIFRA_API_KEY&quot;</code>. \
         Every GET answers HEAD too, with the same headers and no body.</p>\n",
    );
    let none = Map::new();
    let paths = document["paths"].as_object().unwrap_or(&none);
    let tags = document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (mut contents, mut sections) = (String::new(), String::new());
    for tag in tags {
        let name = tag["name"].as_str().unwrap_or_default();
        let title = escape(name);
        let text = tag["description"].as_str().map(line).unwrap_or_default();
        let _ = writeln!(contents, "<h4>{title}</h4>\n<ul class=\"toc\">");
        let _ = writeln!(sections, "<h2 id=\"{title}\">{title}</h2>\n<p>{text}</p>");
        for operation in of_tag(paths, name) {
            contents.push_str(&operation.entry());
            sections.push_str(&operation.section(document));
        }
        contents.push_str("</ul>\n");
    }
    let shapes = shapes::all(document["components"]["schemas"].as_object().unwrap_or(&none));
    body + &contents
        + &sections
        + "<h2 id=\"shapes\">Shapes</h2>\n<p>JSON that goes in and comes out.</p>\n"
        + &shapes
}

fn of_tag<'a>(paths: &'a Map<String, Value>, tag: &str) -> impl Iterator<Item = Operation<'a>> {
    let all = paths.iter().flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| Some(Operation { method, path, spec: item.get(method)? }))
    });
    all.filter(move |operation| operation.spec["tags"][0] == tag)
}

impl Operation<'_> {
    fn id(&self) -> String {
        escape(self.text("operationId"))
    }

    fn text(&self, member: &str) -> &str {
        self.spec[member].as_str().unwrap_or_default()
    }

    fn method(&self) -> String {
        format!("<span class=\"method {}\">{}</span>", self.method, self.method.to_uppercase())
    }

    /// Its line in the table of contents.
    fn entry(&self) -> String {
        let (id, method, path) = (self.id(), self.method(), escape(self.path));
        let summary = line(self.text("summary"));
        format!(
            "<li>{method} <a href=\"#{id}\"><code>{path}</code></a> <span class=\"soft\">{summary}</span></li>\n"
        )
    }

    fn section(&self, document: &Value) -> String {
        let (id, method, path) = (self.id(), self.method(), escape(self.path));
        let mut markup = format!(
            "<section id=\"{id}\"><p class=\"path\">{method} <code>{path}</code></p>\n<h3>{}</h3>\n",
            line(self.text("summary"))
        );
        markup.push_str(&prose(self.text("description")));
        if self.spec["security"] == serde_json::json!([{}]) {
            markup.push_str("<p class=\"soft\">No key is needed.</p>\n");
        }
        markup.push_str(&self.parameters());
        markup.push_str(&self.request());
        markup.push_str(&self.answers());
        let command = escape(&curl::command(document, self.method, self.path, self.spec));
        let _ = writeln!(markup, "<h4>Example</h4>\n<pre><code>{command}</code></pre>\n</section>");
        markup
    }

    fn parameters(&self) -> String {
        let Some(parameters) = self.spec["parameters"].as_array() else { return String::new() };
        let mut markup = "<h4>Parameters</h4>\n<table>\n".to_owned();
        for parameter in parameters {
            let name = escape(parameter["name"].as_str().unwrap_or_default());
            let place = escape(parameter["in"].as_str().unwrap_or_default());
            let must = if parameter["required"] == true { "" } else { ", optional" };
            let text = parameter["description"].as_str().map(line).unwrap_or_default();
            let _ = writeln!(
                markup,
                "<tr><td><code>{name}</code></td><td>{place}: {}{must}</td><td>{text}</td></tr>",
                words(&parameter["schema"])
            );
        }
        markup + "</table>\n"
    }

    fn request(&self) -> String {
        let request = &self.spec["requestBody"];
        let Some(content) = request["content"].as_object() else { return String::new() };
        let optional = if request["required"] == true { "" } else { " It may be left out." };
        let text = request["description"].as_str().map(line).unwrap_or_default();
        format!("<h4>Body</h4>\n<p>{} {text}{optional}</p>\n", media(content))
    }

    /// Good answers in a table; problems as links to their pages.
    fn answers(&self) -> String {
        let Some(responses) = self.spec["responses"].as_object() else { return String::new() };
        let mut markup = "<h4>Answers</h4>\n<table>\n".to_owned();
        let mut codes = Vec::new();
        for (status, response) in responses {
            let mut content = response["content"].as_object().cloned().unwrap_or_default();
            let problem = content.remove("application/problem+json");
            codes.extend(problem.iter().flat_map(|media| problem_codes(&media["schema"])));
            if problem.is_some() && content.is_empty() {
                continue;
            }
            let text = response["description"].as_str().map(line).unwrap_or_default();
            let _ = writeln!(
                markup,
                "<tr><td><code>{}</code></td><td>{}</td><td>{text}{}</td></tr>",
                escape(status),
                media(&content),
                headers(response)
            );
        }
        markup.push_str("</table>\n<h4>Problems</h4>\n<p class=\"codes\">");
        for code in codes {
            let name = escape(code.as_str());
            let _ = write!(markup, "<a href=\"/problems/{name}\"><code>{name}</code></a> ");
        }
        markup + "</p>\n"
    }
}

/// What a body is, and its media type where that says something.
fn media(content: &Map<String, Value>) -> String {
    let each = content.iter().map(|(kind, media)| {
        let kind = if kind == "application/json" {
            String::new()
        } else {
            format!(" <small>{}</small>", escape(kind))
        };
        words(&media["schema"]) + &kind
    });
    each.collect::<Vec<_>>().join(" or ")
}

/// The headers of an answer, but the one that all have.
fn headers(response: &Value) -> String {
    let headers = response["headers"].as_object();
    let each =
        headers.into_iter().flatten().filter(|(name, _)| *name != "X-Request-Id").map(|(name, header)| {
            let text =
                header["description"].as_str().map(|text| format!(": {}", line(text))).unwrap_or_default();
            format!("<br><code>{}</code>{text}", escape(name))
        });
    each.collect()
}

/// The codes that a response's schema allows.
fn problem_codes(schema: &Value) -> Vec<Code> {
    let references =
        schema["oneOf"].as_array().map_or_else(|| vec![schema], |choices| choices.iter().collect());
    let is = |code: &Code, reference: &Value| {
        shapes::name_of(reference).and_then(|name| name.strip_suffix("Problem")) == Some(&format!("{code:?}"))
    };
    let all = references.into_iter();
    all.filter_map(|reference| Code::ALL.iter().copied().find(|code| is(code, reference))).collect()
}
