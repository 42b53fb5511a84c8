package fakekong

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// appendJSON appends v as lua-cjson writes it in Kong: numbers with 14 significant
// digits (so that balancer_start_ns comes as 1.7952935519106e+18), strings byte by
// byte without a look at UTF-8, slashes as they are. Keys are sorted, where the
// real one leaves their order to chance.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendString(b, v)
	case int:
		return appendNumber(b, float64(v))
	case int64:
		return appendNumber(b, float64(v))
	case float64:
		return appendNumber(b, v)
	case []string:
		return appendList(b, v)
	case []any:
		return appendList(b, v)
	case []entity:
		return appendList(b, v)
	case map[string]any:
		return appendObject(b, v)
	case map[string]string:
		return appendObject(b, v)
	default:
		panic(fmt.Sprintf("fakekong: no JSON for %T", v))
	}
}

// appendNumber writes f as C's %.14g does.
func appendNumber(b []byte, f float64) []byte {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return append(b, "null"...)
	}
	s := strconv.FormatFloat(f, 'e', 13, 64)
	mantissa, exponent, _ := strings.Cut(s, "e")
	exp, _ := strconv.Atoi(exponent)
	if exp < -5 || exp >= 14 {
		return append(b, trimZeros(mantissa)+"e"+exponent...)
	}
	return append(b, trimZeros(strconv.FormatFloat(f, 'f', max(13-exp, 0), 64))...)
}

func trimZeros(s string) string {
	if !strings.Contains(s, ".") {
		return s
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func appendList[T any](b []byte, list []T) []byte {
	b = append(b, '[')
	for i, item := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, item)
	}
	return append(b, ']')
}

func appendObject[T any](b []byte, object map[string]T) []byte {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, key := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, key), ':')
		b = appendJSON(b, object[key])
	}
	return append(b, '}')
}

// escapes are cjson's for the bytes that it does not write as \u00XX.
var escapes = map[byte]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`, 127: `\u007f`}

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case escapes[c] != "":
			b = append(b, escapes[c]...)
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
