//! Scalars of the DSL: expressions and variables whose type and scope are Rust types.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Add, BitAnd, BitOr, Div, Mul, Not, Rem, Sub};

use crate::ir::{BinaryOp, ExprId, Expressions, Scope, Type, VarId};

/// A scalar's type, as a Rust type.
pub trait Scalar: Copy + 'static {
    /// The same as a value.
    const TYPE: Type;
}

/// A scalar with arithmetic.
pub trait Number: Scalar {}

/// A scope, as a Rust type.
pub trait ScopeTag: Copy + 'static {
    /// The same as a value.
    const SCOPE: Scope;
}

/// The scope of a value computed from one of scope `Self` and one of scope `Other`: the narrower.
pub trait Join<Other: ScopeTag>: ScopeTag {
    /// The narrower scope.
    type Out: ScopeTag;
}

/// A value of scope `Self` is uniform in `Asked` too, because `Asked` is no wider.
pub trait Within<Asked: ScopeTag>: ScopeTag {}

macro_rules! markers {
    ($trait:ident $constant:ident: $($(#[$doc:meta])* $name:ident = $value:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;
        impl $trait for $name {
            const $constant: markers!(@ty $trait) = $value;
        }
    )* };
    (@ty Scalar) => { Type };
    (@ty ScopeTag) => { Scope };
}

markers! { Scalar TYPE:
    /// True or false.
    Bool = Type::Bool;
    /// 32-bit signed.
    I32 = Type::I32;
    /// 32-bit unsigned: lane masks.
    U32 = Type::U32;
    /// 64-bit signed.
    I64 = Type::I64;
}
impl Number for I32 {}
impl Number for I64 {}

markers! { ScopeTag SCOPE:
    /// The same in all threads of the launch.
    Grid = Scope::Grid;
    /// The same in the threads of a cluster of CTAs.
    Cluster = Scope::Cluster;
    /// The same in the threads of a CTA; inside a role, in the role's.
    Cta = Scope::Cta;
    /// The same in four consecutive warps.
    Warpgroup = Scope::Warpgroup;
    /// The same in the lanes of a warp.
    Warp = Scope::Warp;
    /// A thread's own.
    Lane = Scope::Lane;
}

macro_rules! scopes {
    // Each row: a scope, then every narrower one.
    ($($wide:ident > $($narrow:ident)*;)*) => { $(
        impl Join<$wide> for $wide { type Out = $wide; }
        impl Within<$wide> for $wide {}
        $(
            impl Join<$narrow> for $wide { type Out = $narrow; }
            impl Join<$wide> for $narrow { type Out = $narrow; }
            impl Within<$narrow> for $wide {}
        )*
    )* };
}

scopes! {
    Grid > Cluster Cta Warpgroup Warp Lane;
    Cluster > Cta Warpgroup Warp Lane;
    Cta > Warpgroup Warp Lane;
    Warpgroup > Warp Lane;
    Warp > Lane;
    Lane >;
}

/// Where the expressions of the kernel under construction live.
pub(super) type Arena = RefCell<Expressions>;

/// A scalar expression of type `T`, uniform in scope `S`.
pub struct Expr<'k, T, S> {
    pub(super) arena: &'k Arena,
    pub(super) id: ExprId,
    marker: PhantomData<(T, S)>,
}

impl<T, S> Clone for Expr<'_, T, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, S> Copy for Expr<'_, T, S> {}

/// What may stand beside an expression: another one, or a Rust integer.
pub trait Operand<'k, T: Scalar> {
    /// The scope of the operand.
    type Scope: ScopeTag;
    /// The expression it is.
    #[doc(hidden)]
    fn expr(self, arena: &'k RefCell<Expressions>) -> ExprId;
}

impl<'k, T: Scalar, S: ScopeTag> Operand<'k, T> for Expr<'k, T, S> {
    type Scope = S;

    fn expr(self, _arena: &'k Arena) -> ExprId {
        self.id
    }
}

macro_rules! literals {
    ($($literal:ty)*) => { $(
        impl<'k, T: Number> Operand<'k, T> for $literal {
            type Scope = Grid;

            fn expr(self, arena: &'k Arena) -> ExprId {
                arena.borrow_mut().constant(T::TYPE, i64::from(self))
            }
        }
    )* };
}
literals! { i32 u32 i64 }

impl<'k, T: Scalar, S: ScopeTag> Expr<'k, T, S> {
    pub(super) fn new(arena: &'k Arena, id: ExprId) -> Self {
        Expr { arena, id, marker: PhantomData }
    }

    fn binary<U: Scalar, R: Operand<'k, T>>(self, op: BinaryOp, other: R) -> Expr<'k, U, S::Out>
    where
        S: Join<R::Scope>,
    {
        let other = other.expr(self.arena);
        Expr::new(self.arena, self.arena.borrow_mut().binary(op, self.id, other))
    }

    /// The same value where only the uniformity of a narrower scope is asked for.
    pub fn within<Narrower: ScopeTag>(self) -> Expr<'k, T, Narrower>
    where
        S: Within<Narrower>,
    {
        Expr::new(self.arena, self.id)
    }

