//! Puts a node together. Each part is given just the parts that it uses; only who
//! starts a node sees all of them.

pub mod config;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;
use std::time::Duration;

use chord_types::{ClusterUid, Ordinal};
use tokio::sync::Notify;

use self::config::Args;
use crate::answer::{Fetcher, Responder};
use crate::files::coordinator::Coordinator;
use crate::files::dropbox::Dropbox;
use crate::files::get::Downloader;
use crate::files::memory::Memory;
use crate::files::place::Placer;
use crate::files::put::Uploader;
use crate::files::space::SpaceCheck;
use crate::files::verify::Verifier;
use crate::http::peer_port::PeerPort;
use crate::http::this_node::finder::Finder;
use crate::http::this_node::holdings::Holdings;
use crate::http::this_node::itself::NodeItself;
use crate::http::this_node::supervisor::Supervisor;
use crate::notes::{Debts, Garbage, Progress, Readers, Standing, Uploads};
use crate::peer::Transport;
use crate::peer::address::AddressBook;
use crate::quorum::Quorum;
use crate::report::Reporter;
use crate::report::status::StatusBoard;
use crate::ring::Ring;
use crate::store::Store;
use crate::view::{Identity, ViewKeeper};
use crate::workers::Workers;
use crate::workers::census::Census;
use crate::workers::leftovers::Leftovers;
use crate::workers::migrator::Migrator;
use crate::workers::owners::Owners;
use crate::workers::payer::Payer;
use crate::workers::reaper::Reaper;
use crate::workers::repair::Repairer;
use crate::workers::replicator::Replicator;
use crate::workers::scrub::Scrub;
use crate::workers::takeover::Takeover;
use crate::world::World;

/// No worker runs more often than this, whatever the command line says.
const SHORTEST_ROUND_MS: u64 = 100;
/// Nor the reaper than this.
const SHORTEST_REAP_MS: u64 = 1_000;

/// A node, put together and at rest.
pub struct Node {
    /// Who it is: its name, its disk and its cluster.
    pub me: Arc<Identity>,
    /// Time, chance and tasks: what the programs around the node run in, too.
    pub world: World,
    /// The disk; to be closed when the node has stopped.
    pub store: Store,
    /// The view that it acts by.
    pub view: Arc<ViewKeeper>,
    /// Its place on the ring.
    pub ring: Arc<Ring>,
    /// Answers for its disk, whoever asks.
    pub responder: Arc<Responder>,
    /// Asks the owners of names.
    pub quorum: Arc<Quorum>,
    /// The bounds of what requests may hold in memory.
    pub memory: Memory,
    /// Uploads that this process is at.
    pub uploads: Uploads,
    /// Copies that are known to be missing.
    pub debts: Arc<Debts>,
    /// Uploads whose chunks may go.
    pub garbage: Arc<Garbage>,
    /// What was proven of the view in force.
    pub standing: Arc<Standing>,
    /// Says how it stands.
    pub reporter: Arc<Reporter>,
    /// The data path, for the client port.
    pub files: Coordinator,
    /// What the client port asks of this node alone.
    pub itself: NodeItself,
    /// What the peer port answers with.
    pub peer_port: PeerPort,
    /// What it does by itself, once it is started.
    pub workers: Workers,
}

/// What a node is made from, beside its command line.
pub struct Outside {
    /// Which node it is.
    pub ordinal: Ordinal,
    /// The cluster's.
    pub secret: String,
    /// The disk, open.
    pub store: Store,
    /// The way to the other nodes.
    pub peers: Arc<dyn Transport>,
    /// Where the other nodes are, for people.
    pub book: Arc<AddressBook>,
    /// Who changes the cluster, under `chord up`.
    pub supervisor: Supervisor,
    /// Time, chance and tasks.
    pub world: World,
}

/// The parts that most others are given.
struct Base {
    me: Arc<Identity>,
    world: World,
    store: Store,
    view: Arc<ViewKeeper>,
    peers: Arc<dyn Transport>,
    ring: Arc<Ring>,
    fetcher: Fetcher,
    responder: Arc<Responder>,
    quorum: Arc<Quorum>,
    uploads: Uploads,
    readers: Readers,
    debts: Arc<Debts>,
    garbage: Arc<Garbage>,
    standing: Arc<Standing>,
    progress: Arc<Progress>,
    reporter: Arc<Reporter>,
    dropped: Arc<Notify>,
}

