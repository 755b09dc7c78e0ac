//! An entry as one line of JSON: `{"check":"0f…","schema":1,"entry":{…}}`.
//!
//! The first field is the hash of what follows it, to the byte. So a line that a killed process left half written, or
//! that was changed by hand, is told from a whole one by itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entry::Entry;

/// The version of what stands in a line.
const SCHEMA: u32 = 1;

const HEAD: &str = "{\"check\":\"";
const DIGITS: usize = 16;
const AFTER: &str = "\",";

/// What a line is.
pub(crate) enum Line {
    /// One of this version.
    Entry(Box<Entry>),
    /// A whole one that another version of ggemm wrote. It is kept and not used.
    Foreign,
    /// None.
    Damaged,
}

#[derive(Serialize)]
struct Written<'a> {
    schema: u32,
    entry: &'a Entry,
}

#[derive(Deserialize)]
struct Read {
    schema: u32,
    entry: Value,
}

/// The line of an entry, without its end.
pub(crate) fn encode(entry: &Entry) -> Result<String, serde_json::Error> {
    let body = serde_json::to_string(&Written { schema: SCHEMA, entry })?;
    let body = body.strip_prefix('{').unwrap_or(&body);
    Ok(format!("{HEAD}{}{AFTER}{body}", check(body)))
}

/// What a line without its end is.
pub(crate) fn decode(line: &str) -> Line {
    let Some((found, body)) = split(line) else { return Line::Damaged };
    if found != check(body) {
        return Line::Damaged;
    }
    let read: Result<Read, _> = serde_json::from_str(&format!("{{{body}"));
    match read {
        Ok(read) if read.schema == SCHEMA => {
            serde_json::from_value(read.entry).map_or(Line::Foreign, |entry| Line::Entry(Box::new(entry)))
        }
        _ => Line::Foreign,
    }
}

fn split(line: &str) -> Option<(&str, &str)> {
    let (digits, rest) = line.strip_prefix(HEAD)?.split_at_checked(DIGITS)?;
    Some((digits, rest.strip_prefix(AFTER)?))
}

fn check(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex()[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::entry;

    #[test]
    fn a_line_reads_back_and_any_other_does_not() {
        let entry = entry(8, 4096);
        let line = encode(&entry).unwrap();
        assert!(!line.contains('\n') && serde_json::from_str::<Value>(&line).is_ok(), "{line}");
        assert!(matches!(decode(&line), Line::Entry(read) if *read == entry));
        for end in (0..line.len()).filter(|end| line.is_char_boundary(*end)) {
            assert!(matches!(decode(&line[..end]), Line::Damaged), "{end}");
        }
        for index in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[index] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(matches!(decode(&changed), Line::Damaged), "{changed}");
        }
        assert!(matches!(decode(&format!("{line} ")), Line::Damaged));
    }

    #[test]
    fn another_versions_line_is_whole_and_not_read() {
        for body in ["\"schema\":2,\"entry\":{}}", "\"schema\":1,\"entry\":{\"machine\":7}}", "\"later\":true}"] {
            let line = format!("{HEAD}{}{AFTER}{body}", check(body));
            assert!(matches!(decode(&line), Line::Foreign), "{line}");
        }
    }
}
