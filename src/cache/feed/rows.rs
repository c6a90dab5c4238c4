//! Rows of `cifra_invalidations`, and what they mean to a cache.

use crate::base::{EntityName, Result, TenantId};
use crate::cache::Invalidation;
use crate::db::Conn;
use crate::db::invalidations::{self, Change};

/// Tells the caches of all nodes of `changed`, once this transaction is committed; for what no trigger sees. They hear of
/// it within a second; this node's own is to be told by [`Cache::invalidate`](crate::cache::Cache::invalidate) then.
///
/// # Errors
/// Those of the database.
pub async fn announce(c: &mut Conn, changed: &[Invalidation]) -> Result<()> {
    let rows: Vec<Change> = changed.iter().map(row).collect();
    invalidations::add(c, &rows).await
}

fn row(changed: &Invalidation) -> Change {
    let text = |tenant: &Option<TenantId>| tenant.as_ref().map(|tenant| tenant.as_str().to_owned());
    let of = |entity: &EntityName| Some(entity.as_str().to_owned());
    let kind = |kind: &str| Change { kind: kind.to_owned(), ..Change::default() };
    match changed {
        Invalidation::Record { tenant, entity, id } => Change {
            tenant_id: text(tenant),
            entity: of(entity),
            record_id: Some(id.clone()),
            ..kind("record")
        },
        Invalidation::Entity { tenant, entity } => {
            Change { tenant_id: text(tenant), entity: of(entity), ..kind("entity") }
        }
        Invalidation::Everywhere(entity) => Change { entity: of(entity), ..kind("everywhere") },
        Invalidation::Tenant(tenant) => Change { tenant_id: text(tenant), ..kind("tenant") },
        Invalidation::Pattern(pattern) => Change { pattern: Some(pattern.clone()), ..kind("pattern") },
        Invalidation::All => kind("all"),
        Invalidation::Switches => kind("switches"),
    }
}

/// Whether it tells that something was switched.
pub(super) fn is_of_switches(row: &Change) -> bool {
    row.kind == "switches"
}

/// What a row tells. One that cannot be understood, such as a newer version's, tells of more rather than of less.
pub(super) fn invalidation(row: Change) -> Invalidation {
    let Change { kind, tenant_id, entity, record_id, pattern, automatic: _ } = row;
    let entity = match entity.as_deref().map(str::parse::<EntityName>) {
        None => None,
        Some(Ok(entity)) => Some(entity),
        Some(Err(_)) => return Invalidation::All,
    };
    let tenant = match tenant_id.as_deref().map(str::parse::<TenantId>) {
        None => None,
        Some(Ok(tenant)) => Some(tenant),
        // A row of a table that is not ours, and of nobody whom we know.
        Some(Err(_)) => return entity.map_or(Invalidation::All, Invalidation::Everywhere),
    };
    match (kind.as_str(), entity, record_id, pattern) {
        ("record", Some(entity), Some(id), _) => Invalidation::Record { tenant, entity, id },
        ("entity", Some(entity), ..) => Invalidation::Entity { tenant, entity },
        (_, Some(entity), ..) => Invalidation::Everywhere(entity),
        ("tenant", None, ..) => Invalidation::Tenant(tenant),
        ("pattern", None, _, Some(pattern)) => Invalidation::Pattern(pattern),
        ("switches", None, ..) => Invalidation::Switches,
        _ => Invalidation::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_what_others_hear() {
        let (tenant, entity) = (Some("acme".parse().unwrap()), EntityName::of("Contact"));
        let all = [
            Invalidation::Record { tenant: tenant.clone(), entity: entity.clone(), id: "a:b %".to_owned() },
            Invalidation::Record { tenant: None, entity: entity.clone(), id: String::new() },
            Invalidation::Entity { tenant: tenant.clone(), entity: entity.clone() },
            Invalidation::Entity { tenant: None, entity: entity.clone() },
            Invalidation::Everywhere(entity),
            Invalidation::Tenant(tenant),
            Invalidation::Tenant(None),
            Invalidation::Pattern("cifra:acme:*".to_owned()),
            Invalidation::All,
            Invalidation::Switches,
        ];
        for one in all {
            assert_eq!(invalidation(row(&one)), one);
        }
    }

    #[test]
    fn what_cannot_be_understood_concerns_more_rather_than_less() {
        let of = |kind: &str, tenant: Option<&str>, entity: Option<&str>| Change {
            kind: kind.to_owned(),
            tenant_id: tenant.map(str::to_owned),
            entity: entity.map(str::to_owned),
            record_id: Some("7".to_owned()),
            ..Change::default()
        };
        let contacts = Invalidation::Everywhere(EntityName::of("Contact"));
        assert_eq!(invalidation(of("record", Some("Not a tenant!"), Some("Contact"))), contacts);
        assert_eq!(invalidation(of("something new", None, Some("Contact"))), contacts);
        assert_eq!(invalidation(of("record", None, Some("not an entity"))), Invalidation::All);
        assert_eq!(invalidation(of("tenant", Some("Not a tenant!"), None)), Invalidation::All);
        assert_eq!(invalidation(of("something new", None, None)), Invalidation::All);
    }
}
