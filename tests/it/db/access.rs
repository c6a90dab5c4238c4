//! Tenants, keys and the audit log.

use cifra::base::principal::{Actor, Principal, Scope};
use cifra::base::{KeyId, TenantId, Timestamp};
use cifra::db::audit::{self, Action, Entry};
use cifra::db::keys::{self, Key};
use cifra::db::tenants::{self, Tenant};
use cifra::db::{Db, Urgency};

use super::{at, read, tenant, write};
use crate::harness::databases::both_engines;

async fn add_tenant(db: &Db, id: &str) -> bool {
    let row = Tenant { id: id.parse().unwrap(), created_at: at(1) };
    write(db, move |c| {
        let row = row.clone();
        Box::pin(async move { tenants::insert(c, &row).await })
    })
    .await
}

fn a_key(tenant: Option<TenantId>, created: i64) -> Key {
    Key {
        id: KeyId::new(at(created)),
        tenant,
        name: "deploy".to_owned(),
        scopes: [Scope::Write].into_iter().collect(),
        sha256: [7; 32],
        created_at: at(created),
        expires_at: Some(at(100)),
        revoked_at: None,
        last_used_at: None,
    }
}

async fn put(db: &Db, key: &Key) {
    let key = key.clone();
    write(db, move |c| {
        let key = key.clone();
        Box::pin(async move { keys::put(c, &key).await })
    })
    .await;
}

async fn listed(db: &Db, tenant: Option<TenantId>, after: Option<(Timestamp, KeyId)>) -> Vec<KeyId> {
    let keys = read(db, |c| Box::pin(async move { keys::list(c, tenant.as_ref(), after, 2).await })).await;
    keys.into_iter().map(|key| key.id).collect()
}

#[tokio::test]
async fn a_tenant_is_made_once_and_found() {
    for test in both_engines().await {
        for id in ["b", "a", "c"] {
            assert!(add_tenant(&test.db, id).await, "{}", test.engine);
        }
        assert!(!add_tenant(&test.db, "a").await, "{}", test.engine);
        let get = |id: &'static str| {
            read(&test.db, move |c| Box::pin(async move { tenants::get(c, &id.parse().unwrap()).await }))
        };
        assert_eq!(get("a").await.map(|tenant| tenant.created_at), Some(at(1)), "{}", test.engine);
        assert_eq!(get("d").await, None, "{}", test.engine);
        let list = |after: Option<&'static str>| {
            read(&test.db, move |c| Box::pin(async move { tenants::list(c, after, 2).await }))
        };
        let ids = |tenants: Vec<Tenant>| tenants.iter().map(|row| row.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(list(None).await), ["a", "b"], "{}", test.engine);
        assert_eq!(ids(list(Some("b")).await), ["c"], "{}", test.engine);
    }
}

#[tokio::test]
async fn a_key_is_kept_found_replaced_used_and_revoked() {
    for test in both_engines().await {
        add_tenant(&test.db, "acme").await;
        let key = a_key(Some("acme".parse().unwrap()), 1);
        let id = key.id;
        put(&test.db, &key).await;
        let get = || read(&test.db, move |c| Box::pin(keys::get(c, id)));
        assert_eq!(get().await, Some(key.clone()), "{}", test.engine);
        write(&test.db, move |c| Box::pin(keys::set_used(c, id, at(9)))).await;
        assert_eq!(get().await.unwrap().last_used_at, Some(at(9)), "{}", test.engine);
        let revoke = |now| write(&test.db, move |c| Box::pin(keys::revoke(c, id, at(now))));
        assert!(revoke(10).await, "{}", test.engine);
        assert!(!revoke(11).await, "{}", test.engine);
        assert_eq!(get().await.unwrap().revoked_at, Some(at(10)), "{}", test.engine);
        let other = Key { tenant: None, sha256: [8; 32], ..key };
        put(&test.db, &other).await;
        assert_eq!(get().await, Some(other), "{}", test.engine);
        assert_eq!(read(&test.db, |c| Box::pin(keys::get(c, KeyId::new(at(1))))).await, None);
    }
}

