//! Medians and spreads: a shared machine has outliers, and a mean would believe them.

use serde::Serialize;

/// The middle and the ends of some measurements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// The median and what it lies between, with so many digits; a dash for none.
    pub fn shown(spread: Option<Self>, digits: usize) -> String {
        spread.map_or_else(
            || "-".to_owned(),
            |Self {
                 median,
                 least,
                 most,
             }| format!("{median:.digits$} ({least:.digits$} to {most:.digits$})"),
        )
    }

    /// `None` of no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self {
            median,
            least,
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn an_outlier_moves_an_end_and_not_the_median() {
        let spread = Spread::of([1.0, 900.0, 3.0]).expect("values");
        assert_eq!(
            spread,
            Spread {
                median: 3.0,
                least: 1.0,
                most: 900.0
            }
        );
        assert_eq!(
            Spread::of([4.0, 1.0]).map(|spread| spread.median),
            Some(2.5)
        );
        assert_eq!(Spread::of([]), None);
    }
}
