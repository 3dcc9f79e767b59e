//! What no test may do: draw from seeds that nobody knows, or write a file that is
//! kept with the code. Looked for in the sources of the whole repository.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Ways to draw from the system.
const SOURCES: [&str; 5] = [
    "rand::rng(",
    "rand::random",
    "from_os_rng",
    "OsRng",
    "thread_rng",
];

/// What the code has to say, a line or two before, where it is meant to draw from the
/// system: secrets, names and ports that nobody else has, writers that must not stay
/// in step. None of it decides how a test goes.
const MEANT: &str = "// Fresh each time: ";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file of Rust, with its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(root().join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = dir.join(&name);
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    open.push(path);
                }
            } else if name.ends_with(".rs") {
                let text = std::fs::read_to_string(root().join(&path)).unwrap();
                found.push((path.to_str().unwrap().to_string(), text));
            }
        }
    }
    assert!(found.len() > 100, "the sources are not where they were");
    found
}

/// The lines of a text that begin properties without a configuration from here.
fn unseeded(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let seeded = |n: usize| {
        let after = lines.get(n + 1).copied().unwrap_or_default();
        after.starts_with("#![proptest_config(chord_testing::cases(")
    };
    (0..lines.len())
        .filter(|n| lines[*n].starts_with("proptest! {") && !seeded(*n))
        .map(|n| n + 1)
        .collect()
}

#[test]
fn every_property_is_drawn_from_a_known_seed() {
    assert_eq!(unseeded("a\n  proptest! {\n  #[test]"), [2]);
    for (path, text) in sources() {
        let lines = unseeded(&text);
        assert!(
            lines.is_empty(),
            "{path}, lines {lines:?}: begin with #![proptest_config(chord_testing::cases(N))]"
        );
    }
}

/// The lines of a text that draw from the system without a word about it.
fn fresh(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let draws = |line: &str| {
        let code = !line.starts_with("use ") && !line.starts_with("//");
        code && SOURCES.iter().any(|source| line.contains(source))
    };
    let meant = |n: usize| {
        let before = &lines[n.saturating_sub(2)..n];
        before.iter().any(|line| line.starts_with(MEANT))
    };
    (0..lines.len())
        .filter(|n| draws(lines[*n]) && !meant(*n))
        .map(|n| n + 1)
        .collect()
}

#[test]
fn what_draws_from_the_system_says_so() {
    let draws = SOURCES[0];
    assert_eq!(fresh(&format!("a\nlet x = {draws});")), [2]);
    assert!(fresh(&format!("{MEANT}a secret.\nlet x = {draws});")).is_empty());
    for (path, text) in sources() {
        // This file names what it looks for.
        let lines = match path.ends_with("testing/tests/draws.rs") {
            true => Vec::new(),
            false => fresh(&text),
        };
        assert!(
            lines.is_empty(),
            "{path}, lines {lines:?}: a test draws from chord_testing::seeds; \
             where something has to be new each time, write `{MEANT}why` above it"
        );
    }
}
