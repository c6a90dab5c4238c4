//! A YAML file as keys and texts. Unlike the YAML crate's own value it keeps duplicate keys, so that they are
//! told with all the other faults, and knows where a key stands. Called by `load` and `reader`.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::fault::Position;

/// A parsed file.
#[derive(Debug)]
pub(super) struct Document {
    text: String,
    /// What stands at the top.
    pub(super) root: Node,
    searches_left: Cell<u16>,
}

/// One value.
#[derive(Debug)]
pub(super) enum Node {
    /// Nothing, `null` or `~`.
    Null,
    /// Any scalar, as text.
    Text(String),
    /// A list of scalars, each as text; `None` if something else is in it.
    List(Option<Vec<String>>),
    /// Keys with their values, duplicates included.
    Map(Vec<Member>),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) value: Node,
    /// The how-manieth key of the file this is.
    ordinal: usize,
}

/// Why a text is not YAML, and where.
#[derive(Debug)]
pub(super) struct BrokenYaml {
    pub(super) message: String,
    pub(super) position: Option<Position>,
}

/// Finding a position reads the file again, so a file of nothing but faults gets only so many.
const MAX_SEARCHES: u16 = 100;

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, BrokenYaml> {
        let root = walk(text, None)
            .map_err(|error| BrokenYaml { position: position(&error), message: error.to_string() })?;
        Ok(Self { text: text.to_owned(), root, searches_left: Cell::new(MAX_SEARCHES) })
    }

    /// The first member at `path`, such as `server.listen`.
    pub(super) fn find(&self, path: &str) -> Option<&Member> {
        let mut node = &self.root;
        let mut found = None;
        for name in path.split('.') {
            let Node::Map(members) = node else { return None };
            let member = members.iter().find(|member| member.key == name)?;
            node = &member.value;
            found = Some(member);
        }
        found
    }

    /// Where the key of `member` stands.
    pub(super) fn position(&self, member: &Member) -> Option<Position> {
        self.searches_left.set(self.searches_left.get().checked_sub(1)?);
        walk(&self.text, Some(member.ordinal)).err().as_ref().and_then(position)
    }
}

impl Node {
    /// What this is, for people who expected something else.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "a plain value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

fn position(error: &yaml_serde::Error) -> Option<Position> {
    error.location().map(|at| Position { line: at.line(), column: at.column() })
}

/// Reads `text`. With `stop_at`, fails at the key of that ordinal: the YAML crate tells positions in errors
/// only.
fn walk(text: &str, stop_at: Option<usize>) -> Result<Node, yaml_serde::Error> {
    let next_ordinal = Cell::new(0);
    let walk = Walk { next_ordinal: &next_ordinal, stop_at };
    walk.deserialize(yaml_serde::Deserializer::from_str(text))
}

/// Reads a value.
#[derive(Clone, Copy)]
struct Walk<'a> {
    next_ordinal: &'a Cell<usize>,
    stop_at: Option<usize>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Text(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut texts = Some(Vec::new());
        while let Some(item) = items.next_element_seed(self)? {
            match (item, &mut texts) {
                (Node::Text(text), Some(texts)) => texts.push(text),
                _ => texts = None,
            }
        }
        Ok(Node::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some((key, ordinal)) = entries.next_key_seed(WalkKey(self))? {
            let value = entries.next_value_seed(self)?;
            members.push(Member { key, value, ordinal });
        }
        Ok(Node::Map(members))
    }
}

/// Reads a key and its ordinal. The wish to stop must come out of the visitor, for the error to have its
/// position.
struct WalkKey<'a>(Walk<'a>);

impl<'de> DeserializeSeed<'de> for WalkKey<'_> {
    type Value = (String, usize);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for WalkKey<'_> {
    type Value = (String, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word as a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        let ordinal = self.0.next_ordinal.get();
        if self.0.stop_at == Some(ordinal) {
            return Err(E::custom("here"));
        }
        self.0.next_ordinal.set(ordinal + 1);
        Ok((key.to_owned(), ordinal))
    }

    fn visit_bool<E: de::Error>(self, key: bool) -> Result<Self::Value, E> {
        self.visit_str(&key.to_string())
    }

    fn visit_i64<E: de::Error>(self, key: i64) -> Result<Self::Value, E> {
        self.visit_str(&key.to_string())
    }

    fn visit_u64<E: de::Error>(self, key: u64) -> Result<Self::Value, E> {
        self.visit_str(&key.to_string())
    }
}
