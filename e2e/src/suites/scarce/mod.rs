//! A machine on which something is scarce: what is there goes on to work, and what
//! lacks says so.

mod descriptors;
mod names;
mod room;

use anyhow::Result;

use crate::stage::Stage;
use crate::stage::namespace;
use crate::suite::Ctx;

pub async fn run(ctx: Ctx) -> Result<()> {
    let Stage::Local(local) = &ctx.stage else {
        ctx.cases.skipped("all of it", "it is about one machine");
        return Ok(());
    };
    // One that fails says nothing about the others.
    let mut all = vec![descriptors::run(&ctx, local).await];
    match namespace::impossible().await {
        Some(why) => {
            ctx.cases.skipped("no name server", &why);
            ctx.cases.skipped("a full file system", &why);
        }
        None => {
            all.push(names::run(&ctx, local).await);
            all.push(room::run(&ctx, local).await);
        }
    }
    all.into_iter().collect()
}
