//! Running an experiment's parts: side by side, and with other seeds.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Runs independent parts side by side, at most one a core; the answers are in
/// the order of the parts.
pub fn side_by_side<T: Sync, R: Send>(parts: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let next = AtomicUsize::new(0);
    // parking_lot's mutex: whoever holds it only adds one answer, and cannot panic.
    let done = Mutex::new(Vec::with_capacity(parts.len()));
    std::thread::scope(|scope| {
        for _ in 0..cores.min(parts.len()) {
            scope.spawn(|| {
                while let Some(part) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    parts.get(at).map(|part| (at, part))
                } {
                    let answer = run(part.1);
                    done.lock().push((part.0, answer));
                }
            });
        }
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

/// The seeds of so many runs, from the first on; past the last comes 0.
pub fn seeds(first: u64, runs: u32) -> impl Iterator<Item = u64> + Clone {
    (0..u64::from(runs)).map(move |run| first.wrapping_add(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_go_on_past_the_last() {
        let all: Vec<u64> = seeds(u64::MAX - 1, 4).collect();
        assert_eq!(all, [u64::MAX - 1, u64::MAX, 0, 1]);
    }
}
