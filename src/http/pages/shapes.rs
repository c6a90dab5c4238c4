//! Shapes of JSON as a person reads them: a type in a few words, an object as a table.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::html::{escape, line};

/// A schema in a few words of markup; shapes with a name are links.
pub(super) fn words(schema: &Value) -> String {
    if let Some(name) = name_of(schema) {
        return format!("<a href=\"#shape-{0}\">{0}</a>", escape(name));
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema[key].as_array() {
            return choices.iter().map(words).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(constant) = schema.get("const") {
        return format!("<code>{}</code>", escape(&constant.to_string()));
    }
    if let Some(choices) = schema["enum"].as_array() {
        let choices = choices.iter().map(|choice| format!("<code>{}</code>", escape(&plain(choice))));
        return choices.collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(name) => simple(name, schema),
        Value::Array(names) => {
            let names = names.iter().filter_map(Value::as_str);
            names.map(|name| simple(name, schema)).collect::<Vec<_>>().join(" or ")
        }
        _ => "anything".to_owned(),
    }
}

fn simple(name: &str, schema: &Value) -> String {
    match name {
        "array" => format!("list of {}", words(schema.get("items").unwrap_or(&Value::Null))),
        "object" => match &schema["additionalProperties"] {
            values @ Value::Object(_) => format!("object of {}", words(values)),
            _ => "object".to_owned(),
        },
        "integer" => "whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "string" => match schema["format"].as_str() {
            Some("date-time") => "time".to_owned(),
            Some("binary") => "bytes".to_owned(),
            _ => "string".to_owned(),
        },
        other => escape(other),
    }
}

/// The name of the shape that `schema` refers to.
pub(super) fn name_of(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// A value as it stands in a request.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// All shapes with a name, but problems: those have pages of their own.
pub(super) fn all(schemas: &Map<String, Value>) -> String {
    let mut markup = String::new();
    for (name, schema) in schemas.iter().filter(|(name, _)| *name == "Problem" || !name.ends_with("Problem"))
    {
        let title = escape(name);
        let _ = writeln!(markup, "<section id=\"shape-{title}\"><h3>{title}</h3>");
        if let Some(text) = schema["description"].as_str() {
            let _ = writeln!(markup, "<p>{}</p>", line(text));
        }
        match schema["properties"].as_object() {
            Some(properties) => markup.push_str(&table(properties, &schema["required"])),
            None => drop(writeln!(markup, "<p class=\"soft\">{}{}</p>", words(schema), example(schema))),
        }
        markup.push_str("</section>\n");
    }
    markup
}

fn table(properties: &Map<String, Value>, required: &Value) -> String {
    let mut markup = "<table>\n".to_owned();
    for (name, schema) in properties {
        let must = required.as_array().is_some_and(|required| required.iter().any(|must| must == name));
        // utoipa puts the text beside the reference where null is another choice.
        let text = schema["description"]
            .as_str()
            .or_else(|| schema["oneOf"].as_array()?.iter().find_map(|choice| choice["description"].as_str()));
        let text = text.map(line).unwrap_or_default();
        let (name, optional) = (escape(name), if must { "" } else { " <small>optional</small>" });
        let _ = writeln!(
            markup,
            "<tr><td><code>{name}</code>{optional}</td><td>{}</td><td>{text}</td></tr>",
            words(schema)
        );
    }
    markup + "</table>\n"
}

fn example(schema: &Value) -> String {
    let first = schema["examples"].get(0);
    first.map(|first| format!(", such as <code>{}</code>", escape(&first.to_string()))).unwrap_or_default()
}
