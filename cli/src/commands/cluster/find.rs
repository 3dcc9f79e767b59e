//! `chord find`: a file's key on the ring; with `-v` each virtual node of the look-up.

use chord_api::http::Successor;

use crate::access::Target;
use crate::args::FindArgs;
use crate::failure::Failure;
use crate::output::Output;

/// Shows where a file's key is.
pub async fn run(args: &FindArgs, target: &Target, out: Output) -> Result<(), Failure> {
    let found = target.files().await?.successor(&args.name).await?;
    out.show(&found, || lines(&found, out.verbose))
}

fn lines(found: &Successor, verbose: bool) -> Vec<String> {
    let mut lines = vec![
        format!("id         {}", found.id),
        format!("successor  {}", found.successor),
        format!("owners     {}", found.owners.join(" ")),
        format!("path       {}", found.path.join(" → ")),
        format!("epoch      {}", found.epoch),
    ];
    let hops = found.hops.iter().filter(|_| verbose);
    lines.extend(hops.map(|hop| format!("hop        {}  {}", hop.id, hop.node)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_api::http::RingPeer;
    use chord_types::Epoch;

    #[test]
    fn hops_are_said_to_those_who_ask() {
        let found = Successor {
            id: "0a".repeat(20),
            successor: "files-1".into(),
            owners: vec!["files-1".into()],
            path: vec!["files-0".into(), "files-1".into()],
            hops: vec![RingPeer {
                id: "0b".repeat(20),
                node: "files-1".into(),
            }],
            epoch: Epoch(3),
        };
        assert_eq!(lines(&found, false).len(), 5);
        assert_eq!(
            lines(&found, true)[5],
            format!("hop        {}  files-1", "0b".repeat(20))
        );
    }
}
