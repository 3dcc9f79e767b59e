//! The signals that end a command in order: what it was writing goes away with it.

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for a wish to end; returns the exit code that shells have for it.
pub async fn ended() -> u8 {
    tokio::select! {
        code = one(SignalKind::interrupt()) => code,
        code = one(SignalKind::terminate()) => code,
        code = hangup() => code,
    }
}

async fn one(kind: SignalKind) -> u8 {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
            128 + u8::try_from(kind.as_raw_value()).unwrap_or_default()
        }
        // Then it ends us at once, as it does by default.
        Err(_) => std::future::pending().await,
    }
}

/// A hang-up, unless whoever started us (`nohup`) had it ignored: to listen would
/// undo that.
async fn hangup() -> u8 {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    let ignored = match status.as_deref().and_then(ignored_signals) {
        Some(mask) => mask & 1 != 0,
        // Where it cannot be asked: nohup leaves no terminal to standard error.
        None => !std::io::stderr().is_terminal(),
    };
    if ignored {
        std::future::pending().await
    } else {
        one(SignalKind::hangup()).await
    }
}

/// The set of ignored signals, the first one (the hang-up) in the lowest bit.
fn ignored_signals(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_hangup_is_seen() {
        let status =
            |mask: &str| format!("Name:\tchord\nSigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert_eq!(ignored_signals(&status("0000000000001001")), Some(0x1001));
        assert_eq!(ignored_signals(&status("0000000000001000")), Some(0x1000));
        assert_eq!(ignored_signals("Name:\tchord\n"), None);
    }
}
