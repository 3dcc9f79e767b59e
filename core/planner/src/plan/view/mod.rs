//! The view: which one is in force, which table is wanted, and which view is next.

pub mod change;
pub mod completion;
pub mod form;
pub mod goal;
pub mod note;
pub mod sites;
pub mod standing;
