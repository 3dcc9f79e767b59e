//! The view: the numbered table that decides who must hold what.
//!
//! Only the operator makes views, one change at a time, and every change is the
//! same: `Stable(T) → Joint(T, T′) → Stable(T′)`; a joint view may also go back
//! to `Stable(T)` or over to `Joint(T, T″)`, since `T` holds every decision.
//! Views chain by the hash of the one before.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Token;

/// The number of a view; grows by one with every view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A member's place in the StatefulSet, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ordinal(pub u32);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a node wrote on its volume when it first opened it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiskId(pub uuid::Uuid);

impl DiskId {
    /// A new disk.
    pub fn random() -> DiskId {
        DiskId(uuid::Uuid::new_v4())
    }
}
impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.0)
    }
}
impl std::str::FromStr for DiskId {
    type Err = String;
    fn from_str(text: &str) -> Result<DiskId, String> {
        text.parse()
            .map(DiskId)
            .map_err(|_| "a disk id is a UUID".to_string())
    }
}

/// Which cluster a view, a disk or a message belongs to: the ChordCluster's UID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterUid(pub String);

impl fmt::Display for ClusterUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member: a name *and a disk*. The same name with another disk is nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its place in the cluster.
    pub ordinal: Ordinal,
    /// Its disk.
    pub disk: DiskId,
    /// Sorted, without duplicates.
    #[serde(with = "packed_tokens")]
    pub tokens: Vec<Token>,
    /// Where it stood when its disk became a member: `topology.kubernetes.io/zone`
    /// of its machine. Fixed from then on, as its tokens are: who owns what must
    /// not change because a pod was started elsewhere.
    #[serde(default)]
    pub zone: Option<String>,
    /// The machine (the Kubernetes node) that it ran on then. Views of format 1
    /// have none, and their zones place nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Given up as dead: keeps its tokens, owns nothing.
    #[serde(default)]
    pub out: bool,
}

impl Member {
    /// Zone and machine as far as they count for placement.
    pub fn site(&self) -> (Option<&str>, Option<&str>) {
        match &self.machine {
            Some(machine) => (self.zone.as_deref(), Some(machine)),
            None => (None, None),
        }
    }
}

/// Tokens as eight bytes each where the format is binary.
mod packed_tokens {
    use super::Token;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(tokens: &[Token], s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            return tokens
                .iter()
                .map(|t| format!("{:016x}", t.0))
                .collect::<Vec<_>>()
                .serialize(s);
        }
        let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.0.to_be_bytes()).collect();
        s.serialize_bytes(&bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Token>, D::Error> {
        use serde::de::Error;
        if d.is_human_readable() {
            let texts = Vec::<String>::deserialize(d)?;
            return texts
                .iter()
                .map(|t| {
                    u64::from_str_radix(t, 16)
                        .map(Token)
                        .map_err(D::Error::custom)
                })
                .collect();
        }
        let bytes = serde_bytes::ByteBuf::deserialize(d)?;
        if bytes.len() % 8 != 0 {
            return Err(D::Error::custom("tokens are eight bytes each"));
        }
        Ok(bytes
            .chunks_exact(8)
            .map(|c| Token(c.iter().fold(0u64, |acc, b| acc << 8 | u64::from(*b))))
            .collect())
    }
}

/// Who the members are and which tokens each has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Copies of everything: R, from 1 to 9.
    pub replication: u8,
    /// In order of their ordinals.
    pub members: Vec<Member>,
}

impl Table {
    /// The member at an ordinal.
    pub fn member(&self, ordinal: Ordinal) -> Option<&Member> {
        self.members.iter().find(|m| m.ordinal == ordinal)
    }
    /// The member with a disk.
    pub fn by_disk(&self, disk: DiskId) -> Option<&Member> {
        self.members.iter().find(|m| m.disk == disk)
    }
    /// Members that are not given up.
    pub fn live(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| !m.out)
    }
    /// How many of `owners` make a quorum: ⌊R/2⌋+1. Counted by R, never by how
    /// many owners happen to be left, so that every two quorums meet.
    pub fn quorum(&self) -> usize {
        usize::from(self.replication) / 2 + 1
    }
    /// The smallest set of owners that meets every quorum: R − q + 1.
    pub fn blocking(&self) -> usize {
        usize::from(self.replication) + 1 - self.quorum()
    }
}

