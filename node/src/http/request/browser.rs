//! What a browser may ask of a cluster on one's own machine.
//!
//! Under `chord up` whoever reaches the loopback address may do anything, and a web
//! page reaches it too: its requests leave from this machine. Browsers say where a
//! request comes from (`Origin`) and which name it was sent to (`Host`, which betrays
//! a name of somebody's that was pointed here), so strangers are known by these.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use chord_api::problem::{Kind, Problem};

use crate::http::response::problem::invalid;

/// Refuses what a web page of somebody else can have sent, by where it says that it
/// comes from and whom it is for.
pub(in crate::http) fn admit(parts: &Parts) -> Result<(), Problem> {
    let hosts = parts.headers.get_all(HOST).iter().map(text);
    let target = parts.uri.authority().map(ToString::to_string);
    if let Some(host) = hosts.chain(target).find(|host| may_be_pointed_here(host)) {
        return Err(forbidden(format!(
            "this cluster is on this machine only and does not go by the name {host:?}: use 127.0.0.1 or localhost"
        )));
    }
    let mut origins = parts.headers.get_all(ORIGIN).iter().map(text);
    if let Some(origin) = origins.find(|origin| !is_local_origin(origin)) {
        return Err(forbidden(format!(
            "a page of {origin:?} may not use this cluster"
        )));
    }
    Ok(())
}

/// Refuses what a form of a web page can have sent: it needs no leave of the browser
/// for that, but the media types that it can send are no JSON.
pub(in crate::http) fn admit_media(parts: &Parts) -> Result<(), Problem> {
    let json = parts.headers.get(CONTENT_TYPE).map(text).is_some_and(|t| {
        let media = t.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case("application/json")
    });
    if parts.method == Method::POST && !json {
        return Err(
            invalid("the request must say Content-Type: application/json")
                .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        );
    }
    Ok(())
}

fn text(value: &HeaderValue) -> String {
    value
        .to_str()
        .map(str::trim)
        .unwrap_or_default()
        .to_string()
}

fn forbidden(why: String) -> Problem {
    Problem::new(Kind::Forbidden, why)
}

/// Whether somebody else may own this name and have it lead to us. An address is no
/// name, and one without a dot is nobody's outside of this network.
fn may_be_pointed_here(authority: &str) -> bool {
    let Ok(parsed) = authority.parse::<axum::http::uri::Authority>() else {
        return true;
    };
    let host = parsed.host();
    let address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    !address && host.trim_end_matches('.').contains('.') && !is_loopback(authority)
}

/// Whether `host` or `host:port` is this machine's loopback.
fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<axum::http::uri::Authority>() else {
        return false;
    };
    let host = authority.host();
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback());
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a page came from this machine itself.
fn is_local_origin(origin: &str) -> bool {
    origin.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|a| is_loopback(a.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for ours in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "chord.localhost:80",
            "127.0.0.1",
            "127.1.2.3:8080",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(is_loopback(ours), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "10.0.0.1",
            "0.0.0.0",
            "[::2]",
            "localhost evil",
        ] {
            assert!(!is_loopback(foreign), "{foreign}");
        }
    }

    #[test]
    fn only_a_full_name_can_be_somebody_elses() {
        for theirs in [
            "evil.example",
            "evil.example.:8080",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert!(may_be_pointed_here(theirs), "{theirs}");
        }
        for safe in [
            "localhost:8080",
            "a.localhost",
            "127.0.0.1",
            "[::1]:80",
            "10.0.0.1",
            "x",
        ] {
            assert!(!may_be_pointed_here(safe), "{safe}");
        }
    }

    #[test]
    fn an_origin_is_ours_only_by_its_host() {
        assert!(is_local_origin("http://localhost:3000"));
        assert!(is_local_origin("http://127.0.0.1:8080"));
        for foreign in [
            "null",
            "",
            "http://evil.example",
            "http://127.0.0.1@evil.example",
            "file://localhost",
            "localhost",
        ] {
            assert!(!is_local_origin(foreign), "{foreign}");
        }
    }
}
