// Package optest is the one table of cases that every kernels.Backend must pass.
//
// A row of the table is one call of one operation: its operands, its float64 error bound, and its number of FLOPs.
// Run executes the rows on a backend and compares with kernels/ref in float64 on the same, already rounded,
// inputs; Gradients compares every backward operation with central differences of its forward; Deterministic asks
// for the same bits from any number of threads; Benchmark times the large rows. The backend's memory need not be host
// memory: tensors are made by its Allocator and reached by Upload and Download only.
//
// # What is checked
//
// Every tensor lies between two margins of 0xFF bytes, which are NaN in every float type: a write outside shows in the
// margin, a read outside in the result. A third of the rows puts its tensors one element off their alignment, as a view
// of rows does. Outputs hold NaN before the call, accumulated ones random numbers. Inputs must come back unchanged.
//
// # Tolerance
//
// Each row states an analytic bound on the error of a float32 evaluation, element by element, from the magnitudes that
// went into that element: for a sum of products γ(K)·Σ|a||b|, with unit roundoff u = 2⁻²⁴ and
//
//	γ(n) = u·min(n, 4·√n + 4)
//
// (the probabilistic form of the classical n·u, Higham and Mary, SIAM J. Sci. Comput. 41, 2019). Elementary functions
// may lose a stated number of roundoffs on top, and results below 2⁻¹²⁶ may be flushed to zero. A bound of 0 asks for
// the exact bits: copies, selections, elements that the operation must leave alone.
//
// A bf16 output may further lose twice what a plain bf16 implementation loses by rounding that element, three times
// for gradients. Where a plain implementation also keeps matrices inside the operation in bf16 (the probabilities of
// attention), its loss is measured, row by row of the output, by running ref.NewPlain.
//
// It must not know any backend but the oracle.
package optest