/// The tables in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tables {
    /// One table: no change is under way.
    Stable(Table),
    /// From the first to the second; every operation needs a quorum in both.
    Joint(Table, Table),
}

/// The BLAKE3 hash of a view's encoding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewHash(pub [u8; 32]);

impl ViewHash {
    /// The parent of a first view.
    pub const NONE: ViewHash = ViewHash([0; 32]);
}
impl fmt::Display for ViewHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl fmt::Debug for ViewHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({}…)", hex::encode(&self.0[..4]))
    }
}
impl Serialize for ViewHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_string())
    }
}
impl<'de> Deserialize<'de> for ViewHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<ViewHash, D::Error> {
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(String::deserialize(d)?, &mut bytes)
            .map_err(serde::de::Error::custom)?;
        Ok(ViewHash(bytes))
    }
}

/// A view. Immutable: a change makes the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// The cluster that it belongs to.
    pub cluster: ClusterUid,
    /// Counts the views.
    pub epoch: Epoch,
    /// The hash of the view before.
    pub parent: ViewHash,
    /// Who must hold what.
    pub tables: Tables,
}

/// Which view somebody speaks of, without its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRef {
    /// Its number.
    pub epoch: Epoch,
    /// Its content's hash.
    pub hash: ViewHash,
}

/// Why a view, or a step from one to the next, is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadView {
    /// Its bytes are not a view.
    #[error("the view cannot be decoded: {0}")]
    Encoding(String),
    /// It is of a later format.
    #[error("the view is of format {0}, this program reads formats {FORMAT} and {PLACED}")]
    Format(u8),
    /// It breaks a rule of views.
    #[error("the view is not well formed: {0}")]
    Form(String),
    /// The step does not fit its state.
    #[error("a view in the state {state} cannot {step}")]
    Step {
        /// The state that it is in.
        state: &'static str,
        /// What was to be done.
        step: &'static str,
    },
}

/// The version of the encoding; the first byte of it.
const FORMAT: u8 = 1;

/// The version for views with machines: whoever does not know them would place
/// copies by another rule, so it has to refuse such a view.
const PLACED: u8 = 2;

impl View {
    /// The first view of a cluster.
    pub fn first(cluster: ClusterUid, table: Table) -> Result<View, BadView> {
        View {
            cluster,
            epoch: Epoch(1),
            parent: ViewHash::NONE,
            tables: Tables::Stable(table),
        }
        .checked()
    }

    /// `Stable(T) → Joint(T, T′)`, or `Joint(T, T′) → Joint(T, T″)`.
    pub fn change_to(&self, target: Table) -> Result<View, BadView> {
        self.next(Tables::Joint(self.old().clone(), target))
    }

    /// `Joint(T, T′) → Stable(T′)`: only once every changed range is synced.
    pub fn complete(&self) -> Result<View, BadView> {
        match &self.tables {
            Tables::Joint(_, new) => self.next(Tables::Stable(new.clone())),
            Tables::Stable(_) => Err(BadView::Step {
                state: "Stable",
                step: "complete",
            }),
        }
    }

    /// `Joint(T, T′) → Stable(T)`: always allowed.
    pub fn abandon(&self) -> Result<View, BadView> {
        match &self.tables {
            Tables::Joint(old, _) => self.next(Tables::Stable(old.clone())),
            Tables::Stable(_) => Err(BadView::Step {
                state: "Stable",
                step: "be abandoned",
            }),
        }
    }

    fn next(&self, tables: Tables) -> Result<View, BadView> {
        View {
            cluster: self.cluster.clone(),
            epoch: Epoch(self.epoch.0 + 1),
            parent: self.hash(),
            tables,
        }
        .checked()
    }

    /// The table that holds every decision made before this view.
    pub fn old(&self) -> &Table {
        match &self.tables {
            Tables::Stable(t) | Tables::Joint(t, _) => t,
        }
    }

    /// The table that this view leads to; the same as the old one when stable.
    pub fn new_table(&self) -> &Table {
        match &self.tables {
            Tables::Stable(t) | Tables::Joint(_, t) => t,
        }
    }

