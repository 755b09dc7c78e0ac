//! What a device sustains, by which the least time of a product is known.

use ggemm_codegen::Dtype;
use serde::{Deserialize, Serialize};

/// Rates that a device was seen to sustain, not those of its datasheet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Operations a second on operands of 16 bits, a multiply-add being two.
    pub flops_16_bit: f64,
    /// Operations a second on operands of 8 bits.
    pub flops_8_bit: f64,
    /// Bytes a second between the device's memory and its processors.
    pub bytes: f64,
}

impl Rates {
    /// Of a device by its driver's name; `None` where nobody has measured one.
    pub fn of(device: &str) -> Option<Self> {
        // An H100 of 700 W, on products that took seconds and on copies.
        let known = device == "NVIDIA H100 80GB HBM3";
        known.then_some(Rates { flops_16_bit: 700e12, flops_8_bit: 1300e12, bytes: 3.08e12 })
    }

    /// About the least seconds that a problem can take: all operations at the sustained rate, or all bytes at the
    /// bandwidth, whichever is longer. A card that is still cool may pass it a little.
    pub fn floor(&self, operand: Dtype, flops: f64, bytes: f64) -> f64 {
        let rate = match operand {
            _ if operand.is_fp8() => self.flops_8_bit,
            // As TF32, at half the rate of 16-bit operands.
            Dtype::F32 => self.flops_16_bit / 2.0,
            _ => self.flops_16_bit,
        };
        (flops / rate).max(bytes / self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_of_both_is_the_floor() {
        let rates = Rates::of("NVIDIA H100 80GB HBM3").unwrap();
        // Mixtral's up projection of 8192 rows, by its operations; 64 experts decoding 256 rows, by their weights.
        let flops = 2.0 * 8192.0 * 28672.0 * 4096.0;
        assert!((rates.floor(Dtype::Bf16, flops, 3e9) * 1e6 - 2748.8).abs() < 0.1);
        assert!((rates.floor(Dtype::E4m3, flops, 1e9) * 1e6 - 1480.1).abs() < 0.1);
        assert!((rates.floor(Dtype::Bf16, 1e9, 3.08e9) * 1e6 - 1000.0).abs() < 0.1);
        assert!((rates.floor(Dtype::F32, flops, 1e9) / rates.floor(Dtype::Bf16, flops, 1e9) - 2.0).abs() < 1e-9);
        assert_eq!(Rates::of("cpu"), None);
    }
}
