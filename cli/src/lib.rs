//! The command line of chord.
