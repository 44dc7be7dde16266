use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr;

use crate::{check, raw, status, OpParams, Result, Shape};

/// A tensor of a graph, by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor(pub i32);

/// A graph over memory that it borrows for as long as it lives: docs/guest-abi-tensors.md.
#[derive(Debug)]
pub struct Graph<'a> {
    handle: i32,
    over: PhantomData<&'a mut [u8]>,
}

impl Drop for Graph<'_> {
    fn drop(&mut self) {
        unsafe { raw::graph_destroy(self.handle) };
    }
}

impl<'a> Graph<'a> {
    pub fn new() -> Result<Self> {
        Ok(Self { handle: check(unsafe { raw::graph_create() })?, over: PhantomData })
    }

    /// An F32 tensor over a slice. Panics where the sizes are not the slice's.
    pub fn f32(&mut self, sizes: &[u32], data: &'a [f32]) -> Result<Tensor> {
        assert_eq!(data.len(), elements(sizes), "a tensor of sizes {sizes:?}");
        unsafe { self.tensor(raw::DW_F32, sizes, data.as_ptr().cast()) }
    }

    /// An I32 tensor over a slice.
    pub fn i32(&mut self, sizes: &[u32], data: &'a [i32]) -> Result<Tensor> {
        assert_eq!(data.len(), elements(sizes), "a tensor of sizes {sizes:?}");
        unsafe { self.tensor(raw::DW_I32, sizes, data.as_ptr().cast()) }
    }

    /// A tensor of any type (`raw::DW_F16` and so on) over memory.
    ///
    /// # Safety
    /// The memory holds such a tensor until the graph is dropped.
    pub unsafe fn tensor(&mut self, kind: i32, sizes: &[u32], data: *const u8) -> Result<Tensor> {
        let ne = four(sizes);
        check(raw::graph_tensor(self.handle, kind, ne.as_ptr(), data)).map(Tensor)
    }

    /// An operation (`raw::DW_OP_...`) on up to four tensors.
    pub fn op(&mut self, op: i32, inputs: &[Tensor]) -> Result<Tensor> {
        self.op_with(op, inputs, None)
    }

    pub fn op_with(
        &mut self,
        op: i32,
        inputs: &[Tensor],
        params: Option<&OpParams>,
    ) -> Result<Tensor> {
        let mut list = [0; 4];
        for (to, tensor) in list.iter_mut().zip(inputs) {
            *to = tensor.0;
        }
        let params = params.map_or(ptr::null(), ptr::from_ref);
        check(unsafe { raw::graph_op(self.handle, op, list.as_ptr(), params) }).map(Tensor)
    }

    /// Where an F32 result goes. Panics where the slice is not of its size.
    pub fn output(&mut self, tensor: Tensor, data: &'a mut [f32]) -> Result<()> {
        let shape = self.shape(tensor)?;
        assert_eq!(data.len(), elements(&shape.ne), "an output of sizes {:?}", shape.ne);
        status(unsafe { raw::graph_output(self.handle, tensor.0, data.as_mut_ptr().cast()) })
    }

    pub fn shape(&self, tensor: Tensor) -> Result<Shape> {
        let mut shape = MaybeUninit::<Shape>::zeroed();
        status(unsafe { raw::tensor_shape(self.handle, tensor.0, shape.as_mut_ptr()) })?;
        Ok(unsafe { shape.assume_init() })
    }

    /// Ends the description.
    pub fn build(&mut self) -> Result<()> {
        status(unsafe { raw::graph_build(self.handle) })
    }

    /// Computes all outputs. What they are in is borrowed by the graph: drop it, then look.
    pub fn run(&mut self) -> Result<()> {
        status(unsafe { raw::graph_run(self.handle) })
    }
}

fn four(sizes: &[u32]) -> [u32; 4] {
    let mut ne = [1; 4];
    for (to, size) in ne.iter_mut().zip(sizes) {
        *to = *size;
    }
    ne
}

fn elements(sizes: &[u32]) -> usize {
    sizes.iter().map(|&size| size as usize).product()
}
