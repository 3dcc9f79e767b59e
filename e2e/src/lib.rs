//! Suites that run against a whole cluster, from outside, as a user would.
//!
//! [`suites`] says what must hold, once; [`stage`] is where it runs: processes
//! under `chord up`, or a real Kubernetes with the real charts. [`runner`] runs the
//! suites one after the other and counts. [`bench`] measures. Nothing here shares code
//! with what is tested but the wire types of `chord-api`.

pub mod bench;
pub mod cluster_spec;
pub mod inspect;
pub mod program;
pub mod runner;
pub mod stage;
pub mod suites;
pub mod tally;
pub mod traffic;
pub mod wait;
