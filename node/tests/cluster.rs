//! Three and four real nodes: files in and out, nodes lost, views changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Cluster, contents};

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_come_out_of_any_node() {
    let cluster = Cluster::start(3);
    cluster.form(3).await;
    for (name, size) in [
        ("empty", 0),
        ("one", 1),
        ("small", 30_000),
        ("large", 6_300_000),
        ("exact", 4 << 20),
        ("over", (4 << 20) + 1),
    ] {
        let body = contents(size, 1);
        let response = cluster.put(0, name, body.clone()).await;
        assert_eq!(
            response.status(),
            201,
            "{name}: {:?}",
            response.text().await
        );
        for n in 0..3 {
            assert_eq!(
                cluster.get(n, name).await.as_deref(),
                Some(&body[..]),
                "{name} from node {n}"
            );
        }
    }
    assert_eq!(cluster.put(1, "small", contents(10, 2)).await.status(), 200);
    assert_eq!(cluster.get(2, "small").await, Some(contents(10, 2)));

    let list = cluster.json(1, "/files").await;
    let names: Vec<&str> = list["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["empty", "exact", "large", "one", "over", "small"]);
    assert!(list["next"].is_null());

    let range = cluster
        .http
        .get(cluster.url(1, "/files/large"))
        .header("Range", "bytes=4194300-4194310")
        .send()
        .await
        .unwrap();
    assert_eq!(range.status(), 206);
    assert_eq!(
        range.bytes().await.unwrap(),
        contents(6_300_000, 1)[4_194_300..=4_194_310]
    );
    let found = cluster.json(0, "/ring/successor?name=small").await;
    assert_eq!(found["owners"].as_array().unwrap().len(), 3);
}

/// What a node says that it holds.
async fn held(cluster: &Cluster, n: usize) -> Vec<String> {
    let listed = cluster.json(n, "/list_files").await;
    let names = listed["files"].as_array().unwrap().iter();
    names.map(|f| f.as_str().unwrap().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_on_their_owners_and_go_with_their_file() {
    let cluster = Cluster::start(3);
    cluster.form(3).await;
    let put = cluster.put(0, "large", contents(6_300_000, 1)).await;
    assert_eq!(put.status(), 201);
    cluster
        .eventually("both parts are on all three nodes", async || {
            for n in 0..3 {
                if held(&cluster, n).await != ["large", "large-part1", "large-part2"] {
                    return None;
                }
            }
            Some(())
        })
        .await;
    let url = cluster.url(2, "/files/large");
    let gone = cluster.http.delete(url).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    assert_eq!(cluster.get(0, "large").await, None);
    cluster
        .eventually(
            "the chunks of the deleted file are taken away",
            async || {
                for n in 0..3 {
                    if !held(&cluster, n).await.is_empty() {
                        return None;
                    }
                }
                Some(())
            },
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_lost_stops_nobody_and_catches_up() {
    let mut cluster = Cluster::start(3);
    cluster.form(3).await;
    let body = contents(5_000_000, 3);
    assert_eq!(cluster.put(0, "before", body.clone()).await.status(), 201);
    cluster.kill(2);
    assert_eq!(cluster.get(0, "before").await, Some(body.clone()));
    assert_eq!(cluster.put(0, "during", body.clone()).await.status(), 201);
    assert_eq!(
        cluster.put(1, "before", contents(100, 4)).await.status(),
        200
    );
    cluster.run(2);
    cluster.report(2).await;
    assert_eq!(
        cluster.get(2, "before").await,
        Some(contents(100, 4)),
        "a node that was away reads what is new"
    );
    cluster
        .eventually("the third copies are made", async || {
            (cluster.verified(0, "during").await && cluster.verified(0, "before").await)
                .then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_takes_its_share_and_leaves_empty() {
    let mut cluster = Cluster::start(3);
    let first = cluster.form(3).await;
    let mut files = Vec::new();
    for n in 0..12u8 {
        let body = contents(if n % 3 == 0 { 5_000_000 } else { 20_000 }, n);
        assert_eq!(
            cluster
                .put(usize::from(n % 3), &format!("file-{n}"), body.clone())
                .await
                .status(),
            201
        );
        files.push((format!("file-{n}"), body));
    }
    cluster.add();
    let four = cluster.table(3, &[0, 1, 2, 3]).await;
    let grown = cluster.change(&first, four).await;
    let report = cluster.report(3).await;
    assert!(
        report.inventory.registers > 0,
        "it has its share: {:?}",
        report.inventory
    );
    for (name, body) in &files {
        assert_eq!(cluster.get(3, name).await.as_ref(), Some(body));
    }
    cluster
        .eventually("every file is on exactly three nodes", async || {
            for (name, _) in &files {
                let mut holders = 0;
                for n in 0..4 {
                    let held = cluster
                        .json(n, &format!("/file_exists?filename={name}"))
                        .await;
                    holders += u32::from(held["file_exists"] == true);
                }
                if holders != 3 || !cluster.verified(0, name).await {
                    return None;
                }
            }
            Some(())
        })
        .await;
    let three = cluster.table(3, &[0, 1, 2]).await;
    cluster.change(&grown, three).await;
    cluster
        .eventually("the node that left is empty", async || {
            cluster
                .operator
                .report(&cluster.nodes[3].peer)
                .await
                .ok()?
                .inventory
                .is_empty()
                .then_some(())
        })
        .await;
    cluster.kill(3);
    for (name, body) in &files {
        assert_eq!(cluster.get(1, name).await.as_ref(), Some(body));
        assert!(cluster.verified(1, name).await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_disk_is_refilled() {
    loses_a_disk(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_copies_one_is_enough_to_refill_a_lost_disk() {
    loses_a_disk(2).await;
}

async fn loses_a_disk(replication: u8) {
    let mut cluster = Cluster::start(3);
    let first = cluster.form(replication).await;
    for n in 0..6u8 {
        assert_eq!(
            cluster
                .put(0, &format!("file-{n}"), contents(1_000_000, n))
                .await
                .status(),
            201
        );
    }
    cluster.kill(1);
    std::fs::remove_dir_all(cluster.disk(1)).unwrap();
    cluster.run(1);
    let table = cluster.table(replication, &[0, 1, 2]).await;
    assert_ne!(table.members[1].disk, first.old().members[1].disk);
    let joint = first.change_to(table).unwrap();
    cluster.push(&joint).await;
    cluster
        .eventually("the two that are left settle", async || {
            for n in [0, 2] {
                let report = cluster.operator.report(&cluster.nodes[n].peer).await.ok()?;
                if !(report.sync.settled && report.sync.hash == joint.hash()) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    cluster.push(&joint.complete().unwrap()).await;
    for n in 0..6u8 {
        cluster
            .eventually("all copies are whole", async || {
                cluster
                    .verified(1, &format!("file-{n}"))
                    .await
                    .then_some(())
            })
            .await;
        assert_eq!(
            cluster.get(1, &format!("file-{n}")).await,
            Some(contents(1_000_000, n))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_dropped_on_a_node_moves_to_its_owners() {
    let cluster = Cluster::start(3);
    cluster.form(1).await;
    let owner = cluster.json(0, "/ring/successor?name=a.txt").await["owners"][0]
        .as_str()
        .unwrap()
        .to_string();
    let owner: usize = owner.trim_start_matches("files-").parse().unwrap();
    let other = (owner + 1) % 3;
    let dropped = cluster
        .http
        .put(cluster.url(other, "/node/files/a.txt"))
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(dropped.status(), 202);
    cluster
        .eventually("the file is at its owner and only there", async || {
            let there =
                cluster.json(owner, "/file_exists?filename=a.txt").await["file_exists"] == true;
            let here =
                cluster.json(other, "/file_exists?filename=a.txt").await["file_exists"] == true;
            (there && !here).then_some(())
        })
        .await;
    assert_eq!(cluster.get(other, "a.txt").await, Some(b"hello".to_vec()));
}

/// The files of chunks on a disk, with their lengths.
fn chunk_files(cluster: &Cluster, n: usize) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(cluster.disk(n).join("chunks")).unwrap();
    let files = folders.flat_map(|f| std::fs::read_dir(f.unwrap().path()).unwrap());
    let mut files: Vec<_> = files.map(|f| f.unwrap().path()).collect();
    files.sort();
    files
}

/// Every copy of a chunk has a bad block, each another one: together they have all.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_damaged_on_every_disk_is_put_together_again() {
    let cluster = Cluster::start(3);
    cluster.form(3).await;
    let body = contents(2_000_000, 3);
    assert_eq!(cluster.put(0, "file", body.clone()).await.status(), 201);
    cluster
        .eventually("three whole copies", async || {
            cluster.verified(0, "file").await.then_some(())
        })
        .await;
    for n in 0..3 {
        let files = chunk_files(&cluster, n);
        assert_eq!(files.len(), 1);
        let file = std::fs::File::options()
            .write(true)
            .open(&files[0])
            .unwrap();
        // In one span of blocks, so that no copy has it all.
        let at = 65_536 * (n as u64 * 4 + 1);
        std::os::unix::fs::FileExt::write_all_at(&file, b"damaged", at).unwrap();
    }
    for n in 0..3 {
        assert!(!cluster.verified(n, "file").await);
        assert_eq!(chunk_files(&cluster, n).len(), 1, "what is left stays");
    }
    for n in 0..3 {
        assert_eq!(cluster.get(n, "file").await.as_ref(), Some(&body));
    }
    cluster
        .eventually("three whole copies again", async || {
            cluster.verified(0, "file").await.then_some(())
        })
        .await;
    assert_eq!(cluster.get(2, "file").await, Some(body));
}
