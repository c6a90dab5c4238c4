//! Object stores: the suites that every store passes, on memory, Garage and Azurite, and what only an object store can
//! do or suffer.

use cifra::blob::object::{ObjectOptions, ObjectStore, PartBudget};
use cifra::config::Storage;
use cifra::telemetry::Tasks;

use crate::harness::{azurite, garage};

mod azure;
mod budget;
mod gcs;
mod s3;

fn options() -> ObjectOptions {
    ObjectOptions { budget: PartBudget::new(64 << 20), tasks: Tasks::default() }
}

fn open(storage: &Storage) -> ObjectStore {
    ObjectStore::open(storage, options()).unwrap().unwrap()
}

macro_rules! on {
    ($module:ident: $store:expr) => {
        mod $module {
            macro_rules! run {
                ($suite:ident, $name:ident) => {
                    crate::suites::$suite::$name(&super::store()).await;
                };
            }
            use run;

            fn store() -> super::ObjectStore {
                $store
            }

            crate::suites::all_suites!(run);
        }
    };
}

on! { in_memory: super::ObjectStore::memory(super::options()).unwrap() }
on! { on_s3: super::open(&super::garage::server().storage()) }
on! { on_azure: super::open(&super::azurite::server().storage()) }
