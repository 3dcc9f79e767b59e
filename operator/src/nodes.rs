//! Talking to the nodes: the steps that both shells share.
//!
//! Asks every node for its report, fetches the views that differ from the stored
//! one, and gives the stored view to nodes that hold an older one. What to make
//! of it is the planner's business; nothing here decides.

use std::collections::{BTreeMap, BTreeSet};

use chord_api::causes::briefly;
use chord_api::client::{NodeClient, NodeError};
use chord_api::retry::{self, BackoffBuilder as _};
use chord_types::report::NodeReport;
use chord_types::view::ViewRef;
use chord_types::{Ordinal, Speaks, View};
use futures::StreamExt;

use chord_planner::plan::Stored;

/// How many nodes are asked at the same time.
const AT_ONCE: usize = 32;

/// How often a node that answered last time is asked again when it does not.
const ASKED_AGAIN: usize = 2;

/// How many different views are fetched in one round, the newest first: more
/// would say nothing that these do not.
const VIEWS_AT_MOST: usize = 8;

/// What every node said.
pub type Reports = BTreeMap<Ordinal, Result<NodeReport, NodeError>>;

/// Asks every target for its report. `heard`: who answered last time, and after this
/// who did now. Who answered last time is asked again before it counts as silent: one
/// missed answer says nothing, and would set the whole cluster's status to and fro.
/// An error where this program itself could not ask somebody: whoever plans with that
/// takes nodes for silent that nobody has asked.
pub async fn observe_nodes(
    client: &NodeClient,
    targets: &[(Ordinal, String)],
    heard: &mut BTreeSet<Ordinal>,
) -> Result<Reports, NodeError> {
    let mut reports = ask(client, targets).await;
    for pause in retry::once_more(ASKED_AGAIN).build() {
        let missed = missed(&reports, heard);
        // Where so many are not heard it is not for a moment.
        if missed.is_empty() || missed.len() > AT_ONCE {
            break;
        }
        tokio::time::sleep(pause).await;
        let again: Vec<(Ordinal, String)> = targets
            .iter()
            .filter(|(ordinal, _)| missed.contains(ordinal))
            .cloned()
            .collect();
        reports.extend(ask(client, &again).await);
    }
    let unasked = reports.extract_if(.., |_, answer| is_unasked(answer));
    if let Some((_, Err(unasked))) = unasked.last() {
        return Err(unasked);
    }
    for (ordinal, answer) in &reports {
        // Said once for each time that it begins to answer; the status says it as long
        // as it lasts.
        if let Ok(report) = answer
            && !heard.contains(ordinal)
            && let Some(remedy) = Speaks::OURS.apart("the operator", &report.speaks, &report.name)
        {
            tracing::warn!(node = report.name, "{remedy}");
        }
    }
    let answered = reports.iter().filter(|(_, answer)| answer.is_ok());
    *heard = answered.map(|(ordinal, _)| *ordinal).collect();
    Ok(reports)
}

/// Whether this program could not ask.
fn is_unasked(answer: &Result<NodeReport, NodeError>) -> bool {
    matches!(answer, Err(NodeError::Overloaded { .. }))
}

/// Who answered last time and cannot be reached now, and who could not be asked.
fn missed(reports: &Reports, heard: &BTreeSet<Ordinal>) -> BTreeSet<Ordinal> {
    let unreachable = |answer: &Result<NodeReport, NodeError>| {
        matches!(answer, Err(NodeError::Unreachable { .. }))
    };
    reports
        .iter()
        .filter(|(ordinal, answer)| {
            is_unasked(answer) || heard.contains(ordinal) && unreachable(answer)
        })
        .map(|(ordinal, _)| *ordinal)
        .collect()
}

