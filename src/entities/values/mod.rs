//! What values of columns look like to clients: cells to JSON, and texts of queries to cells. Pure.
//!
//! The same table answers the same on both engines: what a column holds decides ([`Kind`]), not how a database keeps
//! it. Whole numbers of 64 bits and decimal fractions are strings, because JSON's numbers are not exact in every
//! language (RFC 8259 6); bytes are base64; moments are RFC 3339, in UTC, with microseconds.

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::db::catalog::{Engine, Kind};
use crate::db::dynamic::Cell;

/// Numbers beyond it are not exact in every reader of JSON (RFC 8259 6): 2^53 - 1.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// A value that a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// The one way to write it: in keys of the cache and in cursors.
    pub(super) text: String,
    /// What a row may have for it; SQLite keeps some values in several ways.
    pub(super) cells: Vec<Cell>,
}

/// Reads `text` as a value of a column; `None`: it is none.
pub(super) fn asked(kind: Kind, engine: Engine, text: &str) -> Option<Asked> {
    if text.contains('\0') {
        return None;
    }
    let one = |text: String| Asked { cells: vec![Cell::Text(text.clone())], text };
    let on_sqlite = engine == Engine::Sqlite;
    Some(match kind {
        Kind::Bool => {
            let flag: bool = text.parse().ok()?;
            let cell = if on_sqlite { Cell::Int(flag.into()) } else { Cell::Text(flag.to_string()) };
            Asked { text: flag.to_string(), cells: vec![cell] }
        }
        Kind::Int | Kind::BigInt => {
            let number: i64 = text.parse().ok()?;
            Asked { text: number.to_string(), cells: vec![Cell::Int(number)] }
        }
        Kind::Float => {
            let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
            Asked { text: number.to_string(), cells: vec![Cell::Real(number)] }
        }
        // On SQLite the column's affinity makes a number of it.
        Kind::Numeric(_) => one(decimal(text)?),
        Kind::Uuid => {
            let id: Uuid = text.parse().ok()?;
            let mut cells = vec![Cell::Text(id.to_string())];
            if on_sqlite {
                cells.push(Cell::Text(id.to_string().to_ascii_uppercase()));
                cells.push(Cell::Bytes(id.as_bytes().to_vec()));
            }
            Asked { text: id.to_string(), cells }
        }
        Kind::Bytes => {
            let bytes = STANDARD.decode(text).ok()?;
            Asked { text: STANDARD.encode(&bytes), cells: vec![Cell::Bytes(bytes)] }
        }
        Kind::Date => one(text.parse::<NaiveDate>().ok()?.to_string()),
        Kind::Timestamp | Kind::TimestampTz => {
            let text = moment(kind, text)?;
            let cells = if on_sqlite { written_moments(&text) } else { vec![Cell::Text(text.clone())] };
            Asked { text, cells }
        }
        Kind::Other if on_sqlite => {
            let mut asked = one(text.to_owned());
            asked.cells.extend(text.parse().ok().map(Cell::Int));
            asked
        }
        Kind::Text | Kind::Time | Kind::Other => one(text.to_owned()),
        Kind::Json | Kind::Composite => return None,
    })
}

/// A decimal number without signs and zeros that mean nothing.
fn decimal(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || digits.ends_with('.') {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if whole == "0" && fraction.is_empty() { "" } else { sign };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// The ways in which programs write a moment into SQLite, which has no type for it: as its own functions do, as RFC 3339
/// says, as Python and Go do.
fn written_moments(text: &str) -> Vec<Cell> {
    let (day, time) = text.trim_end_matches('Z').split_once('T').unwrap_or((text, ""));
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    let shortest = fraction.trim_end_matches('0');
    let mut fractions = vec![format!(".{fraction}"), format!(".{fraction}000")];
    if fraction.ends_with("000") {
        fractions.push(format!(".{}", &fraction[..3]));
    }
    fractions.push(if shortest.is_empty() { String::new() } else { format!(".{shortest}") });
    let mut cells = Vec::new();
    for fraction in &fractions {
        for between in [' ', 'T'] {
            for zone in ["", "Z", "+00:00", "+00"] {
                cells.push(Cell::Text(format!("{day}{between}{seconds}{fraction}{zone}")));
            }
        }
    }
    cells
}

/// A moment as api.md writes it: with `Z` if it is one, without if its zone is nowhere.
fn moment(kind: Kind, text: &str) -> Option<String> {
    let text = text.trim();
    // `2026-01-02 03:04:05+00` is PostgreSQL's; RFC 3339 has minutes in its offset.
    for format in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"] {
        if let Ok(at) = DateTime::parse_from_str(text, format) {
            return Some(at.with_timezone(&Utc).format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
        }
    }
    let (bare, is_utc) = match text.strip_suffix(['Z', 'z']) {
        Some(bare) => (bare, true),
        None => (text, kind == Kind::TimestampTz),
    };
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    let at = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(bare, format).ok());
    let at = at.or_else(|| Some(bare.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN)))?;
    let zone = if is_utc { "Z" } else { "" };
    Some(format!("{}{zone}", at.format("%Y-%m-%dT%H:%M:%S%.6f")))
}

