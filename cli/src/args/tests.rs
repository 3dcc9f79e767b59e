//! The command line as a whole: help, errors of use, and what is taken.

use std::path::PathBuf;

use super::*;

#[test]
fn the_command_line_is_well_formed() {
    command(false).debug_assert();
    command(true).debug_assert();
}

fn parsed(line: &[&str]) -> Result<Cli, clap::Error> {
    let words: Vec<OsString> = ["chord"].iter().chain(line).map(OsString::from).collect();
    parse(&words)
}

#[test]
fn up_offers_no_place_of_a_cluster_and_ls_does() {
    let help = |name: &str| parsed(&[name, "--help"]).unwrap_err().to_string();
    for option in ["--endpoint", "--namespace", "--cluster", "--context"] {
        assert!(help("ls").contains(option), "{option}");
        assert!(!help("up").contains(option), "{option}");
    }
    let given = parsed(&["up", "--context", "x"]).unwrap();
    assert_eq!(given.global.names_a_place(), Some("--context"));
    let given = parsed(&["--endpoint", "x", "up"]).unwrap();
    assert_eq!(given.global.names_a_place(), Some("--endpoint"));
    assert_eq!(parsed(&["up"]).unwrap().global.names_a_place(), None);
}

#[test]
fn the_plugin_says_where_it_looks_when_nothing_is_said() {
    let help = |program: &str| {
        let words = [program, "ls", "-h"].map(OsString::from);
        parse(&words).unwrap_err().to_string()
    };
    let local = "127.0.0.1:8080";
    assert!(help("chord").contains(local));
    let plugin = help("/usr/local/bin/kubectl-chord");
    assert!(!plugin.contains(local), "{plugin}");
    assert!(plugin.contains("CHORD_ENDPOINT"), "{plugin}");
}

#[test]
fn what_cannot_be_a_header_is_a_usage_error() {
    for bad in [
        ["--meta", "a b=c"],
        ["--meta", "a:=c"],
        ["--meta", "é=c"],
        ["--meta", "k=a\nb"],
        ["--meta", "k=é"],
        ["--meta", "=c"],
        ["--content-type", "text/\r\nx"],
        ["--cache-control", "max-age=1\r\nx-chord-meta-a: b"],
        ["--content-disposition", "attachment; filename=ü.txt"],
        ["--last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"],
        ["--if-match", "\u{7f}"],
    ] {
        let error = parsed(&["put", "f", bad[0], bad[1]]).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{bad:?}");
    }
    assert!(parsed(&["put", "f", "--meta", "My_key.1=a = b"]).is_ok());
}

#[test]
fn the_headers_that_are_kept_can_all_be_given() {
    let line = [
        ["--content-encoding", "gzip"],
        ["--content-language", "de, en-GB"],
        ["--content-disposition", "attachment; filename=\"a b.txt\""],
        ["--cache-control", "public, max-age=60"],
        ["--expires", "Sun, 06 Nov 1994 08:49:37 GMT"],
    ];
    let words: Vec<&str> = ["put", "f"].into_iter().chain(line.concat()).collect();
    let Command::Put(put) = parsed(&words).unwrap().command else {
        panic!("not put")
    };
    let given = put.headers.given();
    let words = given
        .iter()
        .map(|(header, value)| [format!("--{}", header.name()), value.clone()]);
    assert!(
        words.eq(line.map(|pair| pair.map(String::from))),
        "{given:?}"
    );
}

#[test]
fn a_wish_for_json_is_seen_though_the_rest_is_unclear() {
    let wants = |line: &[&str]| {
        let words: Vec<OsString> = line.iter().map(OsString::from).collect();
        wants_json(&words)
    };
    for line in [
        &["chord", "-o", "json", "nonsense"][..],
        &["chord", "ls", "--limit", "x", "--output=json"],
        &["chord", "-ojson"],
    ] {
        assert!(wants(line), "{line:?}");
    }
    assert!(!wants(&["chord", "ls", "json", "-o", "text"]));
}

#[test]
fn options_may_stand_behind_the_command() {
    let cli = Cli::try_parse_from([
        "chord",
        "ls",
        "a/",
        "-o",
        "json",
        "--endpoint",
        "http://x:1",
    ])
    .unwrap();
    assert_eq!(cli.global.output, Format::Json);
    assert_eq!(cli.global.endpoint.as_deref(), Some("http://x:1"));
}

#[test]
fn a_bad_name_is_a_usage_error() {
    let error = Cli::try_parse_from(["chord", "stat", ""]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_dash_is_an_argument() {
    let cli = Cli::try_parse_from(["chord", "put", "-", "name"]).unwrap();
    let Command::Put(put) = cli.command else {
        panic!("not put")
    };
    assert_eq!(put.paths, [PathBuf::from("-"), PathBuf::from("name")]);
}

#[test]
fn the_name_of_the_program_makes_it_a_plugin() {
    assert!(is_plugin(Path::new("/usr/local/bin/kubectl-chord")));
    assert!(!is_plugin(Path::new("./chord")));
}
