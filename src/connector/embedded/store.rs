//! The SQLite file: its tables, its connections, and the small queries that everything else is made of.
//!
//! | table | one row is |
//! |---|---|
//! | topics | a topic: name, partitions, the slot of its partition 0, settings as JSON |
//! | partitions | a partition, by *slot*, a number that is never used twice: what it holds, how much of it is compacted |
//! | batches | some records that follow each other; `id` = slot and base offset in one number, so that a range of ids is a range of offsets |
//! | blobs, pieces | a batch too large for one transaction, in pieces; `pending` since when, while no batch points to it |
//! | positions, groups | committed positions; the number of the newest writer of a group |
//! | garbage, meta | slots of deleted topics; numbers |
//!
//! Reads are short and bounded: an open read keeps the write-ahead log from being taken over into the file. Writes begin with
//! `BEGIN IMMEDIATE` and try again every 20 to 300 us while another process writes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::config::Policy;
use super::error::EmbeddedError;
use crate::connector::{Partition, TopicError};

/// A result of this module.
pub(super) type Result<T, E = EmbeddedError> = std::result::Result<T, E>;

/// The layout of the tables; a file with another one is refused.
const SCHEMA_VERSION: i64 = 1;
/// "vati", so that other programs' databases are recognised.
const APPLICATION: i64 = 0x7661_7469;

const SCHEMA: &str = "
CREATE TABLE topics (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
    first_slot INTEGER NOT NULL, config TEXT NOT NULL) STRICT;
CREATE TABLE partitions (slot INTEGER PRIMARY KEY, topic INTEGER NOT NULL, earliest INTEGER NOT NULL, next INTEGER NOT NULL,
    bytes INTEGER NOT NULL, newest INTEGER NOT NULL, clean INTEGER NOT NULL, clean_bytes INTEGER NOT NULL) STRICT;
CREATE TABLE batches (id INTEGER PRIMARY KEY, next INTEGER NOT NULL, newest INTEGER NOT NULL, newest_so_far INTEGER NOT NULL,
    size INTEGER NOT NULL, blob INTEGER, data BLOB) STRICT;
CREATE TABLE blobs (id INTEGER PRIMARY KEY AUTOINCREMENT, pending INTEGER) STRICT;
CREATE TABLE pieces (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE groups (name TEXT PRIMARY KEY, writer INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE positions (id INTEGER PRIMARY KEY, of_group TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    position INTEGER NOT NULL, metadata TEXT NOT NULL, UNIQUE (of_group, topic, partition)) STRICT;
CREATE TABLE garbage (slot INTEGER PRIMARY KEY) STRICT;
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('next_slot', 1), ('swept', 0);
";

/// How a broker's file is kept. The defaults are right for use; the rest is for measurements and tests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether a commit is on the disk when it is acknowledged (`synchronous = FULL`). Without it, a crash of the *machine*
    /// can take the last commits away; a crash of the process cannot.
    pub durable: bool,
    /// How often the whole file is looked through for records that retention or compaction lets go: Kafka's 5 minutes.
    pub sweep_every: Duration,
    /// How long a write tries while another process holds the file.
    pub patience: Duration,
    /// The largest size of the file in pages of 8 KiB; stands for a full disk.
    pub max_pages: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { durable: true, sweep_every: Duration::from_secs(300), patience: Duration::from_secs(30), max_pages: None }
    }
}

/// What a batch's id is made of: 19 bits of slot, 44 bits of offset (a hundred days at 2 million records per second).
pub(super) const OFFSET_BITS: u32 = 44;
/// Offsets end here.
pub(super) const MAX_OFFSET: i64 = (1 << OFFSET_BITS) - 1;
const MAX_SLOT: i64 = (1 << (63 - OFFSET_BITS)) - 1;
/// What a piece's id is made of: its blob, and 20 bits of its number in the blob.
pub(super) const PIECE_BITS: u32 = 20;

/// How long a checkpoint waits for readers; it is tried again later.
const HURRY: Duration = Duration::from_millis(50);

/// A batch's id; offsets out of range are taken to the nearest there can be.
pub(super) fn batch_id(slot: i64, offset: i64) -> i64 {
    (slot << OFFSET_BITS) | offset.clamp(0, MAX_OFFSET)
}
/// A batch's base offset.
pub(super) fn base_of(id: i64) -> i64 {
    id & MAX_OFFSET
}

/// A topic as its row says.
#[derive(Debug, Clone)]
pub(super) struct TopicRow {
    pub name: Arc<str>,
    pub partitions: i32,
    /// Partition p has slot `first_slot + p`.
    pub first_slot: i64,
    pub config: BTreeMap<String, String>,
    pub policy: Policy,
}

impl TopicRow {
    /// The slot of `partition`, if there is one of that number.
    pub(super) fn slot(&self, partition: Partition) -> Option<i64> {
        (0..self.partitions).contains(&partition).then(|| self.first_slot + i64::from(partition))
    }
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let config: BTreeMap<String, String> = serde_json::from_str(row.get_ref(3)?.as_str()?).unwrap_or_default();
        Ok(Self {
            name: row.get::<_, String>(0)?.into(),
            partitions: row.get(1)?,
            first_slot: row.get(2)?,
            policy: Policy::of(&config),
            config,
        })
    }
}