/// A value's JSON.
pub(super) fn json(kind: Kind, cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Int(number) => json_of_int(kind, *number),
        Cell::Real(number) => json_of_real(kind, *number),
        Cell::Text(text) => json_of_text(kind, text),
        Cell::Bytes(bytes) => match (kind, Uuid::from_slice(bytes)) {
            (Kind::Uuid, Ok(id)) => string(&id.to_string()),
            _ => string(&STANDARD.encode(bytes)),
        },
    }
}

fn json_of_int(kind: Kind, number: i64) -> String {
    match kind {
        Kind::Bool if matches!(number, 0 | 1) => (number == 1).to_string(),
        Kind::BigInt => string(&number.to_string()),
        Kind::Numeric(scale) => string(&scaled(&number.to_string(), scale)),
        _ if number.unsigned_abs() <= EXACT_MAX => number.to_string(),
        _ => string(&number.to_string()),
    }
}

fn json_of_real(kind: Kind, number: f64) -> String {
    match (kind, serde_json::Number::from_f64(number)) {
        (Kind::Numeric(Some(scale)), Some(_)) => string(&format!("{number:.*}", usize::from(scale))),
        (Kind::Numeric(None), Some(_)) => string(&number.to_string()),
        (_, Some(number)) => number.to_string(),
        // JSON has no infinity.
        (_, None) if number.is_nan() => string("NaN"),
        (_, None) => string(if number > 0.0 { "Infinity" } else { "-Infinity" }),
    }
}

fn json_of_text(kind: Kind, text: &str) -> String {
    let known = match kind {
        Kind::Bool => text.parse::<bool>().ok().map(|flag| flag.to_string()),
        Kind::Int => text.parse().ok().map(|number| json_of_int(kind, number)),
        Kind::Float => text.parse().ok().map(|number| json_of_real(kind, number)),
        Kind::Uuid => text.parse::<Uuid>().ok().map(|id| string(&id.to_string())),
        Kind::Timestamp | Kind::TimestampTz => moment(kind, text).map(|text| string(&text)),
        Kind::Json | Kind::Composite => {
            serde_json::from_str::<&RawValue>(text).ok().map(|value| value.get().to_owned())
        }
        _ => None,
    };
    known.unwrap_or_else(|| string(text))
}

/// A whole number, with as many zeros after the point as the column has digits there.
fn scaled(number: &str, scale: Option<u8>) -> String {
    match scale {
        None | Some(0) => number.to_owned(),
        Some(scale) => format!("{number}.{}", "0".repeat(scale.into())),
    }
}

/// A JSON string.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string()
}

/// The text that names the record whose key is `cell`; the same as `db::catalog::Table::id_text`. `None`: it has none.
pub(super) fn id(kind: Kind, cell: &Cell) -> Option<String> {
    match (kind, cell) {
        (_, Cell::Int(number)) => Some(number.to_string()),
        (Kind::Uuid, Cell::Text(text)) => Some(text.to_ascii_lowercase()),
        (_, Cell::Text(text)) => Some(text.clone()),
        (_, Cell::Bytes(bytes)) => Uuid::from_slice(bytes).ok().map(|id| id.to_string()),
        (_, Cell::Null | Cell::Real(_)) => None,
    }
}
