ggemm::kernels! {
    pub mod experts {
        ops: [forwards, backward],
        dtypes: [bfloat16, f32],
        arch: [sm_90, hopper],
        weights: [nm],
        tiles: [wide],
    }
}

fn main() {}
