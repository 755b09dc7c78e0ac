//! The user's tuning table: whether it is used, reads back whole, and has entries of this version.

use ggemm_runtime::tune::{Store, TableError, TableLocation};

use super::super::finding::Finding;
use super::super::machine::Machine;

const TABLE: &str = "tuning table";

pub(super) fn check(_: &mut Machine) -> Vec<Finding> {
    match Store::at(TableLocation::from_env()) {
        Ok(store) => vec![read(&store)],
        Err(error) => vec![unused(&error)],
    }
}

/// Variants are chosen by prediction: slower at times, never wrong.
fn unused(error: &TableError) -> Finding {
    Finding::note(TABLE, format!("variants are chosen without one: {error}"), "unset GGEMM_TABLE, or name a file")
}

fn read(store: &Store) -> Finding {
    let path = store.path().display();
    match store.read() {
        Err(error) => Finding::problem(TABLE, error.to_string(), "set GGEMM_TABLE to a file of your own"),
        Ok(table) if table.damaged() > 0 => Finding::note(
            TABLE,
            format!("{path}: {} entries, and {} damaged lines, which are passed over", table.len(), table.damaged()),
            "tune again what they were; a tuner that was killed leaves half a line",
        ),
        Ok(table) if table.is_empty() && table.foreign() > 0 => Finding::note(
            TABLE,
            format!("{path}: {} entries, all of other versions of ggemm", table.foreign()),
            "run `ggemm tune` with this one",
        ),
        Ok(table) if table.is_empty() => {
            Finding::ok(TABLE, format!("{path}: no entry yet, variants are chosen by predicted time"))
        }
        Ok(table) => {
            let machines: Vec<String> = table.machines().into_iter().map(ToString::to_string).collect();
            Finding::ok(TABLE, format!("{path}: {} entries, of {}", table.len(), machines.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::*;

    fn finding_of(text: Option<&str>) -> Finding {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.jsonl");
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        read(&Store::at(TableLocation::At(path)).unwrap())
    }

    #[test]
    fn what_a_table_holds_is_told() {
        assert!(finding_of(None).found.ends_with("no entry yet, variants are chosen by predicted time"));
        let text = include_str!("../../../../../ggemm-runtime/tests/tables/made-up.jsonl");
        let whole = finding_of(Some(text));
        assert_eq!(whole.status, Status::Ok);
        assert!(whole.found.contains(": 6 entries, of made up"), "{}", whole.found);
        let cut = finding_of(Some(&text[..text.len() - 40]));
        assert_eq!(cut.status, Status::Note);
        assert!(cut.found.contains(": 5 entries, and 1 damaged lines"), "{}", cut.found);
        assert!(unused(&TableError::NoPlace { reason: "none".to_owned() }).remedy.is_some());
    }
}