    /// The same value, which all threads of the wider scope are known to have computed alike; whoever executes the
    /// kernel may check that.
    pub fn agree<Wider: ScopeTag + Within<S>>(self) -> Expr<'k, T, Wider> {
        Expr::new(self.arena, self.arena.borrow_mut().agree(Wider::SCOPE, self.id))
    }

    /// Whether two values are equal.
    pub fn equals<R: Operand<'k, T>>(self, other: R) -> Expr<'k, Bool, S::Out>
    where
        S: Join<R::Scope>,
    {
        self.binary(BinaryOp::Eq, other)
    }
}

impl<'k, T: Number, S: ScopeTag> Expr<'k, T, S> {
    /// The quotient of non-negative integers, rounded up.
    pub fn ceil_div<R: Operand<'k, T>>(self, other: R) -> Expr<'k, T, S::Out>
    where
        S: Join<R::Scope>,
    {
        self.binary(BinaryOp::CeilDiv, other)
    }

    /// The smaller.
    pub fn min<R: Operand<'k, T>>(self, other: R) -> Expr<'k, T, S::Out>
    where
        S: Join<R::Scope>,
    {
        self.binary(BinaryOp::Min, other)
    }

    /// The larger.
    pub fn max<R: Operand<'k, T>>(self, other: R) -> Expr<'k, T, S::Out>
    where
        S: Join<R::Scope>,
    {
        self.binary(BinaryOp::Max, other)
    }

    /// self < other.
    pub fn lt<R: Operand<'k, T>>(self, other: R) -> Expr<'k, Bool, S::Out>
    where
        S: Join<R::Scope>,
    {
        self.binary(BinaryOp::Lt, other)
    }

    /// self ≤ other.
    pub fn le<R: Operand<'k, T>>(self, other: R) -> Expr<'k, Bool, S::Out>
    where
        S: Join<R::Scope>,
    {
        self.binary(BinaryOp::Le, other)
    }

    /// The same value as another integer type; where it does not fit, the kernel is wrong.
    pub fn cast<To: Number>(self) -> Expr<'k, To, S> {
        Expr::new(self.arena, self.arena.borrow_mut().cast(To::TYPE, self.id))
    }
}

impl<'k, S: ScopeTag> Expr<'k, U32, S> {
    /// No lane is in the mask.
    pub fn is_empty(self) -> Expr<'k, Bool, S> {
        let none = self.arena.borrow_mut().constant(Type::U32, 0);
        Expr::new(self.arena, self.arena.borrow_mut().binary(BinaryOp::Eq, self.id, none))
    }

    /// The lowest lane in a mask that is not empty.
    pub fn first_lane(self) -> Expr<'k, I32, S> {
        Expr::new(self.arena, self.arena.borrow_mut().first_lane(self.id))
    }
}

impl<'k, S: ScopeTag> Expr<'k, Bool, S> {
    /// `a` where the condition holds, else `b`.
    pub fn select<T: Scalar, A, B, AB>(self, a: A, b: B) -> Expr<'k, T, <S as Join<AB>>::Out>
    where
        A: Operand<'k, T>,
        B: Operand<'k, T>,
        A::Scope: Join<B::Scope, Out = AB>,
        AB: ScopeTag,
        S: Join<AB>,
    {
        let (a, b) = (a.expr(self.arena), b.expr(self.arena));
        Expr::new(self.arena, self.arena.borrow_mut().select(self.id, a, b))
    }
}

impl<S: ScopeTag> Not for Expr<'_, Bool, S> {
    type Output = Self;

    fn not(self) -> Self {
        Expr::new(self.arena, self.arena.borrow_mut().not(self.id))
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $bound:ident)*) => { $(
        impl<'k, T: $bound, S: ScopeTag, R: Operand<'k, T>> $trait<R> for Expr<'k, T, S>
        where
            S: Join<R::Scope>,
        {
            type Output = Expr<'k, T, S::Out>;

            fn $method(self, other: R) -> Self::Output {
                self.binary(BinaryOp::$trait, other)
            }
        }
    )* };
}
operators! { Add add Number  Sub sub Number  Mul mul Number  Div div Number  Rem rem Number }

macro_rules! logic {
    ($($trait:ident $method:ident $op:ident)*) => { $(
        impl<'k, S: ScopeTag + Join<R>, R: ScopeTag> $trait<Expr<'k, Bool, R>> for Expr<'k, Bool, S> {
            type Output = Expr<'k, Bool, S::Out>;

            fn $method(self, other: Expr<'k, Bool, R>) -> Self::Output {
                self.binary(BinaryOp::$op, other)
            }
        }
    )* };
}
logic! { BitAnd bitand And  BitOr bitor Or }

/// A named variable of type `T` that all threads of scope `S` hold alike.
pub struct Var<'k, T, S> {
    pub(super) var: VarId,
    pub(super) value: Expr<'k, T, S>,
}

impl<T, S> Clone for Var<'_, T, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, S> Copy for Var<'_, T, S> {}

impl<'k, T: Scalar, S: ScopeTag> Var<'k, T, S> {
    /// Its value where the expression is used.
    pub fn get(self) -> Expr<'k, T, S> {
        self.value
    }
}
