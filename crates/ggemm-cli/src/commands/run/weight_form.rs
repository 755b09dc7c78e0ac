//! What the shape of a weight in a file says: whose it is, which dimension is N, which is K.

use ggemm_codegen::{WeightLayout, WeightSharing};

use crate::files::{InputError, shape};

/// A weight tensor of a file, and what is known of it.
pub(crate) struct WeightTensor<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its shape.
    pub(crate) shape: &'a [usize],
    /// The name of x, for messages.
    pub(crate) x_name: &'a str,
    /// The shape of x, whose columns are K.
    pub(crate) x_shape: [usize; 2],
    /// `--weight-layout`.
    pub(crate) asked: Option<WeightLayout>,
}

/// How a weight is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WeightForm {
    /// Rank 2: shared, rank 3: one for each expert.
    pub(crate) sharing: WeightSharing,
    /// Which dimension comes first.
    pub(crate) layout: WeightLayout,
    /// The first dimension of a rank 3 tensor.
    pub(crate) groups: Option<usize>,
    /// N.
    pub(crate) n: usize,
    /// Both layouts fit, and nobody said which.
    pub(crate) ambiguous: bool,
}

impl WeightTensor<'_> {
    /// Reads the shape. A square weight is [N, K] unless `--weight-layout` says otherwise.
    pub(crate) fn form(&self) -> Result<WeightForm, InputError> {
        let (sharing, groups, first, last) = match *self.shape {
            [first, last] => (WeightSharing::Shared, None, first, last),
            [groups, first, last] => (WeightSharing::PerExpert, Some(groups), first, last),
            _ => {
                return Err(InputError::Rank {
                    name: self.name.to_owned(),
                    found: shape(self.shape),
                    expected: "[G, N, K] or [G, K, N] (one for each expert) or [N, K] or [K, N] (one for all)",
                });
            }
        };
        let k = self.x_shape[1];
        let fits = |layout| if layout == WeightLayout::Nk { last == k } else { first == k };
        let (nk, kn) = (fits(WeightLayout::Nk), fits(WeightLayout::Kn));
        if !nk && !kn {
            return Err(InputError::NoReduction {
                name: self.name.to_owned(),
                found: shape(self.shape),
                k,
                x: format!("`{}` {}", self.x_name, shape(&self.x_shape)),
            });
        }
        let layout = self.asked.unwrap_or(if nk { WeightLayout::Nk } else { WeightLayout::Kn });
        if !fits(layout) {
            return Err(self.other(layout, k));
        }
        let n = if layout == WeightLayout::Nk { first } else { last };
        Ok(WeightForm { sharing, layout, groups, n, ambiguous: nk && kn && self.asked.is_none() })
    }

    fn other(&self, asked: WeightLayout, k: usize) -> InputError {
        let (expected, other) = match (asked, self.shape.len()) {
            (WeightLayout::Nk, 2) => ("[N, K]", "kn"),
            (WeightLayout::Nk, _) => ("[G, N, K]", "kn"),
            (WeightLayout::Kn, 2) => ("[K, N]", "nk"),
            (WeightLayout::Kn, _) => ("[G, K, N]", "nk"),
        };
        InputError::OtherLayout {
            name: self.name.to_owned(),
            found: shape(self.shape),
            expected,
            k,
            x: format!("`{}` {}", self.x_name, shape(&self.x_shape)),
            other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(shape: &[usize], k: usize, asked: Option<WeightLayout>) -> Result<WeightForm, String> {
        let weight = WeightTensor { name: "w", shape, x_name: "x", x_shape: [9, k], asked };
        weight.form().map_err(|e| e.to_string())
    }

    #[test]
    fn the_shape_decides_the_form() {
        use WeightLayout::{Kn, Nk};
        use WeightSharing::{PerExpert, Shared};
        let expected = |sharing, layout, groups, n, ambiguous| Ok(WeightForm { sharing, layout, groups, n, ambiguous });
        assert_eq!(form(&[5, 7], 7, None), expected(Shared, Nk, None, 5, false));
        assert_eq!(form(&[7, 5], 7, None), expected(Shared, Kn, None, 5, false));
        assert_eq!(form(&[3, 5, 7], 7, None), expected(PerExpert, Nk, Some(3), 5, false));
        assert_eq!(form(&[3, 7, 5], 7, Some(Kn)), expected(PerExpert, Kn, Some(3), 5, false));
        assert_eq!(form(&[3, 7, 7], 7, None), expected(PerExpert, Nk, Some(3), 7, true));
        assert_eq!(form(&[3, 7, 7], 7, Some(Kn)), expected(PerExpert, Kn, Some(3), 7, false));
    }

    #[test]
    fn a_shape_that_does_not_fit_is_explained() {
        insta::assert_snapshot!(form(&[3, 5, 6], 7, None).unwrap_err(), @"`w` has shape [3, 5, 6], and none of its last two dimensions is K = 7 of `x` [9, 7]");
        insta::assert_snapshot!(form(&[3, 7, 5], 7, Some(WeightLayout::Nk)).unwrap_err(), @"`w` has shape [3, 7, 5], which is not [G, N, K] with K = 7 of `x` [9, 7]: it is --weight-layout kn");
        insta::assert_snapshot!(form(&[7], 7, None).unwrap_err(), @"`w` has shape [7], and [G, N, K] or [G, K, N] (one for each expert) or [N, K] or [K, N] (one for all) is needed");
    }
}
