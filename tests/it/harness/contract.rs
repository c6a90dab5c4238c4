//! Holds every answer that a test sees against the document at `/openapi.json`: status, media type, the code of a
//! problem and its members. What the service answers and the document does not say fails the test that met it.

use axum::http::Method;
use serde_json::Value;

use super::Answer;

const PROBLEM: &str = "application/problem+json";

/// Fails if `document` does not say that `method` on the answer's path may be answered so.
#[track_caller]
pub(crate) fn check(document: &Value, method: &Method, answer: &Answer) {
    let Some((path, item)) = find(document, &answer.path) else {
        return answer.problem_of_no_operation(&["not-found", "method-not-allowed"]);
    };
    let Some(operation) = item.get(method.as_str().to_lowercase()) else {
        return answer.problem_of_no_operation(&["method-not-allowed"]);
    };
    let here = format!("{method} {path}, answered with {}", answer.status);
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{here}: the document has no such answer: {}", answer.text());
    if *method == Method::HEAD || answer.body.is_empty() {
        return;
    }
    let kind = answer.header("content-type");
    let content = response["content"].as_object().unwrap_or_else(|| panic!("{here}: it has no body"));
    let essence = kind.split(';').next().unwrap_or_default();
    let media = content.get(kind).or_else(|| content.get(essence)).or_else(|| content.get("*/*"));
    let media = media.unwrap_or_else(|| panic!("{here}: the document has no {kind}"));
    if kind == PROBLEM {
        problem(document, &here, &media["schema"], &serde_json::from_slice(&answer.body).unwrap());
    }
}

/// The path of the document that `path` is one of; one without variables goes first.
fn find<'a>(document: &'a Value, path: &str) -> Option<(&'a String, &'a Value)> {
    let paths = document["paths"].as_object().unwrap();
    let fits = |template: &str| {
        let (template, path) = (template.split('/'), path.split('/'));
        template.clone().count() == path.clone().count()
            && template.zip(path).all(|(known, given)| {
                known == given || (known.starts_with('{') && known.ends_with('}') && !given.is_empty())
            })
    };
    paths.get_key_value(path).or_else(|| paths.iter().find(|(template, _)| fits(template)))
}

#[track_caller]
fn problem(document: &Value, here: &str, schema: &Value, problem: &Value) {
    let choices = schema["oneOf"].as_array().map_or_else(|| vec![schema], |choices| choices.iter().collect());
    let shapes = choices.into_iter().map(|choice| &document["components"]["schemas"][name(choice)]);
    let code = &problem["code"];
    let shape = shapes.into_iter().find(|shape| shape["properties"]["code"]["const"] == *code);
    let shape = shape.unwrap_or_else(|| panic!("{here}: the document does not say that it can be {code}"));
    let base = &document["components"]["schemas"]["Problem"];
    for (member, _) in problem.as_object().unwrap() {
        let known = shape["properties"].get(member).or_else(|| base["properties"].get(member));
        assert!(known.is_some(), "{here}: {code} has a member `{member}` that no text explains");
    }
    for member in [base, shape].iter().filter_map(|shape| shape["required"].as_array()).flatten() {
        assert!(problem.get(member.as_str().unwrap()).is_some(), "{here}: {code} lacks {member}: {problem}");
    }
}

fn name(reference: &Value) -> &str {
    reference["$ref"].as_str().unwrap().rsplit('/').next().unwrap()
}

impl Answer {
    /// What is no operation is one of these problems, or a preflight that CORS answers.
    #[track_caller]
    fn problem_of_no_operation(&self, codes: &[&str]) {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let told = problem["code"].as_str().unwrap_or_default();
        let fine = codes.contains(&told) || self.body.is_empty();
        assert!(fine, "{} is in no document, and was answered with {} {told}", self.path, self.status);
    }
}
