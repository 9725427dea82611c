// Package syntax reads PTX text: tokens, declarations, instructions with their operands, and the places of parameters and
// variables. It must not know what an instruction does.
package syntax
