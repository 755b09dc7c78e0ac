//! [`QuantizeSpec`]: one kernel that quantizes, as a plain value with a one-line name.

use std::fmt;
use std::str::FromStr;

use crate::arch::Arch;
use crate::dsl::PatchShape;
use crate::dtype::Dtype;
use crate::ir::SharedBy;
use crate::scaling::Scaling;

/// A quantized copy of a source matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    /// Which elements of a block of the source share a scale.
    pub by: SharedBy,
    /// The copy's rows are the source's columns.
    pub transposed: bool,
}

/// How the CTAs of a cluster divide a whole row or column that is too long for one of them to hold.
///
/// Each takes every so manieth block, and they tell each other the largest magnitudes of theirs. What a CTA holds it need
/// not read again, and clusters came with sm_90.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Division {
    /// CTAs of a cluster: a multiple of 4, as lanes deal out what others tell.
    pub ctas: u32,
    /// Warps of each.
    pub warps: u32,
}

impl Division {
    const fn of(ctas: u32, warps: u32) -> Self {
        Division { ctas, warps }
    }
}

/// What is made of a source, whatever the types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// Blocks of 128 elements share scales, or whole rows or columns.
    pub scaling: Scaling,
    /// Groups, whose sizes only the device knows, divide the source's rows; else it is one matrix after another.
    pub ragged: bool,
    /// The copy.
    pub copy: Copy,
    /// A second one, of the same read of the source.
    pub second: Option<Copy>,
}

impl Form {
    const fn of(scaling: Scaling, ragged: bool, copy: Copy, second: Option<Copy>) -> Self {
        Form { scaling, ragged, copy, second }
    }

    /// Every form there is a kernel of.
    ///
    /// A second copy is made where one block of the source has all that both scales depend on.
    pub const ALL: [Form; 13] = [
        // Tokens along the reduction; the same with the copy that grad_w reads; that copy, and one as tokens lie.
        Form::of(Scaling::Block, false, ROWS, None),
        Form::of(Scaling::Block, true, ROWS, Some(COLUMNS_TRANSPOSED)),
        Form::of(Scaling::Block, true, COLUMNS_TRANSPOSED, None),
        Form::of(Scaling::Block, true, COLUMNS, None),
        // Weights, in either layout or in both.
        Form::of(Scaling::Block, false, BLOCKS, None),
        Form::of(Scaling::Block, false, BLOCKS_TRANSPOSED, None),
        Form::of(Scaling::Block, false, BLOCKS, Some(BLOCKS_TRANSPOSED)),
        // Tokens and weights by whole rows or columns, and groups' columns.
        Form::of(Scaling::Row, false, ROWS, None),
        Form::of(Scaling::Row, false, ROWS_TRANSPOSED, None),
        Form::of(Scaling::Row, false, COLUMNS, None),
        Form::of(Scaling::Row, false, COLUMNS_TRANSPOSED, None),
        Form::of(Scaling::Row, true, COLUMNS, None),
        Form::of(Scaling::Row, true, COLUMNS_TRANSPOSED, None),
    ];
}

impl Form {
    /// How clusters may divide its rows or columns among them, those that hold more of them later. Each was the fastest on an
    /// H100 for what it holds and the one before does not (docs/tuning.md).
    pub fn divisions(&self) -> &'static [Division] {
        const ACROSS: &[Division] = &[Division::of(4, 4), Division::of(8, 4), Division::of(8, 8)];
        const ALONG: &[Division] = &[Division::of(4, 8), Division::of(8, 8)];
        match (self.scaling, self.copy, self.second) {
            (Scaling::Row, ROWS, None) => ACROSS,
            (Scaling::Row, COLUMNS_TRANSPOSED, None) => ALONG,
            _ => &[],
        }
    }
}

const ROWS: Copy = Copy { by: SharedBy::Row, transposed: false };
const ROWS_TRANSPOSED: Copy = Copy { by: SharedBy::Row, transposed: true };
const COLUMNS: Copy = Copy { by: SharedBy::Column, transposed: false };
const COLUMNS_TRANSPOSED: Copy = Copy { by: SharedBy::Column, transposed: true };
const BLOCKS: Copy = Copy { by: SharedBy::Block, transposed: false };
const BLOCKS_TRANSPOSED: Copy = Copy { by: SharedBy::Block, transposed: true };

