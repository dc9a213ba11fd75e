//! Tests of fair queuing: who is served, in which order, and that nothing is lost.

use super::*;

const QUEUE: Discipline = Discipline::Queue { queues: 16, hand: 1, length: 50 };

struct Fixture {
    queues: Queues,
    now: Instant,
}

impl Fixture {
    fn new(discipline: Discipline, limit: u32) -> Self {
        let now = Instant::now();
        Self { queues: Queues::new(discipline, limit, now), now }
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    fn start(&mut self, flow: u64) -> Decision {
        self.queues.start(Work::ONE, flow, self.now)
    }

    fn served(&mut self, work: Work) -> Execution {
        match self.queues.start(work, 0, self.now) {
            Decision::Serve(execution) => execution,
            other => panic!("not served: {other:?}"),
        }
    }

    fn wait(&mut self, flow: u64, work: Work) -> (Place, oneshot::Receiver<Execution>) {
        match self.queues.start(work, flow, self.now) {
            Decision::Wait(place, turn) => (place, turn),
            other => panic!("does not wait: {other:?}"),
        }
    }

    fn finish(&mut self, execution: Execution) {
        self.queues.finish(&execution, self.now);
    }
}

#[test]
fn there_are_as_many_as_seats_and_the_others_wait() {
    let mut level = Fixture::new(QUEUE, 2);
    let first = level.served(Work::ONE);
    level.served(Work::ONE);
    let (_, mut turn) = level.wait(0, Work::ONE);
    assert!(turn.try_recv().is_err());
    level.finish(first);
    assert!(turn.try_recv().is_ok());
    assert_eq!((level.queues.counts(), level.queues.seats), ((0, 2), 2));
}

#[test]
fn a_full_queue_refuses_and_others_do_not() {
    let mut level = Fixture::new(Discipline::Queue { queues: 16, hand: 1, length: 2 }, 1);
    level.served(Work::ONE);
    let _waiting = [level.wait(1, Work::ONE), level.wait(1, Work::ONE)];
    assert!(matches!(level.start(1), Decision::Refuse(Refusal::QueueFull)));
    assert!(matches!(level.start(2), Decision::Wait(..)));
}

#[test]
fn a_level_without_queues_refuses() {
    let mut level = Fixture::new(Discipline::Reject, 1);
    let first = level.served(Work::ONE);
    assert!(matches!(level.start(0), Decision::Refuse(Refusal::ConcurrencyLimit)));
    level.finish(first);
    level.served(Work::ONE);
    let mut exempt = Fixture::new(Discipline::Exempt, 0);
    exempt.served(Work::ONE);
    exempt.served(Work::ONE);
}

#[test]
fn a_flow_with_many_requests_does_not_hold_up_one_with_few() {
    let mut level = Fixture::new(QUEUE, 1);
    let mut current = level.served(Work::ONE);
    let mut many: Vec<_> = (0..40).map(|_| level.wait(1, Work::ONE).1).collect();
    level.pass(1);
    let (_, mut few) = level.wait(2, Work::ONE);
    for _ in 0..3 {
        level.pass(3);
        level.finish(current);
        let turn = few.try_recv().or_else(|_| {
            many.iter_mut().find_map(|turn| turn.try_recv().ok()).ok_or(oneshot::error::TryRecvError::Empty)
        });
        current = turn.unwrap();
    }
    assert!(few.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed), "it had its turn");
}

#[test]
fn flows_are_served_in_turn_by_the_work_they_ask_for() {
    let mut level = Fixture::new(QUEUE, 10);
    let wide = Work { seats: 10, ..Work::ONE };
    let mut current = level.served(wide);
    let mut turns: Vec<(u64, oneshot::Receiver<Execution>)> = Vec::new();
    for _ in 0..20 {
        turns.push((1, level.wait(1, wide).1));
        turns.push((2, level.wait(2, wide).1));
    }
    let mut served = [0; 3];
    for _ in 0..20 {
        level.pass(3);
        level.finish(current);
        let next = turns.iter_mut().find_map(|(flow, turn)| turn.try_recv().ok().map(|turn| (*flow, turn)));
        let (flow, execution) = next.unwrap();
        served[usize::try_from(flow).unwrap()] += 1;
        current = execution;
    }
    assert_eq!(served, [0, 10, 10]);
}

