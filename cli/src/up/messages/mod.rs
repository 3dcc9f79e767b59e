//! What `chord up` tells the one who started it: short lines, or JSON lines.

pub mod conditions;
pub mod events;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::output::Output;

/// Different warnings that are remembered so as not to be repeated.
const REMEMBERED: usize = 100;

/// Speaks on standard output; that nobody listens any more stops nothing.
#[derive(Clone, Debug)]
pub struct Messages {
    out: Output,
    /// parking_lot's mutex: nothing is awaited while it is held.
    warned: Arc<Mutex<BTreeSet<String>>>,
}

impl Messages {
    /// Nothing was told yet.
    pub fn new(out: Output) -> Messages {
        Messages {
            out,
            warned: Arc::default(),
        }
    }

    /// Progress.
    pub fn progress(&self, text: &str) {
        self.write("progress", text, json!({}));
    }

    /// Progress for those who want to know all.
    pub fn detail(&self, text: &str) {
        if self.out.verbose {
            self.progress(text);
        }
    }

    /// Something that may need a person.
    pub fn warning(&self, text: &str) {
        self.write("warning", text, json!({}));
    }

    /// The same, the first time only.
    pub fn warning_once(&self, text: &str) {
        let mut warned = self.warned.lock();
        if warned.len() < REMEMBERED && warned.insert(text.to_string()) {
            self.warning(text);
        }
    }

    /// The cluster can be used.
    pub fn listening(&self, endpoint: &str) {
        self.write(
            "listening",
            &format!("listening on {endpoint}"),
            json!({"endpoint": endpoint}),
        );
    }

    fn write(&self, kind: &str, text: &str, details: Value) {
        let line = if self.out.is_json() {
            let mut value = json!({"event": kind, "message": text});
            if let (Value::Object(value), Value::Object(details)) = (&mut value, details) {
                value.extend(details);
            }
            value.to_string()
        } else if kind == "warning" {
            format!("chord: warning: {text}")
        } else {
            format!("chord: {text}")
        };
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}