#[tokio::test]
async fn keys_are_listed_newest_first_for_one_tenant_or_all() {
    for test in both_engines().await {
        for id in ["acme", "other"] {
            add_tenant(&test.db, id).await;
        }
        let acme: TenantId = "acme".parse().unwrap();
        let rows = [a_key(Some(acme.clone()), 1), a_key(None, 2), a_key(Some("other".parse().unwrap()), 3)];
        let newest = a_key(Some(acme.clone()), 4);
        for key in rows.iter().chain([&newest]) {
            put(&test.db, key).await;
        }
        assert_eq!(listed(&test.db, None, None).await, [newest.id, rows[2].id], "{}", test.engine);
        let after = Some((at(3), rows[2].id));
        assert_eq!(listed(&test.db, None, after).await, [rows[1].id, rows[0].id], "{}", test.engine);
        assert_eq!(listed(&test.db, Some(acme.clone()), None).await, [newest.id, rows[0].id]);
        assert_eq!(listed(&test.db, Some(acme), after).await, [rows[0].id], "{}", test.engine);
    }
}

#[tokio::test]
async fn a_key_of_no_tenant_that_is_there_is_refused() {
    for test in both_engines().await {
        let key = a_key(Some(tenant()), 1);
        let put = test.db.write(Urgency::Normal, move |c| {
            let key = key.clone();
            Box::pin(async move { keys::put(c, &key).await })
        });
        assert!(put.await.is_err(), "{}", test.engine);
    }
}

/// Who makes changes: each kind, and a key.
fn somebody(key: KeyId) -> [Principal; 4] {
    let of = |actor| Principal::operator("acme".parse().unwrap(), actor);
    [
        of(Actor::Everybody),
        of(Actor::Key { id: key, name: "deploy".into() }),
        of(Actor::CommandLine),
        Principal::service(tenant()),
    ]
}

async fn note(db: &Db, entry: Entry) {
    write(db, move |c| {
        let entry = entry.clone();
        Box::pin(async move { audit::insert(c, &entry).await })
    })
    .await;
}

#[tokio::test]
async fn changes_are_noted_listed_newest_first_and_dropped_oldest_first() {
    for test in both_engines().await {
        let key = KeyId::new(at(0));
        for (who, second) in somebody(key).iter().zip(1..) {
            let entry = Entry::new(who, Action::FileDeleted, &key, at(second)).with("size", second);
            note(&test.db, entry).await;
        }
        note(&test.db, Entry::new(&somebody(key)[3], Action::OperatorKeyReplaced, &key, at(5)).of(None))
            .await;
        let list = |tenant: Option<&'static str>, after| {
            read(&test.db, move |c| {
                let tenant = tenant.map(|id| id.parse().unwrap());
                Box::pin(async move { audit::list(c, tenant.as_ref(), after, 3).await })
            })
        };
        let first = list(None, None).await;
        let told: Vec<_> = first.iter().map(|noted| (noted.actor.as_str(), noted.action.as_str())).collect();
        let expected = [
            ("service", "operator-key-replaced"),
            ("service", "file-deleted"),
            ("command-line", "file-deleted"),
        ];
        assert_eq!(told, expected, "{}", test.engine);
        assert_eq!((&first[0].tenant, &first[1].tenant), (&None, &Some(tenant())), "{}", test.engine);
        let rest = list(None, Some((first[2].created_at, first[2].id))).await;
        assert_eq!(rest.len(), 2, "{}", test.engine);
        assert_eq!((rest[0].actor_id, rest[0].actor_name.as_deref()), (Some(key), Some("deploy")));
        assert_eq!((rest[1].actor.as_str(), rest[1].actor_id), ("everybody", None), "{}", test.engine);
        assert_eq!(
            (rest[0].target.as_str(), &rest[0].details["size"]),
            (key.to_string().as_str(), &2.into())
        );
        assert_eq!(list(Some("acme"), None).await.len(), 3, "{}", test.engine);
        assert_eq!(list(Some("nobody"), None).await, [], "{}", test.engine);

        let prune = |before, limit| write(&test.db, move |c| Box::pin(audit::prune(c, at(before), limit)));
        assert_eq!(prune(1, 10).await, 0, "{}", test.engine);
        assert_eq!(prune(4, 2).await, 2, "{}", test.engine);
        assert_eq!(list(None, None).await.len(), 3, "{}", test.engine);
        assert_eq!(prune(4, 2).await, 1, "{}", test.engine);
        assert_eq!(list(None, None).await.len(), 2, "{}", test.engine);
    }
}
