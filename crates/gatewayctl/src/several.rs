//! The same for each of many, several at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::failure::Failure;

/// Does something for each, so many at once; `done` hears of each that went well, as they end. After the
/// first failure no other is begun.
///
/// # Errors
/// The first failure that was heard of.
pub fn each<'a, T: Sync, R: Send>(
    items: &'a [T],
    at_once: usize,
    act: impl Fn(&'a T) -> Result<R, Failure> + Sync,
    mut done: impl FnMut(&'a T, R),
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(items.len()) {
            let (sender, next, act) = (sender.clone(), &next, &act);
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = act(item);
                    if result.is_err() {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                    // Whoever listens goes on until all have been heard.
                    let _ = sender.send((item, result));
                }
            });
        }
        drop(sender);
        let mut outcome = Ok(());
        for (item, result) in results {
            match result {
                Ok(value) => done(item, value),
                Err(failure) => outcome = outcome.and(Err(failure)),
            }
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    #[test]
    fn each_is_done_once() {
        let items: Vec<usize> = (0..50).collect();
        let mut doubled = Vec::new();
        each(&items, 4, |item| Ok(item * 2), |item, twice| doubled.push((*item, twice))).unwrap();
        doubled.sort_unstable();
        assert_eq!(doubled, items.iter().map(|item| (*item, item * 2)).collect::<Vec<_>>());
    }

    #[test]
    fn none_is_begun_after_a_failure() {
        let items: Vec<usize> = (0..50).collect();
        let begun = AtomicUsize::new(0);
        let act = |_: &usize| -> Result<(), Failure> {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(Failure::new(Kind::Failed, "No."))
        };
        let outcome = each(&items, 4, act, |_, ()| panic!("nothing went well"));
        assert_eq!(outcome.unwrap_err().message, "No.");
        assert!((1..=4).contains(&begun.into_inner()));
    }
}
