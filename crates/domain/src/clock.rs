//! The object's clock: wall time that never steps back.

/// A moment or a duration in milliseconds; moments count from the Unix epoch.
pub type Millis = i64;

/// Turns readings of a wall clock into a time that never decreases.
///
/// A reading earlier than the one before it moves the offset instead of the time, so that after a
/// step back the time goes on at its usual pace rather than standing still until the wall clock
/// has caught up.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyClock {
    last_reading: Option<Millis>,
    offset: Millis,
}

impl SteadyClock {
    /// The time at a reading of the wall clock.
    pub fn at(&mut self, reading: Millis) -> Millis {
        if let Some(last) = self.last_reading
            && reading < last
        {
            self.offset += last - reading;
        }
        self.last_reading = Some(reading);
        reading + self.offset
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_step_back_does_not_stop_it() {
        let mut clock = SteadyClock::default();
        assert_eq!(clock.at(10_000), 10_000);
        assert_eq!(clock.at(4_000), 10_000);
        assert_eq!(clock.at(5_000), 11_000);
    }

    proptest! {
        #[test]
        fn it_never_steps_back(readings in prop::collection::vec(0_i64..1_000_000, 1..100)) {
            let mut clock = SteadyClock::default();
            let times: Vec<_> = readings.iter().map(|reading| clock.at(*reading)).collect();
            prop_assert!(times.is_sorted());
        }
    }
}
