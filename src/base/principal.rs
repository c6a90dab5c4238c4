//! Who asks: the first argument of every service method.
//!
//! Made at the border ([`crate::http`] or [`crate::cli`]) and never changed. A service's first line is
//! [`Principal::require`].

use super::error::{Code, Error, Result};
use super::id::TenantId;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// See uploads and files.
    Read,
    /// Change them.
    Write,
}

/// Who asks, in which tenant, and what they may do there.
#[derive(Debug, Clone)]
pub struct Principal {
    tenant: TenantId,
    scopes: Vec<Scope>,
}

impl Principal {
    /// Everybody in open mode: may do everything in `tenant`.
    pub fn open(tenant: TenantId) -> Self {
        Self { tenant, scopes: vec![Scope::Read, Scope::Write] }
    }

    /// The tenant whose things they see; every statement is bound to it.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// `Forbidden` unless they have `scope`.
    pub fn require(&self, scope: Scope) -> Result<()> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        Err(Error::new(
            Code::Forbidden,
            format!("this needs the scope {scope:?}, which your key does not have"),
        ))
    }
}
