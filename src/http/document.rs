//! A JSON text as a value, and the names that stand twice in one object of it.
//!
//! serde lets the last of two equal names win, others the first: a proxy that checks a request and the service that
//! carries it out could see two different ones (RFC 8259 4). Called by `fields`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// So many repeated names are told; a refusal need not be longer than what it refuses.
const REPEATED_MAX: usize = 16;

/// Reads `text`; the second answer points (RFC 6901) at names that were there already, the first [`REPEATED_MAX`].
///
/// # Errors
/// What keeps it from being JSON.
pub(super) fn parse(text: &[u8]) -> serde_json::Result<(Value, Vec<String>)> {
    let mut repeated = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = Walk { at: &At::Root, repeated: &mut repeated }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, repeated))
}

/// RFC 6901 3.
pub(super) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Where a value is. It is written out for repeated names only: a long name around many values would otherwise cost
/// its length for each of them.
enum At<'a> {
    Root,
    Member(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(parent, name) => write!(f, "{parent}/{}", escape(name)),
            Self::Item(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// Reads the value at `at`.
struct Walk<'a> {
    at: &'a At<'a>,
    repeated: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Self { at, repeated } = self;
        let mut list = Vec::new();
        loop {
            let at = At::Item(at, list.len());
            match items.next_element_seed(Walk { at: &at, repeated: &mut *repeated })? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let Self { at, repeated } = self;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let at = At::Member(at, &name);
            if map.contains_key(&name) && repeated.len() < REPEATED_MAX {
                repeated.push(at.to_string());
            }
            let value = members.next_value_seed(Walk { at: &at, repeated: &mut *repeated })?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_repeat_are_told_with_their_place() {
        let (value, repeated) = parse(br#"{"a":[1,{"b/":1,"b/":2}],"c":{"a":1},"a":3}"#).unwrap();
        assert_eq!(repeated, ["/a/1/b~1", "/a"]);
        assert_eq!(value["c"]["a"], 1);
    }

    #[test]
    fn what_is_told_does_not_grow_with_the_product_of_names() {
        // Written out they would be 600 MB.
        let names = r#""b":1,"#.repeat(10_000);
        let text = format!(r#"{{"{}":{{{names}"b":1}}}}"#, "a".repeat(60_000));
        let (_, repeated) = parse(text.as_bytes()).unwrap();
        assert_eq!(repeated.len(), REPEATED_MAX);
    }
}
