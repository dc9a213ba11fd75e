//! Removal of superseded rows. What counts as history moves on in memory with every commit; rows
//! follow in small steps between commits, and only once enough have gathered, so that an idle
//! store does not write.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::store::{Error, Options, Revision, database::Database, index::Shared, queue::Queue};

/// How finely the age of revisions is known.
const MARK_INTERVAL: Duration = Duration::from_secs(10);
/// Rows that one step looks at, at least: how long a writer may have to wait for a sweep.
const STEP_ROWS: u64 = 250;
/// Part of the backlog that one step looks at, so that sweeping keeps up with any load.
const STEP_SHARE: u64 = 16;
/// Empty pages that are given back after a sweep.
const SHRINK_PAGES: u32 = 2048;

/// Knows how old revisions are, and how far rows were removed.
pub struct Sweeper {
    history: Duration,
    history_revisions: u64,
    batch: u64,
    marks: VecDeque<(Instant, Revision)>,
    swept: Revision,
}

impl Sweeper {
    /// A sweeper that goes on after `swept`.
    pub fn new(options: &Options, swept: Revision) -> Self {
        let Options { history, history_revisions, sweep_batch, .. } = *options;
        Self { history, history_revisions, batch: sweep_batch, marks: VecDeque::new(), swept }
    }

    /// Remembers that `revision` was made now.
    pub fn note(&mut self, revision: Revision) {
        let now = Instant::now();
        if self.marks.back().is_none_or(|(last, _)| now.duration_since(*last) >= MARK_INTERVAL.min(self.history)) {
            self.marks.push_back((now, revision));
        }
    }

    /// Moves the end of history on and removes rows while nobody waits.
    pub fn run(&mut self, database: &mut Database, shared: &Shared, queue: &Queue) -> Result<(), Error> {
        let now = Instant::now();
        let mut target = shared.revision().saturating_sub(self.history_revisions);
        while let Some(&(made, revision)) = self.marks.front()
            && now.duration_since(made) >= self.history
        {
            target = target.max(revision);
            self.marks.pop_front();
        }
        shared.compact(target);
        let upto = shared.compacted();
        if upto.saturating_sub(self.swept) < self.batch {
            return Ok(());
        }
        while self.swept < upto && (queue.is_empty() || upto - self.swept > 4 * self.batch) {
            self.step(database, upto)?;
            if !queue.is_empty() {
                return Ok(());
            }
        }
        if self.swept == upto { database.shrink(SHRINK_PAGES) } else { Ok(()) }
    }

    /// Drops all history.
    pub fn all(&mut self, database: &mut Database, shared: &Shared) -> Result<(), Error> {
        let upto = shared.revision();
        shared.compact(upto);
        while self.swept < upto {
            self.step(database, upto)?;
        }
        database.shrink(u32::MAX)
    }

    fn step(&mut self, database: &mut Database, upto: Revision) -> Result<(), Error> {
        let rows = STEP_ROWS.max((upto - self.swept) / STEP_SHARE);
        let end = database.step(self.swept, rows, upto)?;
        database.sweep(self.swept, end, upto)?;
        self.swept = end;
        Ok(())
    }
}
