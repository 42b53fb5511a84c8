package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// Limits on a file. Nobody writes such a file by hand; one that goes beyond them was
// made to hurt, or is not the file that was meant.
const (
	maxFileBytes = 1 << 20
	maxValues    = 50_000 // counted each time an alias repeats them
	maxDepth     = 64
	maxProblems  = 200    // reported of one file
	maxExcerpt   = 160    // characters
	maxLine      = 10_000 // bytes; a longer line is not shown at all
)

// document is one file: its text, its YAML, and what is wrong with it.
type document struct {
	name  string
	lines []string
	root  *yaml.Node // nil when there is nothing in the file
	env   func(string) (string, bool)

	places   map[any]*yaml.Node  // where a decoded value stands, by the pointer to it
	values   int                 // visited so far
	overfull bool                // there are more than maxValues
	secrets  map[string]string   // what must not be shown, and what is shown in its place
	hidden   []*yaml.Node        // values that no excerpt may show
	failed   map[*yaml.Node]bool // values that could not be read: what checks say about them would only confuse

	problems Problems
	dropped  int // problems beyond maxProblems
}

// openDocument reads and parses a file. What can't be read or is no YAML is among
// the document's problems, and root is nil then.
func openDocument(path string, env func(string) (string, bool)) *document {
	b, err := readLimited(path)
	if err != nil {
		d := parseDocument(path, nil, env)
		d.errorf(nil, hintForOpen(err), "%s", plainPathError(err))
		return d
	}
	return parseDocument(path, b, env)
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxFileBytes+1))
}

// plainPathError leaves out the path, which the problem names anyway.
func plainPathError(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return "can't " + pe.Op + " it: " + pe.Err.Error()
	}
	return err.Error()
}

func hintForOpen(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "check the path; paths in a file are relative to that file's folder"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that runs gatewarden read it"
	default:
		return ""
	}
}

func parseDocument(name string, b []byte, env func(string) (string, bool)) *document {
	d := &document{name: name, env: env, places: map[any]*yaml.Node{}, secrets: map[string]string{}, failed: map[*yaml.Node]bool{}}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if len(b) > maxFileBytes {
		d.errorf(nil, "split it into several files", "the file is larger than %d KiB", maxFileBytes>>10)
		return d
	}
	if line := invalidUTF8(b); line > 0 {
		d.errorf(&yaml.Node{Line: line, Column: 1}, "save it as UTF-8", "the file is not valid UTF-8")
		return d
	}
	d.lines = strings.Split(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n")
	d.parse(b)
	return d
}

// invalidUTF8 returns the line of the first byte that is not UTF-8, 0 when all is.
func invalidUTF8(b []byte) int {
	if utf8.Valid(b) {
		return 0
	}
	line := 1
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			return line
		}
		if r == '\n' {
			line++
		}
		b = b[size:]
	}
	return line
}

func (d *document) parse(b []byte) {
	reader := &lineReader{rest: b}
	dec := yaml.NewDecoder(reader)
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			d.syntaxError(err, reader.lines)
		}
		return
	}
	if len(doc.Content) == 1 && !isNull(doc.Content[0]) {
		d.root = doc.Content[0]
	}
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntaxError(err, reader.lines)
	default:
		d.errorf(&second, "put what follows --- into a file of its own", "a file holds one YAML document, here a second one begins")
	}
}

// lineReader hands out one line at a time, so that it knows how far the parser has
// read when it gives up.
type lineReader struct {
	rest  []byte
	lines int
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	end := bytes.IndexByte(r.rest, '\n') + 1
	if end == 0 {
		end = len(r.rest)
	}
	n := copy(p, r.rest[:end])
	if n == end {
		r.lines++
	}
	r.rest = r.rest[n:]
	return n, nil
}

