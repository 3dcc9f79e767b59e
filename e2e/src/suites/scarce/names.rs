//! A name server that does not answer.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cluster_spec::{self, NAME};
use crate::program::{Ran, binary, run_with};
use crate::stage::local::Local;
use crate::stage::namespace::Namespace;
use crate::suite::Ctx;
use crate::wait::secs;

/// A network whose one line leads to nobody: the name server would be there, and what
/// is sent to it is lost.
const PREPARE: &str = r#"
ip link set lo up
ip link add here type veth peer name nowhere
ip address add 192.0.2.1/24 dev here
ip link set here up
ip link set nowhere up
ip neighbour add 192.0.2.53 lladdr 02:00:00:00:00:53 dev here nud permanent
mount --bind "$1" /etc/hosts
mount --bind "$2" /etc/resolv.conf
"#;

pub async fn run(ctx: &Ctx, local: &Local) -> Result<()> {
    let beside = local.place()?;
    let (hosts, servers) = (beside.join("hosts"), beside.join("resolv.conf"));
    std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.1 files.test\n")?;
    std::fs::write(&servers, "nameserver 192.0.2.53\n")?;
    let namespace = match Namespace::new(true, PREPARE, &[&hosts, &servers]).await {
        Ok(namespace) => namespace,
        Err(e) => {
            ctx.cases.skipped("no name server", &format!("{e:#}"));
            return Ok(());
        }
    };
    let file = beside.join("manifest.yaml");
    let spec = cluster_spec::spec(json!({"nodes": 1, "replication": 1}));
    std::fs::write(
        &file,
        serde_yaml::to_string(&cluster_spec::cluster(NAME, &spec))?,
    )?;
    let around = namespace.around();
    let cluster = local
        .up_within(&around, &beside, &beside.join("data"), Some(&file))
        .await?;
    let port = cluster.endpoint().rsplit(':').next().unwrap_or_default();
    let asked = async |host: &str| -> Result<_> {
        let endpoint = format!("http://{host}:{port}");
        let words = around.words.iter().skip(1).map(String::as_str);
        let program = binary("chord")?.display().to_string();
        let args: Vec<&str> = words
            .chain([program.as_str(), "--endpoint", &endpoint, "ls"])
            .collect();
        let nsenter = std::path::Path::new(&around.words[0]);
        run_with(nsenter, &args, secs(60), |c| c).await
    };
    let cases = &ctx.cases;
    cases
        .case("what the hosts file names needs no name server", async {
            reached(asked("files.test").await?)?;
            asked("localhost").await?.expect(0)?;
            asked("127.0.0.1").await?.expect(0)?;
            Ok(())
        })
        .await?;
    cases
        .case(
            "what it does not name fails, and the error says why",
            async {
                let ran = asked("other.test").await?.expect(5)?;
                ensure!(
                    ran.stderr.contains("other.test") && ran.stderr.contains("192.0.2.53"),
                    "it says: {}",
                    ran.stderr
                );
                Ok(())
            },
        )
        .await?;
    cases
        .case("without resolv.conf what is named is found, too", async {
            std::fs::write(&servers, "")?;
            reached(asked("files.test").await?)?;
            asked("localhost").await?.expect(0)?;
            asked("other.test").await?.expect(5)?;
            Ok(())
        })
        .await?;
    cluster.stop().await
}

/// A cluster on one machine goes by no other name, and says so to who has found it.
fn reached(ran: Ran) -> Result<()> {
    let ran = ran.expect(1)?;
    ensure!(
        ran.stderr.contains("does not go by the name"),
        "it was not reached: {}",
        ran.stderr
    );
    Ok(())
}
