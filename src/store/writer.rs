//! The writer: one thread that takes whatever changes wait, decides each against the state before
//! it, writes them as one transaction, makes them visible and only then answers. Memory is changed
//! after the disk, so a commit that fails leaves no trace.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    base::log::chain,
    store::{
        Change, Durability, Error, Event, Expect, Options, Revision,
        database::{Database, Record},
        index::{Pending, Shared, Slot},
        queue::{Queue, Request, Work},
        sweep::Sweeper,
    },
};

/// Revisions that are reserved on disk at a time: how far numbers may skip after a crash.
const RESERVE: u64 = 4096;
/// Relaxed changes that may wait in memory.
const PENDING_LIMIT: usize = 4096;
/// Bytes of values in one transaction, beyond which the next change starts another.
const GROUP_LIMIT_BYTES: usize = 8 << 20;
/// How long to wait before writing waiting changes again after that failed.
const RETRY: Duration = Duration::from_secs(10);

/// The writer's state.
pub struct Writer {
    database: Database,
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    options: Options,
    /// Revisions up to this one are on disk as given out.
    reserved: Revision,
    /// When relaxed changes must be written.
    due: Option<Instant>,
    sweeper: Sweeper,
}

/// A change that waits for its group's commit, and what it will be told.
type Answer = (oneshot::Sender<Result<Event, Error>>, Result<Event, Error>);

/// Changes that become one transaction.
#[derive(Default)]
struct Group {
    keys: HashMap<Arc<str>, Staged>,
    events: Vec<Event>,
    /// Index into `events` and superseded row of each strict change.
    strict: Vec<(usize, Revision)>,
    answers: Vec<Answer>,
    bytes: usize,
}

/// A key within a group.
struct Staged {
    slot: Option<Slot>,
    /// The change that made `slot`, where this group or a waiting relaxed change did.
    event: Option<Event>,
    on_disk: Revision,
    waiting: Option<Pending>,
}

impl Writer {
    /// A writer that goes on from what `shared` was loaded with.
    pub fn new(database: Database, shared: Arc<Shared>, queue: Arc<Queue>, options: Options) -> Self {
        let reserved = shared.revision();
        let sweeper = Sweeper::new(&options, shared.swept_at_open);
        Self { database, shared, queue, options, reserved, due: None, sweeper }
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self) {
        loop {
            match self.queue.take(self.due) {
                Work::Requests(requests) => self.serve(requests.into_iter().collect()),
                Work::Deadline => {
                    if let Err(error) = self.flush() {
                        tracing::error!(error = chain(&error), "relaxed changes cannot be written");
                    }
                }
                Work::Closed => break,
            }
            if let Err(error) = self.sweep() {
                tracing::warn!(error = chain(&error), "old revisions cannot be removed");
            }
        }
        self.finish();
    }

    /// Leaves a file whose next opening starts exactly where this run ended.
    fn finish(mut self) {
        let revision = self.shared.revision();
        let finished = self.flush().and_then(|()| self.database.write(&[], Some(revision)));
        if let Err(error) = finished.and_then(|()| self.database.shrink(0)) {
            tracing::error!(error = chain(&error), "the store was not closed cleanly");
        }
    }

    fn serve(&mut self, mut requests: VecDeque<(Request, OwnedSemaphorePermit)>) {
        while !requests.is_empty() {
            let mut group = Group::default();
            // Held until the group is answered: what is being committed counts against the queue's bound.
            let mut permits = Vec::with_capacity(requests.len());
            while group.bytes < GROUP_LIMIT_BYTES
                && let Some((request, permit)) = requests.pop_front()
            {
                permits.push(permit);
                match request {
                    Request::Change { change, reply } => {
                        let outcome = self.stage(&mut group, change);
                        group.answers.push((reply, outcome));
                    }
                    Request::Flush { reply } => {
                        self.commit(std::mem::take(&mut group));
                        let _ = reply.send(self.flush());
                    }
                    Request::Compact { reply } => {
                        self.commit(std::mem::take(&mut group));
                        let _ = reply.send(self.compact_all());
                    }
                }
            }
            self.commit(group);
        }
    }

    /// Decides a change against the state that the group has made so far.
    fn stage(&self, group: &mut Group, change: Change) -> Result<Event, Error> {
        let next = self.shared.revision() + group.events.len() as u64 + 1;
        let staged = group.keys.entry(change.key.clone()).or_insert_with(|| self.staged(&change.key));
        let expected = match (change.expect, staged.slot) {
            (Expect::Any, slot) => slot.is_some() || change.value.is_some(),
            (Expect::Absent, slot) => slot.is_none() && change.value.is_some(),
            (Expect::Revision(revision), slot) => slot.is_some_and(|slot| slot.revision == revision),
        };
        if !expected {
            return Err(self.conflict(change.key, staged)?);
        }
        let event = Event {
            revision: next,
            key: change.key,
            create_revision: staged.slot.map_or(next, |slot| slot.create_revision),
            previous_revision: staged.slot.map_or(0, |slot| slot.revision),
            value: change.value,
        };
        group.bytes += event.value.as_ref().map_or(0, Bytes::len);
        let superseded = staged.on_disk;
        staged.advance(&event, change.durability);
        if change.durability == Durability::Strict {
            group.strict.push((group.events.len(), superseded));
        }
        group.events.push(event.clone());
        Ok(event)
    }

