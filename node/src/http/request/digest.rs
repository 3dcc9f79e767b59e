//! Digests that a client sends with a body: `Content-MD5`, and `Content-Digest`
//! and `Repr-Digest` of RFC 9530, in the header or in the trailer.
//!
//! The body is stored as it comes, so content and representation are the same
//! here. All digests of algorithms that are known are checked; others are ignored.

use axum::http::header::TRAILER;
use axum::http::{HeaderMap, HeaderName};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chord_api::problem::{Kind, Problem};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::structured::dictionary;
use crate::http::response::problem::invalid;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// Base64 of `Content-MD5`, read as leniently as structured fields are.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    const ALL: [Algorithm; 4] = [
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Sha256,
        Algorithm::Sha512,
    ];

    fn of_key(key: &str) -> Option<Algorithm> {
        match key {
            "md5" => Some(Algorithm::Md5),
            "sha" => Some(Algorithm::Sha1),
            "sha-256" => Some(Algorithm::Sha256),
            "sha-512" => Some(Algorithm::Sha512),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }
}

/// What a field says that a digest is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    field: HeaderName,
    algorithm: Algorithm,
    digest: Vec<u8>,
}

fn claims(fields: &HeaderMap) -> Result<Vec<Claim>, Problem> {
    let mut claims = Vec::new();
    let mut lines = fields.get_all(&CONTENT_MD5).iter();
    if let Some(line) = lines.next() {
        let digest = BASE64
            .decode(line.as_bytes().trim_ascii())
            .ok()
            .filter(|digest| digest.len() == 16);
        let (Some(digest), None) = (digest, lines.next()) else {
            return Err(invalid(
                "Content-MD5 cannot be read: it is the base64 of the 16 bytes of one MD5",
            ));
        };
        claims.push(Claim {
            field: CONTENT_MD5,
            algorithm: Algorithm::Md5,
            digest,
        });
    }
    for field in [CONTENT_DIGEST, REPR_DIGEST] {
        let mut text = String::new();
        for line in fields.get_all(&field) {
            let line = line.to_str().map_err(|_| unreadable(&field))?;
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(line);
        }
        for (key, value) in dictionary(&text).ok_or_else(|| unreadable(&field))? {
            let Some(algorithm) = Algorithm::of_key(&key) else {
                continue;
            };
            let digest = value
                .filter(|digest| digest.len() == algorithm.bytes())
                .ok_or_else(|| unreadable(&field))?;
            claims.push(Claim {
                field: field.clone(),
                algorithm,
                digest,
            });
        }
    }
    Ok(claims)
}

fn unreadable(field: &HeaderName) -> Problem {
    invalid(format!(
        "{field} cannot be read: it is a list like sha-256=:BASE64:, each digest in its full length"
    ))
}

/// The digests of one algorithm, as the body goes by.
enum Hasher {
    Md5(Md5),
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Md5 => Hasher::Md5(Md5::new()),
            Algorithm::Sha1 => Hasher::Sha1(Sha1::new()),
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Hasher::Md5(_) => Algorithm::Md5,
            Hasher::Sha1(_) => Algorithm::Sha1,
            Hasher::Sha256(_) => Algorithm::Sha256,
            Hasher::Sha512(_) => Algorithm::Sha512,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Md5(hash) => hash.update(bytes),
            Hasher::Sha1(hash) => hash.update(bytes),
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Hasher::Md5(hash) => hash.finalize().to_vec(),
            Hasher::Sha1(hash) => hash.finalize().to_vec(),
            Hasher::Sha256(hash) => hash.finalize().to_vec(),
            Hasher::Sha512(hash) => hash.finalize().to_vec(),
        }
    }
}

/// Checks one body against every digest that comes with it.
pub(in crate::http) struct Checker {
    claims: Vec<Claim>,
    hashers: Vec<Hasher>,
}

