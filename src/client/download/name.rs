//! Makes a filename that came over the network harmless.

/// What a file system takes in one name (Linux: 255 bytes), less the `.part` that is added meanwhile.
const NAME_BYTES_MAX: usize = 250;

/// An ending up to this length is kept when a name must be shortened.
const ENDING_BYTES_MAX: usize = 16;

/// `filename` as a name in one folder: its last path component, without control characters (those that
/// turn text around included), not hidden, not an option of a command, not too long. `otherwise` if nothing is left.
pub fn safe_filename(filename: &str, otherwise: &str) -> String {
    let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = last.chars().filter(|c| !c.is_control() && !turns_text(*c)).collect();
    let name = visible.trim_start_matches(|c: char| c == '.' || c.is_whitespace()).trim_end();
    let name = match name.strip_prefix('-') {
        Some(rest) => format!("_{rest}"),
        None => name.to_owned(),
    };
    if name.is_empty() { otherwise.to_owned() } else { shortened(name) }
}

/// Bidirectional controls make `gpj.exe` of `exe.jpg` on the screen (Unicode TR 36, 2.6.1).
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn shortened(mut name: String) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let ending = name.rfind('.').map(|dot| name[dot..].to_owned());
    let ending = ending.filter(|ending| ending.len() <= ENDING_BYTES_MAX).unwrap_or_default();
    let end = (0..=NAME_BYTES_MAX - ending.len()).rev().find(|end| name.is_char_boundary(*end));
    name.truncate(end.unwrap_or(0));
    name + &ending
}
