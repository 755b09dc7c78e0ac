//! A table's file, shared by any number of processes.
//!
//! Lines are only ever added, each with one write under a lock, and made durable before the call returns. A process that
//! dies leaves at most the beginning of a line; whoever writes next begins a new one, and readers pass over it. When
//! most lines are out of date, the lines that count are written to another file, which then takes the table's name.
//! Readers take no lock. The lock is a file of its own, since the table's changes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ggemm_compile::trust;

use crate::entry::Entry;
use crate::error::TableError;
use crate::key::Key;
use crate::line::{self, Line};
use crate::location::TableLocation;
use crate::machine::Machine;
use crate::table::Table;

/// A table's file.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

/// One process' right to tune one problem on one machine. It is given up when dropped, or when the process dies.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
}

/// Lines that may be out of date before they are cleared away, beside as many as there are that count.
const SLACK: usize = 64;

impl Store {
    /// The table at `location`. Its file need not exist.
    ///
    /// # Errors
    /// [`TableError::NoPlace`].
    pub fn at(location: TableLocation) -> Result<Self, TableError> {
        Ok(Store { path: location.path()? })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file; a missing one is an empty table. A line that somebody is just writing is not yet there.
    ///
    /// # Errors
    /// [`TableError::Read`], and [`TableError::Untrusted`] where another user could have written it.
    pub fn read(&self) -> Result<Table, TableError> {
        Ok(Table::parse(&self.text()?))
    }

    /// Adds an entry. When this returns, the entry is on disk.
    ///
    /// # Errors
    /// [`TableError::Write`], [`TableError::Untrusted`]; the table is then as it was.
    pub fn append(&self, entry: &Entry) -> Result<(), TableError> {
        let line = entry.line()?;
        let lock = self.lock()?;
        let mut file = self.open_to_append()?;
        add_line(&mut file, &line).map_err(|source| self.unwritable(source))?;
        if lock.is_some() {
            self.compact()?;
        }
        Ok(())
    }

    /// The right to tune the problem of `key` on `machine`; `None` while another process has it.
    ///
    /// # Errors
    /// [`TableError::Write`].
    pub fn claim(&self, machine: &Machine, key: &Key) -> Result<Option<Claim>, TableError> {
        let file = self.claim_file(machine, key)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Claim { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            // Without locks two processes may tune the same, and no harm is done.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(Claim { _lock: file }))
            }
            Err(TryLockError::Error(source)) => Err(self.unwritable(source)),
        }
    }

    /// The same, but waits while another process has it.
    ///
    /// # Errors
    /// [`TableError::Write`].
    pub fn await_claim(&self, machine: &Machine, key: &Key) -> Result<Claim, TableError> {
        let file = self.claim_file(machine, key)?;
        match file.lock() {
            Ok(()) => Ok(Claim { _lock: file }),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(Claim { _lock: file }),
            Err(source) => Err(self.unwritable(source)),
        }
    }

    /// Clears lines away that are out of date or damaged, where they are the most. The lock is held.
    fn compact(&self) -> Result<(), TableError> {
        let text = self.text()?;
        let table = Table::parse(&text);
        let lines = text.lines().count();
        let live = table.len() + table.foreign();
        if lines <= 2 * live + SLACK {
            return Ok(());
        }
        self.replace(&live_lines(&text, &table)).map_err(|source| self.unwritable(source))
    }

    /// Writes another file whole, and gives it the table's name.
    fn replace(&self, text: &str) -> io::Result<()> {
        let folder = self.folder();
        let mut file = tempfile::Builder::new().prefix(".partial-").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn text(&self) -> Result<String, TableError> {
        let unreadable = |source| TableError::Read { path: self.path.clone(), source };
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(unreadable(error)),
        };
        self.trusted(&file)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        // Damage may be anything.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Of the file that is open, not of the path: it cannot be exchanged between the check and the use.
    fn trusted(&self, file: &File) -> Result<(), TableError> {
        let metadata = file.metadata().map_err(|source| TableError::Read { path: self.path.clone(), source })?;
        trust::check(&metadata).map_err(|distrust| TableError::Untrusted { path: self.path.clone(), distrust })
    }

    fn open_to_append(&self) -> Result<File, TableError> {
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&self.path).map_err(|source| self.unwritable(source))?;
        self.trusted(&file)?;
        Ok(file)
    }

    /// Waits for the lock of all writers; `None` where the file system has no locks.
    fn lock(&self) -> Result<Option<File>, TableError> {
        trust::make_private(self.folder()).map_err(|source| self.unwritable(source))?;
        let file = open_lock(&self.beside(".lock")).map_err(|source| self.unwritable(source))?;
        match file.lock() {
            Ok(()) => Ok(Some(file)),
            // Then lines are added without it, each still with one write, and none is cleared away.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
            Err(source) => Err(self.unwritable(source)),
        }
    }

