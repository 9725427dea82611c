package config

import (
	"embed"
	"strings"
)

//go:embed recipes/*.yaml
var recipes embed.FS

// Recipes lists the embedded recipes.
func Recipes() []string {
	entries, err := recipes.ReadDir("recipes")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}
