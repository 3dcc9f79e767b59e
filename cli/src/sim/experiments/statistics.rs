//! What many runs say together: means, and bounds on what is rare.

pub fn mean(of: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in of {
        sum += value;
        count += 1.0;
    }
    if count > 0.0 { sum / count } else { 0.0 }
}

/// The rate of an event of which `seen` were counted among `of` lies, with 95 %
/// certainty, below what would show so many in as many more. Poisson's bound, which
/// is never below the binomial one.
pub fn at_most(seen: u64, of: u64) -> f64 {
    let count = seen as f64;
    // Of n!, or else it and the powers beside it leave the range of numbers early.
    let ln_factorial: f64 = (1..=seen).map(|n| (n as f64).ln()).sum();
    // To see so many or fewer, from the likeliest number down; they fall off fast, as
    // no rate is tried that is less than what was seen.
    let chance = |rate: f64| {
        let last = (count * rate.ln() - rate - ln_factorial).exp();
        let (mut part, mut sum, mut left) = (1.0, 1.0, count);
        while left > 0.0 && part > 1e-17 {
            part *= left / rate;
            sum += part;
            left -= 1.0;
        }
        last * sum
    };
    let (mut low, mut high) = (count, 10.0 + 3.0 * count);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if chance(middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    // Who has seen nothing at all knows of no bound but this.
    high.min(of.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_10k(seen: u64, of: u64) -> String {
        format!("{:.1}", at_most(seen, of) * 10_000.0 / of as f64)
    }

    #[test]
    fn few_failures_are_bounded_as_tables_of_poisson_have_it() {
        let bounds = [
            (0, "3.0"),
            (1, "4.7"),
            (2, "6.3"),
            (5, "10.5"),
            (10, "17.0"),
        ];
        for (seen, bound) in bounds {
            assert_eq!(per_10k(seen, 10_000), bound, "{seen} seen");
        }
        assert_eq!(per_10k(0, 2000), "15.0");
        assert_eq!(at_most(0, 0), 1.0, "nothing is known");
    }

    #[test]
    fn the_bound_is_never_below_what_was_seen_nor_above_all() {
        for of in [1, 2, 3, 50, 1000, 3000, 10_000, 1_000_000] {
            let mut before = 0.0;
            for part in 0..=20 {
                let seen = of * part / 20;
                let bound = at_most(seen, of);
                assert!(bound >= seen as f64, "{seen} of {of}: {bound}");
                assert!(bound <= of as f64, "{seen} of {of}: {bound}");
                assert!(bound >= before, "{seen} of {of}: {bound} after {before}");
                before = bound;
            }
        }
    }

    #[test]
    fn many_failures_are_bounded_as_closely_as_few() {
        // From so many on a normal distribution is near: 1.645 deviations.
        for seen in [746_u64, 1593, 100_000, 5_000_000] {
            let near = seen as f64 + 1.645 * (seen as f64).sqrt();
            let bound = at_most(seen, u64::MAX);
            assert!((bound - near).abs() < 3.0, "{seen}: {bound} and not {near}");
        }
    }
}
