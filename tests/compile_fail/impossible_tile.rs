ggemm::kernels! {
    pub mod experts {
        ops: [forward, grad_w],
        dtypes: [bf16],
        arch: [sm_80, sm_90a],
        shape: { n: 1536, k: 2048 },
        tiles: [128x256x64, 128x256x48, 128x250x64, 128x96x64, 512x512x64, 128x4096x64, 128x256],
    }
}

fn main() {}
