//! The tables that ship: what was measured on machines that many people have.

use std::sync::OnceLock;

use ggemm_table::Table;

/// The files of `tables/`, one for each machine. A table counts for the kernels that it was measured with: measure anew
/// (`ggemm tune --suite … --table …`) when they change.
const FILES: &[&str] = &[include_str!("../../tables/nvidia-h100-80gb-hbm3.jsonl")];

/// The tables that ship with this version, as one.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| of(FILES))
}

fn of(files: &[&str]) -> Table {
    Table::parse(&files.concat())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A table on its way into the program: a machine that nobody has, so that no choice of anybody's follows it.
    const MADE_UP: &str = include_str!("../../tests/tables/made-up.jsonl");

    #[test]
    fn what_is_included_can_be_looked_up() {
        let table = of(&[MADE_UP]);
        let [machine] = table.machines()[..] else { panic!("{:?}", table.machines()) };
        assert_eq!(machine.gpu, "made up");
        assert_eq!(table.entries(machine).count(), table.len());
        assert!(table.len() > 1);
    }

    /// Whoever changes a kernel need not have a GPU at hand: that is asked before a release.
    #[test]
    #[ignore = "asked by cargo xtask release-check"]
    fn tables_that_ship_are_of_these_kernels() {
        for (file, text) in FILES.iter().enumerate() {
            let table = of(&[text]);
            let kernels: Vec<&str> = table.machines().iter().map(|machine| machine.kernels.as_str()).collect();
            let now = crate::catalogue::fingerprint();
            assert!(kernels.contains(&now), "file {file} is of kernels {kernels:?}, and these are {now}: tune anew");
        }
    }

    #[test]
    fn every_file_of_the_folder_ships_and_is_whole() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tables");
        let mut texts: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect();
        let mut included: Vec<&str> = FILES.to_vec();
        texts.sort();
        included.sort_unstable();
        assert_eq!(texts, included, "list each file of tables/ in FILES, with include_str!");
        for text in texts {
            Table::whole(&text).unwrap();
        }
    }
}
