//! All experiments of docs/ring.md: renews the parts between its markers, and
//! the plots in the folder beside it.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser;

use super::experiments;
use super::figure::{FOLDER, Figure, write};
use crate::args::sim::{ReportArgs, SimRingArgs};
use crate::failure::Failure;

/// What is run, as it would be typed: the words after `chord sim ring`, and in
/// short.
const PARTS: [(&str, &str); 10] = [
    ("paths", "paths --most 64 --lookups 200 --rings 1"),
    (
        "crash --runs 3",
        "crash --nodes 60 --dead 0,50 --lookups 100 --runs 1",
    ),
    (
        "crash --nodes 2000 --successors 6 --dead 10,30,50 --runs 1",
        "crash --nodes 60 --successors 6 --dead 10 --lookups 100 --runs 1",
    ),
    (
        "churn --runs 1",
        "churn --nodes 30 --rates 0.01 --lookups 50",
    ),
    (
        "churn --like node --rates 0.4 --lookups 2000",
        "churn --nodes 16 --rates 0.01 --lookups 20 --like node",
    ),
    ("join --nodes 8,32,128,512,2048", "join --nodes 8,16"),
    (
        "upkeep --rings 3x64,10x64,50x64,100x64,1000x1",
        "upkeep --rings 3x2 --seconds 10 --churn 0.01 --churn-nodes 16 --churn-seconds 20",
    ),
    ("view", "view --nodes 8,64 --lookups 100"),
    (
        "faults --partition 50 --lasts 120",
        "faults --nodes 8 --partition 50 --lasts 10 --after 10",
    ),
    (
        "faults --racks 6:2",
        "faults --nodes 12 --racks 6:2 --lasts 10 --after 10",
    ),
];

#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Typed {
    #[command(flatten)]
    ring: SimRingArgs,
}

/// Runs them all, or those that were asked for.
pub fn report(a: &ReportArgs) -> Result<(), Failure> {
    let file = a.dir.join("ring.md");
    let read = || {
        std::fs::read_to_string(&file)
            .map_err(|e| Failure::failed(format!("cannot read {}: {e}", file.display())))
    };
    read()?;
    let known = |only: &str| PARTS.iter().any(|(long, _)| first_word(long) == only);
    if let Some(stranger) = a.only.iter().find(|only| !known(only)) {
        let all: BTreeSet<&str> = PARTS.iter().map(|(long, _)| first_word(long)).collect();
        let all: Vec<&str> = all.into_iter().collect();
        return Err(Failure::usage(format!(
            "--only {stranger}: the report has no such experiment; it has {}",
            all.join(", ")
        )));
    }
    let wanted =
        |words: &str| a.only.is_empty() || a.only.iter().any(|only| only == first_word(words));
    for (long, short) in PARTS.iter().filter(|(long, _)| wanted(long)) {
        let words = if a.short { short } else { long };
        eprintln!("chord sim ring {words}");
        let figure = run(words)?;
        let folder = a.dir.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(|e| {
            Failure::failed(format!("cannot make the folder {}: {e}", folder.display()))
        })?;
        for (n, plot) in figure.plots.iter().enumerate() {
            write(&a.dir.join(figure.file(n)), &plot.svg())?;
        }
        // After each one, and from the file as it is by then: a long run that is
        // broken off leaves what it has, and others may run beside it.
        write(&file, &renewed(&read()?, &figure, &file)?)?;
    }
    Ok(())
}

fn first_word(words: &str) -> &str {
    words.split_whitespace().next().unwrap_or_default()
}

fn run(words: &str) -> Result<Figure, Failure> {
    let typed = Typed::try_parse_from(words.split_whitespace())
        .map_err(|e| Failure::failed(format!("`{words}` cannot be run: {e}")))?;
    let figure = typed.ring.what.as_ref().map(experiments::run).transpose()?;
    figure
        .flatten()
        .ok_or_else(|| Failure::failed(format!("`{words}` is no experiment")))
}

