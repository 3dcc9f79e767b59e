//! `chord find`: a file's key on the ring.

use crate::args::Find;
use crate::exit::Failure;
use crate::output::Output;
use crate::target::Target;

pub async fn run(args: &Find, target: &Target, out: Output) -> Result<(), Failure> {
    let found = target.files().await?.successor(&args.name).await?;
    out.show(&found, || {
        vec![
            format!("id         {}", found.id),
            format!("successor  {}", found.successor),
            format!("owners     {}", found.owners.join(" ")),
            format!("path       {}", found.path.join(" → ")),
            format!("epoch      {}", found.epoch),
        ]
    })
}
