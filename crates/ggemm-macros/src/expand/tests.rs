//! Expansions as a reader would see them, and what holds for every one.

use std::collections::BTreeSet;
use std::ffi::OsString;

use ggemm_codegen::{Arch, CopyPath, KernelSpec, Ragged, ValidSpec, catalogue};
use proc_macro2::{Delimiter, Group, Literal, TokenStream, TokenTree};

use super::expand;

/// Expands `request` as the wrapper of ggemm-runtime passes it on.
fn expand_with(request: &str, environment: &dyn Fn(&str) -> Option<OsString>) -> TokenStream {
    expand(format!("[$crate] {request}").replace("$crate", "ggemm").parse().unwrap(), environment)
}

fn source(request: &str) -> TokenStream {
    expand_with(request, &|_| None)
}

/// Formats an expansion, without the texts of kernels.
fn pretty(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn::parse2(elide(tokens)).unwrap())
}

fn elide(tokens: TokenStream) -> TokenStream {
    let short = |token: TokenTree| match token {
        TokenTree::Group(group) => TokenTree::Group(Group::new(group.delimiter(), elide(group.stream()))),
        TokenTree::Literal(literal) => {
            let text = literal.to_string();
            let json = text.starts_with("\"{");
            let is_source = text.contains("\\n") && !text.contains("The kernels of");
            match json || is_source || text.starts_with("b\"") {
                true => TokenTree::Literal(Literal::string(if json { "{…}" } else { "…" })),
                false => TokenTree::Literal(literal),
            }
        }
        token => token,
    };
    tokens.into_iter().map(short).collect()
}

/// The messages of an expansion's errors.
fn messages(tokens: TokenStream) -> Vec<String> {
    let file: syn::File = syn::parse2(tokens).unwrap();
    let messages = file.items.into_iter().filter_map(|item| match item {
        syn::Item::Macro(item) => Some(syn::parse2::<syn::LitStr>(item.mac.tokens).unwrap().value()),
        _ => None,
    });
    messages.collect()
}

/// The specs in an expansion without errors, in order.
fn specs(request: &str) -> Vec<KernelSpec> {
    let tokens = source(request);
    assert_eq!(messages(tokens.clone()), [""; 0], "{request}");
    let mut names = Vec::new();
    visit_literals(tokens, &mut |literal| names.extend(literal.trim_matches('"').parse::<KernelSpec>().ok()));
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{request}");
    names
}

fn visit_literals(tokens: TokenStream, visit: &mut dyn FnMut(&str)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => visit_literals(group.stream(), visit),
            TokenTree::Literal(literal) => visit(&literal.to_string()),
            _ => {}
        }
    }
}

#[test]
fn a_module_keeps_its_head_and_shares_what_is_the_same() {
    let tokens = source(
        "/// The expert projections of one model.
        #[allow(dead_code)]
        pub(crate) mod experts {
            ops: [forward],
            dtypes: [bf16],
            arch: [sm_80, sm_90a],
            shape: { n: 1536, k: 2048 },
            tiles: [128x128x64, 64x128x64],
        }",
    );
    insta::assert_snapshot!(pretty(tokens));
}

#[test]
fn errors_come_all_at_once_before_an_empty_module() {
    let tokens = source("pub mod experts { ops: [forwards], dtype: [bf16], arch: [sm_80], arch: [sm_90a] }");
    insta::assert_snapshot!(pretty(tokens));
}

