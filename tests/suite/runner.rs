//! Runs the tests on one runtime, many at a time, and stops what they shared.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use gateway_tests::report;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::sync::Semaphore;

use crate::{redaction, shared};

/// How many ordinary tests run at once. Most of them wait most of the time.
const AT_ONCE: u32 = 6;

/// How many patient ones run beside them. Each starts a gateway of its own, and all of them at once would
/// have the machine do nothing else for minutes.
const PATIENT_AT_ONCE: usize = 8;

/// How many tests may be begun at once: more than those that wait for a seat.
const THREADS: usize = 100;

/// Who else may run while a test does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// It takes as long as most of the others together: begins first, counts for nobody.
    Longest,
    /// It mostly waits: counts for no ordinary one.
    Patient,
    /// A few others run beside it.
    Ordinary,
    /// It measures, or works the machine alone: nothing but patient tests run beside it.
    Alone,
}

type Run = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// One test of the suite.
pub struct Test {
    /// Its module and its sentence.
    pub name: String,
    /// Who else may run while it does.
    pub turn: Turn,
    /// Starts it.
    pub run: Run,
}

/// Lists test functions: `tests![Ordinary: one, two]`.
#[macro_export]
macro_rules! tests {
    ($turn:ident: $($name:ident),+ $(,)?) => {
        vec![$($crate::runner::Test {
            name: concat!(module_path!(), "::", stringify!($name))
                .trim_start_matches("suite::")
                .to_owned(),
            turn: $crate::runner::Turn::$turn,
            run: || Box::pin($name()),
        }),+]
    };
}

/// Runs `tests` as the command line asks.
pub fn run(mut tests: Vec<Test>) -> ExitCode {
    report::take_over_panics();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    // Who is shared is never dropped: what it kept goes with this folder.
    let folder = tempfile::tempdir().expect("a folder for everybody's state");
    tempfile::env::override_temp_dir(folder.path()).expect("nobody has made one before");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Some of what tests do blocks its thread, and others' upstreams have to answer meanwhile.
        .worker_threads(8)
        .enable_all()
        .build()
        .expect("a runtime");
    let seats = Arc::new(Semaphore::new(AT_ONCE as usize));
    let patient_seats = Arc::new(Semaphore::new(PATIENT_AT_ONCE));
    // Who waits longest begins first.
    tests.sort_by_key(|test| test.turn);
    let trials = tests
        .into_iter()
        .map(|test| {
            let seats = if test.turn == Turn::Patient { &patient_seats } else { &seats };
            trial(test, &runtime, seats)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    shared::stop();
    crate::codex::stop();
    crate::return_path::stop();
    crate::openclaw::stop();
    crate::kit::stop();
    if conclusion.has_failed() | redaction::conclude(arguments) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn trial(test: Test, runtime: &tokio::runtime::Runtime, seats: &Arc<Semaphore>) -> Trial {
    let handle = runtime.handle().clone();
    let seats = Arc::clone(seats);
    Trial::test(test.name, move || {
        let wanted = match test.turn {
            Turn::Longest => 0,
            Turn::Patient | Turn::Ordinary => 1,
            Turn::Alone => AT_ONCE,
        };
        let run = test.run;
        let outcome = handle.block_on(async {
            let _seat = seats.acquire_many(wanted).await.expect("seats are never closed");
            // A task of its own: this thread only waits.
            tokio::spawn(report::run(run())).await
        });
        outcome.map_err(|error| Failed::from(error.to_string()))?.map_err(Failed::from)
    })
}
