//! The index in SQLite. Reads come from memory. A put returns after the write reached the kernel.
//! If the connection is free the caller writes directly. Otherwise a writer thread commits all
//! waiting puts in one transaction. The same thread checkpoints SQLite's log (WAL), so that no
//! caller waits for the disk.
//!
//! Every entry carries a checksum, which SQLite does not have. An entry with a wrong checksum is a
//! miss. A database that cannot be used is moved aside when it is opened ([`crate::index_damage`]).
//! A database that breaks later is not written to any more, and is moved aside at the next start.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rondel_digest::{Digest, Hasher};
use rondel_fault::{Attempt, Fault, Result, lock, read_lock, write_lock};
use rondel_ports::index::{Index, Table};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::index_damage::{is_damage, quarantine, suspect, suspected};

/// A table of the index, or an internal table of the store. The numbers are written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum IndexTable {
    Ops = 1,
    Calls = 2,
    Types = 3,
    Images = 4,
    Files = 5,
    Facts = 6,
    /// `diff_id` → layer.
    Diffs = 20,
    /// Layer and compression → blob.
    Packed = 21,
    /// Stack → the layer it was merged into.
    Flattened = 22,
    /// Cache volume → its name and uses.
    Volumes = 23,
    /// Blob → its size.
    Blobs = 24,
}

impl From<Table> for IndexTable {
    fn from(table: Table) -> Self {
        match table {
            Table::Ops => Self::Ops,
            Table::Calls => Self::Calls,
            Table::Types => Self::Types,
            Table::Images => Self::Images,
            Table::Files => Self::Files,
            Table::Facts => Self::Facts,
        }
    }
}

/// Values above this size stay on disk only.
const MAX_VALUE_IN_MEMORY: usize = 64 << 10;

#[derive(Clone)]
struct IndexEntry {
    /// `None` if the value is too large for memory and stays on disk.
    value: Option<Arc<[u8]>>,
    /// Milliseconds since the Unix epoch.
    until: Option<i64>,
    sum: i64,
}

type Mirror = RwLock<HashMap<(u8, Digest), IndexEntry>>;

struct PendingWrite {
    space: u8,
    key: Digest,
    /// `None` removes the entry.
    value: Option<Arc<[u8]>>,
    until: Option<i64>,
}

enum WriterRequest {
    Write(PendingWrite, SyncSender<Result<()>>),
    /// The log has become long.
    Checkpoint,
}

/// The persistent index.
pub(crate) struct SqliteIndex {
    shared: Arc<IndexShared>,
    reader: Mutex<Connection>,
    orders: Option<Mutex<Sender<WriterRequest>>>,
    thread: Option<JoinHandle<()>>,
    /// The warning about the open, if any.
    note: Option<String>,
}

struct IndexShared {
    path: PathBuf,
    mirror: Mirror,
    /// Why the database is not written to any more.
    broken: OnceLock<String>,
    connection: Mutex<Connection>,
    /// Transactions since the last checkpoint was ordered.
    transactions: AtomicUsize,
}

const SCHEMA: i64 = 2;

/// Why the database cannot be used.
enum OpenError {
    Damaged(String),
    Refused(rusqlite::Error),
}

struct OpenConnections {
    writer: Connection,
    reader: Connection,
    mover: Connection,
    mirror: Mirror,
}

/// The log is checkpointed after this many transactions: SQLite's own limit of 1,000 pages, with
/// about two pages for each.
const CHECKPOINT_AFTER: usize = 500;

