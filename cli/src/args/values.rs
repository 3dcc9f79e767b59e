//! Values that options take: header text and metadata.

pub fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or("metadata is KEY=VALUE")?;
    // It travels as a header.
    if http::HeaderName::from_bytes(key.as_bytes()).is_err() {
        return Err(format!(
            "{key:?} cannot be a key: letters, digits and - . _ can be in one"
        ));
    }
    Ok((key.to_string(), header_text(value)?))
}

pub fn header_text(text: &str) -> Result<String, String> {
    if text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        Ok(text.to_string())
    } else {
        Err("only visible ASCII can be sent".to_string())
    }
}
