//! Kinds of values: their name, the version of their shape, how long they are believed. Made by [`super::Cache::entity`].

use std::time::Duration;

use super::figures::EntityIndex;
use crate::base::EntityName;

/// A kind of value, with what the configuration says of it. Made once by who reads it, by [`super::Cache::entity`].
#[derive(Debug, Clone)]
pub struct Entity {
    pub(super) name: EntityName,
    /// Of the value's shape: part of its keys, so that another version of cifra does not read it.
    pub(super) version: u32,
    pub(super) policy: Policy,
    /// Where it is counted.
    pub(super) index: EntityIndex,
}

impl Entity {
    /// Its name.
    pub fn name(&self) -> &EntityName {
        &self.name
    }

    /// Of its shape.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// How long its values are believed.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The same, for reads that are nobody's: they are in no figure.
    #[must_use]
    pub fn uncounted(&self) -> Self {
        Self { index: EntityIndex::NONE, ..self.clone() }
    }

    /// The same, believed as `policy` says.
    #[must_use]
    pub fn believed(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }
}

/// How long values of an entity are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// For so long, in all tiers.
    pub ttl: Duration,
    /// That there is none, for so long; `None`: not at all.
    pub negative_ttl: Option<Duration>,
}
