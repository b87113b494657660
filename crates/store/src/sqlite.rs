//! The index in SQLite. Reads come from memory. A write has reached the operating system before its caller goes on, who does
//! it himself when nobody else is writing; otherwise a thread does, together with what else waits. The same thread moves what
//! was written from SQLite's log to its tables, so that no caller waits for the disk.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rondel_digest::Digest;
use rondel_fault::{Attempt, Fault, Result};
use rondel_ports::index::{Index, Table};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// A table of the index, or one that the store keeps for itself. The numbers are what is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Space {
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
}

impl From<Table> for Space {
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
const IN_MEMORY: usize = 64 << 10;

#[derive(Clone)]
struct Entry {
    /// None: too large for memory.
    value: Option<Arc<[u8]>>,
    /// Milliseconds since the Unix epoch.
    until: Option<i64>,
}

type Mirror = RwLock<HashMap<(u8, Digest), Entry>>;

struct Write {
    space: Space,
    key: Digest,
    /// None removes.
    value: Option<Arc<[u8]>>,
    until: Option<i64>,
}

enum Order {
    Write(Write, SyncSender<Result<()>>),
    /// The log has become long.
    Checkpoint,
}

/// The persistent index.
pub(crate) struct SqliteIndex {
    shared: Arc<Shared>,
    reader: Mutex<Connection>,
    orders: Option<Mutex<Sender<Order>>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    mirror: Mirror,
    connection: Mutex<Connection>,
    /// Transactions since the last checkpoint was ordered.
    transactions: AtomicUsize,
}

const SCHEMA: i64 = 1;

/// After so many transactions the log is moved to the tables: SQLite's own bound of 1,000 pages, with about two for each.
const CHECKPOINT: usize = 500;

impl SqliteIndex {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let opened = Self::connect(path, true)
            .and_then(|writer| Ok((writer, Self::connect(path, false)?, Self::connect(path, false)?)));
        let (writer, reader, mover) = opened.map_err(|e| damaged(path, e))?;
        let version: i64 =
            writer.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|e| damaged(path, e))?;
        if version != SCHEMA {
            return Err(Fault::environment(format!(
                "the index `{}` has the unknown version {version}",
                path.display()
            ))
            .with_hint("Remove the file to start with an empty index"));
        }
        let mirror = load(&reader).map_err(|e| damaged(path, e))?;
        let shared = Arc::new(Shared { mirror, connection: Mutex::new(writer), transactions: AtomicUsize::new(0) });
        let (send, receive) = channel();
        let held = shared.clone();
        let thread = std::thread::Builder::new().name("index".into());
        let thread = thread
            .spawn(move || work(&held, &mover, &receive))
            .attempt(|| "start the thread that writes the index".into())?;
        Ok(Self { shared, reader: Mutex::new(reader), orders: Some(Mutex::new(send)), thread: Some(thread) })
    }

    fn connect(path: &Path, prepare: bool) -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        if prepare {
            let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            if version == 0 {
                connection.execute_batch(&format!(
                    "BEGIN IMMEDIATE;
                     CREATE TABLE IF NOT EXISTS entries (
                         space INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, until INTEGER,
                         PRIMARY KEY (space, key)) WITHOUT ROWID;
                     PRAGMA user_version = {SCHEMA};
                     COMMIT;"
                ))?;
            }
            connection.execute("DELETE FROM entries WHERE until <= ?1", params![now()])?;
        }
        Ok(connection)
    }

    pub(crate) fn get_in(&self, space: Space, key: &Digest) -> Option<Vec<u8>> {
        let entry =
            self.shared.mirror.read().unwrap_or_else(PoisonError::into_inner).get(&(space as u8, *key)).cloned()?;
        if entry.until.is_some_and(|until| until <= now()) {
            return None;
        }
        match entry.value {
            Some(value) => Some(value.to_vec()),
            None => self.read_large(space, key).ok().flatten(),
        }
    }

    fn read_large(&self, space: Space, key: &Digest) -> rusqlite::Result<Option<Vec<u8>>> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = reader.prepare_cached("SELECT value FROM entries WHERE space = ?1 AND key = ?2")?;
        query.query_row(params![space as u8, key.as_bytes()], |row| row.get(0)).optional()
    }

    pub(crate) fn put_in(&self, space: Space, key: &Digest, value: &[u8], expires_in: Option<Duration>) -> Result<()> {
        let lifetime = expires_in.map(|lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX));
        self.write(space, key, Some(value.into()), lifetime.map(|lifetime| now().saturating_add(lifetime)))
    }

    pub(crate) fn remove_in(&self, space: Space, key: &Digest) -> Result<()> {
        if self.shared.mirror.read().unwrap_or_else(PoisonError::into_inner).contains_key(&(space as u8, *key)) {
            return self.write(space, key, None, None);
        }
        Ok(())
    }

    fn write(&self, space: Space, key: &Digest, value: Option<Arc<[u8]>>, until: Option<i64>) -> Result<()> {
        let write = Write { space, key: *key, value, until };
        if let Ok(mut connection) = self.shared.connection.try_lock() {
            let written = self.shared.commit(&mut connection, std::slice::from_ref(&write));
            drop(connection);
            if self.shared.transactions.load(Ordering::Relaxed) >= CHECKPOINT {
                self.shared.transactions.store(0, Ordering::Relaxed);
                self.order(Order::Checkpoint)?;
            }
            return written;
        }
        let (done, wait) = sync_channel(1);
        self.order(Order::Write(write, done))?;
        wait.recv().map_err(|_| gone())?
    }

    fn order(&self, order: Order) -> Result<()> {
        let orders = self.orders.as_ref().ok_or_else(gone)?;
        orders.lock().unwrap_or_else(PoisonError::into_inner).send(order).map_err(|_| gone())
    }

    pub(crate) fn each_in(&self, space: Space, visit: &mut dyn FnMut(Digest, &[u8])) -> Result<()> {
        let time = now();
        let mut keys: Vec<Digest> = {
            let mirror = self.shared.mirror.read().unwrap_or_else(PoisonError::into_inner);
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

    /// How many live entries `space` has.
    pub(crate) fn count(&self, space: Space) -> u64 {
        let mirror = self.shared.mirror.read().unwrap_or_else(PoisonError::into_inner);
        mirror.keys().filter(|(found, _)| *found == space as u8).count() as u64
    }

    /// Gives the space of the log back to the disk; soon, and not when that is not possible now.
    pub(crate) fn shrink(&self) {
        let connection = self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }

    /// Lets SQLite check its own file.
    pub(crate) fn check(&self) -> Result<Vec<String>> {
        let failed = || "check the index".to_owned();
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut query = reader.prepare("PRAGMA quick_check").attempt(failed)?;
        let lines = query.query_map([], |row| row.get::<_, String>(0)).attempt(failed)?;
        let lines: Vec<String> = lines.collect::<rusqlite::Result<_>>().attempt(failed)?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
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

fn load(reader: &Connection) -> rusqlite::Result<Mirror> {
    let mut query =
        reader.prepare("SELECT space, key, CASE WHEN length(value) <= ?1 THEN value END, until FROM entries")?;
    let rows = query.query_map(params![IN_MEMORY as i64], |row| {
        let value: Option<Vec<u8>> = row.get(2)?;
        let entry = Entry { value: value.map(Into::into), until: row.get(3)? };
        Ok(((row.get::<_, u8>(0)?, Digest::from_bytes(row.get::<_, [u8; 32]>(1)?)), entry))
    })?;
    Ok(RwLock::new(rows.collect::<rusqlite::Result<_>>()?))
}

fn gone() -> Fault {
    Fault::bug("the thread that writes the index is gone")
}

/// Does what is ordered until nobody can order any more.
fn work(shared: &Shared, mover: &Connection, orders: &Receiver<Order>) {
    const BATCH: usize = 512;
    while let Ok(first) = orders.recv() {
        let (mut batch, mut waiting, mut checkpoint) = (Vec::new(), Vec::new(), false);
        for order in std::iter::once(first).chain(orders.try_iter().take(BATCH - 1)) {
            match order {
                Order::Write(write, done) => {
                    batch.push(write);
                    waiting.push(done);
                }
                Order::Checkpoint => checkpoint = true,
            }
        }
        if !batch.is_empty() {
            let mut connection = shared.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let result = shared.commit(&mut connection, &batch);
            drop(connection);
            for done in waiting {
                let told = result.as_ref().map_or_else(|fault| Err(Fault::environment(fault.to_string())), |()| Ok(()));
                let _ = done.send(told);
            }
        }
        checkpoint |= shared.transactions.load(Ordering::Relaxed) >= CHECKPOINT;
        if checkpoint {
            shared.transactions.store(0, Ordering::Relaxed);
            // What cannot be moved now is moved the next time, or when the file is closed.
            let advance = || drop(mover.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())));
            advance();
            // ORDER: the rest, of which there is little, while nobody writes: SQLite begins the log anew only when all of it was
            // moved.
            let _nobody_writes = shared.connection.lock().unwrap_or_else(PoisonError::into_inner);
            advance();
        }
    }
}

impl Shared {
    /// Writes all of `batch` or nothing.
    fn commit(&self, connection: &mut Connection, batch: &[Write]) -> Result<()> {
        write_batch(connection, batch).map_err(|e| Fault::environment(format!("cannot write the index: {e}")))?;
        update(&self.mirror, batch);
        self.transactions.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn write_batch(connection: &mut Connection, batch: &[Write]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    batch.iter().try_for_each(|write| write_one(&transaction, write))?;
    transaction.commit()
}

fn write_one(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    let (space, key) = (write.space as u8, write.key.as_bytes());
    match &write.value {
        Some(value) => transaction
            .prepare_cached("INSERT OR REPLACE INTO entries (space, key, value, until) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![space, key, &value[..], write.until])?,
        None => transaction
            .prepare_cached("DELETE FROM entries WHERE space = ?1 AND key = ?2")?
            .execute(params![space, key])?,
    };
    Ok(())
}

fn update(mirror: &Mirror, batch: &[Write]) {
    let mut mirror = mirror.write().unwrap_or_else(PoisonError::into_inner);
    for write in batch {
        let key = (write.space as u8, write.key);
        match &write.value {
            Some(value) => {
                let value = (value.len() <= IN_MEMORY).then(|| value.clone());
                mirror.insert(key, Entry { value, until: write.until });
            }
            None => {
                mirror.remove(&key);
            }
        }
    }
}

fn damaged(path: &Path, error: rusqlite::Error) -> Fault {
    Fault::environment(format!("cannot open the index `{}`", path.display()))
        .caused_by(error)
        .with_hint("Remove the file to start with an empty index")
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
