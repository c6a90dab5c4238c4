//! What is in a column: one word for the types of both engines, so that the same table answers the same on each.

/// What is in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number that every JSON reader keeps exact.
    Int,
    /// A whole number of 64 bits.
    BigInt,
    /// A binary fraction.
    Float,
    /// A decimal fraction; with this many digits after the point, if that is part of the type.
    Numeric(Option<u8>),
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A UUID.
    Uuid,
    /// A day and a time, somewhere.
    Timestamp,
    /// A moment.
    TimestampTz,
    /// A day.
    Date,
    /// A time of a day.
    Time,
    /// JSON.
    Json,
    /// A list or a row of PostgreSQL's, read as JSON.
    Composite,
    /// Something else: what PostgreSQL writes as text, or SQLite keeps without a type.
    Other,
}

impl Kind {
    /// Of a type as a table of SQLite declares it. Its own rules (`sqlite.org/datatype3.html`, 3.1) know five affinities
    /// only; the words here are those that PostgreSQL has.
    pub(super) fn declared(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        match () {
            () if has(&["BOOL"]) => Self::Bool,
            () if has(&["BIGINT", "BIG INT", "INT8", "BIGSERIAL"]) => Self::BigInt,
            () if has(&["INTERVAL"]) => Self::Other,
            () if has(&["INT", "SERIAL"]) => Self::Int,
            () if has(&["UUID"]) => Self::Uuid,
            () if has(&["JSON"]) => Self::Json,
            () if has(&["CHAR", "CLOB", "TEXT"]) => Self::Text,
            () if has(&["BLOB", "BYTEA", "BINARY"]) => Self::Bytes,
            () if has(&["REAL", "FLOA", "DOUB"]) => Self::Float,
            () if has(&["TIMESTAMPTZ", "WITH TIME ZONE"]) => Self::TimestampTz,
            () if has(&["TIMESTAMP", "DATETIME"]) => Self::Timestamp,
            () if has(&["DATE"]) => Self::Date,
            () if has(&["TIME"]) => Self::Time,
            () if has(&["NUMERIC", "DECIMAL"]) => Self::Numeric(scale(&declared)),
            () => Self::Other,
        }
    }

    /// Of a type of PostgreSQL's, by its own name there, its category (`pg_type.typcategory`) and what is said of it in
    /// the column (`pg_attribute.atttypmod`).
    pub(super) fn of_postgres(name: &str, category: &str, modifier: i32) -> Self {
        match name {
            "bool" => Self::Bool,
            "int2" | "int4" => Self::Int,
            "int8" => Self::BigInt,
            "float4" | "float8" => Self::Float,
            "numeric" => Self::Numeric(numeric_scale(modifier)),
            "bytea" => Self::Bytes,
            "uuid" => Self::Uuid,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampTz,
            "date" => Self::Date,
            "time" => Self::Time,
            "json" | "jsonb" => Self::Json,
            _ => match category {
                "S" | "E" => Self::Text,
                "A" | "C" => Self::Composite,
                _ => Self::Other,
            },
        }
    }

    /// Whether a record can be known by it.
    pub fn is_of_keys(self) -> bool {
        matches!(self, Self::Int | Self::BigInt | Self::Text | Self::Uuid)
    }

    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int | Self::BigInt => "a whole number",
            Self::Float => "a number",
            Self::Numeric(_) => "a decimal number",
            Self::Text => "text",
            Self::Bytes => "base64",
            Self::Uuid => "a UUID",
            Self::Timestamp | Self::TimestampTz => "a time such as 2026-01-02T03:04:05Z",
            Self::Date => "a day such as 2026-01-02",
            Self::Time => "a time such as 03:04:05",
            Self::Json => "JSON",
            Self::Composite => "a list",
            Self::Other => "a value of its type",
        }
    }
}

/// The second number of `DECIMAL(10, 2)`; one number means none after the point.
fn scale(declared: &str) -> Option<u8> {
    let (_, inside) = declared.split_once('(')?;
    let (inside, _) = inside.split_once(')')?;
    match inside.split_once(',') {
        Some((_, scale)) => scale.trim().parse().ok(),
        None => Some(0),
    }
}

/// `numeric(p, s)` is kept as `((p << 16) | s) + 4` (PostgreSQL's `numeric.c`); -1: nothing is said.
fn numeric_scale(modifier: i32) -> Option<u8> {
    if modifier < 4 { None } else { u8::try_from((modifier - 4) & 0x7ff).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_types_mean_the_same_on_both_engines() {
        for (declared, postgres, modifier, kind) in [
            ("BOOLEAN", "bool", -1, Kind::Bool),
            ("integer", "int4", -1, Kind::Int),
            ("SMALLINT", "int2", -1, Kind::Int),
            ("BIGINT", "int8", -1, Kind::BigInt),
            ("double precision", "float8", -1, Kind::Float),
            ("REAL", "float4", -1, Kind::Float),
            ("NUMERIC", "numeric", -1, Kind::Numeric(None)),
            ("NUMERIC(10, 2)", "numeric", ((10 << 16) | 2) + 4, Kind::Numeric(Some(2))),
            ("DECIMAL(5)", "numeric", (5 << 16) + 4, Kind::Numeric(Some(0))),
            ("UUID", "uuid", -1, Kind::Uuid),
            ("timestamp with time zone", "timestamptz", -1, Kind::TimestampTz),
            ("TIMESTAMP", "timestamp", -1, Kind::Timestamp),
            ("DATE", "date", -1, Kind::Date),
            ("TIME", "time", -1, Kind::Time),
            ("JSONB", "jsonb", -1, Kind::Json),
            ("BYTEA", "bytea", -1, Kind::Bytes),
            ("interval", "interval", -1, Kind::Other),
        ] {
            assert_eq!(Kind::declared(declared), kind, "{declared}");
            assert_eq!(Kind::of_postgres(postgres, "?", modifier), kind, "{postgres}");
        }
        assert_eq!(Kind::declared("VARCHAR(20)"), Kind::of_postgres("varchar", "S", 24));
        assert_eq!(Kind::declared(""), Kind::Other);
    }
}
