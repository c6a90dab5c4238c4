//! Entities: a map of tables under the operator's names.

use std::time::Duration;

use super::*;
use crate::config::Entity;

fn entity<'a>(loaded: &'a Loaded, name: &str) -> &'a Entity {
    loaded.config.entities.iter().find(|entity| entity.name.as_str() == name).unwrap()
}

const CONTACTS: &str = "\
entities:
  Contact: { table: contacts, tenant_column: tenant_id, date_column: created_at, ttl: 10m, warm: true }
  Order: { table: shop.orders, key: number, shared: true, hidden: [card, notes], negative_ttl: 5 }
";

#[test]
fn an_entity_has_a_table_and_what_else_is_said_of_it() {
    assert_eq!(Place::new().load().config.entities, []);
    let loaded = Place::with_file(CONTACTS).load();
    let contact = entity(&loaded, "Contact");
    let column = |column: &Option<ColumnName>| column.as_ref().map(|name| name.as_str().to_owned());
    assert_eq!((contact.table.to_string(), column(&contact.key)), ("contacts".to_owned(), None));
    assert_eq!(column(&contact.tenant_column).as_deref(), Some("tenant_id"));
    assert_eq!(column(&contact.date_column).as_deref(), Some("created_at"));
    assert_eq!((contact.ttl, contact.negative_ttl), (Some(Duration::from_mins(10)), None));
    assert_eq!((contact.warm, contact.shared, contact.hidden.as_slice()), (true, false, &[][..]));
    let order = entity(&loaded, "Order");
    assert_eq!((order.table.schema.as_deref(), order.table.name.as_str()), (Some("shop"), "orders"));
    assert_eq!((column(&order.key).as_deref(), order.shared), (Some("number"), true));
    assert_eq!(order.hidden.iter().map(ColumnName::as_str).collect::<Vec<_>>(), ["card", "notes"]);
    assert_eq!(order.negative_ttl, Some(Duration::from_secs(5)));
    assert_eq!(Place::with_file(&loaded.show()).load().config, loaded.config, "{}", loaded.show());
}

#[test]
fn a_variable_means_the_name_in_the_file_whatever_its_case() {
    let place = Place::with_file(CONTACTS)
        .env("CIFRA__ENTITIES__CONTACT__TTL", "30s")
        .env("CIFRA__ENTITIES__LEAD__TABLE", "leads")
        .env("CIFRA__CACHE__TTL__INVOICE", "8m")
        .file("cifra.yaml", &format!("{CONTACTS}cache: {{ ttl: {{ Invoice: 7m }} }}\n"));
    let loaded = place.load();
    let names: Vec<&str> = loaded.config.entities.iter().map(|entity| entity.name.as_str()).collect();
    assert_eq!(names, ["Contact", "Order", "lead"]);
    assert_eq!(entity(&loaded, "Contact").ttl, Some(Duration::from_secs(30)));
    let invoice = loaded.config.cache.ttl_of(&"Invoice".parse().unwrap());
    assert_eq!(invoice, Duration::from_mins(8));
}

#[test]
fn what_is_wrong_with_entities_is_told_at_once() {
    let place = Place::with_file(
        "\
entities:
  9Lives: { table: cats }
  Bare: {}
  Both: { table: a, tenant_column: tenant, shared: true }
  Dotted: { table: a.b.c }
  Odd: { table: 'a\"b', key: id, hidden: [id], tabl: x }
  file: { table: files }
  lead: { table: leads }
  Lead: { table: leads }
",
    )
    .env("CIFRA__ENTITIES__BOTH__TTL", "soon");
    let table = "expected the name of a table, or SCHEMA.TABLE";
    let expected = [
        "cifra.yaml:2:3: entities.9Lives: found \"9Lives\", expected the name of an entity: a letter, then letters, digits and _, at most 64".to_owned(),
        "cifra.yaml:3:3: entities.Bare: found an entity without a table, expected table: the name of one".to_owned(),
        "cifra.yaml:4:44: entities.Both.shared: found entities.Both.shared = true, entities.Both.tenant_column = tenant, expected one of the two: rows are everybody's, or of the tenant that a column names".to_owned(),
        format!("cifra.yaml:5:13: entities.Dotted.table: found \"a.b.c\", {table}"),
        format!("cifra.yaml:6:10: entities.Odd.table: found \"a\\\"b\", {table}"),
        "cifra.yaml:6:33: entities.Odd.hidden: found [id], expected columns without the key, which paths have".to_owned(),
        "cifra.yaml:6:47: entities.Odd.tabl: unknown key; did you mean entities.Odd.table?".to_owned(),
        "cifra.yaml:7:3: entities.file: found File, which is built in, expected another name".to_owned(),
        "cifra.yaml:8:3: entities.lead: found Lead and lead, expected names that differ in letters".to_owned(),
        "environment variable CIFRA__ENTITIES__BOTH__TTL: entities.Both.ttl: found \"soon\", expected a duration such as 250ms, 10s, 5m, 24h, 7d or a whole number of seconds (at most 36500d)".to_owned(),
    ];
    assert_eq!(place.faults(), expected);
}
