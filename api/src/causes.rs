//! An error in words: what was being done and why it failed, each of it once. An error
//! says only what it knows itself and keeps its cause as `source`; whoever shows it to
//! people, in a log or in an answer, prints the chain from here.

use std::error::Error;

/// A cause of any kind.
pub type Cause = Box<dyn Error + Send + Sync>;

/// The error and its causes, the outermost first. A cause that was said already is
/// left out: what others write often repeats what lies beneath it.
pub fn words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !words.contains(&next) {
            if !words.is_empty() {
                words.push_str(": ");
            }
            words.push_str(&next);
        }
        cause = error.source();
    }
    words
}

/// The error and its innermost cause alone, where the layers between say no more than
/// where: those of the HTTP client repeat the URL.
pub fn briefly(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        None => error.to_string(),
        Some(cause) => format!("{error}: {}", innermost(cause)),
    }
}

/// The innermost cause.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(next) = innermost.source() {
        innermost = next;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Layer {
        said: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(said: &[&'static str]) -> Layer {
        let (first, rest) = said.split_first().unwrap();
        Layer {
            said: first,
            source: (!rest.is_empty()).then(|| Box::new(layers(rest))),
        }
    }

    #[test]
    fn every_cause_is_said_once() {
        let plain = layers(&["reading x", "it is locked"]);
        assert_eq!(words(&plain), "reading x: it is locked");
        let repeated = layers(&["reading x: it is locked", "it is locked", "by somebody"]);
        assert_eq!(words(&repeated), "reading x: it is locked: by somebody");
        assert_eq!(words(&layers(&["alone"])), "alone");
        let three = layers(&["reading x", "sending", "it is locked"]);
        assert_eq!(briefly(&three), "reading x: it is locked");
        assert_eq!(briefly(&layers(&["alone"])), "alone");
    }
}