impl SqliteIndex {
    /// Opens the index at `path`, and creates it if it is missing. A database that cannot be used
    /// is moved aside.
    ///
    /// # Errors
    /// When the disk or the system refuses.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let opened = match suspected(path) {
            Some(reason) => Err(OpenError::Damaged(reason)),
            None => Self::read(path),
        };
        let (opened, note) = match opened {
            Err(OpenError::Damaged(reason)) => {
                let aside = quarantine(path)?;
                let note = format!(
                    "the index of results could not be used ({reason}); it is now `{}`, and results are made again",
                    aside.display()
                );
                (Self::read(path), Some(note))
            }
            opened => (opened, None),
        };
        let OpenConnections { writer, reader, mover, mirror } = opened.map_err(|unusable| refused(path, unusable))?;
        let shared = Arc::new(IndexShared {
            path: path.to_owned(),
            mirror,
            broken: OnceLock::new(),
            connection: Mutex::new(writer),
            transactions: AtomicUsize::new(0),
        });
        let (send, receive) = channel();
        let held = shared.clone();
        let thread = std::thread::Builder::new().name("index".into());
        let thread = thread
            .spawn(move || work(&held, &mover, &receive))
            .attempt(|| "start the thread that writes the index".into())?;
        let orders = Some(Mutex::new(send));
        Ok(Self { shared, reader: Mutex::new(reader), orders, thread: Some(thread), note })
    }

    fn read(path: &Path) -> Result<OpenConnections, OpenError> {
        let unusable = |error| match is_damage(path, &error) {
            true => OpenError::Damaged(error.to_string()),
            false => OpenError::Refused(error),
        };
        let writer = Self::connect(path).map_err(unusable)?;
        let version = version(&writer).map_err(unusable)?;
        if !(0..=SCHEMA).contains(&version) {
            return Err(OpenError::Damaged(format!("it has the unknown version {version}")));
        }
        let (reader, mover) = (Self::connect(path).map_err(unusable)?, Self::connect(path).map_err(unusable)?);
        prepare(&writer, version).map_err(unusable)?;
        let mirror = load(&reader).map_err(unusable)?;
        Ok(OpenConnections { writer, reader, mover, mirror })
    }

    fn connect(path: &Path) -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        Ok(connection)
    }

    /// Warnings about the state of the index.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let broken = self.shared.broken.get().map(|reason| {
            format!("the index of results is damaged ({reason}); what is made now is made again after the next start")
        });
        self.note.iter().cloned().chain(broken).collect()
    }

    pub(crate) fn get_in(&self, space: IndexTable, key: &Digest) -> Option<Vec<u8>> {
        let entry = read_lock(&self.shared.mirror).get(&(space as u8, *key)).cloned()?;
        if entry.until.is_some_and(|until| until <= now()) {
            return None;
        }
        let value = match entry.value {
            Some(value) => value.to_vec(),
            None => self.read_large(space, key).ok().flatten()?,
        };
        (sum(space as u8, key, &value, entry.until) == entry.sum).then_some(value)
    }

    /// Removes the entries with a wrong checksum, and returns their keys.
    pub(crate) fn drop_damaged(&self) -> Vec<(u8, Digest)> {
        let all: Vec<((u8, Digest), IndexEntry)> = {
            let mirror = read_lock(&self.shared.mirror);
            mirror.iter().map(|(key, entry)| (*key, entry.clone())).collect()
        };
        let is_damaged = |(space, key): &(u8, Digest), entry: &IndexEntry| match &entry.value {
            Some(value) => sum(*space, key, value, entry.until) != entry.sum,
            None => match self.read_large_in(*space, key) {
                Ok(Some(value)) => sum(*space, key, &value, entry.until) != entry.sum,
                Ok(None) => false,
                Err(error) => is_damage(&self.shared.path, &error),
            },
        };
        let damaged: Vec<_> = all.into_iter().filter(|(key, entry)| is_damaged(key, entry)).collect();
        let mut removed = Vec::with_capacity(damaged.len());
        for (place, entry) in damaged {
            // ORDER: only if no other writer has replaced it since the check.
            let connection = lock(&self.shared.connection);
            let mut mirror = write_lock(&self.shared.mirror);
            if mirror.get(&place).is_none_or(|now| now.sum != entry.sum) {
                continue;
            }
            mirror.remove(&place);
            drop(mirror);
            removed.push(place);
            let (space, key) = place;
            match connection
                .execute("DELETE FROM entries WHERE space = ?1 AND key = ?2", params![space, key.as_bytes()])
            {
                Ok(1) => {}
                // The key itself is damaged: the entry is not at the place of its key.
                Ok(_) => self.shared.give_up("an entry is not in its place"),
                Err(error) if is_damage(&self.shared.path, &error) => self.shared.give_up(&error.to_string()),
                // The next check finds it again.
                Err(_) => {}
            }
        }
        removed
    }

    fn read_large(&self, space: IndexTable, key: &Digest) -> rusqlite::Result<Option<Vec<u8>>> {
        self.read_large_in(space as u8, key)
    }

    fn read_large_in(&self, space: u8, key: &Digest) -> rusqlite::Result<Option<Vec<u8>>> {
        let reader = lock(&self.reader);
        let mut query = reader.prepare_cached("SELECT value FROM entries WHERE space = ?1 AND key = ?2")?;
        query.query_row(params![space, key.as_bytes()], |row| row.get(0)).optional()
    }

    pub(crate) fn put_in(
        &self,
        space: IndexTable,
        key: &Digest,
        value: &[u8],
        expires_in: Option<Duration>,
    ) -> Result<()> {
        let lifetime = expires_in.map(|lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX));
        self.write(space, key, Some(value.into()), lifetime.map(|lifetime| now().saturating_add(lifetime)))
    }

    pub(crate) fn remove_in(&self, space: IndexTable, key: &Digest) -> Result<()> {
        if read_lock(&self.shared.mirror).contains_key(&(space as u8, *key)) {
            return self.write(space, key, None, None);
        }
        Ok(())
    }

    fn write(&self, space: IndexTable, key: &Digest, value: Option<Arc<[u8]>>, until: Option<i64>) -> Result<()> {
        let write = PendingWrite { space: space as u8, key: *key, value, until };
        if let Ok(mut connection) = self.shared.connection.try_lock() {
            let written = self.shared.commit(&mut connection, std::slice::from_ref(&write));
            drop(connection);
            if self.shared.transactions.load(Ordering::Relaxed) >= CHECKPOINT_AFTER {
                self.shared.transactions.store(0, Ordering::Relaxed);
                self.order(WriterRequest::Checkpoint)?;
            }
            return written;
        }
        let (done, wait) = sync_channel(1);
        self.order(WriterRequest::Write(write, done))?;
        wait.recv().map_err(|_| gone())?
    }

    fn order(&self, order: WriterRequest) -> Result<()> {
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        lock(orders).send(order).map_err(|_| gone())
    }

    pub(crate) fn each_in(&self, space: IndexTable, visit: &mut dyn FnMut(Digest, &[u8])) -> Result<()> {
        let time = now();
        let mut keys: Vec<Digest> = {
            let mirror = read_lock(&self.shared.mirror);
            let live = mirror
                .iter()
                .filter(|((found, _), entry)| *found == space as u8 && entry.until.is_none_or(|until| until > time));
            live.map(|((_, key), _)| *key).collect()
        };
        keys.sort_unstable();
        for key in keys {
            if let Some(value) = self.get_in(space, &key) {
                visit(key, &value);
            }
        }
        Ok(())
    }

    /// The number of live entries of `space`.
    pub(crate) fn count(&self, space: IndexTable) -> u64 {
        let mirror = read_lock(&self.shared.mirror);
        mirror.keys().filter(|(found, _)| *found == space as u8).count() as u64
    }

    /// Truncates the log, if that is possible now.
    pub(crate) fn shrink(&self) {
        let connection = lock(&self.shared.connection);
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    /// Runs SQLite's own check. A damaged database is not written to any more, and is moved aside
    /// at the next start.
    pub(crate) fn check(&self) -> Result<Vec<String>> {
        let reader = lock(&self.reader);
        let problems = match quick_check(&reader) {
            Err(error) if is_damage(&self.shared.path, &error) => vec![error.to_string()],
            other => other.attempt(|| "check the index".to_owned())?,
        };
        if let Some(first) = problems.first() {
            self.shared.give_up(first);
        }
        Ok(problems.into_iter().map(|problem| format!("the index: {problem}")).collect())
    }
}

