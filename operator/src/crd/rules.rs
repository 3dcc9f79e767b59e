//! What the types of the resource cannot say by themselves: CEL rules, each with what
//! to say when it is broken, and bounds of numbers.

/// CEL rules, each with what to say when it is broken.
pub fn rules(rules: &[(&str, &str)]) -> serde_json::Value {
    rules
        .iter()
        .map(|(rule, message)| serde_json::json!({"rule": rule, "message": message}))
        .collect()
}

/// The rules on the resource as a whole. They are put in where the definition is
/// generated: a derive has no place for them.
pub const ROOT_RULES: [(&str, &str); 2] = [
    (
        "self.metadata.name.size() <= 40",
        "the name must have at most 40 characters, since the names of the objects made for it are longer",
    ),
    (
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "the name must start with a letter, and have only lower-case letters, digits and '-' (DNS-1035), since Services are named after it",
    ),
];

// Plain `int32` with bounds: schemars writes formats of Rust's own (`uint32`)
// that API servers warn about.
pub fn int_schema(minimum: i64, maximum: i64) -> schemars::Schema {
    schemars::json_schema!({"type": "integer", "format": "int32", "minimum": minimum, "maximum": maximum})
}
