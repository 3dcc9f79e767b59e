//! What no option of an experiment can be wrong about alone: values that are right by
//! themselves and not together.

use super::ring::{CrashArgs, Experiment, FaultsArgs};
use super::values::{MOST_LOOKUPS, few_enough};

/// How likely it may be that an experiment kills everybody.
const MOST_CHANCE_OF_NOBODY: f64 = 0.01;

/// When the faults begin, in virtual seconds.
pub const FAULTS_AT: u64 = 20;

impl Experiment {
    /// What no argument can be wrong about alone.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Experiment::Crash(a) => a.check(),
            Experiment::Faults(a) => a.check(),
            _ => Ok(()),
        }
    }
}

impl CrashArgs {
    fn check(&self) -> Result<(), String> {
        let mut all = self.dead.iter();
        all.try_for_each(|dead| survivors(self.nodes, *dead, "--dead"))
    }
}

impl FaultsArgs {
    fn check(&self) -> Result<(), String> {
        let nodes = self.nodes;
        few_enough(nodes, self.tokens)?;
        let seconds = FAULTS_AT + u64::from(self.lasts) + u64::from(self.after);
        let lookups = u64::from(self.lookups) * seconds;
        if lookups > MOST_LOOKUPS as u64 {
            return Err(format!(
                "--lookups {} in each of {seconds} virtual seconds are {lookups}, and {MOST_LOOKUPS} can be made: take fewer, or a shorter time (--lasts, --after)",
                self.lookups
            ));
        }
        if let Some(percent) = self.partition
            && self.cut_off() == 0
        {
            return Err(format!(
                "--partition {percent} of {nodes} nodes cuts off nobody: {} % is one node",
                100_u32.div_ceil(nodes)
            ));
        }
        let mut left = nodes;
        if let Some((of, lost)) = self.racks {
            if of > nodes {
                return Err(format!(
                    "--racks {of}:{lost}: {nodes} nodes cannot stand in {of} racks; at most as many racks as nodes"
                ));
            }
            left = (0..nodes).filter(|n| n % of >= lost).count() as u32;
        }
        self.crash
            .map_or(Ok(()), |percent| survivors(left, percent, "--crash"))
    }

    /// How many nodes a partition cuts off, as the simulator counts them.
    fn cut_off(&self) -> u32 {
        let share = f64::from(self.partition.unwrap_or(0)) / 100.0;
        (f64::from(self.nodes) * share) as u32
    }
}

/// Each of `nodes` dies by itself with this chance: that all do must not be likely,
/// for a ring without members has nothing to show.
fn survivors(nodes: u32, percent: u32, option: &str) -> Result<(), String> {
    let nobody = (f64::from(percent) / 100.0).powf(f64::from(nodes));
    if nobody > MOST_CHANCE_OF_NOBODY {
        return Err(format!(
            "{option} {percent} of {nodes} nodes leaves nobody in one run of {:.0}: take more nodes, or a smaller share",
            1.0 / nobody
        ));
    }
    Ok(())
}
