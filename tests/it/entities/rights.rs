//! Whose rows: a tenant's own, everybody's, or an operator's alone.

use serde_json::json;

use super::{CONTACT, CONTACTS, Shop};
use crate::db::by_hand;
use crate::harness::OPERATOR;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_its_own_rows_and_what_is_shared() {
    let shops = Shop::both(
        &[
            CONTACTS,
            "INSERT INTO contacts (id, tenant, name) VALUES (1, 'acme', 'a'), (2, 'other', 'b')",
            "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT)",
            "INSERT INTO products VALUES (1, 'a')",
            "CREATE TABLE ledger (id INTEGER PRIMARY KEY, name TEXT)",
            "INSERT INTO ledger VALUES (1, 'a')",
            "CREATE TABLE visits (site INTEGER, number INTEGER, PRIMARY KEY (site, number))",
            "INSERT INTO visits VALUES (7, 1), (8, 1), (8, 2)",
        ],
        &[
            CONTACT,
            "Product: { table: products, shared: true }",
            "Ledger: { table: ledger }",
            "Visit: { table: visits, tenant_column: site }",
        ],
    );
    for shop in shops.await {
        for tenant in ["acme", "other", "8"] {
            shop.app.tenant(tenant).await;
        }
        let acme = shop.app.key("acme", "read").await;
        shop.app.act_as(&acme);
        assert_eq!(shop.ids("/api/entities/Contact").await, ["1"], "{}", shop.engine);
        assert_eq!(shop.get("/api/entities/Contact/1").await["name"], "a");
        shop.app.get("/api/entities/Contact/2").await.problem(404, "record-not-found");
        assert_eq!(shop.ids("/api/entities/Contact?tenant=other").await, [""; 0]);
        assert_eq!(shop.get("/api/entities/Product/1").await["name"], "a");
        for path in ["/api/entities/Ledger", "/api/entities/Ledger/1"] {
            shop.app.get(path).await.problem(403, "forbidden");
        }
        // Tenants of this table are numbers: one that is none has nothing in it.
        assert_eq!(shop.get("/api/entities/Visit").await["items"], json!([]));
        let unknown = shop.app.get("/api/entities/Nothing").await.problem(404, "entity-not-found");
        assert!(!unknown["entities"].to_string().contains("Ledger"), "{unknown}");

        let uploader = shop.app.key("8", "read").await;
        shop.app.act_as(&uploader);
        assert_eq!(shop.get("/api/entities/Visit").await["items"].as_array().unwrap().len(), 2);
        assert_eq!(shop.get("/api/entities/Visit/2").await["site"], 8);

        shop.app.act_as(OPERATOR);
        assert_eq!(shop.get("/api/entities/Ledger/1").await["name"], "a");
        let other = [("x-cifra-tenant", "other")];
        shop.app.get_with("/api/entities/Contact/2", &other).await.expect(200);
        shop.app.get_with("/api/entities/Contact/1", &other).await.problem(404, "record-not-found");
        shop.app.act_as_nobody();
        shop.app.get("/api/entities/Product/1").await.problem(401, "unauthenticated");

        // The cache tells of no entity that one may not read, and takes away what everybody has for an operator only.
        shop.app.act_as(&shop.app.key("acme", "write").await);
        let figures = shop.get("/api/cache/stats").await["entities"].to_string();
        assert!(figures.contains("Contact") && !figures.contains("Ledger"), "{figures}");
        let invalidate = async |body| shop.app.post("/api/cache/invalidate", &body).await;
        let unknown = invalidate(json!({ "entity": "Ledger" })).await.problem(400, "invalid-request");
        assert!(!unknown["detail"].to_string().contains("are Ledger"), "{unknown}");
        invalidate(json!({ "entity": "Product" })).await.problem(403, "forbidden");
        // A record is known by one text, however its id is written.
        let done = invalidate(json!({ "entity": "Contact", "id": "001" })).await.expect(200).json();
        assert_eq!(done["invalidated"][0], "cifra:acme:Contact:1:*");
        invalidate(json!({ "entity": "Contact", "id": "one" })).await.problem(400, "invalid-request");
    }
}

/// The functions of a view run with the rights of whoever reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_changes_nothing() {
    let shops = Shop::both(
        &["CREATE TABLE ran (who TEXT)", "CREATE TABLE spies (id BIGINT PRIMARY KEY)"],
        &["Spy: { table: spies, key: id, shared: true }"],
    );
    let [_, shop] = shops.await;
    by_hand(
        &shop.db,
        "CREATE FUNCTION spy() RETURNS BIGINT LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO ran VALUES (CURRENT_USER); RETURN 1;
         END $$;
         DROP TABLE spies;
         CREATE VIEW spies AS SELECT spy() AS id",
    );
    shop.app.act_as(OPERATOR);
    shop.app.get("/api/entities/Spy/1").await;
    by_hand(&shop.db, "DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM ran); END $$");
}
