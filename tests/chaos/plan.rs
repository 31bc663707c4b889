//! What happens when: drawn from the seed, and from nothing else.

use std::time::Duration;

use fastrand::Rng;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The runtime is killed with -9 and started again.
    Kill,
    /// The clock stands so many milliseconds off from now on.
    Clock(i64),
    /// Another program holds D1's file.
    LockD1,
    /// The state's file system has no byte left.
    FillDisk,
    /// The upstream takes requests and writes nothing.
    Stall,
    /// The upstream resets every connection.
    Break,
    /// Every client that may leave does.
    Leave,
}

/// A fault, when it begins and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: Duration,
    pub lasts: Duration,
    pub fault: Fault,
}

/// Three rows of faults. Those of one row come one after the other, those of different rows at once too.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    pub process: Vec<Event>,
    pub storage: Vec<Event>,
    pub network: Vec<Event>,
}

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

/// Where the clock may stand, besides right: within a window and beyond it, within a lease and beyond
/// it, and in another month.
const OFFSETS: [i64; 9] = [
    -60 * MINUTE,
    -95 * SECOND,
    -5 * SECOND,
    5 * SECOND,
    45 * SECOND,
    61 * SECOND,
    95 * SECOND,
    60 * MINUTE,
    31 * DAY,
];

impl Plan {
    /// The faults of this seed for so long a load. Whether the disk can be filled changes nothing else.
    pub fn draw(seed: u64, length: Duration, fills_disk: bool) -> Self {
        let rows = |row: u64| Rng::with_seed(seed.wrapping_mul(3).wrapping_add(row));
        // The clock twice as often: a kill sets it right, too.
        let process = [Fault::Kill, Fault::Clock(0), Fault::Clock(0)];
        let storage = [Fault::LockD1, Fault::FillDisk];
        let network = [Fault::Stall, Fault::Break, Fault::Leave];
        let mut storage = row(rows(1), length, &storage, 3.0..8.0);
        storage.retain(|event| fills_disk || event.fault != Fault::FillDisk);
        Self {
            process: row(rows(0), length, &process, 6.0..22.0),
            storage,
            network: row(rows(2), length, &network, 2.0..7.0),
        }
    }
}

/// Faults in rounds of shuffled order, with pauses of so many seconds between them.
fn row(
    mut rng: Rng,
    length: Duration,
    kinds: &[Fault],
    pauses: std::ops::Range<f64>,
) -> Vec<Event> {
    let between =
        |rng: &mut Rng, from: f64, to: f64| Duration::from_secs_f64(from + rng.f64() * (to - from));
    let (mut events, mut at) = (Vec::new(), Duration::ZERO);
    // The first round is quick, so that a short run has all of it.
    let mut haste = 0.4;
    loop {
        let mut round = kinds.to_vec();
        rng.shuffle(&mut round);
        for fault in round {
            at += between(&mut rng, pauses.start * haste, pauses.end * haste);
            let fault = match fault {
                // Every other time it is set right.
                Fault::Clock(_) => Fault::Clock(rng.choice(OFFSETS).unwrap_or(0) * rng.i64(0..=1)),
                other => other,
            };
            let lasts = match fault {
                Fault::LockD1 | Fault::FillDisk => between(&mut rng, 1.0, 9.0),
                // Sometimes for longer than the upstream has for its first byte.
                Fault::Stall => between(&mut rng, 1.0, 8.0),
                Fault::Break => between(&mut rng, 0.2, 2.0),
                Fault::Kill | Fault::Clock(_) | Fault::Leave => Duration::ZERO,
            };
            if at + lasts >= length {
                return events;
            }
            events.push(Event { at, lasts, fault });
            at += lasts;
        }
        haste = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(40);

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(Plan::draw(7, SHORT, true), Plan::draw(7, SHORT, true));
        assert_ne!(Plan::draw(7, SHORT, true), Plan::draw(8, SHORT, true));
        let (with, without) = (Plan::draw(7, SHORT, true), Plan::draw(7, SHORT, false));
        assert_eq!((with.process, with.network), (without.process, without.network));
        assert!(without.storage.iter().all(|event| event.fault == Fault::LockD1));
    }

    #[test]
    fn the_events_of_a_row_follow_each_other_and_end_in_time() {
        for seed in 0..200 {
            let length = Duration::from_mins(10);
            let Plan { process, storage, network } = Plan::draw(seed, length, true);
            for row in [&process, &storage, &network] {
                assert!(row.windows(2).all(|two| two[0].at + two[0].lasts < two[1].at));
                assert!(row.iter().all(|event| event.at + event.lasts < length));
            }
            let kills = process.iter().filter(|event| event.fault == Fault::Kill).count();
            assert!((8..=30).contains(&kills), "seed {seed}: {kills} kills in ten minutes");
        }
    }

    #[test]
    fn the_suites_seed_has_every_fault_in_its_short_run() {
        let Plan { process, storage, network } = Plan::draw(1, SHORT, true);
        let has = |row: &[Event], fault| row.iter().any(|event| event.fault == fault);
        assert!(has(&process, Fault::Kill));
        let steps = |event: &Event| matches!(event.fault, Fault::Clock(offset) if offset != 0);
        assert!(process.iter().any(steps), "{process:?}");
        assert!(has(&storage, Fault::LockD1) && has(&storage, Fault::FillDisk));
        for fault in [Fault::Stall, Fault::Break, Fault::Leave] {
            assert!(has(&network, fault), "{fault:?}");
        }
    }
}
