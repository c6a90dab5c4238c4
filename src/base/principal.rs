//! Who asks: the first argument of every service method.
//!
//! Made at the border ([`crate::http`] or [`crate::cli`]; by the service itself for what nobody asked for) and
//! never changed. A service's first line is [`Principal::require`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::error::{Code, Error, Result};
use super::grant::Grant;
use super::id::{KeyId, TenantId, TokenId};

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// See uploads and files.
    Read,
    /// Change them; includes seeing them.
    Write,
    /// Make and revoke keys of the tenant; includes everything else in it.
    Admin,
    /// Upload, and reach what one uploads; an upload token has nothing else.
    Upload,
}

impl Scope {
    /// Those of keys, each with its word, the narrowest first.
    const ALL: [(&'static str, Self); 3] =
        [("read", Self::Read), ("write", Self::Write), ("admin", Self::Admin)];

    /// The word for it; for [`Scope::Upload`], which no key has by itself, what a key needs for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.get(self as usize).map_or("write", |(word, _)| word)
    }

    /// What having it includes, itself among it.
    fn included(self) -> Scopes {
        match self {
            Self::Read => Scopes(0b0001),
            Self::Write => Scopes(0b1011),
            Self::Admin => Scopes(0b1111),
            Self::Upload => Scopes(0b1000),
        }
    }
}

/// A set of scopes; with each the set has those that it includes. As text: `read,write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(0b1111);

    /// Whether `scope` is among them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Those of keys, one by one, the narrowest first.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().map(|(_, scope)| scope).filter(move |scope| self.contains(*scope))
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Self {
        scope.included()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | scope.included().0))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Scope::as_str).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(word, _)| *word == text);
        found.map(|(_, scope)| *scope).ok_or_else(|| {
            Error::new(Code::InvalidRequest, format!("`{text}` is no scope: expected read, write or admin"))
        })
    }
}

impl FromStr for Scopes {
    type Err = Error;

    /// Scopes with commas between them, at least one.
    fn from_str(text: &str) -> Result<Self> {
        text.split(',').map(|word| word.trim().parse::<Scope>()).collect()
    }
}

/// Who acts; as the audit log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Anybody, in open mode.
    Everybody,
    /// Whoever has this key.
    Key {
        /// Its id.
        id: KeyId,
        /// As it was named when it was made.
        name: Arc<str>,
    },
    /// Whoever has this upload token.
    UploadToken {
        /// Its id.
        id: TokenId,
    },
    /// Whoever may run commands on this machine, with the service's own configuration.
    CommandLine,
    /// The service, of itself.
    Service,
}

/// Who asks, in which tenant, and what they may do there.
#[derive(Debug, Clone)]
pub struct Principal {
    tenant: TenantId,
    scopes: Scopes,
    actor: Actor,
    operator: bool,
    grant: Option<Arc<Grant>>,
}

impl Principal {
    /// Everybody in open mode: an operator who acts in `tenant`.
    pub fn open(tenant: TenantId) -> Self {
        Self::operator(tenant, Actor::Everybody)
    }

    /// An operator who acts in `tenant`.
    pub fn operator(tenant: TenantId, actor: Actor) -> Self {
        Self { tenant, scopes: Scopes::ALL, actor, operator: true, grant: None }
    }

    /// Somebody who belongs to `tenant` and has `scopes` there.
    pub fn of_tenant(tenant: TenantId, scopes: Scopes, actor: Actor) -> Self {
        Self { tenant, scopes, actor, operator: false, grant: None }
    }

    /// The service itself, at work on what belongs to `tenant`.
    pub fn service(tenant: TenantId) -> Self {
        Self::of_tenant(tenant, Scopes::ALL, Actor::Service)
    }

    /// Whoever has an upload token.
    pub fn uploader(tenant: TenantId, grant: Grant) -> Self {
        let actor = Actor::UploadToken { id: grant.token };
        let uploader = Self::of_tenant(tenant, Scope::Upload.included(), actor);
        Self { grant: Some(Arc::new(grant)), ..uploader }
    }

    /// What their upload token allows; `None`: they have something better.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        self.grant.as_ref()
    }

    /// The tenant whose things they see; every statement is bound to it.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Who they are.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Who they are, in a word that stays the same: a key's or a token's id. What is switched for one of them alone goes
    /// by it.
    pub fn subject(&self) -> String {
        match &self.actor {
            Actor::Everybody => "everybody".to_owned(),
            Actor::Key { id, .. } => format!("key:{id}"),
            Actor::UploadToken { id } => format!("token:{id}"),
            Actor::CommandLine => "command-line".to_owned(),
            Actor::Service => "service".to_owned(),
        }
    }

    /// Whether they may do what concerns the whole service.
    pub fn is_operator(&self) -> bool {
        self.operator
    }

    /// `Forbidden` unless they have `scope`.
    pub fn require(&self, scope: Scope) -> Result<()> {
        if self.scopes.contains(scope) {
            return Ok(());
        }
        let detail =
            format!("this needs a key with the scope `{}`, which yours does not have", scope.as_str());
        Err(Error::new(Code::Forbidden, detail).with("scope", scope.as_str()))
    }

    /// `Forbidden` unless they may see uploads: all of their tenant, or those that their token began.
    pub fn require_read_of_uploads(&self) -> Result<()> {
        if self.grant.is_some() { Ok(()) } else { self.require(Scope::Read) }
    }

    /// `Forbidden` unless they are an operator.
    pub fn require_operator(&self) -> Result<()> {
        if self.operator {
            return Ok(());
        }
        Err(Error::new(Code::Forbidden, "this needs an operator's key, which yours is not"))
    }
}
