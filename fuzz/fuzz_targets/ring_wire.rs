//! Arbitrary bytes as exchanges of the ring: decoded, judged, received by a small
//! host that has to stay sound. The host and what it has to keep to are in the node's crate, where an
//! ordinary test runs it, too.
#![no_main]

use std::sync::LazyLock;

use chord_node::peer::ring::fuzzing::{self, World};

static WORLD: LazyLock<World> = LazyLock::new(World::new);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Err(broken) = fuzzing::run(&WORLD, input) {
        panic!("{broken}");
    }
});
