//! The Kubernetes shell: a `ChordCluster` in, Kubernetes objects out.
//!
//! A round of a cluster is a pipeline, one module a step, each with an error of its
//! own: [`observe`] → [`validate`] → plan → [`build`] → [`apply`] → [`status`];
//! [`reconcile`] is its table of contents. [`controller`] decides when a cluster gets a
//! round, [`process`] which operator works and what it answers about itself. Under the
//! steps lie [`api`], the API server as it was last seen and writes to it, [`secret`],
//! [`names`], and [`failure`], which says what each kind of failure means.

pub mod api;
pub mod apply;
pub mod build;
pub mod controller;
pub mod failure;
pub mod names;
pub mod observe;
pub mod process;
pub mod reconcile;
mod run;
pub mod secret;
pub mod status;
pub mod validate;

pub use self::run::{Error, Options, run};
