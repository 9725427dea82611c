package config

import (
	"reflect"
	"strconv"
	"strings"
)

// field is one leaf of a Config: a key path, its value and its tags.
type field struct {
	path  string
	value reflect.Value
	tag   reflect.StructTag
}

// fields lists the leaves in the order they are declared.
func fields(c *Config) []field { return appendFields(nil, "", reflect.ValueOf(c).Elem()) }

func appendFields(to []field, prefix string, v reflect.Value) []field {
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		path := prefix + sf.Tag.Get("json")
		if sf.Type.Kind() == reflect.Struct {
			to = appendFields(to, path+".", v.Field(i))
			continue
		}
		to = append(to, field{path, v.Field(i), sf.Tag})
	}
	return to
}

// defaults maps the path of every leaf to its default value.
func defaults() map[string]any {
	values := map[string]any{}
	for _, f := range fields(Default()) {
		values[f.path] = f.value.Interface()
	}
	return values
}

// sections maps each section's key to its documentation, in order.
func sections() (keys []string, doc map[string]string) {
	t := reflect.TypeFor[Config]()
	doc = map[string]string{}
	for i := range t.NumField() {
		key := t.Field(i).Tag.Get("json")
		keys = append(keys, key)
		doc[key] = t.Field(i).Tag.Get("doc")
	}
	return keys, doc
}

// typeName returns the values that a field accepts, in the words of an error message.
func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[Seed]():
		return "a whole number of at least 0, or the word random"
	case reflect.TypeFor[Pair]():
		return "two numbers [low, high]"
	case reflect.TypeFor[[2]int]():
		return "two whole numbers [height, width]"
	case reflect.TypeFor[[]float64]():
		return "a list of numbers"
	case reflect.TypeFor[[]string]():
		return "a list of names"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return "text"
	}
	return "null"
}

// expectation returns typeName with the field's bounds.
func (f field) expectation() string {
	if one := f.tag.Get("oneof"); one != "" {
		return orList(strings.Split(one, "|"))
	}
	want := typeName(f.value.Type())
	if b := bounds(f.tag); b != "" {
		want += " " + b
	}
	return want
}

// bounds words the range tags: "from 0 to 1", "above 0", "of at least 1".
func bounds(tag reflect.StructTag) string {
	lo, hi, above, below := tag.Get("min"), tag.Get("max"), tag.Get("above"), tag.Get("below")
	switch {
	case lo != "" && hi != "" && lo == hi:
		return "equal to " + lo
	case lo != "" && hi != "":
		return "from " + lo + " to " + hi
	case lo != "" && below != "":
		return "of at least " + lo + " and below " + below
	case above != "" && hi != "":
		return "above " + above + " and at most " + hi
	case lo != "":
		return "of at least " + lo
	case above != "":
		return "above " + above
	}
	return ""
}

// within reports whether x lies in the range of the tags.
func within(tag reflect.StructTag, x float64) bool {
	check := func(key string, ok func(bound float64) bool) bool {
		s := tag.Get(key)
		if s == "" {
			return true
		}
		b, err := strconv.ParseFloat(s, 64)
		if err != nil {
			panic("config: bad " + key + " tag " + s)
		}
		return ok(b)
	}
	return check("min", func(b float64) bool { return x >= b }) && check("max", func(b float64) bool { return x <= b }) &&
		check("above", func(b float64) bool { return x > b }) && check("below", func(b float64) bool { return x < b })
}

func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
