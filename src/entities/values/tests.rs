//! Values by tables: what each kind looks like, from either engine, and what clients may ask for.

use super::*;

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

#[test]
fn a_value_looks_the_same_whichever_engine_kept_it() {
    let id = "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c";
    let bytes_of_id = Uuid::parse_str(id).unwrap().as_bytes().to_vec();
    let as_string = |text: &str| format!("\"{text}\"");
    let rows: Vec<(Kind, Vec<Cell>, String)> = vec![
        (Kind::Bool, vec![Cell::Int(1), text("true")], "true".into()),
        (Kind::Bool, vec![Cell::Int(0), text("false")], "false".into()),
        (Kind::Int, vec![Cell::Int(-7), text("-7")], "-7".into()),
        (
            Kind::BigInt,
            vec![Cell::Int(i64::MAX), text("9223372036854775807")],
            as_string("9223372036854775807"),
        ),
        (Kind::Float, vec![Cell::Real(0.1), text("0.1")], "0.1".into()),
        (Kind::Float, vec![Cell::Real(f64::NEG_INFINITY), text("-Infinity")], as_string("-Infinity")),
        (Kind::Numeric(Some(2)), vec![Cell::Real(12.5), text("12.50")], as_string("12.50")),
        (Kind::Numeric(Some(2)), vec![Cell::Int(12), text("12.00")], as_string("12.00")),
        (Kind::Numeric(None), vec![Cell::Real(12.5), text("12.5")], as_string("12.5")),
        (Kind::Uuid, vec![Cell::Bytes(bytes_of_id), text(id), text(&id.to_uppercase())], as_string(id)),
        (Kind::Bytes, vec![Cell::Bytes(vec![1, 255])], as_string("Af8=")),
        (
            Kind::TimestampTz,
            vec![
                text("2026-01-02 03:04:05"),
                text("2026-01-02 03:04:05+00"),
                text("2026-01-02T04:34:05.000+01:30"),
            ],
            as_string("2026-01-02T03:04:05.000000Z"),
        ),
        (
            Kind::Timestamp,
            vec![text("2026-01-02 03:04:05.5"), text("2026-01-02T03:04:05.500000")],
            as_string("2026-01-02T03:04:05.500000"),
        ),
        (Kind::Timestamp, vec![text("infinity")], as_string("infinity")),
        (
            Kind::Json,
            vec![text("{\"b\": [1e400, 12345678901234567890123]}")],
            "{\"b\": [1e400, 12345678901234567890123]}".into(),
        ),
        (Kind::Json, vec![text("{\"b\"")], "\"{\\\"b\\\"\"".into()),
        (Kind::Text, vec![text("a\"\n\u{1f600}")], "\"a\\\"\\n\u{1f600}\"".into()),
        (Kind::Other, vec![Cell::Int(1 << 53)], as_string("9007199254740992")),
        (Kind::Int, vec![Cell::Null], "null".into()),
    ];
    for (kind, cells, expected) in rows {
        for cell in cells {
            assert_eq!(json(kind, &cell), expected, "{kind:?} {cell:?}");
        }
    }
}

#[test]
fn what_is_asked_for_has_one_way_to_be_written() {
    let same: &[(Kind, &[&str], &str)] = &[
        (Kind::Int, &["7", "+7", "007"], "7"),
        (Kind::Bool, &["true"], "true"),
        (Kind::Numeric(Some(2)), &["12.5", "012.50"], "12.5"),
        (Kind::Numeric(None), &["-0.0", "0"], "0"),
        (
            Kind::Uuid,
            &["0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c", "0198C5F07C1E7D2A9B3F2F1D0E5A6B7C"],
            "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c",
        ),
        (
            Kind::TimestampTz,
            &["2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00"],
            "2026-01-02T03:04:05.000000Z",
        ),
        (Kind::Text, &[" a "], " a "),
    ];
    for engine in [Engine::Sqlite, Engine::Postgres] {
        for (kind, texts, expected) in same {
            for text in *texts {
                assert_eq!(asked(*kind, engine, text).unwrap().text, *expected, "{kind:?} {text}");
            }
        }
        for (kind, text) in [
            (Kind::Int, "seven"),
            (Kind::Int, "9223372036854775808"),
            (Kind::Bool, "1"),
            (Kind::Float, "inf"),
            (Kind::Numeric(None), "1e3"),
            (Kind::Numeric(None), "."),
            (Kind::Uuid, "x"),
            (Kind::Date, "2026-02-30"),
            (Kind::TimestampTz, "yesterday"),
            (Kind::Bytes, "***"),
            (Kind::Text, "a\0b"),
            (Kind::Json, "{}"),
        ] {
            assert_eq!(asked(kind, engine, text), None, "{kind:?} {text}");
        }
    }
}
