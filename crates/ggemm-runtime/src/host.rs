//! Memory of the host, of any element type: one variant a type, so that no access reinterprets bytes.

use half::{bf16, f16};

use crate::element::ElementType;
use crate::fp8::{e4m3, e5m2};

macro_rules! host_memory {
    ($($variant:ident $element:ty;)*) => {
        /// Owned elements.
        #[derive(Clone, Debug)]
        pub enum HostVec { $(#[doc(hidden)] $variant(Vec<$element>),)* }

        /// Borrowed elements.
        #[derive(Clone, Copy, Debug)]
        pub enum HostSlice<'a> { $(#[doc(hidden)] $variant(&'a [$element]),)* }

        /// Mutably borrowed elements.
        #[derive(Debug)]
        pub enum HostSliceMut<'a> { $(#[doc(hidden)] $variant(&'a mut [$element]),)* }

        impl HostVec {
            /// `len` zeros; `None` where there is no memory for them.
            pub(crate) fn zeros(ty: ElementType, len: usize) -> Option<Self> {
                match ty { $(ElementType::$variant => {
                    let mut elements: Vec<$element> = Vec::new();
                    elements.try_reserve_exact(len).ok()?;
                    elements.resize(len, bytemuck::Zeroable::zeroed());
                    Some(HostVec::$variant(elements))
                })* }
            }

            pub(crate) fn as_slice(&self) -> HostSlice<'_> {
                match self { $(HostVec::$variant(v) => HostSlice::$variant(v),)* }
            }

            pub(crate) fn as_mut_slice(&mut self) -> HostSliceMut<'_> {
                match self { $(HostVec::$variant(v) => HostSliceMut::$variant(v),)* }
            }
        }

        impl<'a> HostSlice<'a> {
            /// The elements that `bytes` are; `None` where they are misaligned or no whole number of them.
            pub(crate) fn from_bytes(ty: ElementType, bytes: &'a [u8]) -> Option<Self> {
                match ty { $(ElementType::$variant => bytemuck::try_cast_slice(bytes).ok().map(HostSlice::$variant),)* }
            }

            pub(crate) fn element_type(&self) -> ElementType {
                match self { $(HostSlice::$variant(_) => ElementType::$variant,)* }
            }

            pub(crate) fn len(&self) -> usize {
                match self { $(HostSlice::$variant(s) => s.len(),)* }
            }

            /// The elements from `start` to before `end`, which must not lie outside.
            pub(crate) fn range(&self, start: usize, end: usize) -> Self {
                match self { $(HostSlice::$variant(s) => HostSlice::$variant(s.get(start..end).unwrap_or_default()),)* }
            }

            pub(crate) fn bytes(&self) -> &'a [u8] {
                match self { $(HostSlice::$variant(s) => bytemuck::cast_slice(s),)* }
            }
        }

        impl<'a> HostSliceMut<'a> {
            pub(crate) fn from_bytes(ty: ElementType, bytes: &'a mut [u8]) -> Option<Self> {
                match ty {
                    $(ElementType::$variant => bytemuck::try_cast_slice_mut(bytes).ok().map(HostSliceMut::$variant),)*
                }
            }

            pub(crate) fn as_slice(&self) -> HostSlice<'_> {
                match self { $(HostSliceMut::$variant(s) => HostSlice::$variant(s),)* }
            }

            /// The elements from `start` to before `end`, which must not lie outside.
            pub(crate) fn range(self, start: usize, end: usize) -> Self {
                match self {
                    $(HostSliceMut::$variant(s) => HostSliceMut::$variant(s.get_mut(start..end).unwrap_or_default()),)*
                }
            }

            pub(crate) fn set_zero(self) {
                match self { $(HostSliceMut::$variant(s) => s.fill(bytemuck::Zeroable::zeroed()),)* }
            }

            /// Overwrites elements by those of a slice of the same type and length.
            pub(crate) fn copy_from(self, other: &HostSlice<'_>) {
                match (self, other) {
                    $((HostSliceMut::$variant(to), HostSlice::$variant(from)) if to.len() == from.len() => {
                        to.copy_from_slice(from);
                    })*
                    _ => {}
                }
            }
        }

        $(impl HostElement for $element {
            fn own(elements: Vec<Self>) -> HostVec {
                HostVec::$variant(elements)
            }

            fn share(elements: &[Self]) -> HostSlice<'_> {
                HostSlice::$variant(elements)
            }

            fn lend(elements: &mut [Self]) -> HostSliceMut<'_> {
                HostSliceMut::$variant(elements)
            }

            fn of<'a>(slice: &HostSlice<'a>) -> Option<&'a [Self]> {
                match slice {
                    HostSlice::$variant(s) => Some(s),
                    _ => None,
                }
            }

            fn of_mut(slice: HostSliceMut<'_>) -> Option<&mut [Self]> {
                match slice {
                    HostSliceMut::$variant(s) => Some(s),
                    _ => None,
                }
            }
        })*
    };
}

/// How an element type goes into the enums above and comes out. It seals [`Element`](crate::Element): nobody outside
/// can name it.
pub trait HostElement: Sized + Copy + 'static {
    #[doc(hidden)]
    fn own(elements: Vec<Self>) -> HostVec;
    #[doc(hidden)]
    fn share(elements: &[Self]) -> HostSlice<'_>;
    #[doc(hidden)]
    fn lend(elements: &mut [Self]) -> HostSliceMut<'_>;
    #[doc(hidden)]
    fn of<'a>(slice: &HostSlice<'a>) -> Option<&'a [Self]>;
    #[doc(hidden)]
    fn of_mut(slice: HostSliceMut<'_>) -> Option<&mut [Self]>;
}

host_memory! {
    E4m3 e4m3;
    E5m2 e5m2;
    Bf16 bf16;
    F16 f16;
    F32 f32;
    I32 i32;
    I64 i64;
}
