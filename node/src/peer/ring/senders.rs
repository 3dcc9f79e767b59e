//! What a node remembers of those who speak to it: which start of which disk
//! spoke last, and which of its requests have been seen.
//!
//! The ring itself does not mind messages that come twice or late. But the news
//! that ride along (which boot, how much space, alive just now) would be taken
//! from a replay as well, so those are refused. A *response* comes from the address where the
//! node is known to be, so its boot number is proven, and so is the number of its last
//! request, which it repeats there; a request can claim any. A claim counts until a
//! response says otherwise.

use std::collections::BTreeMap;

use chord_types::{DiskId, Ordinal};

use super::check::Direction;
use super::refused::Reason;
use crate::view::MemberIndex;
use chord_ring::wire::RingExchange;

/// Requests of one sender that may overtake each other.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;

/// Everyone who has spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders(BTreeMap<Ordinal, Sender>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sender {
    disk: DiskId,
    boot: u64,
    proven: bool,
    seen: Window,
}

/// Which of the last numbers have been seen; 0 is no number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window {
    highest: u64,
    bits: [u64; WORDS],
}

impl Senders {
    /// Whether an exchange of a member is neither of an earlier start nor a replay.
    pub fn fresh(
        &self,
        exchange: &RingExchange,
        direction: Direction,
    ) -> Result<(), (Reason, String)> {
        let Some(known) = self.of(exchange) else {
            return Ok(());
        };
        let (boot, at) = (exchange.boot, known.boot);
        if boot < at && (known.proven || direction == Direction::Request) {
            return Err((
                Reason::OldBoot,
                format!(
                    "node {} has boot {at}, this is of boot {boot}",
                    exchange.from
                ),
            ));
        }
        if boot == at && direction == Direction::Request && known.seen.has(exchange.number) {
            return Err((
                Reason::Replayed,
                format!(
                    "node {} sent number {} before",
                    exchange.from, exchange.number
                ),
            ));
        }
        Ok(())
    }

    /// Takes note of an exchange that is valid.
    pub fn note(&mut self, exchange: &RingExchange, direction: Direction) {
        let proven = direction != Direction::Request;
        let known = self.0.entry(exchange.from).or_insert_with(|| Sender {
            disk: exchange.disk,
            boot: exchange.boot,
            proven,
            seen: Window::default(),
        });
        if known.disk != exchange.disk || known.boot != exchange.boot {
            *known = Sender {
                disk: exchange.disk,
                boot: exchange.boot,
                proven: false,
                seen: Window::default(),
            };
        }
        known.proven |= proven;
        if !proven {
            known.seen.add(exchange.number);
        } else {
            known.seen.proven(exchange.number);
        }
    }

    /// Forgets who is no member any more.
    pub fn keep(&mut self, index: &MemberIndex) {
        if self.0.len() > index.hosts() {
            self.0
                .retain(|ordinal, known| index.has(*ordinal, known.disk));
        }
    }

    fn of(&self, exchange: &RingExchange) -> Option<&Sender> {
        self.0
            .get(&exchange.from)
            .filter(|known| known.disk == exchange.disk)
    }
}

impl Window {
    /// Whether a number has been seen, or is too old to tell. A sender that has
    /// numbered its requests does not stop.
    fn has(&self, number: u64) -> bool {
        if number > self.highest || self.highest == 0 {
            return false;
        }
        if number == 0 || self.highest - number >= WINDOW {
            return true;
        }
        let (word, bit) = place(number);
        self.bits[word] & bit != 0
    }

    /// Its sender says what its last number was (0: it does not). One far beyond that
    /// was not its own. What had overtaken the answer is within the window.
    fn proven(&mut self, last: u64) {
        if last > 0 && self.highest > last.saturating_add(WINDOW) {
            *self = Window::default();
            self.add(last);
        }
    }

    fn add(&mut self, number: u64) {
        if number == 0 {
            return;
        }
        if number > self.highest {
            let gone = (number - self.highest).min(WINDOW);
            for step in 0..gone {
                let (word, bit) = place(number - step);
                self.bits[word] &= !bit;
            }
            self.highest = number;
        }
        let (word, bit) = place(number);
        self.bits[word] |= bit;
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_its_sender_never_came_to_is_given_up() {
        let mut window = Window::default();
        window.add(40);
        window.add(u64::MAX);
        assert!(window.has(41), "somebody else has claimed a number");
        window.proven(0);
        assert!(window.has(41), "an answer without a number proves nothing");
        window.proven(42);
        assert!(window.has(42) && !window.has(43));
        // What is a little ahead has overtaken the answer.
        window.add(50);
        window.proven(45);
        assert!(window.has(50));
    }

    #[test]
    fn each_number_counts_once_in_whatever_order() {
        let mut window = Window::default();
        assert!(!window.has(0) && !window.has(7));
        for number in [5, 3, 4, 900, 1, 5_000, 4_500] {
            assert!(!window.has(number), "{number}");
            window.add(number);
            assert!(window.has(number), "{number}");
        }
        assert!(!window.has(4_999), "not seen, and not too old");
        assert!(window.has(3_976), "too old to tell");
        assert!(window.has(0), "it has had numbers");
        window.add(u64::MAX);
        assert!(window.has(u64::MAX) && window.has(5_000) && !window.has(u64::MAX - 1));
    }
}
