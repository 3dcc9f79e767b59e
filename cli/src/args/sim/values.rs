//! Values that the options of `chord sim` take, with their bounds.

/// What memory has room for: a look-up's figures are kept to its run's end.
pub const MOST_LOOKUPS: i64 = 10_000_000;

/// As many virtual nodes as a machine can simulate.
const MOST_VNODES: u64 = 4_000_000;

pub fn ring_size(text: &str) -> Result<(u32, u32), String> {
    let (nodes, tokens) =
        pair(text, 'x').ok_or("a ring is NODESxTOKENS, such as 10x64; each from 1 to 100000")?;
    few_enough(nodes, tokens)?;
    Ok((nodes, tokens))
}

pub fn few_enough(nodes: u32, tokens: u32) -> Result<(), String> {
    let all = u64::from(nodes) * u64::from(tokens);
    if all > MOST_VNODES {
        return Err(format!(
            "{nodes} nodes of {tokens} tokens are {all} virtual nodes, and a ring can have {MOST_VNODES} here: take fewer of either"
        ));
    }
    Ok(())
}

/// Events a second. Rarer ones than the least would not be seen in any run, and the
/// time to the next would leave the range of the virtual clock.
pub fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(0.0),
        Ok(rate) if (0.000_001..=100.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number a second: 0, or from 0.000001 to 100".to_string()),
    }
}

pub fn racks(text: &str) -> Result<(u32, u32), String> {
    pair(text, ':')
        .filter(|(of, lost)| lost < of)
        .ok_or_else(|| "RACKS:LOST, such as 6:2; not all can be lost".to_string())
}

fn pair(text: &str, between: char) -> Option<(u32, u32)> {
    let (one, other) = text.split_once(between)?;
    let number = |text: &str| text.parse().ok().filter(|n| (1..=100_000).contains(n));
    Some((number(one)?, number(other)?))
}

pub fn weight(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(weight) if (0.1..=16.0).contains(&weight) => Ok(weight),
        _ => Err("a weight is a number from 0.1 to 16".to_string()),
    }
}