async fn ask(client: &NodeClient, targets: &[(Ordinal, String)]) -> Reports {
    // The futures are made in a loop, not in a closure of the stream: so the whole
    // can be sent between threads.
    let mut asked = Vec::with_capacity(targets.len());
    for (ordinal, url) in targets {
        asked.push(async move { (*ordinal, client.report(url).await) });
    }
    futures::stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// The views that should be fetched, newest first, each with who holds it: those
/// of a newer epoch than the stored view or with its number and other content,
/// and all of them where no view could be read.
fn views_to_fetch(reports: &Reports, stored: &Stored) -> Vec<(ViewRef, BTreeSet<Ordinal>)> {
    let known = match stored {
        Stored::View(view) => Some(view.reference()),
        Stored::Missing | Stored::Unreadable(_) => None,
    };
    let mut found: Vec<(ViewRef, BTreeSet<Ordinal>)> = Vec::new();
    for (ordinal, report) in reports {
        let Some(held) = report.as_ref().ok().and_then(|r| r.view) else {
            continue;
        };
        if known.is_some_and(|known| held == known || held.epoch < known.epoch) {
            continue;
        }
        match found.iter_mut().find(|(other, _)| *other == held) {
            Some((_, holders)) => {
                holders.insert(*ordinal);
            }
            None => found.push((held, BTreeSet::from([*ordinal]))),
        }
    }
    found.sort_by_key(|(held, _)| std::cmp::Reverse((held.epoch, held.hash.0)));
    found.truncate(VIEWS_AT_MOST);
    found
}

/// Fetches the views that nodes hold and that are not the stored one, each with
/// the ordinals that report it. A view that no holder hands over as it was
/// reported is left out; the planner then sees that something newer is reported
/// and waits.
pub async fn held_views(
    client: &NodeClient,
    targets: &[(Ordinal, String)],
    reports: &Reports,
    stored: &Stored,
) -> Vec<(View, BTreeSet<Ordinal>)> {
    let wanted = views_to_fetch(reports, stored);
    let mut views = Vec::with_capacity(wanted.len());
    for (reference, holders) in wanted {
        for (_, url) in targets
            .iter()
            .filter(|(ordinal, _)| holders.contains(ordinal))
        {
            match client.view(url).await {
                Ok(Some(view)) if view.reference() == reference => {
                    views.push((view, holders));
                    break;
                }
                // It took another view since it reported; the next round sees that.
                Ok(_) => {}
                Err(e) => {
                    let why = briefly(&e);
                    tracing::warn!("view {} cannot be fetched: {why}", reference.epoch);
                }
            }
        }
    }
    views
}

/// Whether a node that reported so should be given this view.
fn lacks(report: &NodeReport, view: &View) -> bool {
    report
        .cluster
        .as_ref()
        .is_none_or(|cluster| *cluster == view.cluster)
        && report.view.is_none_or(|held| held.epoch < view.epoch)
}

/// Gives the view to every node that answered and holds an older one or none;
/// returns the nodes that did not take it.
pub async fn push_view(
    client: &NodeClient,
    targets: &[(Ordinal, String)],
    reports: &Reports,
    view: &View,
) -> Vec<(Ordinal, NodeError)> {
    let mut given = Vec::new();
    for (ordinal, url) in targets {
        if matches!(reports.get(ordinal), Some(Ok(report)) if lacks(report, view)) {
            given.push(async move { (*ordinal, client.push_view(url, view).await) });
        }
    }
    let answers: Vec<(Ordinal, Result<(), NodeError>)> = futures::stream::iter(given)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    answers
        .into_iter()
        .filter_map(|(ordinal, answer)| Some((ordinal, answer.err()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chord_types::report::{Copies, Inventory, Space, Sync};
    use chord_types::view::ViewHash;
    use chord_types::{ClusterUid, DiskId, Epoch, Member, Table, Token};

    fn report(view: Option<ViewRef>) -> NodeReport {
        let none = ViewRef {
            epoch: Epoch(0),
            hash: ViewHash::NONE,
        };
        let at = view.unwrap_or(none);
        NodeReport {
            name: "files-0".into(),
            ordinal: Ordinal(0),
            disk: DiskId::random(),
            cluster: view.map(|_| ClusterUid("c".into())),
            version: "1".into(),
            speaks: chord_types::Speaks::OURS,
            boot: 1,
            view,
            ready: true,
            space: Space::default(),
            files: 0,
            inventory: Inventory::default(),
            sync: Sync {
                epoch: at.epoch,
                hash: at.hash,
                settled: false,
                pending: 0,
                waiting: None,
            },
            copies: Copies {
                epoch: at.epoch,
                complete: false,
                missing: 0,
                unrepaired: 0,
                waiting: None,
            },
            refused_view: None,
            failure: None,
        }
    }

    fn views() -> (View, View, View) {
        let member = |n| Member {
            ordinal: Ordinal(n),
            disk: DiskId::random(),
            tokens: vec![Token(n.into())],
            zone: None,
            machine: None,
            out: false,
        };
        let table = Table {
            replication: 1,
            members: vec![member(0), member(1)],
        };
        let first = View::first(ClusterUid("c".into()), table.clone()).unwrap();
        let one = first.change_to(table.clone()).unwrap();
        let two = first
            .change_to(Table {
                members: vec![table.members[0].clone()],
                ..table
            })
            .unwrap();
        (first, one, two)
    }

    fn reports(views: &[Option<&View>]) -> Reports {
        let numbered = views.iter().enumerate();
        numbered
            .map(|(n, view)| (Ordinal(n as u32), Ok(report(view.map(View::reference)))))
            .collect()
    }

    #[test]
    fn only_views_that_the_stored_one_does_not_cover_are_fetched() {
        let (first, one, two) = views();
        let said = reports(&[Some(&first), Some(&one), Some(&two), Some(&one), None]);
        let stored = |view: &View| Stored::View(Box::new(view.clone()));
        assert!(
            views_to_fetch(&reports(&[Some(&first), None]), &stored(&one)).is_empty(),
            "older ones are not"
        );
        let other = views_to_fetch(&said, &stored(&one));
        assert_eq!(
            other,
            [(two.reference(), BTreeSet::from([Ordinal(2)]))],
            "the same number, another content"
        );
        let missing = views_to_fetch(&said, &Stored::Missing);
        assert_eq!(missing.len(), 3);
        assert!(missing.contains(&(one.reference(), BTreeSet::from([Ordinal(1), Ordinal(3)]))));
        assert_eq!(missing[2].0, first.reference(), "the newest first");
    }

    #[test]
    fn a_view_goes_to_those_who_hold_an_older_one_or_none_of_the_same_cluster() {
        let (first, one, two) = views();
        assert!(lacks(&report(None), &first));
        assert!(lacks(&report(Some(first.reference())), &one));
        assert!(!lacks(&report(Some(one.reference())), &one));
        assert!(
            !lacks(&report(Some(two.reference())), &one),
            "a conflict is not pushed over"
        );
        assert!(!lacks(&report(Some(one.reference())), &first));
        let mut foreign = report(Some(first.reference()));
        foreign.cluster = Some(ClusterUid("another".into()));
        assert!(!lacks(&foreign, &one));
    }

    /// A node that hangs up on its first callers.
    async fn shy_node(mut hangs_up: u32) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = caller.read(&mut request).await;
                if hangs_up > 0 {
                    hangs_up -= 1;
                    continue;
                }
                let body = serde_json::to_string(&report(None)).unwrap();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = caller.write_all(answer.as_bytes()).await;
            }
        });
        url
    }

    #[tokio::test]
    async fn who_misses_one_answer_is_asked_again_and_who_was_silent_is_not() {
        let client = NodeClient::new("s", std::time::Duration::from_secs(30)).unwrap();
        let mut heard = BTreeSet::from([Ordinal(0)]);
        let targets = [
            (Ordinal(0), shy_node(1).await),
            (Ordinal(1), shy_node(1).await),
        ];
        let reports = observe_nodes(&client, &targets, &mut heard).await.unwrap();
        assert!(reports[&Ordinal(0)].is_ok(), "{reports:?}");
        assert!(reports[&Ordinal(1)].is_err(), "it was silent before");
        assert_eq!(heard, BTreeSet::from([Ordinal(0)]));
        let silent = [(Ordinal(0), shy_node(u32::MAX).await)];
        let reports = observe_nodes(&client, &silent, &mut heard).await.unwrap();
        assert!(reports[&Ordinal(0)].is_err());
        assert_eq!(heard, BTreeSet::new());
    }
}
