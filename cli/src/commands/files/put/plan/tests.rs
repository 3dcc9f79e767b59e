//! What `chord put` makes of its arguments.

use clap::Parser;

use super::*;
use crate::args::{Cli, Command};
use crate::failure::Code;

fn args(line: &[&str]) -> PutArgs {
    let words = ["chord", "put"].iter().chain(line);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Put(put) => put,
        _ => panic!("not put"),
    }
}

/// Here are the files a and b, and the folder d.
fn planned(line: &[&str]) -> Result<Vec<(String, String)>, Failure> {
    let uploads = plan(&args(line), |path| match path.to_str() {
        Some("a" | "b" | "x/a") => Some(PathKind::File),
        Some("d" | "d/") => Some(PathKind::Folder),
        _ => None,
    })?;
    let shown = |source: &Source| match source {
        Source::Stdin => "-".to_string(),
        Source::File(path) | Source::Folder(path) => path.display().to_string(),
    };
    Ok(uploads
        .iter()
        .map(|t| (shown(&t.source), t.name.clone()))
        .collect())
}

fn pairs(line: &[&str]) -> Vec<(String, String)> {
    planned(line).unwrap()
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.to_string(), b.to_string())
}

#[test]
fn one_file_keeps_its_own_name_or_takes_the_one_given() {
    assert_eq!(pairs(&["a"]), [pair("a", "a")]);
    assert_eq!(pairs(&["x/a"]), [pair("x/a", "a")]);
    assert_eq!(pairs(&["a", "new"]), [pair("a", "new")]);
    assert_eq!(pairs(&["a", "in/"]), [pair("a", "in/a")]);
    assert_eq!(
        pairs(&["a", "--name", "b"]),
        [pair("a", "b")],
        "--name wins over a file of that name"
    );
}

#[test]
fn a_last_argument_that_is_a_file_is_a_file() {
    assert_eq!(pairs(&["a", "b"]), [pair("a", "a"), pair("b", "b")]);
    assert_eq!(
        pairs(&["a", "b", "in/"]),
        [pair("a", "in/a"), pair("b", "in/b")]
    );
}

#[test]
fn standard_input_is_named_by_what_follows_it() {
    assert_eq!(pairs(&["-", "b"]), [pair("-", "b")], "though b is a file");
    assert!(planned(&["-"]).is_err());
    assert!(planned(&["a", "-"]).is_err());
}

#[test]
fn folders_want_dash_r() {
    assert_eq!(planned(&["d"]).unwrap_err().code(), Some(Code::Usage));
    assert_eq!(pairs(&["-r", "d"]), [pair("d", "d")]);
    assert_eq!(pairs(&["-r", "d/", "in"]), [pair("d/", "in")]);
    assert_eq!(pairs(&["-r", "d", "a"]), [pair("d", "d"), pair("a", "a")]);
}

#[test]
fn what_would_lose_a_file_is_refused() {
    assert!(planned(&["a", "x/a"]).is_err(), "both would be stored as a");
    assert!(
        planned(&["a", "b", "nowhere"]).is_err(),
        "one name for two files"
    );
    assert!(planned(&["a", "b", "--name", "c"]).is_err());
    assert!(planned(&["nowhere"]).is_err());
}
