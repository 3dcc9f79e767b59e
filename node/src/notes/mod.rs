//! What the parts of a node note down for each other, in memory. All of it is lost
//! at a restart, and found again by a full pass.

pub mod debts;
pub mod garbage;
pub mod progress;
pub mod readers;
pub mod standing;
pub mod uploads;

pub use debts::Debts;
pub use garbage::Garbage;
pub use progress::Progress;
pub use readers::Readers;
pub use standing::Standing;
pub use uploads::Uploads;
