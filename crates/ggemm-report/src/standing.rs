//! How a record stands beside the fastest of its peers.

use crate::race::{Contestant, Race};
use crate::record::{Record, Row};

/// What a plan takes beside the fastest peer's stored time, over all products that both computed.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// How many products that are.
    pub products: usize,
    /// The peer's time over ggemm's, in the geometric mean: above 1, ggemm is faster.
    pub mean: f64,
    /// The product at which ggemm stands worst.
    pub worst: Product<'a>,
}

/// One product that a peer computed too.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// ggemm's time.
    pub row: &'a Row,
    /// The fastest peer's.
    pub peer: &'a Contestant,
}

impl Product<'_> {
    /// The peer's time over ggemm's.
    pub fn ratio(&self) -> f64 {
        self.peer.microseconds / self.row.median_us
    }
}

impl<'a> Standing<'a> {
    /// Beside the races on the record's device; `None` where no peer computed anything of it.
    pub fn of(record: &'a Record, races: &'a [Race]) -> Option<Self> {
        let beside = || races.iter().filter(|race| race.is_beside(record));
        let product = |row: &'a Row| {
            let peers = beside().flat_map(|race| race.of(&row.subject));
            Some(Product { row, peer: peers.min_by(|a, b| a.microseconds.total_cmp(&b.microseconds))? })
        };
        let still = record.taken().into_iter().filter(|row| row.subject.sweep.is_none());
        let products: Vec<Product<'a>> = still.filter_map(product).collect();
        let worst = products.iter().copied().min_by(|a, b| a.ratio().total_cmp(&b.ratio()))?;
        let logs: f64 = products.iter().map(|product| product.ratio().ln()).sum();
        Some(Standing { products: products.len(), mean: (logs / products.len() as f64).exp(), worst })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::tests::RESULTS;
    use crate::record::tests::{record, row};

    #[test]
    fn the_fastest_peer_counts() {
        let more = RESULTS.replace(
            "\"rows\": [",
            r#""rows": [ {"case": "b", "operation": "forward", "dtype": "bfloat16", "groups": 4, "m": 1000, "n": 1000,
                 "k": 1000, "peer": "torch", "microseconds": 9.0, "tflops": 222.2},"#,
        );
        let races = [Race::parse(&more).unwrap()];
        // 16 over 8 and 9 over 18; nobody computed c.
        let record = record(vec![row("a", "v", &[8.0]), row("b", "v", &[18.0]), row("c", "v", &[1.0])]);
        let standing = Standing::of(&record, &races).unwrap();
        assert_eq!((standing.products, standing.mean), (2, 1.0));
        assert_eq!((standing.worst.ratio(), standing.worst.peer.peer.as_str()), (0.5, "torch"));
        let elsewhere = Record { device: "another".into(), ..record };
        assert!(Standing::of(&elsewhere, &races).is_none());
    }
}
