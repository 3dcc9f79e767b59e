//! What the planner does in the situations that people ask about.

mod forming;
mod repair;
mod scaling;
mod settings;
mod views;

use chord_types::view::Epoch;
use chord_types::{ClusterUid, Ordinal, Tables};

use super::world::*;
use crate::plan::*;

fn is_joint(world: &World) -> bool {
    matches!(world.view().tables, Tables::Joint(..))
}
