package main

// The polynomial of exp; package vec has the same and says where it is from.
const (
	expC2 = 0.49999994
	expC3 = 0.1666652
	expC4 = 0.0416684
	expC5 = 0.008368851
	expC6 = 0.001381432
)
