//! Reads the recorded files.

use std::collections::BTreeMap;

const MESSAGES: &str = include_str!("0.1.0/messages.txt");
const TALK: &str = include_str!("0.1.0/talk.txt");
const DISK: &str = include_str!("0.1.0/disk.txt");

/// The bytes that a word stands for.
fn bytes(word: &str) -> Vec<u8> {
    match word {
        "-" => Vec::new(),
        hexadecimal => hex::decode(hexadecimal).unwrap(),
    }
}

/// Each kind of message, by its name.
pub fn messages() -> BTreeMap<&'static str, Vec<u8>> {
    let line = |line: &'static str| {
        let (name, word) = line.split_once(' ').unwrap();
        (name, bytes(word))
    };
    MESSAGES.lines().map(line).collect()
}

/// One message.
pub fn message(name: &str) -> Vec<u8> {
    messages()
        .remove(name)
        .unwrap_or_else(|| panic!("{name} was not recorded"))
}

/// One request of the conversation, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    pub name: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    /// The header `X-Chord-Chunk`.
    pub head: Option<&'static str>,
    pub body: Vec<u8>,
    pub status: u16,
    pub answer: Vec<u8>,
}

/// The whole conversation, in order.
pub fn talk() -> Vec<Turn> {
    TALK.split("= ").skip(1).map(turn).collect()
}

/// One turn of it.
pub fn said(name: &str) -> Turn {
    let mut all = talk().into_iter();
    all.find(|turn| turn.name == name)
        .unwrap_or_else(|| panic!("{name} was not recorded"))
}

fn turn(text: &'static str) -> Turn {
    let mut lines = text.lines();
    let name = lines.next().unwrap();
    let asked = lines.next().unwrap().strip_prefix("> ").unwrap();
    let (method, path) = asked.split_once(' ').unwrap();
    let mut line = lines.next().unwrap();
    let head = line.strip_prefix("head ");
    if head.is_some() {
        line = lines.next().unwrap();
    }
    let body = bytes(line.strip_prefix("body ").unwrap());
    let status = lines.next().unwrap().strip_prefix("< ").unwrap();
    let answer = lines.next().unwrap().strip_prefix("body ").unwrap();
    Turn {
        name,
        method,
        path,
        head,
        body,
        status: status.parse().unwrap(),
        answer: bytes(answer),
    }
}

/// What lay on the disk.
#[derive(Default)]
pub struct Disk {
    /// Table, key, record.
    pub rows: Vec<(&'static str, Vec<u8>, Vec<u8>)>,
    /// Path in the data folder, contents.
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// The disk.
pub fn disk() -> Disk {
    let mut disk = Disk::default();
    for line in DISK.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["row", table, key, record] => disk.rows.push((table, bytes(key), bytes(record))),
            ["file", path, contents] => disk.files.push((path, bytes(contents))),
            _ => panic!("what is {line:?}?"),
        }
    }
    disk
}