    /// The table, when there is just one.
    pub fn stable(&self) -> Option<&Table> {
        match &self.tables {
            Tables::Stable(t) => Some(t),
            Tables::Joint(..) => None,
        }
    }

    /// `Stable` or `Joint`.
    pub fn state(&self) -> &'static str {
        match self.tables {
            Tables::Stable(_) => "Stable",
            Tables::Joint(..) => "Joint",
        }
    }

    /// Members of either table, each disk once.
    pub fn members(&self) -> Vec<&Member> {
        let mut seen = BTreeSet::new();
        let second: &[Member] = match &self.tables {
            Tables::Stable(_) => &[],
            Tables::Joint(_, new) => &new.members,
        };
        self.old()
            .members
            .iter()
            .chain(second)
            .filter(|m| seen.insert(m.disk))
            .collect()
    }

    /// Whether this name with this disk is in the old or the new table.
    pub fn has(&self, ordinal: Ordinal, disk: DiskId) -> bool {
        self.members()
            .iter()
            .any(|m| m.ordinal == ordinal && m.disk == disk)
    }

    /// Its number and hash.
    pub fn reference(&self) -> ViewRef {
        ViewRef {
            epoch: self.epoch,
            hash: self.hash(),
        }
    }

    /// The hash of its encoding.
    pub fn hash(&self) -> ViewHash {
        ViewHash(*blake3::hash(&self.encode()).as_bytes())
    }

    /// The lowest format that says all there is to say, so that a view has one
    /// encoding and one hash.
    fn format(&self) -> u8 {
        let placed = |table: &Table| table.members.iter().any(|m| m.machine.is_some());
        match placed(self.old()) || placed(self.new_table()) {
            true => PLACED,
            false => FORMAT,
        }
    }

    /// The binary form: a format byte, then MessagePack.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.format()];
        // Writing plain owned values to memory has no way to fail.
        out.extend(rmp_serde::to_vec_named(self).unwrap_or_default());
        out
    }

    /// Reads the binary form and checks it.
    pub fn decode(bytes: &[u8]) -> Result<View, BadView> {
        match bytes.split_first() {
            None => Err(BadView::Encoding("it is empty".into())),
            Some((&format @ (FORMAT | PLACED), rest)) => {
                let view = rmp_serde::from_slice::<View>(rest)
                    .map_err(|e| BadView::Encoding(e.to_string()))?
                    .checked()?;
                match view.format() == format {
                    true => Ok(view),
                    false => Err(BadView::Encoding(format!(
                        "it says format {format} and is of format {}",
                        view.format()
                    ))),
                }
            }
            Some((&other, _)) => Err(BadView::Format(other)),
        }
    }

    fn checked(self) -> Result<View, BadView> {
        let form = |why: String| Err(BadView::Form(why));
        for table in [self.old(), self.new_table()] {
            if !(1..=9).contains(&table.replication) {
                return form(format!("replication is {}, not 1 to 9", table.replication));
            }
            if table.members.len() < usize::from(table.replication) {
                return form(format!(
                    "{} members cannot hold {} copies",
                    table.members.len(),
                    table.replication
                ));
            }
            if !table
                .members
                .windows(2)
                .all(|w| w[0].ordinal < w[1].ordinal)
            {
                return form("members are not in order of their ordinals".into());
            }
            let mut tokens = BTreeSet::new();
            let mut disks = BTreeSet::new();
            for member in &table.members {
                if member.tokens.is_empty() {
                    return form(format!("member {} has no token", member.ordinal));
                }
                if !disks.insert(member.disk) {
                    return form(format!("disk {} stands for two members", member.disk));
                }
                for token in &member.tokens {
                    if !tokens.insert(*token) {
                        return form(format!("token {:016x} has two members", token.0));
                    }
                }
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(ordinals: &[u32]) -> Table {
        let members = ordinals
            .iter()
            .map(|&n| Member {
                ordinal: Ordinal(n),
                disk: DiskId(uuid::Uuid::from_u128(u128::from(n))),
                tokens: vec![Token(u64::from(n) << 32), Token(u64::from(n) << 32 | 7)],
                zone: None,
                machine: None,
                out: false,
            })
            .collect();
        Table {
            replication: 2,
            members,
        }
    }

    #[test]
    fn a_change_goes_through_joint_and_chains() {
        let first = View::first(ClusterUid("c".into()), table(&[0, 1])).unwrap();
        let joint = first.change_to(table(&[0, 1, 2])).unwrap();
        assert_eq!(joint.epoch, Epoch(2));
        assert_eq!(joint.parent, first.hash());
        let redirected = joint.change_to(table(&[0, 2])).unwrap();
        assert_eq!(
            redirected.old(),
            first.old(),
            "the old table stays the one that holds everything"
        );
        let done = redirected.complete().unwrap();
        assert_eq!(done.stable(), Some(&table(&[0, 2])));
        assert!(done.complete().is_err());
        assert_eq!(joint.abandon().unwrap().stable(), Some(&table(&[0, 1])));
    }

    #[test]
    fn the_encoding_comes_back_and_garbage_does_not() {
        let view = View::first(ClusterUid("c".into()), table(&[0, 1])).unwrap();
        let joint = view.change_to(table(&[0, 1, 2])).unwrap();
        assert_eq!(View::decode(&joint.encode()).unwrap(), joint);
        assert!(View::decode(b"").is_err());
        assert_eq!(View::decode(b"\x09abc"), Err(BadView::Format(9)));
        let bytes = joint.encode();
        for cut in 1..bytes.len() {
            assert!(View::decode(&bytes[..cut]).is_err());
        }
        let json = serde_json::to_string(&joint).unwrap();
        assert_eq!(serde_json::from_str::<View>(&json).unwrap(), joint);
    }

    #[test]
    fn a_view_written_before_machines_were_keeps_its_bytes() {
        // As the program wrote it that knew zones only.
        let old = "0184a7636c7573746572a163a565706f636801a6706172656e74d940OOOO\
                   a67461626c657381a6537461626c6582ab7265706c69636174696f6e01a76d656d6265727391\
                   85a76f7264696e616c00a46469736bc41000000000000000000000000000000007\
                   a6746f6b656e73c4080000000000000005a47a6f6e65a161a36f7574c2"
            .replace("OOOO", &"30".repeat(64));
        let bytes = hex::decode(old).unwrap();
        let view = View::decode(&bytes).unwrap();
        assert_eq!(view.old().members[0].zone.as_deref(), Some("a"));
        assert_eq!(view.encode(), bytes);
    }

    #[test]
    fn a_view_with_machines_is_refused_by_who_cannot_read_them() {
        let mut placed = table(&[0, 1]);
        for member in &mut placed.members {
            member.zone = Some("a".into());
            member.machine = Some(format!("m{}", member.ordinal));
        }
        let view = View::first(ClusterUid("c".into()), placed).unwrap();
        let mut bytes = view.encode();
        assert_eq!(bytes[0], 2, "another format than that of older programs");
        assert_eq!(View::decode(&bytes).unwrap(), view);
        bytes[0] = 1;
        assert!(View::decode(&bytes).is_err(), "one encoding, one hash");
    }

    #[test]
    fn a_malformed_table_is_refused() {
        let mut few = table(&[0]);
        assert!(View::first(ClusterUid("c".into()), few.clone()).is_err());
        few.replication = 0;
        assert!(View::first(ClusterUid("c".into()), few).is_err());
        let mut twins = table(&[0, 1]);
        twins.members[1].tokens = twins.members[0].tokens.clone();
        assert!(View::first(ClusterUid("c".into()), twins).is_err());
    }

    #[test]
    fn a_thousand_nodes_fit_into_a_config_map() {
        let members = (0..1000)
            .map(|n| Member {
                ordinal: Ordinal(n),
                disk: DiskId::random(),
                tokens: (0..32).map(|t| Token((u64::from(n) << 32) + t)).collect(),
                zone: None,
                machine: None,
                out: false,
            })
            .collect();
        let view = View::first(
            ClusterUid("c".into()),
            Table {
                replication: 3,
                members,
            },
        )
        .unwrap();
        assert!(view.encode().len() < 512 * 1024, "{}", view.encode().len());
    }
}