#[test]
fn a_shape_decides_masks_and_copies() {
    let even = specs("mod m { ops: [forward], dtypes: [bf16], arch: [sm_80], shape: { n: 1536, k: 2048 } }");
    let (plain, asynchronous): (Vec<KernelSpec>, Vec<KernelSpec>) =
        even.into_iter().partition(|spec| spec.copy == CopyPath::Plain);
    assert_eq!(plain.len(), 1, "one for strides that are not dense");
    assert!(asynchronous.iter().any(|spec| spec.even_k));
    let twins =
        asynchronous.iter().filter(|spec| asynchronous.contains(&KernelSpec { even_k: !spec.even_k, ..**spec }));
    assert_eq!(twins.count(), 0, "masks that are never needed");

    let masked = specs("mod m { ops: [forward], dtypes: [bf16], arch: [sm_80], shape: { n: 1536, k: 2056 } }");
    assert!(masked.iter().any(|spec| spec.copy == CopyPath::CpAsync));
    assert!(masked.iter().all(|spec| !spec.even_k));

    let odd = specs("mod m { ops: all, dtypes: [bf16], arch: [sm_80], shape: { n: 1111, k: 1009 } }");
    assert!(odd.iter().all(|spec| spec.copy == CopyPath::Plain), "rows of 2018 bytes are no multiple of 16");

    // K is even for the forward pass, N is not for grad_x; with [K, N] weights both are one kind of product.
    let both = specs(
        "mod m { ops: [forward, grad_x], dtypes: [bf16], arch: [sm_80], weights: all, shape: { n: 1544, k: 2048 } }",
    );
    for even_k in [false, true] {
        assert!(both.iter().any(|spec| spec.copy == CopyPath::CpAsync && spec.even_k == even_k), "{even_k}");
    }
}

/// Which variants a model gets: what a change to the catalogue or to the choice changes.
#[test]
fn the_variants_of_one_model() {
    let names: Vec<String> =
        specs("mod m { ops: all, dtypes: [bf16], arch: [sm_80, sm_90a], shape: { n: 1536, k: 2048 } }")
            .iter()
            .map(KernelSpec::to_string)
            .collect();
    insta::assert_snapshot!(names.join("\n"));
}