// misplaced are the parser's complaints that come with the line where the list or the
// mapping began, less one, instead of the line that breaks it.
var misplaced = regexp.MustCompile(`^did not find expected (?:<|node content|key|'-'|',')`)

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// syntaxError reports an error of the YAML parser, which gives the line as text.
func (d *document) syntaxError(err error, read int) {
	text := err.Error()
	found := yamlLine.FindStringSubmatch(text)
	at := &yaml.Node{Line: 1, Column: 1}
	if line, err := strconv.Atoi(found[1]); err == nil {
		at.Line = min(line, len(d.lines))
	}
	complaint, hint := text[len(found[0]):], ""
	if misplaced.MatchString(complaint) {
		at.Line = min(max(read, 1), len(d.lines))
	}
	message := "this is not YAML: " + complaint
	if line := d.tabIndent(); line > 0 {
		at.Line = line
		message, hint = "a tab indents this line", "YAML allows spaces only; replace the tab"
	}
	if at.Line <= len(d.lines) {
		line := d.lines[at.Line-1]
		at.Column = 1 + len(line) - len(strings.TrimLeft(line, " "))
	}
	d.errorf(at, hint, "%s", message)
}

// tabIndent returns the first line that a tab indents, 0 when there is none.
func (d *document) tabIndent() int {
	for i, line := range d.lines {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if strings.Contains(indent, "\t") && strings.TrimSpace(line) != "" {
			return i + 1
		}
	}
	return 0
}

// find returns where the first of the given values stands that stands anywhere. The
// values are pointers into what was decoded; name the field first, then what holds
// it, for the case that the field was left out.
func (d *document) find(pointers ...any) *yaml.Node {
	for _, p := range pointers {
		if n, ok := d.places[p]; ok {
			return n
		}
	}
	return nil
}

