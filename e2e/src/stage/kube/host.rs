//! Pods as processes of this machine: on a cluster that was made here a container
//! is a process that can be found, killed, and whose disk can be reached.

use std::path::{Path, PathBuf};

/// The process of a program in a pod, found by the pod's cgroup.
pub fn process_of(pod_uid: &str, program: &str) -> Option<u32> {
    // Drivers write the uid with dashes or with underscores.
    let spellings = [pod_uid.to_string(), pod_uid.replace('-', "_")];
    let all = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let groups = read("cgroup");
        spellings.iter().any(|uid| groups.contains(uid)) && is_program(&read("cmdline"), program)
    })
}

fn is_program(cmdline: &str, program: &str) -> bool {
    let first = cmdline.split('\0').next().unwrap_or_default();
    Path::new(first)
        .file_name()
        .is_some_and(|name| name == program)
}

/// A folder of a container, as it sees it.
pub fn folder_in(pid: u32, folder: &str) -> Option<PathBuf> {
    let path = PathBuf::from(format!("/proc/{pid}/root{folder}"));
    path.is_dir().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_goes_by_its_own_name() {
        assert!(is_program("/chord-node\0--data\0/data\0", "chord-node"));
        assert!(!is_program("/bin/sh\0-c\0chord-node\0", "chord-node"));
        assert!(!is_program("", "chord-node"));
    }

    #[test]
    fn nothing_runs_in_a_pod_that_is_not_there() {
        assert_eq!(
            process_of("00000000-0000-0000-0000-000000000000", "chord-node"),
            None
        );
    }
}