/// A kernel that quantizes.
///
/// `Display` writes its one-line name, which is the kernel's symbol, and `FromStr` reads it back:
///
/// ```
/// use ggemm_codegen::QuantizeSpec;
/// let name = "ggemm_quantize_bf16_e4m3_block_ragged_rows_colst_sm89";
/// let spec: QuantizeSpec = name.parse()?;
/// assert_eq!(spec.copies().count(), 2);
/// assert_eq!(spec.to_string(), name);
/// # Ok::<(), ggemm_codegen::kernels::quantize::QuantizeNameError>(())
/// ```
///
/// Every value is a kernel that can be built. What need not be compiled in is a parameter: whether scales are powers of
/// two, sizes or ends, i32 or i64, one weight for all groups, and whether rows are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuantizeSpec {
    source: Dtype,
    format: Dtype,
    form: Form,
    division: Option<Division>,
}

impl QuantizeSpec {
    /// The types that are quantized.
    pub const SOURCES: [Dtype; 3] = [Dtype::Bf16, Dtype::F16, Dtype::F32];

    /// The types that are quantized to.
    pub const FORMATS: [Dtype; 2] = [Dtype::E4m3, Dtype::E5m2];

    /// The kernel of these types and this form; `None` where there is none.
    pub fn new(source: Dtype, format: Dtype, form: Form) -> Option<Self> {
        let is_known = Self::SOURCES.contains(&source) && Self::FORMATS.contains(&format) && Form::ALL.contains(&form);
        is_known.then_some(QuantizeSpec { source, format, form, division: None })
    }

    /// The same with rows or columns that clusters divide so, or that no CTA shares; `None` where there is no such kernel.
    pub fn divided(self, division: Option<Division>) -> Option<Self> {
        let is_known = division.is_none_or(|division| self.form.divisions().contains(&division));
        is_known.then_some(QuantizeSpec { division, ..self })
    }

    /// The same for whole rows or columns of so many elements: divided, where a target has clusters, if one CTA would have to
    /// read some of them again.
    pub fn for_length(self, length: usize, target: Arch) -> Self {
        let divided = |division: &Division| QuantizeSpec { division: Some(*division), ..self };
        let one = QuantizeSpec { division: None, ..self };
        if !target.executes(Arch::Sm90a) {
            return one;
        }
        let all = [one].into_iter().chain(self.form.divisions().iter().map(divided));
        let holds =
            |spec: &QuantizeSpec| spec.reads_twice().then(|| spec.held()).is_none_or(|held| length <= held as usize);
        all.clone().find(holds).or_else(|| all.last()).unwrap_or(one)
    }

    /// Elements of a whole row or column that stay on the chip until they are rounded.
    fn held(&self) -> u32 {
        let (rows, cols) = self.block();
        let block = if matches!(self.form.copy.by, SharedBy::Row) { cols } else { rows };
        let kept = if self.shape() == PatchShape::Square { 1 } else { 2 };
        kept * block * self.ctas()
    }

    /// Every kernel, in the order in which tables list them.
    pub fn all() -> impl Iterator<Item = QuantizeSpec> {
        Self::SOURCES.into_iter().flat_map(|source| {
            let formats = Self::FORMATS.into_iter();
            formats.flat_map(move |format| {
                Form::ALL.into_iter().flat_map(move |form| {
                    let divisions = [None].into_iter().chain(form.divisions().iter().copied().map(Some));
                    divisions.map(move |division| QuantizeSpec { source, format, form, division })
                })
            })
        })
    }

    /// What is quantized.
    pub const fn source(&self) -> Dtype {
        self.source
    }

    /// What it is quantized to.
    pub const fn format(&self) -> Dtype {
        self.format
    }

    /// What is made of the source.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// How clusters divide whole rows or columns.
    pub const fn division(&self) -> Option<Division> {
        self.division
    }

    /// CTAs of a cluster; 1 where none are formed.
    pub const fn ctas(&self) -> u32 {
        match self.division {
            Some(division) => division.ctas,
            None => 1,
        }
    }

    /// The copies.
    pub fn copies(&self) -> impl Iterator<Item = Copy> + use<> {
        [Some(self.form.copy), self.form.second].into_iter().flatten()
    }

    /// The oldest architecture whose instructions the kernel uses: conversions to fp8 came with sm_89. Clusters are those of
    /// the one GPU where they were measured.
    pub const fn arch(&self) -> Arch {
        match self.division {
            Some(_) => Arch::Sm90a,
            None => Arch::Sm89,
        }
    }

    /// The architectures that run it.
    pub fn targets(&self) -> impl Iterator<Item = Arch> + use<> {
        let needed = self.arch();
        Arch::ALL.into_iter().filter(move |target| target.executes(needed))
    }

    /// Whether scales belong to whole rows or columns, so that the source is read twice.
    pub const fn reads_twice(&self) -> bool {
        matches!(self.form.scaling, Scaling::Row)
    }

