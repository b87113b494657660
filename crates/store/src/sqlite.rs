//! The index in SQLite. Reads come from memory; one thread writes, in batches; a write has reached the operating system
//! before its caller goes on.

use std::collections::HashMap;
use std::path::Path;
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
    done: SyncSender<Result<()>>,
}

/// The persistent index.
pub(crate) struct SqliteIndex {
    mirror: Arc<Mirror>,
    reader: Mutex<Connection>,
    writes: Option<Mutex<Sender<Write>>>,
    writer: Option<JoinHandle<()>>,
}

const SCHEMA: i64 = 1;

impl SqliteIndex {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let opened = Self::connect(path, true).and_then(|writer| Ok((writer, Self::connect(path, false)?)));
        let (writer, reader) = opened.map_err(|e| damaged(path, e))?;
        let version: i64 =
            writer.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|e| damaged(path, e))?;
        if version != SCHEMA {
            return Err(Fault::environment(format!(
                "the index `{}` has the unknown version {version}",
                path.display()
            ))
            .with_hint("Remove the file to start with an empty index"));
        }
        let mirror = Arc::new(load(&reader).map_err(|e| damaged(path, e))?);
        let (send, receive) = channel();
        let shared = mirror.clone();
        let thread = std::thread::Builder::new().name("index".into());
        let writer = thread
            .spawn(move || write_all(writer, &receive, &shared))
            .attempt(|| "start the thread that writes the index".into())?;
        Ok(Self { mirror, reader: Mutex::new(reader), writes: Some(Mutex::new(send)), writer: Some(writer) })
    }

    fn connect(path: &Path, prepare: bool) -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
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
        let entry = self.mirror.read().unwrap_or_else(PoisonError::into_inner).get(&(space as u8, *key)).cloned()?;
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
        if self.mirror.read().unwrap_or_else(PoisonError::into_inner).contains_key(&(space as u8, *key)) {
            return self.write(space, key, None, None);
        }
        Ok(())
    }

    fn write(&self, space: Space, key: &Digest, value: Option<Arc<[u8]>>, until: Option<i64>) -> Result<()> {
        let gone = || Fault::bug("the thread that writes the index is gone");
        let (done, wait) = sync_channel(1);
        let writes = self.writes.as_ref().ok_or_else(gone)?;
        let write = Write { space, key: *key, value, until, done };
        writes.lock().unwrap_or_else(PoisonError::into_inner).send(write).map_err(|_| gone())?;
        wait.recv().map_err(|_| gone())?
    }

    pub(crate) fn each_in(&self, space: Space, visit: &mut dyn FnMut(Digest, &[u8])) -> Result<()> {
        let time = now();
        let mut keys: Vec<Digest> = {
            let mirror = self.mirror.read().unwrap_or_else(PoisonError::into_inner);
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
        let mirror = self.mirror.read().unwrap_or_else(PoisonError::into_inner);
        mirror.keys().filter(|(found, _)| *found == space as u8).count() as u64
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
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
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

fn write_all(mut connection: Connection, writes: &Receiver<Write>, mirror: &Mirror) {
    const BATCH: usize = 512;
    while let Ok(first) = writes.recv() {
        let mut batch = vec![first];
        batch.extend(writes.try_iter().take(BATCH - 1));
        let result = write_batch(&mut connection, &batch);
        if result.is_ok() {
            update(mirror, &batch);
        }
        for write in batch {
            let told = match &result {
                Ok(()) => Ok(()),
                Err(e) => Err(Fault::environment(format!("cannot write the index: {e}"))),
            };
            let _ = write.done.send(told);
        }
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
