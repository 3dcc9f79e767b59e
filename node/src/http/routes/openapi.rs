//! `GET /openapi.json`: the description of this port, kept by hand beside the
//! code; tests hold it to the routes.

/// The document.
pub(in crate::http) const DOCUMENT: &str = include_str!("openapi.json");
