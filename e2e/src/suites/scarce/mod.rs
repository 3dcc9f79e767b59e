//! A machine on which something is scarce: what is there goes on to work, and what
//! lacks says so.

mod names;

use anyhow::Result;

use crate::stage::Stage;
use crate::stage::namespace;
use crate::suite::Ctx;

pub async fn run(ctx: Ctx) -> Result<()> {
    let Stage::Local(local) = &ctx.stage else {
        ctx.cases.skipped("all of it", "it is about one machine");
        return Ok(());
    };
    match namespace::impossible().await {
        Some(why) => {
            ctx.cases.skipped("no name server", &why);
            Ok(())
        }
        None => names::run(&ctx, local).await,
    }
}