impl Checker {
    /// For the body behind these headers. A chunked body may bring digests in
    /// its trailer, of which only the fields can be announced, not the
    /// algorithms: then all that could come are computed.
    pub(in crate::http) fn new(headers: &HeaderMap, chunked: bool) -> Result<Checker, Problem> {
        let claims = claims(headers)?;
        let later: &[Algorithm] = if chunked { announced(headers) } else { &[] };
        let hashers = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| {
                later.contains(algorithm) || claims.iter().any(|c| c.algorithm == *algorithm)
            })
            .map(Hasher::new)
            .collect();
        Ok(Checker { claims, hashers })
    }

    /// The next bytes of the body.
    pub(in crate::http) fn update(&mut self, bytes: &[u8]) {
        for hasher in &mut self.hashers {
            hasher.update(bytes);
        }
    }

    /// The trailer of the body.
    pub(in crate::http) fn trailer(&mut self, fields: &HeaderMap) -> Result<(), Problem> {
        self.claims.extend(claims(fields)?);
        Ok(())
    }

    /// The verdict at the end of the body.
    pub(in crate::http) fn finish(&mut self) -> Result<(), Problem> {
        let found: Vec<(Algorithm, Vec<u8>)> = self
            .hashers
            .drain(..)
            .map(|hasher| (hasher.algorithm(), hasher.finish()))
            .collect();
        for claim in self.claims.drain(..) {
            let field = &claim.field;
            match found
                .iter()
                .find(|(algorithm, _)| *algorithm == claim.algorithm)
            {
                Some((_, digest)) if *digest == claim.digest => {}
                Some(_) => {
                    let detail = format!(
                        "the body that came is not what {field} says: it was damaged on its way; send it again"
                    );
                    return Err(Problem::new(Kind::DigestMismatch, detail));
                }
                None => {
                    return Err(invalid(format!(
                        "{field} stands in the trailer, and the header Trailer did not announce it: announce it"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The algorithms that the trailer may use: all, unless a header `Trailer`
/// announces other fields.
fn announced(headers: &HeaderMap) -> &'static [Algorithm] {
    if !headers.contains_key(TRAILER) {
        return &Algorithm::ALL;
    }
    let names = |field: &HeaderName| {
        headers.get_all(TRAILER).iter().any(|line| {
            line.as_bytes().split(|b| *b == b',').any(|name| {
                name.trim_ascii()
                    .eq_ignore_ascii_case(field.as_str().as_bytes())
            })
        })
    };
    if names(&CONTENT_DIGEST) || names(&REPR_DIGEST) {
        &Algorithm::ALL
    } else if names(&CONTENT_MD5) {
        &[Algorithm::Md5]
    } else {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn fields(list: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        map
    }

    /// Digests of `hello`.
    const MD5: &str = "XUFAKrxLKna5cZ2REBfFkg==";
    const SHA1: &str = "qvTGHdzF6KLavt4PO0gs2a6pQ00=";
    const SHA256: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    const SHA512: &str =
        "m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==";

    fn check(header: &[(&str, &str)], trailer: &[(&str, &str)], body: &[u8]) -> Result<(), Kind> {
        let run = || {
            let mut checker = Checker::new(&fields(header), !trailer.is_empty())?;
            body.chunks(2).for_each(|piece| checker.update(piece));
            checker.trailer(&fields(trailer))?;
            checker.finish()
        };
        run().map_err(|problem: Problem| problem.kind)
    }

    #[test]
    fn every_algorithm_in_every_field() {
        for (key, digest) in [
            ("md5", MD5),
            ("sha", SHA1),
            ("sha-256", SHA256),
            ("sha-512", SHA512),
        ] {
            let value = format!("{key}=:{digest}:");
            for field in ["content-digest", "Repr-Digest"] {
                assert_eq!(check(&[(field, &value)], &[], b"hello"), Ok(()), "{key}");
                assert_eq!(
                    check(&[(field, &value)], &[], b"hellO"),
                    Err(Kind::DigestMismatch),
                    "{key}"
                );
                assert_eq!(check(&[], &[(field, &value)], b"hello"), Ok(()), "{key}");
                assert_eq!(
                    check(&[("trailer", field)], &[(field, &value)], b"hellO"),
                    Err(Kind::DigestMismatch)
                );
            }
        }
        assert_eq!(check(&[("content-md5", MD5)], &[], b"hello"), Ok(()));
        assert_eq!(
            check(&[("content-md5", MD5)], &[], b""),
            Err(Kind::DigestMismatch)
        );
        assert_eq!(
            check(
                &[("trailer", "X, content-MD5")],
                &[("content-md5", MD5)],
                b"hello"
            ),
            Ok(())
        );
    }

    #[test]
    fn all_of_them_have_to_match() {
        let both = format!(
            "unixsum=9, sha-256=:{SHA256}:, sha-512=:{}:",
            "A".repeat(86)
        );
        assert_eq!(
            check(&[("content-digest", &both)], &[], b"hello"),
            Err(Kind::DigestMismatch)
        );
        let good = format!("sha-256=:{SHA256}:");
        let wrong = format!("sha-256=:{}:", "A".repeat(43));
        assert_eq!(
            check(
                &[("content-digest", &good), ("repr-digest", &wrong)],
                &[],
                b"hello"
            ),
            Err(Kind::DigestMismatch)
        );
        assert_eq!(
            check(
                &[("content-digest", &good)],
                &[("content-digest", &wrong)],
                b"hello"
            ),
            Err(Kind::DigestMismatch)
        );
    }

    #[test]
    fn unknown_ones_are_ignored_and_malformed_ones_refused() {
        assert_eq!(
            check(
                &[("content-digest", "blake3=:AAAA:, crc32c=:AAAA:, x")],
                &[],
                b"hello"
            ),
            Ok(())
        );
        for bad in [
            "sha-256",
            "sha-256=:AAAA:",
            "sha-256=AAAA",
            "sha-256=:????:",
            "SHA-256=:AAAA:",
            &format!("sha-256={SHA256}"),
        ] {
            assert_eq!(
                check(&[("content-digest", bad)], &[], b"hello"),
                Err(Kind::InvalidRequest),
                "{bad}"
            );
            assert_eq!(
                check(&[], &[("repr-digest", bad)], b"hello"),
                Err(Kind::InvalidRequest),
                "{bad}"
            );
        }
        for bad in ["", "AAAA", "5d41402abc4b2a76b9719d911017c592"] {
            assert_eq!(
                check(&[("content-md5", bad)], &[], b"hello"),
                Err(Kind::InvalidRequest),
                "{bad}"
            );
        }
        assert_eq!(
            check(&[("content-md5", MD5), ("content-md5", MD5)], &[], b"hello"),
            Err(Kind::InvalidRequest)
        );
    }

    #[test]
    fn a_digest_that_was_not_computed_is_never_believed() {
        let value = format!("sha-256=:{SHA256}:");
        assert_eq!(
            check(
                &[("trailer", "x-sum")],
                &[("content-digest", &value)],
                b"hello"
            ),
            Err(Kind::InvalidRequest)
        );
        assert_eq!(
            check(
                &[("trailer", "content-md5")],
                &[("content-digest", &value)],
                b"hello"
            ),
            Err(Kind::InvalidRequest)
        );
    }
}
