package rules

import (
	"encoding"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// scalar reads one word or number into v: a duration, a type that reads text, a
// string, a bool or a number.
func (d *document) scalar(n *yaml.Node, v reflect.Value, name string) {
	if n.Kind != yaml.ScalarNode {
		d.reject(n, "", "%s must be %s, this is %s", name, expected(v), describe(n))
		return
	}
	if isNull(n) {
		d.reject(n, "give it a value, or remove the key", "%s has no value", name)
		return
	}
	if v.Type() == secretType {
		d.keepSecret(n, name)
	}
	raw := n
	n = d.expand(n)
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
	default:
		d.reject(n, "remove the tag", "%s: the YAML tag %s is not supported", name, n.Tag)
		return
	}
	if err := setScalar(v, n); err != nil {
		d.fail(raw, name+": ", err)
	}
}

// keepSecret hides a secret from excerpts and messages, and frowns when it is
// written into the file.
func (d *document) keepSecret(n *yaml.Node, name string) {
	if d.env != nil && envOnly.MatchString(n.Value) {
		return // the file does not hold it; expand hides the value
	}
	d.hidden = append(d.hidden, n)
	d.hide(n.Value, gatewarden.Redacted)
	if d.env != nil && strings.Contains(n.Value, "${") {
		return // it holds a part of it, such as "Bearer "
	}
	d.warnf(n, "take it from the environment with ${NAME}, or from a file where a ..._file key exists", "%s is written into the file", name)
}

// envOnly is a value that is nothing but a reference to the environment.
var envOnly = regexp.MustCompile(`^\$\{\w+\}$`)

func setScalar(v reflect.Value, n *yaml.Node) error {
	if v.Type() == durationType {
		dur, err := gatewarden.ParseDuration(n.Value)
		if err != nil {
			return err
		}
		v.SetInt(int64(dur))
		return nil
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		return u.UnmarshalText([]byte(n.Value))
	}
	plain := strings.ReplaceAll(n.Value, "_", "")
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value) // as it is written: 1.10 stays 1.10
		return nil
	case reflect.Bool:
		var b bool
		if b, err = parseBool(n.Value); err == nil {
			v.SetBool(b)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var i int64
		if i, err = strconv.ParseInt(plain, 0, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var u uint64
		if u, err = strconv.ParseUint(plain, 0, v.Type().Bits()); err == nil {
			v.SetUint(u)
		}
	case reflect.Float32, reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(plain, v.Type().Bits()); err == nil && f-f == 0 { // neither Inf nor NaN
			v.SetFloat(f)
			return nil
		}
		return gatewarden.Errorf(gatewarden.Invalid, "%q is not a number", n.Value)
	default:
		return gatewarden.Errorf(gatewarden.Internal, "a setting of this kind can't be read from a file")
	}
	if err != nil {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is not %s", n.Value, expected(v))
	}
	return nil
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on":
		return true, nil
	case "false", "no", "off":
		return false, nil
	default:
		return false, strconv.ErrSyntax
	}
}

// expected says in words what v takes.
func expected(v reflect.Value) string {
	if v.Type() == durationType || v.Type() == reflect.TypeFor[gatewarden.Duration]() {
		return "a duration such as 30s"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that fits"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "text"
	}
}

// expand replaces ${NAME} by the environment's value, and $${ by ${. Only values are
// expanded, after parsing: whatever a variable holds, it can't become a key.
func (d *document) expand(n *yaml.Node) *yaml.Node {
	if d.env == nil || n.Kind != yaml.ScalarNode || !strings.Contains(n.Value, "${") {
		return n
	}
	var out strings.Builder
	rest := n.Value
	for {
		before, after, found := strings.Cut(rest, "${")
		out.WriteString(before)
		if !found {
			break
		}
		if strings.HasSuffix(before, "$") {
			out.WriteString("{") // $${ → ${
			rest = after
			continue
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || !isEnvName(name) {
			d.reject(n, "write ${NAME}, or $${ for the two characters themselves", "${ is not followed by a name and }")
			return n
		}
		value, ok := d.env(name)
		if !ok {
			d.reject(n, "set it, or write $${ if no variable is meant", "the environment variable %s is not set", name)
		}
		d.hide(value, "${"+name+"}")
		out.WriteString(value)
		rest = tail
	}
	expanded := *n
	expanded.Value = out.String()
	if expanded.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		expanded.Tag = "" // ${PORT} may well be a number
	}
	if expanded.Value == "" {
		expanded.Tag = "!!str"
	}
	return &expanded
}

