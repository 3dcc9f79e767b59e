//! The shell around [`chord_register`]: drives operations on registers over the
//! network.

pub mod drive;
pub mod turns;
