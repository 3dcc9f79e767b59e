//! Benches: a cluster on this machine, measured from outside, beside what the machine
//! allows (`make bench`) and beside another store (`make bench-peers`).
//!
//! [`loads`] is what clients ask, whosever store it is; [`client`] asks it and
//! compares every byte. [`phases`] and [`threshold`] are what is measured of chord
//! alone, [`peers`] what is measured of it and of [`garage`], turn by turn.
//! [`record`] is what every bench does around its measurements.

pub mod client;
pub mod cluster;
pub mod figures;
pub mod garage;
pub mod loads;
pub mod peers;
pub mod phases;
pub mod record;
pub mod s3;
pub mod threshold;
pub mod yardsticks;
