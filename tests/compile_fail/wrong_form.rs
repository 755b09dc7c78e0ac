ggemm::kernels! {
    pub mod experts {
        ops: forward,
        dtypes: [],
        arch = [sm_80],
        weights: [nk kn],
        shape: [1536, 2048],
        tiles:,
        "specs": [],
    }
}

fn main() {}
