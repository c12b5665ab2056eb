//! A dense layer over a block: `y = activation(W x + b)`, columns of `R` rows each.
//!
//! ```text
//! x: k columns of R rows    y: n columns of R rows    tile: up to 4 columns of y by 16 rows, held in registers
//! ```
//!
//! Where the processor has AVX-512 or AVX2 [`products`] makes the sums, the same bit by bit and twice as fast.
//!
//! Weights are packed per tile, so that they are read one after the other. Rows lie side by side in vectors: there is no
//! waste however few columns a layer has.

use super::super::tree::products::{TILE, products};
use super::math::mul_add;
use super::step::Activation;

/// Rows of one tile; blocks are a multiple of it.
const LANES: usize = 16;

/// The weights of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    inputs: usize,
    outputs: usize,
    /// Tile after tile: for each input the weights of the tile's outputs, filled up with 0.
    packed: Vec<f32>,
    bias: Vec<f32>,
    /// What follows.
    activation: Activation,
}

impl Dense {
    /// A layer of `weights[input][output]`; a missing bias is 0.
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, weights: &[f32], bias: Option<&[f32]>) -> Self {
        let mut packed = Vec::with_capacity(inputs * outputs.next_multiple_of(TILE));
        for tile in (0..outputs).step_by(TILE) {
            for input in 0..inputs {
                packed.extend((tile..tile + TILE).map(|output| {
                    if output < outputs { weights.get(input * outputs + output).copied().unwrap_or(0.0) } else { 0.0 }
                }));
            }
        }
        let mut padded = bias.map_or_else(|| vec![0.0; outputs], <[f32]>::to_vec);
        padded.resize(outputs, 0.0);
        Self { inputs, outputs, packed, bias: padded, activation: Activation::None }
    }

    /// Columns taken.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// What follows the sums.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Columns made.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Takes in an addition of one number per column, or of one for all; `false` if an activation is in between.
    pub fn fuse_bias(&mut self, more: &[f32]) -> bool {
        let fits = self.activation == Activation::None && !more.is_empty();
        if fits {
            self.bias.iter_mut().zip(more.iter().cycle()).for_each(|(bias, more)| *bias += more);
        }
        fits
    }

    /// Takes in an activation; `false` if there is one.
    pub fn fuse_activation(&mut self, activation: Activation) -> bool {
        let fits = self.activation == Activation::None;
        if fits {
            self.activation = activation;
        }
        fits
    }

    /// `x` has `inputs`, `y` `outputs` columns of `R` rows.
    #[inline(always)]
    pub(super) fn run<const R: usize, const FMA: bool>(&self, x: &[f32], y: &mut [f32]) {
        let tiles = self.packed.chunks_exact((self.inputs * TILE).max(1));
        for ((weights, bias), y) in tiles.zip(self.bias.chunks(TILE)).zip(y.chunks_mut(TILE * R)) {
            match bias.len() {
                1 => self.tile::<R, 1, FMA>(weights, bias, x, y),
                2 => self.tile::<R, 2, FMA>(weights, bias, x, y),
                3 => self.tile::<R, 3, FMA>(weights, bias, x, y),
                _ => self.tile::<R, 4, FMA>(weights, bias, x, y),
            }
        }
    }

    /// `N` columns of `y`.
    #[inline(always)]
    fn tile<const R: usize, const N: usize, const FMA: bool>(
        &self,
        weights: &[f32],
        bias: &[f32],
        x: &[f32],
        y: &mut [f32],
    ) {
        if FMA {
            let mut sums = [[0f32; R]; N];
            if products(weights.as_chunks().0, x, &mut sums) {
                for ((sum, bias), y) in sums.iter_mut().zip(bias).zip(y.chunks_exact_mut(R)) {
                    self.finish::<FMA>(sum, *bias, y);
                }
                return;
            }
        }
        for start in (0..R).step_by(LANES) {
            self.rows::<R, N, FMA>(weights, bias, x, y, start);
        }
    }

    /// Some rows of `N` columns. Counted loops of fixed length, which stay in registers where iterators do not: measured.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // see above
    fn rows<const R: usize, const N: usize, const FMA: bool>(
        &self,
        weights: &[f32],
        bias: &[f32],
        x: &[f32],
        y: &mut [f32],
        start: usize,
    ) {
        let mut sums = [[0f32; LANES]; N];
        for (w, x) in weights.as_chunks::<TILE>().0.iter().zip(x.chunks_exact(R)) {
            let Some(x) = x.get(start..).and_then(|x| x.first_chunk::<LANES>()) else { return };
            for output in 0..N {
                for lane in 0..LANES {
                    sums[output][lane] = mul_add::<FMA>(x[lane], w[output], sums[output][lane]);
                }
            }
        }
        for ((sum, bias), y) in sums.iter_mut().zip(bias).zip(y.chunks_exact_mut(R)) {
            if let Some(y) = y.get_mut(start..start + LANES) {
                self.finish::<FMA>(sum, *bias, y);
            }
        }
    }

    /// From sums to what the layer gives.
    #[inline(always)]
    fn finish<const FMA: bool>(&self, sums: &mut [f32], bias: f32, y: &mut [f32]) {
        sums.iter_mut().for_each(|s| *s += bias);
        self.activation.apply::<FMA>(sums);
        y.copy_from_slice(sums);
    }
}