    fn staged(&self, key: &str) -> Staged {
        let slot = self.shared.slot(key);
        let waiting = self.shared.pending_of(key);
        let on_disk = match &waiting {
            Some(pending) => pending.on_disk,
            None => slot.map_or(0, |slot| slot.revision),
        };
        let event = waiting.as_ref().map(|pending| pending.event.clone());
        Staged { slot, event, on_disk, waiting }
    }

    fn conflict(&self, key: Arc<str>, staged: &Staged) -> Result<Error, Error> {
        let current = match (staged.slot, &staged.event) {
            (None, _) => None,
            (Some(_), Some(event)) => Some(event.clone()),
            (Some(slot), None) => self.database.row(slot.revision)?,
        };
        Ok(Error::Conflict { key, current: current.map(Box::new) })
    }

    /// Writes a group, makes it visible and answers all who wait for it.
    fn commit(&mut self, group: Group) {
        let Group { keys, events, strict, mut answers, .. } = group;
        let last = events.last().map_or(0, |event| event.revision);
        let many = self.shared.pending_count() + events.len() - strict.len() > PENDING_LIMIT;
        let must_write = !strict.is_empty() || last > self.reserved || (many && !events.is_empty());
        let waiting: Vec<_> = keys.into_iter().map(|(key, staged)| (key, staged.waiting)).collect();
        let written = if must_write { self.write(&events, &strict, &waiting) } else { Ok(()) };
        match written {
            Ok(()) if must_write => {
                self.shared.apply(&events, true, Vec::new());
                self.due = None;
            }
            Ok(()) => {
                self.postpone(&waiting);
                self.shared.apply(&events, false, waiting);
            }
            Err(error) => answers.iter_mut().for_each(|(_, outcome)| *outcome = Err(error.clone())),
        }
        let happened = answers.iter().any(|(_, outcome)| outcome.is_ok());
        if happened {
            self.shared.notify(&events);
            self.sweeper.note(last);
        }
        for (reply, outcome) in answers {
            // Whoever asked may have gone away; the change stands.
            let _ = reply.send(outcome);
        }
        if happened {
            self.shared.notify_answered(&events);
        }
    }

    fn write(
        &mut self,
        events: &[Event],
        strict: &[(usize, Revision)],
        waiting: &[(Arc<str>, Option<Pending>)],
    ) -> Result<(), Error> {
        let earlier = self.shared.pending_rows();
        let touched: HashSet<&str> = waiting.iter().map(|(key, _)| &**key).collect();
        let earlier = earlier.iter().filter(|pending| !touched.contains(&*pending.event.key));
        let relaxed = earlier.chain(waiting.iter().filter_map(|(_, pending)| pending.as_ref()));
        let records: Vec<Record<'_>> = strict
            .iter()
            .map(|&(index, previous_row)| Record { event: &events[index], previous_row })
            .chain(relaxed.map(|pending| Record { event: &pending.event, previous_row: pending.on_disk }))
            .collect();
        let last = events.last().map_or(0, |event| event.revision);
        let reserve = (last > self.reserved).then_some(last + RESERVE);
        let outcome = self.database.write(&records, reserve);
        self.shared.wrote(&outcome);
        outcome?;
        self.reserved = reserve.unwrap_or(self.reserved);
        Ok(())
    }

    fn postpone(&mut self, waiting: &[(Arc<str>, Option<Pending>)]) {
        for pending in waiting.iter().filter_map(|(_, pending)| pending.as_ref()) {
            let wait = if pending.on_disk == 0 { self.options.relaxed_first } else { self.options.relaxed_again };
            let due = Instant::now() + wait;
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// Writes relaxed changes that wait.
    fn flush(&mut self) -> Result<(), Error> {
        self.due = None;
        if self.shared.pending_count() == 0 {
            return Ok(());
        }
        if let Err(error) = self.write(&[], &[], &[]) {
            self.due = Some(Instant::now() + RETRY);
            return Err(error);
        }
        self.shared.apply(&[], true, Vec::new());
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), Error> {
        self.sweeper.run(&mut self.database, &self.shared, &self.queue)
    }

    fn compact_all(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.sweeper.all(&mut self.database, &self.shared)
    }
}

impl Staged {
    fn advance(&mut self, event: &Event, durability: Durability) {
        let exists = event.value.is_some();
        self.slot = exists.then_some(Slot { revision: event.revision, create_revision: event.create_revision });
        self.event = Some(event.clone());
        match durability {
            Durability::Strict => {
                self.waiting = None;
                // A deletion's own row is swept without a successor's help.
                self.on_disk = if exists { event.revision } else { 0 };
            }
            // What never reached the disk needs no record of its end there.
            Durability::Relaxed if !exists && self.on_disk == 0 => self.waiting = None,
            Durability::Relaxed => self.waiting = Some(Pending { event: event.clone(), on_disk: self.on_disk }),
        }
    }
}
