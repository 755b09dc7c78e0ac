//! [`Writer`]: indented lines, names that are unique where they are visible, and which lines belong to which statement.

use std::collections::HashMap;

use crate::ir::{Body, ExprId, Expressions, FragmentId, Kernel, ScalarVar, Scope, StmtId, Type, VarId};

/// Names that the text uses for itself.
const RESERVED: &[&str] = &[
    "i",
    "j",
    "half",
    "row",
    "col",
    "piece",
    "left",
    "from",
    "to",
    "thread",
    "lane",
    "warp",
    "warp_m",
    "warp_n",
    "warpgroup",
    "from_a",
    "from_b",
    "row_of_warp",
    "shared_memory",
    "x0",
    "x1",
    "words",
    "parts",
    "bool",
    "int",
    "float",
    "if",
    "else",
    "for",
    "while",
    "break",
    "const",
    "void",
    "true",
    "false",
    "auto",
    "char",
    "short",
    "long",
    "double",
    "do",
    "switch",
    "case",
    "default",
    "return",
    "struct",
    "union",
];

pub(super) struct Writer<'b> {
    pub(super) kernel: &'b Kernel,
    /// The kernel's expressions, and those that addresses add.
    pub(super) exprs: Expressions,
    /// The kernel's variables, and the text's own.
    vars: Vec<ScalarVar>,
    names: HashMap<VarId, String>,
    visible: Vec<Vec<String>>,
    out: String,
    line_count: u32,
    depth: usize,
    lines: Vec<(StmtId, u32, u32)>,
    pub(super) locals: Locals,
    /// Accumulators of warpgroups that the role at hand multiplies into.
    pub(super) sums: Vec<FragmentId>,
}

/// Variables of the text that no statement declares.
#[derive(Clone, Copy)]
pub(super) struct Locals {
    pub(super) thread: ExprId,
    pub(super) warp_m: ExprId,
    pub(super) warp_n: ExprId,
    pub(super) i: ExprId,
    pub(super) j: ExprId,
    pub(super) half: ExprId,
    pub(super) row: ExprId,
    pub(super) piece: ExprId,
    pub(super) row_of_warp: ExprId,
}

impl<'b> Writer<'b> {
    pub(super) fn new(kernel: &'b Kernel) -> Self {
        let Body { exprs, vars, .. } = &kernel.body;
        let (mut exprs, mut vars) = (exprs.clone(), vars.clone());
        let mut names = HashMap::new();
        let locals = Locals::declare(|name| {
            let id = VarId(vars.len() as u32);
            vars.push(ScalarVar { name: name.to_owned(), ty: Type::I32, scope: Scope::Lane, mutable: false });
            names.insert(id, name.to_owned());
            exprs.var(Type::I32, Scope::Lane, id)
        });
        let mut taken: Vec<String> = RESERVED.iter().map(|s| (*s).to_owned()).collect();
        taken.extend(kernel.contract.params.iter().map(|p| p.name.clone()));
        taken.extend(kernel.body.shared.iter().map(|t| t.name.clone()));
        taken.extend(kernel.body.barriers.iter().map(|b| b.name.clone()));
        taken.extend(kernel.body.fragments.iter().map(|f| f.name.clone()));
        Writer {
            kernel,
            exprs,
            vars,
            names,
            visible: vec![taken],
            out: String::new(),
            line_count: 0,
            depth: 0,
            lines: Vec::new(),
            locals,
            sums: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (String, Vec<(StmtId, u32, u32)>) {
        (self.out, self.lines)
    }

    /// Whether the text so far has a word.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.out.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|w| w == word)
    }

    pub(super) fn line(&mut self, text: &str) {
        if !text.is_empty() {
            // Preprocessor lines keep the indentation of what they are about.
            for _ in 0..self.depth {
                self.out.push_str("    ");
            }
            self.out.push_str(text);
        }
        self.out.push('\n');
        self.line_count += 1;
    }

    pub(super) fn indent(&mut self) {
        self.depth += 1;
    }

    pub(super) fn dedent(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// `head {`, what `inside` writes, `}`; names declared inside end there.
    pub(super) fn block(&mut self, head: &str, inside: impl FnOnce(&mut Self)) {
        self.line(&if head.is_empty() { "{".to_owned() } else { format!("{head} {{") });
        self.nested(inside);
        self.line("}");
    }

    /// What `inside` writes, one step further in; names declared inside end there.
    pub(super) fn nested(&mut self, inside: impl FnOnce(&mut Self)) {
        self.indent();
        self.visible.push(Vec::new());
        inside(self);
        self.visible.pop();
        self.dedent();
    }

    /// A loop over `0..count` that the compiler writes out.
    pub(super) fn unrolled(&mut self, var: ExprId, count: u32, inside: impl FnOnce(&mut Self)) {
        let name = self.text(var);
        self.line("#pragma unroll");
        self.block(&format!("for (int {name} = 0; {name} < {count}; ++{name})"), inside);
    }

    /// Remembers which lines `write` wrote for a statement.
    pub(super) fn statement(&mut self, id: StmtId, write: impl FnOnce(&mut Self)) {
        let index = self.lines.len();
        self.lines.push((id, self.line_count + 1, 0));
        write(self);
        self.lines[index].2 = self.line_count;
    }

    /// Gives a variable a name that nothing visible has.
    pub(super) fn declare(&mut self, var: VarId) -> String {
        let base = &self.vars[var.0 as usize].name;
        let taken = |name: &str| self.visible.iter().flatten().any(|n| n == name);
        let mut name = base.clone();
        let mut n = 2;
        while taken(&name) {
            name = format!("{base}_{n}");
            n += 1;
        }
        if let Some(scope) = self.visible.last_mut() {
            scope.push(name.clone());
        }
        self.names.insert(var, name.clone());
        name
    }

    pub(super) fn name_of(&self, var: VarId) -> &str {
        self.names.get(&var).map_or("undeclared", String::as_str)
    }

    pub(super) fn variable(&self, var: VarId) -> &ScalarVar {
        &self.vars[var.0 as usize]
    }
}

impl Locals {
    fn declare(mut local: impl FnMut(&str) -> ExprId) -> Self {
        Locals {
            thread: local("thread"),
            warp_m: local("warp_m"),
            warp_n: local("warp_n"),
            i: local("i"),
            j: local("j"),
            half: local("half"),
            row: local("row"),
            piece: local("piece"),
            row_of_warp: local("row_of_warp"),
        }
    }
}
