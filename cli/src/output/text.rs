//! Text of others' making, such as names of files, made safe for what reads it: a
//! terminal, JSON, XML.

use std::borrow::Cow;
use std::io::IsTerminal;

/// Text in which names stand, for standard output: a name may hold what a terminal
/// obeys, so on a terminal that is shown and not sent. Programs get it as it is.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(steers) && std::io::stdout().is_terminal() {
        Cow::Owned(escaped(text))
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether a terminal acts on a character rather than showing it. Right-to-left marks
/// and their like reorder what stands beside them.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text with what a terminal would act on spelled out: `\u{1b}` for an escape.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// JSON with the control characters that JSON itself lets through spelled out,
/// which means the same to every reader.
pub fn escaped_json(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && u32::from(c) >= 0x7f;
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Text that XML takes as text, whatever it is.
pub fn escaped_xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not of XML, escaped or not.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_obeyed_by_a_terminal() {
        let name = "a\u{1b}[2Jb\nc\u{9b}31m\u{7f}é";
        assert_eq!(
            escaped(name),
            "a\\u{1b}[2Jb\\nc\\u{9b}31m\\u{7f}é",
            "and letters stay"
        );
        assert_eq!(escaped("b\u{202e}c"), "b\\u{202e}c", "nor reordered");
        let json = serde_json::to_string(name).unwrap();
        let shown = escaped_json(&json);
        assert!(!shown.contains(char::is_control), "{shown:?}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), name);
    }

    #[test]
    fn xml_takes_any_name_as_text() {
        assert_eq!(
            escaped_xml("<a href='\"'>&"),
            "&lt;a href=&#39;&quot;&#39;&gt;&amp;"
        );
        assert_eq!(escaped_xml("\x1b\u{ffff}é"), "\u{fffd}\u{fffd}é");
    }
}
