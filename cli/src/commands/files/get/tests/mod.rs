//! Where fetched files go, and how they come.

mod fetching;
mod paths;

use std::path::Path;

use chord_types::FileName;

fn name(text: &str) -> FileName {
    text.parse().unwrap()
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
