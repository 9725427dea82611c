package cuda

// Versions chooses among the versions of a kernel family; 0 takes the newest that the device runs. Where the chosen
// version does not fit an operation, the next older one does the work. Tests run them all.
type Versions struct {
	Gemm      int // 1: any types and strides; 2: tensor cores; 3 and 4: compute capability 9.0
	Attention int // 1: any head size; 2: tensor cores
	Movers    int // of kernels that move bytes: 1: up to four elements an access; 2: 16 bytes, several accesses in flight
}

// Newest returns the newest version of every family that the device runs.
func (b *Backend) Newest() Versions {
	v := Versions{Gemm: 2, Attention: 2, Movers: 2}
	if b.info.Major == 9 && b.info.Minor == 0 {
		v.Gemm = 4
	}
	return v
}

// Use chooses the versions of the operations from now on.
func (b *Backend) Use(v Versions) { b.versions = v }
