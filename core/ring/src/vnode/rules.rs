//! What virtual nodes go by: how long lists are, and ways to get the protocol
//! wrong that only tests can switch on.

use chord_types::Ordinal;

use crate::message::Peer;

/// What all virtual nodes of one host have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// r: how many other hosts a successor list reaches, where so many exist.
    pub successors: usize,
    /// The most entries of a list, for when few hosts have many tokens.
    pub list_cap: usize,
    /// The number of this start of the host, so that replies to an earlier one
    /// match nothing.
    pub boot: u32,
    /// Request numbers wrap here, at most 2^31; small only to make a model finite.
    pub request_ids: u32,
    /// The mistake to make. Outside tests there is no such field.
    #[cfg(test)]
    pub flaw: Option<Flaw>,
}

/// The mistakes that published forms of Chord make; a check is worth something
/// only if it finds each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// A ring starts from one node. (Made by whoever starts the ring.)
    BootstrapAlone,
    /// Members fail though no stable base of r+1 remains. (Made by the world.)
    NoStableBase,
    /// Who joins takes over the first successor only, and nobody has asked it.
    JoinCopiesHead,
    /// Nobody asks whether the present predecessor lives.
    RectifyUnasked,
    /// Old entries stay in a list beside those of the successor.
    MergeLists,
    /// A node that restarts goes on with the pointers it had. (Made by its host.)
    ResumePointers,
    /// The successor's predecessor is adopted before it has answered.
    AdoptUnanswered,
}

impl Rules {
    /// Lists that reach `successors` other hosts in at most `list_cap` entries,
    /// for the start of the host that has the number `boot`.
    pub fn new(successors: usize, list_cap: usize, boot: u32) -> Rules {
        Rules {
            successors,
            list_cap,
            boot,
            request_ids: 1 << 31,
            #[cfg(test)]
            flaw: None,
        }
    }

    /// Whether this mistake is to be made: never outside tests.
    #[cfg(test)]
    pub fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Whether this mistake is to be made: never outside tests.
    #[cfg(not(test))]
    pub const fn has(&self, _: Flaw) -> bool {
        false
    }
}

/// The part of `peers` that makes a successor list of `me`: up to r other
/// hosts, in clockwise order, ending before it comes round again.
pub fn cut(rules: &Rules, me: &Peer, peers: impl Iterator<Item = Peer>) -> Vec<Peer> {
    let mut list: Vec<Peer> = Vec::with_capacity(rules.successors);
    let mut hosts: Vec<Ordinal> = Vec::with_capacity(rules.successors);
    for peer in peers {
        let from = list.last().map_or(me.id, |l| l.id);
        if peer.id == me.id || !peer.id.between(&from, &me.id) || list.len() >= rules.list_cap {
            break;
        }
        list.push(peer);
        if peer.ordinal != me.ordinal && !hosts.contains(&peer.ordinal) {
            hosts.push(peer.ordinal);
            if hosts.len() >= rules.successors {
                break;
            }
        }
    }
    list
}
