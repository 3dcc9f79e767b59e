//! The operator as a process among others: which one works, and what it answers
//! about itself.

pub mod leader;
pub mod serve;
