//! The file that durations are kept in: SQLite, one table, one row for each test.
//!
//! It can be had again by running the tests, so it is never worth more than a warning, and never worth waiting for.

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use xdist_coord::scheduler::{History, Took};

/// The form of the file, as its `user_version`. 0 is that of an empty file.
const VERSION: i32 = 1;

/// How long another run that is writing is waited for.
const PATIENCE: Duration = Duration::from_millis(200);

const SCHEMA: &str = "CREATE TABLE durations (
    node_id TEXT PRIMARY KEY,
    call_us INTEGER NOT NULL,
    fixtures_us INTEGER NOT NULL,
    seen_day INTEGER NOT NULL
) WITHOUT ROWID";

/// What is kept of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) took: Took,
    /// When it last ran, in days since the Unix epoch.
    pub(super) seen_day: u32,
}

/// All rows, by [`History::key`].
pub(super) type Rows = HashMap<u64, Row>;

/// What stays in the file when it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// Tests that have not run since this day are forgotten.
    pub(super) since_day: u32,
    /// Of more rows than this, those that have not run for longest are forgotten.
    pub(super) rows: u32,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("there is no such file")]
    Missing,
    #[error("it is in use")]
    Locked,
    /// Its contents are of no use, so it can as well be replaced.
    #[error("{0}")]
    Broken(String),
    /// The system does not let us.
    #[error("{0}")]
    Refused(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            // Among the unknown ones is "no such table".
            None | Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) => {
                Self::Broken(text)
            }
            Some(_) => Self::Refused(text),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Reads all rows.
pub(super) fn read(path: &Path) -> Result<Rows, StoreError> {
    match path.metadata() {
        Err(_) => return Err(StoreError::Missing),
        // A named pipe would be waited for.
        Ok(metadata) if !metadata.is_file() => return Err(StoreError::Broken("it is no file".to_owned())),
        Ok(_) => {}
    }
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match version(&connection)? {
        0 => return Ok(Rows::new()),
        VERSION => {}
        _ => return Err(StoreError::Broken("another version of xdist wrote it".to_owned())),
    }
    let mut statement =
        connection.prepare("SELECT node_id, call_us, fixtures_us, seen_day FROM durations")?;
    let mut found = statement.query([])?;
    let mut rows = Rows::new();
    while let Some(row) = found.next()? {
        let node_id = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        let took = Took { call_us: row.get(1)?, fixtures_us: row.get(2)? };
        rows.insert(History::key(node_id), Row { took, seen_day: row.get(3)? });
    }
    Ok(rows)
}

/// Writes these rows, in one transaction; others stay. A missing file is created.
pub(super) fn write(path: &Path, rows: &[(String, Row)], keep: Keep) -> Result<(), StoreError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    // What a power cut can break is built up again; waiting for the disk at the end of every run is the greater loss.
    connection.pragma_update(None, "synchronous", "OFF")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if version(&transaction)? != VERSION {
        transaction.execute(SCHEMA, [])?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    insert(&transaction, rows)?;
    forget(&transaction, keep)?;
    transaction.commit()?;
    Ok(())
}

/// Takes the file away, and what a run that was killed may have left beside it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    for path in [path.to_owned(), PathBuf::from(journal)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    Ok(connection)
}

fn version(connection: &Connection) -> Result<i32, StoreError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn insert(transaction: &Transaction<'_>, rows: &[(String, Row)]) -> Result<(), StoreError> {
    let mut statement = transaction.prepare("INSERT OR REPLACE INTO durations VALUES (?, ?, ?, ?)")?;
    for (node_id, Row { took, seen_day }) in rows {
        statement.execute(params![node_id, took.call_us, took.fixtures_us, seen_day])?;
    }
    Ok(())
}

fn forget(transaction: &Transaction<'_>, keep: Keep) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM durations WHERE seen_day < ?", [keep.since_day])?;
    let rows: u32 = transaction.query_row("SELECT count(*) FROM durations", [], |row| row.get(0))?;
    if rows > keep.rows {
        let oldest = "SELECT node_id FROM durations ORDER BY seen_day LIMIT ?";
        let delete = format!("DELETE FROM durations WHERE node_id IN ({oldest})");
        transaction.execute(&delete, [rows - keep.rows])?;
    }
    Ok(())
}
