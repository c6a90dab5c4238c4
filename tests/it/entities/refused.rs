//! What does not fit the database keeps the service from starting: all of it is told.

use std::sync::Arc;

use cifra::app::App;
use cifra::base::SystemClock;
use cifra::config::Config;

use super::{CONTACTS, configured, dialect, rows_of};
use crate::harness::databases::both_engines;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_does_not_fit_is_told_at_start() {
    for db in both_engines().await {
        let rows = rows_of(&db);
        for statement in [
            CONTACTS,
            "CREATE TABLE heaps (name TEXT, n INTEGER)",
            "CREATE TABLE pairs (a INTEGER, b INTEGER, PRIMARY KEY (a, b))",
            "CREATE TABLE floats (f DOUBLE PRECISION PRIMARY KEY)",
            "CREATE VIEW glances AS SELECT a FROM pairs",
        ] {
            rows.change(&dialect(&rows, statement)).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::builtin(folder.path());
        config.database.url = db.url.clone();
        config.file_upload.min_free = cifra::config::MinFree::Bytes(cifra::config::ByteSize(0));
        config.entities = configured(&[
            "Contact: { table: contacts, tenant_column: tennant, date_column: name2, hidden: [secret, id] }",
            "File2: { table: cifra_files, shared: true }",
            "Float: { table: floats }",
            "Glance: { table: glances }",
            "Heap: { table: heaps }",
            "Heap2: { table: heaps, key: name }",
            "Missing: { table: nowhere }",
            "Pair: { table: pairs }",
            "Right: { table: contacts, tenant_column: tenant }",
        ]);
        let error = App::build(&config, Arc::new(SystemClock::default())).await.unwrap_err();
        let columns = "id, tenant, name, stage, age, points, score, price, active, made_at, local_at, born, wakes, \
                       tags, code, picture, limit, secret";
        let expected = format!(
            "the configured entities do not fit the database:
  entities.Contact.tenant_column: there is no column `tennant` in `contacts`: there are {columns}
  entities.Contact.date_column: there is no column `name2` in `contacts`: there are {columns}
  entities.Contact.hidden: the key cannot be hidden: paths have it
  entities.File2.table: `cifra_files` is cifra's or the database's own, and not to be read so
  entities.Float.table: `f` cannot be what records are known by: it is no text, whole number or UUID
  entities.Glance.table: `glances` has no primary key: name a unique column with `key`
  entities.Heap.table: `heaps` has no primary key: name a unique column with `key`
  entities.Heap2.key: no unique index says that each `name` is there once
  entities.Missing.table: there is no table `nowhere` in the database
  entities.Pair.table: the primary key of `pairs` has several columns: name a unique column with `key`"
        );
        assert_eq!(error.detail(), expected, "{}", db.engine);
    }
}