#[test]
fn what_is_wider_than_the_level_is_served_alone() {
    let mut level = Fixture::new(QUEUE, 2);
    let first = level.served(Work::ONE);
    let (_, mut turn) = level.wait(1, Work { seats: 5, ..Work::ONE });
    level.finish(first);
    assert_eq!(turn.try_recv().unwrap().seats(), 5);
    let _waiting = level.wait(2, Work::ONE);
}

#[test]
fn seats_are_held_while_watchers_are_told() {
    let mut level = Fixture::new(QUEUE, 3);
    let told = Work { seats: 1, final_seats: 6, linger: Duration::from_millis(10) };
    let first = level.served(told);
    assert_eq!(first.seats(), 3, "the same work on fewer seats");
    level.finish(first);
    let (_, mut turn) = level.wait(1, Work::ONE);
    let release = level.queues.next_release().unwrap();
    assert_eq!(release - level.now, Duration::from_millis(20));
    level.pass(19);
    level.queues.tick(level.now);
    assert!(turn.try_recv().is_err());
    level.pass(1);
    level.queues.tick(level.now);
    assert!(turn.try_recv().is_ok());
    assert_eq!(level.queues.next_release(), None);
}

#[test]
fn who_gives_up_is_no_longer_waited_for() {
    let mut level = Fixture::new(QUEUE, 1);
    let first = level.served(Work::ONE);
    let (gone, _turn) = level.wait(1, Work::ONE);
    let (_, mut next) = level.wait(1, Work::ONE);
    assert!(level.queues.leave(gone, Refusal::TimedOut, level.now));
    assert!(!level.queues.leave(gone, Refusal::TimedOut, level.now));
    level.finish(first);
    let next = next.try_recv().unwrap();
    level.finish(next);
    assert!(level.queues.is_idle() && level.queues.used.is_empty() && level.queues.progress == 0.0);
    assert_eq!((level.queues.totals.timed_out, level.queues.totals.dispatched), (1, 2));
}

#[test]
fn more_seats_and_other_rules_take_effect_at_once() {
    let mut level = Fixture::new(QUEUE, 1);
    level.served(Work::ONE);
    let (_, mut second) = level.wait(1, Work::ONE);
    let (_, mut third) = level.wait(2, Work::ONE);
    level.queues.configure(Discipline::Reject, level.now);
    assert!(matches!(level.start(3), Decision::Refuse(_)));
    level.queues.resize(3, level.now);
    assert!(second.try_recv().is_ok() && third.try_recv().is_ok());
}

#[test]
fn random_loads_leave_nothing_behind() {
    use rand::RngExt;
    let mut level = Fixture::new(Discipline::Queue { queues: 8, hand: 3, length: 5 }, 4);
    let mut random = rand::rng();
    let (mut serving, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..20_000 {
        level.pass(random.random_range(0..5));
        let seats = random.random_range(1..7);
        let linger = Duration::from_millis(random.random_range(0..9));
        let work = Work { seats, final_seats: random.random_range(0..7), linger };
        match random.random_range(0..4) {
            0 | 1 => match level.queues.start(work, random.random(), level.now) {
                Decision::Serve(execution) => serving.push(execution),
                Decision::Wait(place, turn) => waiting.push((place, turn)),
                Decision::Refuse(why) => assert_eq!(why, Refusal::QueueFull),
            },
            2 if !serving.is_empty() => {
                let done = serving.swap_remove(random.random_range(0..serving.len()));
                level.finish(done);
            }
            _ if !waiting.is_empty() => {
                let (place, mut turn) = waiting.swap_remove(random.random_range(0..waiting.len()));
                if !level.queues.leave(place, Refusal::Cancelled, level.now) {
                    serving.push(turn.try_recv().unwrap());
                }
            }
            _ => level.queues.resize(random.random_range(1..9), level.now),
        }
        let open = serving.len() + waiting.len();
        let (queued, executing) = level.queues.counts();
        assert_eq!(queued + executing, open);
    }
    loop {
        level.pass(100);
        level.queues.tick(level.now);
        let called = waiting.extract_if(.., |(_, turn)| !turn.is_empty());
        serving.extend(called.map(|(_, mut turn)| turn.try_recv().unwrap()));
        let Some(done) = serving.pop() else { break };
        level.finish(done);
    }
    level.pass(1000);
    level.queues.tick(level.now);
    assert!(waiting.is_empty() && level.queues.is_idle() && level.queues.used.is_empty());
    assert_eq!((level.queues.seats, level.queues.waiting_seats, level.queues.lingering.len()), (0, 0, 0));
}