/// Every token left out, doubled, or replaced by another: the answer is a module, with errors or with kernels.
#[test]
fn no_mistake_is_met_with_a_panic_or_with_silence() {
    let request = "# [ doc = \"x\" ] pub ( crate ) mod m { ops : [ forward , grad_w ] , dtypes : [ bf16 ] , outputs : \
                   [ f32 ] , arch : [ sm_80 ] , weights : [ kn ] , shape : { n : 64 , k : 64 } , tiles : [ 64x128x64 , \
                   128x128x64 ] }";
    let words: Vec<&str> = request.split_whitespace().collect();
    let mut tried = 0;
    for index in 0..words.len() {
        for replacement in [&[][..], &[words[index]; 2], &["0"], &["specs"], &[","], &["all"], &["[ ]"], &["{ n : 1 }"]]
        {
            let mut changed = words.clone();
            changed.splice(index..=index, replacement.iter().copied());
            // What the compiler's lexer refuses never reaches a macro.
            let Ok(tokens) = format!("[ggemm] {}", changed.join(" ")).parse() else { continue };
            let expanded = expand(tokens, &|_| None);
            let kernels = expanded.to_string().matches("BakedKernel").count();
            let valid_form = syn::parse2::<syn::File>(expanded.clone()).is_ok();
            // An attribute or a visibility that makes no sense is left to the compiler, which has the words for it.
            let head = index < 9;
            assert!(valid_form || head, "{}", changed.join(" "));
            assert!(kernels > 0 || expanded.to_string().contains("compile_error"), "{}", changed.join(" "));
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn a_tile_wider_than_the_matrix_is_left_out() {
    let narrow = specs("mod m { ops: [forward], dtypes: [bf16], arch: [sm_80], shape: { n: 72, k: 2048 } }");
    assert!(narrow.iter().all(|spec| spec.tile.n < 144), "{narrow:?}");
    let thin = specs("mod m { ops: [forward], dtypes: [bf16], arch: [sm_80], shape: { n: 8, k: 2048 } }");
    assert!(!thin.is_empty());
    let all =
        specs("mod m { ops: [forward], dtypes: [bf16], arch: [sm_80], shape: { n: 72, k: 2048 }, tiles: shipped }");
    assert!(all.len() > narrow.len());
}

#[test]
fn every_target_and_every_kind_of_product_is_served_whatever_the_strides() {
    for shape in ["", "shape: { n: 1536, k: 2048 },", "shape: { n: 1111, k: 1009 },", "shape: { n: 1, k: 1 },"] {
        for tiles in ["auto", "shipped", "[128x128x64]", "[64x64x32, 128x128x32]"] {
            let request = format!(
                "mod m {{ ops: all, dtypes: all, outputs: all, weights: all, arch: all, {shape} tiles: {tiles} }}"
            );
            let found = specs(&request);
            for target in Arch::ALL {
                let legal: Vec<_> = found.iter().filter(|spec| ValidSpec::new(**spec, target).is_ok()).collect();
                let kinds = |plain_only: bool| -> BTreeSet<_> {
                    let specs = legal.iter().filter(|spec| !plain_only || spec.copy == CopyPath::Plain);
                    specs.map(|s| (s.ragged, s.a_major, s.b_major, s.operand, s.output)).collect()
                };
                // Two majors of ragged rows and one of the ragged reduction; two operand types and three outputs.
                assert_eq!(kinds(false).len(), 3 * 2 * 3, "{request} {target}");
                assert_eq!(kinds(true).len(), 3 * 2 * 3, "{request} {target}");
            }
        }
    }
}

#[test]
fn outputs_are_the_operands_type_and_f32_for_grad_w() {
    let outputs = |request: &str, ragged| -> BTreeSet<String> {
        specs(request).iter().filter(|spec| spec.ragged == ragged).map(|spec| spec.output.to_string()).collect()
    };
    let default = "mod m { ops: all, dtypes: [f16], arch: [sm_80] }";
    assert_eq!(outputs(default, Ragged::Rows), BTreeSet::from(["f16".to_owned()]));
    assert_eq!(outputs(default, Ragged::Reduction), BTreeSet::from(["f16".to_owned(), "f32".to_owned()]));
    let f32 = "mod m { ops: all, dtypes: [f16], outputs: [f32], arch: [sm_80] }";
    assert_eq!(outputs(f32, Ragged::Rows), BTreeSet::from(["f32".to_owned()]));
}

/// Names of types that no kernel has are known, and refused.
#[test]
fn fp8_is_no_type_of_a_kernel() {
    let request = "mod m { ops: all, dtypes: [e4m3], outputs: [e5m2], arch: [sm_80] }";
    assert_eq!(
        messages(source(request)),
        [
            "no kernel multiplies e4m3: use bf16 or f16 (the output may be f32)",
            "no kernel writes e5m2: use bf16, f16 or f32"
        ]
    );
}

#[test]
fn listed_tiles_are_made_to_fit_each_target() {
    let found = specs(
        "mod m { ops: [forward], dtypes: [bf16], arch: [sm_80, sm_89], shape: { n: 1536, k: 2048 },
                 tiles: [128x256x64] }",
    );
    let stages: Vec<_> = found.iter().filter(|spec| spec.tile.n == 256).map(|spec| spec.stages).collect();
    assert_eq!(stages, [3, 2], "sm_89 has shared memory for two");
}

#[test]
fn whole_names_are_taken_as_they_are() {
    let name = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_128x128x64_w2x2_s4_multistage_cpasync_evenk";
    let found = specs(&format!("mod m {{ arch: [sm_80, sm_89], specs: [\"{name}\"] }}"));
    assert_eq!(found.iter().map(KernelSpec::to_string).collect::<Vec<_>>(), [name]);
}

/// A user's macro passes fragments in groups that cannot be seen.
#[test]
fn invisible_groups_are_opened() {
    fn wrap(tokens: TokenStream) -> TokenStream {
        let wrapped = |token| match token {
            TokenTree::Group(group) => TokenTree::Group(Group::new(group.delimiter(), wrap(group.stream()))),
            TokenTree::Literal(_) => TokenTree::Group(Group::new(Delimiter::None, TokenStream::from(token))),
            token => token,
        };
        tokens.into_iter().map(wrapped).collect()
    }
    let request = "[ggemm] mod m { ops: [forward], dtypes: [bf16], arch: [sm_80], shape: { n: 64, k: 64 },
                   tiles: [64x64x32] }";
    let tokens: TokenStream = request.parse().unwrap();
    let expanded = expand(wrap(tokens.clone()), &|_| None);
    assert_eq!(expanded.to_string(), expand(tokens, &|_| None).to_string());
}

const SMALL: &str = "mod m { ops: [forward], dtypes: [bf16], arch: [sm_80, sm_90a], shape: { n: 64, k: 64 } }";

#[test]
fn the_environment_chooses_what_is_baked() {
    let bake = |value: &'static str| move |name: &str| (name == "GGEMM_BAKE").then(|| OsString::from(value));
    let unset = source(SMALL).to_string();
    assert_eq!(expand_with(SMALL, &bake("source")).to_string(), unset);
    assert_eq!(expand_with(SMALL, &bake("")).to_string(), unset);
    assert_eq!(
        messages(expand_with(SMALL, &bake("ptx"))),
        ["GGEMM_BAKE is `ptx`: set it to `source`, `cubin` or `cubin:sm_90a`, or unset it"]
    );
    assert_eq!(
        messages(expand_with(SMALL, &bake("cubin:sm_90a,sm_9"))),
        [
            "GGEMM_BAKE is `cubin:sm_90a,sm_9`: list architectures after `cubin:`, separated by commas: `sm_80`, `sm_86`, \
          `sm_89`, `sm_90a`, `sm_100a` or `sm_120a`"
        ]
    );
    let [missing] = messages(expand_with(SMALL, &bake("cubin"))).try_into().unwrap();
    assert!(missing.starts_with("GGEMM_BAKE=cubin: no working nvcc; looked at: "), "{missing}");
    assert!(missing.ends_with("or unset GGEMM_BAKE to bake the source alone"), "{missing}");
}

/// Scripts in nvcc's place.
#[cfg(unix)]
mod cubins {
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use super::*;

    fn nvcc(folder: &Path, bake: &'static str, script: &str) -> impl Fn(&str) -> Option<OsString> + use<> {
        let path = folder.join("nvcc");
        let mut file =
            std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o700).open(&path).unwrap();
        let version = "Cuda compilation tools, release 9.9, V9.9.9";
        writeln!(file, "#!/bin/sh\nif [ \"$1\" = --version ]; then echo '{version}'; exit; fi\n{script}").unwrap();
        drop(file);
        move |name| match name {
            "GGEMM_BAKE" => Some(bake.into()),
            "GGEMM_NVCC" => Some(path.clone().into()),
            // No cache.
            "GGEMM_CACHE_DIR" => Some(OsString::new()),
            _ => None,
        }
    }

    /// What is baked of the small module with an nvcc that writes target and name.
    fn baked(bake: &'static str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let script = r#"out=; for a; do case $a in -gencode*) t=${a##*=} ;; *.cu) n=$a ;; esac; done
                        printf '\177ELF %s %s' "$t" "$n" > out.cubin"#;
        let environment = nvcc(folder.path(), bake, script);
        let tokens = expand_with(SMALL, &environment);
        assert_eq!(messages(tokens.clone()), [""; 0]);
        assert_eq!(expand_with(SMALL, &environment).to_string(), tokens.to_string());
        let mut found = Vec::new();
        visit_literals(tokens, &mut |literal| {
            if literal.starts_with("b\"") {
                let gzip = syn::parse_str::<syn::LitByteStr>(literal).unwrap().value();
                let mut text = String::new();
                flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut text).unwrap();
                found.push(text);
            }
        });
        found
    }

    #[test]
    fn each_kernel_gets_one_for_each_target_in_order() {
        let expected = |targets: &'static [&str]| -> Vec<String> {
            let of = |spec: KernelSpec| {
                let for_it = move |target: &&&str| catalogue::for_target(spec, target.parse().unwrap()).is_some();
                targets.iter().filter(for_it).map(move |target| format!("\u{7f}ELF {target} {spec}.cu"))
            };
            specs(SMALL).into_iter().flat_map(of).collect()
        };
        assert_eq!(baked("cubin"), expected(&["sm_80", "sm_90a"]));
        assert_eq!(baked("cubin:sm_120a,sm_90a"), expected(&["sm_90a"]));
        assert_eq!(baked("cubin:sm_89"), [""; 0]);
    }

    #[test]
    fn a_refusal_is_one_error_with_the_compilers_words() {
        let folder = tempfile::tempdir().unwrap();
        let environment = nvcc(folder.path(), "cubin", "echo 'k.cu(1): error: no' >&2; exit 2");
        let [message] = messages(expand_with(SMALL, &environment)).try_into().unwrap();
        assert!(message.starts_with("GGEMM_BAKE=cubin: nvcc 9.9.9 refused the kernel `ggemm_rows_"), "{message}");
        assert!(message.contains("k.cu(1): error: no"), "{message}");
    }
}