/// The document with the part of one figure renewed.
fn renewed(text: &str, figure: &Figure, file: &Path) -> Result<String, Failure> {
    let begin = format!("<!-- figure: {} -->\n", figure.name);
    let end = "<!-- end -->";
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        return Err(Failure::failed(format!(
            "{} has no part from {} to {end}: write these two lines where the figure belongs",
            file.display(),
            begin.trim()
        )));
    };
    Ok(format!("{before}{begin}{}{end}{after}", figure.markdown()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document of the repository, so that a figure without a place in it, or
    /// words that no longer parse, are found.
    #[test]
    fn the_report_renews_every_part_of_the_document() {
        let dir = tempfile::tempdir().unwrap();
        let document = include_str!("../../../docs/ring.md");
        let file = dir.path().join("ring.md");
        std::fs::write(&file, document).unwrap();
        let args = ReportArgs {
            dir: dir.path().to_path_buf(),
            short: true,
            only: Vec::new(),
        };
        report(&args).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("chord sim ring paths --most 64 --lookups 200"));
        let links = |text: &str| -> BTreeSet<String> {
            let links = text.split("![").skip(1);
            let links = links.map(|link| link.split(['(', ')']).nth(1).unwrap().to_string());
            links.collect()
        };
        assert_eq!(links(&text), links(document), "the links of before");
        for name in links(&text) {
            let plot = std::fs::read_to_string(dir.path().join(&name)).unwrap();
            assert!(plot.ends_with("</svg>\n"), "{name}");
        }
        for (long, _) in PARTS {
            Typed::try_parse_from(long.split_whitespace()).unwrap();
        }
    }

    #[test]
    fn an_experiment_that_the_report_has_not_is_no_empty_report() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ring.md"), "").unwrap();
        let args = ReportArgs {
            dir: dir.path().to_path_buf(),
            short: true,
            only: vec!["chrun".to_string()],
        };
        let error = report(&args).unwrap_err().to_string();
        assert!(
            error.contains("chrun") && error.contains("churn, crash"),
            "{error}"
        );
    }

    #[test]
    fn the_largest_seed_runs_as_any_other() {
        let last = u64::MAX;
        for words in [
            format!("paths --most 8 --lookups 20 --rings 2 --seed {last}"),
            format!("crash --nodes 20 --dead 0 --lookups 20 --runs 2 --seed {last}"),
            format!("churn --nodes 8 --rates 0 --lookups 5 --runs 2 --seed {last}"),
        ] {
            let figure = run(&words).unwrap();
            let count = figure.head.iter().position(|h| *h == "look-ups").unwrap();
            let looked_up: u32 = figure.rows[0][count].parse().unwrap();
            assert!(looked_up >= 10, "{words}: {looked_up}");
        }
    }

    /// However small its chance: the seed was looked for.
    #[test]
    fn a_run_in_which_everybody_dies_says_so() {
        let words = "faults --nodes 3 --crash 21 --lasts 10 --after 10 --lookups 1 --seed 27";
        let error = run(words).unwrap_err().to_string();
        assert!(
            error.contains("every one of the 3 nodes crashed"),
            "{error}"
        );
    }

    #[test]
    fn arguments_that_do_not_go_together_are_errors_of_use() {
        let typed = Typed::try_parse_from(["faults", "--nodes", "3", "--racks", "6:5"]).unwrap();
        let error = experiments::run(&typed.ring.what.unwrap()).unwrap_err();
        assert_eq!(error.code(), Some(crate::failure::Code::Usage));
    }

    #[test]
    fn a_document_without_the_marker_is_named() {
        let figure = run("view --nodes 8 --lookups 10").unwrap();
        let error = renewed("no place", &figure, Path::new("ring.md")).unwrap_err();
        assert!(error.to_string().contains("<!-- figure: view -->"));
    }
}
