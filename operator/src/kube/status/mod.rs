//! What people see of a cluster: its status and its events.

pub mod publish;
