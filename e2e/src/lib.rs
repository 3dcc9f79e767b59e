//! Suites that run against a whole cluster, from outside, as a user would.
//!
//! `suites` says what must hold, once (`suite`: what one is); `stage` is where it runs:
//! processes under `chord up`, or a real Kubernetes with the real charts. `traffic` is
//! what clients send meanwhile, `inspect` looks at where things are. [`runner`] runs the
//! suites one after the other and counts; [`bench`] measures. Nothing here shares code
//! with what is tested but the types of `chord-types` and `chord-api`.

#![warn(missing_docs)]

pub mod bench;
mod cluster_spec;
mod inspect;
mod program;
pub mod runner;
mod stage;
mod suite;
mod suites;
mod tally;
mod traffic;
mod wait;