mod table {
    use ggemm_codegen::Problem;
    use ggemm_table::{Entry, Machine, Routing, Timing};

    use super::*;

    const FAST: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_128x192x64_w4x1_s5_pingpong_tma";
    const OTHER: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm90a_64x256x64_w4x1_s5_pingpong_tma";
    const PLAIN: &str = "ggemm_rows_ak_bk_bf16_f32_bf16_sm80_64x64x32_w2x2_s2_multistage_plain";

    fn line(compute_capability: &str, m: usize, best: &str, other: &str) -> String {
        let machine = Machine {
            gpu: "made up".into(),
            compute_capability: compute_capability.into(),
            driver: "1.0".into(),
            ggemm: "0.0.0".into(),
            kernels: String::new(),
        };
        let timing = |name: &str, microseconds| Timing { variant: name.parse().unwrap(), microseconds };
        let problem = Problem::forward(8, m, 1536, 2048);
        let (best, others) = (timing(best, 1.0), vec![timing(other, 2.0)]);
        Entry { machine, problem, routing: Routing::Skewed, best, others }.line().unwrap() + "\n"
    }

    fn expanded(text: &str, request: &str) -> TokenStream {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tuned.jsonl"), text).unwrap();
        let root = folder.path().to_owned();
        expand_with(request, &move |name| (name == "CARGO_MANIFEST_DIR").then(|| root.clone().into()))
    }