func isEnvName(s string) bool {
	for i, r := range s {
		if r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// percent is a share that is written in per cent: 99.9 or "99.9%".
type percent float64

// UnmarshalText reads the number; the value is the ratio, 0.999 for 99.9.
func (p *percent) UnmarshalText(b []byte) error {
	ratio, err := hundredth(strings.TrimSuffix(strings.TrimSpace(string(b)), "%"))
	if err != nil {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is not a number in per cent", b).WithHint("write 99.9")
	}
	*p = percent(ratio)
	return nil
}

// fraction reads a part of a whole, written as "10%" or as 0.1.
func fraction(b []byte) (f float64, perCent bool, err error) {
	text := strings.TrimSpace(string(b))
	if number, found := strings.CutSuffix(text, "%"); found {
		f, err = hundredth(number)
		return f, true, err
	}
	f, err = strconv.ParseFloat(text, 64)
	return f, false, err
}

// ratio is a share that is written as "10%" or as 0.1.
type ratio float64

// UnmarshalText reads either way of writing.
func (r *ratio) UnmarshalText(b []byte) error {
	f, perCent, err := fraction(b)
	if err == nil && !perCent && f >= 1 {
		text := strings.TrimSpace(string(b))
		return gatewarden.Errorf(gatewarden.Invalid, "%s is not below 1", text).WithHint("write %s%% if per cent is meant", text)
	}
	if err != nil || !(f > 0 && f < 1) {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is not a share between 0 and 100%%", b).WithHint("write 10%% or 0.1")
	}
	*r = ratio(f)
	return nil
}

// Share is a part of a whole, from none of it to all: 0, 1%, 100%.
type Share float64

// UnmarshalText reads a number up to 1, or one in per cent.
func (s *Share) UnmarshalText(b []byte) error {
	f, _, err := fraction(b)
	if err != nil || !(f >= 0 && f <= 1) {
		return gatewarden.Errorf(gatewarden.Invalid, "%q is not a share from 0 to 100%%", b).WithHint("write 1%% or 0.01")
	}
	*s = Share(f)
	return nil
}

// hundredth returns the float64 that is nearest to a hundredth of a decimal number:
// 99.9 / 100 in floating point is not.
func hundredth(s string) (float64, error) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 40 || strings.Trim(s, "0123456789.-+") != "" {
		return 0, strconv.ErrSyntax
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return 0, strconv.ErrSyntax
	}
	f, _ := r.Quo(r, big.NewRat(100, 1)).Float64()
	return f, nil
}

// inPercent writes a ratio for messages: 0.999 is "99.9 %".
func inPercent(f float64) string {
	return strconv.FormatFloat(float64(int64(f*1e7+0.5))/1e5, 'f', -1, 64) + " %"
}

// choice is a word out of a few.
func (d *document) choice(at *yaml.Node, name, word string, words ...string) bool {
	if slices.Contains(words, word) {
		return true
	}
	d.errorf(at, "it is one of: "+strings.Join(words, ", "), "%s: %q is not known here", name, word)
	return false
}

// nearest returns the candidate that word was probably meant to be, "" when none is
// near.
func nearest(word string, candidates []string) string {
	best, least := "", 1+len(word)/3
	word = strings.ToLower(word)
	for _, c := range candidates {
		if dist := editDistance(word, strings.ToLower(c)); dist <= least && (best == "" || dist < least) {
			best, least = c, dist
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours
// (optimal string alignment). Words longer than 64 bytes are far from everything.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	var rows [3][65]int
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// maxCandidates bounds what a wrong word is compared with: a file may hold thousands
// of both.
const maxCandidates = 200

// didYouMean is a hint that names what was probably meant, else what there is.
func didYouMean(word string, candidates []string, otherwise string) string {
	candidates = candidates[:min(len(candidates), maxCandidates)]
	if guess := nearest(word, candidates); guess != "" {
		return fmt.Sprintf("did you mean %q?", guess)
	}
	if len(candidates) == 0 || len(candidates) > 20 {
		return otherwise
	}
	return otherwise + " (there are: " + strings.Join(candidates, ", ") + ")"
}

// days writes a duration for messages, with days where it has some.
func days(d time.Duration) string { return gatewarden.Duration(d).String() }
