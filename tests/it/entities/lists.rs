//! Lists: columns that have a value, pages, and what cannot be asked for.

use serde_json::{Value, json};

use super::{CONTACT, CONTACTS, Shop};
use crate::harness::OPERATOR;

const TEN: &str = "
    INSERT INTO contacts (id, tenant, name, stage, active, price, made_at, born, code, picture, \"limit\", secret)
    VALUES
        (1, 'default', 'a', 'won', TRUE, 1, '2026-01-02 03:04:05', '2026-01-02', NULL, BYTES(00), 1, 'x'),
        (2, 'default', 'b', 'won', FALSE, 1.5, '2026-01-02T03:04:05.5Z', '2026-01-02', NULL, NULL, 2, 'x'),
        (3, 'acme', 'a', 'won', TRUE, 1, NULL, NULL, NULL, NULL, 1, 'x'),
        (4, 'default', 'a''; --', 'lost', TRUE, 2, NULL, NULL, NULL, NULL, NULL, 'x'),
        (5, 'default', '', NULL, NULL, NULL, NULL, NULL, '0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c', NULL, NULL, 'x'),
        (10, 'default', 'c', 'won', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'x'),
        (9, 'default', 'd', 'won', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'x')
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_found_by_the_values_of_their_columns() {
    for shop in Shop::both(&[CONTACTS, TEN], &[CONTACT]).await {
        shop.app.act_as(OPERATOR);
        for (query, expected) in [
            ("", &["1", "2", "4", "5", "9", "10"][..]),
            ("stage=won", &["1", "2", "9", "10"]),
            ("stage=won&active=true", &["1"]),
            ("name=a'%3B%20--", &["4"]),
            ("name=", &["5"]),
            ("id=004", &["4"]),
            ("price=1.00", &["1"]),
            ("price=1.50", &["2"]),
            ("made_at=2026-01-02T03:04:05Z", &["1"]),
            ("made_at=2026-01-02T04:04:05.5%2B01:00", &["2"]),
            ("born=2026-01-02&active=false", &["2"]),
            ("code=0198C5F0-7C1E-7D2A-9B3F-2F1D0E5A6B7C", &["5"]),
            ("picture=AA%3D%3D", &["1"]),
            ("field.limit=2", &["2"]),
            ("field.stage=lost", &["4"]),
            ("tenant=acme", &[]),
            ("age=99999999999", &[]),
            ("stage=WON", &[]),
        ] {
            let ids = shop.ids(&format!("/api/entities/Contact?{query}")).await;
            assert_eq!(ids, expected, "{query} on {}", shop.engine);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_each_other_and_a_cursor_belongs_to_its_list() {
    let words = "CREATE TABLE words (word VARCHAR(40) PRIMARY KEY, even BOOLEAN)";
    let ten =
        "INSERT INTO words VALUES ('a', FALSE), ('b', TRUE), ('c', FALSE), ('it''s', TRUE), ('Z', FALSE)";
    let word = "Word: { table: words, shared: true }";
    for shop in Shop::both(&[CONTACTS, TEN, words, ten], &[CONTACT, word]).await {
        shop.app.act_as(OPERATOR);
        let whole = shop.get("/api/entities/Word").await;
        assert_eq!(whole["next_cursor"], Value::Null);
        let (mut seen, mut path) = (Vec::new(), "/api/entities/Word?limit=2".to_owned());
        let mut first_cursor = None;
        loop {
            let page = shop.get(&path).await;
            let items = page["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()), "{page}");
            seen.extend(items.iter().cloned());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            // What is added behind is not seen again, what is added before is not seen.
            shop.rows.change("INSERT INTO words VALUES ('A', FALSE) ON CONFLICT DO NOTHING").await;
            path = format!("/api/entities/Word?limit=2&cursor={cursor}");
            first_cursor.get_or_insert_with(|| cursor.to_owned());
        }
        let without_a = |item: &&Value| item["word"] != "A";
        assert!(seen.iter().filter(without_a).eq(whole["items"].as_array().unwrap()), "{seen:?}");

        let cursor = first_cursor.unwrap();
        for path in [
            format!("/api/entities/Contact?cursor={cursor}"),
            format!("/api/entities/Word?even=true&cursor={cursor}"),
            format!("/api/entities/Word?cursor={}", &cursor[1..]),
            "/api/entities/Word?cursor=x".to_owned(),
        ] {
            shop.app.get(&path).await.problem(400, "invalid-request");
        }
        let page = shop.get("/api/entities/Contact?stage=won&limit=1").await;
        let cursor = page["next_cursor"].as_str().unwrap();
        let path = format!("/api/entities/Contact?stage=won&cursor={cursor}");
        shop.app.get(&path).await.expect(200);
        let other = [("x-cifra-tenant", "acme")];
        shop.app.tenant("acme").await;
        shop.app.get_with(&path, &other).await.problem(400, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_for_is_told_at_once() {
    for shop in Shop::both(&[CONTACTS, TEN], &[CONTACT]).await {
        shop.app.act_as(OPERATOR);
        let answer = shop
            .app
            .get("/api/entities/Contact?secret=x&stag=won&age=old&tags=1&active=true&active=true&name=%00&limit=2")
            .await;
        let pointers = ["?secret", "?stag", "?age", "?tags", "?active", "?name"];
        assert_eq!(answer.pointers(), pointers, "{}", shop.engine);
        let problem = answer.problem(400, "invalid-request");
        let columns = "id, tenant, name, stage, age, points, score, price, active, made_at, local_at, born, wakes, \
                       tags, code, picture, limit";
        let detail = |at: usize| problem["errors"][at]["detail"].as_str().unwrap().to_owned();
        assert_eq!(detail(0), format!("`Contact` has no such column: there are {columns}"));
        assert_eq!(detail(2), "expected a whole number");
        assert_eq!(detail(4), "it is given more than once");
        for limit in ["0", "501", "x"] {
            let path = format!("/api/entities/Contact?limit={limit}");
            shop.app.get(&path).await.problem(400, "invalid-request");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_rows_make_short_pages() {
    let tables = ["CREATE TABLE books (id INTEGER PRIMARY KEY, words TEXT)"];
    for shop in Shop::both(&tables, &["Book: { table: books, shared: true }"]).await {
        shop.app.act_as(OPERATOR);
        let three_mib = "x".repeat(3 << 20);
        for id in 1..=4 {
            shop.rows.change(&format!("INSERT INTO books VALUES ({id}, '{three_mib}')")).await;
        }
        let (mut sizes, mut path) = (Vec::new(), "/api/entities/Book".to_owned());
        loop {
            let page = shop.get(&path).await;
            sizes.push(page["items"].as_array().unwrap().len());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/api/entities/Book?cursor={cursor}");
        }
        assert_eq!(sizes, [2, 2], "{}", shop.engine);
        let book = shop.get("/api/entities/Book/3").await;
        assert_eq!((&book["id"], book["words"].as_str().unwrap().len()), (&json!(3), 3 << 20));
    }
}
