//! Keys that are decided but whose part is not built yet. They are refused, as unknown keys are, so that
//! nobody believes in a setting that does nothing; but with a message of their own. Called by `reader`.
//! Whoever builds a part removes its line here and adds its keys in the section's file.

/// Keys, each with everything below it.
const NOT_BUILT: &[&str] = &["jobs", "backup", "reports", "webhooks", "tus"];

/// Whether `path` (such as `cache.l1.ttl`) is, or is inside, a part that is not built yet.
pub(super) fn contains(path: &str) -> bool {
    NOT_BUILT
        .iter()
        .any(|part| path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}
