//! Entities and the cache: who had the answer, how long it is believed, and what is not mixed up.

use serde_json::Value;

use super::{CONTACT, CONTACTS, Shop};
use crate::harness::OPERATOR;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_kept_for_its_tenant_and_a_list_for_its_filter() {
    let rows = "INSERT INTO contacts (id, tenant, name) VALUES (1, 'acme', 'a'), (2, 'other', 'b'), (3, 'acme', 'c')";
    for shop in Shop::both_cached(&[CONTACTS, rows], &[CONTACT]).await {
        let mut keys = Vec::new();
        for tenant in ["acme", "other"] {
            shop.app.tenant(tenant).await;
            keys.push(shop.app.key(tenant, "read").await);
        }
        let from = async |key: &str, path: &str| -> (String, Value) {
            shop.app.act_as(key);
            let answer = shop.app.get(&format!("/api/entities/Contact{path}")).await.expect(200);
            (answer.header("x-cache").to_owned(), answer.json())
        };
        let (acme, other) = (keys[0].as_str(), keys[1].as_str());
        for path in ["/1", "", "?name=a", "?name=c", "?limit=1"] {
            let (first, fresh) = from(acme, path).await;
            let (again, kept) = from(acme, path).await;
            assert_eq!((first.as_str(), again.as_str()), ("DB", "L1"), "{path} on {}", shop.engine);
            assert_eq!(fresh, kept, "{path}");
        }
        // The same written in another way.
        assert_eq!(from(acme, "/01").await.0, "L1");
        assert_eq!(from(acme, "?field.name=a&limit=50").await.0, "L1");
        let (source, list) = from(other, "").await;
        assert_eq!((source.as_str(), &list["items"][0]["name"]), ("DB", &Value::from("b")));
        shop.app.get("/api/entities/Contact/1").await.problem(404, "record-not-found");
        // An operator sees what the tenant has.
        shop.app.act_as(OPERATOR);
        let named = [("x-cifra-tenant", "acme")];
        let answer = shop.app.get_with("/api/entities/Contact/1", &named).await.expect(200);
        assert_eq!(answer.header("x-cache"), "L1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_there_is_none_is_believed_only_where_that_is_configured() {
    let words = "CREATE TABLE words (word TEXT PRIMARY KEY)";
    let entities =
        ["Word: { table: words, shared: true }", "Rare: { table: words, shared: true, negative_ttl: 1h }"];
    for shop in Shop::both_cached(&[words], &entities).await {
        shop.app.act_as(OPERATOR);
        for entity in ["Word", "Rare"] {
            shop.app.get(&format!("/api/entities/{entity}/a")).await.problem(404, "record-not-found");
        }
        // Nobody tells the cache of this.
        shop.rows.change("INSERT INTO words VALUES ('a')").await;
        assert_eq!(shop.get("/api/entities/Word/a").await["word"], "a", "{}", shop.engine);
        shop.app.get("/api/entities/Rare/a").await.problem(404, "record-not-found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_of_a_table_is_not_found_when_it_has_other_columns() {
    let things = "CREATE TABLE things (id INTEGER PRIMARY KEY, a TEXT, b TEXT)";
    let rows = "INSERT INTO things VALUES (1, 'a', 'b'), (2, 'a', 'b')";
    for shop in Shop::both_cached(&[things, rows], &["Thing: { table: things, shared: true }"]).await {
        shop.app.act_as(OPERATOR);
        let thing = async |id: u8| shop.app.get(&format!("/api/entities/Thing/{id}")).await.expect(200);
        assert_eq!(thing(1).await.text(), r#"{"id":1,"a":"a","b":"b"}"#);
        shop.rows.change("ALTER TABLE things DROP COLUMN b").await;
        // The statement for another one finds out.
        assert_eq!(thing(2).await.text(), r#"{"id":2,"a":"a"}"#, "{}", shop.engine);
        let answer = thing(1).await;
        assert_eq!((answer.text().as_str(), answer.header("x-cache")), (r#"{"id":1,"a":"a"}"#, "DB"));
    }
}
