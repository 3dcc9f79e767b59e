//! Requests to a store that speaks S3: their paths, with the signature in them. They
//! are made before the clock is started, so that the client costs the same whoever
//! answers.

use std::time::Duration;

use anyhow::{Context, Result};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use super::client::{FileSet, Paths};

/// The name that is signed for all servers. They never look it up, and a signature
/// for an address would be good at one of them only.
const HOST: &str = "peer.localhost";
/// How long signatures are good: longer than a bench may take.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);

/// Who signs, and for which bucket.
pub struct Signer {
    bucket: Bucket,
    credentials: Credentials,
}

impl Signer {
    /// Signs with this key for requests to this bucket.
    pub fn new(bucket: &str, region: &str, key: &str, secret: &str) -> Result<Signer> {
        let endpoint = format!("http://{HOST}")
            .parse()
            .context("the address that is signed")?;
        let bucket = Bucket::new(
            endpoint,
            UrlStyle::Path,
            bucket.to_string(),
            region.to_string(),
        )
        .with_context(|| format!("naming the bucket {bucket}"))?;
        Ok(Signer {
            bucket,
            credentials: Credentials::new(key, secret),
        })
    }

    /// Signs a PUT of each of the first `count` files.
    pub fn puts(&self, set: &FileSet, count: usize) -> Paths {
        self.paths(set, count, |name| {
            let action = self.bucket.put_object(Some(&self.credentials), name);
            path_of(&action)
        })
    }

    /// Signs a GET of each of the first `count` files.
    pub fn gets(&self, set: &FileSet, count: usize) -> Paths {
        self.paths(set, count, |name| {
            let action = self.bucket.get_object(Some(&self.credentials), name);
            path_of(&action)
        })
    }

    fn paths(&self, set: &FileSet, count: usize, path: impl Fn(&str) -> String) -> Paths {
        Paths::Signed {
            host: HOST.to_string(),
            paths: (0..count).map(|index| path(&set.name(index))).collect(),
        }
    }
}

fn path_of<'a>(action: &impl S3Action<'a>) -> String {
    let url = action.sign(GOOD_FOR);
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_the_key_in_the_bucket_for_one_host() {
        let signer = Signer::new("bench", "here", "GK1", "secret").unwrap();
        let set = FileSet::new("small/", 1);
        let Paths::Signed { host, paths } = signer.puts(&set, 2) else {
            panic!("nothing is signed");
        };
        assert_eq!((host.as_str(), paths.len()), (HOST, 2));
        assert!(paths[1].starts_with("/bench/small/000001?"), "{}", paths[1]);
        for part in [
            "X-Amz-Credential=GK1%2F",
            "X-Amz-SignedHeaders=host&",
            "X-Amz-Signature=",
        ] {
            assert!(paths[1].contains(part), "{part} is not in {}", paths[1]);
        }
        let Paths::Signed { paths: gets, .. } = signer.gets(&set, 2) else {
            panic!("nothing is signed");
        };
        assert_ne!(paths[1], gets[1]);
    }
}