impl Node {
    /// Puts the parts together.
    pub fn new(args: &Args, outside: Outside) -> Node {
        let Outside {
            ordinal,
            secret,
            store,
            peers,
            book,
            supervisor,
            world,
        } = outside;
        let me = Arc::new(Identity {
            name: args.name.clone(),
            ordinal,
            disk: store.disk(),
            cluster: ClusterUid(args.cluster_uid.clone()),
            boot: store.boot(),
        });
        let base = Base::new(args, me, store, peers, world);
        let memory = Memory::new(args.chunk_size as usize);
        let files = base.files(args, &memory);
        let workers = base.workers(args, &files.uploader);
        Node {
            itself: base.itself(supervisor, book),
            peer_port: base.peer_port(secret),
            me: base.me,
            world: base.world,
            store: base.store,
            view: base.view,
            ring: base.ring,
            responder: base.responder,
            quorum: base.quorum,
            memory,
            uploads: base.uploads,
            debts: base.debts,
            garbage: base.garbage,
            standing: base.standing,
            reporter: base.reporter,
            files,
            workers,
        }
    }

    /// Starts what it does by itself.
    pub fn start(&self) {
        self.world.tasks.spawn(self.ring.clone().run());
        self.workers.start(&self.world.tasks);
    }
}

impl Base {
    fn new(
        args: &Args,
        me: Arc<Identity>,
        store: Store,
        peers: Arc<dyn Transport>,
        world: World,
    ) -> Base {
        let view = Arc::new(ViewKeeper::new(me.clone(), store.clone()));
        let (uploads, readers) = (Uploads::default(), Readers::default());
        let (debts, garbage) = (Arc::new(Debts::default()), Arc::new(Garbage::default()));
        let standing = Arc::new(Standing::default());
        let progress = Arc::new(Progress::default());
        let ring = Arc::new(Ring::new(
            me.clone(),
            view.clone(),
            store.clone(),
            peers.clone(),
            world.tasks.clone(),
            progress.clone(),
            Duration::from_millis(args.stabilize_every_ms),
        ));
        let fetcher = Fetcher::new(me.clone(), store.clone(), peers.clone());
        let responder = Arc::new(Responder::new(
            me.clone(),
            store.clone(),
            view.clone(),
            fetcher.clone(),
            uploads.clone(),
            readers.clone(),
            garbage.clone(),
        ));
        let quorum = Arc::new(Quorum::new(
            me.clone(),
            view.clone(),
            responder.clone(),
            peers.clone(),
            debts.clone(),
            world.tasks.clone(),
            world.random.clone(),
        ));
        let reporter = Arc::new(Reporter {
            me: me.clone(),
            store: store.clone(),
            view: view.clone(),
            debts: debts.clone(),
            standing: standing.clone(),
        });
        Base {
            me,
            world,
            store,
            view,
            peers,
            ring,
            fetcher,
            responder,
            quorum,
            uploads,
            readers,
            debts,
            garbage,
            standing,
            progress,
            reporter,
            dropped: Arc::new(Notify::new()),
        }
    }

    fn files(&self, args: &Args, memory: &Memory) -> Coordinator {
        let placer = Arc::new(Placer {
            quorum: self.quorum.clone(),
            debts: self.debts.clone(),
            tasks: self.world.tasks.clone(),
            uploads: self.uploads.clone(),
            stragglers: memory.stragglers.clone(),
        });
        let uploader = Uploader {
            me: self.me.clone(),
            quorum: self.quorum.clone(),
            placer,
            tasks: self.world.tasks.clone(),
            clock: self.world.clock,
            random: self.world.random.clone(),
            uploads: self.uploads.clone(),
            memory: memory.uploads.clone(),
            chunk_size: args.chunk_size as usize,
        };
        Coordinator {
            me: self.me.clone(),
            view: self.view.clone(),
            quorum: self.quorum.clone(),
            space: Arc::new(SpaceCheck {
                me: self.me.clone(),
                view: self.view.clone(),
                store: self.store.clone(),
                ring: self.ring.clone(),
            }),
            uploader: Arc::new(uploader),
            downloader: Arc::new(Downloader {
                me: self.me.clone(),
                view: self.view.clone(),
                ring: self.ring.clone(),
                fetcher: self.fetcher.clone(),
                debts: self.debts.clone(),
                readers: self.readers.clone(),
                memory: memory.downloads.clone(),
            }),
            dropbox: Arc::new(Dropbox {
                me: self.me.clone(),
                view: self.view.clone(),
                store: self.store.clone(),
                kept: self.dropped.clone(),
            }),
            verifier: Arc::new(Verifier {
                me: self.me.clone(),
                quorum: self.quorum.clone(),
                debts: self.debts.clone(),
            }),
        }
    }

