//! Object stores: the suites that every store passes, on memory, and what only an object store can do or suffer.

use cifra::blob::object::{ObjectOptions, ObjectStore, PartBudget};
use cifra::telemetry::Tasks;

fn options() -> ObjectOptions {
    ObjectOptions { prefix: String::new(), budget: PartBudget::new(64 << 20), tasks: Tasks::default() }
}

mod memory {
    macro_rules! run {
        ($suite:ident, $name:ident) => {
            let store = super::super::ObjectStore::memory(super::super::options()).unwrap();
            crate::suites::$suite::$name(&store).await;
        };
    }
    use run;

    crate::suites::all_suites!(run);
}
