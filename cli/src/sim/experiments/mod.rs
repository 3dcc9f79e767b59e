//! The experiments of `chord sim ring`: what is run, and the figure that comes of it.

mod churn;
mod crash;
mod faults;
mod join;
mod pace;
mod paths;
mod runs;
mod statistics;
mod upkeep;
mod view;

use super::figure::Figure;
use crate::args::sim::Experiment;
use crate::failure::Failure;

/// Runs one experiment; `None` for what runs several.
pub fn run(experiment: &Experiment) -> Result<Option<Figure>, Failure> {
    experiment.check().map_err(Failure::usage)?;
    Ok(Some(match experiment {
        Experiment::Paths(a) => paths::paths(a),
        Experiment::Crash(a) => crash::crash(a),
        Experiment::Churn(a) => churn::churn(a),
        Experiment::Join(a) => join::join(a),
        Experiment::Upkeep(a) => upkeep::upkeep(a),
        Experiment::View(a) => view::view(a),
        Experiment::Faults(a) => faults::faults(a)?,
        Experiment::Pace(a) => pace::pace(a),
        Experiment::Report(_) => return Ok(None),
    }))
}