// hasProblemIn reports whether something is wrong with a key or a value of a mapping
// already: what is missing from it may then be what is wrong.
func (d *document) hasProblemIn(n *yaml.Node) bool {
	if n == nil {
		return false
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return slices.ContainsFunc(n.Content, func(child *yaml.Node) bool {
		return slices.ContainsFunc(d.problems, func(p Problem) bool {
			return p.Severity == SeverityError && p.Line == child.Line && p.Column == child.Column
		})
	})
}

func (d *document) errorf(at *yaml.Node, hint, format string, args ...any) {
	d.add(SeverityError, at, hint, fmt.Sprintf(format, args...))
}

// reject reports a value that can't be read at all.
func (d *document) reject(at *yaml.Node, hint, format string, args ...any) {
	d.errorf(at, hint, format, args...)
	d.failed[at] = true
}

func (d *document) warnf(at *yaml.Node, hint, format string, args ...any) {
	d.add(SeverityWarning, at, hint, fmt.Sprintf(format, args...))
}

// fail rejects a value for the reason err; of a gatewarden.Error the hint is shown too.
func (d *document) fail(at *yaml.Node, prefix string, err error) {
	if e, ok := errors.AsType[*gatewarden.Error](err); ok {
		d.reject(at, e.Hint, "%s%s", prefix, e.Message)
		return
	}
	d.reject(at, "", "%s%s", prefix, err)
}

func (d *document) add(sev Severity, at *yaml.Node, hint, message string) {
	if at != nil && (d.failed[at] || d.failed[at.Alias]) {
		return
	}
	if len(d.problems) >= maxProblems {
		d.dropped++
		return
	}
	p := Problem{File: d.name, Severity: sev, Message: message, Hint: hint, caret: -1}
	if at != nil && at.Line > 0 {
		p.Line, p.Column = at.Line, max(at.Column, 1)
	}
	d.problems = append(d.problems, p)
}

// finish returns the problems, with their excerpts: those can only be cut when it is
// known which values are secret.
func (d *document) finish() Problems {
	redact := d.redactor()
	for i := range d.problems {
		p := &d.problems[i]
		if p.Line > 0 && p.Line <= len(d.lines) && len(d.lines[p.Line-1]) <= maxLine {
			p.Excerpt, p.caret = d.excerpt(p.Line, p.Column, redact)
		}
		p.Message, p.Hint = redact(p.Message), redact(p.Hint)
	}
	if d.dropped > 0 {
		d.problems = append(d.problems, Problem{
			File: d.name, Severity: SeverityError, caret: -1,
			Message: fmt.Sprintf("and %d more", d.dropped), Hint: "mend the first ones and look again",
		})
		d.dropped = 0
	}
	return Join(d.problems)
}

// redactor returns a function that replaces what must not be seen, the longest
// first, and makes the rest safe to print.
func (d *document) redactor() func(string) string {
	texts := sortedKeys(d.secrets)
	slices.SortStableFunc(texts, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, text := range texts {
		shown := d.secrets[text]
		quoted := strconv.Quote(text)
		pairs = append(pairs, text, shown, quoted[1:len(quoted)-1], shown)
	}
	secrets := strings.NewReplacer(pairs...)
	return func(s string) string {
		return printable(userInfo.ReplaceAllString(secrets.Replace(s), "://"+gatewarden.Redacted+"@"))
	}
}

// userInfo is the part of a URL that may hold a password.
var userInfo = regexp.MustCompile(`://[^/@\s"']*@`)

// secretKey is a key that sounds like one of a secret, for lines of which nothing more
// is known; envValue a value after it that gives nothing away.
var (
	secretKey = regexp.MustCompile(`(?i)(?:token|passw(?:or)?d|secret|authorization|api[-_]?key|credentials?)["']?\s*[:=]\s*`)
	envValue  = regexp.MustCompile(`^["']?\$\{\w+\}["']?\s*(?:[,}\]#]|$)`)
)

// maskSecrets cuts a line at the first value of a key that sounds like a secret.
func maskSecrets(line string) string {
	for _, m := range secretKey.FindAllStringIndex(line, -1) {
		if rest := line[m[1]:]; rest != "" && !envValue.MatchString(rest) {
			return line[:m[1]] + gatewarden.Redacted
		}
	}
	return line
}

// hide keeps a text out of every message and excerpt of the document. A text of one
// or two characters is no secret, and replacing it would garble everything.
func (d *document) hide(text, shown string) {
	if len(text) > 2 && text != shown {
		d.secrets[text] = shown
	}
}

// excerpt returns a line as it may be shown, and where the column is in it.
func (d *document) excerpt(line, column int, redact func(string) string) (text string, caret int) {
	text = d.lines[line-1]
	for _, n := range d.hidden {
		runes := []rune(text)
		if n.Line == line && n.Column <= len(runes) {
			text = string(runes[:n.Column-1]) + gatewarden.Redacted
		}
	}
	text = maskSecrets(text)
	if line > 1 {
		// The value of a key may stand below it.
		above := strings.TrimRight(d.lines[line-2], " \t")
		if m := secretKey.FindStringIndex(above); m != nil && len(strings.Trim(above[m[1]:], "|>-+")) == 0 {
			text = gatewarden.Redacted
		}
	}
	runes, caret := []rune(redact(strings.TrimRightFunc(text, unicode.IsSpace))), column-1
	// A window of maxExcerpt characters around the column.
	if from := caret - maxExcerpt/2; from > 0 && len(runes) > maxExcerpt {
		from = min(from, max(len(runes)-maxExcerpt, 0))
		runes, caret = append([]rune("…"), runes[from:]...), caret-from+1
	} else {
		indent := len(runes) - len([]rune(strings.TrimLeft(string(runes), " \t")))
		indent = min(indent, caret)
		runes, caret = runes[indent:], caret-indent
	}
	if len(runes) > maxExcerpt {
		runes = append(runes[:maxExcerpt], '…')
	}
	return string(runes), min(caret, len(runes))
}

// printable replaces what could play tricks with a terminal or a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsGraphic(r) {
			return r
		}
		if r == '\n' {
			return ' '
		}
		return unicode.ReplacementChar
	}, s)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// siblingPath returns path as seen from the folder of file; "" stays "".
func siblingPath(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