    fn workers(&self, args: &Args, uploader: &Arc<Uploader>) -> Workers {
        let every = |ms: u64, least: u64| Duration::from_millis(ms.max(least));
        let owners = Owners {
            me: self.me.clone(),
            quorum: self.quorum.clone(),
        };
        let repairer = Repairer {
            owners: owners.clone(),
            quorum: self.quorum.clone(),
        };
        Workers {
            census: Arc::new(Census {
                me: self.me.clone(),
                view: self.view.clone(),
                store: self.store.clone(),
                standing: self.standing.clone(),
            }),
            migrator: Arc::new(self.migrator(args, &owners, &repairer, uploader)),
            replicator: Arc::new(Replicator {
                me: self.me.clone(),
                view: self.view.clone(),
                store: self.store.clone(),
                ring: self.ring.clone(),
                quorum: self.quorum.clone(),
                owners: owners.clone(),
                repairer: repairer.clone(),
                debts: self.debts.clone(),
                standing: self.standing.clone(),
                progress: self.progress.clone(),
                every: every(args.replicate_every_ms, SHORTEST_ROUND_MS),
            }),
            payer: Arc::new(Payer {
                view: self.view.clone(),
                repairer,
                debts: self.debts.clone(),
                progress: self.progress.clone(),
            }),
            reaper: Arc::new(Reaper {
                me: self.me.clone(),
                view: self.view.clone(),
                store: self.store.clone(),
                ring: self.ring.clone(),
                quorum: self.quorum.clone(),
                owners,
                garbage: self.garbage.clone(),
                readers: self.readers.clone(),
                progress: self.progress.clone(),
                chunk_size: u64::from(args.chunk_size),
                every: every(args.replicate_every_ms, SHORTEST_REAP_MS),
            }),
            store: self.store.clone(),
            scrub: Arc::new(Scrub {
                store: self.store.clone(),
                debts: self.debts.clone(),
                progress: self.progress.clone(),
            }),
        }
    }

    fn migrator(
        &self,
        args: &Args,
        owners: &Owners,
        repairer: &Repairer,
        uploader: &Arc<Uploader>,
    ) -> Migrator {
        Migrator {
            view: self.view.clone(),
            store: self.store.clone(),
            quorum: self.quorum.clone(),
            owners: owners.clone(),
            repairer: repairer.clone(),
            leftovers: Leftovers {
                me: self.me.clone(),
                view: self.view.clone(),
                store: self.store.clone(),
                quorum: self.quorum.clone(),
                owners: owners.clone(),
                garbage: self.garbage.clone(),
                standing: self.standing.clone(),
                progress: self.progress.clone(),
                patience: Duration::from_millis(args.drop_redundant_after_ms),
            },
            takeover: Takeover {
                view: self.view.clone(),
                store: self.store.clone(),
                quorum: self.quorum.clone(),
                uploader: uploader.clone(),
                progress: self.progress.clone(),
            },
            reporter: self.reporter.clone(),
            standing: self.standing.clone(),
            progress: self.progress.clone(),
            dropped: self.dropped.clone(),
            every: Duration::from_millis(args.migrate_every_ms.max(SHORTEST_ROUND_MS)),
        }
    }

    fn itself(&self, supervisor: Supervisor, book: Arc<AddressBook>) -> NodeItself {
        NodeItself {
            me: self.me.clone(),
            view: self.view.clone(),
            store: self.store.clone(),
            ring: self.ring.clone(),
            progress: self.progress.clone(),
            reporter: self.reporter.clone(),
            board: Arc::new(StatusBoard {
                me: self.me.clone(),
                view: self.view.clone(),
                reporter: self.reporter.clone(),
                progress: self.progress.clone(),
                peers: self.peers.clone(),
                book,
            }),
            holdings: Arc::new(Holdings {
                store: self.store.clone(),
                garbage: self.garbage.clone(),
            }),
            finder: Arc::new(Finder {
                me: self.me.clone(),
                view: self.view.clone(),
                ring: self.ring.clone(),
                quorum: self.quorum.clone(),
            }),
            supervisor: Arc::new(supervisor),
        }
    }

    fn peer_port(&self, secret: String) -> PeerPort {
        PeerPort {
            secret,
            view: self.view.clone(),
            store: self.store.clone(),
            responder: self.responder.clone(),
            ring: self.ring.clone(),
            reporter: self.reporter.clone(),
            tasks: self.world.tasks.clone(),
        }
    }
}
