//! What a finished kernel must satisfy whatever its spec: threads that must meet do meet, variables are as uniform as
//! they say, and nothing asynchronous is left running.

use std::fmt;

use crate::ir::{Block, Body, Location, Op, Scope};

/// A defect of a kernel, with the line of Rust that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {kind}")]
pub struct KernelDefect {
    /// What is wrong.
    pub kind: DefectKind,
    /// Where it was written.
    pub location: At,
}

/// A place in the Rust source of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub Location);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file, self.0.line)
    }
}

/// What is wrong with a kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefectKind {
    /// Threads that must reach a statement together may not.
    #[error("`{statement}` must be reached by a whole {required}, but control here is only uniform in a {control}")]
    Divergent {
        /// The statement.
        statement: &'static str,
        /// The scope it needs.
        required: Scope,
        /// The scope in which control is uniform.
        control: Scope,
    },
    /// A variable is assigned where not all threads that share it arrive.
    #[error("`{variable}` is the same in a {required}, but is assigned where control is only uniform in a {control}")]
    DivergentAssignment {
        /// The variable.
        variable: String,
        /// Its scope.
        required: Scope,
        /// The scope in which control is uniform.
        control: Scope,
    },
    /// A variable gets a value that its threads need not agree on.
    #[error("`{variable}` is the same in a {required}, but gets a value that is only uniform in a {value}")]
    NarrowValue {
        /// The variable.
        variable: String,
        /// Its scope.
        required: Scope,
        /// The value's scope.
        value: Scope,
    },
    /// A `Break` outside any `Loop`.
    #[error("`break` outside a loop")]
    StrayBreak,
    /// Copies that are never committed or never waited for.
    #[error("{operation} is started, but the kernel never {missing}")]
    NeverCompleted {
        /// The operation.
        operation: &'static str,
        /// What is missing.
        missing: &'static str,
    },
}

/// All defects of a body; empty for a right one.
pub fn defects(body: &Body) -> Vec<KernelDefect> {
    let mut found = Vec::new();
    check_block(body, &body.block, Scope::Grid, false, &mut found);
    check_completion(body, &mut found);
    found
}

fn check_block(body: &Body, block: &Block, control: Scope, in_loop: bool, found: &mut Vec<KernelDefect>) {
    let scope_of = |id| body.exprs[id].scope;
    for stmt in &block.0 {
        let mut defect = |kind| found.push(KernelDefect { kind, location: At(stmt.location) });
        let required = stmt.op.required_scope();
        if control < required {
            defect(DefectKind::Divergent { statement: stmt.op.name(), required, control });
        }
        match &stmt.op {
            Op::Let { var, value } | Op::Assign { var, value } => {
                let v = &body.vars[var.0 as usize];
                // The grid never assigns: no thread of another CTA can see a variable.
                let scope = v.scope.min(Scope::Cta);
                if matches!(stmt.op, Op::Assign { .. }) && control < scope {
                    defect(DefectKind::DivergentAssignment { variable: v.name.clone(), required: scope, control });
                }
                if scope_of(*value) < v.scope {
                    let value = scope_of(*value);
                    defect(DefectKind::NarrowValue { variable: v.name.clone(), required: v.scope, value });
                }
            }
            Op::If { condition, then, otherwise } => {
                let inner = control.min(scope_of(*condition));
                check_block(body, then, inner, in_loop, found);
                check_block(body, otherwise, inner, in_loop, found);
            }
            Op::For { end, body: inside, .. } => {
                check_block(body, inside, control.min(scope_of(*end)), false, found);
            }
            Op::Loop { body: inside } => {
                // Who leaves early misses every later iteration, so a break narrows the whole loop.
                let inner = break_scope(body, inside, control);
                check_block(body, inside, inner, true, found);
            }
            Op::Break { .. } if !in_loop => defect(DefectKind::StrayBreak),
            _ => {}
        }
    }
}

/// The scope in which all threads make the same number of iterations.
fn break_scope(body: &Body, block: &Block, control: Scope) -> Scope {
    let mut scope = control;
    for stmt in &block.0 {
        match &stmt.op {
            Op::Break { condition } => scope = scope.min(body.exprs[*condition].scope),
            Op::If { condition, then, otherwise } => {
                let inner = control.min(body.exprs[*condition].scope);
                for branch in [then, otherwise] {
                    if contains_break(branch) {
                        scope = scope.min(break_scope(body, branch, inner)).min(inner);
                    }
                }
            }
            _ => {}
        }
    }
    scope
}

fn contains_break(block: &Block) -> bool {
    block.0.iter().any(|s| match &s.op {
        Op::Break { .. } => true,
        Op::If { then, otherwise, .. } => contains_break(then) || contains_break(otherwise),
        _ => false,
    })
}

fn check_completion(body: &Body, found: &mut Vec<KernelDefect>) {
    let (mut started, mut committed, mut awaited) = (None, false, false);
    body.for_each_stmt(|s| match s.op {
        Op::CopyTile { .. } => started = started.or(s.op.asynchrony().map(|a| (a.operation, s.location))),
        Op::CommitCopies => committed = true,
        Op::AwaitCopies { .. } => awaited = true,
        _ => {}
    });
    if let Some((operation, location)) = started {
        for (done, missing) in [(committed, "commits a group"), (awaited, "waits for a group")] {
            if !done {
                found.push(KernelDefect {
                    kind: DefectKind::NeverCompleted { operation, missing },
                    location: At(location),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsl::KernelBuilder;

    fn kinds(write: impl for<'k> FnOnce(&mut KernelBuilder<'k>)) -> Vec<DefectKind> {
        match KernelBuilder::build("k", "a test", 128, 16, write) {
            Ok(_) => Vec::new(),
            Err(defects) => defects.into_iter().map(|d| d.kind).collect(),
        }
    }

    #[test]
    fn a_barrier_under_a_lane_condition_is_refused() {
        let found = kinds(|k| {
            let odd = (k.lane() % 2).equals(1);
            k.when(odd, |k| k.barrier());
        });
        assert_eq!(found, [DefectKind::Divergent { statement: "barrier", required: Scope::Cta, control: Scope::Lane }]);
        let agreed = kinds(|k| {
            let first = k.cta().equals(0);
            k.when(first, |k| k.barrier());
        });
        assert_eq!(agreed, []);
    }

    #[test]
    fn a_loop_that_lanes_leave_apart_is_divergent_from_its_start() {
        let found = kinds(|k| {
            let lane = k.lane();
            k.loop_(|k| {
                k.barrier();
                k.break_if(lane.lt(3));
            });
            k.barrier();
        });
        assert_eq!(found.len(), 1, "the barrier after the loop is fine: {found:?}");
    }

    #[test]
    fn a_warp_variable_assigned_by_some_lanes_is_refused() {
        let found = kinds(|k| {
            let v = k.var::<crate::dsl::I32, crate::dsl::Warp, _>("v", 0);
            let lane = k.lane();
            k.when(lane.lt(3), |k| k.set(v, 1));
        });
        assert!(
            matches!(&found[..], [DefectKind::DivergentAssignment { variable, .. }] if variable == "v"),
            "{found:?}"
        );
    }

    #[test]
    fn a_stray_break_and_a_location_are_reported() {
        let defects = KernelBuilder::build("k", "a test", 128, 16, |k| {
            let c = k.cta().equals(0);
            k.break_if(c);
        })
        .unwrap_err();
        assert_eq!(defects[0].kind, DefectKind::StrayBreak);
        assert!(defects[0].to_string().contains("verify.rs:"), "{}", defects[0]);
    }
}
