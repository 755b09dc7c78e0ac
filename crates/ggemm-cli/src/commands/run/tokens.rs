//! From the expert of each token to sorted rows and back.

use ggemm_runtime::{Buffer, Device, Element, Error, bf16, f16};

use crate::files::InputError;

/// The token that each sorted row was: the order of the file, undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenOrder {
    /// The token of each row.
    token_of_row: Vec<usize>,
}

impl TokenOrder {
    /// Sorts tokens by expert; those of one expert keep their order. Also the number of tokens of each expert.
    ///
    /// # Errors
    /// The first id that is no expert's.
    pub(crate) fn sort(name: &str, ids: &[i64], groups: usize) -> Result<(Self, Vec<i64>), InputError> {
        let mut sizes = vec![0_usize; groups];
        let expert = |(token, &id): (usize, &i64)| {
            let out_of_range = || InputError::ExpertId { name: name.to_owned(), token, id, groups };
            usize::try_from(id).ok().filter(|&expert| expert < groups).ok_or_else(out_of_range)
        };
        let experts: Vec<usize> = ids.iter().enumerate().map(expert).collect::<Result<_, _>>()?;
        for &expert in &experts {
            sizes[expert] += 1;
        }
        let mut next: Vec<usize> = sizes
            .iter()
            .scan(0, |start, size| {
                let own = *start;
                *start += size;
                Some(own)
            })
            .collect();
        let mut token_of_row = vec![0; ids.len()];
        for (token, &expert) in experts.iter().enumerate() {
            token_of_row[next[expert]] = token;
            next[expert] += 1;
        }
        let sizes = sizes.into_iter().map(|size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
        Ok((TokenOrder { token_of_row }, sizes))
    }

    /// The token that a sorted row was.
    pub(crate) fn token(&self, row: usize) -> Option<usize> {
        self.token_of_row.get(row).copied()
    }

    /// The sorted row of each token.
    pub(crate) fn rows_of_tokens(&self) -> Vec<usize> {
        let mut row_of_token = vec![0; self.token_of_row.len()];
        for (row, &token) in self.token_of_row.iter().enumerate() {
            row_of_token[token] = row;
        }
        row_of_token
    }

    /// Rows of `cols` elements in sorted order.
    pub(crate) fn gather(&self, rows: &Buffer, cols: usize) -> Result<Buffer, Error> {
        let mut sorted = Buffer::zeros(&Device::cpu(), rows.element_type(), rows.len())?;
        let moved = self.gather_elements::<bf16>(rows, &mut sorted, cols).is_some()
            || self.gather_elements::<f16>(rows, &mut sorted, cols).is_some();
        debug_assert!(moved, "operands are bf16 or f16");
        Ok(sorted)
    }

    fn gather_elements<T: Element>(&self, from: &Buffer, to: &mut Buffer, cols: usize) -> Option<()> {
        let (from, to) = (from.as_slice::<T>()?, to.as_mut_slice::<T>()?);
        for (row, &token) in to.chunks_exact_mut(cols.max(1)).zip(&self.token_of_row) {
            row.copy_from_slice(&from[token * cols..(token + 1) * cols]);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sorted_stably_and_back() {
        let (order, sizes) = TokenOrder::sort("ids", &[2, 0, 2, 0, 3], 5).unwrap();
        assert_eq!(sizes, [2, 0, 2, 1, 0]);
        assert_eq!(order.token_of_row, [1, 3, 0, 2, 4]);
        assert_eq!(order.rows_of_tokens(), [2, 0, 3, 1, 4]);
        assert_eq!((order.token(0), order.token(5)), (Some(1), None));
        let values: Vec<bf16> = (0..10_u8).map(|v| bf16::from_f32(f32::from(v))).collect();
        let rows = Buffer::from_slice(&Device::cpu(), &values).unwrap();
        let sorted = order.gather(&rows, 2).unwrap().to_vec::<bf16>().unwrap();
        assert_eq!(sorted.iter().map(|v| v.to_f32()).collect::<Vec<_>>(), [2., 3., 6., 7., 0., 1., 4., 5., 8., 9.]);
    }

    #[test]
    fn ids_of_nobody_are_named() {
        for (ids, text) in [
            (&[0, 4][..], "`ids` says expert 4 for token 1, and there are 4: ids are 0 to 3"),
            (&[-1][..], "`ids` says expert -1 for token 0, and there are 4: ids are 0 to 3"),
        ] {
            assert_eq!(TokenOrder::sort("ids", ids, 4).unwrap_err().to_string(), text);
        }
    }
}