/// What a partition holds: offsets `earliest..next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionRow {
    pub slot: i64,
    pub earliest: i64,
    pub next: i64,
    /// Of all batches together.
    pub bytes: i64,
    /// The latest timestamp that was ever written.
    pub newest: i64,
    /// Compaction has been up to here,
    pub clean: i64,
    /// and so many bytes were left below it.
    pub clean_bytes: i64,
}

impl PartitionRow {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            slot: row.get(0)?,
            earliest: row.get(1)?,
            next: row.get(2)?,
            bytes: row.get(3)?,
            newest: row.get(4)?,
            clean: row.get(5)?,
            clean_bytes: row.get(6)?,
        })
    }
}

const PARTITION: &str = "SELECT slot, earliest, next, bytes, newest, clean, clean_bytes FROM partitions ";
const TOPIC: &str = "SELECT name, partitions, first_slot, config FROM topics ";

/// A connection to the file, for one thread at a time.
pub(super) struct Db {
    conn: Connection,
    file: Arc<Path>,
    patience: Duration,
    /// Give up after [`HURRY`] instead.
    hurry: Arc<AtomicBool>,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Db({})", self.file.display())
    }
}

impl Db {
    /// Opens the file, which is made if it is missing.
    pub(super) fn open(file: &Arc<Path>, settings: &Settings) -> Result<Self> {
        let wrap = |e| EmbeddedError::sqlite(file, settings.patience, e);
        let mut conn = Connection::open(file).map_err(wrap)?;
        let hurry = Arc::new(AtomicBool::new(false));
        conn.busy_handler(Some(patient(settings.patience, Arc::clone(&hurry)))).map_err(wrap)?;
        conn.set_prepared_statement_cache_capacity(64);
        let db = Self { conn, file: Arc::clone(file), patience: settings.patience, hurry };
        db.batch("PRAGMA page_size = 8192; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0")?;
        db.batch(if settings.durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })?;
        if let Some(pages) = settings.max_pages {
            db.batch(&format!("PRAGMA max_page_count = {pages}"))?;
        }
        if (db.pragma("user_version")?, db.pragma("application_id")?) != (SCHEMA_VERSION, APPLICATION) {
            db.make_tables()?;
        }
        Ok(db)
    }

    fn make_tables(&self) -> Result<()> {
        let not_ours = || EmbeddedError::NotABroker { file: self.file.display().to_string() };
        let tables = || self.one("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0));
        if self.pragma("application_id")? != APPLICATION && tables()? > 0 {
            return Err(not_ours());
        }
        // Changing the journal's mode needs the file for a moment alone and does not ask the busy handler.
        let begun = Instant::now();
        loop {
            match self.conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
                Ok(mode) if mode == "wal" => break,
                Ok(_) => return Err(EmbeddedError::ReadOnly { file: self.file.display().to_string() }),
                Err(e) => match self.wrap(e) {
                    EmbeddedError::Busy { .. } if begun.elapsed() < self.patience => {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    other => return Err(other),
                },
            }
        }
        self.write(|db| {
            match (db.pragma("user_version")?, db.pragma("application_id")?) {
                (SCHEMA_VERSION, APPLICATION) => return Ok(()), // another process was faster
                (0, 0) if tables()? == 0 => {}
                (found, APPLICATION) => {
                    let file = db.file.display().to_string();
                    return Err(EmbeddedError::Newer { file, found, known: SCHEMA_VERSION });
                }
                _ => return Err(not_ours()),
            }
            db.batch(SCHEMA)?;
            db.batch(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA_VERSION}"))
        })
    }

    /// What SQLite says, with the file's name.
    pub(super) fn wrap(&self, error: rusqlite::Error) -> EmbeddedError {
        EmbeddedError::sqlite(&self.file, self.patience, error)
    }
    /// Damage that our own checks found.
    pub(super) fn damaged(&self, reason: &str) -> EmbeddedError {
        let file = self.file.display().to_string();
        EmbeddedError::Damaged { file, place: String::new(), topic: None, reason: reason.to_owned() }
    }

    /// Statements without results.
    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        self.conn.execute_batch(sql).map_err(|e| self.wrap(e))
    }
    /// A number that SQLite keeps.
    pub(super) fn pragma(&self, name: &str) -> Result<i64> {
        self.one(&format!("PRAGMA {name}"), [], |row| row.get(0))
    }
    /// Runs a statement; how many rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> Result<usize> {
        let mut statement = self.conn.prepare_cached(sql).map_err(|e| self.wrap(e))?;
        statement.execute(params).map_err(|e| self.wrap(e))
    }
    /// The only row.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        get: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut statement = self.conn.prepare_cached(sql).map_err(|e| self.wrap(e))?;
        statement.query_row(params, get).map_err(|e| self.wrap(e))
    }
    /// The first row, if there is one.
    pub(super) fn maybe<T>(
        &self,
        sql: &str,
        params: impl Params,
        get: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.conn.prepare_cached(sql).map_err(|e| self.wrap(e))?;
        statement.query_row(params, get).optional().map_err(|e| self.wrap(e))
    }
    /// All rows.
    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        get: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.conn.prepare_cached(sql).map_err(|e| self.wrap(e))?;
        let rows = statement.query_map(params, get).map_err(|e| self.wrap(e))?;
        rows.collect::<rusqlite::Result<_>>().map_err(|e| self.wrap(e))
    }
    /// Looks at rows one after the other, until `look` returns false.
    pub(super) fn each(&self, sql: &str, params: impl Params, mut look: impl FnMut(&Row<'_>) -> Result<bool>) -> Result<()> {
        let mut statement = self.conn.prepare_cached(sql).map_err(|e| self.wrap(e))?;
        let mut rows = statement.query(params).map_err(|e| self.wrap(e))?;
        while let Some(row) = rows.next().map_err(|e| self.wrap(e))? {
            if !look(row)? {
                break;
            }
        }
        Ok(())
    }

    /// Several reads that see the same state of the file. Keep them short.
    pub(super) fn read<T>(&self, reads: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.within("BEGIN", reads)
    }
    /// A transaction: all of it, or after an error nothing.
    pub(super) fn write<T>(&self, writes: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.within("BEGIN IMMEDIATE", writes)
    }
    fn within<T>(&self, begin: &str, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        self.run(begin, [])?;
        let done = work(self).and_then(|value| self.run("COMMIT", []).map(|_| value));
        // After some errors (a full disk) SQLite has rolled back by itself.
        if done.is_err() && !self.conn.is_autocommit() {
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        done
    }

    /// The topic called `name`.
    pub(super) fn topic(&self, name: &str) -> Result<Option<TopicRow>> {
        self.maybe(&format!("{TOPIC} WHERE name = ?1"), [name], TopicRow::of)
    }
    /// The topic called `name`, or an error with those there are.
    pub(super) fn need_topic(&self, name: &str) -> Result<TopicRow> {
        match self.topic(name)? {
            Some(topic) => Ok(topic),
            None => {
                let known = self.all("SELECT name FROM topics ORDER BY name", [], |row| row.get(0))?;
                Err(TopicError::NoTopic { topic: name.to_owned(), known }.into())
            }
        }
    }
    /// All topics, by name.
    pub(super) fn topics(&self) -> Result<Vec<TopicRow>> {
        self.all(&format!("{TOPIC} ORDER BY name"), [], TopicRow::of)
    }
    /// What a partition holds; `None` if its topic was deleted.
    pub(super) fn partition(&self, slot: i64) -> Result<Option<PartitionRow>> {
        self.maybe(&format!("{PARTITION} WHERE slot = ?1"), [slot], PartitionRow::of)
    }
    /// What each partition of a topic holds; fewer rows if it was deleted.
    pub(super) fn partitions(&self, topic: &TopicRow) -> Result<Vec<PartitionRow>> {
        let last = topic.first_slot + i64::from(topic.partitions) - 1;
        self.all(
            &format!("{PARTITION} WHERE slot BETWEEN ?1 AND ?2 ORDER BY slot"),
            [topic.first_slot, last],
            PartitionRow::of,
        )
    }
    /// Slots for a new topic; inside a write.
    pub(super) fn take_slots(&self, count: i32) -> Result<i64> {
        let first = self.one("SELECT value FROM meta WHERE name = 'next_slot'", [], |row| row.get::<_, i64>(0))?;
        if first + i64::from(count) - 1 > MAX_SLOT {
            return Err(EmbeddedError::Misuse(format!(
                "broker file \"{}\" has used all of its partitions",
                self.file.display()
            )));
        }
        self.run("UPDATE meta SET value = value + ?1 WHERE name = 'next_slot'", [count])?;
        Ok(first)
    }

    /// Moves what the write-ahead log holds to its place in the file, as far as no reader is in the way; how many pages the
    /// log has. With `restart` it waits a little for readers, so that the log begins anew.
    pub(super) fn checkpoint(&self, restart: bool) -> Result<i64> {
        let mode = if restart { "PRAGMA wal_checkpoint(RESTART)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
        self.hurry.store(restart, Ordering::Relaxed);
        let pages = self.one(mode, [], |row| row.get(1));
        self.hurry.store(false, Ordering::Relaxed);
        pages
    }
}

/// A busy handler: sleeps 20 to 300 us, a little different each time so that two processes do not step in time.
fn patient(patience: Duration, hurry: Arc<AtomicBool>) -> impl FnMut(i32) -> bool + Send + 'static {
    let mut begun = Instant::now();
    let mut noise: u32 = std::process::id() | 1;
    move |tries| {
        if tries == 0 {
            begun = Instant::now();
        }
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = 40 * (u64::from(tries.unsigned_abs()) + 1).min(7);
        std::thread::sleep(Duration::from_micros(20 + u64::from(noise >> 16) % most));
        begun.elapsed() < if hurry.load(Ordering::Relaxed) { HURRY } else { patience }
    }
}