    /// CTAs of a multiprocessor: as many as have registers without spilling any, whatever the target, so that some load while
    /// others round.
    pub const fn resident(&self) -> u32 {
        let is_wide = matches!(self.source, Dtype::F32);
        let is_of_blocks = matches!(self.form.copy.by, SharedBy::Block);
        let makes_two = self.form.second.is_some();
        let walks_for_columns = self.form.ragged && !makes_two && !self.reads_twice();
        let is_divided_along = self.division.is_some() && matches!(self.form.copy.by, SharedBy::Column);
        let of_256_threads = match (is_wide, is_of_blocks && makes_two) {
            (true, true) => 1,
            (true, false) => 2,
            (false, false) if walks_for_columns || self.warps() == 16 || is_divided_along => 4,
            (false, _) => 3,
        };
        of_256_threads * 256 / (32 * self.warps())
    }

    /// How a CTA's block lies: 128 × 128 elements, but long where whole rows or columns share scales, so that there are many
    /// CTAs, and what all of them are at still is in L2 when it is read again.
    pub const fn shape(&self) -> PatchShape {
        match (self.reads_twice(), self.form.copy.by, self.form.copy.transposed) {
            (true, SharedBy::Row, false) => PatchShape::Wide,
            (true, SharedBy::Column, _) => PatchShape::Tall,
            _ => PatchShape::Square,
        }
    }

    /// Warps of a CTA: a block of 128 rows; of a long one as much as registers have room for.
    pub const fn warps(&self) -> u32 {
        if let Some(division) = self.division {
            return division.warps;
        }
        match (self.source, self.shape()) {
            (Dtype::F32, _) | (_, PatchShape::Square) => 8,
            (_, PatchShape::Wide) => 12,
            (_, PatchShape::Tall) => {
                if self.form.copy.transposed {
                    16
                } else {
                    8
                }
            }
        }
    }

    /// Rows and columns of the block that a CTA has in registers at a time.
    pub const fn block(&self) -> (u32, u32) {
        self.shape().block(self.warps())
    }
}

const PREFIX: &str = "ggemm_quantize_";

const BY: [(&str, SharedBy); 3] = [("rows", SharedBy::Row), ("cols", SharedBy::Column), ("blocks", SharedBy::Block)];

impl fmt::Display for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = BY.into_iter().find(|(_, by)| *by == self.by).map_or("", |(name, _)| name);
        write!(f, "{name}{}", if self.transposed { "t" } else { "" })
    }
}

impl fmt::Display for QuantizeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuantizeSpec { source, format, form, division } = self;
        write!(f, "{PREFIX}{source}_{format}_{}", form.scaling)?;
        if form.ragged {
            write!(f, "_ragged")?;
        }
        for copy in self.copies() {
            write!(f, "_{copy}")?;
        }
        if let Some(Division { ctas, warps }) = division {
            write!(f, "_w{warps}_c{ctas}")?;
        }
        write!(f, "_{}", self.arch().name().replace('_', ""))
    }
}

/// A string that is no name of a kernel that quantizes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not the name of a kernel that quantizes (as ggemm_quantize_bf16_e4m3_block_rows_sm89 is): `ggemm list --quantizers` prints all"
)]
pub struct QuantizeNameError(pub String);

impl FromStr for QuantizeSpec {
    type Err = QuantizeNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // There are few, and a name that is almost one is none.
        let is_one = name.starts_with(PREFIX);
        let found = is_one.then(|| QuantizeSpec::all().find(|spec| spec.to_string() == name)).flatten();
        found.ok_or_else(|| QuantizeNameError(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_read_back_and_are_distinct() {
        let names: HashSet<String> = QuantizeSpec::all().map(|spec| spec.to_string()).collect();
        assert_eq!(names.len(), QuantizeSpec::all().count());
        for spec in QuantizeSpec::all() {
            assert_eq!(spec.to_string().parse(), Ok(spec));
            let undivided = QuantizeSpec::new(spec.source, spec.format, spec.form).unwrap();
            assert_eq!(undivided.division(), None);
            assert_eq!(undivided.divided(spec.division), Some(spec));
        }
        for name in ["", "ggemm_quantize_bf16_e4m3_block_ragged_rows_sm89", "ggemm_quantize_bf16_bf16_block_rows_sm89"]
        {
            assert_eq!(name.parse::<QuantizeSpec>(), Err(QuantizeNameError(name.into())));
        }
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let form = Form::ALL[0];
        assert_eq!(QuantizeSpec::new(Dtype::E4m3, Dtype::E4m3, form), None);
        assert_eq!(QuantizeSpec::new(Dtype::Bf16, Dtype::F16, form), None);
        assert_eq!(QuantizeSpec::new(Dtype::Bf16, Dtype::E4m3, Form { ragged: true, ..form }), None);
        let blocks = QuantizeSpec::new(Dtype::Bf16, Dtype::E4m3, form).unwrap();
        assert_eq!(blocks.divided(Some(Division::of(4, 4))), None);
    }
}
