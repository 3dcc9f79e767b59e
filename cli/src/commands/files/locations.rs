//! Where the parts of a file are, for `-v`.

use chord_api::causes::briefly;
use chord_api::files::FilesClient;
use chord_api::http::Where;
use chord_api::human;
use chord_types::FileName;

use crate::output::{Output, table};

/// Where each part is, a line each.
pub fn lines(place: &Where) -> Vec<String> {
    let rows: Vec<Vec<String>> = place
        .pieces
        .iter()
        .map(|p| {
            vec![
                format!("  {}", p.piece),
                human::size(p.size),
                p.owners.join(" "),
            ]
        })
        .collect();
    table(&rows)
}

/// Asks where a file is, for `-v`. The file is stored by then, so not to know is
/// no failure.
pub async fn look_up(files: &FilesClient, name: &FileName, out: Output) -> Option<Where> {
    if !out.verbose {
        return None;
    }
    files
        .where_is(name)
        .await
        .inspect_err(|e| out.warn(&briefly(e)))
        .ok()
}
