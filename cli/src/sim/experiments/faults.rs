//! `chord sim ring faults`: a script of faults, from a partition that heals to a mass
//! failure.

use chord_ring::sim::{self, Fault, Network, Tuning, Window};

use crate::args::sim::{FAULTS_AT, FaultsArgs};
use crate::failure::Failure;
use crate::sim::figure::{Figure, json};
use crate::sim::plot::{Axis, Plot, Series};

/// The figure, a row for each ten virtual seconds.
pub fn faults(a: &FaultsArgs) -> Result<Figure, Failure> {
    let ends = FAULTS_AT + u64::from(a.lasts);
    let calm = Network::wide();
    let mut figures = sim::storm(&sim::Storm {
        nodes: a.nodes as usize,
        tuning: Tuning {
            tokens: a.tokens as usize,
            ..Tuning::node()
        },
        script: script(a, &calm, ends),
        network: calm,
        seconds: ends + u64::from(a.after),
        window_s: 10,
        lookups_per_s: u64::from(a.lookups),
        by_view: a.by_view,
        seed: a.common.seed,
    });
    if figures.windows.iter().any(|w| w.running == 0) {
        return Err(Failure::failed(format!(
            "every one of the {} nodes crashed, so that there was no ring to look at: take more nodes, a smaller share, or another --seed",
            a.nodes
        )));
    }
    for window in figures.windows.iter_mut().filter(|w| w.lookups == 0) {
        // The mean of nothing comes as -0.
        (window.hops_mean, window.timeouts_mean) = (0.0, 0.0);
    }
    Ok(Figure {
        name: match (a.partition, a.racks) {
            (Some(_), _) => "partition",
            (None, Some(_)) => "racks",
            (None, None) => "faults",
        },
        command: format!(
            "chord sim ring faults --nodes {} --tokens {}{} --lasts {} --after {} --seed {}",
            a.nodes,
            a.tokens,
            options(a),
            a.lasts,
            a.after,
            a.common.seed
        ),
        head: vec![
            "until s",
            "running",
            "look-ups",
            "named wrong",
            "failed",
            "hops",
            "timeouts",
            "p99 ms",
            "one ring",
            "all right",
        ],
        rows: figures.windows.iter().map(row).collect(),
        plots: vec![plot(a, ends, &figures.windows)],
        json: json(&figures),
    })
}

/// What happens when, in virtual seconds: faults come, and at `ends` they go.
fn script(a: &FaultsArgs, calm: &Network, ends: u64) -> Vec<(u64, Fault)> {
    let share = |percent: u32| f64::from(percent) / 100.0;
    let rough = Network {
        loss: share(a.loss),
        doubled: share(a.doubled),
        late: share(a.late),
        ..calm.clone()
    };
    let mut script = vec![(FAULTS_AT, Fault::Network(rough))];
    script.extend(
        a.partition
            .map(|percent| (FAULTS_AT, Fault::Cut(share(percent)))),
    );
    script.extend(
        a.racks
            .map(|(of, lost)| (FAULTS_AT, Fault::Racks { of, lost })),
    );
    script.extend(
        a.crash
            .map(|percent| (FAULTS_AT, Fault::Crash(share(percent)))),
    );
    script.extend([
        (ends, Fault::Heal),
        (ends, Fault::Restart),
        (ends, Fault::Network(calm.clone())),
    ]);
    script
}

/// The options that ask for these faults, to be typed again.
fn options(a: &FaultsArgs) -> String {
    let mut options = String::new();
    if let Some(percent) = a.partition {
        options += &format!(" --partition {percent}");
    }
    if let Some((of, lost)) = a.racks {
        options += &format!(" --racks {of}:{lost}");
    }
    if let Some(percent) = a.crash {
        options += &format!(" --crash {percent}");
    }
    for (name, percent) in [("loss", a.loss), ("doubled", a.doubled), ("late", a.late)] {
        if percent > 0 {
            options += &format!(" --{name} {percent}");
        }
    }
    if a.by_view {
        options += " --by-view";
    }
    options
}

fn row(w: &Window) -> Vec<String> {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_string();
    // Nothing can be said of look-ups where there were none.
    let of = |text: String| if w.lookups > 0 { text } else { "-".to_string() };
    vec![
        w.until_s.to_string(),
        w.running.to_string(),
        w.lookups.to_string(),
        w.named_wrong.to_string(),
        w.failed.to_string(),
        of(format!("{:.2}", w.hops_mean)),
        of(format!("{:.2}", w.timeouts_mean)),
        of(w.ms_p99.to_string()),
        yes(w.whole),
        yes(w.right),
    ]
}

fn plot(a: &FaultsArgs, ends: u64, windows: &[Window]) -> Plot {
    let points = |y: fn(&Window) -> u64| -> Vec<(f64, f64)> {
        let share = |w: &Window| 100.0 * y(w) as f64 / w.lookups.max(1) as f64;
        windows
            .iter()
            .map(|w| (w.until_s as f64, share(w)))
            .collect()
    };
    Plot {
        title: format!("Faults from {FAULTS_AT} s to {ends} s, {} nodes", a.nodes),
        x: Axis::linear("virtual seconds"),
        y: Axis::linear("percent of the look-ups begun"),
        series: vec![
            Series::measured(
                "the ring named a wrong successor",
                points(|w| w.named_wrong),
            ),
            Series::measured("failed", points(|w| w.failed)),
        ],
    }
}
