package config

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// assign stores a decoded JSON value in a leaf. It reports whether the type fits.
func assign(f field, raw any) bool {
	v := f.value
	switch v.Type() {
	case reflect.TypeFor[Seed]():
		if raw == "random" {
			v.SetUint(randomSeed())
			return true
		}
		n, ok := raw.(json.Number)
		if !ok {
			return false
		}
		u, err := strconv.ParseUint(n.String(), 10, 64)
		v.SetUint(u)
		return err == nil
	case reflect.TypeFor[any]():
		return raw == nil
	}
	switch v.Kind() {
	case reflect.Bool:
		b, ok := raw.(bool)
		v.SetBool(b)
		return ok
	case reflect.Int:
		n, ok := wholeNumber(raw)
		v.SetInt(n)
		return ok
	case reflect.Float64:
		x, ok := number(raw)
		v.SetFloat(x)
		return ok
	case reflect.String:
		return assignString(f, raw)
	case reflect.Array, reflect.Slice:
		return assignList(f, raw)
	}
	panic("config: no rule for " + v.Type().String())
}

// assignString also accepts the booleans that YAML 1.1 makes of a bare yes or no, where those are choices, and
// null, which DINO-MX writes for an empty path.
func assignString(f field, raw any) bool {
	switch x := raw.(type) {
	case string:
		f.value.SetString(x)
		return true
	case bool:
		word := map[bool]string{true: "yes", false: "no"}[x]
		for _, choice := range strings.Split(f.tag.Get("oneof"), "|") {
			if choice == word {
				f.value.SetString(word)
				return true
			}
		}
		return false
	}
	if raw == nil && f.tag.Get("oneof") == "" {
		f.value.SetString("")
		return true
	}
	return false
}

func assignList(f field, raw any) bool {
	v := f.value
	items, ok := raw.([]any)
	if raw == nil && v.Kind() == reflect.Slice {
		items, ok = []any{}, true
	}
	if !ok || v.Kind() == reflect.Array && len(items) != v.Len() {
		return false
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	}
	for i, item := range items {
		if !assign(field{f.path, v.Index(i), f.tag}, item) {
			return false
		}
	}
	return true
}

func number(raw any) (float64, bool) {
	n, ok := raw.(json.Number)
	if !ok {
		return 0, false
	}
	x, err := n.Float64()
	return x, err == nil
}

// wholeNumber also accepts 1e5, which YAML reads as a float.
func wholeNumber(raw any) (int64, bool) {
	n, ok := raw.(json.Number)
	if !ok {
		return 0, false
	}
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return i, true
	}
	x, err := n.Float64()
	if err != nil || x != float64(int64(x)) || x < -1<<53 || x > 1<<53 {
		return 0, false
	}
	return int64(x), true
}

func randomSeed() uint64 {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(fmt.Sprintf("config: no random numbers from the system: %v", err))
	}
	return binary.LittleEndian.Uint64(b[:]) >> 1
}
