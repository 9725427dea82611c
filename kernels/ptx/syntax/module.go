package syntax

// Module is a parsed PTX file.
type Module struct {
	Version string // PTX ISA version, for example "8.3"
	Target  string // for example "sm_80"
	Kernels map[string]*Kernel
	Globals []*Variable // .global and .const variables
	Shared  []*Variable // .shared variables of fixed size
	Dynamic *Variable   // .extern .shared array, nil if there is none
}

// Variable is a named stretch of shared, global, constant or local memory.
type Variable struct {
	Name  string
	Space string // "shared", "global", "const", "local"
	Align int
	Size  int // bytes; 0 for an extern array
	Init  []byte
	// Offset is that of a shared or local variable among those of the kernel.
	Offset int
}

// Param is one kernel parameter.
type Param struct {
	Name   string
	Type   string // of an element: "u64", "f32", "b8"
	Align  int
	Size   int // bytes
	Offset int // in the parameter memory
}

// Kernel is one .entry function.
type Kernel struct {
	Name      string
	Line      int // of its name
	Params    []Param
	ParamSize int // bytes of parameter memory
	MaxNTid   int // product of .maxntid or .reqntid, 0 if absent
	ReqNTid   int // product of .reqntid, 0 if absent
	MinCTAs   int // .minnctapersm, 0 if absent
	MaxNReg   int // .maxnreg, 0 if absent
	Shared    []*Variable
	SharedLen int // bytes of static shared memory
	Local     []*Variable
	LocalLen  int // bytes of local memory per thread
	Code      []Instr
	Regs      []Register
	Extern    *Variable // Dynamic of the module
	// ParamStart is the address of parameter memory in its state space.
	ParamStart uint64

	index map[string]int // of each register in Regs
}

// Register is one declared register. Names of nested blocks are made unique.
type Register struct {
	Name string
	Type string // "b32", "f32", "pred", ...
}

// Instr is one instruction: an opcode, its modifiers and operands, and the guard predicate.
type Instr struct {
	Line   int
	Op     string   // "ld", "mma", ...
	Mods   []string // "global", "v4", "f32", without dots
	Args   []Operand
	Guard  int // register index of the guard predicate, -1 if none
	Negate bool
	Text   string // the opcode with modifiers, for messages
	Target int    // instruction index of a branch target
	Index  int    // of the instruction in Kernel.Code
}

// OperandKind says what an operand is.
type OperandKind uint8

// The kinds of operand.
const (
	RegOperand     OperandKind = iota // register
	ImmOperand                        // immediate, bits already encoded in imm
	SpecialOperand                    // %tid.x and the like
	AddrOperand                       // [base + offset]
	VectorOperand                     // {a, b, c, d}
	LabelOperand                      // branch target
	SymbolOperand                     // address of a variable or parameter
	SinkOperand                       // _
	PairOperand                       // d|p: result and predicate
)

// Operand is one instruction operand.
type Operand struct {
	Kind   OperandKind
	Reg    int    // register index (RegOperand; base of AddrOperand, -1 if the base is a symbol or absent)
	Imm    uint64 // literal bits (ImmOperand), byte offset (AddrOperand, SymbolOperand)
	Float  bool   // the literal was written as a float
	Name   string // special register, label, symbol
	Elems  []Operand
	Negate bool // !p
}
