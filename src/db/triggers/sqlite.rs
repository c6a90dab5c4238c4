//! What they are made of on SQLite: triggers for each row. Of a row that `OR REPLACE` removes no trigger is told
//! (`sqlite.org/lang_conflict.html`), so that two look beforehand which it will be.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;

use super::{INTO, Standing, Watched, name, told};
use crate::base::Result;
use crate::db::catalog::Column;

/// Ends of their names.
const WORDS: [&str; 5] = ["inserted", "updated", "deleted", "replaced", "moved"];

/// Each with its name.
pub(super) fn triggers(watched: &Watched) -> Vec<(String, String)> {
    let (name, table) = (name(&watched.entity), watched.table.sql());
    let select = |row: &str| format!("SELECT {}", told(watched, row, ""));
    let replaced = format!("{} FROM {table} AS was WHERE ({})", select("was"), has_what_new_has(watched));
    let (was, old) = (watched.key.of("was"), watched.key.of("OLD"));
    let bodies = [
        ("AFTER INSERT", select("NEW")),
        ("AFTER UPDATE", format!("{}\n    UNION\n    {}", select("OLD"), select("NEW"))),
        ("AFTER DELETE", select("OLD")),
        ("BEFORE INSERT", replaced.clone()),
        // The row itself is told of afterwards.
        ("BEFORE UPDATE", format!("{replaced} AND {was} IS NOT {old}")),
    ];
    let trigger = |(word, (event, body)): (&str, (&str, String))| {
        let name = format!("{name}_{word}");
        let text = format!("CREATE TRIGGER {name} {event} ON {table} BEGIN\n    {INTO}\n    {body};\nEND");
        (name, text)
    };
    WORDS.into_iter().zip(bodies).map(trigger).collect()
}

/// Whether the row `was` is in the way of `NEW`: in the key, or in other columns that are unique together.
fn has_what_new_has(watched: &Watched) -> String {
    let equal = |column: &Column| format!("{} = {}", column.of("was"), column.of("NEW"));
    let mut ways = BTreeSet::from([equal(&watched.key)]);
    for set in &watched.table.unique {
        let columns: Vec<String> =
            set.iter().filter_map(|name| watched.table.column(name)).map(equal).collect();
        ways.insert(columns.join(" AND "));
    }
    Vec::from_iter(ways).join(" OR ")
}

/// What takes away those whose names begin so.
pub(super) fn drops(name: &str) -> Vec<String> {
    WORDS.iter().map(|word| format!("DROP TRIGGER IF EXISTS {name}_{word}")).collect()
}

/// What is there.
pub(super) async fn standing(c: &mut SqliteConnection, watched: &Watched) -> Result<Standing> {
    const TEXT: &str = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = $1";
    let (mut any, mut all) = (false, true);
    for (name, wanted) in triggers(watched) {
        let found: Option<String> = sqlx::query_scalar(TEXT).bind(name).fetch_optional(&mut *c).await?;
        any |= found.is_some();
        all &= found == Some(wanted);
    }
    Ok(Standing::of(any, all))
}
