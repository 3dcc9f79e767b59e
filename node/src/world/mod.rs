//! Where the outside comes in: time, chance and tasks. A simulator puts its own in
//! their place; the disk and the network have seams of their own
//! ([`crate::store`], [`crate::peer::Transport`]).

pub mod clock;
pub mod random;
pub mod tasks;

pub use clock::Clock;
pub use random::Random;
pub use tasks::Tasks;

/// All of it, for who puts a node together.
#[derive(Clone, Default)]
pub struct World {
    /// The wall clock.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// The one place that spawns.
    pub tasks: Tasks,
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    /// What would let the outside in elsewhere.
    const OUTSIDE: [&str; 12] = [
        "SystemTime::now",
        "std::time::Instant",
        "time::{Duration, Instant",
        "Timestamp::now",
        "Clock::System",
        "tokio::spawn",
        "task::spawn(",
        "JoinSet",
        "rand::",
        "Random::System",
        "UploadId::random",
        "new_v4",
    ];

    /// The program's files below a folder, but for those of tests and of `world`.
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if name != "tests" && name != "world" {
                    sources(&path, found);
                }
            } else if !name.ends_with("tests.rs") && name != "testing.rs" && name.ends_with(".rs") {
                found.push(path);
            }
        }
    }

    #[test]
    fn time_chance_and_tasks_come_in_here_alone() {
        let mut files = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        sources(&root, &mut files);
        assert!(files.len() > 50, "{} files below {root:?}", files.len());
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            // Tests stand behind the program, and may do as they like.
            let program = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code = program.lines().filter(|l| !l.trim().starts_with("//"));
            let code: Vec<&str> = code.collect();
            for (line, name) in code
                .iter()
                .flat_map(|line| OUTSIDE.map(|name| (line, name)))
            {
                // tokio's time is virtual where the runtime is paused.
                let tokio = line.contains("tokio::time::");
                assert!(
                    tokio || !line.contains(name),
                    "{file:?} uses {name}: take it from crate::world\n{line}"
                );
            }
        }
    }
}