impl Drop for SqliteIndex {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Index for SqliteIndex {
    fn get(&self, table: Table, key: &Digest) -> Option<Vec<u8>> {
        self.get_in(table.into(), key)
    }

    fn put(&self, table: Table, key: &Digest, value: &[u8], expires_in: Option<Duration>) -> Result<()> {
        self.put_in(table.into(), key, value, expires_in)
    }

    fn remove(&self, table: Table, key: &Digest) -> Result<()> {
        self.remove_in(table.into(), key)
    }

    fn each(&self, table: Table, visit: &mut dyn FnMut(Digest, &[u8])) -> Result<()> {
        self.each_in(table.into(), visit)
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes the file one of the present version, and takes out what has expired.
fn prepare(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    if version < SCHEMA {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        match version {
            0 => connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS entries (
                     space INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, until INTEGER,
                     sum INTEGER NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID;",
            )?,
            _ => add_sums(connection)?,
        }
        connection.execute_batch(&format!("PRAGMA user_version = {SCHEMA}; COMMIT;"))?;
    }
    connection.execute("DELETE FROM entries WHERE until <= ?1", params![now()])?;
    Ok(())
}

/// From version 1, whose entries have no checksums.
fn add_sums(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("ALTER TABLE entries ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;")?;
    let mut query = connection.prepare("SELECT space, key, value, until FROM entries")?;
    let sums = query.query_map([], |row| {
        let (space, key) = (row.get::<_, u8>(0)?, Digest::from_bytes(row.get::<_, [u8; 32]>(1)?));
        Ok((space, key, sum(space, &key, row.get_ref(2)?.as_blob()?, row.get(3)?)))
    })?;
    let sums = sums.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut update = connection.prepare("UPDATE entries SET sum = ?3 WHERE space = ?1 AND key = ?2")?;
    sums.iter().try_for_each(|(space, key, sum)| update.execute(params![space, key.as_bytes(), sum]).map(drop))
}

/// What an entry must still be when it is read.
fn sum(space: u8, key: &Digest, value: &[u8], until: Option<i64>) -> i64 {
    let mut hasher = Hasher::new("store/entry/v1");
    let digest = hasher.value(&(space, until)).bytes(key.as_bytes()).bytes(value).finish();
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Rows that cannot be entries are left out.
fn load(reader: &Connection) -> rusqlite::Result<Mirror> {
    let mut query =
        reader.prepare("SELECT space, key, CASE WHEN length(value) <= ?1 THEN value END, until, sum FROM entries")?;
    let mut rows = query.query(params![MAX_VALUE_IN_MEMORY as i64])?;
    let mut entries = HashMap::new();
    while let Some(row) = rows.next()? {
        entries.extend(entry(row).ok());
    }
    Ok(RwLock::new(entries))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<((u8, Digest), IndexEntry)> {
    let value: Option<Vec<u8>> = row.get(2)?;
    let entry = IndexEntry { value: value.map(Into::into), until: row.get(3)?, sum: row.get(4)? };
    Ok(((row.get::<_, u8>(0)?, Digest::from_bytes(row.get::<_, [u8; 32]>(1)?)), entry))
}

fn quick_check(reader: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query = reader.prepare("PRAGMA quick_check")?;
    let lines = query.query_map([], |row| row.get::<_, String>(0))?;
    let lines: Vec<String> = lines.collect::<rusqlite::Result<_>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

fn gone() -> Fault {
    Fault::bug("the thread that writes the index is gone")
}

/// The writer thread: handles requests until the index is dropped.
fn work(shared: &IndexShared, mover: &Connection, orders: &Receiver<WriterRequest>) {
    const BATCH: usize = 512;
    while let Ok(first) = orders.recv() {
        let (mut batch, mut waiting, mut checkpoint) = (Vec::new(), Vec::new(), false);
        for order in std::iter::once(first).chain(orders.try_iter().take(BATCH - 1)) {
            match order {
                WriterRequest::Write(write, done) => {
                    batch.push(write);
                    waiting.push(done);
                }
                WriterRequest::Checkpoint => checkpoint = true,
            }
        }
        if !batch.is_empty() {
            let mut connection = lock(&shared.connection);
            let result = shared.commit(&mut connection, &batch);
            drop(connection);
            for done in waiting {
                let told = result.as_ref().map_or_else(|fault| Err(Fault::environment(fault.to_string())), |()| Ok(()));
                let _ = done.send(told);
            }
        }
        checkpoint |= shared.transactions.load(Ordering::Relaxed) >= CHECKPOINT_AFTER;
        if checkpoint {
            shared.transactions.store(0, Ordering::Relaxed);
            // What cannot be checkpointed now is checkpointed the next time, or when the database
            // is closed.
            let advance = || drop(mover.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
            advance();
            // ORDER: the small rest is checkpointed while no writer is active: SQLite restarts the
            // log only after all of it was checkpointed.
            let _no_writer = lock(&shared.connection);
            advance();
        }
    }
}

impl IndexShared {
    /// Writes all of `batch` or nothing. Once the file is broken, what is written is known until
    /// the engine ends.
    fn commit(&self, connection: &mut Connection, batch: &[PendingWrite]) -> Result<()> {
        if self.broken.get().is_none() {
            match write_batch(connection, batch) {
                Ok(()) => _ = self.transactions.fetch_add(1, Ordering::Relaxed),
                Err(error) if is_damage(&self.path, &error) => self.give_up(&error.to_string()),
                Err(error) => return Err(Fault::environment(format!("cannot write the index: {error}"))),
            }
        }
        update(&self.mirror, batch, self.broken.get().is_some());
        Ok(())
    }

    /// Writes nothing any more, for that `reason`.
    fn give_up(&self, reason: &str) {
        suspect(&self.path, reason);
        let _ = self.broken.set(reason.to_owned());
    }
}

fn write_batch(connection: &mut Connection, batch: &[PendingWrite]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    batch.iter().try_for_each(|write| write_one(&transaction, write))?;
    transaction.commit()
}

fn write_one(transaction: &Transaction<'_>, write: &PendingWrite) -> rusqlite::Result<()> {
    let (space, key) = (write.space, write.key.as_bytes());
    match &write.value {
        Some(value) => transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO entries (space, key, value, until, sum) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![space, key, &value[..], write.until, sum(space, &write.key, value, write.until)])?,
        None => transaction
            .prepare_cached("DELETE FROM entries WHERE space = ?1 AND key = ?2")?
            .execute(params![space, key])?,
    };
    Ok(())
}

/// `all`: large values are nowhere else.
fn update(mirror: &Mirror, batch: &[PendingWrite], all: bool) {
    let mut mirror = write_lock(mirror);
    for write in batch {
        let key = (write.space, write.key);
        match &write.value {
            Some(value) => {
                let sum = sum(write.space, &write.key, value, write.until);
                let value = (all || value.len() <= MAX_VALUE_IN_MEMORY).then(|| value.clone());
                mirror.insert(key, IndexEntry { value, until: write.until, sum });
            }
            None => {
                mirror.remove(&key);
            }
        }
    }
}

fn refused(path: &Path, unusable: OpenError) -> Fault {
    let fault = Fault::environment(format!("cannot open the index `{}`", path.display()));
    match unusable {
        OpenError::Damaged(reason) => fault.context(reason),
        OpenError::Refused(error) => fault.caused_by(error),
    }
    .with_hint("remove the file to start with an empty index")
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
