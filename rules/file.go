package rules

import (
	"reflect"

	"go.yaml.in/yaml/v3"
)

// File is a YAML file of another kind than rules and configuration, read as strictly as
// those: packages below this one have kinds of their own.
type File struct{ doc *document }

// OpenFile reads and parses a file. What is wrong with it is among its Problems.
func OpenFile(path string) *File { return &File{openDocument(path, nil)} }

// ParseFile is OpenFile of a text that is at hand.
func ParseFile(name string, text []byte) *File { return &File{parseDocument(name, text, nil)} }

// Name is where the file was read from.
func (f *File) Name() string { return f.doc.name }

// Empty reports whether there is nothing in the file that could be decoded.
func (f *File) Empty() bool { return f.doc.root == nil }

// Decode reads the file into what into points to, a struct with yaml tags. Fields may be
// of the types that Source.Decode reads, and Words. name is how problems call the whole.
func (f *File) Decode(into any, name string) {
	if f.doc.root != nil {
		f.doc.decode(f.doc.root, into, name)
	}
}

// Has reports whether a field that was decoded stands in the file. It is given as a
// pointer to it.
func (f *File) Has(field any) bool { return f.doc.find(field) != nil }

// Line returns the line of a field, from 1, and 0 when it does not stand in the file.
func (f *File) Line(field any) int {
	if n := f.doc.find(field); n != nil {
		return n.Line
	}
	return 0
}

// Errorf reports a problem at the first of the fields that stands in the file.
func (f *File) Errorf(fields []any, hint, format string, args ...any) {
	f.doc.errorf(f.doc.find(fields...), hint, format, args...)
}

// Path returns a path of the file, ready to open: it is meant from the file's folder.
func (f *File) Path(path string) string { return siblingPath(f.doc.name, path) }

// Problems returns what is wrong. It is called once, at the end.
func (f *File) Problems() Problems { return f.doc.finish() }

// KeyOf stands for the key of a map among the fields of Errorf; m is a pointer to the map.
func KeyOf(m any, key string) any { return placeInMap{m, key} }

// DidYouMean is a hint that names what was probably meant, else what there is.
func DidYouMean(word string, candidates []string, otherwise string) string {
	return didYouMean(word, candidates, otherwise)
}

// Words is one word, or a list of them.
type Words []string

func (w *Words) decodeNode(d *document, n *yaml.Node, name string) {
	if n.Kind == yaml.SequenceNode {
		d.list(n, reflect.ValueOf((*[]string)(w)).Elem(), name, 0)
		return
	}
	var word string
	d.decode(n, &word, name)
	*w = Words{word}
}

// ParseRules is LoadRules of one text that is at hand.
func ParseRules(name string, text []byte) (*Rules, Problems) {
	return loadRules([]*document{parseDocument(name, text, nil)})
}
