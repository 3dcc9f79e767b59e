//! The processes of the cluster: the nodes and the operator, each started again when
//! it ends.

pub mod nodes;
pub mod operator;
pub mod ports;
pub mod process;
mod step;
#[cfg(test)]
mod tests;
