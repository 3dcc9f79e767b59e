//! What no test may do: draw from seeds that nobody knows, or write a file that is
//! kept with the code. Looked for in the sources of the whole repository.

use std::path::{Path, PathBuf};

/// Where fresh randomness is what is wanted, and why. None of it decides how a test
/// goes.
const FRESH: [(&str, &str); 7] = [
    ("core/testing/tests/draws.rs", "names what it looks for"),
    (
        "node/src/registers/drive.rs",
        "two writers must not stay in step",
    ),
    ("operator/src/kube/store.rs", "a secret"),
    ("cli/src/up/folder.rs", "a secret"),
    ("cli/src/up/ports.rs", "ports that others have not taken"),
    ("e2e/src/stage/kube/mod.rs", "a name that no other run has"),
    ("e2e/src/bench/garage.rs", "a secret"),
];

const SOURCES: [&str; 5] = [
    "rand::rng(",
    "rand::random",
    "from_os_rng",
    "OsRng",
    "thread_rng",
];

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

#[test]
fn nothing_else_draws_from_the_system() {
    for (path, text) in sources() {
        let found = SOURCES.iter().find(|s| text.contains(*s));
        let known = FRESH.iter().any(|(file, _)| *file == path);
        match found {
            Some(source) => assert!(
                known,
                "{path} draws with {source}: a test draws from chord_testing::seeds; \
                 where fresh randomness is wanted, say so in this file"
            ),
            None => assert!(!known, "{path} draws nothing: take it from the list"),
        }
    }
}