    /// The lock that a problem shares with one in 256 others.
    fn claim_file(&self, machine: &Machine, key: &Key) -> Result<File, TableError> {
        let folder = self.beside(".claims");
        trust::make_private(&folder).map_err(|source| self.unwritable(source))?;
        let hash = blake3::hash(format!("{machine}\n{key:?}").as_bytes());
        open_lock(&folder.join(&hash.to_hex()[..2])).map_err(|source| self.unwritable(source))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    fn unwritable(&self, source: io::Error) -> TableError {
        TableError::Write { path: self.path.clone(), source }
    }
}

/// With one write, on a line of its own whatever was there before, and durable.
fn add_line(file: &mut File, line: &str) -> io::Result<()> {
    let mut text = String::with_capacity(line.len() + 2);
    if !ends_with_line(file)? {
        text.push('\n');
    }
    text += line;
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

fn ends_with_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The lines of `text` that count: another version's, and of each key the last.
fn live_lines(text: &str, table: &Table) -> String {
    let counts = |line: &&str| match line::decode(line) {
        Line::Entry(entry) => table.get(&entry.machine, &entry.key()) == Some(&*entry),
        Line::Foreign => true,
        Line::Damaged => false,
    };
    text.lines().filter(counts).fold(String::new(), |lines, line| lines + line + "\n")
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::table::tests::{entry, machine};

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::at(TableLocation::At(root.path().join("a/b/tuned.jsonl"))).unwrap();
        (root, store)
    }

    #[test]
    fn what_was_added_reads_back_and_a_missing_file_is_empty() {
        let (_root, store) = store();
        assert!(store.read().unwrap().is_empty());
        store.append(&entry(8, 4096)).unwrap();
        store.append(&entry(16, 4096)).unwrap();
        let table = store.read().unwrap();
        assert_eq!((table.len(), table.damaged()), (2, 0));
        assert_eq!(table.get(&machine("made up"), &entry(16, 4096).key()), Some(&entry(16, 4096)));
    }

    /// Wherever in a line a writer may die.
    #[test]
    fn half_a_line_costs_nothing_that_was_finished() {
        let (_root, store) = store();
        store.append(&entry(8, 4096)).unwrap();
        let first = fs::read(&store.path).unwrap();
        store.append(&entry(16, 4096)).unwrap();
        let both = fs::read(&store.path).unwrap();
        for end in (first.len()..both.len()).step_by(17).chain(both.len() - 2..both.len()) {
            fs::write(&store.path, &both[..end]).unwrap();
            let table = store.read().unwrap();
            // The end of the line alone may be missing.
            assert_eq!(table.len(), if end + 1 == both.len() { 2 } else { 1 }, "{end}");
            store.append(&entry(32, 4096)).unwrap();
            let table = store.read().unwrap();
            for groups in [8, 32] {
                assert!(table.get(&machine("made up"), &entry(groups, 4096).key()).is_some(), "{end}");
            }
        }
    }

    #[test]
    fn what_is_out_of_date_is_cleared_away_and_nothing_else() {
        let (_root, store) = store();
        let mut first = entry(8, 4096);
        store.append(&entry(16, 4096)).unwrap();
        let body = "\"schema\":9,\"entry\":{}}";
        let digits = &blake3::hash(body.as_bytes()).to_hex()[..16];
        let foreign = format!("{{\"check\":\"{digits}\",{body}");
        let text = fs::read_to_string(&store.path).unwrap();
        fs::write(&store.path, format!("{text}nonsense\n{foreign}\n")).unwrap();
        for turn in 0..3 * SLACK {
            first.best.microseconds = turn as f64;
            store.append(&first).unwrap();
        }
        let text = fs::read_to_string(&store.path).unwrap();
        assert!(text.lines().count() <= 2 * 3 + SLACK + 1, "{}", text.lines().count());
        assert!(text.contains(&foreign) && !text.contains("nonsense"));
        let table = store.read().unwrap();
        assert_eq!((table.len(), table.foreign(), table.damaged()), (2, 1, 0));
        assert_eq!(table.get(&machine("made up"), &first.key()), Some(&first));
        let left = fs::read_dir(store.folder()).unwrap().count();
        assert_eq!(left, 2, "the table and its lock");
    }

    #[test]
    fn a_problem_is_one_claimants_at_a_time() {
        let (_root, store) = store();
        let key = entry(8, 4096).key();
        let own = machine("made up");
        let claim = store.claim(&own, &key).unwrap();
        assert!(claim.is_some());
        assert!(store.claim(&own, &key).unwrap().is_none());
        drop(claim);
        assert!(store.claim(&own, &key).unwrap().is_some());
        drop(store.await_claim(&own, &key).unwrap());
    }

    #[test]
    fn a_table_that_cannot_be_written_says_so() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let store = Store::at(TableLocation::At(file.join("tuned.jsonl"))).unwrap();
        let error = store.append(&entry(8, 4096)).unwrap_err();
        assert!(matches!(error, TableError::Write { .. }) && error.to_string().contains("GGEMM_TABLE"), "{error}");
        let store = Store::at(TableLocation::At(root.path().to_owned())).unwrap();
        let error = store.read().unwrap_err();
        assert!(matches!(error, TableError::Read { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_table_that_others_can_write_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let (_root, store) = store();
        store.append(&entry(8, 4096)).unwrap();
        let mode = |mode| fs::set_permissions(&store.path, fs::Permissions::from_mode(mode)).unwrap();
        let found = fs::metadata(&store.path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, 0o600);
        mode(0o666);
        for error in [store.read().map(drop).unwrap_err(), store.append(&entry(16, 4096)).unwrap_err()] {
            assert!(matches!(error, TableError::Untrusted { .. }), "{error}");
            assert!(error.to_string().contains("chmod go-w"), "{error}");
        }
        mode(0o644);
        assert_eq!(store.read().unwrap().len(), 1);
    }
}
