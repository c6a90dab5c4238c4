//! An operation as one would type it, with curl.

use std::fmt::Write as _;

use serde_json::Value;

use super::shapes::{name_of, plain};

/// What a person puts in the place of an id.
const PLACE: &str = "ID";

/// The command for `operation`; `document` has the shapes that it refers to.
pub(super) fn command(document: &Value, method: &str, path: &str, operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut url = path.to_owned();
    for parameter in parameters.iter().filter(|parameter| parameter["in"] == "path") {
        let name = parameter["name"].as_str().unwrap_or_default();
        let value = example(document, parameter).filter(|_| name != "id").unwrap_or_else(|| PLACE.to_owned());
        url = url.replace(&format!("{{{name}}}"), &value);
    }
    let required =
        parameters.iter().filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
    for (at, parameter) in required.enumerate() {
        let (name, sign) = (parameter["name"].as_str().unwrap_or_default(), if at == 0 { '?' } else { '&' });
        let value = example(document, parameter).unwrap_or_else(|| "VALUE".to_owned());
        let _ = write!(url, "{sign}{name}={value}");
    }
    let mut command = "curl".to_owned();
    if method != "get" && !(method == "post" && operation.get("requestBody").is_some()) {
        let _ = write!(command, " -X {}", method.to_uppercase());
    }
    let _ = write!(command, " \"$CIFRA_SERVER{url}\"");
    command + &body(document, operation)
}

fn body(document: &Value, operation: &Value) -> String {
    let Some(content) = operation["requestBody"]["content"].as_object() else { return String::new() };
    if let Some(json) = content.get("application/json") {
        let shape = resolve(document, &json["schema"]);
        let example =
            json.get("example").or_else(|| shape.get("example")).or_else(|| shape["examples"].get(0));
        let text = example.map_or_else(|| "{}".to_owned(), Value::to_string);
        // A single quote ends the shell's string; as JSON it may be written as an escape.
        return format!(" \\\n  --json '{}'", text.replace('\'', "\\u0027"));
    }
    if content.contains_key("multipart/form-data") && content.len() == 1 {
        return " \\\n  -F file=@FILE".to_owned();
    }
    " \\\n  --data-binary @FILE -H \"Content-Type: application/octet-stream\"".to_owned()
}

fn example(document: &Value, parameter: &Value) -> Option<String> {
    let shape = resolve(document, &parameter["schema"]);
    let value =
        parameter.get("example").or_else(|| shape.get("example")).or_else(|| shape["examples"].get(0));
    value.map(plain)
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    name_of(schema).map_or(schema, |name| &document["components"]["schemas"][name])
}