    fn literals(tokens: TokenStream) -> Vec<String> {
        let mut literals = Vec::new();
        visit_literals(tokens, &mut |literal| literals.push(literal.trim_matches('"').to_owned()));
        literals
    }

    const REQUEST: &str = r#"mod tuned { table: "tuned.jsonl", arch: [sm_90a] }"#;

    #[test]
    fn the_fastest_variants_are_baked_and_their_entries_with_them() {
        let lines = [line("9.0", 4096, FAST, OTHER), line("9.0", 65536, FAST, OTHER), line("8.0", 4096, PLAIN, PLAIN)];
        let tokens = expanded(&lines.concat(), REQUEST);
        assert_eq!(messages(tokens.clone()), [""; 0]);
        let literals = literals(tokens.clone());
        let names: Vec<&String> = literals.iter().filter(|literal| literal.parse::<KernelSpec>().is_ok()).collect();
        assert_eq!(names, [FAST]);
        let text = tokens.to_string();
        assert!(text.contains("KernelSet :: tuned") && text.contains("tuned.jsonl"), "the table is watched");
        let baked = lines[..2].concat();
        let baked = Literal::string(&baked).to_string();
        assert!(literals.contains(&baked.trim_matches('"').to_owned()));
        // Each architecture gets its own.
        let both = expanded(&lines.concat(), r#"mod tuned { table: "tuned.jsonl", arch: [sm_80, sm_90a] }"#);
        assert_eq!(super::table::literals(both).iter().filter(|l| l.parse::<KernelSpec>().is_ok()).count(), 2);
    }

    #[test]
    fn a_table_that_says_nothing_says_why() {
        let message = |text: &str, request: &str| messages(expanded(text, request)).join("\n");
        let good = line("9.0", 4096, FAST, OTHER);
        assert!(message("", REQUEST).contains("it has nothing; tune there with `ggemm tune --table`"));
        let other = message(&good, r#"mod tuned { table: "tuned.jsonl", arch: [sm_80] }"#);
        assert!(other.contains("for sm_80: it has made up (9.0)"), "{other}");
        assert!(message(&good.replace("made", "Made"), REQUEST).contains("line 1 of the table is damaged"));
        let missing = message(&good, r#"mod tuned { table: "no.jsonl", arch: [sm_90a] }"#);
        assert!(missing.contains("cannot be read") && missing.contains("Cargo.toml"), "{missing}");
        let both = message(&good, r#"mod tuned { table: "tuned.jsonl", arch: [sm_90a], ops: [forward] }"#);
        assert_eq!(both, "`table` says which kernels: remove `ops`, or `table`");
        let form = message(&good, "mod tuned { table: tuned, arch: [sm_90a] }");
        assert_eq!(form, "`table` takes a file in quotes, as `ggemm tune --table` writes it");
        let illegal = line("8.0", 4096, FAST, OTHER);
        let illegal = message(&illegal, r#"mod tuned { table: "tuned.jsonl", arch: [sm_80] }"#);
        assert!(illegal.starts_with(&format!("the table names {FAST}, which sm_80 does not run:")), "{illegal}");
    }
}
