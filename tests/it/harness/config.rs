//! Configurations as an operator writes them, for what has no other way to be made.

use cifra::config::{Config, Sources, load};

/// The configuration of a file with this text.
pub(crate) fn loaded(yaml: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cifra.yaml");
    std::fs::write(&file, yaml).unwrap();
    load(&Sources::of_process(Some(file), Vec::new()).unwrap()).unwrap().config
}
