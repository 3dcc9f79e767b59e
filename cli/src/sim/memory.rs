//! What memory this process needs.

/// What this process holds now, and has held at most, in bytes; where the
/// system says so.
pub fn memory() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let of = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib * 1024)
    };
    Some((of("VmRSS:")?, of("VmHWM:")?))
}

/// The most that was needed since `before`, for each node.
pub fn memory_each(before: Option<(u64, u64)>, nodes: u32) -> Option<u64> {
    let (held, most_before) = before?;
    let (_, most) = memory()?;
    // A peak from earlier on says nothing about this.
    (most > most_before).then(|| most.saturating_sub(held) / u64::from(nodes.max(1)))
}
