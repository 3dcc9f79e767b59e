//! Names of which a copy is missing, as far as somebody noticed: who asks a quorum
//! owes them, and the replicator pays.

use std::collections::{HashSet, VecDeque};

use chord_types::FileName;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Names that are remembered; past it a full pass finds them.
const MAX_DEBTS: usize = 10_000;

/// What is owed.
#[derive(Debug, Default)]
pub struct Debts {
    /// No lock of tokio's: nothing is awaited while it is held.
    owed: Mutex<Owed>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Owed {
    queue: VecDeque<FileName>,
    known: HashSet<FileName>,
    /// More names had debts than are remembered.
    overflowed: bool,
}

impl Debts {
    /// Remembers that a copy of something of this name is missing.
    pub fn owe(&self, name: &FileName) {
        let mut owed = self.owed.lock();
        if owed.known.contains(name) {
            return;
        }
        if owed.queue.len() >= MAX_DEBTS {
            owed.overflowed = true;
            return;
        }
        owed.known.insert(name.clone());
        owed.queue.push_back(name.clone());
        drop(owed);
        self.changed.notify_one();
    }

    /// The next name with a debt, which is not owed any more.
    pub fn next(&self) -> Option<FileName> {
        let mut owed = self.owed.lock();
        let name = owed.queue.pop_front()?;
        owed.known.remove(&name);
        Some(name)
    }

    /// Until something is owed anew.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Names with debts, and whether more were dropped than remembered.
    pub fn count(&self) -> (usize, bool) {
        let owed = self.owed.lock();
        (owed.queue.len(), owed.overflowed)
    }

    /// A full pass begins: it will find what was not remembered.
    pub fn forget_overflow(&self) {
        self.owed.lock().overflowed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_owed_once_and_too_many_are_counted() {
        let debts = Debts::default();
        let name = |n: usize| FileName::new(format!("f{n}")).unwrap();
        debts.owe(&name(0));
        debts.owe(&name(0));
        assert_eq!(debts.count(), (1, false));
        (1..MAX_DEBTS).for_each(|n| debts.owe(&name(n)));
        debts.owe(&name(MAX_DEBTS));
        assert_eq!(debts.count(), (MAX_DEBTS, true));
        debts.forget_overflow();
        assert_eq!(debts.next(), Some(name(0)));
        debts.owe(&name(0));
        assert_eq!(debts.count(), (MAX_DEBTS, false));
    }
}
