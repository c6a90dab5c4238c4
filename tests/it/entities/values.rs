//! One record: the same JSON from both engines, under ids of every kind.

use serde_json::json;

use super::{CONTACT, CONTACTS, Shop};
use crate::harness::OPERATOR;

const ANN: &str = "
    INSERT INTO contacts VALUES (
        1, 'default', 'Ann \"the\" first', 'won', 41, 9007199254740993, 0.1, 12.50, TRUE,
        '2026-01-02 03:04:05+00', '2026-01-02 03:04:05.5', '1985-06-07', '06:30:00',
        '[\"a\", {\"b\": 1}]', '0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c', BYTES(01ff), 5, 'hush'
    )
";
const NOTHING: &str = "INSERT INTO contacts (id, tenant) VALUES (-2, 'default')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_answered_alike_on_both_engines() {
    for shop in Shop::both(&[CONTACTS, ANN, NOTHING], &[CONTACT]).await {
        shop.app.act_as(OPERATOR);
        let answer = shop.app.get("/api/entities/Contact/1").await.expect(200);
        let expected = json!({
            "id": "1",
            "tenant": "default",
            "name": "Ann \"the\" first",
            "stage": "won",
            "age": 41,
            "points": "9007199254740993",
            "score": 0.1,
            "price": "12.50",
            "active": true,
            "made_at": "2026-01-02T03:04:05.000000Z",
            "local_at": "2026-01-02T03:04:05.500000",
            "born": "1985-06-07",
            "wakes": "06:30:00",
            "tags": ["a", { "b": 1 }],
            "code": "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c",
            "picture": "Af8=",
            "limit": 5,
        });
        assert_eq!(answer.json(), expected, "{}", shop.engine);
        assert!(
            answer.text().starts_with("{\"id\":\"1\",\"tenant\":"),
            "in the table's order: {}",
            answer.text()
        );
        assert_eq!(answer.header("x-cache"), "BYPASS");
        assert!(answer.header("server-timing").starts_with("cache;desc=\"BYPASS\";dur="));

        let empty = shop.get("/api/entities/Contact/-2").await;
        let mut members = empty.as_object().unwrap().clone();
        assert_eq!(members.remove("id").unwrap(), "-2");
        assert_eq!(members.remove("tenant").unwrap(), "default");
        assert!(members.len() == 15 && members.values().all(serde_json::Value::is_null), "{empty}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_is_what_the_key_is_and_nothing_else() {
    let shops = Shop::both(
        &[
            CONTACTS,
            ANN,
            "CREATE TABLE words (word TEXT PRIMARY KEY, n INTEGER)",
            "INSERT INTO words VALUES ('it''s; DROP TABLE words', 1), ('a/b?c#d%', 2), ('Ä', 3), ('list', 4), ('1', 5)",
            "CREATE TABLE things (code UUID PRIMARY KEY)",
            "INSERT INTO things VALUES ('0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c')",
        ],
        &[CONTACT, "Word: { table: words, shared: true }", "Thing: { table: things, shared: true }"],
    );
    for shop in shops.await {
        shop.app.act_as(OPERATOR);
        for (path, n) in [
            ("it's;%20DROP%20TABLE%20words", 1),
            ("a%2Fb%3Fc%23d%25", 2),
            ("%C3%84", 3),
            ("list", 4),
            ("1", 5),
        ] {
            assert_eq!(shop.get(&format!("/api/entities/Word/{path}")).await["n"], n, "{}", shop.engine);
        }
        for path in ["Word/%C3%A4", "Word/01", "Word/1%20", "Contact/2", "Contact/99999999999999"] {
            shop.app.get(&format!("/api/entities/{path}")).await.problem(404, "record-not-found");
        }
        for path in ["Contact/one", "Contact/1.0", "Contact/9223372036854775808", "Thing/x", "Word/a%00"] {
            shop.app.get(&format!("/api/entities/{path}")).await.problem(400, "invalid-request");
        }
        for path in ["0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c", "0198C5F0-7C1E-7D2A-9B3F-2F1D0E5A6B7C"] {
            let thing = shop.get(&format!("/api/entities/Thing/{path}")).await;
            assert_eq!(thing["code"], "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c");
        }
        let unknown = shop.app.get("/api/entities/contact/1").await.problem(404, "entity-not-found");
        let names = ["Contact", "File", "Tenant", "Thing", "Thumbnail", "Upload", "Word"];
        assert_eq!(unknown["entities"], json!(names));
        shop.app.get("/api/entities/a-b/1").await.problem(400, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_has_records_by_the_key_that_is_named() {
    let shops = Shop::both(
        &[
            CONTACTS,
            ANN,
            "CREATE VIEW people AS SELECT name, age + 1 AS next_age, tenant FROM contacts",
            "CREATE VIEW twins AS SELECT 'x' AS name, id FROM contacts UNION ALL SELECT 'x', 2",
        ],
        &[
            "Person: { table: people, key: name, tenant_column: tenant }",
            "Twin: { table: twins, key: name, shared: true }",
        ],
    );
    for shop in shops.await {
        shop.app.act_as(OPERATOR);
        let person = shop.get("/api/entities/Person/Ann%20%22the%22%20first").await;
        assert_eq!(person["next_age"], 42, "{}", shop.engine);
        // Which of the two nobody could say.
        shop.app.get("/api/entities/Twin/x").await.problem(500, "internal");
    }
}
