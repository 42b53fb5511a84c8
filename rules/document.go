package rules

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
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

	places   map[any]*yaml.Node                // where a decoded value stands, by the pointer to it
	fields   map[reflect.Type]map[string][]int // of the structs met so far, by key
	around   map[string][]int                  // the keys of the mapping that the one being read stands in
	values   int                               // visited so far
	overfull bool                              // there are more than maxValues
	secrets  map[string]string                 // what must not be shown, and what is shown in its place
	hidden   []*yaml.Node                      // values that no excerpt may show
	failed   map[*yaml.Node]bool               // values that could not be read: what checks say about them would only confuse

	problems  Problems
	dropped   int      // problems beyond maxProblems
	droppedAs Severity // the worst of those
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
	d := &document{name: name, env: env, places: map[any]*yaml.Node{}, secrets: map[string]string{}, fields: map[reflect.Type]map[string][]int{}, failed: map[*yaml.Node]bool{}}
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
	} else if strings.HasPrefix(complaint, "mapping values are not allowed") {
		hint = "a value with a colon in it needs quotes"
	} else if strings.HasPrefix(complaint, "did not find expected ','") {
		hint = "close the bracket; a value with a colon in it needs quotes"
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

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// siblingPath returns path as seen from the folder of file; "" stays "".
func siblingPath(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
