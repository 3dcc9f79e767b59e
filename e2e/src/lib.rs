//! Suites that run against a whole cluster, from outside, as a user would.
//!
//! [`suites`] says what must hold, once; [`stage`] is where it runs: processes
//! under `chord up`, or a real Kubernetes with the real charts. [`run`] runs the
//! suites one after the other and counts. [`bench`] measures. Nothing here shares code
//! with what is tested but the wire types of `chord-api`.

pub mod bench;
pub mod client;
pub mod content;
pub mod load;
pub mod look;
pub mod manifest;
pub mod program;
pub mod run;
pub mod stage;
pub mod suites;
pub mod tally;
pub mod wait;
