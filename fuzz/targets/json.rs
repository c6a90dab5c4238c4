//! A JSON request with a string `filename`, a number `size` and an object of strings `metadata`.
#![no_main]

use cifra::base::Code;
use cifra::http::fuzzing::json;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let error = match json(body) {
        Ok(request) => {
            let Some(document) = document else {
                return assert!(body.is_empty(), "what is no JSON was taken");
            };
            let fields = document.as_object().expect("only objects are taken");
            assert!(fields.keys().all(|name| ["filename", "size", "metadata"].contains(&name.as_str())));
            assert_eq!(request.filename.as_deref(), document["filename"].as_str());
            assert_eq!(request.size, document["size"].as_u64());
            let pairs = request.metadata.as_ref().map(|metadata| metadata.iter().collect::<Vec<_>>());
            assert_eq!(pairs.is_some(), document["metadata"].is_object());
            for (key, value) in pairs.into_iter().flatten() {
                assert_eq!(document["metadata"][key].as_str(), Some(value));
            }
            return;
        }
        Err(error) => error,
    };
    assert_eq!(error.code(), Code::InvalidRequest);
    // All faults at once, each at its place (RFC 6901).
    let Some(document) = document else { return };
    let Some(faults) = error.members().get("errors") else { return assert!(!document.is_object()) };
    assert!(faults.to_string().len() < 200 + 100 * body.len(), "a refusal is much longer than the request");
    for fault in faults.as_array().into_iter().flatten() {
        let pointer = fault["pointer"].as_str().expect("a fault has a place");
        let place = document.pointer(pointer);
        assert!(place.is_some(), "{pointer} points at nothing");
    }
});
