//! The signals that end a command in order: what it was writing goes away with it, and
//! what it runs is ended too.

use std::io::IsTerminal;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for the wish to end: Ctrl-C, a termination, a hang-up.
pub struct EndSignals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl EndSignals {
    /// Listens from now on. A signal that cannot be listened for ends us at once, as it
    /// does by default. A hang-up is not listened for where whoever started us (`nohup`)
    /// had it ignored: to listen would undo that.
    pub fn listen() -> EndSignals {
        let listen = |kind| signal(kind).ok();
        EndSignals {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
            hangup: (!hangup_is_ignored())
                .then(|| listen(SignalKind::hangup()))
                .flatten(),
        }
    }

    /// Waits for the next wish to end; returns the exit code that shells have for it.
    pub async fn next(&mut self) -> u8 {
        tokio::select! {
            () = received(&mut self.interrupt) => exit_code(SignalKind::interrupt()),
            () = received(&mut self.terminate) => exit_code(SignalKind::terminate()),
            () = received(&mut self.hangup) => exit_code(SignalKind::hangup()),
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn exit_code(kind: SignalKind) -> u8 {
    128 + u8::try_from(kind.as_raw_value()).unwrap_or_default()
}

fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    match status.as_deref().and_then(ignored_signals) {
        Some(mask) => mask & 1 != 0,
        // Where it cannot be asked: nohup leaves no terminal to standard error.
        None => !std::io::stderr().is_terminal(),
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
