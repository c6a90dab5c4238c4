//! Tables as the database describes them, and rows of tables that nobody knew when this was compiled.

use cifra::db::catalog::{self, Engine, Kind, Table};
use cifra::db::dynamic::{self, Cell, Found, Wanted};
use cifra::db::{Conn, Db};

use super::{execute, read, write};
use crate::harness::databases::{TestDb, both_engines};

async fn describe(db: &Db, schema: Option<&'static str>, name: &'static str) -> Option<Table> {
    read(db, move |c| Box::pin(async move { catalog::table(c, schema, name).await })).await
}

async fn change(db: &Db, text: &'static str) {
    write(db, move |c| {
        Box::pin(async move {
            Ok(match c {
                Conn::Sqlite(c) => sqlx::query(text).execute(&mut **c).await?.rows_affected(),
                Conn::Postgres(c) => sqlx::query(text).execute(&mut **c).await?.rows_affected(),
            })
        })
    })
    .await;
}

async fn select(test: &TestDb, table: &Table, wanted: Wanted) -> Found {
    let table = table.clone();
    read(&test.db, move |c| Box::pin(async move { dynamic::select(c, &table, &wanted).await })).await
}

#[tokio::test]
async fn a_table_is_described_as_it_is() {
    for test in both_engines().await {
        let db = &test.db;
        change(
            db,
            "CREATE TABLE orders (
                tenant VARCHAR(63) NOT NULL,
                number BIGINT NOT NULL,
                total NUMERIC(12, 2),
                \"odd \"\"name\" TEXT,
                code UUID UNIQUE,
                half INTEGER,
                PRIMARY KEY (tenant, number)
            )",
        )
        .await;
        change(db, "CREATE UNIQUE INDEX of_some ON orders (half) WHERE half > 5").await;
        change(db, "CREATE UNIQUE INDEX of_sums ON orders (half, (half + 1))").await;
        change(db, "CREATE VIEW totals AS SELECT number, total FROM orders").await;
        let orders = describe(db, None, "orders").await.unwrap();
        let columns: Vec<(&str, Kind)> =
            orders.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect();
        let expected = [
            ("tenant", Kind::Text),
            ("number", Kind::BigInt),
            ("total", Kind::Numeric(Some(2))),
            ("odd \"name", Kind::Text),
            ("code", Kind::Uuid),
            ("half", Kind::Int),
        ];
        assert_eq!(columns, expected, "{}", test.engine);
        assert!(orders.columns.iter().all(|column| column.readable && column.comparable));
        assert_eq!(orders.primary_key, ["tenant", "number"]);
        let mut unique = orders.unique.clone();
        unique.sort();
        assert_eq!(unique, [vec!["code"], vec!["tenant", "number"]], "{}", test.engine);
        assert_eq!((orders.is_view, orders.is_internal()), (false, false));

        let totals = describe(db, None, "totals").await.unwrap();
        assert_eq!((totals.is_view, totals.primary_key.len(), totals.columns.len()), (true, 0, 2));
        assert_eq!(describe(db, None, "order").await, None);
        assert_eq!(describe(db, Some("nowhere"), "orders").await, None);
        assert_eq!(describe(db, None, "orders\"; DROP TABLE orders; --").await, None);
        assert!(describe(db, None, "cifra_files").await.unwrap().is_internal());
        let on_postgres = orders.engine == Engine::Postgres;
        assert_eq!(describe(db, Some("public"), "orders").await.is_some(), on_postgres);
        if on_postgres {
            let own = describe(db, Some("pg_catalog"), "pg_authid").await.unwrap();
            assert!(own.is_internal());
        } else {
            assert_eq!(describe(db, None, "ORDERS").await, Some(orders));
        }
    }
}

#[tokio::test]
async fn rows_come_in_the_order_of_the_key_from_a_position_on() {
    for test in both_engines().await {
        let db = &test.db;
        change(db, "CREATE TABLE pairs (word TEXT UNIQUE, n INTEGER)").await;
        change(db, "INSERT INTO pairs VALUES ('c', 1), ('a', 2), (NULL, 3), ('b', 1), ('d', NULL)").await;
        let table = describe(db, None, "pairs").await.unwrap();
        let wanted = |equal: Vec<(usize, Vec<Cell>)>, after: Option<&str>| Wanted {
            columns: vec![0],
            equal,
            key: 0,
            after: after.map(|text| Cell::Text(text.to_owned())),
            limit: 3,
            bytes_max: 2,
        };
        let words = |found: Found| match found {
            Found::Rows { rows, cut } => {
                let text = |row: Vec<Cell>| match row.as_slice() {
                    [Cell::Text(text)] => text.clone(),
                    other => panic!("{other:?}"),
                };
                (rows.into_iter().map(text).collect::<Vec<_>>().concat(), cut)
            }
            other => panic!("{other:?}"),
        };
        let one = || vec![(1, vec![Cell::Int(1)])];
        let none = || vec![(1, Vec::new())];
        let any = || vec![(1, vec![Cell::Int(2), Cell::Int(1)])];
        for (found, expected, cut) in [
            (wanted(Vec::new(), None), "ab", true),
            (wanted(Vec::new(), Some("b")), "cd", false),
            (wanted(one(), None), "bc", false),
            (wanted(any(), None), "ab", true),
            (wanted(one(), Some("b")), "c", false),
            (wanted(none(), None), "", false),
        ] {
            let found = select(&test, &table, found).await;
            assert_eq!(words(found), (expected.to_owned(), cut), "{}", test.engine);
        }

        change(db, "ALTER TABLE pairs RENAME COLUMN n TO m").await;
        let found = select(&test, &table, wanted(one(), None)).await;
        assert!(matches!(found, Found::Changed(_)), "{}: {found:?}", test.engine);
        change(db, "DROP TABLE pairs").await;
        let found = select(&test, &table, wanted(Vec::new(), None)).await;
        assert!(matches!(found, Found::Changed(_)), "{}: {found:?}", test.engine);
    }
}

/// What a trigger writes down is what a path has.
#[tokio::test]
async fn the_text_of_a_key_is_its_id() {
    for test in both_engines().await {
        let db = &test.db;
        change(db, "CREATE TABLE keys (id BIGINT PRIMARY KEY, code UUID UNIQUE, word TEXT UNIQUE)").await;
        let code = "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c";
        change(db, "INSERT INTO keys VALUES (-7, '0198C5F0-7C1E-7D2A-9B3F-2F1D0E5A6B7C', 'Wörd'' \"x\"')")
            .await;
        let table = describe(db, None, "keys").await.unwrap();
        let texts = async |column: &str| -> String {
            let key = table.column(column).unwrap();
            let text = format!("SELECT {} FROM keys AS k", table.id_text(key, "k"));
            read(db, move |c| {
                Box::pin(async move {
                    let query = sqlx::AssertSqlSafe(text);
                    Ok(match c {
                        Conn::Sqlite(c) => sqlx::query_scalar(query).fetch_one(&mut **c).await?,
                        Conn::Postgres(c) => sqlx::query_scalar(query).fetch_one(&mut **c).await?,
                    })
                })
            })
            .await
        };
        assert_eq!(texts("id").await, "-7", "{}", test.engine);
        assert_eq!(texts("code").await, code, "{}", test.engine);
        assert_eq!(texts("word").await, "Wörd' \"x\"", "{}", test.engine);
        if table.engine == Engine::Sqlite {
            // As bytes it is the same.
            let id = uuid::Uuid::parse_str(code).unwrap();
            execute(db, "UPDATE keys SET code = $1", id).await.unwrap();
            assert_eq!(texts("code").await, code);
        }
    }
}
